"""A free scale and offset around an expression: taken off, and put on.

Every expression stands for its affine family, the functions a + b*f: scale and offset are solved
for by least squares, so a search need not look for them and a decoder need not write them. What is
left when they are taken off is the core.
"""

from __future__ import annotations

import numpy as np

from methods.symbolic import vocabulary as tok


def without_affine(tokens: np.ndarray) -> np.ndarray:
    """Strip free scales and offsets from around each expression, where they stand first.

    Args:
        tokens: int64 (B, L). Canonical rows lose all; others keep an offset that stands second.

    Returns:
        (B, L)
    """
    tokens = np.array(tokens, dtype=np.int64)
    wide = np.pad(tokens, ((0, 0), (0, 2)))  # PAD is 0
    L = tokens.shape[1]
    while True:
        root, next_ = wide[:, 0], wide[:, 1]
        around = (
            np.isin(root, (tok.ADD, tok.SUB, tok.MUL)) & (next_ == tok.CONSTANT)
        ) | (root == tok.NEG)  # fmt: skip
        inverse = (root == tok.DIV) & (next_ == tok.CONSTANT)  # C/f is C * inv(f)
        if not (around | inverse).any():
            return wide[:, :L]
        shift = np.where(root == tok.NEG, 1, np.where(around, 2, np.where(inverse, 1, 0)))
        at = np.minimum(np.arange(L + 2) + shift[:, None], L + 1)
        wide = np.take_along_axis(wide, at, axis=1)
        wide[inverse, 0] = tok.INV


def with_affine(tokens: np.ndarray, scaled: bool = True, shifted: bool = True) -> np.ndarray:
    """`* C f`, `+ C f` or `+ C * C f` of every row f: (B, L) -> (B, L + 2 or 4)."""
    head = [tok.ADD, tok.CONSTANT] * shifted + [tok.MUL, tok.CONSTANT] * scaled
    return np.concatenate([np.tile(np.array(head, dtype=np.int64), (len(tokens), 1)), tokens], 1)
