"""How data are read: a table of observations, and latents that gather from it.

There is a cell for each observation and variable, which knows that value of x and y. In every stage
the cells think and hear the others of their observation, and latents, of which there are a few for
the function and one for each variable, gather: a variable's latent from its column, all of them
from the observations and from the tokens of a candidate (Perceiver, Jaegle et al. 2021).
Observations have no order and never meet but through the latents, so what comes out does not depend
on their order, and a bag of any size is welcome. Variables are treated alike but for their names.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.network import features, trends
from methods.network.blocks import Block, Hear, Mixer, Norm, Table, activation_dtype
from methods.network.candidates import Candidates
from methods.network.config import NetworkConfig
from methods.symbolic import vocabulary as tok

_VARIABLES = slice(tok.FIRST_VARIABLE, tok.FIRST_VARIABLE + tok.MAX_VARIABLES)


class Stage(nn.Module):
    """One step of the encoder: cells think, latents gather."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.mixer = Mixer(config.cell)
        self.column = nn.Linear(2 * config.cell, config.width)
        self.point = nn.Linear(2 * config.cell, config.width)
        self.norm = Norm(config.width)
        self.block = Block(config)

    def forward(
        self, cells: Tensor, latents: Tensor, table: Table, read: Tensor | None, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one step.

        Args:
            cells: (M, N, cell). latents: (B, latents + MAX_VARIABLES, width).
            table: which cells there are.
            read: tokens of the candidates (B, L, width), or None.
            mask: which points, tokens and latents may be looked at.

        Returns:
            The latents, and what `Mixer` made of the cells.
        """
        thoughts, points = self.mixer(cells, table)
        column = table.unpack(self.column(thoughts.sum(1) / thoughts.shape[1]))
        latents = latents + functional.pad(column, (0, 0, latents.shape[1] - column.shape[1], 0))
        memory = self.point(points)
        if read is not None:
            memory = torch.cat([memory, read], 1)
        latents = self.block(latents, self.block.look(self.norm(memory)), mask)
        return latents, thoughts, points


class Encoder(nn.Module):
    """Gathers what is known of a function into a few tokens, and one for each variable."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.number = nn.Linear(features.PLACED, config.cell)
        self.target = nn.Linear(features.TARGET + trends.POINT, config.cell)
        self.trend = nn.Linear(trends.COLUMN, 2 * width)
        self.known = nn.Linear(2 * width, width)
        self.hint = nn.Linear(2 * width, config.cell)
        self.token = nn.Embedding(tok.SIZE, width)
        self.constant = nn.Linear(features.NUMBER, width)
        self.position = nn.Embedding(config.max_length, width)
        self.readers = nn.ModuleList(Block(config, context=False) for _ in range(config.readers))
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.5)
        self.stages = nn.ModuleList(Stage(config) for _ in range(config.encoders))
        self.hear = nn.ModuleList(Hear(config.cell, width) for _ in range(config.encoders - 1))
        self.norm = Norm(width)

    def read(self, tokens: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, L) with fitted constants (B, K) -> (B, L, width), and bool (B, L) not PAD."""
        dtype = self.constant.weight.dtype
        is_constant = tokens == tok.CONSTANT
        index = (is_constant.cumsum(1) - 1).clamp_min(0)
        values = features.numbers(constants.gather(1, index))
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        x = x + self.constant(values.to(dtype)) * is_constant[..., None]
        x = x.to(activation_dtype(x))
        used = tokens != tok.PAD
        for block in self.readers:
            x = block(x, mask=used[:, None, None])
        return x, used

    def gather(
        self,
        X: Tensor,
        y: Tensor,
        scales: features.Scales,
        table: Table,
        candidates: Candidates | None = None,
        told: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read bags of observations, with a candidate for each if there are any.

        Args:
            X: float32 (B, N, MAX_VARIABLES); y: (B, N).
            scales: of the bags. table: which columns exist.
            candidates: B of them, their predictions at these points.
            told: what else the latents are to know, (B, latents, width).

        Returns:
            (B, z_tokens + MAX_VARIABLES, width), and which of these tokens are there, bool
            (B, z_tokens + MAX_VARIABLES): variables may be missing.
        """
        config, (B, N, _) = self.config, X.shape
        prediction = None if candidates is None else candidates.prediction
        numbers = features.among(table.pack(X.transpose(1, 2)), scales.x[table.exists])
        trend = trends.trends(X, y, scales, table, prediction)
        target = torch.cat([features.target(y, scales.y, prediction), trend.points], -1)
        dtype = activation_dtype(numbers)
        known = functional.gelu(self.trend(trend.columns.to(dtype)))
        cells = self.number(numbers.to(dtype)) + table.give(self.target(target.to(dtype)))
        cells = cells + self.hint(known)[:, None]
        names = self.token.weight[_VARIABLES] * table.exists[..., None]
        names = names + table.unpack(self.known(known))
        latents = self.latents.expand(B, -1, -1) if told is None else self.latents + told
        latents = torch.cat([latents, names], 1).to(cells.dtype)
        there = [table.exists.new_ones((B, config.latents)), table.exists]
        seen, read = [there[0].new_ones((B, N))], None
        if candidates is not None:
            read, used = self.read(candidates.tokens, candidates.constants)
            seen.append(used)
        mask = torch.cat([*seen, *there], 1)[:, None, None]
        for stage, hear in itertools.zip_longest(self.stages, self.hear):
            latents, *thoughts = stage(cells, latents, table, read, mask)
            own = latents[:, -tok.MAX_VARIABLES :]
            if hear is not None:
                cells = hear(cells, *thoughts, table.pack(own), table)
        kept = torch.cat([latents[:, : config.z_tokens], own], 1)
        return self.norm(kept), torch.cat([there[0][:, : config.z_tokens], table.exists], 1)
