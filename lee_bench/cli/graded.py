"""What the commands that read graded records share: opening, grading, the table of results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from lee_bench.evidence.words import number, panel_name, r2_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from rich.table import Table

    from lee_bench.errors import LeeBenchError
    from lee_bench.evidence.grade import Cell
    from lee_bench.runs.record import RunRecord
    from lee_bench.runs.store import Store
    from lee_bench.tasks.sources import DataSource

_INTERVALS_FROM = 118
"""Columns of a terminal that shows intervals beside the numbers."""


def open_store(folder: Path) -> Store:
    """The store in a results folder; also found when its ``runs`` folder is named.

    Raises:
        UsageError: there is no such folder.
    """
    from lee_bench.errors import UsageError
    from lee_bench.runs.store import Store

    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder}.",
            "Name the results folder of a run; `lee-bench run` makes one called results.",
        )
    if folder.resolve().name == "runs" and not (folder / "runs").is_dir():
        folder = folder.resolve().parent
    return Store(folder)


def grade(
    store: Store,
    source: DataSource,
    jobs: int | None = None,
    records: Sequence[RunRecord] | None = None,
    force: bool = False,
) -> list[Cell]:
    """Grade what is not graded yet, with a progress bar; say what could not be."""
    import typer
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lee_bench.cli import console
    from lee_bench.evidence.grade import grade_all
    from lee_bench.runs import machine

    bar = Progress(
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console.err,
        transient=True,
        disable=not console.err.is_terminal,
    )
    with bar:
        task = bar.add_task("grading", total=None)
        try:
            cells, problems = grade_all(
                store,
                source,
                jobs or machine.describe()["cores"],
                records=records,
                force=force,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except KeyboardInterrupt:
            bar.stop()
            console.err.print("[yellow]stopped[/]; the grades made so far are kept.")
            raise typer.Exit(130) from None
        except OSError as error:
            from lee_bench.errors import SetupError

            raise SetupError(
                f"Cannot write grades to {store.root}: {error.strerror}.",
                "Copy the results to a folder you may write.",
            ) from error
    say(problems)
    return cells


def load(
    results: Path, data: str, pmlb_cache: Path | None, jobs: int | None = None
) -> tuple[Store, list[Cell]]:
    """All cells of a results folder, graded.

    Raises:
        UsageError: there is no such folder.
        SetupError: there is no readable record in it.
    """
    from lee_bench.tasks.sources import DataSource

    store = open_store(results)
    cells = grade(store, DataSource(data, pmlb_cache), jobs)
    if not cells:
        raise nothing_there(store)
    return store, cells


def frame(
    results: Path, data: str, pmlb_cache: Path | None, jobs: int | None = None
) -> tuple[Store, pd.DataFrame]:
    """The cells of `load` as `aggregate.cells`, and what is odd about them, said."""
    from lee_bench.cli import console
    from lee_bench.evidence import aggregate

    store, cells = load(results, data, pmlb_cache, jobs)
    table = aggregate.cells(cells)
    for sentence in aggregate.mixed_conditions(table):
        console.warn(f"{sentence} Compare with care.")
    for sentence in (*aggregate.missing_cells(table), *aggregate.crowded_cells(table)):
        console.warn(sentence)
    return store, table


def say(problems: Sequence[LeeBenchError]) -> None:
    """Print what went wrong beside the result, the first few in full."""
    from lee_bench.cli import console

    for error in problems[:5]:
        console.warn(f"{error} {error.hint}".strip())
    if len(problems) > 5:
        console.warn(f"and {len(problems) - 5} more like these.")


def nothing_there(store: Store) -> LeeBenchError:
    """The error for a folder without a readable record."""
    from lee_bench.errors import SetupError

    return SetupError(
        f"No readable record in {store.runs}.",
        f"Measure something first, e.g. lee-bench run --suite strogatz --results {store.root}",
    )


def some_grade(cells: pd.DataFrame) -> None:
    """Make sure that there is something to conclude from.

    Raises:
        SetupError: every cell failed, or none could be graded.
    """
    from lee_bench.errors import SetupError

    if cells["complexity"].isna().all():
        raise SetupError(
            "There is nothing to conclude from: no cell has a grade.",
            "`lee-bench show TASK` says why cells failed; `lee-bench methods` what can run here.",
        )


def summary_table(table: pd.DataFrame) -> Table:
    """The closing table of `run` and `pareto`: a block for each suite and noise level.

    Intervals stand beside the numbers where the terminal has room for them.

    Args:
        table: from `lee_bench.evidence.aggregate.summary`.
    """
    from rich.markup import escape
    from rich.table import Table

    roomy = _roomy()
    view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    view.add_column("method (● on the front)", overflow="fold")
    for name in ("front", "cells", "failed", "R²", "size", ">.999", "solved", "time"):
        view.add_column(name, justify="right", no_wrap=True)

    def with_interval(row: object, name: str, write: Callable[[float], str]) -> str:
        value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
        text = write(value)
        if not roomy or math.isnan(low):
            return text
        return f"{text} [dim]{write(low).strip(' s%')}..{write(high).strip(' s')}[/]"

    for (suite, noise), panel in table.groupby(["suite", "noise"], sort=False):
        if view.row_count:
            view.add_row()
        view.add_row(f"[bold]{escape(panel_name(suite, noise))}[/]")
        for row in panel.itertuples():
            view.add_row(
                f"{'●' if row.rank == 1 else ' '} {escape(row.label)}",
                number(row.rank, "g"),
                str(row.cells),
                str(row.failed),
                with_interval(row, "r2_test", r2_text),
                with_interval(row, "complexity", lambda x: number(x, "g")),
                with_interval(row, "accuracy_solution", lambda x: number(x, ".0%")),
                with_interval(row, "symbolic_solution", lambda x: number(x, ".0%")),
                with_interval(row, "seconds", lambda x: number(x, ".1f", " s")),
                style="dim" if row.failed == row.cells else None,
            )
        truth = panel["truth_complexity"].iloc[0]
        if not math.isnan(truth):
            view.add_row("  true formulas", *[""] * 4, number(truth, "g"), style="dim")
    return view


def _roomy() -> bool:
    """Whether `summary_table` has room for intervals."""
    from lee_bench.cli import console

    return not console.out.is_terminal or console.out.width >= _INTERVALS_FROM


def published_table(table: pd.DataFrame) -> Table:
    """Published results for the suites and noise levels that a table of ours has."""
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.evidence.aggregate import published

    view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    view.add_column("published", overflow="fold")
    for name in ("tasks", "R²", "size", ">.999", "solved", "time"):
        view.add_column(name, justify="right", no_wrap=True)
    beside = published().merge(table[["suite", "noise"]].drop_duplicates())
    for (suite, noise), panel in beside.groupby(["suite", "noise"], sort=False):
        view.add_row(f"[bold]{escape(panel_name(suite, noise))}[/]")
        for row in panel.sort_values("r2_test", ascending=False).itertuples():
            view.add_row(
                f"○ {escape(row.algorithm)} ({row.source})"
                if row.source == "SRBench"
                else f"○ {escape(row.algorithm)}",
                str(row.tasks),
                r2_text(row.r2_test),
                number(row.complexity, "g"),
                number(row.accuracy_solution, ".0%"),
                number(row.symbolic_solution, ".0%"),
                number(row.seconds, ".0f", " s"),
            )
    return view


def summary_notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, as sentences."""
    notes = [
        (
            "front: 1 if no other method is at least as good in R² and in size and better in one "
            "of them, 2 if only those of front 1 are, and so on. R², size and time are medians "
            "over the cells that have them; in the shares with test R² > .999 and solved "
            "symbolically (of problems whose true formula is known) every failed cell is a miss. "
            + (
                "Beside a number stands its 95 % bootstrap interval over tasks."
                if _roomy()
                else f"A terminal of {_INTERVALS_FROM} columns shows 95 % bootstrap intervals too."
            )
        )
    ]
    total = table[["failed", "ungraded", "undefined", "raw_counts"]].sum()
    if total["failed"]:
        by_method = table[table["failed"] > 0].groupby("label")["failed"].sum()
        which = ", ".join(f"{label} {count}" for label, count in by_method.items())
        notes.append(f"{total['failed']} cells failed ({which}); `lee-bench show TASK` says why.")
    if total["ungraded"]:
        notes.append(f"{total['ungraded']} cells could not be graded and are left out.")
    if total["undefined"]:
        notes.append(
            f"{total['undefined']} formulas are not finite on the test data: misses, without R²."
        )
    if total["raw_counts"]:
        notes.append(
            f"sympy gave no simplified form of {total['raw_counts']} formulas; their size is the "
            "raw count."
        )
    return notes
