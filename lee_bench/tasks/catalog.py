"""What is measured on: every suite and its tasks, from small tables kept beside this file.

Nothing here loads data or needs more than Python, so that listing tasks is instant. How a task's
rows come to be is the business of `lee_bench.tasks.sources`.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lee_bench.errors import UsageError, unknown

_SUITES = {
    "feynman": "physics laws of the AI Feynman database",
    "strogatz": "equations of 2-state dynamical systems",
    "blackbox": "SRBench's regression sets of PMLB",
    "blackbox57": "those with at most 10 features, all continuous",
    "sklearn": "small sets that come with scikit-learn",
}
FEYNMAN_ROWS = 100_000
STROGATZ_ROWS = 400


@dataclass(frozen=True)
class TaskInfo:
    """One task, before its data are loaded.

    Attributes:
        name: name of the data set, as PMLB has it where it is from there.
        suite: suite under which it was asked for.
        n_rows: number of observations.
        columns: names of the feature columns in their file, in order.
        features: the same as identifiers, as formulas use them (see `identifiers`).
        target: what the target is called in the source; its column is always ``target``.
        truth: the true formula in `features`; None if nobody knows one.
        complexity: SRBench's complexity of the true formula, as of a found one.
        pmlb_name: PMLB's present name for it; None if PMLB does not have it.
        replaced: whether PMLB now has other data under this name.
        sha256: checksums of the files with these data that PMLB publishes or published.
        values: `lee_bench.tasks.pmlb_files.fingerprint` of PMLB's values, if known.
    """

    name: str
    suite: str
    n_rows: int
    columns: tuple[str, ...]
    features: tuple[str, ...]
    target: str = "target"
    truth: str | None = None
    complexity: int | None = None
    pmlb_name: str | None = None
    replaced: bool = False
    sha256: tuple[str, ...] = ()
    values: str = ""

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.features)


def suites() -> Mapping[str, str]:
    """Names of all suites, each with one line on what it is."""
    return _SUITES


@functools.cache
def tasks(suite: str) -> tuple[TaskInfo, ...]:
    """All tasks of a suite, in published order.

    Raises:
        UsageError: there is no such suite.
    """
    if suite not in _SUITES:
        raise unknown("suite", suite, _SUITES)
    if suite == "blackbox57":
        inside = {row["name"] for row in table("blackbox") if row["in_57"] == "1"}
        return tuple(replace(t, suite=suite) for t in tasks("blackbox") if t.name in inside)
    return tuple(_read(suite))


def find(name: str, suite: str | None = None) -> TaskInfo:
    """The task of this name, or of an unmistakable short form of it.

    ``feynman_I_6_2``, ``I_6_2`` and ``I.6.2`` are the same task; so are ``1027_ESL`` and ``esl``.

    Args:
        name: what the user wrote.
        suite: look in this suite only; None looks everywhere.

    Raises:
        UsageError: no task, or more than one, is called so.
    """
    places = [suite] if suite else [s for s in _SUITES if s != "blackbox57"]
    known = {task.name: task for place in places for task in tasks(place)}
    if name in known:
        return known[name]
    wanted = _plain(name)
    near = [t for t in known.values() if wanted in (_plain(t.name), _plain(_short(t)))]
    if len(near) > 1:
        names = ", ".join(task.name for task in near)
        raise UsageError(f"'{name}' could be any of: {names}.", "Write the name in full.")
    if not near:
        raise unknown("task", name, known, f"lee-bench tasks --suite {suite or 'SUITE'}")
    return near[0]


@functools.cache
def of_record(name: str, suite: str) -> TaskInfo | None:
    """The task that a record names; None if it was measured by a version that knew more tasks."""
    try:
        return find(name, suite)
    except UsageError:
        return None


def identifiers(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Turn column names into distinct names that a formula may use, in the same order.

    Whatever is not a letter, a digit or an underscore becomes an underscore; a leading digit gets
    an ``x`` before it; a name that is a function's, or taken already, gets underscores after it.
    """
    from lee_bench.expression import is_variable_name

    names: list[str] = []
    for column in columns:
        name = re.sub(r"\W", "_", column, flags=re.ASCII) or "x"
        if name[0].isdigit():
            name = f"x{name}"
        while name in names or not is_variable_name(name):
            name += "_"
        names.append(name)
    return tuple(names)


@functools.cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Rows of one of the tables in ``data/``; lines that start with ``#`` are comments."""
    path = Path(__file__).with_name("data") / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(line for line in file if not line.startswith("#")))


def _read(suite: str) -> Iterator[TaskInfo]:
    rows = {"feynman": FEYNMAN_ROWS, "strogatz": STROGATZ_ROWS}
    for row in table(suite):
        columns = tuple(row["features"].split(";"))
        in_pmlb = suite != "sklearn"
        yield TaskInfo(
            name=row["name"],
            suite=suite,
            n_rows=rows.get(suite) or int(row["n_rows"]),
            columns=columns,
            features=identifiers(columns),
            target=row.get("target") or "target",
            truth=row.get("formula") or None,
            complexity=int(row["complexity"]) if row.get("complexity") else None,
            pmlb_name=(row.get("pmlb_name") or row["name"]) if in_pmlb else None,
            replaced=row.get("replaced") == "1",
            sha256=tuple(row["sha256"].split(";")) if in_pmlb else (),
            values=row.get("values", ""),
        )


def _short(task: TaskInfo) -> str:
    return re.sub(r"^\d+_", "", task.name.removeprefix(f"{task.suite}_"))


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.casefold())
