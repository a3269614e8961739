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
POINTS, QUERIES = 64, 12  # of each; others would be other functions


def functions(max_length: int) -> Batch:
    """The held-out functions of at most so many tokens, on the processor."""
    config = SamplerConfig(max_length=max_length, points=POINTS, query_points=QUERIES)
    return NumberedFunctions(FUNCTIONS, config, SEED)[0]


def recovered(
    decoder: ExpressionDecoder, z: Tensor, targets: Batch, generator: torch.Generator
) -> Tensor:
    """Which functions have their exact tokens among decodes.

    Args:
        z: (B * S, z_tokens + MAX_VARIABLES, z_width): S for each function, each decoded once.
        targets: B functions.

    Returns:
        bool (B,)
    """
    samples = len(z) // len(targets)
    variables = targets.variables.repeat_interleave(samples)
    tokens, _ = decoder.sample(z, variables, generator=generator)
    hits = (tokens == targets.tokens.repeat_interleave(samples, 0)).all(1)
    return hits.view(-1, samples).any(1)
