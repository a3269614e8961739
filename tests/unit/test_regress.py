"""A planted regression is caught, seed noise is not, and what cannot be compared is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from lee_bench.errors import SetupError
from lee_bench.evidence import aggregate
from lee_bench.evidence.baseline import Baseline
from lee_bench.evidence.grade import Cell
from lee_bench.evidence.regress import Verdict, _level, check, flip_test


def run(seed: int = 0, methods=("a", "b"), tasks: int = 14, seeds: int = 3, **of) -> Baseline:
    """A measured grid: what each task is like is fixed, what a run makes of it depends on seed."""
    random = np.random.default_rng(seed)
    rows = list(itertools.product(methods, range(tasks), range(seeds)))
    level = np.array([task / tasks for _, task, _ in rows])
    nines = random.normal(1 + 4 * level, 0.5)
    cells = pd.DataFrame(
        {
            "suite": "strogatz",
            "noise": 0.0,
            "method": [method for method, _, _ in rows],
            "settings": "",
            "task": [f"t{task:02}" for _, task, _ in rows],
            "seed": [number for _, _, number in rows],
            "protocol": 1,
            "data": "builtin",
            "time_limit": 10.0,
            "threads": 1,
            "data_sha256": [f"sha of {task}" for _, task, _ in rows],
            "machine": "m",
            "status": "ok",
            "r2_test": 1 - 10.0 ** -np.maximum(nines, 0.05),
            "complexity": np.round(10 + 20 * level + random.normal(0, 3, len(rows))),
            "accuracy_solution": (nines > 3) * 1.0,
            "symbolic_solution": (random.uniform(size=len(rows)) < level) * 1.0,
            "seconds": 5.0 * np.exp(random.normal(0, 0.1, len(rows))),
        }
    ).assign(**of)
    return Baseline(cells)


def panels(seed: int = 0, tasks: int = 4) -> Baseline:
    """Two suites at two noise levels, few cells in each."""
    parts = [
        run(4 * seed + i, tasks=tasks, seeds=1, suite=suite, noise=noise).cells
        for i, (suite, noise) in enumerate(itertools.product(("feynman", "strogatz"), (0.0, 0.1)))
    ]
    return Baseline(pd.concat(parts, ignore_index=True))


def changed(baseline: Baseline, method: str, **columns) -> Baseline:
    """A copy in which columns of one method are passed through functions."""
    cells = baseline.cells.copy()
    for name, change in columns.items():
        mine = cells["method"] == method
        cells[name] = cells[name].where(~mine, change(cells[name]))
    return replace(baseline, cells=cells)


def verdicts(groups) -> dict[str, Verdict]:
    return {group.method: group.verdict for group in groups}


def lines(group) -> dict[str, Verdict]:
    return {line.score: line.verdict for line in group.lines}


def test_tasks_whose_law_nobody_knows_do_not_dilute_what_was_solved():
    laws = run(methods=("a",), seeds=1, symbolic_solution=1.0)
    others = run(methods=("a",), tasks=122, seeds=1, suite="blackbox", symbolic_solution=np.nan)
    before = Baseline(pd.concat([laws.cells, others.cells], ignore_index=True))
    lost = (before.cells["suite"] == "strogatz") & (before.cells["task"] < "t06")
    cells = before.cells.copy()
    cells.loc[lost, "symbolic_solution"] = 0.0
    (everywhere,) = (g for g in check(before, replace(before, cells=cells)) if g.suite == "all")
    (solved,) = (line for line in everywhere.lines if line.score == "solved")
    assert (solved.before, solved.now) == (1.0, pytest.approx(8 / 14))
    assert solved.verdict is Verdict.WORSE
    assert "most on t0" in solved.why


def test_a_failure_of_a_task_with_a_law_is_a_miss(made):
    frame = aggregate.cells([Cell(made.failed(), None), Cell(made.failed(seed=860), None)])
    assert Baseline.of(frame).cells["symbolic_solution"].tolist() == [0.0, 0.0]
    assert Baseline.of(frame.assign(truth=None)).cells["symbolic_solution"].isna().all()


def test_seed_noise_is_not_called_worse():
    alarms = [
        any(group.fails for group in check(run(2 * seed), run(2 * seed + 1))) for seed in range(40)
    ]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize(
    ("score", "column", "change"),
    [
        ("R²", "r2_test", lambda x: x - 0.05),
        ("R² > 0.999", "accuracy_solution", lambda x: x * 0),
        ("solved", "symbolic_solution", lambda x: x * (np.arange(len(x)) % 4 == 0)),
        ("size", "complexity", lambda x: x * 1.4),
        ("time", "seconds", lambda x: x * 1.5),
    ],
)
def test_a_planted_regression_is_caught_where_it_was_planted(score, column, change):
    groups = check(run(0), changed(run(1), "b", **{column: change}))
    assert verdicts(groups) == {"a": Verdict.SAME, "b": Verdict.WORSE}
    assert {s for s, v in lines(groups[1]).items() if v is Verdict.WORSE} <= {score, "front"}
    assert [group.fails for group in groups] == [False, True]
    (line,) = (line for line in groups[1].lines if line.score == score)
    assert line.p < 0.01
    assert "most on t" in line.why


def test_the_way_back_is_better_and_passes():
    (_, b) = check(changed(run(0), "b", complexity=lambda x: x * 1.4), run(1))
    assert b.verdict is Verdict.BETTER
    assert not b.fails


def test_the_same_run_is_the_same():
    for group in check(run(), run()):
        assert group.verdict is Verdict.SAME
        assert all(np.isnan(line.p) for line in group.lines)


def test_a_certain_but_small_change_is_none():
    groups = check(run(), changed(run(), "b", complexity=lambda x: x * 1.05))
    assert verdicts(groups)["b"] is Verdict.SAME


def test_a_large_change_of_few_cells_is_no_evidence():
    few = run(tasks=4, seeds=1)
    groups = check(few, changed(few, "b", r2_test=lambda x: x * 0))
    assert verdicts(groups)["b"] is Verdict.SAME


def test_what_is_lost_everywhere_adds_up():
    before = panels()
    *each, a, b = check(before, changed(before, "b", r2_test=lambda x: x - 0.1))
    assert {group.verdict for group in (*each, a)} == {Verdict.SAME}
    assert (a.suite, a.method, b.suite, b.method) == ("all", "a", "all", "b")
    assert lines(b)["R²"] is Verdict.WORSE
    assert b.fails


def test_seed_noise_adds_up_to_nothing():
    alarms = [
        any(group.fails for group in check(panels(2 * seed), panels(2 * seed + 1)))
        for seed in range(20)
    ]
    assert np.mean(alarms) <= 0.05


def test_only_what_was_compared_is_pooled():
    before = panels()
    feynman = before.cells["suite"] == "feynman"
    now = before.cells.assign(time_limit=np.where(feynman & (before.cells["noise"] > 0), 1, 10))
    *_, a, b = check(before, replace(before, cells=now))
    assert (a.suite, b.suite) == ("all", "all")
    one = before.cells[feynman & (before.cells["noise"] == 0)]
    assert all(group.suite != "all" for group in check(before, replace(before, cells=one)))


def test_failures_are_losses():
    broken = changed(run(1), "b", **dict.fromkeys(
        ("r2_test", "complexity", "accuracy_solution", "symbolic_solution", "seconds"),
        lambda x: x.where(np.arange(len(x)) % 3 > 0),
    ))  # fmt: skip
    (_, b) = check(run(0), broken)
    assert lines(b)["R²"] is Verdict.WORSE
    all_failed = changed(run(), "b", r2_test=lambda x: x * np.nan, complexity=lambda x: x * np.nan)
    assert check(run(), all_failed)[1].verdict is Verdict.WORSE


@pytest.mark.parametrize("bad", [True, False])
def test_deterministic_methods_are_held_to_equality(bad):
    before = replace(run(), exact=("b",))
    cells = before.cells.copy()
    row = cells.index[cells["method"] == "b"][5]
    cells.loc[row, "complexity"] += 1 if bad else -1
    (a, b) = check(before, replace(before, cells=cells))
    assert a.verdict is Verdict.SAME
    assert b.verdict is (Verdict.WORSE if bad else Verdict.BETTER)
    assert "1 of 42 cells" in next(line.why for line in b.lines if line.score == "size")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (run(protocol=2), "protocol version was 1, is 2"),
        (run(data="pmlb"), "kind of data was builtin, is pmlb"),
        (run(time_limit=60.0), "time limit was 10.0, is 60.0"),
        (run(threads=2), "number of threads was 1, is 2"),
        (run(data_sha256="other"), "other data (SHA-256) of 14 tasks"),
        (run(seeds=2), "other seeds: baseline only 2"),
        (run(tasks=15), "other tasks: now only t14"),
        (run(status="unavailable"), "unavailable"),
        (replace(run(), cells=run().cells.drop(index=3)), "1 cells are missing on one side"),
        (replace(run(), grade_version=0), "graded by other rules"),
        (run(methods=("b",)), "not measured now"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(now, words):
    group = check(run(), now)[0]
    assert (group.verdict, group.lines, group.fails) == (Verdict.NOT_COMPARABLE, (), True)
    assert words in group.why


def test_mixed_limits_within_a_run_are_refused():
    mixed = run(time_limit=lambda c: np.where(c["seed"] == 0, 10.0, 60.0))
    assert "differ in their time limit" in check(run(), mixed)[0].why


def test_a_new_method_is_no_regression():
    groups = check(run(methods=("a",)), run(methods=("a", "b")))
    assert verdicts(groups) == {"a": Verdict.SAME, "b": Verdict.NOT_COMPARABLE}
    assert not any(group.fails for group in groups)


def test_on_another_machine_all_but_time_is_compared():
    slow = changed(run(machine="other"), "b", seconds=lambda x: x * 9)
    for group in check(run(), slow):
        assert group.verdict is Verdict.SAME
        assert lines(group)["time"] is Verdict.NOT_COMPARABLE
    larger = changed(slow, "b", complexity=lambda x: x * 2)
    assert verdicts(check(run(), larger))["b"] is Verdict.WORSE


def test_equality_ends_where_machines_may_round_differently():
    before = replace(panels(), exact=("a", "b"))
    worse = {"complexity": lambda x: x.where(np.arange(len(x)) > 0, x + 1)}
    here = check(before, changed(before, "a", **worse))
    assert {group.method for group in here if group.fails} == {"a"}
    assert all(group.suite != "all" for group in here)
    cells = before.cells.assign(machine="other")
    there = check(before, changed(replace(before, cells=cells), "a", **worse))
    assert not any(group.fails for group in there)
    all_lost = {"complexity": lambda x: x * 2}
    there = check(before, changed(replace(before, cells=cells), "a", **all_lost))
    assert {(group.suite, group.method) for group in there if group.fails} == {("all", "a")}


def test_time_counts_beyond_the_resolution_of_the_clock_even_where_equality_is_asked():
    before = replace(run(), exact=("b",))
    slow = changed(before, "b", seconds=lambda x: x * 9)
    assert verdicts(check(before, slow))["b"] is Verdict.WORSE
    quick = changed(before, "b", seconds=lambda x: x * 0 + 0.001)
    slower = changed(before, "b", seconds=lambda x: x * 0 + 0.01)
    assert verdicts(check(quick, slower))["b"] is Verdict.SAME


def test_times_can_be_left_out():
    slow = changed(run(), "b", seconds=lambda x: x * 9)
    assert verdicts(check(run(), slow))["b"] is Verdict.WORSE
    (_, b) = check(run(), slow, times=False)
    assert b.verdict is Verdict.SAME
    assert lines(b)["time"] is Verdict.NOT_COMPARABLE


def test_cells_that_never_started_are_of_no_machine_and_no_data(tmp_path):
    before = run()
    before.cells.loc[::5, ["machine", "data_sha256"]] = ""
    before.write(tmp_path / "ci.json")
    for group in check(Baseline.read(tmp_path / "ci.json"), run()):
        assert group.verdict is Verdict.SAME
        assert lines(group)["time"] is Verdict.SAME


def test_leaving_the_front_alone_is_not_worse_but_said():
    before = changed(run(), "b", complexity=lambda x: x - 1)
    after = changed(run(), "a", complexity=lambda x: x - 2)
    (_, b) = check(before, after)
    (front,) = (line for line in b.lines if line.score == "front")
    assert (front.before, front.now, front.verdict) == (1.0, 0.0, Verdict.SAME)
    assert "left it" in front.why


@given(st.lists(st.integers(-64, 64).filter(bool), min_size=2, max_size=9))
@settings(deadline=None)
def test_flips_are_scipys(x):
    x = np.array(x) / 64  # sums are exact, so both count the same ties
    theirs = reference.permutation_test(
        (x, np.zeros_like(x)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        alternative="less",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert flip_test(x) == pytest.approx(theirs.pvalue)


def test_many_flips_agree_with_all_of_them():
    x = np.random.default_rng(1).normal(-0.4, 1, size=13)
    exact = flip_test(x)
    near = flip_test(np.append(x, 1e-12))
    assert near == pytest.approx(exact, abs=0.01)


def test_a_bound_stands_in_where_flips_need_not_be_drawn():
    x = np.random.default_rng(1).normal(-0.6, 1, size=30)
    bound = flip_test(x)
    assert bound == pytest.approx(np.exp(-(x.sum() ** 2) / (2 * (x**2).sum())))
    assert flip_test(x, level=bound / 2) <= bound


def test_what_every_cell_lost_is_seen_at_the_level_of_a_large_grid():
    level = 0.05 / 2000
    assert flip_test(-np.ones(40), level) <= level
    x = np.random.default_rng(1).normal(-0.9, 1, size=30)  # the bound alone does not settle it
    assert flip_test(x, level) <= level < np.exp(-(x.sum() ** 2) / (2 * (x**2).sum()))


def test_tests_that_cannot_reject_take_no_share():
    assert _level([0, 1, 2, 3]) == 0.05
    assert _level([10, 0, 0, 0]) == 0.05
    assert _level([20, 20, 20, 0]) == pytest.approx(0.05 / 3)


def test_a_baseline_survives_the_disk(tmp_path):
    before = changed(run(), "b", r2_test=lambda x: x.where(x > 0.9))
    before = replace(before, exact=("b",))
    before.write(tmp_path / "ci.json")
    again = Baseline.read(tmp_path / "ci.json")
    assert again.exact == ("b",)
    pd.testing.assert_frame_equal(again.cells, before.cells, check_dtype=False, atol=1e-12)
    assert all(group.verdict is Verdict.SAME for group in check(again, before))
    assert len((tmp_path / "ci.json").read_text().splitlines()) == len(before.cells) + 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a baseline"),
        ("[]", "not a baseline"),
        ('{"format": 1}', "not a baseline"),
        ('{"format": 99, "lee_bench": "9.0"}', "newer"),
        (None, "Cannot read"),
    ],
)
def test_a_bad_baseline_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "ci.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SetupError, match=words) as error:
        Baseline.read(path)
    assert "lee-bench baseline" in error.value.hint
