"""Numbered batches of functions from the sampler, as cores."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from methods.symbolic.affine import without_affine
from methods.symbolic.sampler import Batch as Functions
from methods.symbolic.sampler import Sampler, SamplerConfig

_PROPOSALS = 8192  # trees tried at once; about one in five becomes a function


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
