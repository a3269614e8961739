"""Numbered batches of functions and candidates, made on the processor while the network trains."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from methods.lee.candidates import Candidates, fitted, mutate
from methods.lee.config import TaskConfig
from methods.symbolic.affine import without_affine
from methods.symbolic.sampler import Batch as Functions
from methods.symbolic.sampler import Sampler, SamplerConfig

_PROPOSALS = 8192  # trees tried at once; about one in five becomes a function


@dataclass(frozen=True)
class Batch:
    """Functions, and candidates for the last of them.

    Attributes:
        functions: all functions; the first `alone` are read from data alone.
        candidates: for the rows from `first` on, of which those before `alone` are read twice.
    """

    functions: Functions
    candidates: Candidates
    alone: int
    first: int

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        functions = move(self.functions, device)
        return Batch(functions, self.candidates.to(device), self.alone, self.first)


def move(functions: Functions, device: torch.device) -> Functions:
    """Functions on a device."""
    return Functions(*(getattr(functions, f.name).to(device) for f in fields(functions)))


class NumberedFunctions:
    """Batch i of a seed is the same on every run.

    The sampler works best on thousands of proposals; so small batches are drawn several at once,
    from a generator that their common number seeds.

    Args:
        rows: functions of a batch.
        config: what to draw.
        seed: of the whole stream.
    """

    def __init__(self, rows: int, config: SamplerConfig, seed: int) -> None:
        self.rows, self.config, self.seed = rows, config, seed
        self.together = max(1, _PROPOSALS // 5 // rows)
        self._last: tuple[int, Functions] | None = None

    def __getitem__(self, index: int) -> Functions:
        lot, place = divmod(index, self.together)
        if self._last is None or self._last[0] != lot:
            self._last = lot, self._draw(lot)
        return self._last[1][place * self.rows : (place + 1) * self.rows]

    def _draw(self, lot: int) -> Functions:
        seed = np.random.SeedSequence([self.seed, lot]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed >> 1))
        drawn = next(Sampler(self.rows * self.together, generator, self.config, _PROPOSALS))
        cores = without_affine(drawn.tokens.numpy())
        return replace(drawn, tokens=torch.from_numpy(cores))


class Data:
    """Batches for a task, as `methods.training` wants them.

    Args:
        task: what the network is asked.
        max_length: longest expression, in tokens.
    """

    def __init__(self, task: TaskConfig, max_length: int) -> None:
        self.task = task
        self.sampler = SamplerConfig(
            max_length=max_length, points=task.points, query_points=task.queries
        )
        self.functions = NumberedFunctions(task.rows, self.sampler, task.seed)

    def __getitem__(self, index: int) -> Batch:
        task = self.task
        functions = self.functions[index]
        alone = int(task.alone * task.rows)
        first = alone - int(task.twice * task.rows)
        truth = int(task.truth * task.rows)
        rows = functions[first:]
        wrong = mutants(rows, [task.seed, index])
        # Rows are in no order, but those read twice come first; the truth is spread over all.
        right = torch.linspace(0, len(wrong) - 1, truth).long()
        wrong[right] = rows.tokens[right]
        return Batch(functions, fitted(wrong, rows, seed=index), alone, first)


def mutants(functions: Functions, seed: int | list[int]) -> Tensor:
    """Wrong versions of functions on the processor, int64 (B, L)."""
    rng = np.random.default_rng(seed)
    changed = mutate(functions.tokens.numpy(), functions.variables.numpy(), rng)
    return torch.from_numpy(changed)
