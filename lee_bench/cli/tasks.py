"""`lee-bench tasks`: what can be measured on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lee_bench.tasks.catalog import TaskInfo


def tasks(
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite", "-s", help="List this suite's tasks; repeatable.", show_default=False
        ),
    ] = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    json_output: options.Json = False,
) -> None:
    """List the suites, or the tasks of a suite: size, ground truth, and where the data are.

    Nothing is downloaded and the network is not asked. State of the data: 'PMLB file' is in the
    cache and its checksum is right, 'bad file' is there but of no use, 'generated' and
    'scikit-learn' need no file, 'to download' comes from PMLB when it is first used.
    """
    from lee_bench.cli import console
    from lee_bench.tasks import catalog
    from lee_bench.tasks.sources import DataSource

    source = DataSource(data.value, pmlb_cache)
    listed = {name: catalog.tasks(name) for name in suite or catalog.suites()}
    states = {task: source.status(task) for tasks in listed.values() for task in tasks}

    if json_output:
        rows = [_as_dict(task, *state) for task, state in states.items()]
        console.out.print_json(json.dumps(rows))
        return
    for name, members in listed.items() if suite else ():
        _print_suite(name, members, states)
    if not suite:
        _print_overview(listed, states)
    problems = [problem for _, problem in states.values() if problem]
    for problem in problems[:3]:
        console.warn(problem)
    if len(problems) > 3:
        console.warn(f"{len(problems) - 3} more files are of no use; --json says why.")


States = dict["TaskInfo", tuple[str, str]]


def _as_dict(task: TaskInfo, state: str, problem: str) -> dict:
    row = asdict(task)
    del row["sha256"], row["values"], row["replaced"]
    return row | {"n_features": task.n_features, "data": state, "problem": problem}


def _print_overview(listed: dict[str, tuple[TaskInfo, ...]], states: States) -> None:
    from rich.table import Table

    from lee_bench.cli import console
    from lee_bench.tasks.catalog import suites

    table = Table(box=None, header_style="bold")
    table.add_column("suite", no_wrap=True)
    for name in ("tasks", "rows", "features"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("ground truth", "data"):
        table.add_column(name)
    for name, members in listed.items():
        table.add_row(
            name,
            str(len(members)),
            _span([task.n_rows for task in members]),
            _span([task.n_features for task in members]),
            _tally("known" if task.truth else "unknown" for task in members),
            _tally(states[task][0] for task in members),
        )
    console.print_table(table)
    for name in listed:
        console.out.print(f"[bold]{name}[/]: {suites()[name]}")
    console.out.print("`lee-bench tasks --suite NAME` lists the tasks of a suite.")


def _print_suite(name: str, members: tuple[TaskInfo, ...], states: States) -> None:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.cli import console
    from lee_bench.tasks.catalog import suites

    table = Table(box=None, header_style="bold", title=f"{name}: {suites()[name]}")
    table.title_justify = "left"
    table.add_column("task", no_wrap=True)
    for column in ("rows", "features"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("data", no_wrap=True)
    table.add_column("ground truth", overflow="fold")
    for task in members:
        truth = f"{task.target} = {task.truth}" if task.truth else "[dim]unknown[/]"
        table.add_row(
            task.name,
            f"{task.n_rows:,}",
            str(task.n_features),
            states[task][0],
            escape(truth) if task.truth else truth,
        )
    console.print_table(table)


def _tally(words: Iterable[str]) -> str:
    counts = Counter(words)
    return ", ".join(f"{n} {word}" if len(counts) > 1 else word for word, n in counts.items())


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"
