"""What plain regressions already say of a bag: slopes, and what is left when they are taken away.

Least squares on logarithms gives the exponents of a product of powers, least squares on values the
slopes of a plane; correlations with simple functions of one variable hint at the others. All this a
network could learn to work out from the points, but slowly, and here it costs next to nothing. It
sees these figures beside the points, of which they say nothing new.

Computed in float32, without gradient. M columns of B rows (`blocks.Table`), N points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.network.blocks import Table
from methods.network.features import Scales, decades, placed

EXPONENTS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_WIDTH = 0.12  # of the bumps that say which of these a slope is near

_FARTHEST = 8.0
_RIDGE = 1e-4

_SHAPES = 12
_TARGETS = 5
COLUMN = len(EXPONENTS) + 3 + _TARGETS * _SHAPES  # figures of a column
POINT = 6  # figures of a point


@dataclass(frozen=True)
class Trends:
    """Figures of columns (M, COLUMN) and of points (B, N, POINT)."""

    columns: Tensor
    points: Tensor


def _shapes(x: Tensor) -> Tensor:
    """Simple functions of a column (M, N), each with mean 0 and spread 1: (M, _SHAPES, N)."""
    near, x = x.clamp(-1e3, 1e3), x.clamp(-1e9, 1e9)
    away = torch.where(x < 0, -1.0, 1.0) * x.abs().clamp_min(1e-3)
    exp = x.clamp(-_FARTHEST, _FARTHEST).exp()
    size = x.abs()
    shapes = torch.stack(
        [
            *(x, x * x, x * x * x, 1 / away, 1 / (away * away), decades(x), size.sqrt()),
            *(exp, 1 / exp, near.sin(), near.cos(), x.tanh()),
        ],
        1,
    )
    return _standard(shapes)


def _standard(v: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(v, -1, correction=0, keepdim=True)
    return ((v - mean) / (deviation + 1e-6 * mean.abs() + 1e-12)).clamp(-_FARTHEST, _FARTHEST)


def _regress(design: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (B, D) of a target (B, N) on columns (B, D, N), and the residual (B, N)."""
    n = design.shape[-1]
    gram = design @ design.transpose(1, 2) / n
    gram = gram + _RIDGE * torch.eye(gram.shape[-1], device=gram.device)
    slopes = torch.linalg.solve(gram, design @ target[..., None] / n)
    return slopes[..., 0], target - (slopes.transpose(1, 2) @ design)[:, 0]


def trends(
    X: Tensor, y: Tensor, scales: Scales, table: Table, prediction: Tensor | None = None
) -> Trends:
    """Figures of some bags; arguments as in `LEE.embed`."""
    with torch.no_grad(), torch.autocast(X.device.type, enabled=False):
        x = X.transpose(1, 2)
        exists = table.exists[..., None]
        values, logs = placed(x, scales.x) * exists, _logs(x, scales.x) * exists
        value, log = placed(y, scales.y), _logs(y, scales.y)
        slopes, off_plane = _regress(values, value)
        powers, off_powers = _regress(logs, log)
        exponents = powers * (scales.y.log_scale / scales.x.log_scale[..., 0])
        near = (exponents[..., None] - exponents.new_tensor(EXPONENTS)) / _WIDTH
        figures = [
            (-near.square()).exp(),
            torch.stack([exponents.clamp(-4, 4) / 2, powers.clamp(-4, 4), slopes.clamp(-4, 4)], -1),
        ]
        off = torch.zeros_like(y)
        if prediction is not None:
            residual = (y - prediction) / scales.y.scale
            off = _standard(residual.nan_to_num(0.0, 0.0, 0.0).clamp(-1e6, 1e6))
        targets = torch.stack([value, log, _standard(off_plane), _standard(off_powers), off], 1)
        hints = table.give(targets) @ _shapes(table.pack(x)).transpose(1, 2) / x.shape[-1]
        columns = torch.cat([table.pack(torch.cat(figures, -1)), hints.flatten(1)], -1)
        points = torch.stack(
            [
                *(off_plane.clamp(-4, 4), decades(off_plane) / 2, off_plane.sign()),
                *(off_powers.clamp(-4, 4), decades(off_powers) / 2, off_powers.sign()),
            ],
            -1,
        )
    return Trends(columns, points)


def _logs(v: Tensor, spread) -> Tensor:
    above = (decades(v) - spread.log_mean) / spread.log_scale
    return above.clamp(-_FARTHEST, _FARTHEST)
