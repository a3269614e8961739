"""Operon: genetic programming with non-linear least squares for the constants (pyoperon).

Operon computes in single precision. To stay in its range whatever the units, every column and the
target are divided by a power of two, which rounds nothing and folds back into the weights that
Operon gives each variable and each model anyway: the printed formula is in original units and no
longer than Operon's own. Not helped by this: a column or target whose spread is lost in single
precision beside its mean, such as 1e8 to 1e8 + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.errors import MethodError
from lee_bench.expression import Expression, Node, Number, Operator, Variable, parse

_UNLIMITED = 2**31 - 1
_MUL = Operator("mul", 2)


class Operon(Method):
    """Operon's NSGA-II over accuracy and length, set up as in SRBench's second edition.

    Its clock knows whole seconds: of a fraction it makes no use, and less than one is refused.

    Settings (defaults from SRBench: symbols, two objectives, population, epsilon and length from
    its 2025 set-up; five local-search iterations from its 2021 set-up, which won there):
        symbols: comma-separated primitives of pyoperon; all but ``ceil`` and ``floor``.
        population_size: individuals.
        max_length: nodes of the longest model.
        iterations: Levenberg-Marquardt steps for each new individual.
        epsilon: differences in an objective below this count as none.
        generations: stop after so many; 0 leaves it to the clock.
        rows: search on so many rows, drawn at random, if there are more; 0 for all.
        criterion: statistic that picks the answer from the front. The Bayesian criterion needs no
            estimate of the noise, which pyoperon's default (description length) does.
    """

    summary = "genetic programming with local search (C++)"
    reference = "Burlacu, Kronberger, Kommenda 2020, doi:10.1145/3377929.3398099"
    packages: ClassVar = {"pyoperon": "pyoperon>=0.6"}
    defaults: ClassVar = {
        "symbols": "add,sub,mul,div,sin,cos,exp,log,sqrt,pow,constant,variable",
        "population_size": 1000,
        "max_length": 50,
        "iterations": 5,
        "epsilon": 1e-5,
        "generations": 0,
        "rows": 0,
        "criterion": "bayesian_information_criterion",
    }

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Import pyoperon."""
        from pyoperon.sklearn import SymbolicRegressor

        if budget.seconds < 1:
            raise MethodError("Operon cannot search for less than a second.")
        self._regressor = SymbolicRegressor(
            allowed_symbols=self.settings["symbols"],
            objectives=["r2", "length"],
            population_size=self.settings["population_size"],
            max_length=self.settings["max_length"],
            optimizer_iterations=self.settings["iterations"],
            epsilon=self.settings["epsilon"],
            model_selection_criterion=self.settings["criterion"],
            generations=self.settings["generations"] or _UNLIMITED,
            max_evaluations=_UNLIMITED,
            max_time=int(budget.seconds),  # whole seconds are all it takes
            n_threads=budget.threads,
            random_state=seed,
        )

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Run until the clock, which Operon reads after every individual."""
        task = task.sample(self.settings["rows"], seed)
        self._features = task.features
        self._x_unit = _power_of_two(task.X)
        self._y_unit = float(_power_of_two(task.y[:, None])[0])
        self._regressor.fit(task.X / self._x_unit, task.y / self._y_unit)

    def answer(self) -> Outcome:
        """Print the whole front, shortest first."""
        found = self._regressor
        front = sorted(found.pareto_front_, key=lambda model: model["length"])
        criterion = [model[self.settings["criterion"]] for model in front]
        chosen = int(np.argmin(np.where(np.isnan(criterion), np.inf, criterion)))
        tree = front[chosen]["tree"]
        return Outcome(
            tuple(self._candidate(model) for model in front),
            chosen,
            predict=lambda X: found.evaluate_model(tree, X / self._x_unit) * self._y_unit,
            stop_reason=(
                "generation limit"
                if found.stats_["generations"] == self.settings["generations"]
                else "time limit"
            ),
            details={
                "generations": found.stats_["generations"],
                "residual_evaluations": found.stats_["residual_evaluations"],
            },
        )

    def _candidate(self, model: Mapping) -> Candidate:
        from pyoperon import InfixFormatter

        digits = 40  # decimals, not significant digits: enough for all of a small constant
        names = dict(zip(self._regressor.variables_, self._features, strict=True))
        text = InfixFormatter.Format(model["tree"], names, digits)
        units = dict(zip(self._features, self._x_unit.tolist(), strict=True))
        nodes: list[Node] = []
        rest = iter(parse(text, self._features).nodes)
        for node in rest:
            if not isinstance(node, Variable):
                nodes.append(node)
                continue
            weight, times = nodes.pop(), next(rest)  # every variable comes as (weight * variable)
            if not isinstance(weight, Number) or times != _MUL:
                raise MethodError(f"Operon printed a variable without its weight: {text}")
            weight = Number(weight.value / units[node.name])
            nodes += [node] if weight.value == 1 else [weight, node, _MUL]
        return Candidate(
            str(_times(Expression(tuple(nodes)), self._y_unit)),
            loss=float(model["mean_squared_error"]) * self._y_unit * self._y_unit,
            complexity=float(model["complexity"]),
        )


def _power_of_two(columns: np.ndarray) -> np.ndarray:
    """Power of two nearest to each column's mean absolute value; 1 for a column of zeros."""
    size = np.abs(columns).mean(axis=0)
    return np.exp2(np.round(np.log2(np.where(size > 0, size, 1.0))))


def _times(formula: Expression, factor: float) -> Expression:
    """Multiply a formula by a power of two, inside its constants where it has some."""
    if factor == 1:
        return formula
    Nodes = tuple[Node, ...]

    def leaf(node: Node) -> tuple[Nodes, Nodes]:
        if isinstance(node, Number):
            return (node,), (Number(node.value * factor),)
        return (node,), (Number(factor), node, _MUL)

    def apply(op: Operator, pairs: list[tuple[Nodes, Nodes]]) -> tuple[Nodes, Nodes]:
        """Join operands given as (as it is, times factor)."""
        plain = (*(node for same, _ in pairs for node in same), op)
        match op.name:
            case "add" | "sub":
                return plain, (*pairs[0][1], *pairs[1][1], op)
            case "mul" | "div":
                return plain, (*pairs[0][1], *pairs[1][0], op)
            case _:
                return plain, (Number(factor), *plain, _MUL)

    return Expression(formula.fold(leaf, apply)[1])
