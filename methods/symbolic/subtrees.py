"""Parts of one expression: where they stand, what they compute, others put in their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from methods.symbolic import programs
from methods.symbolic import vocabulary as tok

Span = tuple[int, int, int, int]
"""First token, the one after the last, and the same of the constants."""


def spans(tokens: np.ndarray) -> list[Span]:
    """Of the subtree at each node of a row without padding, (L,)."""
    sizes = tok.subtree_sizes(tokens[None])[0]
    before = np.concatenate([[0], np.cumsum(tokens == tok.CONSTANT)])
    return [(i, i + s, before[i], before[i + s]) for i, s in enumerate(sizes.tolist())]


def subtree_values(tokens: np.ndarray, constants: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Values of every node, (L, n), at points (n, d)."""
    places = spans(tokens)
    rows = tok.stack([tokens[a:b] for a, b, _, _ in places])
    numbers = tok.stack_values([constants[a:b] for _, _, a, b in places])
    with np.errstate(all="ignore"):
        return programs.evaluate(rows, X, numbers)


def replaced(
    tokens: np.ndarray,
    constants: np.ndarray,
    span: Span,
    new: Sequence[int],
    values: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """The expression with other tokens and constants in a subtree's place."""
    start, stop, c0, c1 = span
    return (
        np.concatenate([tokens[:start], np.array(new, dtype=np.int64), tokens[stop:]]),
        np.concatenate([constants[:c0], values, constants[c1:]]),
    )
