"""LEE in the harness."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.errors import MethodError
from methods.lee.config import Refinement
from methods.network import weights

if TYPE_CHECKING:
    from methods.lee.refine import Search

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the sizes that ship."""


class Lee(Method):
    """Latent Equation Embedding: sample formulas from an embedding of the data, and refine it.

    Settings:
        weights: name of a size that ships, or a folder that `lee-bench train lee` wrote.
        max_rounds: rounds after which to stop, 0 for none: makes runs repeat exactly.
        all others: see `methods.lee.config.Refinement`.
    """

    summary = "formulas decoded from a learned embedding of data and equation, refined"
    reference = "Latent Equation Embedding; see docs/lee.md"
    packages: ClassVar = {"torch": "torch>=2.4", "safetensors": "safetensors>=0.4.3"}
    defaults: ClassVar = {"weights": "small", "max_rounds": 0, **asdict(Refinement())}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        chosen = {f.name: self.settings[f.name] for f in fields(Refinement)}
        try:
            self._refinement = Refinement(**chosen)
        except (ValueError, TypeError) as error:
            raise MethodError(f"lee cannot search like that: {error}.") from None

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Load the weights, compile all kernels, and search once on a toy."""
        import numpy as np
        import torch

        from methods.lee import checkpoint
        from methods.lee.refine import Search
        from methods.symbolic.search import Problem, warm_up

        torch.set_num_threads(budget.threads)
        self._model, _ = checkpoint.load(weights_folder(str(self.settings["weights"])))
        warm_up(budget.threads)
        X = np.random.default_rng(0).uniform(1, 2, (64, 1))
        y = np.random.default_rng(1).normal(size=64)  # no law: never solved early
        toy = Search(self._model, Problem(X, y, ("a",)), self._refinement, threads=budget.threads)
        toy.run(math.inf, max_rounds=2)

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Refine until solved or the time is up; then polish."""
        from methods.lee.refine import Search
        from methods.symbolic.search import Problem

        begin = time.perf_counter()
        end = begin + budget.seconds
        polish_from = end - min(1.5, 0.2 * budget.seconds)
        problem = Problem(task.X, task.y, task.features, seed=seed)
        search = Search(self._model, problem, self._refinement, threads=budget.threads, seed=seed)
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


def weights_folder(name: str) -> Path:
    """Where a model's weights are: of a size that ships, else a folder of one's own.

    Raises:
        SetupError: there are none.
    """
    return weights.find("lee", "LEE", WEIGHTS, name)


def _told(search: Search, seconds: float) -> dict[str, Any]:
    """What of a search is worth keeping in a record."""
    pool, history = search.pool, search.history
    sources, kept = Counter(), Counter()
    for r in history:
        sources.update(r.sources)
        kept.update(r.kept)
    return {
        "rounds": len(history),
        "decodes": sum(r.decodes for r in history),
        "candidates": pool.offered,
        "distinct": pool.tried,
        "candidates_per_second": round(pool.offered / seconds),
        "candidates_by_source": dict(sources),
        "kept_by_source": dict(kept),
        "temperature": round(search.temperature, 3),
    }
