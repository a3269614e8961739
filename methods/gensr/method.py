"""GenSR in the harness."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.errors import MethodError
from methods.gensr.config import SearchConfig
from methods.network import weights

if TYPE_CHECKING:
    from methods.gensr.search import Search

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the sizes that ship."""


class GenSR(Method):
    """Evolve a point of a generative latent space until the formula decoded from it fits.

    Settings:
        weights: name of a size that ships, or a folder that `lee-bench train gensr` wrote.
        max_rounds: generations, of all evolutions together, after which to stop, 0 for none: makes
            runs repeat exactly.
        all others: see `methods.gensr.config.SearchConfig`.
    """

    summary = "formulas decoded from a generative latent space, searched by a degenerate CMA-ES"
    reference = "arXiv 2602.20557 (ICLR 2026), built from the paper; see docs/gensr.md"
    packages: ClassVar = {"torch": "torch>=2.4", "safetensors": "safetensors>=0.4.3"}
    defaults: ClassVar = {"weights": "small", "max_rounds": 0, **asdict(SearchConfig())}
    remedy = (
        "Train it with `lee-bench train gensr`, then copy results/training/gensr-small/model "
        f"to {WEIGHTS / 'small'}."
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        chosen = {f.name: self.settings[f.name] for f in fields(SearchConfig)}
        try:
            self._config = SearchConfig(**chosen)
        except (ValueError, TypeError) as error:
            raise MethodError(f"gensr cannot search like that: {error}.") from None

    @classmethod
    def unavailable(cls) -> str:
        """Whether there are no weights to run with."""
        return "" if weights.shipped(WEIGHTS) else "no trained weights are here"

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Load the weights, compile all kernels, and search once on a toy."""
        import numpy as np
        import torch

        from methods.gensr import checkpoint
        from methods.gensr.search import Search
        from methods.symbolic.search import Problem, warm_up

        torch.set_num_threads(budget.threads)
        folder = weights.find("gensr", "GenSR", WEIGHTS, str(self.settings["weights"]))
        self._model, _ = checkpoint.load(folder)
        warm_up(budget.threads)
        X = np.random.default_rng(0).uniform(1, 2, (64, 1))
        y = np.random.default_rng(1).normal(size=64)  # no law: never solved early
        toy = Search(self._model, Problem(X, y, ("a",)), self._config, threads=budget.threads)
        toy.run(math.inf, max_rounds=2)

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Evolve until solved or the time is up; then polish."""
        from methods.gensr.search import Search
        from methods.symbolic.search import Problem

        begin = time.perf_counter()
        end = begin + budget.seconds
        polish_from = end - min(1.5, 0.2 * budget.seconds)
        problem = Problem(task.X, task.y, task.features, seed=seed)
        search = Search(self._model, problem, self._config, threads=budget.threads, seed=seed)
        self._stopped = search.run(polish_from, max_rounds=self.settings["max_rounds"])
        searched = time.perf_counter() - begin
        self._answers, self._chosen = search.pool.answers(end)
        self._details = _told(search, searched)
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


def _told(search: Search, seconds: float) -> dict[str, Any]:
    """What of a search is worth keeping in a record."""
    pool, history = search.pool, search.history
    return {
        "generations": len(history),
        "evolutions": history[-1].evolution + 1 if history else 0,
        "evolutions_ended": dict(search.stops),
        "decodes": sum(g.decodes for g in history),
        "candidates": pool.offered,
        "distinct": pool.tried,
        "candidates_per_second": round(pool.offered / seconds),
    }
