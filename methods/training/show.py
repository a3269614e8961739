"""Reports of a training run for people: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table


@contextmanager
def show_progress() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show reports: a live table on a terminal, a line each elsewhere; all on stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda report: console.print(_line(report), soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False) as live:

        def show(report: dict[str, Any]) -> None:
            if "note" in report:
                live.console.print(report["note"])
            else:
                live.update(_table(report), refresh=True)

        yield show


def _line(report: Mapping[str, Any]) -> str:
    if "note" in report:
        return report["note"]
    return "  ".join(f"{name} {value}" for name, value in _cells(report))


def _table(report: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in _cells(report):
        table.add_row(name, value)
    return table


def _cells(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "minute", f"{report['minutes']:.1f} ({report['left']:.1f} left)"
    yield "step", f"{report['step']:,}"
    yield "examples", f"{report['examples']:,}"
    yield "examples/s", f"{report['speed']:.0f}"
    yield "waiting", f"{report['waiting']:.1%}"
    yield "MFU", f"{report['mfu']:.1%}"
    yield "skipped", f"{report['skipped']}"
    yield "rate", f"{report['rate']:.2g}"
    for name, value in report["terms"].items():
        yield name, f"{value:.4f}"
    for name, value in report["validation"].items():
        yield f"held-out {name}", f"{value:.4f}"
