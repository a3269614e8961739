"""LEE's network: f(e, D) -> z, and two decoders that read z, one as a formula, one as values.

z is a few tokens for the function as a whole and one for each variable. Variables are treated
alike wherever numbers are: renaming them permutes their tokens, and the decoder names a variable by
pointing at its token. What is learnt of one variable so holds for all ten.

Encoder and expression decoder are those of `methods.network`. The evaluation decoder looks at z
from a point x and says y in units of the bag's spread.

Activations are in bfloat16 under autocast, parameters in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.lee.config import ModelConfig
from methods.network import encoder, features
from methods.network.blocks import Block, Norm, Table, initialise
from methods.network.candidates import Candidates
from methods.network.decoder import ExpressionDecoder, Memory
from methods.symbolic import vocabulary as tok


class Encoder(encoder.Encoder):
    """f(e, D) -> z."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.to_z = nn.Linear(config.width, config.z_width)
        self.guess = nn.Parameter(torch.zeros(config.latents, config.width))

    def forward(self, *data, candidates: Candidates | None) -> Tensor:
        """Embed what `gather` reads; latents are told which candidates are guesses.

        Returns:
            z, float32 (B, z_tokens + MAX_VARIABLES, z_width), of root mean square 1 in each token;
            0 for variables that do not exist.
        """
        told = None if candidates is None else candidates.guess[:, None, None] * self.guess
        tokens, present = self.gather(*data, candidates, told)
        z = functional.rms_norm(self.to_z(tokens).float(), (self.config.z_width,))
        return z * present[..., None]


class EvaluationDecoder(nn.Module):
    """g_eval(z, x) -> y, differentiable in z."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.memory = Memory(config)
        self.number = nn.Linear(features.PLACED, 2 * config.cell)
        self.variable = nn.Linear(config.z_width, 2 * config.cell)
        self.point = nn.Linear(2 * config.cell, config.width)
        self.blocks = nn.ModuleList(
            Block(config, self_attention=False) for _ in range(config.evaluators)
        )
        self.norm = Norm(config.width)
        self.head = nn.Linear(config.width, 1)

    def forward(self, z: Tensor, X: Tensor, scales: features.Scales, table: Table) -> Tensor:
        """Values at points (B, Q, MAX_VARIABLES): (B, Q), in units of the spread of y."""
        context, present = self.memory(z, table.exists.sum(1))
        numbers = features.among(table.pack(X.transpose(1, 2)), scales.x[table.exists])
        known = self.variable(table.pack(z[:, -tok.MAX_VARIABLES :]).to(context.dtype))
        cells = self.number(numbers.to(context.dtype)) + known[:, None]
        x = self.point(functional.gelu(table.gather(functional.gelu(cells))))
        for block in self.blocks:
            x = block(x, block.look(context), present[:, None, None])
        return self.head(self.norm(x)).float()[..., 0]


@dataclass(frozen=True)
class Embedding:
    """What the encoder makes of some bags of observations.

    Attributes:
        z: float32 (B, z_tokens + MAX_VARIABLES, z_width).
        variables: int64 (B,), columns that exist.
        scales: of the bags; g_eval reads and answers in their units.
    """

    z: Tensor
    variables: Tensor
    scales: features.Scales

    def __getitem__(self, rows) -> Embedding:
        return Embedding(self.z[rows], self.variables[rows], self.scales[rows])

    @classmethod
    def join(cls, parts: Sequence[Embedding]) -> Embedding:
        """All rows of some embeddings."""
        return cls(
            torch.cat([p.z for p in parts]),
            torch.cat([p.variables for p in parts]),
            features.Scales.join([p.scales for p in parts]),
        )


class LEE(nn.Module):
    """Encoder and decoders; see the module's text."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.expression = ExpressionDecoder(config)
        self.evaluation = EvaluationDecoder(config)
        initialise(self, config)

    def embed(
        self, X: Tensor, y: Tensor, variables: Tensor, candidates: Candidates | None = None
    ) -> Embedding:
        """f(e, D): embed bags of observations, with a candidate for each if there are any.

        Args:
            X: float32 (B, N, MAX_VARIABLES); y: (B, N).
            variables: int64 (B,), how many leading columns exist.
            candidates: B of them, their predictions at these points.
        """
        scales, table = features.Scales.of(X, y), Table.of(variables)
        return Embedding(
            self.encoder(X, y, scales, table, candidates=candidates), variables, scales
        )

    def values(self, embedding: Embedding, X: Tensor) -> Tensor:
        """g_eval(z, x): values at points (B, Q, MAX_VARIABLES), in units of the bag's spread of y.

        Differentiable in z; `features.placed(y, embedding.scales.y)` is their target.
        """
        table = Table.of(embedding.variables)
        return self.evaluation(embedding.z, X, embedding.scales, table)
