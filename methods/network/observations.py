"""The rows of a problem as a network reads them: bag by bag."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from methods.symbolic import vocabulary as tok
from methods.symbolic.problem import Problem

_SMALLEST_BAG = 16  # networks never saw fewer points, unless there are no more


class Observations:
    """A problem's rows on a device.

    Args:
        problem: the data.
        bag: points of a bag, if there are more.
        device: of the network.

    Attributes:
        X: float32 (rows, MAX_VARIABLES), 0 in columns that do not exist; y: float32 (rows,).
        variables: columns that exist, at least 1.
    """

    def __init__(self, problem: Problem, bag: int, device: torch.device) -> None:
        rows, columns = problem.X.shape
        self.X = torch.zeros((rows, tok.MAX_VARIABLES), device=device)
        self.X[:, :columns] = torch.from_numpy(problem.X)
        self.y = torch.from_numpy(problem.y).to(self.X)
        self.variables = max(1, columns)
        self._size = min(bag, rows, max(_SMALLEST_BAG, 3 * rows // 4))
        self._log_weights = np.log(problem.weights)

    def bags(
        self, count: int, rng: np.random.Generator, log_weights: np.ndarray | float = 0.0
    ) -> Tensor:
        """Rows of some bags, int64 (count, points): by weight, none twice in a bag.

        Weighted sampling without replacement as Efraimidis & Spirakis (2006) have it.

        Args:
            count: of bags.
            rng: draws.
            log_weights: logarithms of further weights of the rows, (rows,) or (count, rows).
        """
        key = self._log_weights + log_weights + rng.gumbel(size=(count, len(self.y)))
        rows = np.argpartition(-key, self._size - 1, axis=1)[:, : self._size]
        return torch.from_numpy(rows).to(self.y.device)

    def numbers(self, count: int) -> Tensor:
        """How many variables exist, for each of some bags: int64 (count,)."""
        return torch.full((count,), self.variables, device=self.y.device)
