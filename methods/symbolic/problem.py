"""A data set as a search over skeletons sees it.

A `Problem` picks columns, brings units into the range that expressions are written for, and puts
formulas back into the original names and units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lee_bench.expression import Expression
from methods.symbolic import vocabulary as tok
from methods.symbolic.archive import Entry, noise_floor
from methods.symbolic.polish import in_original_units
from methods.symbolic.printing import neat

_JUDGES = 20_000  # rows that judge formulas, drawn at random where there are more
_MODERATE = 1e3  # sizes from 1/_MODERATE to _MODERATE are left as they are


def relevance(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, bins: int = 10
) -> np.ndarray:
    """How much each column says about y by itself: the correlation ratio, 0 to 1.

    The share of the variance of y that lies between bins of equal counts of the column (Pearson
    1905), or the same of |y - mean|, whichever is larger.

    Args:
        X: (n, d); y: (n,).
        weights: of the rows, (n,), or None.
        bins: quantiles of the column, of rows and not of weights.

    Returns:
        (d,)
    """
    weights = np.ones(len(y)) if weights is None else weights
    deviation = np.abs(y - np.average(y, weights=weights))
    scores = np.zeros(X.shape[1])
    for j, column in enumerate(X.T):
        edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.searchsorted(edges, column)
        weight = np.bincount(place, weights)
        for target in (y, deviation):
            mean = np.average(target, weights=weights)
            spread = np.sum(weights * (target - mean) ** 2)
            means = np.bincount(place, weights * target) / np.where(weight > 0, weight, 1.0)
            if spread > 0:
                between = np.sum(weight * (means - mean) ** 2)
                scores[j] = max(scores[j], between / spread)
    return scores


def _unit(values: np.ndarray) -> float:
    """1 where the root mean square is moderate, else the power of ten next to it."""
    largest = np.abs(values).max(initial=0)
    if largest == 0 or not math.isfinite(largest):
        return 1.0
    size = largest * math.sqrt(np.mean(np.square(values / largest)))
    return 1.0 if 1 / _MODERATE <= size <= _MODERATE else 10.0 ** round(math.log10(size))


class Problem:
    """A data set as a search sees it.

    Args:
        X: float64 (n, d); y: float64 (n,); finite.
        names: of the d columns.
        weights: of the rows, (n,), or None.
        points: rows that fits use, drawn at random where there are more.
        seed: chooses them.
        observations: that the rows stand for, where equal ones were merged; their number by
            default.

    Attributes:
        all_X, all_y, all_weights: rows that judge, at most 20,000, as they were given.
        columns: indices of the columns in use, at most ten, in order.
        names: of these.
        X, y, weights: rows for fits, (m, len(columns)), (m,) and (m,), in moderate units.
        observations, all_observations: that these rows, and those that judge, stand for.
        variance: weighted variance of y over these rows.
        floor: loss, in moderate units, that counts as exact.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        names: Sequence[str],
        weights: np.ndarray | None = None,
        points: int = 1000,
        seed: int = 0,
        observations: float | None = None,
    ) -> None:
        weights = np.ones(len(y)) if weights is None else np.asarray(weights, float)
        observations = float(observations or len(y))
        if len(y) > _JUDGES:
            rows = np.sort(np.random.default_rng(seed).choice(len(y), _JUDGES, replace=False))
            observations *= float(weights[rows].sum() / weights.sum())
            X, y, weights = X[rows], y[rows], weights[rows]
        self.all_X, self.all_y, self.all_names, self.all_weights = X, y, tuple(names), weights
        rows = np.flatnonzero(weights > 0)
        if len(rows) > points:
            rows = np.sort(np.random.default_rng(seed).choice(rows, points, replace=False))
        columns = np.arange(X.shape[1])
        if len(columns) > tok.MAX_VARIABLES:
            best = np.argsort(-relevance(X[rows], y[rows], self.all_weights[rows]), kind="stable")
            columns = np.sort(best[: tok.MAX_VARIABLES])
        self.columns = tuple(columns.tolist())
        self.names = tuple(names[j] for j in self.columns)
        self.x_units = {n: _unit(X[:, j]) for n, j in zip(self.names, self.columns, strict=True)}
        self.y_unit = _unit(y)
        self.X = np.ascontiguousarray(X[np.ix_(rows, columns)]) / list(self.x_units.values())
        self.y = y[rows] / self.y_unit
        self.weights = self.all_weights[rows]
        self.all_observations = observations
        share = self.weights.sum() / self.all_weights.sum()
        self.observations = self.all_observations * float(share)
        mean = np.average(self.y, weights=self.weights)
        self.variance = float(np.average((self.y - mean) ** 2, weights=self.weights))
        self.floor = noise_floor(self.y)

    def formula(self, entry: Entry) -> Expression:
        """A candidate in original names and units."""
        expression = tok.to_expression(entry.tokens, entry.constants, self.names)
        units = {name: unit for name, unit in self.x_units.items() if unit != 1}
        return neat(in_original_units(expression, units, self.y_unit))

    def loss(self, formula: Expression) -> float:
        """Mean squared error on the rows that judge, in units of y_unit squared; inf without a
        value.
        """
        with np.errstate(all="ignore"):
            residual = (formula.evaluate(self.all_X, self.all_names) - self.all_y) / self.y_unit
            loss = float(np.average(residual**2, weights=self.all_weights))
        return loss if math.isfinite(loss) else math.inf
