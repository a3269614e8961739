"""Ordinary least squares, printed as a formula: the floor of every plot, the example to copy."""

from __future__ import annotations

import numpy as np

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task


class Linear(Method):
    """``y = a + b1*x1 + ... + bd*xd`` by least squares."""

    summary = "ordinary least squares, the floor every method should beat"
    reference = "Gauss 1809; LinearRegression in SRBench (La Cava et al. 2021)"

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Fit on centred and scaled columns, then undo both in the coefficients.

        Of columns that depend on each other the smallest coefficients are taken (minimum norm); a
        column that does not vary, measured against its own size, gets none.
        """
        centre = task.X.mean(axis=0)
        Z = task.X - centre
        spread = np.abs(Z).max(axis=0)
        varies = spread > 1e-13 * np.abs(task.X).max(axis=0)
        Z = Z[:, varies] / spread[varies]
        self._slopes = np.zeros(task.X.shape[1])
        self._slopes[varies] = (
            np.linalg.lstsq(Z, task.y - task.y.mean(), rcond=None)[0] / spread[varies]
        )
        self._intercept = float(task.y.mean() - centre @ self._slopes)
        with np.errstate(over="ignore"):
            self._loss = float(np.mean((task.y - self._predict(task.X)) ** 2))
        self._features = task.features

    def answer(self) -> Outcome:
        """Print the one formula."""
        text = repr(self._intercept)
        for name, slope in zip(self._features, self._slopes.tolist(), strict=True):
            if slope:
                text += f" {'-' if slope < 0 else '+'} {abs(slope)!r}*{name}"
        only = Candidate(text, self._loss, 1 + float(np.count_nonzero(self._slopes)))
        return Outcome((only,), predict=self._predict, stop_reason="solved exactly")

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self._intercept + X @ self._slopes
