"""The commands that measure the cells of a folder, worked out from their identities."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable

from lee_bench.errors import UsageError
from lee_bench.runs.record import RunKey
from lee_bench.tasks.catalog import tasks
from lee_bench.tasks.protocol import SEEDS


def commands(keys: Iterable[RunKey], folder: str) -> list[str]:
    """`lee-bench run` commands that together measure exactly these cells, into this folder.

    One command measures a product of methods, tasks, noise levels and seeds. Cells of one kind of
    data and the same limits that form a product become one command; what does not is split by
    noise level and then by seed, so that no command measures more than is there.
    """
    alike = defaultdict(lambda: defaultdict(set))
    for key in keys:
        conditions = (key.suite, key.data, key.seconds, key.threads)
        alike[conditions][key.method, key.settings].add((key.task, key.noise, key.seed))
    found = []
    for conditions, methods in alike.items():
        together = defaultdict(list)
        for (method, settings), places in methods.items():
            alone = (method, settings) if settings else None
            together[frozenset(places), alone].append((method, settings))
        for (places, _), members in together.items():
            found += [_command(*conditions, members, *grid) for grid in _products(places)]
    if folder != "results":  # where `run` writes unless told
        found = [f"{command} --results {shlex.quote(folder)}" for command in found]
    return found


_Places = frozenset[tuple[str, float, int]]
_Product = tuple[set[str], set[float], set[int]]


def _products(places: _Places) -> list[_Product]:
    """Products of tasks, noise levels and seeds that cover the places exactly."""
    parts = tuple({place[i] for place in places} for i in range(3))
    if len(places) == len(parts[0]) * len(parts[1]) * len(parts[2]):
        return [parts]
    axis = 1 if len(parts[1]) > 1 else 2
    return [
        product
        for value in sorted(parts[axis])
        for product in _products(frozenset(p for p in places if p[axis] == value))
    ]


def _command(
    suite: str,
    data: str,
    seconds: float,
    threads: int,
    methods: list[tuple[str, str]],
    names: set[str],
    noises: set[float],
    seeds: set[int],
) -> str:
    words = ["lee-bench run", f"--suite {shlex.quote(suite)}", *_tasks(suite, names)]
    for method, settings in methods:
        words.append(f"--method {shlex.quote(method)}")
        for name, value in json.loads(settings or "{}").items():
            words.append(f"--set {shlex.quote(f'{method}.{name}={json.dumps(value)}')}")
    words += [f"--noise {_exact(noise)}" for noise in sorted(noises)]
    if seeds == set(SEEDS[: len(seeds)]):
        words.append(f"--trials {len(seeds)}")
    else:
        words += [f"--seed {seed}" for seed in sorted(seeds)]
    return " ".join([*words, f"--time-limit {_exact(seconds)}", f"--threads {threads}",
                     f"--data {shlex.quote(data)}"])  # fmt: skip


def _exact(value: float) -> str:
    """The shortest text that reads back as this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _tasks(suite: str, names: set[str]) -> list[str]:
    try:
        known = [task.name for task in tasks(suite)]
    except UsageError:  # measured by a version that knew more suites
        known = []
    if names == set(known):
        return []
    if names == set(known[: len(names)]):
        return [f"--limit {len(names)}"]
    return [f"--task {shlex.quote(name)}" for name in sorted(names)]
