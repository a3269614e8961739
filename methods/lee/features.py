"""What the network sees of numbers: sign, magnitude and mantissa, over any scale.

A law is recognised by two things. Powers and products are straight lines in logarithms, whatever
the units; shape (a bend, a period, a sign change) shows in the values as they lie among each other.
So each number is given three ways: its sign and logarithm over 24 decades, its mantissa as angles
of the logarithm (as a slide rule reads it, twice, four and eight times as fine), and its distance
from the bag's mean in standard deviations.

All functions take float32 and compute in it. Shapes: B rows, N points, D = MAX_VARIABLES columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from methods.symbolic.vocabulary import MAX_VARIABLES

TURNS = (1, 2, 4, 8)  # angles a decade
NUMBER = 3 + 2 * len(TURNS)  # features of a number
QUERY = MAX_VARIABLES * (NUMBER + 2)
POINT = QUERY + 3 * (NUMBER + 1) + 2

_DECADES = 12.0  # magnitudes from 1e-12 to 1e12 are told apart
_FARTHEST = 8.0  # standard deviations


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of a bag: x (B, 1, D), y (B, 1)."""

    x_mean: Tensor
    x_scale: Tensor
    y_mean: Tensor
    y_scale: Tensor

    @classmethod
    def of(cls, X: Tensor, y: Tensor) -> Scales:
        """Measure a bag: X (B, N, D), y (B, N)."""
        return cls(*_moments(X), *_moments(y))

    def __getitem__(self, rows) -> Scales:
        return Scales(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Scales]) -> Scales:
        """All rows of some bags' scales."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def _moments(v: Tensor) -> tuple[Tensor, Tensor]:
    # Dividing by the largest magnitude first keeps the squares of 1e30 finite.
    top = v.abs().amax(1, keepdim=True).clamp_min(1e-30)
    v = v / top
    deviation, mean = torch.std_mean(v, 1, correction=0, keepdim=True)
    return mean * top, (deviation * top).clamp_min(1e-7 * top)


def numbers(v: Tensor) -> Tensor:
    """Sign, scaled logarithm and mantissa angles: (...) -> (..., NUMBER)."""
    decades = v.abs().clamp(10.0**-_DECADES, 10.0**_DECADES).log10()
    angle = decades * (2 * math.pi * TURNS[0])
    cos, sin = angle.cos(), angle.sin()
    parts = [v.sign(), decades * (4 / _DECADES), torch.asinh(v.clamp(-1e12, 1e12)) / 4, cos, sin]
    for _ in TURNS[1:]:  # double the angle
        cos, sin = 1 - 2 * sin * sin, 2 * sin * cos
        parts += [cos, sin]
    return torch.stack(parts, -1)


def placed(v: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Distance from the mean in units of the scale, cut off far away; any broadcast shape."""
    return ((v - mean) / scale).clamp(-_FARTHEST, _FARTHEST)


def query(X: Tensor, variables: Tensor, scales: Scales) -> Tensor:
    """Features of points without a target.

    Args:
        X: (B, N, D).
        variables: int64 (B,), how many leading columns exist; the others are seen as absent.
        scales: of the bag, not of these points.

    Returns:
        (B, N, QUERY).
    """
    exists = torch.arange(X.shape[-1], device=X.device) < variables[:, None]
    exists = exists[:, None, :, None].to(X.dtype)
    place = placed(X, scales.x_mean, scales.x_scale)[..., None]
    features = torch.cat([numbers(X), place, torch.ones_like(place)], -1) * exists
    return features.flatten(-2)


def point(
    X: Tensor, y: Tensor, variables: Tensor, scales: Scales, prediction: Tensor | None = None
) -> Tensor:
    """Features of observations, and of what a candidate makes of them.

    Args:
        X, y, variables, scales: as in `query`, y being (B, N).
        prediction: the candidate's values (B, N), NaN or infinite where it has none; None if there
            is no candidate.

    Returns:
        (B, N, POINT).
    """
    B, N, _ = X.shape
    seen = [query(X, variables, scales), _of_target(y, scales)]
    if prediction is None:
        return torch.cat([*seen, X.new_zeros((B, N, POINT - QUERY - NUMBER - 1))], -1)
    valid = prediction.isfinite()
    prediction = torch.where(valid, prediction, scales.y_mean)
    # In units of the target's spread, so that its logarithm says how good the candidate is.
    residual = ((y - prediction) / scales.y_scale).clamp(-1e12, 1e12)
    told = torch.cat(
        [
            _of_target(prediction, scales),
            numbers(residual),
            residual.clamp(-_FARTHEST, _FARTHEST)[..., None],
        ],
        -1,
    )
    valid = valid[..., None].to(X.dtype)
    return torch.cat([*seen, told * valid, valid, torch.ones_like(valid)], -1)


def _of_target(y: Tensor, scales: Scales) -> Tensor:
    return torch.cat([numbers(y), placed(y, scales.y_mean, scales.y_scale)[..., None]], -1)
