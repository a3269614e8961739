"""Attack the runner: whatever a method does costs its own row and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from lee_bench.runs import supervisor
from lee_bench.runs.exchange import PARENT, Request, read_answer, write_request
from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.runs.supervisor import Cell, run_cell

HERE = Path(__file__).parent
MINE = "LEE_BENCH_TESTED_BY"  # tells this process's cells from those of tests beside it
X = np.random.default_rng(0).uniform(1, 2, size=(50, 2))


def cell(name: str, seconds: float = 1.0, memory_mb: int = 400) -> Cell:
    return Cell(
        key=RunKey("fakes", "plane", "builtin", name, "", 0.0, 1, seconds, 1, 1),
        target=f"hostile:{name}",
        settings={},
        command=sys.executable,
        environment={**os.environ, "PYTHONPATH": str(HERE), MINE: str(os.getpid())},
        task=Task(X, X[:, 0] + X[:, 1], ("x0", "x1")),
        budget=Budget(seconds, 1, memory_mb),
        data={"source": "made here"},
    )


def leftovers() -> list[psutil.Process]:
    """Processes that any cell of this test process has left running."""
    mine = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            tagged = supervisor.TAG in environment and environment.get(MINE) == str(os.getpid())
            if tagged and process.status() != psutil.STATUS_ZOMBIE:
                mine.append(process)
        except psutil.Error:
            continue
    return mine


def run(name: str, **limits) -> RunRecord:
    record = run_cell(cell(name, **limits), threading.Event())
    assert record is not None
    assert leftovers() == []
    assert RunRecord.from_json(record.to_json()) == record
    return record


def test_a_good_method_is_measured():
    record = run("Good")
    assert record.status is Status.OK
    assert (record.formula, record.chosen, len(record.candidates)) == ("x0 + x1", 1, 2)
    assert record.details["unreadable_candidates"] == 1
    assert record.prediction_gap == pytest.approx(0.0, abs=1e-12)
    assert record.seconds["search"] < 0.5 < record.peak_memory_mb
    assert {"prepare", "search", "answer", "cpu", "cell"} <= set(record.seconds)
    assert {"lee-bench", "python", "numpy"} <= set(record.versions)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells it")
@pytest.mark.parametrize("name", ["Rivalled", "RivalledInAThread"])
def test_who_waits_for_a_processor_is_told_from_who_does_not(name):
    record = run(name, seconds=5.0)
    assert record.status is Status.OK, record.reason
    assert record.seconds["waited"] > 0.15
    assert record.crowded
    assert not run("Good").crowded


def test_numbers_of_numpy_are_numbers():
    record = run("CountsInNumpy")
    assert (record.status, record.chosen) == (Status.OK, 1), record.reason
    assert record.candidates[1] == {"formula": "x0 + x1", "loss": 0.5, "complexity": 3}
    assert record.details == {"sizes": [0, 1], "exact": True, "long": "1.0"}


def test_a_prediction_that_is_not_the_formula_is_recorded():
    record = run("Liar")
    assert record.status is Status.OK
    assert record.prediction_gap > 0.5


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("MemoryErrors", Status.MEMORY, "MemoryError"),
        ("Raises", Status.CRASH, "this method has a bug"),
        ("Segfaults", Status.CRASH, "SIGSEGV"),
        ("KilledOutside", Status.CRASH, "SIGKILL"),
        ("ExitsEarly", Status.CRASH, "no answer"),
        ("SystemExits", Status.CRASH, "SystemExit"),
        ("AnswersNothing", Status.INVALID, "no candidate"),
        ("AnswersNone", Status.INVALID, "NoneType"),
        ("AnswersNaN", Status.INVALID, "no variable 'nan'"),
        ("AnswersUndefined", Status.INVALID, "not finite on 50 of 50"),
        ("AnswersGarbage", Status.INVALID, "cannot read"),
        ("AnswersForeignVariable", Status.INVALID, "no variable 'target'"),
        ("AnswersCode", Status.INVALID, "__import__"),
        ("AnswersHuge", Status.INVALID, "characters"),
        ("AnswersNumber", Status.INVALID, "no chosen formula"),
        ("WritesBrokenAnswer", Status.INVALID, "cannot be read"),
        ("WritesRubbishAnswer", Status.INVALID, "cannot be read"),
        ("WritesNoSeconds", Status.INVALID, "cannot be read"),
        ("WritesWordsForSeconds", Status.INVALID, "cannot be read"),
        ("WritesWordsForPredictions", Status.INVALID, "cannot be read"),
        ("WritesTableOfPredictions", Status.INVALID, "cannot be read"),
        ("WritesNumberForDetails", Status.INVALID, "cannot be read"),
        ("WritesWordsForMemory", Status.INVALID, "cannot be read"),
        ("TellsWhatNoFileHolds", Status.CRASH, "keys must be"),
        ("PredictsBadly", Status.INVALID, "shape (50, 2)"),
        ("Unavailable", Status.UNAVAILABLE, "licence server"),
        ("NoSuchClass", Status.INVALID, "NoSuchClass"),
    ],
)
def test_a_failure_is_a_row_with_its_reason(name, status, words):
    record = run(name)
    assert (record.status, words in record.reason) == (status, True), record.reason
    assert record.formula is None
    assert not (HERE / "OWNED").exists()
    assert not Path("OWNED").exists()


@pytest.mark.parametrize(
    "odd",
    [
        {"error": "ill", "fault": []},
        {"error": 3},
        {"stop_reason": None},
        {"predictions": 0},
        {"predictions": ""},
        {"predictions": {}},
        {"seconds": {"cpu": 10**400}},
        {"candidates": None},
        {"candidates": ["x0"]},
        {"details": json.loads('{"a":' * 900 + "1" + "}" * 900)},
    ],
)
def test_an_odd_answer_is_the_fault_of_the_method(tmp_path, odd):
    answer = {"candidates": [{"formula": "x0"}], **odd}
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    with pytest.raises(MethodError, match="cannot be read"):
        read_answer(tmp_path)


def test_a_folder_is_no_answer(tmp_path):
    (tmp_path / "answer.json").mkdir()
    with pytest.raises(MethodError, match="not a file"):
        read_answer(tmp_path)


def test_rubbish_for_a_phase_costs_nothing():
    assert run("WritesRubbishPhase").status is Status.OK


def test_the_last_words_of_a_failure_are_kept():
    assert "RuntimeError: this method has a bug" in run("Raises").stderr


@pytest.mark.parametrize("name", ["Hangs", "HangsDeaf"])
def test_a_hanging_method_is_ended_soon_after_its_limit(name):
    begin = time.monotonic()
    record = run(name, seconds=0.5)
    assert (record.status, "search" in record.reason) == (Status.TIMEOUT, True)
    assert time.monotonic() - begin < supervisor.search_limit(0.5) + 3.0


def test_a_thread_left_behind_does_not_hold_up_the_answer():
    assert run("HangsAtEnd").status is Status.OK


@pytest.mark.parametrize(("name", "status"), [("Forks", "ok"), ("ForksAndHangs", "timeout")])
def test_no_child_survives(name, status):
    assert run(name).status == status  # run() checks that nothing is left


_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux adopts such processes")


@pytest.mark.parametrize(
    "name",
    ["FillsMemory", "ChildFillsMemory", pytest.param("ForksTwiceAndFills", marks=_LINUX)],
)
def test_a_method_that_fills_memory_is_ended(name):
    record = run(name, seconds=20.0)
    assert (record.status, "400 MiB allowed" in record.reason) == (Status.MEMORY, True)
    assert record.seconds["cell"] < 15


def test_memory_that_a_child_hands_on_counts_once():
    record = run("HandsMemoryOn", seconds=20.0)
    assert record.status is Status.OK, record.reason
    assert 250 < record.peak_memory_mb < 400


@_LINUX
def test_a_worker_whose_parent_is_gone_does_not_begin(tmp_path):
    good = cell("Good")
    write_request(tmp_path, Request(good.target, {}, 1, good.budget, good.task))
    command = [good.command, "-m", "lee_bench.runs.worker", str(tmp_path)]
    for parent, code in ((os.getpid(), 0), (-1, 1)):
        done = subprocess.run(
            command,
            env={**good.environment, PARENT: str(parent)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert (done.returncode, (tmp_path / "answer.json").exists()) == (code, code == 0)
        (tmp_path / "answer.json").unlink(missing_ok=True)


def test_endless_printing_costs_no_memory():
    before = psutil.Process().memory_info().rss
    record = run("PrintsEndlessly", seconds=10.0)
    assert record.status is Status.OK
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_deep_nesting_is_read_or_refused_but_never_crashes():
    assert run("AnswersDeep").status in (Status.OK, Status.INVALID)


def test_thread_caps_reach_the_method():
    assert run("Thrifty").details == {"threads": "1"}


def test_stopping_ends_the_cell_at_once_and_leaves_no_record():
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    begin = time.monotonic()
    assert run_cell(cell("HangsDeaf", seconds=60.0), stop) is None
    assert time.monotonic() - begin < 5
    assert leftovers() == []
