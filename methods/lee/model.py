"""LEE's network: f(e, D) -> z, and two decoders that read z, one as a formula, one as values.

z is a few tokens for the function as a whole and one for each variable. Variables are treated
alike wherever numbers are: renaming them permutes their tokens, and the decoder names a variable by
pointing at its token. What is learnt of one variable so holds for all ten.

- The encoder reads a table: a cell for each observation and variable, which knows that value of x
  and y. In every stage the cells think and hear the others of their observation (`Mixer`), and
  latents, of which there are a few for the function and one for each variable, gather: a variable's
  latent from its column, all of them from the observations and from the tokens of the candidate
  (Perceiver, Jaegle et al. 2021). Observations have no order and never meet but through the
  latents, so z does not depend on their order, and a bag of any size is welcome.
- The expression decoder writes prefix tokens from left to right. Each position knows the open
  argument it fills: its parent, its side, and how many more are open (Petersen et al. 2021).
- The evaluation decoder looks at z from a point x and says y in units of the bag's spread.

Activations are in bfloat16 under autocast, parameters in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.lee import features, trends
from methods.lee.blocks import (
    Block,
    Hear,
    KeyValue,
    Mixer,
    Norm,
    Table,
    activation_dtype,
    initialise,
)
from methods.lee.candidates import Candidates
from methods.lee.config import ModelConfig
from methods.lee.grammar import Frontier, frontiers, legal
from methods.symbolic import vocabulary as tok

_VARIABLES = slice(tok.FIRST_VARIABLE, tok.FIRST_VARIABLE + tok.MAX_VARIABLES)


class Stage(nn.Module):
    """One step of the encoder: cells think, latents gather."""

    def __init__(self, config: ModelConfig) -> None:
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
        latents, _ = self.block(latents, self.block.look(self.norm(memory)), mask)
        return latents, thoughts, points


class Encoder(nn.Module):
    """f(e, D) -> z."""

    def __init__(self, config: ModelConfig) -> None:
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
        self.to_z = nn.Linear(width, config.z_width)

    def read(self, tokens: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, L) with fitted constants (B, K) -> (B, L, width), and bool (B, L) not PAD."""
        dtype = self.to_z.weight.dtype
        is_constant = tokens == tok.CONSTANT
        index = (is_constant.cumsum(1) - 1).clamp_min(0)
        values = features.numbers(constants.gather(1, index))
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        x = x + self.constant(values.to(dtype)) * is_constant[..., None]
        x = x.to(activation_dtype(x))
        used = tokens != tok.PAD
        for block in self.readers:
            x, _ = block(x, mask=used[:, None, None])
        return x, used

    def forward(
        self,
        X: Tensor,
        y: Tensor,
        scales: features.Scales,
        table: Table,
        candidates: Candidates | None = None,
    ) -> Tensor:
        """Embed bags of observations; see `LEE.embed`.

        Returns:
            z, float32 (B, z_tokens + MAX_VARIABLES, z_width), of root mean square 1 in each token;
            0 for variables that do not exist.
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
        latents = torch.cat([self.latents.expand(B, -1, -1), names], 1).to(cells.dtype)
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
        z = functional.rms_norm(self.to_z(self.norm(kept)).float(), (config.z_width,))
        present = torch.cat([there[0][:, : config.z_tokens], table.exists], 1)
        return z * present[..., None]


class Memory(nn.Module):
    """z as the decoders look at it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.from_z = nn.Linear(config.z_width, config.width)
        tokens = config.z_tokens + tok.MAX_VARIABLES
        self.place = nn.Parameter(torch.randn(tokens, config.width) * 0.3)

    def forward(self, z: Tensor, variables: Tensor) -> tuple[Tensor, Tensor]:
        """z, and how many variables exist, (B,).

        Returns:
            (B, z_tokens + MAX_VARIABLES, width), and bool (B, z_tokens + MAX_VARIABLES): present.
        """
        x = self.from_z(z.to(activation_dtype(z)))
        x = x + self.place.to(x.dtype)
        index = torch.arange(x.shape[1], device=z.device) - self.config.z_tokens
        return x, index < variables[:, None]


class ExpressionDecoder(nn.Module):
    """g_expr(z): the next token of a prefix expression."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.memory = Memory(config)
        self.token = nn.Embedding(tok.SIZE, width)
        self.parent = nn.Embedding(2 * tok.SIZE, width)
        self.owed = nn.Embedding(config.max_length + 1, width)
        self.position = nn.Embedding(config.max_length, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.decoders))
        self.norm = Norm(width)
        self.head = nn.Linear(width, tok.SIZE)
        self.point = nn.Linear(width, width)

    def look(self, z: Tensor, variables: Tensor) -> tuple[list[KeyValue], Tensor, Tensor]:
        """Each block's view of z, which of its tokens are present, and what to point at."""
        x, present = self.memory(z, variables)
        return [block.look(x) for block in self.blocks], present, x[:, -tok.MAX_VARIABLES :]

    def embed(self, previous: Tensor, parent: Tensor, owed: Tensor, position: Tensor) -> Tensor:
        """Input at positions whose previous token and open argument are known, each (B, L)."""
        x = self.token(previous) + self.parent(parent) + self.owed(owed) + self.position(position)
        return x.to(activation_dtype(x))

    def logits(self, x: Tensor, named: Tensor, allowed: Tensor) -> Tensor:
        """Logits: of x (B, L, width), with variables' tokens (B, 10, width); -inf if illegal."""
        x = self.norm(x)
        pointed = (self.point(x) @ named.transpose(1, 2)).float() * x.shape[-1] ** -0.5
        rest = tok.SIZE - _VARIABLES.stop
        logits = self.head(x).float() + functional.pad(pointed, (_VARIABLES.start, rest))
        return logits.masked_fill(~allowed, -torch.inf)

    def forward(self, z: Tensor, tokens: Tensor, variables: Tensor) -> Tensor:
        """Logits of every token of given expressions, each from those before it.

        Args:
            z: (B, z_tokens + MAX_VARIABLES, z_width).
            tokens: valid prefix rows, int64 (B, L).
            variables: int64 (B,), variables that exist.

        Returns:
            float32 (B, L, SIZE), -inf for tokens that the grammar rules out.
        """
        L = tokens.shape[1]
        previous = functional.pad(tokens[:, :-1], (1, 0), value=tok.BOS)
        owed, parent = frontiers(tokens)
        position = torch.arange(L, device=tokens.device)
        x = self.embed(previous, parent, owed, position)
        contexts, present, named = self.look(z, variables)
        causal = torch.ones((L, L), dtype=torch.bool, device=z.device).tril()
        mask = torch.cat([present[:, None].expand(-1, L, -1), causal.expand(len(z), -1, -1)], 2)[
            :, None
        ]
        for block, context in zip(self.blocks, contexts, strict=True):
            x, _ = block(x, context, mask)
        allowed = legal(owed, self.config.max_length - position, variables[:, None])
        return self.logits(x, named, allowed)

    @torch.no_grad()
    def sample(
        self,
        z: Tensor,
        variables: Tensor,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw one valid expression for each row of z.

        Args:
            z: (B, z_tokens + MAX_VARIABLES, z_width).
            variables: int64 (B,).
            temperature: 0 takes the likeliest token each time.
            generator: source of randomness, on z's device.

        Returns:
            tokens, int64 (B, max_length), padded; and the log-probability of each row (at
            temperature 1), float32 (B,).
        """
        B, device = len(z), z.device
        most = self.config.max_length
        contexts, mask, named = self.look(z, variables)
        frontier = Frontier(B, most, device)
        tokens = torch.full((B, most), tok.PAD, dtype=torch.int64, device=device)
        score = torch.zeros(B, device=device)
        rows = torch.arange(B, device=device)  # those still open; the others leave the batch
        previous = torch.full((B,), tok.BOS, dtype=torch.int64, device=device)
        for i in range(most):
            position = torch.full_like(previous, i)
            x = self.embed(previous, frontier.parent, frontier.owed, position)[:, None]
            mask = functional.pad(mask, (0, 1), value=True)
            for j, block in enumerate(self.blocks):
                x, contexts[j] = block(x, contexts[j], mask[:, None, None])
            allowed = legal(frontier.owed, most - position, variables[rows])
            logits = self.logits(x, named, allowed[:, None])[:, 0]
            if temperature > 0:
                chances = (logits / temperature).softmax(-1)
                previous = torch.multinomial(chances, 1, generator=generator)[:, 0]
            else:
                previous = logits.argmax(-1)
            gain = logits.log_softmax(-1).gather(1, previous[:, None])[:, 0]
            is_open = frontier.owed > 0
            tokens[rows, i] = torch.where(is_open, previous, tok.PAD)
            score[rows] += torch.where(is_open, gain, 0.0)
            frontier.step(previous)
            left = frontier.owed > 0
            if not left.any():
                break
            if left.sum() < 0.75 * len(left):
                rows, previous, mask, named = (v[left] for v in (rows, previous, mask, named))
                contexts = [(k[left], v[left]) for k, v in contexts]
                frontier.keep(left)
        return tokens, score


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
            x, _ = block(x, block.look(context), present[:, None, None])
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
        self.apply(initialise)
        depth = max(config.encoders, config.decoders)
        for module in self.modules():
            if isinstance(module, Block):  # residual branches start small, the sum starts tame
                nn.init.normal_(module.out.weight, std=0.02 / depth**0.5)

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
        return Embedding(self.encoder(X, y, scales, table, candidates), variables, scales)

    def values(self, embedding: Embedding, X: Tensor) -> Tensor:
        """g_eval(z, x): values at points (B, Q, MAX_VARIABLES), in units of the bag's spread of y.

        Differentiable in z; `features.placed(y, embedding.scales.y)` is their target.
        """
        table = Table.of(embedding.variables)
        return self.evaluation(embedding.z, X, embedding.scales, table)
