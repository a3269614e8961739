"""What the harness itself costs: `python tests/benchmarks/harness.py`.

Prints the overhead of a cell (process start, data, record) with the `linear` method, and the time
to plan and to resume a grid of 100,000 cells whose records exist.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from lee_bench.runs import registry
from lee_bench.runs.executors import local
from lee_bench.runs.measure import Bench
from lee_bench.runs.plan import Grid, plan
from lee_bench.runs.record import RunRecord, Status
from lee_bench.runs.store import Store
from lee_bench.tasks import catalog
from lee_bench.tasks.sources import DataSource


def grid(suite: str, methods: tuple[str, ...], noises: tuple[float, ...], seeds: int) -> Grid:
    tasks = [(suite, info) for info in catalog.tasks(suite)]
    return Grid(tasks, methods, noises, tuple(range(seeds)), 30.0, 1, {})


def overhead(folder: Path) -> None:
    """Cells of `linear`, which itself needs about a millisecond, one at a time."""
    source = DataSource("builtin", None)
    for suite in ("strogatz", "feynman"):
        keys = plan(grid(suite, ("linear",), (0.0,), 1), source.kind).keys[:14]
        bench = Bench(source, Store(folder), {"linear": registry.probe("linear")}, 4096)
        bench.measure(keys[0], threading.Event())  # imports of this process are no cell's cost
        begin = time.perf_counter()
        records = list(local.run(keys, bench.measure, 1, threading.Event()))
        each = (time.perf_counter() - begin) / len(keys)
        cells = statistics.median(record.seconds["cell"] for record in records)
        print(f"overhead a cell, {suite}: {each:.2f} s in all, {cells:.2f} s of it in the worker")


def resume(folder: Path) -> None:
    """Plan 100,000 cells and find out which are done, when all are."""
    source = DataSource("builtin", None)
    begin = time.perf_counter()
    keys = plan(grid("feynman", tuple("abcdefghijklmnopqrstu"), (0.0, 0.1), 20), source.kind).keys
    planned = time.perf_counter() - begin
    store = Store(folder / "big")
    record = RunRecord(key=keys[0], status=Status.OK)
    for key in keys:  # not through write(), whose fsync would take minutes here
        path = store.runs / key.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(replace(record, key=key).to_json())
    begin = time.perf_counter()
    finished = store.finished()
    todo = [key for key in keys if str(key.path) not in finished]
    skipped = time.perf_counter() - begin
    print(f"{len(keys)} cells: planned in {planned:.1f} s, {len(todo)} left after {skipped:.1f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        overhead(Path(name))
        resume(Path(name))
