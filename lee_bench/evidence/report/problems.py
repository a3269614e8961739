"""Problem by problem: true formula, what was found, how good it is, and the candidates."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from markupsafe import Markup

from lee_bench.errors import ExpressionError
from lee_bench.evidence.grade import Cell
from lee_bench.evidence.words import number, r2_text
from lee_bench.expression import parse
from lee_bench.mathml import to_mathml
from lee_bench.runs.record import Status
from lee_bench.tasks.catalog import of_record

MOST_NODES = 200
"""Longer formulas are shown as text: typeset, nobody could read them either."""
DIGITS = 4
"""Significant digits of a typeset formula; the exact one stands among the candidates."""
_NOT_GRADED, _UNDEFINED = "not graded", "undefined"


@dataclass(frozen=True)
class Line:
    """One cell, as a reader sees it."""

    noise: float
    label: str
    seed: int
    verdict: str
    good: bool
    r2: float
    complexity: str
    seconds: float
    formula: Markup
    exact: str
    candidates: Sequence[dict[str, Any]]
    chosen: int | None
    stopped: str


@dataclass(frozen=True)
class Problem:
    """One task of one suite.

    Attributes:
        anchor: its id in the page.
        suite, task: which.
        truth: the true formula, typeset; '' where nobody knows one.
        solved: cells that found it; cells with R² > 0.999 where nobody knows it.
        failed, ungraded: cells that failed, and that could not be graded.
        lines: its cells, by noise, method and seed.
    """

    anchor: str
    suite: str
    task: str
    truth: Markup
    solved: int
    failed: int
    ungraded: int
    lines: list[Line]


def problems(cells: pd.DataFrame, graded: Sequence[Cell]) -> list[Problem]:
    """All problems, by suite and name.

    Args:
        cells: from `aggregate.cells`.
        graded: the cells behind them, in the same order.
    """
    members = defaultdict(list)
    for row, cell in zip(cells.itertuples(), graded, strict=True):
        members[row.suite, row.task].append((row, cell))
    found = []
    for number_, (suite, task) in enumerate(sorted(members)):
        own = members[suite, task]
        known = of_record(task, suite)
        features = known.features if known else ()
        truth = own[0][0].truth
        own.sort(key=lambda pair: (pair[0].noise, pair[0].label, pair[0].seed))
        lines = [_line(row, cell, features) for row, cell in own]
        found.append(
            Problem(
                anchor=f"problem-{number_ + 1}",
                suite=suite,
                task=task,
                truth=typeset(truth, features, None) if truth else Markup(),
                solved=sum(line.good for line in lines),
                failed=sum(row.status != Status.OK for row, _ in own),
                ungraded=sum(not row.graded for row, _ in own),
                lines=lines,
            )
        )
    return found


@functools.lru_cache(maxsize=4096)
def typeset(formula: str, features: tuple[str, ...], digits: int | None = DIGITS) -> Markup:
    """A formula as MathML; as it is where it cannot be read or is too long."""
    try:
        expression = parse(formula, features)
        if len(expression) <= MOST_NODES:
            return Markup(to_mathml(expression, digits))  # noqa: S704  names are escaped there
    except ExpressionError:
        pass
    return Markup(f"<code>{escape(formula)}</code>")  # noqa: S704


def _line(row: Any, cell: Cell, features: tuple[str, ...]) -> Line:
    record, grade = cell.record, cell.grade
    found = record.formula is not None
    size = ""
    if grade and grade.complexity is not None:
        size = str(grade.complexity)
        if grade.complexity_raw != grade.complexity:
            size += f" ({grade.complexity_raw})"
    return Line(
        noise=row.noise,
        label=row.label,
        seed=row.seed,
        verdict=_verdict(row),
        good=row.symbolic_solution == 1 or (row.truth is None and row.accuracy_solution == 1),
        r2=row.r2_test,
        complexity=size,
        seconds=row.seconds,
        formula=typeset(record.formula, features) if found else Markup(escape(record.reason)),  # noqa: S704
        exact=record.formula or "",
        candidates=record.candidates,
        chosen=record.chosen,
        stopped=record.stop_reason,
    )


def _verdict(row: Any) -> str:
    if row.status != Status.OK:
        return row.status
    if not row.graded:
        return _NOT_GRADED
    if row.symbolic_solution == 1:
        return "solved"
    if math.isnan(row.r2_test):
        return _UNDEFINED
    return "R² > .999" if row.accuracy_solution == 1 else "miss"


@dataclass(frozen=True)
class Score:
    """What one method reached on one problem at one noise level, over its seeds.

    Attributes:
        text: for people.
        order: what a table is sorted by.
        good: share of cells that are solved, as in `Problem.solved`.
    """

    text: str
    order: float
    good: float


def matrix(found: Sequence[Problem], labels: Sequence[str]) -> list[tuple[Problem, float, list]]:
    """A row a problem and noise level, with one `Score` a method; None where it has no cell."""
    rows = []
    for problem in found:
        places = defaultdict(lambda: defaultdict(list))
        for line in problem.lines:
            places[line.noise][line.label].append(line)
        for noise, members in places.items():
            scores = [_score(members[label]) if label in members else None for label in labels]
            rows.append((problem, noise, scores))
    return rows


def _score(lines: Sequence[Line]) -> Score:
    known = sorted(line.r2 for line in lines if not math.isnan(line.r2))
    good = sum(line.good for line in lines) / len(lines)
    lost = Counter(
        line.verdict if line.verdict in (_NOT_GRADED, _UNDEFINED) else "failed"
        for line in lines
        if math.isnan(line.r2)
    )
    if not known:
        return Score(", ".join(lost), -math.inf, good)
    half = len(known) // 2
    median = known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2
    lacking = [f"{count} of {len(lines)} {what}" for what, count in lost.items()]
    return Score(", ".join([r2_text(median), *lacking]), median, good)


def loss_text(candidate: dict[str, Any]) -> str:
    """A candidate's loss on training data, as its method reported it."""
    value = candidate.get("loss")
    return number(value, ".4g") if isinstance(value, int | float) else ""
