"""What both networks are built of: attention blocks, and steps for tables of numbers.

A `Block` does attention and feed-forward side by side behind one norm (Wang & Komatsuzaki 2021,
GPT-J), because on a processor the few wide products it needs run several times faster than many
narrow ones, and because reading, gathering and decoding are then one thing: tokens that look at
each other and at a given context.

A `Table` holds only the columns that exist, those of all rows of a batch side by side, since most
functions have few of the ten variables. Every column is treated alike, so what is learnt of one
variable holds for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.network.config import NetworkConfig
from methods.symbolic.vocabulary import MAX_VARIABLES

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
        self, config: NetworkConfig, *, self_attention: bool = True, context: bool = True
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
    ) -> Tensor:
        """Take one step.

        Args:
            x: (B, L, width).
            context: from `look`.
            mask: True where a query may look; over the context first, then over x itself.

        Returns:
            The new x.
        """
        q, *kv, thought = self.into(self.norm(x)).split(self.sizes, -1)
        if kv:
            own = self._split(kv[0]), self._split(kv[1])
            if context is not None:
                own = tuple(torch.cat(pair, 2) for pair in zip(context, own, strict=True))
            context = own
        seen = attend(self._split(q), *context, mask).transpose(1, 2).flatten(2)
        return x + self.out(torch.cat([seen, functional.gelu(thought)], -1))

    def write(self, x: Tensor, past: Past) -> Tensor:
        """Take one step at the next position of texts that grow: x (R, width)."""
        q, k, v, thought = self.into(self.norm(x)).split(self.sizes, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        seen = past.attend(q, k, v).flatten(1)
        return x + self.out(torch.cat([seen, functional.gelu(thought)], -1))


class Past:
    """What the texts that a block writes may look at: a context each, and their own tokens.

    Several texts share a context, which is kept once; copying it for each, and all keys again at
    every position, took more time than the products.

    Args:
        context: keys and values (G, heads, M, d).
        present: which of them are there, bool (G, M).
        each: texts a context.
        length: most tokens of a text.
    """

    def __init__(self, context: KeyValue, present: Tensor, each: int, length: int) -> None:
        self.context, self.each, self.written = context, each, 0
        self.present = present.repeat_interleave(each, 0)[:, None]
        groups, heads, _, d = context[0].shape
        self.rows = torch.arange(groups * each, device=present.device)
        self.own = tuple(context[0].new_empty((len(self.rows), heads, length, d)) for _ in "kv")

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the texts, bool (R,)."""
        self.rows, self.present = self.rows[rows], self.present[rows]
        self.own = tuple(kept[rows] for kept in self.own)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Look with one query a text, whose key and value are added: all (R, heads, d)."""
        for kept, new in zip(self.own, (k, v), strict=True):
            kept[:, :, self.written] = new
        self.written += 1
        keys, values = (kept[:, :, : self.written] for kept in self.own)
        q = q * q.shape[-1] ** -0.5
        before = self._with_context(q, self.context[0].transpose(-1, -2)).float()
        before = before.masked_fill(~self.present, -torch.inf)
        own = (q[:, :, None] * keys).sum(-1)  # as a product it is copied first, and slower
        shares = torch.cat([before, own.float()], -1).softmax(-1).to(v.dtype)
        before, own = shares.split([before.shape[-1], own.shape[-1]], -1)
        return self._with_context(before, self.context[1]) + (own[:, :, None] @ values)[:, :, 0]

    def _with_context(self, x: Tensor, y: Tensor) -> Tensor:
        """x (R, heads, a) times what its context has, (G, heads, a, b): (R, heads, b)."""
        groups, heads, a, b = y.shape
        wide = x.new_zeros((groups * self.each, heads, a))
        wide[self.rows] = x
        product = wide.view(groups, self.each, heads, a).transpose(1, 2) @ y
        return product.transpose(1, 2).reshape(-1, heads, b)[self.rows]


@dataclass(frozen=True)
class Table:
    """The M columns that exist in a batch of B rows.

    Attributes:
        exists: bool (B, MAX_VARIABLES).
        row: int64 (M,), the row each column belongs to, ascending.
        share: float32 (B, 1, 1), one over the root of a row's number of columns.
    """

    exists: Tensor
    row: Tensor
    share: Tensor

    @classmethod
    def of(cls, variables: Tensor) -> Table:
        """Rows with so many leading columns, int64 (B,)."""
        exists = torch.arange(MAX_VARIABLES, device=variables.device) < variables[:, None]
        row = exists.nonzero()[:, 0]
        return cls(exists, row, variables.float().rsqrt()[:, None, None])

    def pack(self, x: Tensor) -> Tensor:
        """(B, MAX_VARIABLES, ...) -> (M, ...)."""
        return x[self.exists]

    def unpack(self, x: Tensor) -> Tensor:
        """(M, width) -> (B, MAX_VARIABLES, width), zero where no column exists."""
        return x.new_zeros((*self.exists.shape, x.shape[-1])).masked_scatter(
            self.exists[..., None], x
        )

    def give(self, x: Tensor) -> Tensor:
        """(B, ...) -> (M, ...), each column what its row has."""
        return x.index_select(0, self.row)

    def gather(self, cells: Tensor) -> Tensor:
        """(M, N, width) -> (B, N, width): sums over each row's columns, of steady size."""
        total = cells.new_zeros((len(self.exists), *cells.shape[1:]))
        return total.index_add(0, self.row, cells) * self.share.to(cells.dtype)


class Mixer(nn.Module):
    """Cells of a table think alone, and what those of one point think is summed.

    Args:
        width: numbers a cell; twice as many where it thinks.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.up = nn.Linear(width, 2 * width)

    def forward(self, cells: Tensor, table: Table) -> tuple[Tensor, Tensor]:
        """Cells (M, N, width) -> their thoughts (M, N, 2 width), and points (B, N, 2 width)."""
        thoughts = functional.gelu(self.up(self.norm(cells)))
        return thoughts, functional.gelu(table.gather(thoughts))


class Hear(nn.Module):
    """Cells take in what they and the others of their point thought, and what a context says."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.own = nn.Linear(2 * width, width)
        self.point = nn.Linear(2 * width, width)
        self.context = nn.Linear(context, width)

    def forward(
        self, cells: Tensor, thoughts: Tensor, points: Tensor, context: Tensor, table: Table
    ) -> Tensor:
        """Cells (M, N, width), what `Mixer` made of them, and a context (M, width) -> cells."""
        told = self.own(thoughts) + self.context(context)[:, None]
        return cells + told + table.give(self.point(points))


def initialise(network: nn.Module, config: NetworkConfig) -> None:
    """Draw all weights anew."""
    network.apply(_draw)
    depth = max(config.encoders, config.decoders)
    for module in network.modules():
        if isinstance(module, Block):  # residual branches start small, the sum starts tame
            nn.init.normal_(module.out.weight, std=0.02 / depth**0.5)


def hidden(network: nn.Module) -> list[nn.Parameter]:
    """Matrices of hidden layers, which Muon steps."""
    blocks = (m for m in network.modules() if isinstance(m, Block | Hear | Mixer))
    return [p for block in blocks for p in block.parameters() if p.ndim == 2]


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.7)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.3)


def activation_dtype(x: Tensor) -> torch.dtype:
    """What autocast computes in, else the tensor's own type."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
