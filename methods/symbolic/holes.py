"""Parts of an expression to be replaced, and what they would have to compute for it to fit.

Semantic backpropagation (Pawlak, Wieloch & Krawiec 2015, doi:10.1109/TEVC.2014.2321259): targets
are carried from the root down by inverting one operator after the other, the rest of the expression
held at its values. So an expression that is right but for one part leaves a smaller problem, which
a search can be asked like any other: to find f with x*f(u/c) = y is to find f(u/c) = y/x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from methods.symbolic import constants, programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import with_affine, without_affine
from methods.symbolic.subtrees import Span, replaced, spans, subtree_values

_VALID = 0.75  # least share of rows on which a part can make the whole right
_LARGEST = 1e30  # values beyond it are none: their squares overflow
_LONGEST = 40  # tokens of an expression with a part replaced
_AS_GOOD = 1.1  # loss with less around a replacement, in units of that with scale and offset


@dataclass(frozen=True, eq=False)
class Hole:
    """A part of an expression, and the problem that it has to solve.

    Attributes:
        tokens, constants: of the expression, (L,) and (K,).
        span: where the part stands.
        values: float64 (n,), what it should compute; 0 where no value would do.
        slope: float64 (n,), derivative of the whole by the part there; 0 where no value would do.
            Residuals of the part times this are, to first order, those of the whole.
    """

    tokens: np.ndarray
    constants: np.ndarray
    span: Span
    values: np.ndarray
    slope: np.ndarray

    def filled(
        self, tokens: Sequence[int], numbers: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The expression with other tokens and constants in the part's place."""
        return replaced(self.tokens, self.constants, self.span, tokens, numbers)


def holes(
    tokens: np.ndarray, constants: np.ndarray, X: np.ndarray, y: np.ndarray
) -> Iterator[Hole]:
    """All parts that can be asked for, from left to right.

    Left out are the whole without its scale and offset, whose problem is the one that is being
    solved, and parts that would have to be the same on all rows.

    Args:
        tokens: prefix row without padding, int64 (L,).
        constants: of its placeholders, (K,).
        X: float64 (n, d); y: float64 (n,).
    """
    places, values = spans(tokens), subtree_values(tokens, constants, X)
    frame = len(tokens) - int(tok.lengths(without_affine(tokens[None]))[0])
    asked: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(places)
    asked[0] = y, np.ones(len(y))
    with np.errstate(all="ignore"):
        for i, token in enumerate(tokens.tolist()):
            if (given := asked[i]) is None:
                continue
            target, slope = given
            if i > frame and np.ptp(target) > 0:
                yield Hole(tokens, constants, places[i], target, slope)
            first = i + 1
            if tok.ARITY[token] == 1:
                asked[first] = _carried(slope, *_unary(token, target, values[first]))
            elif tok.ARITY[token] == 2:
                second = places[first][1]
                left, right = values[first], values[second]
                asked[first] = _carried(slope, *_first(token, target, right))
                asked[second] = _carried(slope, *_second(token, target, left))


def fill(
    places: Sequence[Hole],
    tokens: np.ndarray,
    X: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    *,
    rng: np.random.Generator,
    threads: int | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Expressions with skeletons in holes.

    Each skeleton is fitted to what its hole has to compute, and gets a scale and an offset as far
    as it needs them. Those without a fit, and those that make too long an expression, are left out.

    Args:
        places: B holes, computed on N rows.
        tokens: int64 (B, L), what to put there.
        X: float64 (N, d); weights: (N,).
        rows: indices of those that are fitted.
        rng: of the starts.
        threads: of the fits.

    Returns:
        tokens (L',) and constants (K',) of each.
    """
    X, cores = X[rows], without_affine(tokens)
    targets = np.array([hole.values[rows] for hole in places])
    slopes = np.array([hole.slope[rows] for hole in places])
    weights = weights[rows] * np.square(slopes / np.abs(slopes).max(1, keepdims=True))
    effort = constants.Effort(starts=4)
    with np.errstate(all="ignore"):
        fitted = constants.fit(
            with_affine(cores), X, targets, weights=weights, effort=effort, seed=rng,
            threads=threads,
        )  # fmt: skip
        inner = fitted.constants[:, 2:]
        values = programs.evaluate(cores, X, inner, threads=threads)
        made = []
        for i, hole in enumerate(places):
            core = cores[i][cores[i] != tok.PAD]
            head, numbers = _needed(values[i], targets[i], weights[i])
            numbers += inner[i, : tok.count_constants(core)].tolist()
            if math.isfinite(fitted.loss[i]) and np.isfinite(numbers).all():
                made.append(hole.filled([*head, *core], numbers))
    return [(row, numbers) for row, numbers in made if len(row) <= _LONGEST]


def _needed(f: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[list[int], list[float]]:
    """Scale and offset around f, as far as y needs them, all (n,): tokens and constants."""
    w = weights / weights.sum()
    middle, mean = w @ f, w @ y
    slope = w @ ((f - middle) * (y - mean)) / max(w @ np.square(f - middle), 1e-300)
    ratio = w @ (f * y) / max(w @ np.square(f), 1e-300)

    def loss(offset: float, scale: float) -> float:
        return w @ np.square(y - offset - scale * f)

    scaled, shifted = [tok.MUL, tok.CONSTANT], [tok.ADD, tok.CONSTANT]
    least = _AS_GOOD * loss(mean - slope * middle, slope) + 1e-24 * (w @ np.square(y))
    if loss(0, 1) <= least:
        return [], []
    if loss(0, ratio) <= least:
        return scaled, [ratio]
    if loss(mean - middle, 1) <= least:
        return shifted, [mean - middle]
    return shifted + scaled, [mean - slope * middle, slope]


def _carried(
    slope: np.ndarray, values: np.ndarray, local: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Values and slope of an argument, None where too few rows have any."""
    slope = slope * local
    good = (np.abs(values) < _LARGEST) & (np.abs(slope) < _LARGEST) & (slope != 0)
    if good.mean() < _VALID:
        return None
    return np.where(good, values, 0.0), np.where(good, slope, 0.0)


def _unary(token: int, y: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """The argument for which a function is y, near the present one, and the derivative there."""
    sign = np.where(now < 0, -1.0, 1.0)
    if token == tok.NEG:
        return -y, -1.0
    if token == tok.INV:
        return 1 / y, -y * y
    if token == tok.SQUARE:
        u = sign * np.sqrt(y)
        return u, 2 * u
    if token == tok.CUBE:
        u = np.cbrt(y)
        return u, 3 * u * u
    if token == tok.SQRT:
        return np.where(y >= 0, y * y, np.nan), 0.5 / y
    if token == tok.EXP:
        return np.log(y), y
    if token == tok.LOG:
        u = np.exp(y)
        return u, 1 / u
    if token == tok.SIN:
        turns = np.round(now / np.pi)
        u = turns * np.pi + np.where(turns % 2, -1.0, 1.0) * np.arcsin(y)
        return u, np.cos(u)
    if token == tok.COS:
        turns = np.floor(now / np.pi)
        odd = turns % 2
        u = (turns + odd) * np.pi + np.where(odd, -1.0, 1.0) * np.arccos(y)
        return u, -np.sin(u)
    if token == tok.TAN:
        return np.arctan(y) + np.round(now / np.pi) * np.pi, 1 + y * y
    if token == tok.TANH:
        return np.arctanh(y), 1 - y * y
    if token == tok.ARCSIN:
        return np.where(np.abs(y) <= np.pi / 2, np.sin(y), np.nan), 1 / np.cos(y)
    if token == tok.ARCCOS:
        return np.where((y >= 0) & (y <= np.pi), np.cos(y), np.nan), -1 / np.sin(y)
    if token == tok.ARCTAN:
        return np.where(np.abs(y) < np.pi / 2, np.tan(y), np.nan), np.cos(y) ** 2
    if token == tok.ABS:
        return np.where(y >= 0, sign * y, np.nan), sign
    raise AssertionError(tok.NAMES[token])


def _first(token: int, y: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """The same of the first of two arguments."""
    if token == tok.ADD:
        return y - right, 1.0
    if token == tok.SUB:
        return y + right, 1.0
    if token == tok.MUL:
        return y / right, right
    if token == tok.DIV:
        return y * right, 1 / right
    if token == tok.POW:
        u = y ** (1 / right)
        return u, right * y / u
    raise AssertionError(tok.NAMES[token])


def _second(token: int, y: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """The same of the second of two arguments."""
    if token == tok.ADD:
        return y - left, 1.0
    if token == tok.SUB:
        return left - y, -1.0
    if token == tok.MUL:
        return y / left, left
    if token == tok.DIV:
        u = left / y
        return u, -y / u
    if token == tok.POW:
        return np.log(y) / np.log(left), y * np.log(left)
    raise AssertionError(tok.NAMES[token])
