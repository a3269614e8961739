"""GenSR's network: a conditional variational autoencoder with two branches.

One encoder reads points alone, which gives the prior p(z | X), or points beside the expression they
come from, which gives the posterior q(z | X, F). Both are Gaussians with diagonal covariance over
z, whose shape is that of LEE's: a few tokens for the function as a whole and one for each variable.
Encoder and expression decoder are those of `methods.network`.

Before decoding, some samples of z are fused into one, so that the decoder is told of a region
rather than of a point. The fusion is a mean over samples of a small network beside the identity
(Zaheer et al. 2017): it does not depend on order or number, and one sample alone will do, as a
search needs.

Means have root mean square 1 in each token, and deviations lie between two bounds: scale would else
be free, and noise could be made harmless by making everything large.

Activations are in bfloat16 under autocast, parameters in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.gensr.config import ModelConfig
from methods.network import features
from methods.network.blocks import Table, initialise
from methods.network.candidates import Candidates
from methods.network.decoder import ExpressionDecoder
from methods.network.encoder import Encoder


@dataclass(frozen=True)
class Gaussian:
    """Gaussians over z with diagonal covariance.

    Attributes:
        mean, deviation: float32 (B, z_tokens + MAX_VARIABLES, z_width); 0 and 1 in tokens of
            variables that do not exist.
        present: bool (B, z_tokens + MAX_VARIABLES), tokens that are there.
        variables: int64 (B,).
    """

    mean: Tensor
    deviation: Tensor
    present: Tensor
    variables: Tensor

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows) -> Gaussian:
        return Gaussian(
            self.mean[rows], self.deviation[rows], self.present[rows], self.variables[rows]
        )

    @classmethod
    def join(cls, parts: Sequence[Gaussian]) -> Gaussian:
        """All rows of some Gaussians."""
        names = ("mean", "deviation", "present", "variables")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` samples of each, (B, count, tokens, width), differentiable; 0 if not present."""
        shape = (len(self), count, *self.mean.shape[1:])
        noise = torch.randn(shape, generator=generator, device=self.mean.device)
        z = self.mean[:, None] + self.deviation[:, None] * noise
        return z * self.present[:, None, :, None]

    def divergence(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats of each dimension, (B, tokens, width); 0 if not present."""
        ratio = self.deviation / other.deviation
        distance = (self.mean - other.mean) / other.deviation
        kl = (ratio.square() + distance.square() - 1) / 2 - ratio.log()
        return kl * self.present[..., None]


class GenSR(nn.Module):
    """Encoder, two heads, fusion and decoder; see the module's text."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.to_mean = nn.Linear(config.width, config.z_width)
        self.to_deviation = nn.Linear(config.width, config.z_width)
        self.widen = nn.Linear(config.z_width, 2 * config.z_width)
        self.narrow = nn.Linear(2 * config.z_width, config.z_width)
        self.expression = ExpressionDecoder(config)
        initialise(self, config)
        nn.init.zeros_(self.narrow.weight)  # begins as the mean of the samples
        nn.init.normal_(self.to_deviation.weight, std=0.1 * config.width**-0.5)

    def read(
        self, X: Tensor, y: Tensor, variables: Tensor, candidates: Candidates | None = None
    ) -> Gaussian:
        """p(z | X) of bags of observations, or q(z | X, F) if the expressions are given.

        Args:
            X: float32 (B, N, MAX_VARIABLES); y: (B, N).
            variables: int64 (B,), how many leading columns exist.
            candidates: B of them, their predictions at these points.
        """
        scales, table = features.Scales.of(X, y), Table.of(variables)
        tokens, present = self.encoder.gather(X, y, scales, table, candidates)
        mean = functional.rms_norm(self.to_mean(tokens).float(), (self.config.z_width,))
        low, high = math.log(self.config.narrowest), math.log(self.config.widest)
        place = torch.sigmoid(self.to_deviation(tokens).float())
        deviation = torch.exp(low + (high - low) * place)
        there = present[..., None]
        return Gaussian(mean * there, torch.where(there, deviation, 1.0), present, variables)

    def fuse(self, z: Tensor) -> Tensor:
        """Clouds of samples (B, K, tokens, width) -> what the decoder reads (B, tokens, width)."""
        return (z + self.narrow(functional.gelu(self.widen(z))).to(z.dtype)).mean(1)
