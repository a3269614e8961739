"""`lee-bench compare`, as a user types it."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def results(made, tmp_path):
    """Operon solves seven tasks, linear none, pysr is not there."""
    tasks = ["bacres1", "bacres2", "barmag1", "glider1", "lv1", "predprey1", "vdp1"]
    records = []
    for task in (f"strogatz_{name}" for name in tasks):
        truth = made.truth_of(task)
        records += [
            made.ok(truth, task=task, method="operon", seed=seed) for seed in (23654, 15795)
        ]
        records += [made.ok("x", task=task, method="linear"), made.failed(task=task, method="pysr")]
    made.store(tmp_path / "results", *records)
    return tmp_path / "results"


def test_the_better_one_wins_and_the_failed_one_loses(typed, results):
    done = typed("compare", "results", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    rows = {(r["method"], r["against"], r["metric"]): r for r in answer["comparisons"]}
    solved = rows["linear", "operon", "symbolic_solution"]
    assert (solved["wins"], solved["ties"], solved["losses"]) == (0, 0, 7)
    assert (solved["difference"], solved["effect"]) == (-1.0, -1.0)
    assert solved["unpaired"] == 7  # the second seed of operon
    assert rows["operon", "pysr", "r2_test"]["wins"] == 7
    assert solved["p"] < 0.05 < 3 * solved["p"] + 0.01
    assert solved["p_holm"] > solved["p"]
    best = {r["label"]: r["rank"] for r in answer["ranks"] if r["metric"] == "r2_test"}
    assert best == {"operon": 1.0, "linear": 2.0, "pysr": 3.0}


def test_only_what_was_asked_for_with_words_and_files(typed, results):
    done = typed("compare", "results", "--method", "operon", "--against", "linear")
    assert done.returncode == 0, done.stderr
    assert "operon against linear" in done.stdout
    assert "7/0/0" in done.stdout
    assert "pysr" not in done.stdout
    assert "Holm-corrected" in done.stderr
    assert "without a partner" in done.stderr
    for name in ("compare.csv", "ranks.csv", "ranks.png", "ranks.svg"):
        assert (results / "figures" / name).stat().st_size


def test_over_noise_levels_there_is_one_comparison_a_suite(typed, made, tmp_path):
    made.store(
        tmp_path / "results",
        *(
            made.ok(formula, task=f"strogatz_{task}", method=method, noise=noise)
            for task in ("bacres1", "bacres2", "vdp1")
            for noise in (0.0, 0.1)
            for method, formula in (("operon", made.truth_of(f"strogatz_{task}")), ("linear", "x"))
        ),
    )
    done = typed("compare", "results", "--over-noise", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {row["noise"] for row in answer["comparisons"] + answer["ranks"]} == {"all noise levels"}
    (row,) = (r for r in answer["comparisons"] if r["metric"] == "r2_test")
    assert (row["tasks"], row["pairs"], row["losses"]) == (3, 6, 3)
    done = typed("compare", "results", "--over-noise")
    assert "strogatz, all noise levels" in done.stdout
    assert "one number a task in each suite" in " ".join(done.stderr.split())


def test_a_pair_is_tested_once_however_it_is_asked_for(typed, results):
    names = ("operon", "linear", "operon")
    done = typed(
        "compare", "results", *(word for n in names for word in ("--against", n)), "--json"
    )
    rows = [r for r in json.loads(done.stdout)["comparisons"] if r["metric"] == "r2_test"]
    pairs = [{r["method"], r["against"]} for r in rows]
    assert sorted(map(sorted, pairs)) == [
        ["linear", "operon"],
        ["linear", "pysr"],
        ["operon", "pysr"],
    ]


def test_a_method_against_itself_is_refused(typed, results):
    done = typed("compare", "results", "--method", "operon", "--against", "operon")
    assert done.returncode == 2
    assert "operon cannot be compared with itself" in done.stderr


def test_methods_that_share_no_task_are_said_and_have_no_row(typed, made, tmp_path):
    made.store(tmp_path / "r", made.ok(), made.ok("x", method="linear", task="strogatz_lv1"))
    done = typed("compare", "r")
    assert done.returncode == 0
    assert "No cell in common, so nothing to compare: linear and operon." in done.stderr
    assert "against operon" not in done.stdout


def test_one_method_and_unknown_methods_are_answered_in_words(typed, made, results, tmp_path):
    done = typed("compare", "results", "--method", "leee")
    assert done.returncode == 2
    assert "leee" in done.stderr
    made.store(tmp_path / "alone", made.ok())
    done = typed("compare", "alone")
    assert done.returncode == 2
    assert "one method only, operon" in done.stderr
    made.store(tmp_path / "alone", made.ok(method="linear"))
    assert typed("compare", "alone").returncode == 0  # one cell each: a comparison, of no weight


def test_different_conditions_are_said(typed, made, tmp_path):
    made.store(tmp_path / "mixed", made.ok(), made.ok("x", method="linear", seconds=60.0))
    done = typed("compare", "mixed")
    assert done.returncode == 0
    assert "different time limits (10.0; 60.0 s)" in done.stderr


def test_all_failed_is_nothing_to_compare(typed, made, tmp_path):
    made.store(tmp_path / "failed", made.failed(), made.failed(method="linear"))
    done = typed("compare", "failed")
    assert done.returncode == 1
    assert "no cell has a grade" in done.stderr


def test_a_copied_folder_changes_nothing_and_is_said(typed, made, tmp_path):
    made.store(tmp_path / "r", made.ok(), made.ok("x", method="linear"))
    once = typed("compare", "r", "--json")
    shutil.copytree(tmp_path / "r/runs/strogatz", tmp_path / "r/runs/strogatz.bak")
    twice = typed("compare", "r", "--json")
    assert (twice.returncode, twice.stdout) == (0, once.stdout), twice.stderr
    assert "strogatz.bak" in twice.stderr


def test_an_empty_folder_is_said(typed, tmp_path):
    (tmp_path / "results").mkdir()
    done = typed("compare", "results")
    assert done.returncode == 1
    assert "No readable record" in done.stderr
