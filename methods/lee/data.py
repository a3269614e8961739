"""Numbered batches of functions and candidates, made on the processor while the network trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from methods.lee.config import TaskConfig
from methods.lee.mutations import mutate
from methods.network.candidates import Candidates, fitted
from methods.network.functions import NumberedFunctions, move
from methods.symbolic.sampler import Batch as Functions
from methods.symbolic.sampler import SamplerConfig


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
        functions, truth = self.functions[index], int(task.truth * task.rows)
        if index >= task.own_from:  # the network's own decodes take the place of mutations
            alone, first = task.rows, task.rows - truth
            tokens, guess = functions.tokens[first:], torch.tensor(False)
        else:
            alone = int(task.alone * task.rows)
            first = alone - int(task.twice * task.rows)
            tokens = mutants(functions[first:], [task.seed, index])
            # Rows are in no order, but those read twice come first; the truth is spread over all.
            right = torch.linspace(0, len(tokens) - 1, truth).long()
            tokens[right] = functions.tokens[first:][right]
            guess = torch.ones(len(tokens), dtype=torch.bool).index_fill(0, right, False)
        candidates = fitted(tokens, functions[first:], seed=index, guess=guess)
        return Batch(functions, candidates, alone, first)


def mutants(functions: Functions, seed: int | list[int]) -> Tensor:
    """Wrong versions of functions on the processor, int64 (B, L)."""
    rng = np.random.default_rng(seed)
    changed = mutate(functions.tokens.numpy(), functions.variables.numpy(), rng)
    return torch.from_numpy(changed)
