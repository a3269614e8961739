"""The one place that knows about the terminal: answers on stdout, narration on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from lee_bench.errors import LeeBenchError

if TYPE_CHECKING:
    from rich.table import Table

out = Console(highlight=False, soft_wrap=False)
"""Answers: tables, formulas, JSON."""

err = Console(stderr=True, highlight=False)
"""Narration: progress, notes, errors."""

STATUS_STYLE = {
    "ok": "green",
    "timeout": "yellow",
    "memory": "magenta",
    "crash": "red",
    "invalid": "red",
    "unavailable": "dim",
}
"""One colour a status, everywhere."""


def print_table(table: Table) -> None:
    """Fit to the terminal; where there is none, keep a row on one line for grep and friends."""
    if not out.is_terminal:
        out.width = 1000
    out.print(table)


def note(text: str) -> None:
    """Say something worth knowing."""
    err.print(text, style="dim", markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Say something that may make the results other than expected."""
    err.print("[yellow]note:[/]", escape(text), soft_wrap=True)


def report(error: LeeBenchError) -> None:
    """Print an error as what happened and what to do."""
    err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True)
    if error.hint:
        err.print("       " + error.hint, markup=False, soft_wrap=True)
