"""How expressions are written: prefix tokens from left to right, from a latent z.

Each position knows the open argument it fills: its parent, its side, and how many more are open
(Petersen et al. 2021). A variable is named by pointing at its token of z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.network.blocks import Block, KeyValue, Norm, Past, activation_dtype
from methods.network.config import NetworkConfig
from methods.network.grammar import Frontier, frontiers, legal
from methods.symbolic import vocabulary as tok

_VARIABLES = slice(tok.FIRST_VARIABLE, tok.FIRST_VARIABLE + tok.MAX_VARIABLES)


@dataclass(frozen=True)
class Part:
    """Parts of expressions that are written anew, all around them kept.

    Attributes:
        tokens: valid prefix rows, int64 (B, L), padded.
        start, stop: int64 (B,), where each part, a subtree, begins and ends.
        open: int64 (B,), arguments that are open once the part is written.
    """

    tokens: Tensor
    start: Tensor
    stop: Tensor
    open: Tensor

    @classmethod
    def of(cls, tokens: np.ndarray, start: np.ndarray, device: torch.device) -> Part:
        """The subtrees that begin at tokens `start` (B,) of rows (B, L)."""
        rows = np.arange(len(tokens))
        stop = start + tok.subtree_sizes(tokens)[rows, start]
        owed = frontiers(torch.from_numpy(tokens))[0].numpy()[rows, start]
        arrays = tokens, start, stop, owed - 1
        return cls(*(torch.from_numpy(a).to(device) for a in arrays))

    @classmethod
    def whole(cls, rows: int, device: torch.device) -> Part:
        """All of expressions that need not exist yet."""
        zero = torch.zeros(rows, dtype=torch.int64, device=device)
        return cls(zero[:, None] + tok.PAD, zero, zero + 1, zero)

    @property
    def reserve(self) -> Tensor:
        """Tokens (B,) that must stay free beyond one for each open argument."""
        return (self.tokens != tok.PAD).sum(1).sub(self.stop).clamp_min(0) - self.open


class Memory(nn.Module):
    """z as the decoders look at it."""

    def __init__(self, config: NetworkConfig) -> None:
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

    def __init__(self, config: NetworkConfig) -> None:
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
            x = block(x, context, mask)
        allowed = legal(owed, self.config.max_length - position, variables[:, None])
        return self.logits(x, named, allowed)

    @torch.no_grad()
    def sample(
        self,
        z: Tensor,
        variables: Tensor,
        *,
        each: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        part: Part | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw valid expressions for each row of z, or parts of given ones.

        Args:
            z: (G, z_tokens + MAX_VARIABLES, z_width).
            variables: int64 (G,).
            each: expressions a row of z.
            temperature: 0 takes the likeliest token each time.
            generator: source of randomness, on z's device.
            part: of G * each expressions: what is written; each token is drawn given those before
                it, which are kept, and those after it are appended. All of them by default.

        Returns:
            tokens, int64 (G * each, max_length), padded, those of one z side by side; and the
            log-probability of what was written in each (at temperature 1), float32 (G * each,).
        """
        B, device = len(z) * each, z.device
        most = self.config.max_length
        contexts, present, named = self.look(z, variables)
        pasts = [Past(context, present, each, most) for context in contexts]
        named, variables = (v.repeat_interleave(each, 0) for v in (named, variables))
        frontier = Frontier(B, most, device)
        tokens = torch.full((B, most), tok.PAD, dtype=torch.int64, device=device)
        score = torch.zeros(B, device=device)
        part = part or Part.whole(B, device)
        reserve = part.reserve
        rows = torch.arange(B, device=device)  # those still open; the others leave the batch
        previous = torch.full((B,), tok.BOS, dtype=torch.int64, device=device)
        for i in range(most):
            position = torch.full_like(previous, i)
            x = self.embed(previous, frontier.parent, frontier.owed, position)
            for block, past in zip(self.blocks, pasts, strict=True):
                x = block.write(x, past)
            begun, is_open = part.start[rows] <= i, frontier.owed > 0
            room = most - i - torch.where(begun & is_open, reserve[rows], 0)
            allowed = legal(frontier.owed, room, variables[rows])
            logits = self.logits(x[:, None], named, allowed[:, None])[:, 0]
            if temperature > 0:
                chances = (logits / temperature).softmax(-1)
                previous = torch.multinomial(chances, 1, generator=generator)[:, 0]
            else:
                previous = logits.argmax(-1)
            gain = logits.log_softmax(-1).gather(1, previous[:, None])[:, 0]
            kept = part.tokens[rows, min(i, part.tokens.shape[1] - 1)]
            previous = torch.where(begun, previous, kept)
            tokens[rows, i] = torch.where(is_open, previous, tokens[rows, i])
            score[rows] += torch.where(is_open & begun, gain, 0.0)
            frontier.step(previous)
            ended = is_open & begun & (frontier.owed == part.open[rows])
            frontier.close(ended)
            _append(tokens, i + 1, part, rows[ended])
            left = frontier.owed > 0
            if not left.any():
                break
            if left.sum() < 0.75 * len(left):
                rows, previous, named = rows[left], previous[left], named[left]
                frontier.keep(left)
                for past in pasts:
                    past.keep(left)
        return tokens, score


def _append(tokens: Tensor, at: int, part: Part, rows: Tensor) -> None:
    """Copy what stands behind the parts of some rows into tokens, from `at` on."""
    last = part.tokens.shape[1] - 1
    index = part.stop[rows, None] + torch.arange(tokens.shape[1] - at, device=tokens.device)
    rest = part.tokens[rows].gather(1, index.clamp_max(last))
    tokens[rows, at:] = torch.where(index <= last, rest, tok.PAD)


def cross_entropy(
    decoder: ExpressionDecoder, z: Tensor, tokens: Tensor, variables: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """How well a decoder writes given expressions.

    Args:
        z: (B, z_tokens + MAX_VARIABLES, z_width).
        tokens: valid prefix rows, int64 (B, L), padded.
        variables: int64 (B,).

    Returns:
        Summed cross-entropy in nats, tokens that were likeliest, and tokens; each float32 (B,).
    """
    sums = torch.zeros(3, len(z), device=z.device)
    length = (tokens != tok.PAD).sum(1)
    # Rows of like length together, so that few positions are padding.
    for rows in length.argsort().chunk(3):
        target = tokens[rows, : length[rows[-1]]]
        logits = decoder(z[rows], target, variables[rows])
        used = target != tok.PAD
        nats = functional.cross_entropy(
            logits.transpose(1, 2), target, ignore_index=tok.PAD, reduction="none"
        )
        right = (logits.argmax(-1) == target) & used
        sums[:, rows] = torch.stack([nats.sum(1), right.sum(1), used.sum(1)])
    return tuple(sums)
