"""Whether methods got worse since a baseline, beyond what chance does.

The question is not whether one method beats another on tasks in general, but whether anything
changed on these cells. If nothing did, the two answers to a cell are draws from one distribution,
and swapping them changes nothing: flipping the signs of the paired differences gives the exact
distribution of their mean (Fisher, The Design of Experiments, 1935, section 21). Worse is what is
both larger than a stated size and improbable under such flips.

A handful of tasks shows nothing that way, so each method is judged once more over all its cells:
what is lost a little everywhere adds up.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lee_bench.evidence.baseline import GROUP, Baseline, refusal
from lee_bench.evidence.metrics import ACCURATE, COMPLEXITY, R2_TEST, SECONDS, SOLVED, Metric
from lee_bench.evidence.pareto import costs, on_front
from lee_bench.runs.record import method_words

ALPHA = 0.05
"""Chance, at most, that a check of methods that did not change calls any of them worse."""
_FLIPS = 20_000
_ENOUGH_HITS = 100
_ALL_FLIPS_UP_TO = 13
_ROUNDING = 1e-9
ALL = "all"
"""Suite of a group that holds all cells of a method."""


class Verdict(enum.StrEnum):
    """What became of a score or a method."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Line:
    """One score of one method, then and now.

    Attributes:
        score: 'R²', 'R² > 0.999', 'solved', 'size', 'time' or 'front'.
        before, now: the score over the group's cells: a mean, for size and time a median, for
            front 1 or 0; NaN where there is none.
        change: of the mean; for size and time of the geometric mean, as a ratio minus 1.
        p: chance of so large a change in this direction if nothing changed; NaN where not tested,
            as where the change is too small to count.
        verdict: better, same, worse or not comparable.
        why: what numbers do not say, in words.
    """

    score: str
    before: float
    now: float
    change: float
    p: float
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Group:
    """A method in a suite and at a noise level, or in all of them.

    Attributes:
        suite, noise: 'all' and NaN where all cells of the method are judged together.
        method: with its settings.
        verdict: worse if any score is, else better if any is, else same.
        why: why it is not comparable, or that some scores are better and some worse.
        lines: its scores; none if not comparable.
        fails: whether a build should fail: it is worse, or in the baseline and not comparable.
    """

    suite: str
    noise: float
    method: str
    verdict: Verdict
    why: str
    lines: tuple[Line, ...]
    fails: bool


@dataclass(frozen=True)
class _Score:
    """How one score is compared.

    Attributes:
        size: a smaller change is none.
        ratio: whether change is a ratio; then pairs with a failure, which the other scores count,
            are left out.
    """

    name: str
    metric: Metric
    size: float
    ratio: bool = False

    def values(self, cells: pd.DataFrame) -> np.ndarray:
        """What is averaged; a failure and R² below 0 count as 0, NaN is left out."""
        x = cells[self.metric.name].to_numpy(np.float64)
        if self.ratio:
            return x
        # Without a verdict on its law is only a task whose law nobody knows (`Baseline.of`).
        return np.clip(x if self.metric is SOLVED else np.nan_to_num(x, nan=0.0), 0.0, 1.0)

    def middle(self, cells: pd.DataFrame) -> float:
        if cells[self.metric.name].isna().all() and self.metric is not R2_TEST:
            return float("nan")
        return float((np.nanmedian if self.ratio else np.nanmean)(self.values(cells)))

    def good(self, before: pd.DataFrame, now: pd.DataFrame) -> np.ndarray:
        """How much better each cell became; ratios as logarithms. Below the resolution it is 0."""
        old, new = self.values(before), self.values(now)
        alike = np.abs(new - old) < max(self.metric.resolution, _ROUNDING)
        if self.ratio:
            old, new = np.log(np.maximum(old, 1e-3)), np.log(np.maximum(new, 1e-3))
        difference = (new - old) * (1.0 if self.metric.higher_is_better else -1.0)
        return np.where(alike, 0.0, difference)[~np.isnan(difference)]


SCORES = (
    _Score("R²", R2_TEST, 0.01),
    _Score("R² > 0.999", ACCURATE, 0.05),
    _Score("solved", SOLVED, 0.05),
    _Score("size", COMPLEXITY, 0.10, ratio=True),
    _Score("time", SECONDS, 0.25, ratio=True),
)
"""What is compared, and what size of change counts."""


def check(baseline: Baseline, now: Baseline, *, times: bool = True) -> list[Group]:
    """Hold a run against a baseline.

    The chance that any of the methods is called worse though none changed is at most `ALPHA`,
    shared among the tests that could reject at all (Tarone, Biometrics 1990). Methods held to
    equality (`Baseline.exact`) need no chance; on another machine, which may round otherwise, they
    are judged like the others.

    Args:
        baseline, now: from `Baseline.read` and `Baseline.of`.
        times: whether times are compared, where they come from one machine.

    Returns:
        One group for each suite, noise level and method; then one for each method over all it was
        compared in, unless that is one group or it is held to equality.
    """
    befores, nows = (
        {key: members.sort_values(["task", "seed"]) for key, members in b.cells.groupby(GROUP)}
        for b in (baseline, now)
    )
    keys = sorted({*befores, *nows})
    reasons = {key: refusal(befores.get(key), nows.get(key)) for key in keys}
    if baseline.grade_version != now.grade_version:
        reasons = dict.fromkeys(keys, "graded by other rules; renew the baseline")
    pairs = {
        key: _Pair.of(befores[key], nows[key], baseline.exact, times)
        for key in keys
        if not reasons[key]
    }
    pooled = _pooled(pairs)
    level = _level([m for pair in (*pairs.values(), *pooled.values()) for m in pair.moved()])
    fronts = [_front(side, keys) for side in (befores, nows)]
    groups = []
    for key in keys:
        suite, noise, method, settings = key
        name = method_words(method, settings)
        if reasons[key]:
            missed = key in befores
            groups.append(
                Group(suite, noise, name, Verdict.NOT_COMPARABLE, reasons[key], (), missed)
            )
            continue
        lines = pairs[key].lines(level)
        lines.append(_front_line(*(front[key] for front in fronts), lines))
        groups.append(_judged(suite, noise, name, lines))
    for (method, settings), pair in pooled.items():
        name = method_words(method, settings)
        groups.append(_judged(ALL, float("nan"), name, pair.lines(level)))
    return groups


def _judged(suite: str, noise: float, name: str, lines: list[Line]) -> Group:
    verdicts = {line.verdict for line in lines}
    order = (Verdict.WORSE, Verdict.BETTER, Verdict.SAME)
    verdict = next(v for v in order if v in verdicts)
    trade = {Verdict.WORSE, Verdict.BETTER} <= verdicts
    why = "a trade; if it is meant, renew the baseline" if trade else ""
    return Group(suite, noise, name, verdict, why, tuple(lines), verdict is Verdict.WORSE)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The same cells of one method, then and now, ordered alike.

    Attributes:
        exact: whether it is held to equality.
        no_times: why times are not compared; '' if they are.
        good: how much better each cell became, for each of SCORES.
    """

    before: pd.DataFrame
    now: pd.DataFrame
    exact: bool
    no_times: str
    good: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, before: pd.DataFrame, now: pd.DataFrame, exact: Container[str], times: bool
    ) -> _Pair:
        machines = {*before["machine"], *now["machine"]} - {""}  # '' where nothing was started
        alike = len(machines) <= 1
        no_times = "other machine" if not alike else "" if times else "left out"
        held = alike and before["method"].iloc[0] in exact
        good = tuple(score.good(before, now) for score in SCORES)
        return cls(before, now, held, no_times, good)

    def moved(self) -> list[int]:
        """Cells that moved, for each score that is left to chance."""
        return [
            int(np.count_nonzero(good))
            for score, good in zip(SCORES, self.good, strict=True)
            if not (self.no_times if score.metric is SECONDS else self.exact)
        ]

    def lines(self, level: float) -> list[Line]:
        return [
            _line(score, self, good, level) for score, good in zip(SCORES, self.good, strict=True)
        ]


def _pooled(pairs: Mapping[tuple, _Pair]) -> dict[tuple, _Pair]:
    """All cells of each method together, by method and settings."""
    members = defaultdict(list)
    for key, pair in pairs.items():
        if not pair.exact:
            members[key[2:]].append(pair)
    return {
        key: _Pair(
            pd.concat([pair.before for pair in parts]),
            pd.concat([pair.now for pair in parts]),
            exact=False,
            no_times=next((pair.no_times for pair in parts if pair.no_times), ""),
            good=tuple(map(np.concatenate, zip(*(pair.good for pair in parts), strict=True))),
        )
        for key, parts in members.items()
        if len(parts) > 1
    }


def _line(score: _Score, pair: _Pair, good: np.ndarray, level: float) -> Line:
    before, now = pair.before, pair.now
    old, new = score.middle(before), score.middle(now)
    mean = float(good.mean()) if len(good) else 0.0
    sign = 1.0 if score.metric.higher_is_better else -1.0
    change = float(np.expm1(sign * mean)) if score.ratio else sign * mean
    nothing = float("nan")
    is_time = score.metric is SECONDS
    if is_time and pair.no_times:
        return Line(score.name, old, new, change, nothing, Verdict.NOT_COMPARABLE, pair.no_times)
    if pair.exact and not is_time:
        return Line(score.name, old, new, change, nothing, *_equality(score.metric, before, now))
    enough = np.log1p(score.size) if score.ratio else score.size
    if abs(mean) < enough:
        return Line(score.name, old, new, change, nothing, Verdict.SAME)
    p = flip_test(good if mean < 0 else -good, level)
    if p > level:
        return Line(score.name, old, new, change, p, Verdict.SAME)
    if mean > 0:
        return Line(score.name, old, new, change, p, Verdict.BETTER)
    return Line(score.name, old, new, change, p, Verdict.WORSE, _worst(score, before, now))


def _equality(metric: Metric, before: pd.DataFrame, now: pd.DataFrame) -> tuple[Verdict, str]:
    old, new = (cells[metric.name].fillna(metric.worst).to_numpy() for cells in (before, now))
    better = new > old if metric.higher_is_better else new < old
    changed = ~np.isclose(old, new, rtol=_ROUNDING, atol=_ROUNDING)
    if (changed & ~better).any():
        return Verdict.WORSE, f"held to equality; {changed.sum()} of {len(old)} cells differ"
    if changed.any():
        return Verdict.BETTER, f"held to equality; {changed.sum()} of {len(old)} cells differ"
    return Verdict.SAME, ""


def _worst(score: _Score, before: pd.DataFrame, now: pd.DataFrame) -> str:
    """The task that lost most, over the pairs that count."""
    pairs = pd.DataFrame({"old": score.values(before), "new": score.values(now)})
    means = pairs.set_index(before["task"].to_numpy()).dropna().groupby(level=0).mean()
    old, new = means["old"], means["new"]
    lost = (old - new) if score.metric.higher_is_better else (new - old) / old
    task = lost.idxmax()
    return f"most on {task}: {old[task]:.4g} to {new[task]:.4g}"


def flip_test(good: np.ndarray, level: float = ALPHA) -> float:
    """Chance of a mean as low as this one under random signs: the randomisation test of pairs.

    Args:
        good: (n,), how much better each cell became.
        level: what the chance is held against.

    Returns:
        Exact up to 13 differences that are not 0. Beyond, Hoeffding's bound on it where that is
        below the level; else from 20,000 random flips (and the one seen), or from as many as a
        small level needs (Besag & Clifford, Biometrika 1991).
    """
    x = good[good != 0.0]
    seen = x.sum() + _ROUNDING * np.abs(x).sum()
    if len(x) <= _ALL_FLIPS_UP_TO:
        every = np.arange(2 ** len(x))[:, None] >> np.arange(len(x)) & 1
        return float(((1 - 2 * every) @ x <= seen).mean())
    bound = np.exp(-(x.sum() ** 2) / (2 * np.square(x).sum())) if x.sum() < 0 else 1.0
    if bound <= level:
        return float(bound)
    random = np.random.default_rng(0)
    block, width = min(_FLIPS, max(1, 1_000_000 // len(x))), -(-len(x) // 8)
    most = max(_FLIPS, round(20 / level))
    hits = drawn = 0
    while drawn < _FLIPS or (drawn < most and hits < _ENOUGH_HITS):
        octets = random.bytes(block * width)
        drawn += block
        bits = np.unpackbits(np.frombuffer(octets, np.uint8).reshape(-1, width), axis=1)
        flipped = bits[:, : len(x)].astype(np.float64) @ x
        hits += int((x.sum() - 2 * flipped <= seen).sum())
    return (1 + hits) / (1 + drawn)


def _level(moved: Iterable[int]) -> float:
    """Level of each test, so that together they reject wrongly with chance ALPHA at most.

    With m cells that moved no p-value is below 2^-m; tests that cannot reject take no share.
    """
    smallest = 0.5 ** np.array(list(moved), dtype=np.float64)
    share = 1
    while (smallest <= ALPHA / share).sum() > share:
        share += 1
    return ALPHA / share


def _front(groups: dict[tuple, pd.DataFrame], keys: list[tuple]) -> dict[tuple, float]:
    """1 for who is on the front of median R² and complexity of its suite and noise level."""
    known = [key for key in keys if key in groups]
    medians = {
        key: (groups[key][COMPLEXITY.name].median(), groups[key][R2_TEST.name].median())
        for key in known
    }
    front = {}
    for panel in {key[:2] for key in known}:
        members = [key for key in known if key[:2] == panel]
        on = on_front(costs(*zip(*(medians[key] for key in members), strict=True)))
        front |= dict(zip(members, on.astype(float), strict=True))
    return front


def _front_line(before: float, now: float, own: list[Line]) -> Line:
    """Leaving the front is worse only where a score of the method's own is."""
    nothing = float("nan")
    verdict, why = Verdict.SAME, ""
    if now < before:
        worse = any(line.verdict is Verdict.WORSE for line in own)
        verdict = Verdict.WORSE if worse else Verdict.SAME
        why = "" if worse else "left it, but none of its scores is worse beyond chance"
    return Line("front", before, now, now - before, nothing, verdict, why)
