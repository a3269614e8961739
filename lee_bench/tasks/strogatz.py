"""Strogatz data sets remade as they were made: 4 trajectories of 100 points, 0.1 apart.

The published Simulink model samples both derivatives at the start of a step and holds them. x is
advanced by that held value, which is forward Euler; y goes through the solver ode3
(Bogacki and Shampine, third order), which sees x move along a straight line inside the step. An
accurate integration gives other data (lv is up to 3.7 off); this scheme gives every value of the
published files within 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lee_bench.expression import parse
from lee_bench.tasks.catalog import TaskInfo, table

SOURCE = "generated: the published starts, integrated as the original simulation did"
STEP = 0.1
POINTS = 100


def generate(info: TaskInfo) -> tuple[np.ndarray, np.ndarray]:
    """Simulate the data set: X float64 (400, 2), trajectory after trajectory, and y (400,)."""
    (row,) = (row for row in table("strogatz") if row["name"] == info.name)
    starts = np.array([pair.split() for pair in row["starts"].split(";")], dtype=np.float64)
    dx, dy = _rate(row["dx"], info), _rate(row["dy"], info)
    states = [starts]
    for _ in range(POINTS - 1):
        states.append(_step(states[-1], dx, dy))
    X = np.stack(states, axis=1).reshape(-1, 2)  # (trajectory, time, 2) -> rows
    return X, parse(info.truth, info.features).evaluate(X, info.features)


Rate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _rate(formula: str, info: TaskInfo) -> Rate:
    expression = parse(formula, info.features)
    return lambda x, y: expression.evaluate(np.stack([x, y], axis=1), info.features)


def _step(state: np.ndarray, dx: Rate, dy: Rate) -> np.ndarray:
    x, y = state.T
    f = dx(x, y)
    k1 = dy(x, y)
    k2 = dy(x + STEP / 2 * f, y + STEP / 2 * k1)
    k3 = dy(x + 3 * STEP / 4 * f, y + 3 * STEP / 4 * k2)
    return np.stack([x + STEP * f, y + STEP / 9 * (2 * k1 + 3 * k2 + 4 * k3)], axis=1)
