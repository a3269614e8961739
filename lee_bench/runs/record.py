"""What one measurement is called and what it leaves behind.

`RunKey` is the one identity: file name, random stream and the test "is this done already?" all
come from it. `RunRecord` is the immutable, versioned result; it holds what happened, not what it
is worth (that is `lee_bench.evidence.grade`).
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

from lee_bench.errors import RecordError

RECORD_VERSION = 1
"""1: first format."""

_WAITING = 0.1  # of the processor time that a search was due; in a quiet run it is 0.02
_NOTICED = 0.1  # seconds


class Status(enum.StrEnum):
    """How a cell ended. Everything but OK is a failure, and every failure is a row."""

    OK = "ok"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, order=True)
class RunKey:
    """Identity of one cell of the grid.

    Attributes:
        suite: name of the suite the task was planned under.
        task: name of the data set.
        data: where the data come from, ``"pmlb"`` or ``"builtin"``.
        method: registered name of the method.
        settings: the method's non-default settings, canonical JSON.
        noise: training-target noise, as a fraction of the target's RMS.
        seed: seed of split, subsample and noise; shared by all methods.
        seconds: time limit of the search.
        threads: processor cores the method may use.
        protocol: version of the measuring protocol (`lee_bench.tasks.protocol`).
    """

    suite: str
    task: str
    data: str
    method: str
    settings: str
    noise: float
    seed: int
    seconds: float
    threads: int
    protocol: int

    @functools.cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the identity."""
        text = "\x1f".join(str(getattr(self, f.name)) for f in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> PurePosixPath:
        """Where the record lies below a folder of records."""
        name = f"noise{self.noise:g}_seed{self.seed}_{self.seconds:g}s_{self.digest[:10]}.json"
        return PurePosixPath(self.suite, self.task, self.method, name)

    @property
    def method_seed(self) -> int:
        """Seed of the method's own random choices, in [0, 2**31)."""
        return int(self.digest[:8], 16) >> 1

    def __str__(self) -> str:
        return f"{self.task} x {self.method} (noise {self.noise:g}, seed {self.seed})"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Write method settings so that equal settings give equal text; '' for none."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":")) if settings else ""


def settings_words(text: str) -> str:
    """What `settings_text` wrote, for people: 'mutants=0, symbols=add,sub'; '' for none."""
    settings = json.loads(text or "{}")
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    )


def method_words(method: str, settings: str) -> str:
    """A method with its settings, for people: 'lee mutants=0'."""
    return f"{method} {settings_words(settings)}".strip()


@dataclass(frozen=True)
class RunRecord:
    """What happened in one cell. Stored as JSON; never changed after it is written.

    Attributes:
        key: which cell.
        status: how it ended.
        reason: one line on why it failed; '' when ok.
        formula: the chosen formula, in the task's feature names and original units; None if none.
        candidates: all formulas the method stands by: dicts of formula, loss, complexity.
        chosen: index of the answer in `candidates`.
        stop_reason: why the method stopped, in its own words.
        seconds: wall-clock seconds by phase: ``prepare``, ``search``, ``answer``, and ``cell``
            for everything including the start of the process. Of the search also ``cpu``, and
            ``waited`` where the system tells it: processor seconds it had, and those it was ready
            to use and did not get.
        peak_memory_mb: highest resident memory of the process tree that was seen, MiB.
        prediction_gap: largest difference between the method's own prediction and its formula on
            training rows, relative to the RMS of the target; None if it has no prediction.
        data: ``source`` (in words), ``sha256`` of the data set's values, ``n_train``, ``n_test``.
        versions: versions of lee-bench, Python and the method's packages.
        machine: what it ran on (`lee_bench.runs.machine`).
        stderr: the last lines the method wrote to stderr, kept when it failed.
        details: the method's own small extras.
        started: UTC time, ISO 8601.
        version: format of this record.
    """

    key: RunKey
    status: Status
    reason: str = ""
    formula: str | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    chosen: int | None = None
    stop_reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    prediction_gap: float | None = None
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    stderr: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    version: int = RECORD_VERSION

    @property
    def crowded(self) -> bool:
        """Whether it waited for a processor too long to be compared: other work ran beside it."""
        waited = self.seconds.get("waited", 0.0)
        due = self.seconds.get("cpu", 0.0) + waited
        return waited > max(_WAITING * due, _NOTICED)

    def to_json(self) -> str:
        """The stored text; half a surrogate pair, which no file can hold, as its code point."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        return re.sub("[\ud800-\udfff]", lambda half: rf"\\u{ord(half[0]):04x}", text)

    @classmethod
    def from_json(cls, text: str, origin: str = "record") -> RunRecord:
        """Read a stored record.

        Raises:
            RecordError: the text is damaged, or newer than this program.
        """
        try:
            raw = json.loads(text)
            if raw["version"] > RECORD_VERSION:
                raise RecordError(
                    f"{origin} was written by a newer lee-bench (format {raw['version']}, "
                    f"this one reads up to {RECORD_VERSION}).",
                    "Upgrade lee-bench, or keep results of different versions apart.",
                )
            raw["key"] = RunKey(**raw["key"])
            raw["key"].path  # noqa: B018  fails where a number is none
            raw["status"] = Status(raw["status"])
            raw["candidates"] = tuple(dict(candidate) for candidate in raw["candidates"])
            for name in ("seconds", "data", "versions", "machine", "details"):
                raw[name] = dict(raw.get(name, {}))
            raw["seconds"] = {name: float(value) for name, value in raw["seconds"].items()}
            return cls(**raw)
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise RecordError(
                f"{origin} is damaged and was left out: {error}",
                "Delete the file and run the same command again to measure this cell anew.",
            ) from error
