"""Random numbers for random functions: where points lie and what constants are.

Everything here is tensors on the device of the generator, drawn for a whole batch at once. The
choices are reasoned, not fitted to any data set: people measure in boxes, over decades, around a
mean, in groups or along a path in time; formulas hold round numbers, fractions and multiples of pi
as well as arbitrary values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.symbolic import vocabulary as tok
from methods.symbolic.trees import subtree_sizes, table

LAYOUTS = ("positive", "box", "symmetric", "decades", "normal", "clusters", "path")
_POSITIVE, _BOX, _SYMMETRIC, _DECADES, _NORMAL, _CLUSTERS, _PATH = range(len(LAYOUTS))
_SHARE = (0.38, 0.12, 0.12, 0.10, 0.10, 0.08, 0.10)
_MIXED = 0.3  # share of data sets whose columns have layouts of their own
_SCALED = 0.15  # share of columns in other units, up to a factor of 100 either way


class Draw:
    """Random tensors from one generator, on its device."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.device = generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """float32, in [low, high)."""
        u = torch.rand(shape, device=self.device, generator=self.generator)
        return low + (high - low) * u

    def decades(self, low: float, high: float, *shape: int) -> Tensor:
        """10**u with u uniform in [low, high)."""
        return 10 ** self.uniform(low, high, *shape)

    def normal(self, *shape: int) -> Tensor:
        """float32, standard normal."""
        return torch.randn(shape, device=self.device, generator=self.generator)

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """int64, from low to high inclusive."""
        return torch.randint(low, high + 1, shape, device=self.device, generator=self.generator)

    def chance(self, p: float, *shape: int) -> Tensor:
        """bool, true with probability p."""
        return torch.rand(shape, device=self.device, generator=self.generator) < p

    def pick(self, weights, *shape: int) -> Tensor:
        """int64, an index with probability in proportion to its weight."""
        weights = torch.as_tensor(weights, dtype=torch.float32, device=self.device)
        edges = (weights / weights.sum()).cumsum(0)[:-1].contiguous()
        u = torch.rand(shape, device=self.device, generator=self.generator)
        return torch.bucketize(u, edges)


def draw_points(columns: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Points for each function.

    Args:
        columns: int64 (B,), how many of the ten columns of each row exist; the rest is 0.
        n: points a function.

    Returns:
        float32 (B, n, 10).
    """
    draw, B = Draw(generator), len(columns)
    layout = draw.pick(_SHARE, B)
    exists = torch.arange(tok.MAX_VARIABLES, device=columns.device) < columns[:, None]
    row, column = exists.nonzero(as_tuple=True)
    M = len(row)
    # A path is one thing for all columns; the other layouts may be mixed.
    own = draw.pick(_SHARE[:_PATH], M)
    mixed = (draw.chance(_MIXED, B) & (layout != _PATH))[row]
    layout = torch.where(mixed, own, layout[row])
    low, high = _bounds(layout, draw)
    u = draw.uniform(0, 1, M, n)
    for kind, shape in ((_NORMAL, _normal), (_CLUSTERS, _clusters)):
        chosen = (layout == kind).nonzero()[:, 0]
        u[chosen] = shape(u[chosen], draw)
    chosen = (layout == _PATH).nonzero()[:, 0]
    u[chosen] = _path(draw.uniform(0, 1, B, n)[row[chosen]], draw)
    x = low[:, None] + (high - low)[:, None] * u
    chosen = (layout == _DECADES).nonzero()[:, 0]
    x[chosen] = 10 ** x[chosen]
    scaled = draw.chance(_SCALED, M)
    x *= torch.where(scaled, draw.decades(-2, 2, M), 1.0)[:, None]
    X = torch.zeros((B, tok.MAX_VARIABLES, n), device=columns.device)
    X[row, column] = x
    return X.transpose(1, 2).contiguous()


def _bounds(layout: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Where the unit interval of each column goes; exponents of 10 for decades."""
    M = len(layout)
    near = draw.decades(-1.3, 0.7, M)  # 0.05 to 5, and 2 to 20 times as far
    low, high = near, near * draw.decades(0.3, 1.3, M)
    start = draw.uniform(-5, 2, M)
    boxes = (layout == _BOX) | ((layout >= _CLUSTERS) & draw.chance(0.3, M))
    low = torch.where(boxes, start, low)
    high = torch.where(boxes, start + draw.uniform(1, 10, M), high)
    reach = draw.decades(-0.5, 1, M)
    low = torch.where(layout == _SYMMETRIC, -reach, low)
    high = torch.where(layout == _SYMMETRIC, reach, high)
    exponent = draw.uniform(-2, 1, M)
    low = torch.where(layout == _DECADES, exponent, low)
    high = torch.where(layout == _DECADES, exponent + draw.uniform(1, 3, M), high)
    mean = torch.where(draw.chance(0.5, M), 2 * draw.normal(M), 0.0)
    low = torch.where(layout == _NORMAL, mean, low)
    return low, torch.where(layout == _NORMAL, mean + reach / 2, high)


def _normal(u: Tensor, draw: Draw) -> Tensor:
    return torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))


def _clusters(u: Tensor, draw: Draw) -> Tensor:
    """Two to five groups, each a twentieth of the interval wide."""
    centres = draw.uniform(0, 1, len(u), 5)
    at = u * draw.whole(2, 5, len(u))[:, None]
    group = at.long().clamp(max=4)
    return centres.gather(1, group) + 0.05 * (at - group - 0.5)


def _path(t: Tensor, draw: Draw) -> Tensor:
    """What a swing, a decay or a steady drift shows at times t in [0, 1]."""
    M = len(t)
    kind = draw.whole(0, 2, M)[:, None]
    turns, phase = draw.uniform(0.3, 3, M)[:, None], draw.uniform(0, 1, M)[:, None]
    swing = 0.5 + 0.5 * torch.sin(2 * math.pi * (turns * t + phase))
    decay = torch.exp(-(1 + 4 * phase) * t)
    drift = torch.where(phase < 0.5, t, 1 - t)
    return torch.where(kind == 0, swing, torch.where(kind == 1, decay, drift))


def draw_constants(tokens: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Values for the placeholders of each row.

    Args:
        tokens: int64 (B, L).
        width: K, at least the number of placeholders in any row.

    Returns:
        float32 (B, K), in prefix order, 0 where there is no placeholder.
    """
    draw, shape = Draw(generator), (len(tokens), width)
    free = 10 ** (0.7 * draw.normal(*shape))
    step = 10 ** (free.log10().floor() - 1)
    kinds = [
        free,
        (free / step).round() * step,  # two significant digits
        draw.whole(6, 20, *shape).float(),
        draw.whole(1, 9, *shape) / draw.whole(2, 9, *shape),
        draw.whole(1, 5, *shape) * math.pi / draw.whole(1, 4, *shape),
    ]
    kind = draw.pick((0.5, 0.17, 0.11, 0.12, 0.10), *shape)
    value = torch.stack(kinds, -1).gather(-1, kind[..., None])[..., 0]
    # Free exponents: thirds, quarters and fifths, or anything up to 3.5.
    simple = (draw.whole(1, 10, *shape) + 0.0) / draw.whole(3, 5, *shape)
    exponent = torch.where(draw.chance(0.5, *shape), simple, draw.uniform(0.1, 3.5, *shape))
    value = torch.where(_is_exponent(tokens, width), exponent, value)
    value = torch.where(draw.chance(0.3, *shape), -value, value)
    count = (tokens == tok.CONSTANT).sum(1)
    exists = torch.arange(width, device=tokens.device) < count[:, None]
    return torch.where(exists, value, 0.0)


def _is_exponent(tokens: Tensor, width: int) -> Tensor:
    """Whether each placeholder is the exponent of a pow, bool (B, width)."""
    L = tokens.shape[1]
    place = torch.arange(L, device=tokens.device)
    sizes = torch.nn.functional.pad(subtree_sizes(tokens), (0, 1))
    second = torch.where(tokens == tok.POW, place + 1 + sizes[:, 1:], L)
    marked = torch.zeros_like(sizes).scatter_(1, second.clamp(max=L), 1)[:, :L]
    constant = tokens == tok.CONSTANT
    number = torch.where(constant, constant.cumsum(1) - 1, width).clamp(max=width)
    out = torch.zeros((len(tokens), width + 1), dtype=torch.int64, device=tokens.device)
    return out.scatter_add_(1, number, marked * constant)[:, :width] > 0


def numbers_as_constants(tokens: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """The same expressions with placeholders for pi and the integers too.

    Returns:
        Tokens (B, L), and constants (B, K') with NaN where there is no placeholder.
    """
    literal = table("IS_LITERAL", tokens.device)[tokens]
    constant = tokens == tok.CONSTANT
    given = (
        constants.gather(1, (constant.cumsum(1) - 1).clamp(min=0)) if constants.shape[1] else 0.0
    )
    value = table("LITERAL_VALUE", tokens.device).to(constants)[tokens]
    value = torch.where(constant, given, value)
    leaf = literal | constant
    count = leaf.sum(1)
    width = int(count.max()) if len(tokens) else 0
    out = constants.new_full((len(tokens), width + 1), math.nan)
    number = torch.where(leaf, leaf.cumsum(1) - 1, width)
    out = out.scatter_(1, number, value)[:, :width]
    return torch.where(literal, tok.CONSTANT, tokens), out
