"""The floor for everything learned: formulas drawn blindly from the prior of our own sampler.

No data shape the draws. Each round draws a batch, drops what was seen, fits the constants of the
rest in batches, keeps the best of each complexity, and tries pairs of them. What it finds shows how
far sampling, fitting and pairing go by themselves; a trained model must find more with the same
number of candidates.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from methods.symbolic.method import PATIENCE, PoolMethod

if TYPE_CHECKING:
    from methods.symbolic.problem import Problem
    from methods.symbolic.search import Pool

_FIRST_ROUND = 512  # proposals, doubled until `proposals` is reached


class Prior(PoolMethod):
    """Rejection sampling from the training prior.

    Settings:
        proposals: trees drawn in a round, before what can be simplified is thrown away; the first
            rounds are smaller, for short budgets. A round is never cut short, so that results
            depend on the number of rounds alone.
        max_length: tokens of the longest formula drawn.
        pairs: of finds, tried after each round; 0 for none.
        patience: how many times as many expressions as until the last gain are tried without
            another before the search gives up (`Pool.stop`); 0 never does.
        max_rounds: rounds after which to stop, 0 for none: makes runs repeat exactly.
    """

    summary = "random formulas from our training prior and pairs of them; nothing learned"
    reference = "the floor for learned methods; see methods/symbolic/sampler.py"
    packages: ClassVar = {"torch": "torch>=2.4", "numba": "numba>=0.60"}
    defaults: ClassVar = {
        "proposals": 8192,
        "max_length": 20,
        "pairs": 128,
        "patience": PATIENCE,
        "max_rounds": 0,
    }

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        wrong = ""
        if self.settings["proposals"] < 1 or self.settings["max_length"] < 3:
            wrong = "proposals must be at least 1, and max_length at least 3"
        if min(self.settings[name] for name in ("pairs", "patience", "max_rounds")) < 0:
            wrong = "pairs, patience and max_rounds must not be negative"
        if wrong:
            raise MethodError(f"prior cannot search like that: {wrong}.")

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Import torch, compile all kernels."""
        import torch

        from methods.symbolic import sampler, search

        torch.set_num_threads(budget.threads)
        search.warm_up(budget.threads)
        config = sampler.SamplerConfig(max_length=self.settings["max_length"], variables=1)
        sampler.sample_trees(64, config, torch.Generator())

    def explore(
        self, problem: Problem, budget: Budget, seed: int, deadline: float
    ) -> tuple[Pool, str, dict[str, Any]]:
        """Draw, fit and keep until solved or the time is up."""
        import torch

        from methods.symbolic import sampler
        from methods.symbolic.search import Pool

        begin = time.perf_counter()
        patience = self.settings["patience"]
        pool = Pool(problem, threads=budget.threads, seed=seed, patience=patience)
        config = sampler.SamplerConfig(
            max_length=self.settings["max_length"], variables=max(1, len(problem.columns))
        )
        generator = torch.Generator().manual_seed(seed)
        rounds, longest, drawing = 0, 0.0, 0.0
        stopped = "time limit"
        while rounds == 0 or time.perf_counter() + longest < deadline:
            start = time.perf_counter()
            proposals = min(self.settings["proposals"], _FIRST_ROUND << min(rounds, 20))
            tokens, _ = sampler.sample_trees(proposals, config, generator)
            drawing += time.perf_counter() - start
            pool.offer(tokens.numpy())
            pool.join(self.settings["pairs"])
            rounds += 1
            longest = max(longest, time.perf_counter() - start)
            if ended := pool.stop():
                stopped = ended
                break
            if rounds == self.settings["max_rounds"]:
                stopped = "round limit"
                break
        share = drawing / (time.perf_counter() - begin)
        return pool, stopped, {"rounds": rounds, "share_of_time_drawing": round(share, 3)}
