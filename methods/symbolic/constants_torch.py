"""The torch back end of `constants`: Levenberg-Marquardt for all expressions and starts at once.

The same three rounds as the numba kernel, over rows (expression, start) in step; rows that are done
leave the batch when they are half of it. For machines without numba and for any device; results
agree with the numba back end in what is found, not digit by digit: the random starts differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.symbolic import vocabulary as tok
from methods.symbolic.programs_torch import NODE_VALUES, compile_batch, forward, layout, reverse

Tensor = torch.Tensor

# As in constants_numba, where they are explained.
GLANCE, SOLVED, PATIENCE, OPTIMISM = 32, 1e-16, 8, 8.0
FINISH, MIN_DAMPING, MAX_DAMPING = 1e-6, 1e-14, 1e12


def mark_linear(tokens: Tensor) -> Tensor:
    """Which constants of each row are eliminated: bool (B, K); see constants_parts.mark_linear."""
    (B, L), rows = tokens.shape, torch.arange(len(tokens), device=tokens.device)
    second, _, _ = layout(tokens)
    constant = tokens == tok.CONSTANT
    sums = (tokens == tok.ADD) | (tokens == tok.SUB)
    product = tokens == tok.MUL
    single = (tokens == tok.NEG) | (tokens == tok.DIV)
    most = torch.zeros((B, L + 1), dtype=torch.int64, device=tokens.device)
    for i in range(L - 1, -1, -1):
        first, other = most[:, i + 1], most[rows, second[:, i]]
        most[:, i] = (
            constant[:, i]
            + (single | sums)[:, i] * first
            + sums[:, i] * other
            + product[:, i] * torch.maximum(first, other)
        )
    path = torch.zeros((B, L + 2), dtype=torch.bool, device=tokens.device)
    path[:, 0] = most[:, 0] > 0
    for i in range(L):
        j = second[:, i]
        first, other = most[:, i + 1], most[rows, j]
        left = single[:, i] | sums[:, i] | (product[:, i] & (first >= other))
        right = sums[:, i] | (product[:, i] & (first < other))
        path[:, i + 1] |= path[:, i] & left & (first > 0)
        path[rows, j] |= path[:, i] & right & (other > 0)
    column = torch.where(constant, constant.cumsum(1) - 1, 0)
    linear = torch.zeros((B, L), dtype=torch.int64, device=tokens.device)
    linear.scatter_add_(1, column, (path[:, :L] & constant).long())
    return linear[:, : int(constant.sum(1).max())] > 0


def solve(N: Tensor, g: Tensor, damping: Tensor, use: Tensor) -> tuple[Tensor, Tensor]:
    """Damped Newton steps (R, K) over the constants in `use`, and whether they could be found."""
    diagonal = N.diagonal(dim1=1, dim2=2)
    use = use & (diagonal > 0)
    scale = torch.where(use, diagonal, 1).rsqrt()
    both = use[:, :, None] & use[:, None, :]
    S = torch.where(both, N * scale[:, :, None] * scale[:, None, :], 0)
    S.diagonal(dim1=1, dim2=2).copy_(torch.where(use, 1 + damping, 1))
    factor, info = torch.linalg.cholesky_ex(S)
    right = torch.where(use, g * scale, 0)
    step = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0] * scale
    found = (info == 0) & step.isfinite().all(1)
    return torch.where(found[:, None], step, 0), found


@dataclass
class Rows:
    """R descents in step: expression and point data of each, and which constants are linear."""

    tokens: Tensor  # (R, L)
    X: Tensor  # (N, D) or (R, N, D)
    y: Tensor  # (1 or R, N)
    weights: Tensor  # (1 or R, N)
    linear: Tensor  # (R, K)

    def __post_init__(self) -> None:
        self.program = compile_batch(self.tokens)
        self.V = None

    def take(self, index: Tensor, points: int | None = None) -> Rows:
        """Some of the rows, over the first points only."""
        n = slice(points)
        return Rows(
            self.tokens[index],
            self.X[n] if self.X.ndim == 2 else self.X[index, n],
            self.y[:, n] if len(self.y) == 1 else self.y[index, n],
            self.weights[:, n] if len(self.weights) == 1 else self.weights[index, n],
            self.linear[index],
        )

    def assemble(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (R,), J'WJ (R, K, K) and J'W(y - f) (R, K) at constants c (R, K)."""
        V = self.V = forward(self.program, self.X, c, self.V)
        residual = self.y - V[self.program.roots]
        loss = (self.weights * residual.square()).sum(1)
        J = reverse(self.program, V, tuple(c.shape))
        J = torch.where(J.abs() < 1e100, J, 0) if J.dtype == torch.float64 else J.nan_to_num(0)
        loss = torch.where(loss.isfinite(), loss, torch.inf)
        weighted = J * self.weights[:, None, :]
        residual = torch.where(residual.isfinite(), residual, 0)
        g = (weighted @ residual[:, :, None])[:, :, 0]
        return loss, weighted @ J.transpose(1, 2), g

    def project(self, c: Tensor, again: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Move the linear constants to their optimum: new c, then as `assemble` there.

        Without `again` the loss is what the normal equations promise, and they stay behind.
        """
        loss, N, g = self.assemble(c)
        tiny = torch.full_like(c, 1e-10 if c.dtype == torch.float64 else 1e-5)
        step, _ = solve(N, g, tiny, self.linear)
        moved = c + step
        if not again:
            return moved, loss - (step * g).sum(1), N, g
        new_loss, new_N, new_g = self.assemble(moved)
        better = new_loss <= loss
        return (
            torch.where(better[:, None], moved, c),
            torch.where(better, new_loss, loss),
            torch.where(better[:, None, None], new_N, N),
            torch.where(better[:, None], new_g, g),
        )


def descend(
    rows: Rows,
    c: Tensor,
    group: Tensor | None,
    target: Tensor,
    max_steps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Levenberg-Marquardt from c (R, K).

    Args:
        group: expression of each row; rows of one expression are rivals, and those that fall
            behind stop. None for rows that have none.
        target: (R,) loss that is as good as zero.

    Returns:
        Constants (R, K), loss (R,), whether a minimum was reached (R,), trial steps taken (R,).
    """
    R = len(c)
    active = torch.arange(R, device=c.device)
    best_c, loss, N, g = rows.project(c)
    best_loss = loss.clone()
    done = (loss <= target) | ~loss.isfinite()
    converged, steps = loss <= target, torch.zeros_like(active)
    c, here = best_c.clone(), rows
    damping, growth = torch.full_like(loss, 1e-2), torch.full_like(loss, 2)
    small, earlier = torch.zeros_like(active), loss.clone()
    finished = done
    for step in range(max_steps):
        if group is not None and step > 0 and step % PATIENCE == 0:
            rival = torch.full_like(best_loss, torch.inf)
            rival.scatter_reduce_(0, group, best_loss, "amin")
            hopeless = loss - OPTIMISM * (earlier - loss) > rival[group[active]]
            finished = finished | hopeless
            earlier = loss.clone()
        left = ~finished
        if 2 * int(left.sum()) < len(active):
            if not left.any():
                break
            active, here = active[left], here.take(left.nonzero()[:, 0])
            c, loss, N, g = c[left], loss[left], N[left], g[left]
            damping, growth, small = damping[left], growth[left], small[left]
            earlier, finished = earlier[left], finished[left]
        steps[active] += ~finished
        by_constant = torch.where(here.linear, (1e-6 * damping)[:, None], damping[:, None])
        by_constant = by_constant.clamp_min(MIN_DAMPING)
        move, found = solve(N, g, by_constant, torch.ones_like(here.linear))
        scaled = by_constant * N.diagonal(dim1=1, dim2=2) * move
        gain = torch.where(found, (move * (g + scaled)).sum(1), torch.inf)
        trial, new, new_N, new_g = here.project(c + move)
        accept = found & (new < loss) & ~finished
        reject = ~accept & ~finished
        won = loss - new
        ratio = won / gain.clamp_min(1e-300)
        eased = damping * (1 - (2 * ratio - 1) ** 3).clamp_min(0.1)
        stuck = reject & ((gain <= tolerance * loss) | (damping * growth > MAX_DAMPING))
        small = torch.where(accept, torch.where(won <= tolerance * loss, small + 1, 0), small)
        damping = torch.where(accept, eased, torch.where(reject, damping * growth, damping))
        damping = damping.clamp_min(MIN_DAMPING)
        growth = torch.where(accept, 2, torch.where(reject, growth * 2, growth))
        c = torch.where(accept[:, None], trial, c)
        loss = torch.where(accept, new, loss)
        N = torch.where(accept[:, None, None], new_N, N)
        g = torch.where(accept[:, None], new_g, g)
        minimum = stuck | (accept & ((loss <= target[active]) | (small >= 2)))
        finished = finished | minimum
        converged[active] |= minimum
        best_c[active], best_loss[active] = c, loss
    return best_c, best_loss, converged, steps


def draw(count: int, K: int, generator: torch.Generator, X: Tensor) -> Tensor:
    """Random starts (count, K): each constant one, normal, or log-uniform with a sign."""
    shape, options = (3, count, K), {"generator": generator, "dtype": X.dtype, "device": X.device}
    kind, size, sign = torch.rand(shape, **options)
    normal = torch.randn(shape[1:], **options)
    decades = 10 ** (4 * size - 2) * torch.where(sign < 0.3, -1, 1)
    return torch.where(kind < 0.15, 1, torch.where(kind < 0.5, normal, decades))


def run(tokens, X, y, weights, warm, effort, seed: int):
    """See `constants.fit`: the same arguments as tensors on one device, y and weights (1|B, N).

    Returns:
        Constants, loss, converged, steps.
    """
    tokens = tokens.to(X.device).long()
    (B, L), N, K = tokens.shape, y.shape[1], warm.shape[2]
    generator = torch.Generator(X.device).manual_seed(seed % 2**63)
    constants = X.new_zeros((B, K))
    loss = X.new_full((B,), torch.inf)
    converged = torch.zeros(B, dtype=torch.bool, device=X.device)
    steps = torch.zeros(B, dtype=torch.int64, device=X.device)
    m = min(N, effort.screen)
    widest = max(N, effort.starts * m, (effort.pool + warm.shape[1]) * min(N, GLANCE))
    block = max(1, NODE_VALUES.get(X.device.type, 2**23) // (L * widest))
    for lo in range(0, B, block):
        here = torch.arange(lo, min(B, lo + block), device=X.device)
        part = Rows(
            tokens[here],
            X if X.ndim == 2 else X[here],
            y if len(y) == 1 else y[here],
            weights if len(weights) == 1 else weights[here],
            mark_linear(tokens[here]),
        )
        given = (warm[here] if len(warm) > 1 else warm).expand(len(here), -1, -1)
        constants[here], loss[here], converged[here], steps[here] = _fit(
            part, given, K, effort, generator
        )
    return constants, loss / weights.sum(1), converged, steps


def _fit(rows: Rows, warm: Tensor, K: int, effort, generator: torch.Generator):
    """Fit one block of expressions: constants (b, K), summed loss, converged, steps (b,)."""
    b, N, device = len(rows.tokens), rows.y.shape[1], rows.y.device
    linear = torch.zeros((b, K), dtype=torch.bool, device=device)
    linear[:, : rows.linear.shape[1]] = rows.linear
    rows.linear = linear
    S = effort.starts
    starts = draw(b * effort.pool, K, generator, rows.X).view(b, effort.pool, K)
    starts[:, 0] = 1
    starts = torch.cat([warm, starts], 1)
    group = torch.arange(b, device=device).repeat_interleave(starts.shape[1])
    glance = rows.take(group, min(N, GLANCE))
    moved, rank, _, _ = glance.project(starts.flatten(0, 1), again=False)
    rank = torch.where(rank.isfinite(), rank, torch.inf)
    chosen = rank.view(b, starts.shape[1]).topk(S, largest=False).indices
    first = moved.view(b, starts.shape[1], K).gather(1, chosen[:, :, None].expand(-1, -1, K))
    group = torch.arange(b, device=device).repeat_interleave(S)
    m = min(N, effort.screen)
    total = rows.weights.sum(1, keepdim=True)
    mean = (rows.weights * rows.y).sum(1, keepdim=True) / total
    spread = (rows.weights * (rows.y - mean).square()).sum(1).expand(b)
    c, loss, _, steps = descend(
        rows.take(group, m),
        first.flatten(0, 1),
        group,
        (SOLVED * m / N) * spread[group],
        effort.max_steps,
        effort.tolerance,
    )
    best = loss.view(b, S).argmin(1) + S * torch.arange(b, device=device)
    c, loss, converged, last = descend(
        rows, c[best], None, torch.zeros_like(loss[best]), 4 * effort.max_steps, FINISH
    )
    return c, loss, converged, steps.view(b, S).sum(1) + last
