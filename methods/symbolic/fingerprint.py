"""A number for each function, equal for equal functions however they are written.

`canonical` joins what its rules know; this joins the rest, by values: sin(x)**2 + cos(x)**2 and 1,
(x + 1)**2 and x**2 + 2*x + 1. Expressions are evaluated at some points, and their values, rounded
to a millionth, are hashed to 64 bits.

Two equal functions fall apart only if rounding errors push a value over the edge of a bucket: about
once in thirty thousand at a relative error of 1e-12. Two different functions fall together if they
agree at all points to a millionth; on the points of a data set that is a reason to drop one.
"""

from __future__ import annotations

import numpy as np

from methods.symbolic import programs
from methods.symbolic import vocabulary as tok

_STEP = 1e-6  # of the natural logarithm of a value
_NOT_FINITE, _NOTHING = -(2**62), -(2**61)


def default_points() -> np.ndarray:
    """The points used where none are given, float64 (32, 10): half positive, half of both signs."""
    rng = np.random.default_rng(20240229)
    both, positive = rng.uniform(-2, 2, (16, 10)), rng.uniform(0.5, 2.5, (16, 10))
    return np.concatenate([positive, both])


def fingerprints(
    tokens: np.ndarray,
    constants: np.ndarray | None = None,
    X: np.ndarray | None = None,
    affine: bool = False,
) -> np.ndarray:
    """Hashes of the functions that expressions compute.

    Args:
        tokens: int64 (B, L), valid prefix rows padded with PAD.
        constants: (B, K) values of the placeholders. None compares skeletons: the k-th placeholder
            of every row gets the same fixed value, so equal functions are recognised where their
            placeholders stand in the same order. Skeletons that say nothing at these values (finite
            nowhere, or all constant, as exp(C*x) at large x) may at others: they are told apart by
            their tokens.
        X: float64 (N, D), the points at which functions count as equal, such as those of a data
            set; `default_points` by default. Points at which a function is not finite must agree
            too.
        affine: whether f and a + b*f are the same, for constants a and b.

    Returns:
        int64 (B,). Functions that are finite nowhere share one number.
    """
    tokens = np.asarray(tokens)
    X = default_points() if X is None else np.asarray(X, dtype=np.float64)
    skeletons = constants is None
    if skeletons:
        most = int(tok.count_constants(tokens).max(initial=0))
        fixed = np.random.default_rng(19700101).uniform(0.4, 2.4, most)
        constants = np.broadcast_to(fixed, (len(tokens), most)).copy()
    values = programs.evaluate(tokens, X, np.asarray(constants, dtype=np.float64))
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    if affine:
        values = _without_affine(values, finite)
    buckets = np.where(finite, _rounded(values), _NOT_FINITE)
    odd = np.random.default_rng(0).integers(2**62, size=values.shape[1]) * 2 + 1
    with np.errstate(over="ignore"):
        mixed = (buckets ^ (buckets >> 29)) * odd
        mixed ^= mixed >> 32
        hashes = (mixed * odd[::-1]).sum(1)
        if skeletons:
            mute = ((buckets == _NOT_FINITE) | (buckets == _NOTHING)).all(1)
            mute &= (tokens == tok.CONSTANT).any(1)
            hashes[mute] = _words(tokens[mute])
        return hashes


def _words(tokens: np.ndarray) -> np.ndarray:
    """Hashes of rows of tokens, whatever their padding."""
    odd = np.random.default_rng(1).integers(2**62, size=(tokens.shape[1], tok.SIZE)) * 2 + 1
    terms = np.take_along_axis(odd, tokens.T, 1) * (tokens.T != tok.PAD)
    return (terms ^ (terms >> 29)).sum(0)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Each value as an integer that is the same for values within about a millionth.

    Values far below the largest of their row are what is left of a difference, and count as 0.
    """
    size = np.abs(values)
    nothing = size <= 1e-9 * size.max(1, initial=0, keepdims=True)
    # Steps of the logarithm: powers of ten, at which decimal digits would jump, are no edges.
    steps = np.rint(np.log(np.where(nothing, 1.0, size)) / _STEP).astype(np.int64)
    return np.where(nothing, _NOTHING, 2 * steps + (values < 0))


def _without_affine(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Rows shifted to mean 0 and divided by their value of greatest size, over finite points."""
    count = np.maximum(finite.sum(1, keepdims=True), 1)
    size = np.abs(values).max(1, initial=0, keepdims=True)
    values = values / np.where(size == 0, 1.0, size)  # sums of large values would overflow
    centred = np.where(finite, values - values.sum(1, keepdims=True) / count, 0.0)
    centred[np.abs(centred) <= 1e-9] = 0
    at = np.abs(centred).argmax(1)[:, None]
    lead = np.take_along_axis(centred, at, 1)
    return centred / np.where(lead == 0, 1.0, lead)
