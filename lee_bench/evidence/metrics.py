"""What is measured about a cell. Each metric says which way is better and what a miss counts as."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ACCURATE_R2 = 0.999
"""SRBench's accuracy solution: test R² above this."""


class Summary(enum.StrEnum):
    """How the cells of a group become one number."""

    MEDIAN = "median"
    """Over the cells that have a value; those that have none are counted beside it."""
    RATE = "rate"
    """Over all cells; one without a value is a miss."""


@dataclass(frozen=True)
class Metric:
    """A column of the table of cells (`lee_bench.evidence.aggregate.cells`).

    Attributes:
        name: the column.
        label: what an axis or a table calls it.
        higher_is_better: direction.
        worst: the value that no cell is worse than; what a failed cell counts as where every cell
            must count.
        summary: how cells are put together.
        resolution: smaller differences between two methods are none.
    """

    name: str
    label: str
    higher_is_better: bool
    worst: float
    summary: Summary
    resolution: float = 0.0


R2_TEST = Metric("r2_test", "test R²", True, -np.inf, Summary.MEDIAN, 1e-3)
R2_TRAIN = Metric("r2_train", "training R²", True, -np.inf, Summary.MEDIAN)
RMSE_TEST = Metric("rmse_test", "test RMSE", False, np.inf, Summary.MEDIAN)
COMPLEXITY = Metric("complexity", "complexity", False, np.inf, Summary.MEDIAN)
COMPLEXITY_RAW = Metric("complexity_raw", "nodes as written", False, np.inf, Summary.MEDIAN)
SECONDS = Metric("seconds", "search time (s)", False, np.inf, Summary.MEDIAN, 0.1)
ACCURATE = Metric("accuracy_solution", "R² > 0.999", True, 0.0, Summary.RATE)
SOLVED = Metric("symbolic_solution", "symbolic solution", True, 0.0, Summary.RATE)

METRICS = (
    R2_TEST,
    R2_TRAIN,
    RMSE_TEST,
    COMPLEXITY,
    COMPLEXITY_RAW,
    SECONDS,
    ACCURATE,
    SOLVED,
)
LABELS = {metric.name: metric.label for metric in METRICS}


def judged(cells: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The cells that count for a metric: all that are graded or failed.

    For `SOLVED` only those of tasks whose true formula is known: nobody can find another.

    Args:
        cells: from `lee_bench.evidence.aggregate.cells`.
    """
    counts = cells["graded"]
    return cells[counts & cells["truth"].notna() if metric is SOLVED else counts]


def r2(y: np.ndarray, prediction: np.ndarray) -> float:
    """Coefficient of determination, 1 at best, no lower bound.

    For a constant target it is 1 where the prediction is exact and 0 elsewhere, as in
    scikit-learn.

    Args:
        y: true values, (n,).
        prediction: predicted values, (n,).

    Returns:
        NaN if a prediction is not finite or the errors are beyond float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.square(y - prediction).sum()
        total = np.square(y - y.mean()).sum()
    if not np.isfinite(error):
        return float("nan")
    if total == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return float(1.0 - error / total)


def rmse(y: np.ndarray, prediction: np.ndarray) -> float:
    """Root mean square error, in units of y; NaN as in `r2`."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(np.sqrt(np.square(y - prediction).mean()))
    return value if np.isfinite(value) else float("nan")


def is_accurate(r2_test: float | None) -> bool:
    """Whether a cell is an accuracy solution; no finite R² is a miss."""
    return r2_test is not None and r2_test > ACCURATE_R2
