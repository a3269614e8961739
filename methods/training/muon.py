"""Muon: momentum whose steps are made orthogonal (Jordan et al. 2024).

For the weights of hidden layers. A step moves every direction of a matrix by the same amount, not
only the few that dominate its gradient. In a trial with random expressions LEE reached with it in
200 steps a loss that AdamW had not reached in 300, for a seventh more time a step.

Source: https://kellerjordan.github.io/posts/muon
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)  # slope at zero as large as convergence allows


def orthogonal(matrices: Tensor, dtype: torch.dtype, rounds: int = 5) -> Tensor:
    """Each of (B, m, n) with its singular values brought near 1, by a Newton-Schulz iteration."""
    a, b, c = _QUINTIC
    X = matrices.to(dtype)
    wide = X.shape[1] <= X.shape[2]
    X = X if wide else X.mT
    X = X / (X.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return (X if wide else X.mT).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Steps matrices of like shape together.

    Args:
        parameters: matrices.
        lr: root mean square change of a square matrix's singular values in one step.
        momentum: of the gradient's running mean.
        weight_decay: share of a weight lost in a step, in units of lr.
        dtype: precision of the iteration.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Take one step from the gradients there are."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.shape), []).append(p)
            for (m, n), parameters in shapes.items():
                gradients = [p.grad for p in parameters]
                for p in parameters:
                    if not self.state[p]:
                        self.state[p]["mean"] = torch.zeros_like(p)
                means = [self.state[p]["mean"] for p in parameters]
                torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, means, group["momentum"])  # Nesterov
                steps = orthogonal(torch.stack(ahead), self._dtype).unbind()
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                scale = group["lr"] * max(1.0, m / n) ** 0.5
                torch._foreach_add_(parameters, steps, alpha=-scale)
