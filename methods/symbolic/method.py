"""What methods that try skeletons in a `Pool` share as members of the harness."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task

if TYPE_CHECKING:
    from methods.symbolic.problem import Problem
    from methods.symbolic.search import Pool

PATIENCE = 4.0
"""How many times as many skeletons as until the last gain are tried without another before a search
gives up, in every method alike; see `Pool.stop`."""


class PoolMethod(Method):
    """Explore a problem until shortly before the time is up, polish the best, give the front."""

    @abstractmethod
    def explore(
        self, problem: Problem, budget: Budget, seed: int, deadline: float
    ) -> tuple[Pool, str, dict[str, Any]]:
        """Try skeletons until `deadline`, a value of `time.perf_counter()`.

        Returns:
            All that was found, why it ended, and what else is worth keeping in a record.
        """

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Explore until solved or the time is up; then polish."""
        from methods.symbolic.problem import Problem
        from methods.symbolic.search import polishing

        begin = time.perf_counter()
        end = begin + budget.seconds
        polish_from = end - polishing(budget.seconds)
        problem = Problem(task.X, task.y, task.features, seed=seed)
        pool, self._stopped, told = self.explore(problem, budget, seed, polish_from)
        searched = time.perf_counter() - begin
        self._answers, self._chosen = pool.answers(end)
        self._details = {
            "candidates": pool.offered,
            "distinct": pool.tried,
            "candidates_per_second": round(pool.offered / searched),
        } | told
        if len(problem.columns) < len(task.features):
            self._details["features"] = (
                f"the {len(problem.columns)} most relevant of {len(task.features)}: "
                + ", ".join(problem.names)
            )

    def answer(self) -> Outcome:
        """Print the front."""
        return Outcome(
            tuple(Candidate(str(a.formula), a.loss, float(a.nodes)) for a in self._answers),
            self._chosen,
            stop_reason=self._stopped,
            details=self._details,
        )
