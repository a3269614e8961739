"""Random constant-fitting problems from a seed, to measure fits with; no benchmark shapes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from methods.symbolic import vocabulary as tok
from methods.symbolic.programs import evaluate_with_jacobian

# Weights follow the order of the vocabulary's unary and binary names.
_UNARY = [tok.ID[name] for name in tok.UNARY_NAMES]
_UNARY_WEIGHTS = np.array([1, 2, 3, 1, 2, 2, 2, 2, 2, 0.3, 0.7, 0.2, 0.2, 0.5, 0.3])
_BINARY = [tok.ID[name] for name in tok.BINARY_NAMES]
_BINARY_WEIGHTS = np.array([3, 2, 4, 2, 0.4])
_BOXES = ((0.2, 2.0), (1.0, 5.0), (-2.0, 2.0), (0.0, 1.0))
_CURVED = frozenset(tok.ID[name] for name in tok.UNARY_NAMES[5:-1])


@dataclass(frozen=True)
class Problems:
    """Constant-fitting problems: find constants with which row b takes the values y[b] at X[b].

    Attributes:
        tokens: int64 (B, L).
        X: float64 (B, N, 3).
        y: float64 (B, N), the values at `hidden`.
        hidden: float64 (B, K), the constants behind y.
    """

    tokens: np.ndarray
    X: np.ndarray
    y: np.ndarray
    hidden: np.ndarray


def random_tree(rng: np.random.Generator, size: int, variables: int, curved: bool) -> list[int]:
    """A prefix tree of so many nodes without constants; `curved` admits powers alone inside it."""
    if size <= 1:
        return [tok.FIRST_VARIABLE + int(rng.integers(variables))]
    if size == 2 or rng.random() < 0.35:
        op = int(rng.choice(_UNARY, p=_UNARY_WEIGHTS / _UNARY_WEIGHTS.sum()))
        op = tok.SQUARE if curved and op in _CURVED else op
        return [op, *random_tree(rng, size - 1, variables, curved or op in _CURVED)]
    op = int(rng.choice(_BINARY, p=_BINARY_WEIGHTS / _BINARY_WEIGHTS.sum()))
    left = int(rng.integers(1, size - 1))
    return [
        op,
        *random_tree(rng, left, variables, curved),
        *random_tree(rng, size - 1 - left, variables, curved),
    ]


def with_constants(rng: np.random.Generator, tree: list[int], count: int) -> list[int]:
    """The tree with constants multiplied or added (or as powers) to `count` of its nodes."""
    chosen = set(rng.choice(len(tree), min(count, len(tree)), replace=False).tolist())
    out = []
    sizes = tok.subtree_sizes(np.array([tree]))[0]
    closing: list[tuple[int, list[int]]] = []  # where a node ends, what follows it there
    for i, token in enumerate(tree):
        if i in chosen:
            op = int(rng.choice((tok.MUL, tok.ADD, tok.POW), p=(0.55, 0.35, 0.1)))
            out += [op] if op == tok.POW else [op, tok.CONSTANT]
            if op == tok.POW:
                closing.append((i + int(sizes[i]), [tok.CONSTANT]))
        out.append(token)
        for end, suffix in [c for c in reversed(closing) if c[0] == i + 1]:
            out += suffix
            closing.remove((end, suffix))
    return out


def random_problems(
    per_count: int = 200, most: int = 5, points: int = 200, seed: int = 0
) -> Problems:
    """Problems with 1 to `most` constants, `per_count` of each, from random trees of 2 to 10 nodes.

    Kept are trees whose values are finite and free of poles at the points and whose constants all
    matter there and can be told apart. Hidden constants are normal or log-uniform over two decades,
    a third of them negated.
    """
    rng = np.random.default_rng(seed)
    found: dict[int, list] = {k: [] for k in range(1, most + 1)}
    for k in found:
        while len(found[k]) < per_count:
            trees = (
                random_tree(rng, int(rng.integers(2, 11)), int(rng.integers(1, 4)), False)
                for _ in range(10 * per_count)
            )
            tokens = tok.stack([with_constants(rng, tree, k) for tree in trees])
            tokens = tokens[tok.count_constants(tokens) == k]
            B = len(tokens)
            hidden = np.where(
                rng.random((B, k)) < 0.5, rng.normal(size=(B, k)), 10 ** rng.uniform(-1, 1, (B, k))
            ) * rng.choice([1, 1, -1], (B, k))
            boxes = np.array(_BOXES)[rng.integers(len(_BOXES), size=B)]
            X = rng.uniform(boxes[:, :1, None], boxes[:, 1:, None], (B, points, 3))
            y, J = evaluate_with_jacobian(tokens, X, hidden)
            well = np.isfinite(y).all(1) & (np.abs(y).max(1) < 1e6) & (np.abs(J) < 1e12).all((1, 2))
            for b in np.flatnonzero(well)[:per_count]:
                spread = y[b].std()
                if spread < 1e-3 * (1e-3 + abs(y[b].mean())):
                    continue
                shapes = J[b] * np.abs(hidden[b]) / spread
                norms = np.linalg.norm(shapes, axis=0)
                if (
                    np.abs(y[b] - y[b].mean()).max() < 8 * spread
                    and np.abs(shapes).max(0).min() > 1e-3
                    and np.linalg.svd(shapes / norms, compute_uv=False)[-1] > 1e-4
                ):
                    found[k].append((tokens[b], X[b], y[b], np.pad(hidden[b], (0, most - k))))
        del found[k][per_count:]
    rows = [row for k in found for row in found[k]]
    return Problems(
        tok.stack([row[0][row[0] != tok.PAD] for row in rows]),
        *(np.stack([row[i] for row in rows]) for i in (1, 2, 3)),
    )
