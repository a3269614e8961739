from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from lee_bench.errors import RecordError, SetupError
from lee_bench.files import write_atomically
from lee_bench.runs.executors import local
from lee_bench.runs.record import RECORD_VERSION, RunKey, RunRecord, Status
from lee_bench.runs.store import Store

KEY = RunKey("strogatz", "lv1", "pmlb", "linear", "", 0.01, 23654, 30.0, 1, 1)
RECORD = RunRecord(
    key=KEY,
    status=Status.OK,
    formula="3*x - 2*x*y",
    candidates=({"formula": "3*x - 2*x*y", "loss": 0.1, "complexity": None},),
    chosen=0,
    seconds={"search": 1.5},
)


def test_a_record_comes_back_as_it_was(tmp_path):
    store = Store(tmp_path)
    store.write(RECORD)
    assert store.read(KEY) == RECORD
    assert store.finished() == {str(KEY.path)}
    assert store.records() == ([RECORD], [])


def test_an_empty_folder_has_no_records(tmp_path):
    assert Store(tmp_path / "nowhere").finished() == set()
    assert Store(tmp_path / "nowhere").records() == ([], [])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "key": {}}'])
def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path, text):
    store = Store(tmp_path)
    store.write(RECORD)
    broken = store.runs / "strogatz" / "lv1" / "linear" / "broken.json"
    broken.write_text(text)
    records, problems = store.records()
    assert records == [RECORD]
    (problem,) = problems
    assert str(broken) in str(problem)
    assert "damaged" in str(problem)
    assert problem.hint


@pytest.mark.parametrize(
    "odd",
    [
        {"seconds": None},
        {"seconds": {"search": "long"}},
        {"seconds": {"waited": 10**400}},
        {"candidates": "abc"},
        {"candidates": [3]},
        {"data": 3},
        {"details": "x"},
    ],
)
def test_a_record_of_odd_types_is_damaged(tmp_path, odd):
    store = Store(tmp_path)
    store.write(RECORD)
    path = store.runs / KEY.path
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    with pytest.raises(RecordError, match="damaged"):
        store.read(KEY)


def test_a_record_whose_key_names_no_place_is_damaged(tmp_path):
    store = Store(tmp_path)
    store.write(RECORD)
    path = store.runs / KEY.path
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"key": raw["key"] | {"noise": "much"}}))
    records, (problem,) = store.records()
    assert records == []
    assert "damaged" in str(problem)


def test_a_copy_is_named_and_does_not_count_twice(tmp_path):
    store = Store(tmp_path)
    store.write(RECORD)
    shutil.copytree(store.runs / "strogatz", store.runs / "strogatz.bak")
    records, (problem,) = store.records()
    assert records == [RECORD]
    assert "strogatz.bak" in str(problem)
    assert f"belongs in {KEY.path}" in str(problem)


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    store = Store(tmp_path)
    store.write(RECORD)
    path = store.runs / KEY.path
    newer = json.loads(path.read_text()) | {"version": RECORD_VERSION + 1, "unheard_of": 1}
    path.write_text(json.dumps(newer))
    with pytest.raises(RecordError, match="newer lee-bench"):
        store.read(KEY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_found_out_first(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SetupError, match="Cannot write"):
        Store(tmp_path).check_writable()


def test_a_folder_that_cannot_be_is_found_out_first(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(SetupError, match="Cannot write"):
        Store(tmp_path / "results").check_writable()


def test_a_record_that_cannot_be_written_is_said_in_words(tmp_path):
    store = Store(tmp_path)
    store.check_writable()
    (store.runs / "strogatz").write_text("in the way")
    with pytest.raises(SetupError, match=r"Cannot write the record .*strogatz"):
        store.write(RECORD)


def test_half_a_surrogate_pair_is_kept_as_its_code_point(tmp_path):
    store = Store(tmp_path)
    store.write(replace(RECORD, reason="what is \udc80?", details={"\ud800": 'two \ud801"'}))
    record = store.read(KEY)
    assert record.reason == r"what is \udc80?"
    assert record.details == {r"\ud800": r'two \ud801"'}


def test_a_kill_while_writing_never_leaves_half_a_file(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    code = (
        "import sys; from pathlib import Path; from lee_bench.files import write_atomically\n"
        "print('go', flush=True)\n"
        f"while True: write_atomically(Path({str(path)!r}), 'new' * 500_000)"
    )
    for delay in (0.0, 0.003, 0.01, 0.02):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.wait()
        child.stdout.close()
        assert path.read_text() in ("old", "new" * 500_000)


def keys(n: int) -> list[RunKey]:
    return [replace(KEY, seed=i) for i in range(n)]


def test_all_cells_are_measured_several_at_once():
    together, most = [0], [0]
    lock = threading.Lock()

    def measure(key, stop):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.01)
        with lock:
            together[0] -= 1
        return replace(RECORD, key=key)

    done = list(local.run(keys(20), measure, 3, threading.Event()))
    assert sorted(record.key.seed for record in done) == list(range(20))
    assert most[0] == 3


def test_stopping_the_iteration_stops_the_cells():
    stop = threading.Event()
    started = []

    def measure(key, stop):
        started.append(key)
        if key.seed > 0:
            stop.wait(30)
            return None
        return replace(RECORD, key=key)

    run = local.run(keys(50), measure, 2, stop)
    next(run)
    run.close()
    assert stop.is_set()
    assert len(started) <= 4


def test_a_fault_of_the_harness_is_raised_not_swallowed():
    def measure(key, stop):
        raise SetupError("the data vanished")

    with pytest.raises(SetupError, match="vanished"):
        list(local.run(keys(5), measure, 2, threading.Event()))
