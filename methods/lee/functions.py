"""Functions to train on: the sampler's stream, cut into numbered batches."""

from __future__ import annotations

import functools

import numpy as np
import torch

from methods.symbolic.sampler import Batch, Sampler, SamplerConfig


class NumberedFunctions:
    """Batch i of a seed is the same on every run on one kind of device.

    The sampler works best on thousands of proposals, of which one in five becomes a function; so
    some batches are drawn at once, from a generator that their common number seeds.

    Args:
        rows: functions of a batch.
        config: what to draw.
        seed: of the whole stream.
        device: where to draw.
    """

    def __init__(self, rows: int, config: SamplerConfig, seed: int, device: torch.device) -> None:
        self.rows, self.config, self.seed, self.device = rows, config, seed, device
        proposals = 8192 if device.type == "cpu" else 65536
        self.together = max(1, proposals // 5 // rows)
        self._proposals = proposals
        self._block = functools.lru_cache(maxsize=2)(self._draw)

    def __getitem__(self, index: int) -> Batch:
        start = index % self.together * self.rows
        return self._block(index // self.together)[start : start + self.rows]

    def _draw(self, block: int) -> Batch:
        seed = np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(self.device).manual_seed(int(seed >> 1))
        sampler = Sampler(self.rows * self.together, generator, self.config, self._proposals)
        return next(sampler)
