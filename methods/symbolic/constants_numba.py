"""The numba back end of `constants`: a whole multi-start Levenberg-Marquardt fit in one kernel.

The damping follows Marquardt (1963) with Nielsen's update (IMM-REP-1999-05): the step solves
(A + damping diag A) d = g with A = J'WJ and g = J'W(y - f). Constants in which the expression is
affine are eliminated (variable projection, Golub and Pereyra 1973): at each trial point they are
set to their optimum before the loss is looked at, so the search runs in the others alone.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from methods.symbolic.constants_parts import draw, mark_linear, solve
from methods.symbolic.kernels import inlined, kernel
from methods.symbolic.programs_numba import CHUNK, columns, forward, link, reverse, spread

GLANCE = 32  # points that random starts are ranked on
FINISH = 1e-6  # tolerance on all points; a perfect fit goes on to rounding error all the same
SOLVED = 1e-16  # share of the spread of y below which no other start is tried
MAX_DAMPING = 1e12
MIN_DAMPING = 1e-14
PROJECT = 0.01  # share of the loss that moving the linear constants must take off to be worth it
PATIENCE, OPTIMISM = 8, 8.0  # every 8 steps: would 8 times the last gain beat the best rival?


class Layout(NamedTuple):
    """What `link` and `mark_linear` found out about an expression of L tokens, K constants."""

    size: np.ndarray  # int (L,)
    second: np.ndarray  # int (L,)
    constant: np.ndarray  # int (L,)
    has_constant: np.ndarray  # bool (L,)
    linear: np.ndarray  # bool (K,)
    linear_path: np.ndarray  # bool (L,)
    all_constants: np.ndarray  # bool (K,), true
    all_nodes: np.ndarray  # bool (L,), true


class Row(NamedTuple):
    """One expression: its tokens (n used), K constants, of which so many are linear."""

    tokens: np.ndarray
    n: int
    K: int
    linears: int
    layout: Layout


class Data(NamedTuple):
    """Points as columns (D, N), targets (N,), square roots of the weights (N,) unless all one."""

    X: np.ndarray
    y: np.ndarray
    root_w: np.ndarray
    weighted: bool
    spread: float  # weighted sum of squared deviations of y from its mean


class Scratch(NamedTuple):
    """Memory that one expression's fit works in; L nodes, K constants, P = CHUNK points."""

    V: np.ndarray  # (L, P) values of the nodes
    A: np.ndarray  # (L, P) derivatives of the result by the nodes
    J: np.ndarray  # (K, P) derivatives by the constants
    r: np.ndarray  # (P,) residuals
    S: np.ndarray  # (K, K) Cholesky factor
    index: np.ndarray  # int (K,)
    damping: np.ndarray  # (K,)
    step: np.ndarray  # (K,)
    N: np.ndarray  # (K, K) and g (K,): normal equations at the present point
    g: np.ndarray
    next_N: np.ndarray  # noqa: N815 - (K, K) and next_g (K,): the same at the trial point
    next_g: np.ndarray
    trial: np.ndarray  # (K,)
    start: np.ndarray  # (K,)
    pool: np.ndarray  # (descents, K) best candidates and their loss (descents,)
    rank: np.ndarray
    state: np.ndarray  # uint64 (1,), of the random numbers
    ready: np.ndarray  # int (1,): V holds the nodes without constants for so many first points


@kernel
def assemble(row, data, c, m, limit, use, path, work, N, g):
    """Loss and normal equations at constants c over the first m points.

    Args:
        limit: give up as soon as the loss is above it.
        use: bool (K,), by which constants derivatives are wanted; path: bool (n,), nodes on the
            way to them.
        N: out (K, K), lower triangle of J'WJ.
        g: out (K,), J'W(y - f).

    Returns:
        Sum of weighted squared residuals; inf above the limit or where a value is not finite.
    """
    for k in range(row.K):
        g[k] = 0
        for j in range(k + 1):
            N[k, j] = 0
    loss, weighted = 0.0, data.weighted
    todo = row.layout.has_constant if work.ready[0] == m else row.layout.all_nodes
    work.ready[0] = m if m <= CHUNK else 0
    for start in range(0, m, CHUNK):
        P = min(CHUNK, m - start)
        forward(
            row.tokens,
            row.n,
            row.layout.second,
            row.layout.constant,
            todo,
            c,
            data.X,
            start,
            P,
            work.V,
        )
        f, e = work.V[0], work.r
        for p in range(P):
            e[p] = data.y[start + p] - f[p]
        if weighted:
            for p in range(P):
                e[p] *= data.root_w[start + p]
        part = 0.0
        for p in range(P):
            part += e[p] * e[p]
        loss += part
        if not loss <= limit or loss == np.inf:
            return np.inf
        if not path[0]:
            continue
        reverse(
            row.tokens,
            row.n,
            row.layout.second,
            row.layout.constant,
            path,
            work.V,
            work.A,
            work.J,
            P,
        )
        for k in range(row.K):
            if not use[k]:
                continue
            d = work.J[k]
            if weighted:
                for p in range(P):
                    d[p] *= data.root_w[start + p]
            square = 0.0
            for p in range(P):
                square += d[p] * d[p]
            if not square < np.inf:
                # A slope without a value, as of sqrt at 0, says nothing: leave the point out.
                square = 0.0
                for p in range(P):
                    if not abs(d[p]) < 1e100:
                        d[p] = 0
                    square += d[p] * d[p]
            N[k, k] += square
            dot = 0.0
            for p in range(P):
                dot += d[p] * e[p]
            g[k] += dot
            for j in range(k):
                if not use[j]:
                    continue
                other = work.J[j]
                dot = 0.0
                for p in range(P):
                    dot += d[p] * other[p]
                N[k, j] += dot
    return loss


@inlined
def linear_step(row, work, N, g):
    """Step of the linear constants to their optimum, into work.step; what it takes off the loss."""
    for k in range(row.K):
        work.damping[k] = MIN_DAMPING
    if not solve(row.K, N, g, work.damping, row.layout.linear, work.S, work.index, work.step):
        for k in range(row.K):
            work.damping[k] = 1e-8
        solve(row.K, N, g, work.damping, row.layout.linear, work.S, work.index, work.step)
    gain = 0.0
    for k in range(row.K):
        gain += work.step[k] * g[k]
    return gain


@inlined
def glance(row, data, c, m, work, N, g):
    """Loss at c with the linear constants set to their optimum, in place; no normal equations."""
    lay = row.layout
    loss = assemble(row, data, c, m, np.inf, lay.linear, lay.linear_path, work, N, g)
    if row.linears and loss < np.inf:
        loss -= linear_step(row, work, N, g)
        for k in range(row.K):
            c[k] += work.step[k]
    return loss


@inlined
def project(row, data, c, m, limit, share, work, N, g):
    """`assemble` after the linear constants moved to their optimum, if that gains so large a share.

    Nothing moves and the result is inf where even that leaves the loss above the limit.
    """
    use, path = row.layout.all_constants, row.layout.has_constant
    bound = np.inf if row.linears else limit
    loss = assemble(row, data, c, m, bound, use, path, work, N, g)
    if loss < np.inf and row.linears:
        gain = linear_step(row, work, N, g)
        if loss - gain > limit:
            loss = np.inf
        elif gain > share * loss or loss > limit:
            for k in range(row.K):
                c[k] += work.step[k]
            loss = assemble(row, data, c, m, limit, use, path, work, N, g)
    return loss


@inlined
def descend(row, data, c, m, steps, target, tolerance, rival, share, work):
    """Levenberg-Marquardt from c, in place, over the first m points.

    Args:
        steps: trial steps at most.
        target: loss that is as good as zero.
        tolerance: stop when a step gains less than this share of the loss.
        rival: loss of the best other start; give up where this one will not get below.
        share: see `project`.

    Returns:
        Loss at c (inf if it has none), whether a minimum was reached, and trial steps taken.
    """
    K, N, g, trial = row.K, work.N, work.g, work.trial
    loss = project(row, data, c, m, np.inf, share, work, N, g)
    if loss <= target or K == 0 or loss == np.inf:
        return loss, loss < np.inf, 0
    damping, growth, small, earlier = 1e-2, 2.0, 0, loss
    for step in range(steps):
        if step > 0 and step % PATIENCE == 0:
            if loss - OPTIMISM * (earlier - loss) > rival:
                return loss, False, step
            earlier = loss
        for k in range(K):
            work.damping[k] = max(MIN_DAMPING, 1e-6 * damping) if row.layout.linear[k] else damping
        new, gain = np.inf, np.inf
        if solve(
            row.K, N, g, work.damping, row.layout.all_constants, work.S, work.index, work.step
        ):
            gain = 0.0  # that the model linearised at c promises
            for k in range(K):
                trial[k] = c[k] + work.step[k]
                gain += work.step[k] * (g[k] + work.damping[k] * N[k, k] * work.step[k])
            new = project(row, data, trial, m, loss, share, work, work.next_N, work.next_g)
        if new < loss:
            ratio = (loss - new) / max(gain, 1e-300)
            damping = max(MIN_DAMPING, damping * max(0.1, 1 - (2 * ratio - 1) ** 3))
            growth = 2.0
            small = small + 1 if loss - new <= tolerance * loss else 0
            loss = new
            for k in range(K):
                c[k], g[k] = trial[k], work.next_g[k]
                for j in range(k + 1):
                    N[k, j] = work.next_N[k, j]
            if loss <= target or small >= 2:
                return loss, True, step + 1
        elif gain <= tolerance * loss:
            return loss, True, step + 1
        else:
            damping *= growth
            growth *= 2
            if damping > MAX_DAMPING:
                return loss, True, step + 1
    return loss, False, steps


class Plan(NamedTuple):
    """How hard to try; see `constants.fit`."""

    seed: int
    candidates: int
    descents: int
    screen: int
    glance: int
    steps: int
    target: float
    tolerance: float
    agree: int


@inlined
def rank_starts(row, data, warm, plan, stream, work):
    """Best random starts at few points into work.pool, their losses, ascending, into work.rank.

    Returns:
        How many descents are worth it at most.
    """
    K = row.K
    kept = 1 if row.linears == K else plan.descents
    candidates = 1 if row.linears == K else len(warm) + plan.candidates
    pool, rank, start = work.pool, work.rank, work.start
    for s in range(kept):
        rank[s] = np.inf
    work.state[0] = np.uint64(stream)
    spare = candidates  # undefined starts are replaced so often at most
    s = 0
    while s < candidates:
        if s < len(warm):
            for k in range(K):
                start[k] = warm[s, k]
        elif s == len(warm):
            for k in range(K):
                start[k] = 1
        else:
            draw(start, K, work.state)
        value = glance(row, data, start, min(plan.glance, len(data.y)), work, work.N, work.g)
        if value == np.inf and s > len(warm) and spare > 0:
            spare -= 1
            continue
        s += 1
        if value < rank[kept - 1]:
            at = kept - 1
            while at > 0 and value < rank[at - 1]:
                rank[at] = rank[at - 1]
                for k in range(K):
                    pool[at, k] = pool[at - 1, k]
                at -= 1
            rank[at] = value
            for k in range(K):
                pool[at, k] = start[k]
    return kept


@inlined
def fit_one(row, data, warm, plan, stream, work, c):
    """Fit one expression; best constants into c.

    Returns:
        Sum of weighted squared residuals, whether a minimum was reached, trial steps taken.
    """
    K, N = row.K, len(data.y)
    work.ready[0] = 0
    kept = rank_starts(row, data, warm, plan, stream, work)
    m = min(N, plan.screen)
    target = plan.target * data.spread * m / N
    best, done, taken, agreeing = np.inf, False, 0, 1
    # Descents at some points; then, in the same loop, the best one's finish at all of them.
    for s in range(kept + 1):
        finish = s == kept or work.rank[s] == np.inf or best <= target or agreeing >= plan.agree
        if finish and best == np.inf:
            break
        for k in range(K):
            work.start[k] = c[k] if finish else work.pool[s, k]
        loss, done, steps = descend(
            row,
            data,
            work.start,
            N if finish else m,
            4 * plan.steps if finish else plan.steps,
            0.0 if finish else target,
            FINISH if finish else plan.tolerance,
            np.inf if finish else best,
            0.0 if finish else PROJECT,
            work,
        )
        taken += steps
        if loss < 0.999 * best:
            agreeing = 1
        elif loss <= 1.001 * best:
            agreeing += 1
        if finish or loss < best:
            best = loss
            for k in range(K):
                c[k] = work.start[k]
        if finish:
            break
    return best, done, taken


@kernel
def fit_block(problem, plan, lo, hi, layout, work, results):
    """Fit rows lo to hi of a `Problem`; results are arrays of length B."""
    tokens, X, y, root_w, spread, weighted, warm = problem
    constants, loss, converged, steps = results
    for b in range(lo, hi):
        n, K = link(tokens[b], layout.size, layout.second, layout.constant, layout.has_constant)
        linears = mark_linear(
            tokens[b],
            n,
            layout.second,
            layout.constant,
            layout.size,
            layout.linear,
            layout.linear_path,
        )
        row = Row(tokens[b], n, K, linears, layout)
        one_y, one_w = b if len(y) > 1 else 0, b if len(root_w) > 1 else 0
        both = max(one_y, one_w)
        data = Data(X[b if len(X) > 1 else 0], y[one_y], root_w[one_w], weighted, spread[both])
        stream = np.uint64(plan.seed) ^ (np.uint64(b) * np.uint64(0xD1B54A32D192ED03))
        loss[b], converged[b], steps[b] = fit_one(
            row, data, warm[b if len(warm) > 1 else 0], plan, stream, work, constants[b]
        )


class Problem(NamedTuple):
    """The arguments of `constants.fit` for B expressions, or 1 where all share them."""

    tokens: np.ndarray  # int64 (B, L)
    X: np.ndarray  # (1 or B, D, N)
    y: np.ndarray  # (1 or B, N)
    root_w: np.ndarray  # (1 or B, N)
    spread: np.ndarray  # (1 or B,)
    weighted: bool
    warm: np.ndarray  # (1 or B, S, K)


def scratch(L: int, K: int, descents: int) -> tuple[Layout, Scratch]:
    """Memory for one thread's fits of rows of L tokens with at most K constants."""
    integers = [np.empty(L, np.int64) for _ in range(3)]
    layout = Layout(
        *integers,
        has_constant=np.empty(L, np.bool_),
        linear=np.empty(K, np.bool_),
        linear_path=np.empty(L, np.bool_),
        all_constants=np.ones(K, np.bool_),
        all_nodes=np.ones(L, np.bool_),
    )
    work = Scratch(
        V=np.empty((L, CHUNK)),
        A=np.empty((L, CHUNK)),
        J=np.empty((K, CHUNK)),
        r=np.empty(CHUNK),
        S=np.empty((K, K)),
        index=np.empty(K, np.int64),
        damping=np.empty(K),
        step=np.empty(K),
        N=np.empty((K, K)),
        g=np.empty(K),
        next_N=np.empty((K, K)),
        next_g=np.empty(K),
        trial=np.empty(K),
        start=np.empty(K),
        pool=np.empty((descents, K)),
        rank=np.empty(descents),
        state=np.empty(1, np.uint64),
        ready=np.zeros(1, np.int64),
    )
    return layout, work


def run(tokens, X, y, weights, warm, effort, seed: int, threads: int):
    """See `constants.fit`: the same arguments as arrays, y (1|B, N), weights (1|B, N).

    Returns:
        Constants, loss, converged, steps.
    """
    y, weights = y.astype(np.float64), weights.astype(np.float64)
    total = weights.sum(1)
    mean = (weights * y).sum(1) / total
    problem = Problem(
        np.ascontiguousarray(tokens, dtype=np.int64),
        columns(X.astype(np.float64)),
        np.ascontiguousarray(y),
        np.ascontiguousarray(np.sqrt(weights)),
        (weights * (y - mean[:, None]) ** 2).sum(1),
        bool((weights != 1).any()),
        np.ascontiguousarray(warm, dtype=np.float64),
    )
    plan = Plan(
        seed,
        effort.pool,
        effort.starts,
        effort.screen,
        GLANCE,
        effort.max_steps,
        SOLVED,
        effort.tolerance,
        effort.agree,
    )
    B, K, N = len(tokens), warm.shape[2], y.shape[1]
    results = (
        np.zeros((B, K)),
        np.full(B, np.inf),
        np.zeros(B, bool),
        np.zeros(B, int),
    )
    memory = threading.local()

    def work(lo: int, hi: int) -> None:
        if not hasattr(memory, "scratch"):
            memory.scratch = scratch(tokens.shape[1], K, effort.starts)
        fit_block(problem, plan, lo, hi, *memory.scratch, results)

    # Small blocks, so that threads finish together.
    spread(work, B, max(1, min(8, 20_000 // N)), threads)
    results[1][:] /= total
    return results
