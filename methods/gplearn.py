"""gplearn: classic genetic programming, one generation at a time until the clock runs out.

gplearn's division, inverse, logarithm and square root are *protected*: near zero, or for negative
arguments, they return something else. What is printed here is ordinary mathematics that equals the
program on every training row where no protection is at work:

* an argument that is near zero on all rows, where a protected function is a constant, prints as
  that constant (programs like to make 1 as ``a/(b - b)``);
* ``sqrt`` and ``log`` of an argument that is negative on some row print with ``abs``, which is
  what gplearn computes; without one where all rows are positive.

Where only some rows are near zero no ordinary formula agrees; the plain function is printed and the
harness records the gap between program and formula.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.expression import Expression, Node, Number, Operator, Variable

_NEAR_ZERO = 0.001  # gplearn protects arguments up to this size ...
_PROTECTED = {"div": 1, "log": 0, "inv": 0}  # ... and puts these values there
_SCOUTS = 50  # programs tried first, to have an answer if not even one generation fits in


class _OutOfTimeError(Exception):
    """Raised inside a generation when the clock runs out; the generation is dropped."""


class GPLearn(Method):
    """gplearn's SymbolicRegressor, set up as in SRBench.

    Settings (defaults from SRBench's largest population and function set):
        population_size: programs in a generation.
        tournament_size: programs that compete to become a parent.
        functions: names of gplearn functions.
        generations: stop after so many; 0 leaves it to the clock.
        parsimony: penalty on the mean absolute error for each node.
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
    }

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Import gplearn."""
        import gplearn.genetic  # noqa: F401 - slow to load, so not in search()

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Breed generation after generation, keeping the best program of every length."""
        from gplearn.fitness import make_fitness
        from gplearn.genetic import SymbolicRegressor

        clock = budget.start()
        self._task, self._generations = task, 0
        self._best: dict[int, Any] = {}  # length -> program with the least error

        def error(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
            """Mean absolute error; infinite, so that it loses every tournament, where undefined."""
            if clock.over:
                raise _OutOfTimeError
            value = np.abs(predicted - y).mean()
            return float(value) if np.isfinite(value) else np.inf

        def regressor(population_size: int) -> Any:
            return SymbolicRegressor(
                population_size=population_size,
                tournament_size=self.settings["tournament_size"],
                function_set=tuple(self.settings["functions"]),
                parsimony_coefficient=self.settings["parsimony"],
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
                while min(program.raw_fitness_ for program in self._best.values()) > 0:
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
        for program in regressor._programs[-1]:
            rival = self._best.get(program.length_)
            if rival is None or program.raw_fitness_ < rival.raw_fitness_:
                self._best[program.length_] = program

    def answer(self) -> Outcome:
        """Print the best program of every length that beats all shorter ones.

        The chosen one is the best by gplearn's own fitness: error plus parsimony times length.
        """
        front, error = [], np.inf
        for length in sorted(self._best):
            if self._best[length].raw_fitness_ < error:
                front.append(self._best[length])
                error = front[-1].raw_fitness_
        penalised = [p.raw_fitness_ + self.settings["parsimony"] * p.length_ for p in front]
        chosen = int(np.argmin(penalised)) if front else 0
        return Outcome(
            tuple(
                Candidate(str(_formula(p.program, self._task)), p.raw_fitness_, p.length_)
                for p in front
            ),
            chosen,
            predict=lambda X: front[chosen].execute(X),
            stop_reason=self._stop_reason,
            details={"generations": self._generations},
        )


def _formula(program: list[Any], task: Task) -> Expression:
    """Translate a program, a prefix list of functions, column numbers and constants."""
    stack: list[tuple[np.ndarray, tuple[Node, ...]]] = []
    with np.errstate(all="ignore"):
        for item in reversed(program):
            if isinstance(item, float):
                stack.append((np.full(len(task.X), item), (Number(float(item)),)))
            elif isinstance(item, int):
                stack.append((task.X[:, item], (Variable(task.features[item]),)))
            else:
                operands = [stack.pop() for _ in range(item.arity)]
                values = item(*(value for value, _ in operands))
                stack.append((values, _apply(item.name, item.arity, operands)))
    return Expression(stack[0][1])


def _apply(
    name: str, arity: int, operands: list[tuple[np.ndarray, tuple[Node, ...]]]
) -> tuple[Node, ...]:
    nodes = tuple(node for _, operand in operands for node in operand)
    last = operands[-1][0]  # the one that is protected
    if name in _PROTECTED and (np.abs(last) <= _NEAR_ZERO).all():
        return (Number(_PROTECTED[name]),)
    if name in ("log", "sqrt") and (last < 0).any():
        nodes = (*nodes, Operator("abs", 1))
    return (*nodes, Operator(name, arity))
