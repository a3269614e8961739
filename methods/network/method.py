"""What LEE and GenSR share as members of the harness."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from methods.network import weights
from methods.symbolic.method import PoolMethod

if TYPE_CHECKING:
    from methods.symbolic.problem import Problem
    from methods.symbolic.search import Pool


class LatentMethod(PoolMethod):
    """A search in the latent space of a trained network.

    Class attributes:
        name: as `lee-bench train` knows it; title: as people do.
        shipped: folder of the sizes that ship.
        config: class of the search's settings, a dataclass; its fields are settings of the method,
            beside `weights` and `max_rounds`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    shipped: ClassVar[Path]
    config: ClassVar[type]
    packages: ClassVar = {
        "torch": "torch>=2.4",
        "safetensors": "safetensors>=0.4.3",
        "numba": "numba>=0.60",
    }

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        chosen = {f.name: self.settings[f.name] for f in fields(self.config)}
        try:
            self._config = self.config(**chosen)
        except (ValueError, TypeError) as error:
            raise MethodError(f"{self.name} cannot search like that: {error}.") from None

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """The network in a folder."""

    @abstractmethod
    def begin(self, problem: Problem, **arguments: Any) -> Any:
        """A search of a problem with `self._model` and `self._config`."""

    @abstractmethod
    def told(self, search: Any) -> dict[str, Any]:
        """What of a search is worth keeping in a record."""

    @classmethod
    def folder(cls, name: str) -> Path:
        """Where a model's weights are: of a size that ships, else a folder of one's own.

        Raises:
            SetupError: there are none.
        """
        return weights.find(cls.name, cls.title, cls.shipped, name)

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Load the weights, compile all kernels, and search one round on a toy."""
        import numpy as np
        import torch

        from methods.symbolic.problem import Problem
        from methods.symbolic.search import warm_up

        torch.set_num_threads(budget.threads)
        self._model = self.load(self.folder(str(self.settings["weights"])))
        warm_up(budget.threads)
        X = np.random.default_rng(0).uniform(1, 2, (64, 1))
        y = np.random.default_rng(1).normal(size=64)  # no law: never solved early
        self.begin(Problem(X, y, ("a",)), threads=budget.threads).run(math.inf, max_rounds=1)

    def explore(
        self, problem: Problem, budget: Budget, seed: int, deadline: float
    ) -> tuple[Pool, str, dict[str, Any]]:
        """Search until solved or the time is up."""
        search = self.begin(problem, threads=budget.threads, seed=seed)
        stopped = search.run(deadline, max_rounds=self.settings["max_rounds"])
        return search.pool, stopped, self.told(search)
