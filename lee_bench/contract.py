"""All that the harness and a method say to each other.

A method receives a `Task` (training data and nothing else) and a `Budget`, and gives back an
`Outcome`: every candidate it stands by, and the one it chose. This module needs only Python and
numpy, because a method may live in an environment of its own.

Life of a method inside its worker process::

    method = SomeMethod(**settings)      # cheap; settings are checked here
    method.prepare(task, budget, seed)   # load libraries and weights, compile; not timed
    method.search(task, budget, seed)    # the only part on the clock
    outcome = method.answer()            # print formulas; timed apart
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lee_bench.errors import MethodError


@dataclass(frozen=True, eq=False)
class Task:
    """Training data as a method sees it: no name, no true formula, no test rows.

    Attributes:
        X: observations, float64, shape (n, d), in original units.
        y: target, float64, shape (n,), noise included.
        features: d column names, each a valid identifier; formulas are written in them.
    """

    X: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.y.shape != (len(self.X),):
            raise ValueError(f"X {self.X.shape} and y {self.y.shape} do not fit together")
        if len(self.features) != self.X.shape[1] or len(set(self.features)) != len(self.features):
            raise ValueError(f"{self.features} do not name the {self.X.shape[1]} columns of X")
        if self.X.dtype != np.float64 or self.y.dtype != np.float64:
            raise ValueError("X and y must be float64")
        if not (np.isfinite(self.X).all() and np.isfinite(self.y).all()):
            raise ValueError("X and y must be finite")

    def sample(self, rows: int, seed: int) -> Task:
        """Return a task of so many rows, drawn without repetition; itself if 0 or it has no more.

        For methods whose time grows with the rows while most rows tell them nothing new.
        """
        if rows < 0:
            raise MethodError(f"{rows} rows are too few to search on.")
        if rows == 0 or rows >= len(self.y):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.y), rows, replace=False))
        return Task(self.X[chosen], self.y[chosen], self.features)


@dataclass(frozen=True)
class Budget:
    """What a method may spend.

    Attributes:
        seconds: wall-clock time for `Method.search`. A method returns its best so far by then;
            the harness ends one that does not.
        threads: processor cores it may keep busy.
        memory_mb: resident memory of the whole process tree, MiB; beyond it the cell is ended.
    """

    seconds: float
    threads: int = 1
    memory_mb: int = 4096

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.threads >= 1 and self.memory_mb >= 1):
            raise ValueError(f"a budget must be positive: {self}")

    def start(self) -> Clock:
        """Start the clock of a search."""
        return Clock(self.seconds)


class Clock:
    """A running budget of wall-clock seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begin = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds until the limit, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def over(self) -> bool:
        """Whether the limit has passed."""
        return self.left <= 0.0


@dataclass(frozen=True)
class Candidate:
    """One formula a method stands by.

    Attributes:
        formula: infix text in the task's feature names and original units, as
            `lee_bench.expression.parse` reads it.
        loss: the method's own training loss, lower is better; None if it has none.
        complexity: the method's own complexity; None if it has none. Shown, never graded.
    """

    formula: str
    loss: float | None = None
    complexity: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method answers.

    Attributes:
        candidates: all formulas worth keeping (a front, a hall of fame), the chosen one among
            them; at least one.
        chosen: index of the answer in `candidates`. Only this one is graded.
        predict: the method's own prediction, (m, d) -> (m,), if it has one. The harness compares
            it with the chosen formula and records a disagreement; it is never graded itself.
        stop_reason: why the search ended, in a few words.
        details: small JSON-able extras worth keeping (generations, evaluations).
    """

    candidates: tuple[Candidate, ...]
    chosen: int = 0
    predict: Callable[[np.ndarray], np.ndarray] | None = None
    stop_reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.candidates:
            raise MethodError("the method returned no candidate")
        if not 0 <= self.chosen < len(self.candidates):
            raise MethodError(f"chosen candidate {self.chosen} of {len(self.candidates)}")


class Method(ABC):
    """A symbolic-regression method. Subclass it in one file, register it in one line.

    Class attributes:
        summary: one line for `lee-bench methods`.
        reference: where the method is published.
        packages: importable top-level names it needs besides numpy, mapped to what pip installs.
            They are looked up without being imported.
        remedy: what a person must do where installing the packages is not enough.
        defaults: settings and their default values. Only these may be passed.
    """

    summary: ClassVar[str]
    reference: ClassVar[str] = ""
    packages: ClassVar[Mapping[str, str]] = {}
    remedy: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **settings: Any) -> None:
        strange = sorted(set(settings) - set(self.defaults))
        if strange:
            known = ", ".join(self.defaults) or "none"
            raise MethodError(
                f"{type(self).__name__} has no setting '{strange[0]}'.", f"Its settings: {known}."
            )
        self.settings: Mapping[str, Any] = {**self.defaults, **settings}

    @classmethod
    def unavailable(cls) -> str:
        """Why the method cannot run here beyond a missing package, or '' if it can.

        Called in the method's own interpreter; must be quick and must not import its library.
        """
        return ""

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:  # noqa: B027 - optional hook
        """Import libraries, load weights, compile. Not on the clock."""

    @abstractmethod
    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Look for formulas until done or `budget.seconds` have passed. On the clock.

        The same task, budget and seed must give the same formulas, as far as a wall-clock limit
        allows.
        """

    @abstractmethod
    def answer(self) -> Outcome:
        """Print what `search` found."""
