"""From what the user asked for to the list of cells. Runs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lee_bench.errors import DataError, UsageError
from lee_bench.runs.record import RunKey, settings_text
from lee_bench.tasks.catalog import TaskInfo
from lee_bench.tasks.protocol import PROTOCOL_VERSION


@dataclass(frozen=True)
class Grid:
    """A grid of cells: the product of its parts.

    Attributes:
        tasks: (suite, task) pairs.
        methods: registered names.
        noises: target-noise levels, fractions of RMS.
        seeds: seeds of the trials.
        seconds: time limit of a search.
        threads: processor cores of a cell.
        settings: non-default settings by method.
    """

    tasks: Sequence[tuple[str, TaskInfo]]
    methods: Sequence[str]
    noises: Sequence[float]
    seeds: Sequence[int]
    seconds: float
    threads: int
    settings: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        for noise in self.noises:
            if not 0 <= noise < float("inf"):
                raise UsageError(
                    f"A noise level of {noise:g} makes no sense.",
                    "Noise is a fraction of the target's RMS: 0, 0.01, 0.1 ...",
                )
        if not 0 < self.seconds < float("inf"):
            raise UsageError(
                f"A time limit of {self.seconds:g} s makes no sense.",
                "Name the seconds that a search may take.",
            )
        if self.threads < 1:
            raise UsageError("A cell needs at least one thread.")


@dataclass(frozen=True)
class Plan:
    """Cells in the order they will be measured, and tasks that have no data here."""

    keys: tuple[RunKey, ...]
    left_out: tuple[tuple[str, DataError], ...]


def plan(grid: Grid, kind: Callable[[TaskInfo], str], part: int = 1, parts: int = 1) -> Plan:
    """List the cells of a grid, or of a part of it.

    All methods of a task, noise level and seed stand side by side, so that a run that is broken
    off still compares like with like, and in one part: their times then come from one machine.

    Args:
        grid: what to measure.
        kind: where a task's data come from (`lee_bench.tasks.sources.DataSource.kind`); a
            `DataError` leaves the task out.
        part, parts: which part of how many, counted from 1. Parts do not depend on which tasks have
            data here, so those of several machines fit together.

    Raises:
        UsageError: there is no such part.
    """
    if not 1 <= part <= parts:
        raise UsageError(
            f"There is no part {part} of {parts}.", "Parts are counted from 1: --shard 1/4."
        )
    sources: dict[str, str] = {}
    left_out: list[tuple[str, DataError]] = []
    for _, info in grid.tasks:
        try:
            sources[info.name] = kind(info)
        except DataError as error:
            left_out.append((info.name, error))
    settings = {method: settings_text(grid.settings.get(method, {})) for method in grid.methods}
    keys = tuple(
        RunKey(
            suite=suite,
            task=info.name,
            data=sources[info.name],
            method=method,
            settings=settings[method],
            noise=float(noise),
            seed=seed,
            seconds=float(grid.seconds),
            threads=grid.threads,
            protocol=PROTOCOL_VERSION,
        )
        for number, (seed, noise, (suite, info)) in enumerate(
            itertools.product(grid.seeds, grid.noises, grid.tasks)
        )
        if number % parts == part - 1 and info.name in sources
        for method in grid.methods
    )
    return Plan(keys, tuple(left_out))
