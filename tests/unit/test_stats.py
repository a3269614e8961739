"""Statistics against scipy on the same numbers, and against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from lee_bench.evidence.metrics import COMPLEXITY, R2_TEST, SECONDS, SOLVED, Summary
from lee_bench.evidence.stats import ALL_LEVELS, compare, holm, interval, paired_table, rank_table


def frame(values, method="a", *, seeds=1, suite="feynman", noise=0.0, metric=R2_TEST):
    """Cells of one method: values in the order task by task, seed by seed; NaN failed."""
    values = np.asarray(values, dtype=float)
    return pd.DataFrame(
        {
            "suite": suite,
            "noise": noise,
            "label": method,
            "method": method,
            "task": [f"t{i // seeds:03}" for i in range(len(values))],
            "seed": [i % seeds for i in range(len(values))],
            "graded": True,
            "truth": "x",
            **{m.name: np.nan for m in (R2_TEST, COMPLEXITY, SECONDS, SOLVED)},
            metric.name: values,
        }
    )


@pytest.mark.parametrize("summary", Summary)
@pytest.mark.parametrize("n", [5, 40, 41])
def test_intervals_agree_with_scipys_where_a_task_is_one_cell(summary, n):
    random = np.random.default_rng(n)
    x = random.normal(size=n) if summary is Summary.MEDIAN else random.integers(2, size=n) * 1.0
    mine = interval(pd.Series(x), pd.Series(np.arange(n)), summary)
    theirs = reference.bootstrap(
        (x,),
        np.median if summary is Summary.MEDIAN else np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert mine == pytest.approx(tuple(theirs), abs=0.25 * x.std())


@given(st.integers(2, 8), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_medians_of_resamples_are_medians_of_the_copied_cells(tasks, seeds, number):
    from lee_bench.evidence.stats import _weighted_medians

    random = np.random.default_rng(number)
    x = random.integers(0, 5, size=tasks * seeds).astype(float)
    times = random.multinomial(tasks, np.full(tasks, 1 / tasks), size=4)
    each = np.repeat(times, seeds, axis=1).astype(float)
    copied = [np.median(np.repeat(x, row.astype(int))) for row in each]
    assert _weighted_medians(x, each).tolist() == copied


def test_seeds_of_one_task_are_not_tasks():
    """Ten alike seeds of each task say no more than one."""
    x = np.random.default_rng(0).normal(size=12)
    one = interval(pd.Series(x), pd.Series(np.arange(12)), Summary.MEDIAN)
    ten = interval(pd.Series(x.repeat(10)), pd.Series(np.arange(12).repeat(10)), Summary.MEDIAN)
    assert ten == pytest.approx(one)
    assert all(map(math.isnan, interval(pd.Series(x), pd.Series(["t"] * 12), Summary.MEDIAN)))


def test_failures_are_misses_in_rates_and_missing_in_medians():
    tasks = pd.Series(np.arange(4))
    assert interval(pd.Series([1.0, 1.0, np.nan, np.nan]), tasks, Summary.RATE)[0] < 0.5
    assert interval(pd.Series([3.0, 3.0, np.nan, np.nan]), tasks, Summary.MEDIAN) == (3.0, 3.0)


@pytest.mark.parametrize("n", [4, 12, 30, 119])
@pytest.mark.parametrize("ties", [False, True])
def test_wilcoxon_is_scipys(n, ties):
    random = np.random.default_rng(n)
    a, b = random.uniform(0.5, 1.0, size=(2, n))
    if ties:
        a[::3] = b[::3]
    d = np.where(np.abs(a - b) < 1e-3, 0.0, a - b)
    mine = compare(frame(a), frame(b, "b"), R2_TEST)
    assert mine.p == pytest.approx(reference.wilcoxon(d, zero_method="zsplit").pvalue)
    assert (mine.wins, mine.ties, mine.losses) == ((d > 0).sum(), (d == 0).sum(), (d < 0).sum())
    ranks = reference.rankdata(abs(d))
    split = ranks[d == 0].sum() / 2
    plus, minus = ranks[d > 0].sum() + split, ranks[d < 0].sum() + split
    assert mine.effect == pytest.approx((plus - minus) / (plus + minus))
    back = compare(frame(b, "b"), frame(a), R2_TEST)
    assert (back.p, back.effect) == pytest.approx((mine.p, -mine.effect))


def test_where_low_is_good_a_win_is_low():
    small, large = (frame(v, metric=COMPLEXITY) for v in ([5, 6, 7], [9, 20, 7]))
    paired = compare(small, large, COMPLEXITY)
    assert (paired.wins, paired.ties, paired.losses) == (2, 1, 0)
    assert paired.difference == -4
    assert paired.effect > 0


def test_a_failure_loses_to_everything_and_ties_with_a_failure():
    paired = compare(frame([np.nan, np.nan, -50.0]), frame([-99.0, np.nan, np.nan]), R2_TEST)
    assert (paired.wins, paired.ties, paired.losses) == (1, 1, 1)
    assert paired.effect == 0.0
    all_failed = compare(frame([np.nan] * 6), frame([0.5] * 6), R2_TEST)
    assert (all_failed.losses, all_failed.effect, all_failed.difference) == (6, -1.0, -np.inf)
    assert all_failed.p == pytest.approx(reference.wilcoxon([-1.0] * 6).pvalue)


def test_seeds_become_one_number_a_task_and_missing_ones_are_said():
    a = frame([0.9, 0.2, 0.9, 0.7, 0.7, 0.7], seeds=3)
    b = frame([0.5, 0.5, 0.5, 0.8, 0.8, 0.8], "b", seeds=3)
    paired = compare(a, b[b["seed"] != 2], R2_TEST)
    assert (paired.tasks, paired.pairs, paired.unpaired) == (2, 4, 2)
    paired = compare(a, b, R2_TEST)
    assert (paired.wins, paired.losses) == (1, 1)  # medians of 0.4, -0.3, 0.4 and of -0.1 thrice


def test_nothing_shared_is_no_comparison():
    b = frame([1.0], "b")
    b["task"] = "elsewhere"
    paired = compare(frame([1.0]), b, R2_TEST)
    assert (paired.tasks, paired.unpaired) == (0, 2)
    assert math.isnan(paired.p)


def test_holm_by_hand():
    # 4 * .005, 3 * .01, 2 * .03 and .04, which may not be below its forerunner
    assert holm([0.01, 0.04, 0.03, 0.005, np.nan]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02, np.nan], nan_ok=True
    )
    assert holm([]).size == 0
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=8, unique=True))
@settings(deadline=None)
def test_holm_rejects_as_its_steps_do(p):
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(np.argsort(p)):
            if p[i] * (len(p) - step) > level:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(holm(p) <= level)) == rejected


def test_every_pair_has_a_row_and_a_family_is_a_metric():
    random = np.random.default_rng(3)
    cells = pd.concat(
        [
            frame(random.uniform(size=20), method, noise=noise)
            for method in "abc"
            for noise in (0.0, 0.1)
        ]
    )
    table = paired_table(cells, [R2_TEST, SOLVED])
    assert len(table) == 6  # three pairs at two noise levels; nobody has a symbolic solution
    assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"]))
    one = paired_table(cells, [R2_TEST], [("b", "a"), ("b", "nobody")])
    assert one[["method", "against"]].to_numpy().tolist() == [["b", "a"], ["b", "a"]]


def test_over_noise_levels_count_as_seeds_do():
    random = np.random.default_rng(5)
    cells = pd.concat(
        [
            frame(random.uniform(size=12), method, noise=noise)
            for method in "abc"
            for noise in (0.0, 0.01, 0.1)
        ]
    )
    lacking = cells.index[(cells["label"] == "c") & (cells["noise"] == 0.1)]
    cells = cells.reset_index(drop=True).drop(index=range(len(cells) - len(lacking), len(cells)))
    seeds = cells.assign(seed=(cells["noise"] * 100).astype(int), noise=0.0)
    for table in (paired_table, rank_table):
        pooled, expected = table(cells, [R2_TEST], over_noise=True), table(seeds, [R2_TEST])
        assert set(pooled["noise"]) == {ALL_LEVELS}
        pd.testing.assert_frame_equal(pooled.drop(columns="noise"), expected.drop(columns="noise"))
        assert len(pooled) == 3
    shared = cells[cells["noise"] < 0.1]  # c was not measured at 0.1, so ranks leave that out
    pd.testing.assert_frame_equal(
        rank_table(cells, [R2_TEST], over_noise=True),
        rank_table(shared, [R2_TEST], over_noise=True),
    )


def test_nobody_fails_to_solve_what_has_no_true_formula():
    a, b = (frame(v, m, metric=SOLVED) for v, m in (([1, 1, np.nan], "a"), ([0, 0, np.nan], "b")))
    cells = pd.concat([a, b])
    cells.loc[cells["task"] == "t002", "truth"] = None
    (row,) = paired_table(cells, [SOLVED]).itertuples()
    assert (row.tasks, row.wins, row.ties, row.difference) == (2, 2, 0, 1.0)
    assert rank_table(cells, [SOLVED])["tasks"].tolist() == [2, 2]
    cells["truth"] = None  # of tasks that only another version knows
    assert paired_table(cells, [SOLVED]).empty
    assert rank_table(cells, [SOLVED]).empty


def test_ranks_are_friedmans():
    random = np.random.default_rng(4)
    scores = random.uniform(size=(4, 25))
    scores[0, 3] = np.nan  # failed: last on that task
    cells = pd.concat([frame(s, m) for s, m in zip(scores, "abcd", strict=True)])
    table = rank_table(cells, [R2_TEST]).set_index("label")
    rounded = np.round(np.nan_to_num(scores, nan=-1.0), 3)
    ranks = reference.rankdata(-rounded, axis=0)
    assert table["rank"].to_numpy() == pytest.approx(ranks.mean(axis=1))
    assert table["p_friedman"].iloc[0] == pytest.approx(
        reference.friedmanchisquare(*rounded).pvalue
    )
    # q of Nemenyi's test for four methods is 2.569 (Demšar 2006, table 5a)
    assert table["critical_difference"].iloc[0] == pytest.approx(
        2.569 * math.sqrt(4 * 5 / (6 * 25)), rel=1e-3
    )


def test_ranks_count_tasks_that_all_have_and_say_the_others():
    cells = pd.concat([frame([0.5, 0.6, 0.7]), frame([0.6, 0.5], "b")])
    table = rank_table(cells, [R2_TEST])
    assert table["tasks"].tolist() == [2, 2]
    assert table["left_out"].tolist() == [1, 1]
    assert table["rank"].tolist() == [1.5, 1.5]


def test_one_method_alone_has_a_rank_and_no_test():
    table = rank_table(frame([0.5, 0.6]), [R2_TEST])
    assert table["rank"].tolist() == [1.0]
    assert table[["critical_difference", "p_friedman"]].isna().all(axis=None)
