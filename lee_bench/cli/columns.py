"""Which columns and rows of a person's table go into a fit, and why the others do not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lee_bench.cli.tables import Table
from lee_bench.errors import UsageError

FEWEST_ROWS = 4
_MANY = 0.5  # share of missing values beyond which a column goes and not its rows


@dataclass(frozen=True)
class Data:
    """What is fitted.

    Attributes:
        X: float64 (n, d), finite; y: float64 (n,), finite, not constant.
        weights: float64 (n,), positive, or None.
        names: of the d columns; target: of y.
        rows: places of the n rows in the file, from 0.
        notes: what was left out, and what else a reader should know.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    names: tuple[str, ...]
    target: str
    rows: np.ndarray
    notes: tuple[str, ...] = field(default=())


def select(
    table: Table,
    target: str | None = None,
    features: Sequence[str] | None = None,
    weights: str | None = None,
) -> Data:
    """Choose columns and rows.

    Args:
        table: as read.
        target: column to explain; None takes the last.
        features: columns to explain it with; None takes all others that hold usable numbers.
        weights: column with weights of rows.

    Raises:
        UsageError: a column is not there or does not hold what it must, or too little is left.
    """
    notes = list(table.notes)
    if target is None:
        others = [name for name in table.names if name != weights]
        target = others[-1] if others else table.names[-1]
        notes.append(f"the target is '{target}', the last column; --target names another")
    wanted = [target, *(features or ()), *([weights] if weights else ())]
    for name in wanted:
        _must_hold_numbers(table, name)
    if features is not None and target in features:
        raise UsageError(f"'{target}' is the target and cannot be a feature as well.")
    if weights is not None and weights in (target, *(features or ())):
        raise UsageError(f"'{weights}' cannot be weights and something else as well.")
    names = list(dict.fromkeys(features)) if features is not None else []
    if features is None:
        for name in table.names:
            if name in (target, weights):
                continue
            problem = _problem(table, name)
            if problem:
                notes.append(f"'{name}' is left out: it holds {problem}")
            else:
                names.append(name)
    notes += [
        f"'{name}': {table.column_notes[name]}"
        for name in (target, *names, *([weights] if weights else ()))
        if name in table.column_notes
    ]
    rows = _usable_rows(table, [target, *names, *([weights] if weights else ())], notes)
    if weights is not None:
        rows = _weighty_rows(table, weights, rows, notes)
    y = table.numbers[target][rows]
    if len(rows) < FEWEST_ROWS:
        have = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        raise UsageError(
            f"Only {have} of {table.rows} can be used; a fit needs {FEWEST_ROWS} at least.",
            " ".join(f"{note[0].upper()}{note[1:]}." for note in notes) or "Give more rows.",
        )
    if (y == y[0]).all():
        raise UsageError(
            f"The target '{target}' is {y[0]:g} in every row: there is nothing to explain.",
            "Name another column with --target.",
        )
    names = _without_idle(table, names, rows, y, target, notes)
    if not names:
        raise UsageError(
            "No column is left to explain the target with.",
            " ".join(f"{note[0].upper()}{note[1:]}." for note in notes),
        )
    w = None if weights is None else table.numbers[weights][rows]
    X = np.column_stack([table.numbers[name][rows] for name in names])
    return Data(X, y, w, tuple(names), target, rows, tuple(notes))


def _must_hold_numbers(table: Table, name: str) -> None:
    if name not in table.names:
        near = difflib.get_close_matches(name, table.names, n=3, cutoff=0.4)
        shown = table.names if len(table.names) <= 20 else [*table.names[:20], "..."]
        raise UsageError(
            f"No column is called '{name}'.",
            f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(shown)}.",
        )
    if name in table.refused:
        raise UsageError(
            f"The column '{name}' holds {table.refused[name]}.",
            "A formula needs numbers; name another column, or change this one.",
        )


def _problem(table: Table, name: str) -> str:
    if name in table.refused:
        return table.refused[name]
    missing = ~np.isfinite(table.numbers[name])
    return "missing values in more than half of the rows" if missing.mean() > _MANY else ""


def _usable_rows(table: Table, names: Sequence[str], notes: list[str]) -> np.ndarray:
    """Rows in which all of these columns have a finite value."""
    columns = {name: table.numbers[name] for name in names}
    usable = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
    lost = int((~usable).sum())
    if lost:
        places = []
        for name, column in columns.items():
            missing, infinite = int(np.isnan(column).sum()), int(np.isinf(column).sum())
            places += [f"{missing} missing in '{name}'"] * bool(missing)
            places += [f"{infinite} infinite in '{name}'"] * bool(infinite)
        shown = ", ".join(places[:4]) + (" and more" if len(places) > 4 else "")
        notes.append(f"rows left out: {lost} of {table.rows} ({shown})")
    return np.flatnonzero(usable)


def _weighty_rows(table: Table, weights: str, rows: np.ndarray, notes: list[str]) -> np.ndarray:
    """Those of the rows that weigh anything."""
    values = table.numbers[weights][rows]
    if (values < 0).any():
        raise UsageError(f"The weights '{weights}' hold negative values.", "Make them positive.")
    if not values.all():
        notes.append(f"rows left out: {(values == 0).sum()} of weight 0")
    return rows[values > 0]


def _without_idle(
    table: Table,
    names: Sequence[str],
    rows: np.ndarray,
    y: np.ndarray,
    target: str,
    notes: list[str],
) -> list[str]:
    """The columns that vary and repeat no other."""
    kept: dict[bytes, str] = {}
    for name in names:
        column = table.numbers[name][rows] + 0.0  # -0 becomes 0
        if (column == column[0]).all():
            notes.append(f"'{name}' is left out: it is {column[0]:g} in every row")
        elif (key := column.tobytes()) in kept:
            notes.append(f"'{name}' is left out: it repeats '{kept[key]}'")
        else:
            kept[key] = name
            if (column == y).all():
                notes.append(f"'{name}' equals the target '{target}' in every row")
    return list(kept.values())
