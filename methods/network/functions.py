"""Numbered batches of functions from the sampler, as cores: tokens, and the constants in them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from methods.symbolic import vocabulary as tok
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
        tokens, cores = drawn.tokens.numpy(), without_affine(drawn.tokens.numpy())
        # Scale and offset stand in front: the core's own constants are the last ones.
        shift = (tok.count_constants(tokens) - tok.count_constants(cores))[:, None]
        constants = np.pad(drawn.constants.numpy(), ((0, 0), (0, drawn.constants.shape[1])))
        own = shift + np.arange(drawn.constants.shape[1])
        constants = np.take_along_axis(constants, own, axis=1)
        return replace(drawn, tokens=torch.from_numpy(cores), constants=torch.from_numpy(constants))
