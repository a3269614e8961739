"""Parts of the numba fit that see no data: linear constants, the damped step, random starts."""

from __future__ import annotations

import math

import numpy as np

from methods.symbolic import vocabulary as tok
from methods.symbolic.kernels import kernel


@kernel
def mark_linear(tokens, n, second, constant, most, linear, path):
    """Mark a largest set of constants in which the expression is jointly affine.

    The value is affine in them when the path to each holds only sums, differences, signs, products
    and numerators, and no product has marked constants on both sides.

    Args:
        most: scratch (n,), how many constants of each subtree can be marked together.
        linear: out bool (K,).
        path: out bool (n,), the nodes from the root to them.

    Returns:
        Number of constants marked.
    """
    for i in range(n - 1, -1, -1):
        op = tokens[i]
        most[i] = 0
        if op == tok.CONSTANT:
            most[i] = 1
        elif op in (tok.NEG, tok.DIV):
            most[i] = most[i + 1]
        elif op in (tok.ADD, tok.SUB):
            most[i] = most[i + 1] + most[second[i]]
        elif op == tok.MUL:
            most[i] = max(most[i + 1], most[second[i]])
    linear[:] = False
    path[:] = False
    path[0] = most[0] > 0
    for i in range(n):
        if not path[i]:
            continue
        op = tokens[i]
        if op == tok.CONSTANT:
            linear[constant[i]] = True
        elif op in (tok.NEG, tok.DIV):
            path[i + 1] = True
        elif op in (tok.ADD, tok.SUB):
            path[i + 1] = most[i + 1] > 0
            path[second[i]] = most[second[i]] > 0
        elif most[i + 1] >= most[second[i]]:
            path[i + 1] = True
        else:
            path[second[i]] = True
    return most[0]


@kernel
def solve(K, N, g, damping, use, S, index, d):
    """Damped Newton step d over the constants in `use` that have any effect, zero elsewhere.

    Solves (N + diag(damping * N)) d = g by Cholesky on the matrix scaled to a unit diagonal.

    Args:
        N: (K, K), lower triangle; g: (K,); damping: (K,).
        S, index: scratch (K, K) and (K,).

    Returns:
        Whether the scaled matrix was safely positive definite.
    """
    q = 0
    for k in range(K):
        d[k] = 0
        if use[k] and N[k, k] > 0:
            index[q] = k
            q += 1
    for a in range(q):
        i = index[a]
        for b in range(a + 1):
            j = index[b]
            s = 1 + damping[i] if a == b else N[i, j] / math.sqrt(N[i, i] * N[j, j])
            for e in range(b):
                s -= S[a, e] * S[b, e]
            if a == b:
                if not s > 1e-15:
                    return False
                S[a, a] = math.sqrt(s)
            else:
                S[a, b] = s / S[b, b]
    for a in range(q):
        i = index[a]
        s = g[i] / math.sqrt(N[i, i])
        for b in range(a):
            s -= S[a, b] * d[index[b]]
        d[i] = s / S[a, a]
    for a in range(q - 1, -1, -1):
        i = index[a]
        s = d[i]
        for b in range(a + 1, q):
            s -= S[b, a] * d[index[b]]
        d[i] = s / S[a, a]
    for a in range(q):
        d[index[a]] /= math.sqrt(N[index[a], index[a]])
    return True


@kernel
def uniform(state):
    """Next number in [0, 1) of a SplitMix64 stream (Steele, Lea, Flood 2014); state uint64 (1,)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def draw(c, K, state):
    """A random start: each constant one, normal, or log-uniform over four decades with a sign."""
    for k in range(K):
        kind = uniform(state)
        if kind < 0.15:
            c[k] = 1
        elif kind < 0.5:
            radius = math.sqrt(-2 * math.log(1 - uniform(state)))
            c[k] = radius * math.cos(2 * math.pi * uniform(state))
        else:
            c[k] = 10 ** (4 * uniform(state) - 2)
            if uniform(state) < 0.3:
                c[k] = -c[k]
