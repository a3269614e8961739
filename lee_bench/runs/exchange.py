"""How parent and worker talk: files in one folder. A missing answer means the worker crashed.

``request.json`` and ``task.npz`` go in; the worker appends the name of each phase it enters to
``phase`` and leaves ``answer.json``. Needs numpy only, because the worker may run in a method's
own environment.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from lee_bench.files import write_atomically

PARENT = "LEE_BENCH_PARENT"
"""Environment variable that tells the worker who started it."""
MAX_ANSWER_BYTES = 64 << 20
CHECKED_ROWS = 200
"""Training rows on which the method's own prediction is compared with its formula."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a worker is asked to do; `target` is the method, as ``"module:Class"``."""

    target: str
    settings: dict[str, Any]
    seed: int
    budget: Budget
    task: Task


@dataclass(frozen=True)
class Answer:
    """What a worker leaves behind.

    Attributes:
        error: ``"Type: message"`` of the exception that ended it; '' if none.
        fault: whose fault the error is: ``"method"``, ``"setup"``, ``"memory"`` or ``"crash"``.
        predictions: the method's own prediction of the first `CHECKED_ROWS` training rows.
        peak_memory_mb: the worker's own highest resident memory, MiB.
    """

    candidates: list[dict[str, Any]] = field(default_factory=list)
    chosen: int = 0
    predictions: list[float] | None = None
    stop_reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ""
    fault: str = ""


def write_request(folder: Path, request: Request) -> None:
    """Lay a request into an empty folder."""
    np.savez(folder / "task.npz", X=request.task.X, y=request.task.y)
    fields = {
        "target": request.target,
        "settings": request.settings,
        "seed": request.seed,
        "budget": asdict(request.budget),
        "features": request.task.features,
    }
    (folder / "request.json").write_text(json.dumps(fields), encoding="utf-8")


def read_request(folder: Path) -> Request:
    """Read what `write_request` laid down."""
    fields = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    with np.load(folder / "task.npz", allow_pickle=False) as arrays:
        task = Task(arrays["X"], arrays["y"], tuple(fields["features"]))
    return Request(
        fields["target"],
        fields["settings"],
        fields["seed"],
        Budget(**fields["budget"]),
        task,
    )


def enter_phase(folder: Path, name: str) -> None:
    """Tell the parent which phase begins."""
    with open(folder / "phase", "a", encoding="utf-8") as file:
        file.write(name + "\n")


def phase(folder: Path) -> str:
    """The phase the worker is in; '' before its first one."""
    try:
        lines = (folder / "phase").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def write_answer(folder: Path, answer: Answer) -> None:
    """Leave the answer, whole or not at all."""
    write_atomically(folder / "answer.json", json.dumps(asdict(answer), default=_plain))


def _plain(value: Any) -> Any:
    """What JSON does not know: numbers and arrays of numpy as numbers, all else in words."""
    if isinstance(value, np.generic | np.ndarray):
        plain = value.tolist()
        if not isinstance(plain, np.generic):  # a long double stays one
            return plain
    return str(value)


def read_answer(folder: Path) -> Answer | None:
    """Read the answer; None if the worker left none.

    Raises:
        MethodError: the file is not an answer.
    """
    path = folder / "answer.json"
    try:
        if not path.exists():
            return None
        if not path.is_file():
            raise ValueError("it is not a file")
        if os.path.getsize(path) > MAX_ANSWER_BYTES:
            raise ValueError(f"it is larger than {MAX_ANSWER_BYTES >> 20} MiB")
        answer = Answer(**json.loads(path.read_text(encoding="utf-8")))
        formulas = [candidate["formula"] for candidate in answer.candidates]
        answer = replace(
            answer,
            seconds={name: float(value) for name, value in dict(answer.seconds).items()},
            versions=dict(answer.versions),
            details=dict(answer.details),
            peak_memory_mb=float(answer.peak_memory_mb),
        )
        predictions = [] if answer.predictions is None else answer.predictions
        if np.asarray(predictions, dtype=np.float64).ndim != 1:
            raise ValueError("predictions are no list of numbers")
        for name in ("error", "fault", "stop_reason"):
            if not isinstance(getattr(answer, name), str):
                raise ValueError(f"{name} is no text")
        asdict(answer)  # fails where it is nested too deeply to be written into a record
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise MethodError(f"the answer cannot be read: {error}") from error
    if not answer.error and not (
        all(isinstance(formula, str) for formula in formulas)
        and isinstance(answer.chosen, int)
        and 0 <= answer.chosen < len(formulas)
    ):
        raise MethodError("the answer holds no chosen formula")
    return answer
