"""What a report says, before it is a page, a comment or a table in a paper."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lee_bench import __version__
from lee_bench.evidence import aggregate, stats
from lee_bench.evidence.grade import GRADE_VERSION, SYMPY, Cell
from lee_bench.evidence.metrics import (
    ACCURATE,
    COMPLEXITY,
    R2_TEST,
    SOLVED,
    Metric,
    judged,
)
from lee_bench.evidence.report.commands import commands
from lee_bench.evidence.words import number, p_text, panel_name, r2_text
from lee_bench.runs.record import Status

MOST_FAILURES = 200
"""Kinds of failure that are listed; the rest are counted."""
_MACHINE = {"cores": "{} cores", "memory_gib": "{} GiB"}


@dataclass(frozen=True)
class Share:
    """In how many of its cells a method reached what counts; failures are misses.

    Attributes:
        label: the method.
        count, of: cells that reached it, and all that were judged.
        low, high: 95 % bootstrap interval of the share; NaN for a single problem.
    """

    label: str
    count: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.count / self.of

    @property
    def interval(self) -> str:
        """In per cent; '' where there is none."""
        return "" if np.isnan(self.low) else f"{100 * self.low:.0f} to {100 * self.high:.0f} %"

    def __str__(self) -> str:
        sure = f", {self.interval}" if self.interval else ""
        return f"{self.label} {self.count} of {self.of} ({100 * self.share:.0f} %{sure})"


@dataclass(frozen=True)
class Panel:
    """One suite at one noise level.

    Attributes:
        suite, noise: which.
        rows: of `aggregate.summary`, best first.
        what: what counts: that the true formula is found, or R² > 0.999 where nobody knows it.
        shares: of cells in which it was reached, in the order of the rows.
        findings: what else the rows come to, in sentences.
    """

    suite: str
    noise: float
    rows: pd.DataFrame
    what: str
    shares: list[Share]
    findings: list[str]

    @property
    def title(self) -> str:
        """For people."""
        return panel_name(self.suite, self.noise)


@dataclass(frozen=True)
class Failure:
    """Cells that failed for one reason."""

    suite: str
    label: str
    status: str
    reason: str
    tasks: list[str]
    count: int


@dataclass(frozen=True)
class Report:
    """All that is said.

    Attributes:
        name: of the results folder.
        cells: from `aggregate.cells`.
        graded: the cells behind them, in the same order.
        summary: from `aggregate.summary`.
        panels: the same, with findings.
        comparisons: from `stats.paired_table`, every two methods.
        ranks: from `stats.rank_table`.
        cautions: what must be known before anything is compared, in sentences.
        failures: the most frequent first, at most `MOST_FAILURES`.
        failures_left: cells with other failures.
        facts: names and values: how it was measured.
        methods: label, settings, versions of each method.
        data: suite, task, source, rows, SHA-256 of each data set.
        commands: that measure these cells.
    """

    name: str
    cells: pd.DataFrame
    graded: Sequence[Cell]
    summary: pd.DataFrame
    panels: list[Panel]
    comparisons: pd.DataFrame
    ranks: pd.DataFrame
    cautions: list[str]
    failures: list[Failure]
    failures_left: int
    facts: list[tuple[str, str]]
    methods: list[tuple[str, str, str]]
    data: list[tuple[str, str, str, str, str]]
    commands: list[str]

    @property
    def title(self) -> str:
        """One line for the head of the page."""
        return f"Symbolic regression: {_listed(dict.fromkeys(self.cells['suite']))}"

    @property
    def facts_by_name(self) -> dict[str, str]:
        """`facts`, to be looked up."""
        return {"measured": "", **dict(self.facts)}

    @property
    def key_numbers(self) -> list[tuple[str, str]]:
        """How much was measured: number and unit."""
        failed = int((self.cells["status"] != Status.OK).sum())
        counts = [
            (len(self.cells), "cell"),
            (failed, "failed, counted as misses"),
            (len(self.cells.drop_duplicates(["suite", "task"])), "problem"),
            (self.cells["label"].nunique(), "method"),
            (self.cells["noise"].nunique(), "noise level"),
            (self.cells["seed"].nunique(), "seed"),
        ]
        limits = sorted(set(self.cells["time_limit"]))
        limit = f"{limits[0]:g} s" if len(limits) == 1 else f"{limits[0]:g} to {limits[-1]:g} s"
        named = [(f"{n:,}", what if n == 1 or "," in what else f"{what}s") for n, what in counts]
        return [*named, (limit, "for a search")]


def gather(graded: Sequence[Cell], name: str) -> Report:
    """Conclude from cells.

    Args:
        graded: all cells, graded as far as can be; at least one.
        name: of the results folder.
    """
    cells = aggregate.cells(graded)
    summary = aggregate.summary(cells)
    scores = (SOLVED, ACCURATE, R2_TEST, COMPLEXITY)
    comparisons = stats.paired_table(cells, scores)
    failures, left = _failures(cells)
    return Report(
        name=name,
        cells=cells,
        graded=graded,
        summary=summary,
        panels=_panels(cells, summary, comparisons),
        comparisons=comparisons,
        ranks=stats.rank_table(cells, (R2_TEST, COMPLEXITY)),
        cautions=_cautions(cells),
        failures=failures,
        failures_left=left,
        facts=_facts(cells, graded),
        methods=_methods(cells, graded),
        data=_data(graded),
        commands=commands((cell.record.key for cell in graded), name),
    )


def _panels(cells: pd.DataFrame, summary: pd.DataFrame, comparisons: pd.DataFrame) -> list[Panel]:
    members = dict(list(cells.groupby(["suite", "noise"])))
    panels = []
    for (suite, noise), rows in summary.groupby(["suite", "noise"], sort=True):
        own = members[suite, noise]
        metric = ACCURATE if own["truth"].isna().all() else SOLVED
        order = [metric.name, "r2_test", "complexity"]
        rows = rows.sort_values(order, ascending=[False, False, True], kind="stable")
        pairs = comparisons[(comparisons["suite"] == suite) & (comparisons["noise"] == noise)]
        panels.append(
            Panel(
                suite=suite,
                noise=noise,
                rows=rows,
                what="true formula found" if metric is SOLVED else "R² above 0.999",
                shares=_shares(own, rows, metric),
                findings=_findings(own, rows, pairs, metric.name),
            )
        )
    return panels


def _shares(cells: pd.DataFrame, rows: pd.DataFrame, metric: Metric) -> list[Share]:
    own = judged(cells, metric)
    hits = (own[metric.name] == 1).groupby(own["label"]).agg(["sum", "size"])
    return [
        Share(row.label, *map(int, hits.loc[row.label]), getattr(row, f"{metric.name}_low"),
              getattr(row, f"{metric.name}_high"))
        for row in rows.itertuples()
        if row.label in hits.index
    ]  # fmt: skip


def _findings(
    cells: pd.DataFrame, rows: pd.DataFrame, pairs: pd.DataFrame, metric: str
) -> list[str]:
    findings = []
    front = rows[rows["rank"] == 1].sort_values("complexity")
    on_front = [
        f"{row.label} (R² {r2_text(row.r2_test)} with {row.complexity:g} nodes)"
        for row in front.itertuples()
    ]
    if on_front:
        findings.append(f"On the front of accuracy against size: {_listed(on_front)}.")
    if len(rows) > 1:
        findings += _how_sure(rows["label"].iloc[0], rows["label"].iloc[1], pairs, metric)
    failed = rows[rows["failed"] > 0]
    if len(failed):
        listed = "; ".join(f"{r.label} {r.failed} ({r.failures})" for r in failed.itertuples())
        findings.append(
            f"{failed['failed'].sum()} of {len(cells)} cells failed and count as misses: {listed}."
        )
    return findings


def _how_sure(best: str, second: str, pairs: pd.DataFrame, metric: str) -> list[str]:
    """A sentence on the first two, if they were measured on the same cells."""
    for row in pairs[pairs["metric"] == metric].itertuples():
        if {row.method, row.against} == {best, second} and row.tasks:
            wins, losses = row.wins, row.losses
            if row.method == second:
                wins, losses = losses, wins
            if not wins and not losses:
                return [f"{best} and {second} are level on all {_problems(row.tasks)} they share."]
            chance = "chance hardly explains that" if row.p_holm < 0.05 else "that may be chance"
            p = p_text(row.p_holm)
            sentence = (
                f"{best} against {second}: better on {_problems(wins)}, worse on {losses}, level "
                f"on {row.ties}; {chance} (corrected p {p if p.startswith('<') else f'= {p}'})."
            )
            return [sentence]
    return []


def _cautions(cells: pd.DataFrame) -> list[str]:
    said = [f"{sentence} Compare with care." for sentence in aggregate.mixed_conditions(cells)]
    if cells["label"].nunique() == 1:
        said.append("There is one method only: nothing is compared.")
    if len(cells) == 1:
        said.append("There is one cell only: nothing can be concluded from it.")
    if (cells["status"] != Status.OK).all():
        said.append("Every cell failed: there is no score at all.")
    ungraded = int((~cells["graded"]).sum())
    if ungraded:
        said.append(f"{ungraded} cells could not be graded and are left out of all scores.")
    return said + aggregate.missing_cells(cells) + aggregate.crowded_cells(cells)


def _failures(cells: pd.DataFrame) -> tuple[list[Failure], int]:
    odd = cells[["suite", "label", "task", "status", "reason"]].copy()
    fine = cells["status"] == Status.OK
    undefined = fine & cells["graded"] & cells["r2_test"].isna()
    odd.loc[undefined, ["status", "reason"]] = "undefined", "not finite on the test data: a miss"
    ungraded = fine & ~cells["graded"]
    odd.loc[ungraded, ["status", "reason"]] = "not graded", "left out of all scores"
    odd = odd[~fine | undefined | ungraded]
    found = [
        Failure(*group, sorted(set(members["task"])), len(members))
        for group, members in odd.groupby(["suite", "label", "status", "reason"])
    ]
    found.sort(key=lambda failure: -failure.count)
    return found[:MOST_FAILURES], sum(failure.count for failure in found[MOST_FAILURES:])


def _facts(cells: pd.DataFrame, graded: Sequence[Cell]) -> list[tuple[str, str]]:
    records = [cell.record for cell in graded]
    started = sorted(record.started for record in records if record.started)
    versions = defaultdict(set)
    for record in records:
        for package in ("lee-bench", "python"):
            versions[package].add(record.versions.get(package, "not recorded"))
    machines = Counter(
        ", ".join(_MACHINE.get(name, "{}").format(value) for name, value in record.machine.items())
        for record in records
    )
    facts = {
        "machine": "; ".join(
            f"{machine or 'not recorded'}" + (f" ({count} cells)" if len(machines) > 1 else "")
            for machine, count in machines.most_common()
        ),
        "measured": f"{_minute(started[0])} to {_minute(started[-1])} UTC" if started else "",
        "time limit of a search": _values(f"{x:g} s" for x in sorted(set(cells["time_limit"]))),
        "threads of a cell": _values(sorted(set(cells["threads"]))),
        "noise": _values(f"{x:g}" for x in sorted(set(cells["noise"]))),
        "seeds": _values(dict.fromkeys(cells["seed"])),
        "data": _values(_sources(cells)),
        "protocol": f"version {_values(sorted(set(cells['protocol'])))}",
        "measured with": "; ".join(
            f"{package} {_values(sorted(found))}" for package, found in versions.items()
        ),
        "graded with": f"rules {GRADE_VERSION}, sympy {SYMPY}",
        "reported with": f"lee-bench {__version__}",
    }
    return [(name, value) for name, value in facts.items() if value]


def _sources(cells: pd.DataFrame) -> list[str]:
    """Where data came from, and for which suites where they did not all come from there."""
    suites = cells.groupby("data")["suite"].unique()
    if len(suites) == 1:
        return list(suites.index)
    return [f"{source} ({_listed(sorted(used))})" for source, used in suites.items()]


def _methods(cells: pd.DataFrame, graded: Sequence[Cell]) -> list[tuple[str, str, str]]:
    found = defaultdict(set)
    for label, settings, cell in zip(cells["label"], cells["settings"], graded, strict=True):
        packages = {
            name: version
            for name, version in cell.record.versions.items()
            if name not in ("lee-bench", "python")
        }
        listed = ", ".join(f"{name} {version}" for name, version in packages.items())
        found[label, settings or "defaults"].add(listed)
    return [
        (*method, "; ".join(sorted(versions - {""})) or "not recorded")
        for method, versions in sorted(found.items())
    ]


def _data(graded: Sequence[Cell]) -> list[tuple[str, str, str, str, str]]:
    found = set()
    for cell in graded:
        key, data = cell.record.key, cell.record.data
        if data.get("sha256"):
            rows = f"{data.get('n_train', '?')} + {data.get('n_test', '?')}"
            source = str(data.get("source", key.data))
            found.add((key.suite, key.task, source, rows, str(data["sha256"])))
    return sorted(found)


def _problems(count: int) -> str:
    return f"{count} problem" if count == 1 else f"{count} problems"


def _minute(time: str) -> str:
    """Of an ISO time."""
    return time[:16].replace("T", " ")


def _values(values: object) -> str:
    return ", ".join(map(str, values))


def _listed(values: object) -> str:
    """One, two and three."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def interval_text(row: object, name: str, pattern: str = "g", times: float = 1.0) -> str:
    """A 95 % interval of a row of `aggregate.summary`; '' where there is none."""
    low, high = (times * getattr(row, f"{name}_{end}") for end in ("low", "high"))
    if np.isnan(low):
        return ""
    if name == R2_TEST.name:
        return f"{r2_text(low)} to {r2_text(high)}"
    return f"{number(low, pattern)} to {number(high, pattern)}"
