"""Where a task's rows come from: PMLB's files, PMLB online, or made here; and saying which."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lee_bench.errors import DataError, unknown
from lee_bench.tasks import bundled, feynman, strogatz
from lee_bench.tasks.catalog import TaskInfo
from lee_bench.tasks.pmlb_files import BadFileError, PmlbFiles, fingerprint

MODES = ("auto", "pmlb", "builtin")
_KEPT_BYTES = 128 << 20  # data sets held in memory, because the cells of a grid come back to them

_MAKERS: dict[str, tuple[Callable[[TaskInfo], tuple[np.ndarray, np.ndarray]], str]] = {
    "feynman": (feynman.generate, feynman.SOURCE),
    "strogatz": (strogatz.generate, strogatz.SOURCE),
    "sklearn": (bundled.generate, bundled.SOURCE),
}
_MADE = {
    "feynman": "generated from the published formulas and ranges",
    "strogatz": "generated as the original simulation did",
    "sklearn": "from scikit-learn",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A task with its rows.

    Attributes:
        info: which task.
        X: observations, float64, shape (n, d), columns as in `TaskInfo.features`; read-only.
        y: target, float64, shape (n,); read-only.
        source: where the rows come from, in words.
        sha256: `fingerprint` of the values; equal for equal data, whatever source or machine made
            them.
    """

    info: TaskInfo
    X: np.ndarray
    y: np.ndarray
    source: str
    sha256: str


class DataSource:
    """Decides once for each task where its rows come from, and gets them.

    Safe to use from several threads.

    Args:
        mode: ``"pmlb"``: PMLB's files only, local or online. ``"builtin"``: made here only.
            ``"auto"``: a local file of PMLB, else PMLB online, else made here.
        cache: folder with PMLB's files; None as in `PmlbFiles`.
        url: address of PMLB online; None as in `PmlbFiles`.

    Raises:
        UsageError: there is no such mode, or the cache is not a folder.
    """

    def __init__(
        self, mode: str = "auto", cache: Path | None = None, url: str | None = None
    ) -> None:
        if mode not in MODES:
            raise unknown("data source", mode, MODES)
        self.mode = mode
        self.files = PmlbFiles(cache, url)
        self._lock = threading.RLock()
        self._decided: dict[TaskInfo, str | DataError] = {}
        self._unused: dict[TaskInfo, BadFileError] = {}
        self._kept: OrderedDict[TaskInfo, Dataset] = OrderedDict()

    def kind(self, info: TaskInfo) -> str:
        """``"pmlb"`` or ``"builtin"``: what this task is measured on with this source.

        Raises:
            DataError: the task's data cannot be had; says what to do.
        """
        return "builtin" if self._way(info) == "made" else "pmlb"

    def load(self, info: TaskInfo) -> Dataset:
        """The task's rows, checked.

        Raises:
            DataError: they cannot be had, or are not what they should be.
        """
        way = self._way(info)
        with self._lock:  # one at a time: the second thread then finds the first one's rows
            if info not in self._kept:
                self._kept[info] = self._get(info, way)
            self._kept.move_to_end(info)
            dataset = self._kept[info]
            while len(self._kept) > 1 and self._held_bytes() > _KEPT_BYTES:
                self._kept.popitem(last=False)
            return dataset

    def status(self, info: TaskInfo) -> tuple[str, str]:
        """What is there for this task right now, in a word or two, without asking the network.

        Returns:
            The state, and what is wrong with the task's file if its state is ``"bad file"``.
        """
        in_pmlb = self.mode != "builtin" and info.pmlb_name is not None
        if in_pmlb and self.files.path(info):
            try:
                self.files.check(info)
                return "PMLB file", ""
            except DataError as error:
                return "bad file", f"{error} {error.hint}"
        if self.mode != "pmlb" and info.suite in _MAKERS:
            return ("scikit-learn" if info.suite == "sklearn" else "generated"), ""
        if not in_pmlb:
            return "not available", ""
        return ("gone from PMLB" if info.replaced else "to download"), ""

    @property
    def notes(self) -> list[str]:
        """What was decided so far, as sentences to print once."""
        with self._lock:
            ways = Counter(
                (info.suite, way) for info, way in self._decided.items() if isinstance(way, str)
            )
            unused = list(self._unused.values())
        notes = []
        for (suite, way), n in ways.items():
            where = {
                "file": f"PMLB files in {self.files.root}",
                "online": f"PMLB online, kept in {self.files.root}",
                "made": _MADE.get(suite, ""),
            }[way]
            why = ""
            if way == "made" and self.mode == "auto" and suite != "sklearn":
                missing = f"no usable PMLB file in {self.files.root}"
                why = f" ({missing}; PMLB online {self.files.unreachable()})"
            notes.append(f"{suite}: {n} task{'s' * (n > 1)}, {where}{why}.")
        if unused:
            more = f" So are {len(unused) - 1} more." if len(unused) > 1 else ""
            notes.append(f"Not used: {unused[0]}{more} {unused[0].hint}")
        return notes

    def _held_bytes(self) -> int:
        return sum(dataset.X.nbytes + dataset.y.nbytes for dataset in self._kept.values())

    def _way(self, info: TaskInfo) -> str:
        """``"file"``, ``"online"`` or ``"made"``; decided at the first call."""
        with self._lock:
            if info not in self._decided:
                try:
                    self._decided[info] = self._decide(info)
                except DataError as error:
                    self._decided[info] = error
            decided = self._decided[info]
        if isinstance(decided, DataError):
            raise decided
        return decided

    def _decide(self, info: TaskInfo) -> str:
        can_be_made = info.suite in _MAKERS and self.mode != "pmlb"
        if self.mode == "builtin" or info.pmlb_name is None:
            if can_be_made:
                return "made"
            if info.pmlb_name is None:
                raise DataError(
                    f"{info.name} comes with scikit-learn and is not in PMLB.",
                    "Use --data auto or --data builtin.",
                )
            raise DataError(
                f"{info.name} holds measured data, which cannot be generated.",
                "Use --data auto or --data pmlb, or the suite 'sklearn', which needs no download.",
            )
        if self.files.path(info):
            try:
                self.files.check(info)
                return "file"
            except BadFileError as error:
                self._unused[info] = error
        gone = "has replaced it with other data since SRBench 2021"
        reason = gone if info.replaced else self.files.unreachable()
        if not reason:
            return "online"
        if can_be_made:
            return "made"
        if info in self._unused:
            raise self._unused[info]
        ways = "Name a folder that has the file with --pmlb-cache"
        if info.replaced:
            ways += " (PMLB's git history of 2021 has it)"
        if info.suite in _MAKERS:
            ways += ", or use --data builtin"
        elif info.suite.startswith("blackbox"):
            ways += ", or use the suite 'sklearn', which needs no download"
        raise DataError(
            f"No data for {info.name}: no file in {self.files.root}, and PMLB online {reason}.",
            f"{ways}.",
        )

    def _get(self, info: TaskInfo, way: str) -> Dataset:
        if way == "made":
            make, source = _MAKERS[info.suite]
            X, y = make(info)
        else:
            if way == "online":
                self.files.download(info)
            X, y, source = self.files.read(info)
        X.flags.writeable = y.flags.writeable = False  # shared by all that load the task
        return Dataset(info, X, y, source, fingerprint(info.features, X, y))
