"""How sure a difference is: intervals, paired tests, ranks.

The unit is the task. Seeds of one task are not independent evidence about other tasks, so
intervals resample whole tasks, and tests see one number a task.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lee_bench.evidence.metrics import Metric, Summary, judged

RESAMPLES = 1000
CONFIDENCE = 0.95
ALL_LEVELS = "all noise levels"


def interval(values: pd.Series, tasks: pd.Series, summary: Summary) -> tuple[float, float]:
    """Percentile bootstrap interval of a median or a rate, resampling tasks with all their seeds.

    Args:
        values: one a cell, (n,); NaN is missing from a median and a miss in a rate.
        tasks: name of each cell's task, (n,).
        summary: what is computed over the cells.

    Returns:
        The limits of the 95 % interval; NaN if fewer than two tasks have a value.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; resampling
    of whole clusters as in Davison and Hinkley, Bootstrap Methods (1997), section 3.8.
    """
    known = values.fillna(0.0) if summary is Summary.RATE else values.dropna()
    codes, names = pd.factorize(tasks[known.index])
    if len(names) < 2:
        return float("nan"), float("nan")
    x = known.to_numpy(np.float64)
    times = _draws(len(names))
    if summary is Summary.RATE:
        totals, counts = np.bincount(codes, weights=x), np.bincount(codes)
        drawn_values = (times @ totals) / (times @ counts)
    else:
        drawn_values = _weighted_medians(x, times[:, codes])
    tail = (1.0 - CONFIDENCE) / 2.0
    low = np.quantile(drawn_values, tail, method="lower")  # between infinities nothing lies
    high = np.quantile(drawn_values, 1.0 - tail, method="higher")
    return float(low), float(high)


@functools.lru_cache(maxsize=32)
def _draws(n: int) -> np.ndarray:
    """How often each of n tasks is drawn in each resample, (RESAMPLES, n)."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1.0 / n), RESAMPLES).astype(float)


def _weighted_medians(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Medians of x, (n,), with each value taken as often as a row of times, (b, n), says."""
    order = np.argsort(x, kind="stable")
    x, reached = x[order], np.cumsum(times[:, order], axis=1)
    middle = (reached[:, -1] - 1.0) / 2.0
    lower = (reached <= np.floor(middle)[:, None]).sum(axis=1)
    upper = (reached <= np.ceil(middle)[:, None]).sum(axis=1)
    with np.errstate(invalid="ignore"):  # wins and losses by failure in equal number
        return (x[lower] + x[upper]) / 2.0


@dataclass(frozen=True)
class Paired:
    """What one method does better or worse than another on the same cells.

    Attributes:
        tasks: tasks that both have cells of; the number of pairs the test sees.
        pairs: pairs of cells behind them.
        unpaired: cells that only one of the two has; they are left out.
        wins, ties, losses: tasks on which the first is better, as good, or worse.
        difference: first minus second, over tasks: the median, in the metric's units, or the mean
            difference of shares. Infinite where mostly one of the two failed.
        low, high: 95 % bootstrap interval of `difference`, over tasks.
        effect: matched-pairs rank-biserial correlation, (W+ − W−)/(W+ + W−) of the signed ranks,
            with the sign such that +1 is better on every task (Kerby 2014,
            doi:10.2466/11.IT.3.1).
        p: two-sided p-value of Wilcoxon's signed-rank test, not corrected; NaN without a pair.
    """

    tasks: int
    pairs: int
    unpaired: int
    wins: int
    ties: int
    losses: int
    difference: float
    low: float
    high: float
    effect: float
    p: float


def compare(first: pd.DataFrame, second: pd.DataFrame, metric: Metric) -> Paired:
    """Compare two methods, paired by task and seed.

    A failed cell counts as `Metric.worst`; two failures tie. The differences of a task's seeds
    become one number, by the metric's own summary, and differences below its resolution are none.
    Ties share their ranks between both sides (``zero_method="zsplit"``), as Demšar (JMLR 2006)
    recommends for comparing methods over data sets.

    Args:
        first, second: cells of one suite and noise level, from `aggregate.cells`, of one method
            each.
        metric: which column.
    """
    both = pd.concat([first.assign(label="first"), second.assign(label="second")])
    scores = _scores(both, metric).reindex(columns=["first", "second"])
    return _paired(scores["first"], scores["second"], metric)


def _scores(panel: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Scores by task, noise and seed, a column a label; failures are `Metric.worst`."""
    own = judged(panel, metric)
    keys = [own[name] for name in ("task", "noise", "seed", "label")]
    return own[metric.name].fillna(metric.worst).set_axis(keys).unstack("label")


def _paired(a: pd.Series, b: pd.Series, metric: Metric) -> Paired:
    shared = (a.notna() & b.notna()).to_numpy()
    with np.errstate(invalid="ignore"):
        difference = (a - b)[shared].fillna(0.0)  # of two failures, which are infinite
    by_task = difference.groupby(level="task")
    each = (by_task.median() if metric.summary is Summary.MEDIAN else by_task.mean()).fillna(0.0)
    each = each.mask(each.abs() < metric.resolution, 0.0)  # setting them in place is far slower
    good = each.to_numpy() * (1.0 if metric.higher_is_better else -1.0)
    low, high = interval(each, each.index.to_series(), metric.summary)
    effect, p = _wilcoxon(good)
    return Paired(
        tasks=len(each),
        pairs=len(difference),
        unpaired=int(a.notna().sum() + b.notna().sum()) - 2 * len(difference),
        wins=int((good > 0).sum()),
        ties=int((good == 0).sum()),
        losses=int((good < 0).sum()),
        difference=float(each.median() if metric.summary is Summary.MEDIAN else each.mean()),
        low=low,
        high=high,
        effect=effect,
        p=p,
    )


def _wilcoxon(good: np.ndarray) -> tuple[float, float]:
    if not len(good):
        return float("nan"), float("nan")
    if not good.any():
        return 0.0, 1.0
    ranks = stats.rankdata(np.abs(good))
    signed = np.sign(good) * ranks  # the test reads ranks only, and infinite numbers have ranks
    p = stats.wilcoxon(signed, zero_method="zsplit").pvalue
    return float(signed.sum() / ranks.sum()), float(p)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction (Scandinavian Journal of Statistics 1979); NaN stays NaN.

    Args:
        p: p-values of one family, (n,).

    Returns:
        Corrected p-values, (n,): reject where they are below the level.
    """
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full_like(p, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


PAIRED_COLUMNS = [
    "suite", "noise", "metric", "method", "against", *Paired.__dataclass_fields__, "p_holm",
]  # fmt: skip


def _panels(
    frame: pd.DataFrame, over_noise: bool
) -> Iterator[tuple[str, float | str, pd.DataFrame]]:
    """Suite, noise level and the cells of both, or all cells of each suite."""
    if over_noise:
        for suite, panel in frame.groupby("suite"):
            yield suite, ALL_LEVELS, panel
    else:
        for (suite, noise), panel in frame.groupby(["suite", "noise"]):
            yield suite, noise, panel


def paired_table(
    frame: pd.DataFrame,
    metrics: Iterable[Metric],
    pairs: Iterable[tuple[str, str]] | None = None,
    over_noise: bool = False,
) -> pd.DataFrame:
    """Every comparison asked for, one row each; columns are `PAIRED_COLUMNS`.

    Args:
        frame: from `aggregate.cells`.
        metrics: which scores.
        pairs: labels of the two methods; None takes every two of a suite and noise level.
        over_noise: compare once a suite: a task's noise levels become one number, as its seeds do.
            ``noise`` is `ALL_LEVELS` then.

    Returns:
        ``p_holm`` is corrected over all rows of the same metric. A pair of which one has no cell
        in a suite and noise level has no row there.
    """
    wanted = None if pairs is None else list(pairs)
    rows = []
    for metric in metrics:
        for suite, noise, panel in _panels(frame, over_noise):
            if not _applies(panel, metric):
                continue
            scores = _scores(panel, metric)
            for one, other in itertools.combinations(scores, 2) if wanted is None else wanted:
                if one in scores and other in scores:
                    paired = _paired(scores[one], scores[other], metric)
                    rows.append([suite, noise, metric.name, one, other, *vars(paired).values()])
    table = pd.DataFrame(rows, columns=PAIRED_COLUMNS[:-1])
    table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def _applies(panel: pd.DataFrame, metric: Metric) -> bool:
    """Whether anyone has a value: there are no symbolic solutions without true formulas."""
    return bool(judged(panel, metric)[metric.name].notna().any())


RANK_COLUMNS = ["suite", "noise", "metric", "label", "method", "rank", "tasks", "left_out",
                "critical_difference", "p_friedman"]  # fmt: skip


def rank_table(
    frame: pd.DataFrame, metrics: Iterable[Metric], over_noise: bool = False
) -> pd.DataFrame:
    """Average ranks over tasks, with what sets them apart; columns are `RANK_COLUMNS`.

    On each task methods are ranked by their score over its seeds, and with `over_noise` over its
    noise levels too (1 is best, equals share their ranks, a failure is last). Average ranks that
    differ by more than ``critical_difference`` differ at the 5 % level by Nemenyi's test;
    ``p_friedman`` is of the test that no two methods differ (Demšar, JMLR 2006). Only cells that
    all methods have count; ``left_out`` says how many tasks have none. NaN where there are too few
    methods or tasks for a test.
    """
    rows = []
    for metric in metrics:
        for suite, noise, panel in _panels(frame, over_noise):
            if not _applies(panel, metric):
                continue
            scores = _scores(panel, metric)
            complete = _by_task(scores.dropna(), metric)
            if complete.empty:
                continue
            n, k = complete.shape
            left_out = scores.index.unique("task").size - n
            ranks = complete.rank(axis=1, ascending=not metric.higher_is_better)
            q = stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2.0) if k > 1 else np.nan
            tested = k > 2 and n > 1 and (ranks.nunique(axis=1) > 1).any()
            p = stats.friedmanchisquare(*ranks.T.to_numpy()).pvalue if tested else np.nan
            for label, rank in ranks.mean().items():
                method = panel.loc[panel["label"] == label, "method"].iloc[0]
                rows.append([suite, noise, metric.name, label, method, rank, n, left_out,
                             q * np.sqrt(k * (k + 1) / (6.0 * n)), p])  # fmt: skip
    return pd.DataFrame(rows, columns=RANK_COLUMNS)


def _by_task(scores: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """One score a task, by the metric's own summary, to its resolution."""
    tasks = scores.groupby(level="task")
    with np.errstate(invalid="ignore"):
        table = tasks.median() if metric.summary is Summary.MEDIAN else tasks.mean()
    if metric.resolution:
        table = (table / metric.resolution).round() * metric.resolution
    return table
