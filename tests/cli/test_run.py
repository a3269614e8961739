"""`lee-bench run`, as a user types it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from lee_bench.cli.progress import RunProgress
from lee_bench.errors import DataError
from lee_bench.runs.record import Status
from lee_bench.tasks.sources import DataSource

SMALL = ("--suite", "strogatz", "--limit", "2", "--data", "builtin", "--method", "linear")
QUICK = ("--noise", "0", "--time-limit", "5")


def records(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("results/runs/**/*.json"))]


def test_a_run_measures_grades_and_says_what_next(lee_bench, tmp_path):
    done = lee_bench("run", *SMALL, "--noise", "0", "--noise", "0.1")
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path)) == 4
    assert {record["status"] for record in records(tmp_path)} == {"ok"}
    assert len(list(tmp_path.glob("results/grades/**/*.json"))) == 4
    assert "linear" in done.stdout
    assert "lee-bench pareto results" in done.stderr


def test_the_default_noise_levels_are_srbenchs(lee_bench):
    done = lee_bench("run", *SMALL, "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert {cell["path"].split("/")[-1].split("_")[0] for cell in plan["cells"]} == {
        "noise0",
        "noise0.001",
        "noise0.01",
        "noise0.1",
    }


def planned(typed, *arguments: str) -> list[str]:
    done = typed("run", *arguments, "--data", "builtin", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    return [cell["path"] for cell in json.loads(done.stdout)["cells"]]


def test_tasks_are_looked_for_in_all_suites_that_are_named(typed):
    both = ("-s", "feynman", "-s", "strogatz", "--noise", "0")
    paths = planned(typed, *both, "--task", "lv1", "--task", "I_6_2")
    assert [path.split("/")[1] for path in paths] == ["feynman_I_6_2", "strogatz_lv1"]
    assert "No task is called 'lv9'" in typed("run", *both, "--task", "lv9").stderr
    assert typed("run", *both, "--task", "lv1", "--limit", "1").returncode == 2


def test_all_methods_may_stand_beside_a_name(typed):
    paths = planned(typed, "--task", "lv1", "--noise", "0", "-m", "linear", "-m", "all")
    methods = [path.split("/")[2] for path in paths]
    assert methods[0] == "linear"
    assert len(methods) == len(set(methods)) > 1


def test_settings_are_checked_before_anything_runs(typed):
    one = ("--task", "lv1", "--noise", "0", "-m", "prior", "-m", "lee")
    for wrong in ("prior.proposals=0", "lee.bag=-3", "lee.nothing=1", "operon.max_length=3"):
        done = typed("run", *one, "--set", wrong)
        assert done.returncode == 2, wrong
        assert wrong.partition(".")[0] in done.stderr
    default = planned(typed, *one, "--set", "prior.pairs=128")
    assert default == planned(typed, *one) != planned(typed, *one, "--set", "prior.pairs=0")


def test_data_that_cannot_be_had_after_all_cost_their_own_cells(typed, tmp_path, monkeypatch):
    load = DataSource.load

    def gone(self, info):
        if info.name == "strogatz_bacres1":
            raise DataError("It went away.", "Get it back.")
        return load(self, info)

    monkeypatch.setattr(DataSource, "load", gone)
    done = typed("run", *SMALL, "--noise", "0", "--noise", "0.1")
    assert done.returncode == 1
    assert "not measured, 2 cells of strogatz_bacres1: It went away. Get it back." in " ".join(
        done.stderr.split()
    )
    assert {record["key"]["task"] for record in records(tmp_path)} == {"strogatz_bacres2"}
    monkeypatch.undo()
    assert typed("run", *SMALL, "--noise", "0", "--noise", "0.1").returncode == 0
    assert len(records(tmp_path)) == 4


def test_a_dry_run_leaves_nothing_behind(lee_bench, tmp_path):
    done = lee_bench("run", *SMALL, *QUICK, "--dry-run")
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "2 cells to measure" in done.stdout


def test_the_same_command_again_measures_nothing_anew(lee_bench, tmp_path):
    lee_bench("run", *SMALL, *QUICK)
    before = records(tmp_path)
    done = lee_bench("run", *SMALL, *QUICK)
    assert (done.returncode, records(tmp_path)) == (0, before)
    assert "2 of 2 cells are done already" in done.stderr
    forced = lee_bench("run", *SMALL, *QUICK, "--force")
    assert forced.returncode == 0
    assert [r["seconds"] for r in records(tmp_path)] != [r["seconds"] for r in before]


def test_retry_measures_failed_and_damaged_cells_again(lee_bench, tmp_path):
    lee_bench("run", *SMALL, *QUICK)
    first, second = sorted(tmp_path.glob("results/runs/**/*.json"))
    failed = json.loads(first.read_text()) | {"status": "crash", "formula": None}
    first.write_text(json.dumps(failed))
    second.write_text("{ torn")
    again = lee_bench("run", *SMALL, *QUICK)
    assert "damaged" in again.stderr
    assert json.loads(first.read_text())["status"] == "crash"
    lee_bench("run", *SMALL, *QUICK, "--retry", "failed")
    assert {record["status"] for record in records(tmp_path)} == {"ok"}


def test_finished_cells_that_failed_are_said_with_the_way_to_repeat_them(typed, made, tmp_path):
    cells = [made.failed(Status.UNAVAILABLE, method="linear"), made.ok(method="linear", noise=0.1)]
    made.store(tmp_path / "results", *cells)
    same = ("--task", made.task, "--method", "linear", "--data", "builtin", "--time-limit", "10")
    done = typed("run", *same, "--noise", "0", "--noise", "0.1")
    assert done.returncode == 0, done.stderr
    words = "are done already; 1 of them failed: --retry failed measures them again."
    assert f"2 of 2 cells {words}" in done.stderr
    assert "--retry" not in typed("run", *same, "--noise", "0.1").stderr


def test_cells_that_waited_for_a_processor_are_said_and_measured_again(typed, made, tmp_path):
    cells = [made.ok(method="linear", waited=0.5), made.ok(method="linear", noise=0.1, waited=0.1)]
    store = made.store(tmp_path / "results", *cells)
    same = ("--task", made.task, "--method", "linear", "--data", "builtin", "--time-limit", "10")
    grid = ("run", *same, "--noise", "0", "--noise", "0.1")
    done = typed(*grid)
    assert "1 of them waited for a processor: --retry crowded measures them again." in done.stderr
    assert "in more than a tenth of their search: linear 1." in done.stderr.replace("\n", " ")
    assert "linear 1." in typed("pareto", tmp_path / "results").stderr
    again = typed(*grid, "--retry", "crowded")
    assert again.returncode == 0, again.stderr
    assert "--retry" not in again.stderr
    assert [store.read(cell.key) == cell for cell in cells] == [False, True]


def test_a_table_over_different_cells_says_so(typed, made, tmp_path):
    tasks = (made.task, "strogatz_lv1")
    cells = [made.ok("x", task=task, method=name) for task in tasks for name in ("linear", "lee")]
    store = made.store(tmp_path / "results", *cells)
    (store.runs / cells[0].key.path).write_text("{")
    chosen = [word for task in tasks for word in ("--task", task)]
    methods = ("--method", "linear", "--method", "lee", "--data", "builtin")
    done = typed("run", *chosen, *methods, "--noise", "0", "--time-limit", "10")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 cells are done already" in done.stderr
    assert "Missing of 2: linear 1" in done.stderr


def test_shards_share_the_work(lee_bench, tmp_path):
    for part in ("1/2", "2/2"):
        assert lee_bench("run", *SMALL, *QUICK, "--shard", part).returncode == 0
    assert len(records(tmp_path)) == 2


def test_a_part_without_cells_is_no_failure(typed):
    for more, printed in (((), ""), (("--json",), "[]\n")):
        done = typed("run", *SMALL, *QUICK, "--shard", "3/3", *more)
        assert (done.returncode, done.stdout) == (0, printed), done.stderr
        assert "Part 3/3 is empty" in done.stderr
    done = typed("run", *SMALL, *QUICK, "--shard", "3/3", "--dry-run")
    assert "0 cells to measure" in done.stdout


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--force",), "The same command again measures all of them anew."),
        (("--retry", "failed"), "The same command again goes on from here."),
    ],
)
def test_who_stops_cells_that_are_measured_again_is_told_what_is_left(
    typed, made, tmp_path, monkeypatch, option, words
):
    cells = [made.failed(method="linear", task=task) for task in (made.task, "strogatz_lv1")]
    made.store(tmp_path / "results", *cells)

    def stopped(*arguments):
        yield cells[0]
        raise KeyboardInterrupt

    monkeypatch.setattr("lee_bench.runs.executors.local.run", stopped)
    tasks = ("--task", made.task, "--task", "strogatz_lv1")
    same = ("--method", "linear", "--noise", "0", "--time-limit", "10", "--data", "builtin")
    done = typed("run", *tasks, *same, *option)
    assert done.returncode == 130
    assert f"stopped with 1 of 2 cells to go; what was measured is kept. {words}" in " ".join(
        done.stderr.split()
    )


def test_json_is_the_summary(lee_bench):
    done = lee_bench("run", *SMALL, *QUICK, "--json")
    (row,) = json.loads(done.stdout)
    assert (row["method"], row["suite"], row["cells"]) == ("linear", "strogatz", 2)


def test_a_method_that_is_not_there_is_a_row_with_its_remedy(lee_bench, tmp_path):
    done = lee_bench("run", *SMALL[:-1], "pysr", *QUICK)
    if "cannot run here" not in done.stderr:
        pytest.skip("pysr is installed here")
    assert done.returncode == 1
    assert {record["status"] for record in records(tmp_path)} == {"unavailable"}
    assert "pip" in done.stderr or "install" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name a suite"),
        (("--suite", "feinman"), "Did you mean feynman"),
        (("--suite", "feynman", "--task", "I_6_2x"), "I_6_2"),
        (("--suite", "feynman", "--method", "operonn"), "Did you mean operon"),
        ((*SMALL, "--noise", "-0.1"), "noise"),
        ((*SMALL, "--time-limit", "0"), "time limit"),
        ((*SMALL, "--set", "linear.depth=3"), "no setting 'depth'"),
        ((*SMALL, "--set", "depth=3"), "METHOD.NAME=VALUE"),
        ((*SMALL, "--set", "operon.seed=3"), "not among the methods"),
        ((*SMALL, "--shard", "3/2"), "part 3 of 2"),
        ((*SMALL, "--shard", "half"), "2/8"),
        ((*SMALL, "--trials", "11"), "trials"),
        ((*SMALL, "--jobs", "0"), "jobs"),
    ],
)
def test_wrong_usage_is_one_clear_answer(lee_bench, tmp_path, arguments, words):
    done = lee_bench("run", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_out_first(lee_bench, tmp_path):
    (tmp_path / "taken").write_text("a file")
    done = lee_bench("run", *SMALL, *QUICK, "--results", "taken")
    assert done.returncode == 1
    assert "Cannot write" in done.stderr
    assert "--results" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_record_that_cannot_be_written_ends_the_run_in_words(lee_bench, tmp_path):
    (tmp_path / "results/runs").mkdir(parents=True)
    (tmp_path / "results/runs/strogatz").write_text("in the way")
    done = lee_bench("run", *SMALL, *QUICK)
    assert done.returncode == 1
    assert "Cannot write the record results/runs/strogatz" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_that_cannot_be_started_ends_the_run_in_words(typed, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lee_bench.runs.executors.local.run", full)
    done = typed("run", *SMALL, *QUICK)
    assert done.returncode == 1
    assert "could not be run: No space left on device." in done.stderr


MARK = "LEE_BENCH_TESTED_BY"  # tells workers of a test's run from those of tests beside it


def start(command, tmp_path, *arguments: str) -> subprocess.Popen:
    """Start a run of a method that uses all its time, and wait for the first record."""
    process = subprocess.Popen(
        [command, "run", *arguments, "--suite", "strogatz", "--data", "builtin", "--noise", "0"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", MARK: str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not records(tmp_path):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def workers(tmp_path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = process.environ().get(MARK) == str(tmp_path)
            if mine and "lee_bench.runs.worker" in process.cmdline():
                found.append(process)
    return found


STEADY = ("--method", "linear", "--time-limit", "5", "--jobs", "1", "--trials", "3")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    command, lee_bench, tmp_path, number
):
    process = start(command, tmp_path, *STEADY)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "cells to go" in errors
    assert "Traceback" not in errors
    kept = records(tmp_path)
    assert 1 <= len(kept) < 42
    arguments = ("--suite", "strogatz", "--data", "builtin", "--noise", "0")
    assert lee_bench("run", *STEADY, *arguments).returncode == 0
    assert len(records(tmp_path)) == 42
    assert all(record in records(tmp_path) for record in kept)


def test_kill_nine_loses_the_cells_in_flight_and_nothing_else(command, lee_bench, tmp_path):
    process = start(command, tmp_path, *STEADY)
    deadline = time.monotonic() + 20
    while not workers(tmp_path):  # between two cells there is none
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    for record in records(tmp_path):
        assert record["status"] == "ok"
    deadline = time.monotonic() + 5
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers(tmp_path), "a worker outlived its parent"
    arguments = ("--suite", "strogatz", "--data", "builtin", "--noise", "0")
    done = lee_bench("run", *STEADY, *arguments)
    assert (done.returncode, len(records(tmp_path))) == (0, 42)


def test_a_formula_without_a_score_is_a_line_of_the_progress(made, capsys):
    record = made.ok("log(x - 100)")
    with RunProgress([record.key], lambda record: None) as progress:
        progress.add(record)
    assert "[1/1] strogatz" in capsys.readouterr().err
