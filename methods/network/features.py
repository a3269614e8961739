"""What the network sees of numbers: sign, magnitude and mantissa, over any scale.

A law is recognised by two things. Powers and products are straight lines in logarithms, whatever
the units; shape (a bend, a period, a sign change) shows in the values as they lie among each other.
So each number is given by itself (sign, logarithm over 24 decades, sine and cosine, and its
mantissa as angles of the logarithm, as a slide rule reads it, twice, four and eight times as fine),
and among the others of its bag (distance from their mean, in values and in logarithms). All
features have a spread near 1: a network hears the loud ones first.

All functions take float32 and compute in it. Shapes: B rows, N points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

TURNS = (1, 2, 4, 8)  # angles a decade
NUMBER = 5 + 2 * len(TURNS)  # features of a number by itself
PLACED = NUMBER + 3  # and among the others of its bag
TARGET = 2 * PLACED + NUMBER + 3  # of a target, its prediction and their difference

_DECADES = 12.0  # magnitudes from 1e-12 to 1e12 are told apart
_FARTHEST = 8.0  # standard deviations
_LEAST_DECADES = 0.02  # spread of logarithms below which they are not blown up further


@dataclass(frozen=True)
class Spread:
    """Where the numbers of some bags lie, along the last axis; each tensor is (..., 1).

    Attributes:
        mean, scale: mean and standard deviation.
        log_mean, log_scale: the same of the decimal logarithms of the magnitudes.
    """

    mean: Tensor
    scale: Tensor
    log_mean: Tensor
    log_scale: Tensor

    @classmethod
    def of(cls, v: Tensor) -> Spread:
        """Measure numbers (..., N)."""
        # Dividing by the largest magnitude first keeps the squares of 1e30 finite.
        top = v.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        deviation, mean = torch.std_mean(v / top, -1, correction=0, keepdim=True)
        log_scale, log_mean = torch.std_mean(decades(v), -1, correction=0, keepdim=True)
        return cls(
            mean * top,
            (deviation * top).clamp_min(1e-7 * top),
            log_mean,
            log_scale.clamp_min(_LEAST_DECADES),
        )

    def __getitem__(self, rows) -> Spread:
        return Spread(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Spread]) -> Spread:
        """All rows of some bags' spreads."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Scales:
    """The spreads of some bags: of x (B, D, 1), of y (B, 1)."""

    x: Spread
    y: Spread

    @classmethod
    def of(cls, X: Tensor, y: Tensor) -> Scales:
        """Measure bags: X (B, N, D), y (B, N)."""
        return cls(Spread.of(X.transpose(1, 2)), Spread.of(y))

    def __getitem__(self, rows) -> Scales:
        return Scales(self.x[rows], self.y[rows])

    @classmethod
    def join(cls, parts: Sequence[Scales]) -> Scales:
        """All rows of some bags' scales."""
        return cls(Spread.join([p.x for p in parts]), Spread.join([p.y for p in parts]))


def decades(v: Tensor) -> Tensor:
    """Decimal logarithm of the magnitude, over 24 decades."""
    return v.abs().clamp(10.0**-_DECADES, 10.0**_DECADES).log10()


def numbers(v: Tensor) -> Tensor:
    """A number by itself: (...) -> (..., NUMBER).

    Sign, logarithm, size (linear near 0), sine and cosine of the number, and its mantissa as angles
    of the logarithm.
    """
    size = decades(v)
    near = v.clamp(-1e3, 1e3)  # beyond it, single precision knows too little of the phase
    angle = size * (2 * math.pi * TURNS[0])
    cos, sin = angle.cos(), angle.sin()
    parts = [v.sign(), size / 2, torch.asinh(v.clamp(-1e12, 1e12)) / 2]
    parts += [near.sin(), near.cos(), cos, sin]
    for _ in TURNS[1:]:  # double the angle
        cos, sin = 1 - 2 * sin * sin, 2 * sin * cos
        parts += [cos, sin]
    return torch.stack(parts, -1)


def placed(v: Tensor, spread: Spread) -> Tensor:
    """Distance from the mean in units of the scale, cut off far away; any broadcast shape."""
    return ((v - spread.mean) / spread.scale).clamp(-_FARTHEST, _FARTHEST)


def among(v: Tensor, spread: Spread) -> Tensor:
    """A number by itself and among others: (...) -> (..., PLACED).

    The logarithm's distance from its mean comes twice: in decades, where powers and products are
    slopes that compare across columns, and in units of its own spread, where a narrow column shows.
    """
    above = decades(v) - spread.log_mean
    parts = [
        placed(v, spread),
        (3 * above).clamp(-_FARTHEST, _FARTHEST),
        (above / spread.log_scale).clamp(-_FARTHEST, _FARTHEST),
    ]
    return torch.cat([numbers(v), torch.stack(parts, -1)], -1)


def target(y: Tensor, spread: Spread, prediction: Tensor | None = None) -> Tensor:
    """Features of targets, and of what a candidate makes of them.

    Args:
        y: (B, N).
        spread: of y.
        prediction: the candidate's values (B, N), NaN or infinite where it has none; None if there
            is no candidate.

    Returns:
        (B, N, TARGET).
    """
    seen = among(y, spread)
    if prediction is None:
        return torch.cat([seen, y.new_zeros((*y.shape, TARGET - PLACED))], -1)
    valid = prediction.isfinite()
    prediction = torch.where(valid, prediction, spread.mean)
    # In units of the target's spread, so that its logarithm says how good the candidate is.
    residual = ((y - prediction) / spread.scale).clamp(-1e12, 1e12)
    near = residual.clamp(-_FARTHEST, _FARTHEST)[..., None]
    told = torch.cat([among(prediction, spread), numbers(residual), near], -1)
    valid = valid[..., None].to(y.dtype)
    return torch.cat([seen, told * valid, valid, torch.ones_like(valid)], -1)
