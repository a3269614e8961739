"""LEE's network: f(e, D) -> z, and two decoders that read z, one as a formula, one as values.

Every part is built of one `Block`: attention and feed-forward side by side behind one norm
(Wang & Komatsuzaki 2021, GPT-J), because on a processor the few wide products it needs run several
times faster than many narrow ones, and because reading, gathering and decoding are then one thing:
tokens that look at each other and at a given context.

- The encoder holds a few latents that look at all points and at the tokens of the candidate
  (Perceiver, Jaegle et al. 2021). Points have no order and never meet but through the latents, so
  z does not depend on their order, and a bag of any size is welcome.
- The expression decoder writes prefix tokens from left to right. Each position knows the open
  argument it fills: its parent, its side, and how many more are open (Petersen et al. 2021).
- The evaluation decoder looks at z from a point x and says y in units of the bag's spread.

Activations are in `dtype` (bfloat16 where that is fast), parameters in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.lee import features
from methods.lee.candidates import Candidates
from methods.lee.config import ModelConfig
from methods.lee.grammar import Frontier, frontiers, legal
from methods.symbolic import vocabulary as tok

KeyValue = tuple[Tensor, Tensor]  # each (B, heads, tokens, width / heads)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention; q (B, H, L, d), k and v (B, H, M, d), mask broadcast to (B, H, L, M)."""
    if q.device.type == "cuda":
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # On processors the fused kernel's backward pass is far slower than two products, and the
    # softmax of bfloat16 slower than that of float32.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    scores = scores.float()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).to(v.dtype) @ v


class Norm(nn.Module):
    """Layer norm with a gain for each column and no shift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (x.shape[-1],), self.gain)


class Block(nn.Module):
    """One residual step: look at a context and at each other, and think, side by side.

    Args:
        config: widths.
        self_attention: whether the tokens see each other, or the context alone.
        context: whether there is a context.
    """

    def __init__(
        self, config: ModelConfig, *, self_attention: bool = True, context: bool = True
    ) -> None:
        super().__init__()
        width = config.width
        self.heads, self.self_attention = config.heads, self_attention
        self.sizes = [width] * (3 if self_attention else 1) + [config.hidden]
        self.norm = Norm(width)
        self.into = nn.Linear(width, sum(self.sizes))
        self.out = nn.Linear(width + config.hidden, width)
        self.context = nn.Linear(width, 2 * width) if context else None

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def look(self, context: Tensor) -> KeyValue:
        """Keys and values of a context (B, M, width)."""
        k, v = self.context(context).chunk(2, -1)
        return self._split(k), self._split(v)

    def forward(
        self, x: Tensor, context: KeyValue | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, KeyValue | None]:
        """Take one step.

        Args:
            x: (B, L, width).
            context: from `look`; keys and values of earlier positions may be appended.
            mask: True where a query may look; over the context first, then over x itself.

        Returns:
            The new x, and keys and values of context and x together.
        """
        q, *kv, thought = self.into(self.norm(x)).split(self.sizes, -1)
        if kv:
            own = self._split(kv[0]), self._split(kv[1])
            if context is not None:
                own = tuple(torch.cat(pair, 2) for pair in zip(context, own, strict=True))
            context = own
        seen = attend(self._split(q), *context, mask).transpose(1, 2).flatten(2)
        return x + self.out(torch.cat([seen, functional.gelu(thought)], -1)), context


def _perceptron(inputs: int, config: ModelConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 2 * config.width), nn.GELU(), nn.Linear(2 * config.width, config.width)
    )


class Encoder(nn.Module):
    """f(e, D) -> z."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.point = _perceptron(features.POINT, config)
        self.token = nn.Embedding(tok.SIZE, width)
        self.constant = nn.Linear(features.NUMBER, width)
        self.position = nn.Embedding(config.max_length, width)
        self.readers = nn.ModuleList(Block(config, context=False) for _ in range(config.readers))
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.5)
        self.memory_norm = Norm(width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.encoders))
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
        x = x.to(_activation_dtype(x))
        used = tokens != tok.PAD
        for block in self.readers:
            x, _ = block(x, mask=used[:, None, None])
        return x, used

    def forward(
        self, points: Tensor, tokens: Tensor | None = None, constants: Tensor | None = None
    ) -> Tensor:
        """Embed data, and a candidate if there is one.

        Args:
            points: `features.point` of the bag (B, N, POINT).
            tokens, constants: the candidate, (B, L) and (B, K); None if there is none.

        Returns:
            z, float32 (B, z_tokens, z_width), of root mean square 1 in each token.
        """
        B, N, _ = points.shape
        memory, mask = self.point(points.to(_activation_dtype(points))), None
        if tokens is not None:
            read, used = self.read(tokens, constants)
            memory = torch.cat([memory, read.to(memory.dtype)], 1)
            ones = used.new_ones((B, N)), used.new_ones((B, self.config.latents))
            mask = torch.cat([ones[0], used, ones[1]], 1)[:, None, None]
        memory = self.memory_norm(memory)
        x = self.latents.to(memory.dtype).expand(B, -1, -1)
        for block in self.blocks:
            x, _ = block(x, block.look(memory), mask)
        z = self.to_z(self.norm(x[:, : self.config.z_tokens])).float()
        return functional.rms_norm(z, (self.config.z_width,))


class ExpressionDecoder(nn.Module):
    """g_expr(z): the next token of a prefix expression."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.from_z = nn.Linear(config.z_width, width)
        self.z_position = nn.Parameter(torch.randn(config.z_tokens, width) * 0.02)
        self.token = nn.Embedding(tok.SIZE, width)
        self.parent = nn.Embedding(2 * tok.SIZE, width)
        self.owed = nn.Embedding(config.max_length + 1, width)
        self.position = nn.Embedding(config.max_length, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.decoders))
        self.norm = Norm(width)
        self.head = nn.Linear(width, tok.SIZE)

    def look(self, z: Tensor) -> list[KeyValue]:
        """Each block's view of z (B, z_tokens, z_width)."""
        x = self.from_z(z.to(_activation_dtype(z)))
        x = x + self.z_position.to(x.dtype)
        return [block.look(x) for block in self.blocks]

    def embed(self, previous: Tensor, parent: Tensor, owed: Tensor, position: Tensor) -> Tensor:
        """Input at positions whose previous token and open argument are known, each (B, L)."""
        x = self.token(previous) + self.parent(parent) + self.owed(owed) + self.position(position)
        return x.to(_activation_dtype(x))

    def forward(self, z: Tensor, tokens: Tensor, variables: Tensor) -> Tensor:
        """Logits of every token of given expressions, each from those before it.

        Args:
            z: (B, z_tokens, z_width).
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
        causal = torch.ones((L, self.config.z_tokens + L), dtype=torch.bool, device=z.device)
        causal = causal.tril(self.config.z_tokens)
        for block, context in zip(self.blocks, self.look(z), strict=True):
            x, _ = block(x, context, causal)
        logits = self.head(self.norm(x)).float()
        allowed = legal(owed, self.config.max_length - position, variables[:, None])
        return logits.masked_fill(~allowed, -torch.inf)

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
            z: (B, z_tokens, z_width).
            variables: int64 (B,).
            temperature: 0 takes the likeliest token each time.
            generator: source of randomness, on z's device.

        Returns:
            tokens, int64 (B, max_length), padded; and the log-probability of each row (at
            temperature 1), float32 (B,).
        """
        B, device = len(z), z.device
        most = self.config.max_length
        contexts = self.look(z)
        frontier = Frontier(B, most, device)
        tokens = torch.full((B, most), tok.PAD, dtype=torch.int64, device=device)
        score = torch.zeros(B, device=device)
        rows = torch.arange(B, device=device)  # those still open; the others leave the batch
        previous = torch.full((B,), tok.BOS, dtype=torch.int64, device=device)
        for i in range(most):
            position = torch.full_like(previous, i)
            x = self.embed(previous, frontier.parent, frontier.owed, position)[:, None]
            for j, block in enumerate(self.blocks):
                x, contexts[j] = block(x, contexts[j])
            logits = self.head(self.norm(x[:, 0])).float()
            allowed = legal(frontier.owed, most - position, variables[rows])
            logits = logits.masked_fill(~allowed, -torch.inf)
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
                rows, previous = rows[left], previous[left]
                contexts = [(k[left], v[left]) for k, v in contexts]
                frontier.keep(left)
        return tokens, score


class EvaluationDecoder(nn.Module):
    """g_eval(z, x) -> y, differentiable in z."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.from_z = nn.Linear(config.z_width, config.width)
        self.z_position = nn.Parameter(torch.randn(config.z_tokens, config.width) * 0.02)
        self.query = _perceptron(features.QUERY, config)
        self.blocks = nn.ModuleList(
            Block(config, self_attention=False) for _ in range(config.evaluators)
        )
        self.norm = Norm(config.width)
        self.head = nn.Linear(config.width, 1)

    def forward(self, z: Tensor, queries: Tensor) -> Tensor:
        """Values at `features.query` points (B, Q, QUERY): (B, Q), in units of `Scales`' y."""
        context = self.from_z(z.to(_activation_dtype(z)))
        context = context + self.z_position.to(context.dtype)
        x = self.query(queries.to(_activation_dtype(queries)))
        for block in self.blocks:
            x, _ = block(x, block.look(context))
        return self.head(self.norm(x)).float()[..., 0]


@dataclass(frozen=True)
class Embedding:
    """What the encoder makes of some bags of observations.

    Attributes:
        z: float32 (B, z_tokens, z_width).
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
        self.apply(_initialise)
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
        scales = features.Scales.of(X, y)
        if candidates is None:
            points = features.point(X, y, variables, scales)
            return Embedding(self.encoder(points), variables, scales)
        points = features.point(X, y, variables, scales, candidates.prediction)
        z = self.encoder(points, candidates.tokens, candidates.constants)
        return Embedding(z, variables, scales)

    def values(self, embedding: Embedding, X: Tensor) -> Tensor:
        """g_eval(z, x): values at points (B, Q, MAX_VARIABLES), in units of the bag's spread of y.

        Differentiable in z; `features.placed(y, embedding.scales.y)` is their target.
        """
        return self.evaluation(
            embedding.z, features.query(X, embedding.variables, embedding.scales)
        )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.7)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.3)


def _activation_dtype(x: Tensor) -> torch.dtype:
    """What autocast computes in, else the tensor's own type."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
