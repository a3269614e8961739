"""Held-out functions of the sampler that are the same for ever, and for every network."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.network.decoder import ExpressionDecoder
from methods.network.functions import NumberedFunctions
from methods.symbolic.sampler import Batch, SamplerConfig

SEED = 20_251_121  # of the held-out samples; seeds of training are small numbers
FUNCTIONS = 512
SAMPLED = 192  # functions, of these, that are decoded many times
SAMPLES = 32  # decodes of each


def functions(config: SamplerConfig) -> Batch:
    """The held-out functions, on the processor."""
    return NumberedFunctions(FUNCTIONS, config, SEED)[0]


def recovered(
    decoder: ExpressionDecoder, z: Tensor, targets: Batch, generator: torch.Generator
) -> float:
    """Share of functions whose exact tokens are among decodes.

    Args:
        z: (B * S, z_tokens + MAX_VARIABLES, z_width): S for each function, each decoded once.
        targets: B functions.
    """
    samples = len(z) // len(targets)
    variables = targets.variables.repeat_interleave(samples)
    tokens, _ = decoder.sample(z, variables, generator=generator)
    hits = (tokens == targets.tokens.repeat_interleave(samples, 0)).all(1)
    return float(hits.view(-1, samples).any(1).float().mean())
