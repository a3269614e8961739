"""gplearn: classic genetic programming, one generation at a time until the clock runs out.

gplearn's division, inverse, logarithm and square root are *protected*: near zero, or for negative
arguments, they return something else. What is printed here is ordinary mathematics that equals the
program on every training row where no protection is at work:

* an argument that is near zero on all rows, where a protected function is a constant, prints as
  that constant (programs like to make 1 as ``a/(b - b)``);
* ``sqrt`` and ``log`` of an argument that is negative on some row print with ``abs``, which is
  what gplearn computes; without one where all rows are positive.

Where only some rows are near zero no ordinary formula agrees. Such programs breed like any other,
but an answer is taken from them only where nothing else was found; then the plain function is
printed and the harness records the gap between program and formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.errors import MethodError
from lee_bench.expression import Expression, Node, Number, Operator, Variable

_NEAR_ZERO = 0.001  # gplearn protects arguments up to this size ...
_PROTECTED = {"div": 1, "log": 0, "inv": 0}  # ... and puts these values there
_SCOUTS = 50  # programs tried first, to have an answer if not even one generation fits in


class _OutOfTimeError(Exception):
    """The clock has run out inside a generation; what is left of it is dropped."""


@dataclass(frozen=True)
class _Found:
    """A program and what it means.

    Attributes:
        rank: whether a protection is at work on some rows, then the mean absolute error.
        program: gplearn's object.
        formula: its translation.
    """

    rank: tuple[bool, float]
    program: Any
    formula: Expression


class GPLearn(Method):
    """gplearn's SymbolicRegressor, set up as in SRBench, but in original units.

    SRBench scales columns and target and keeps the scaled formula. Here the penalty on length is
    scaled instead: formulas in original units need no more nodes then.

    Settings (defaults from SRBench's largest population and function set):
        population_size: programs in a generation.
        tournament_size: programs that compete to become a parent.
        functions: names of gplearn functions.
        generations: stop after so many; 0 leaves it to the clock.
        parsimony: penalty on the mean absolute error for each node, in standard deviations of y.
        rows: search on so many rows, drawn at random, if there are more; 0 for all.
    """

    summary = "classic tree-based genetic programming (Python)"
    reference = "Stephens 2015, https://gplearn.readthedocs.io"
    packages: ClassVar = {"gplearn": "gplearn>=0.4.3"}
    defaults: ClassVar = {
        "population_size": 1000,
        "tournament_size": 20,
        "functions": ("add", "sub", "mul", "div", "log", "sqrt", "sin", "cos"),
        "parsimony": 0.001,
        "generations": 0,
        "rows": 0,
    }

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if isinstance(self.settings["functions"], str):
            raise MethodError('gplearn takes functions as a list: ["add","mul"].')

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Import gplearn."""
        import gplearn.genetic  # noqa: F401 - slow to load, so not in search()

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Breed generation after generation, keeping the best program of every length."""
        from gplearn.fitness import make_fitness
        from gplearn.genetic import SymbolicRegressor

        self._clock = budget.start()
        task = task.sample(self.settings["rows"], seed)
        self._task, self._generations = task, 0
        self._best: dict[int, _Found] = {}  # by length
        self._seen: set[tuple] = set()
        self._parsimony = self.settings["parsimony"] * float(task.y.std())

        def error(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
            """Mean absolute error; infinite, so that it loses every tournament, where undefined."""
            if self._clock.over:
                raise _OutOfTimeError
            value = np.abs(predicted - y).mean()
            return float(value) if np.isfinite(value) else np.inf

        def regressor(population_size: int) -> Any:
            return SymbolicRegressor(
                population_size=population_size,
                tournament_size=self.settings["tournament_size"],
                function_set=tuple(self.settings["functions"]),
                parsimony_coefficient=self._parsimony,
                metric=make_fitness(function=error, greater_is_better=False, wrap=False),
                warm_start=True,
                low_memory=True,
                generations=0,
                n_jobs=1,  # more are processes that copy the population; it gains nothing
                random_state=seed,
            )

        self._stop_reason = "time limit"
        try:
            with np.errstate(all="ignore"):
                self._breed(regressor(min(_SCOUTS, self.settings["population_size"])))
                population = regressor(self.settings["population_size"])
                while min(found.rank for found in self._best.values()) > (False, 0.0):
                    if self._generations == (self.settings["generations"] or np.inf):
                        self._stop_reason = "generation limit"
                        return
                    self._breed(population)
                    self._generations += 1
                self._stop_reason = "no error left"
        except _OutOfTimeError:
            pass

    def _breed(self, regressor: Any) -> None:
        regressor.set_params(generations=regressor.generations + 1)
        regressor.fit(self._task.X, self._task.y)
        for program in sorted(regressor._programs[-1], key=lambda program: program.raw_fitness_):
            if self._clock.over and self._best:
                raise _OutOfTimeError
            rival = self._best.get(program.length_)
            if rival is not None and rival.rank <= (False, program.raw_fitness_):
                continue
            items = tuple(getattr(item, "name", item) for item in program.program)
            if items in self._seen:
                continue
            self._seen.add(items)
            formula, protected = _translate(program.program, self._task)
            rank = (protected, program.raw_fitness_)
            if rival is None or rank < rival.rank:
                self._best[program.length_] = _Found(rank, program, formula)

    def answer(self) -> Outcome:
        """Print the best program of every length that beats all shorter ones.

        The chosen one is the best by gplearn's own fitness: error plus parsimony times length.
        """
        front: list[_Found] = []
        for length in sorted(self._best):
            found = self._best[length]
            if np.isfinite(found.rank[1]) and (not front or found.rank < front[-1].rank):
                front.append(found)
        ordinary = [found for found in front if not found.rank[0]] or front
        best = min(
            ordinary, key=lambda f: f.rank[1] + self._parsimony * f.program.length_, default=None
        )
        return Outcome(
            tuple(Candidate(str(f.formula), f.rank[1], f.program.length_) for f in front),
            chosen=front.index(best) if front else 0,
            predict=lambda X: best.program.execute(X),
            stop_reason=self._stop_reason,
            details={"generations": self._generations},
        )


def _translate(program: list[Any], task: Task) -> tuple[Expression, bool]:
    """Translate a program, a prefix list of functions, column numbers and constants.

    Returns:
        The formula, and whether a protection is at work on some training rows but not on all.
    """
    stack: list[tuple[np.ndarray, tuple[Node, ...]]] = []
    protected = False
    with np.errstate(all="ignore"):
        for item in reversed(program):
            if isinstance(item, float):
                stack.append((np.full(len(task.X), item), (Number(float(item)),)))
                continue
            if isinstance(item, int):
                stack.append((task.X[:, item], (Variable(task.features[item]),)))
                continue
            operands = [stack.pop() for _ in range(item.arity)]
            nodes = tuple(node for _, operand in operands for node in operand)
            last = operands[-1][0]  # the one that is protected
            near_zero = np.abs(last) <= _NEAR_ZERO
            if item.name in _PROTECTED and near_zero.all():
                nodes = (Number(_PROTECTED[item.name]),)
            else:
                protected |= item.name in _PROTECTED and bool(near_zero.any())
                if item.name in ("log", "sqrt") and (last < 0).any():
                    nodes = (*nodes, Operator("abs", 1))
                nodes = (*nodes, Operator(item.name, item.arity))
            stack.append((item(*(values for values, _ in operands)), nodes))
    return Expression(stack[0][1]), protected
