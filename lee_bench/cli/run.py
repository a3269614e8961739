"""`lee-bench run`: measure methods on tasks."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from lee_bench.runs.measure import Bench
    from lee_bench.runs.plan import Plan
    from lee_bench.runs.record import RunKey, RunRecord
    from lee_bench.runs.registry import Probe
    from lee_bench.runs.store import Store
    from lee_bench.tasks.catalog import TaskInfo
    from lee_bench.tasks.sources import DataSource

_LIMITS, _AGAIN = "Limits", "Resuming and sharing"
DEFAULT_NOISES = (0.0, 0.001, 0.01, 0.1)
_MOST_READ = 2000
"""Records that are read, in a second, to tell how many finished cells failed."""


class Retry(enum.StrEnum):
    """Which finished cells are measured again."""

    NONE = "none"
    FAILED = "failed"
    CROWDED = "crowded"


def run(
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", help="Suite to run; repeat for several.", metavar="NAME"),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Only this task; repeat for several.", metavar="NAME"),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Method to run; repeat for several, or all: those that are installed. "
            "\\[default: lee]",
            metavar="NAME",
        ),
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise on the training target, as a fraction of its RMS; repeat for several. "
            "\\[default: 0, 0.001, 0.01, 0.1]",
            metavar="LEVEL",
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            min=1, max=10, help="Trials: the first N of SRBench's ten seeds.", metavar="N"
        ),
    ] = 1,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            help="Seed of a trial, instead of --trials; repeat for several.", min=0, metavar="SEED"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N tasks of each suite.", min=1, metavar="N")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A method's setting; repeat for several.", metavar="METHOD.NAME=VALUE"
        ),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option(help="Seconds of search a cell.", metavar="SECONDS", rich_help_panel=_LIMITS),
    ] = 30.0,
    memory_limit: Annotated[
        int,
        typer.Option(help="Memory of a cell, MiB.", min=64, metavar="MIB", rich_help_panel=_LIMITS),
    ] = 4096,
    threads: Annotated[
        int,
        typer.Option(help="Processor cores a cell.", min=1, metavar="N", rich_help_panel=_LIMITS),
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Cells at once. \\[default: as many as cores and memory carry]",
            min=1,
            metavar="N",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    results: options.Results = Path("results"),
    retry: Annotated[
        Retry,
        typer.Option(
            help="Measure finished cells again: none, those that failed, or those that other work "
            "kept waiting for a processor.",
            rich_help_panel=_AGAIN,
        ),
    ] = Retry.NONE,
    force: Annotated[
        bool,
        typer.Option("--force", help="Measure all cells again.", rich_help_panel=_AGAIN),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Only part I of N of the grid, e.g. 2/8.", metavar="I/N", rich_help_panel=_AGAIN
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be measured, and stop.")
    ] = False,
    json_output: options.Json = False,
) -> None:
    """Measure methods on tasks, each cell in its own process under the same limits.

    The same command again goes on where it stopped. Example:

    lee-bench run --suite feynman --noise 0.01
    """
    from lee_bench.cli import console
    from lee_bench.errors import SetupError, UsageError
    from lee_bench.runs import plan as planning
    from lee_bench.runs.measure import Bench
    from lee_bench.runs.store import Store
    from lee_bench.tasks.protocol import SEEDS
    from lee_bench.tasks.sources import DataSource

    chosen_tasks = _choose_tasks(suite, task, limit)
    probes = _choose_methods(method)
    source = DataSource(data.value, pmlb_cache)
    grid = planning.Grid(
        tasks=chosen_tasks,
        methods=tuple(probes),
        noises=tuple(dict.fromkeys(noise if noise else DEFAULT_NOISES)),
        seeds=tuple(dict.fromkeys(seed if seed else SEEDS[:trials])),
        seconds=time_limit,
        threads=threads,
        settings=_settings(setting or [], probes),
    )
    part, _, parts = (shard or "1/1").partition("/")
    if not (part.isdigit() and parts.isdigit()):
        raise UsageError(f"'{shard}' is no part of a grid.", "Write it as --shard 2/8.")
    planned = planning.plan(grid, source.kind, int(part), int(parts))
    keys = planned.keys

    store = Store(results)
    todo = _still_to_do(keys, store, retry, force)
    jobs = jobs or _default_jobs(threads, memory_limit)
    _say_plan(planned, source, probes)
    _say_done(keys, todo, store)
    if len(planned.left_out) == len(chosen_tasks):
        raise SetupError("Nothing can be measured: no task of this grid has data here.")
    if not keys:
        console.note(f"Part {shard} is empty: nothing of it can be measured here.")
    if dry_run:
        _print_plan(keys, todo, jobs, json_output)
        return
    if not keys:
        if json_output:
            typer.echo("[]")
        return
    if todo:
        store.check_writable()
        again = force or retry is not Retry.NONE
        bench = Bench(source, store, probes, memory_limit, again)
        left = _measure(todo, bench, jobs)
        if left is not None:
            once_more = "measures all of them anew" if force else "goes on from here"
            console.err.print(
                f"[yellow]stopped[/] with {left} of {len(keys)} cells to go; what was measured is "
                f"kept. The same command again {once_more}."
            )
            raise typer.Exit(130)
    _conclude(keys, store, source, jobs, json_output)


def _choose_tasks(
    suites: list[str] | None, names: list[str] | None, limit: int | None
) -> list[tuple[str, TaskInfo]]:
    import itertools

    from lee_bench.errors import UsageError
    from lee_bench.tasks import catalog

    if not suites and not names:
        raise UsageError(
            "Which tasks? Name a suite, e.g. --suite strogatz.",
            f"Suites: {', '.join(catalog.suites())}. `lee-bench tasks` says more.",
        )
    if names and limit:
        raise UsageError("--limit counts tasks of a suite; --task names them.", "Leave one out.")
    suites = list(dict.fromkeys(suites or []))
    if not names:
        return [(suite, info) for suite in suites for info in catalog.tasks(suite)[:limit]]
    if not suites:
        found = [catalog.find(name) for name in names]
        return [(info.suite, info) for info in dict.fromkeys(found)]
    found: dict[tuple[str, TaskInfo], None] = {}
    known: set[str] = set()
    missing: dict[str, UsageError] = {}
    for suite, name in itertools.product(suites, names):
        try:
            found[suite, catalog.find(name, suite)] = None
        except UsageError as error:
            missing.setdefault(name, error)
        else:
            known.add(name)
    for name, error in missing.items():
        if name not in known:  # in any of the suites
            raise error
    return list(found)


def _choose_methods(names: list[str] | None) -> dict[str, Probe]:
    from lee_bench.errors import SetupError
    from lee_bench.runs import registry

    named = [name for name in names or [registry.DEFAULT] if name != "all"]
    probes = {name: registry.probe(name) for name in dict.fromkeys(named)}
    if "all" in (names or []):
        everything = {name: registry.probe(name) for name in registry.names()}
        probes |= {name: probe for name, probe in everything.items() if probe.available}
    if not probes:
        raise SetupError("No method can run here.", "`lee-bench methods` says why.")
    return probes


def _settings(texts: list[str], probes: dict[str, Probe]) -> dict[str, dict[str, Any]]:
    import contextlib
    import json

    from lee_bench.errors import MethodError, UsageError
    from lee_bench.runs import registry

    settings: dict[str, dict[str, Any]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        method, dot, name = left.partition(".")
        if not (equals and dot and method and name):
            raise UsageError(
                f"'{text}' is no setting.",
                "Write it as --set METHOD.NAME=VALUE, e.g. operon.max_length=30.",
            )
        if method not in probes:
            raise UsageError(
                f"--set {text}: {method} is not among the methods of this run.",
                f"Methods of this run: {', '.join(probes)}.",
            )
        known = registry.load_class(probes[method].target).defaults
        if name not in known:
            raise UsageError(
                f"{method} has no setting '{name}'.",
                f"Its settings: {', '.join(known) or 'none'}.",
            )
        with contextlib.suppress(ValueError):  # else it is a word
            value = json.loads(value)
        settings.setdefault(method, {})[name] = value
    for method, chosen in settings.items():
        kind = registry.load_class(probes[method].target)
        try:
            kind(**chosen)
        except (MethodError, TypeError, ValueError) as error:
            raise UsageError(
                f"{method} refuses its settings: {error}",
                f"`lee-bench methods show {method}` says what they mean.",
            ) from error
        # With a default it is the same cell as without.
        settings[method] = {n: v for n, v in chosen.items() if v != kind.defaults[n]}
    return settings


def _still_to_do(
    keys: tuple[RunKey, ...], store: Store, retry: Retry, force: bool
) -> tuple[RunKey, ...]:
    if force:
        return keys
    finished, again = store.finished(), retry is not Retry.NONE
    return tuple(
        key
        for key in keys
        if str(key.path) not in finished or (again and _flaw(key, store) is retry)
    )


def _flaw(key: RunKey, store: Store) -> Retry:
    """What `--retry` measures a finished cell again by."""
    from lee_bench.errors import RecordError
    from lee_bench.runs.record import Status

    try:
        record = store.read(key)
    except RecordError:
        return Retry.FAILED
    if record.status is not Status.OK:
        return Retry.FAILED
    return Retry.CROWDED if record.crowded else Retry.NONE


def _default_jobs(threads: int, memory_mb: int) -> int:
    from lee_bench.runs import machine

    by_memory = int(machine.available_memory_mb() * 0.8 // memory_mb)
    return max(1, min(machine.available_cores() // threads, by_memory))


def _say_plan(planned: Plan, source: DataSource, probes: dict[str, Probe]) -> None:
    from lee_bench.cli import console

    for text in source.notes:
        console.note(text)
    if planned.left_out:
        names = [name for name, _ in planned.left_out]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        error = planned.left_out[0][1]
        console.warn(f"left out, no data: {shown}. {error} {error.hint}")
    for probe in probes.values():
        if not probe.available:
            console.warn(f"{probe.name} cannot run here: {probe.reason}. {probe.remedy}")


def _say_done(keys: tuple[RunKey, ...], todo: tuple[RunKey, ...], store: Store) -> None:
    """Say how many cells are skipped and, unless reading them takes long, which are flawed."""
    from collections import Counter

    from lee_bench.cli import console

    skipped = len(keys) - len(todo)
    if not skipped:
        return
    words = f"{skipped} of {len(keys)} cells are done already"
    if skipped <= _MOST_READ:
        left = set(todo)
        flaws = Counter(_flaw(key, store) for key in keys if key not in left)
        for flaw, what in ((Retry.FAILED, "failed"), (Retry.CROWDED, "waited for a processor")):
            if flaws[flaw]:
                words += f"; {flaws[flaw]} of them {what}: --retry {flaw} measures them again"
    console.note(f"{words}.")


def _print_plan(
    keys: tuple[RunKey, ...], todo: tuple[RunKey, ...], jobs: int, json_output: bool
) -> None:
    import json
    from collections import Counter

    from rich.table import Table

    from lee_bench.cli import console

    worst = sum(key.seconds for key in todo) / jobs
    if json_output:
        left = set(todo)
        cells = [{"path": str(key.path), "to_do": key in left} for key in keys]
        typer.echo(json.dumps({"jobs": jobs, "seconds_at_most": worst, "cells": cells}, indent=1))
        return
    to_do = Counter((key.suite, key.noise, key.method) for key in todo)
    table = Table(box=None, header_style="bold")
    for name in ("suite", "noise", "method"):
        table.add_column(name)
    table.add_column("cells", justify="right")
    table.add_column("to do", justify="right")
    for group, count in Counter((key.suite, key.noise, key.method) for key in keys).items():
        name, level, method = group
        table.add_row(name, f"{level:g}", method, str(count), str(to_do[group]))
    console.print_table(table)
    console.out.print(
        f"{len(todo)} cells to measure, {jobs} at once: at most about {_duration(worst)}."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _measure(todo: tuple[RunKey, ...], bench: Bench, jobs: int) -> int | None:
    """Measure the cells; how many are left if the user stopped the run, else None.

    Data that cannot be had after all cost their own task's cells alone; they are named.

    Raises:
        SetupError: a record cannot be kept, or a cell cannot be started.
    """
    import signal
    import tempfile
    import threading

    from lee_bench.cli import console
    from lee_bench.cli.progress import RunProgress
    from lee_bench.errors import DataError, SetupError
    from lee_bench.runs.executors import local

    left, lost = len(todo), {}

    def measure(key: RunKey, stop: threading.Event) -> RunRecord | None:
        if key.task in lost:
            return None
        try:
            return bench.measure(key, stop)
        except DataError as error:
            lost[key.task] = error
            return None

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with RunProgress(todo, _test_r2(bench.source)) as progress:
        try:
            for record in local.run(todo, measure, jobs, threading.Event()):
                left -= 1
                progress.add(record)
        except KeyboardInterrupt:
            return left
        except OSError as error:
            raise SetupError(
                f"A cell could not be run: {error.strerror or error}.",
                f"Cells work in {tempfile.gettempdir()}. What was measured before is kept; the "
                "same command goes on from there.",
            ) from error
    for task, error in lost.items():
        cells = sum(key.task == task for key in todo)
        console.warn(f"not measured, {cells} cells of {task}: {error} {error.hint}")
    return None


def _test_r2(source: DataSource) -> Callable[[RunRecord], float | None]:
    """Score records while the run goes on: the number alone, sympy's part comes at the end."""
    import math

    from lee_bench.evidence.metrics import r2
    from lee_bench.expression import parse
    from lee_bench.tasks.catalog import find
    from lee_bench.tasks.protocol import split

    def score(record: RunRecord) -> float | None:
        if record.formula is None:
            return None
        info = find(record.key.task, record.key.suite)
        parts = split(source.load(info), record.key.noise, record.key.seed)
        found = parse(record.formula, info.features).evaluate(parts.X_test, info.features)
        value = r2(parts.y_test, found)
        return value if math.isfinite(value) else None

    return score


def _conclude(
    keys: tuple[RunKey, ...], store: Store, source: DataSource, jobs: int, json_output: bool
) -> None:
    """Grade the cells of this grid and print what came out; exit 1 if nothing was measured."""
    from lee_bench.cli import console, graded
    from lee_bench.errors import RecordError
    from lee_bench.evidence import aggregate
    from lee_bench.runs.record import Status

    records, problems = [], []
    there = store.finished()
    for key in (key for key in keys if str(key.path) in there):
        try:
            records.append(store.read(key))
        except RecordError as error:
            problems.append(error)
    graded.say(problems)
    cells = aggregate.cells(graded.grade(store, source, jobs, records=records))
    for sentence in aggregate.missing_cells(cells):
        console.warn(sentence)
    for sentence in aggregate.crowded_cells(cells):
        console.warn(f"{sentence} The same command with --retry crowded measures them again.")
    table = aggregate.summary(cells)
    if json_output:
        typer.echo(table.to_json(orient="records", indent=1))  # NaN becomes null
    else:
        console.print_table(graded.summary_table(table))
        for text in graded.summary_notes(table):
            console.note(text)
        console.note(f"Next: lee-bench pareto {store.root}")
    lost = len(records) + len(problems) < len(keys)
    if lost or not any(record.status is Status.OK for record in records):
        raise typer.Exit(1)
