"""What a person watches while cells are measured: a bar and a row a method, or plain lines."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lee_bench.cli import console
from lee_bench.evidence.words import r2_text
from lee_bench.runs.record import RunKey, RunRecord, Status


class RunProgress:
    """Progress of a run, as a context manager; give it every record as it comes.

    Args:
        todo: the cells that will be measured.
        score: test R² of a record, or None where there is none.
    """

    def __init__(self, todo: Sequence[RunKey], score: Callable[[RunRecord], float | None]) -> None:
        self.score = score
        self.planned = Counter(key.method for key in todo)
        self.statuses = {method: Counter() for method in self.planned}
        self.scores: dict[str, list[float]] = {method: [] for method in self.planned}
        self.bar = Progress(
            TextColumn("measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("cells, left:"),
            TimeRemainingColumn(),
            console=console.err,
        )
        self.job = self.bar.add_task("", total=len(todo))
        self.done, self.total = 0, len(todo)
        self.live = None
        if console.err.is_terminal:
            # two frames a second: the picture must not take time from what is measured
            self.live = Live(console=console.err, get_renderable=self._draw, refresh_per_second=2)

    def __enter__(self) -> RunProgress:
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.__exit__(kind, error, trace)

    def add(self, record: RunRecord) -> None:
        """Count a finished cell."""
        method, r2 = record.key.method, self.score(record)
        self.done += 1
        self.statuses[method][record.status] += 1
        if r2 is not None:
            self.scores[method].append(r2)
        self.bar.advance(self.job)
        if not self.live:
            self._print_line(record, r2)

    def _print_line(self, record: RunRecord, r2: float | None) -> None:
        seconds = record.seconds.get("search", record.seconds.get("cell", 0.0))
        # A formula may have ended well and still have no score: it need not be finite on test data.
        why = (record.reason or "the formula has no finite test R²").splitlines()[0][:100]
        found = why if r2 is None else f"R² {r2_text(r2)}"
        console.err.print(
            f"[{self.done}/{self.total}] {record.key}: {record.status}, {seconds:.1f} s, {found}",
            markup=False,
            soft_wrap=True,
        )

    def _draw(self) -> Group:
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("method")
        table.add_column("done", justify="right")
        table.add_column("ended as")
        table.add_column("median test R²", justify="right")
        for method, planned in self.planned.items():
            counts = self.statuses[method]
            words = ", ".join(
                f"[{console.STATUS_STYLE[status]}]{counts[status]} {status}[/]"
                for status in Status
                if counts[status]
            )
            scores = self.scores[method]
            median = r2_text(statistics.median(scores)) if scores else ""
            table.add_row(method, f"{counts.total()}/{planned}", words, median)
        return Group(table, self.bar)
