"""Pareto fronts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-10
"""What 1 - R² is below where nothing but rounding errors is left."""


def costs(cost: ArrayLike, r2: ArrayLike) -> np.ndarray:
    """A cost and the lost part of R², of which rounding errors are none, as (n, 2) for `ranks`."""
    lost = 1.0 - np.asarray(r2, dtype=np.float64)
    return np.column_stack([cost, np.where(lost < ROUNDING, 0.0, lost)])


def on_front(costs: np.ndarray) -> np.ndarray:
    """Which points no other point beats.

    A point is beaten by one that is nowhere more costly and somewhere less. Equal points do not
    beat each other; a point with a NaN is on no front.

    Args:
        costs: (n, k), lower is better in every column. Negate what should be high.

    Returns:
        Boolean mask, (n,).
    """
    costs = np.asarray(costs, dtype=np.float64)
    known = ~np.isnan(costs).any(axis=1)
    front = known.copy()
    for i in np.flatnonzero(known):
        others = costs[known]
        beats = (others <= costs[i]).all(axis=1) & (others < costs[i]).any(axis=1)
        front[i] = not beats.any()
    return front


def ranks(costs: np.ndarray) -> np.ndarray:
    """Number of the front that each point is on.

    Front 1 is `on_front`; front 2 is the front of the points that are left without it; and so on
    (non-dominated sorting, Goldberg 1989).

    Args:
        costs: as in `on_front`.

    Returns:
        Floats, (n,); NaN for a point with a NaN.
    """
    left = np.array(costs, dtype=np.float64)
    rank = np.full(len(left), np.nan)
    number = 0
    while (front := on_front(left)).any():
        number += 1
        rank[front] = number
        left[front] = np.nan
    return rank
