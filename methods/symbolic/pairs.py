"""Two finds make a third: sums, products and quotients of earlier finds, all of them looked at.

A law is often found in parts before it is found whole. Which two of N finds, with a scale for each
and an offset, explain the target best need not be searched for: least squares has a closed form,
and the inner products that it takes, of all pairs at once, are products of N x n matrices. So a
hundred thousand pairs are ranked in the time of a few fits, and only the best are fitted.

    y = a + b f + c g        from <f, g>, <f, y>, <g, y>
    y = a + b f g            from <f, g>, <f^2, g^2>, <f y, g>; f / g likewise, with 1 / g

The same goes for functions of pairs whose inverse can be applied to y: 1/y, y^2, 1/y^2, log y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from methods.symbolic import programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.archive import TOKEN_NATS, Archive, Entry
from methods.symbolic.subtrees import spans

_EVEN = 1e-6  # deviation, as a share of the greatest value, below which a column is constant


@dataclass(frozen=True, eq=False)
class _Around:
    """A function around a pair: its tokens, the inverse, and whether y must have one sign for it.

    Of a + b (pair), the identity needs nothing, exp the scale, the others the offset.
    """

    tokens: tuple[int, ...]
    inverse: Callable[[np.ndarray], np.ndarray]
    one_sign: bool = False


_IDENTITY = _Around((), lambda y: y)
_EXP = _Around((tok.EXP,), np.log, one_sign=True)
_AROUND = (
    _IDENTITY,
    _Around((tok.INV,), lambda y: 1 / y),
    _Around((tok.SQRT,), np.square, one_sign=True),
    _Around((tok.INV, tok.SQRT), lambda y: 1 / np.square(y), one_sign=True),
    _EXP,
)


@dataclass(frozen=True, eq=False)
class Pair:
    """A skeleton, int64 (L,), and its constants (K,)."""

    tokens: np.ndarray
    constants: np.ndarray


class Parts:
    """What pairs are made of: the best finds of each length, and their values.

    Args:
        X: float64 (n, d), rows at which finds are compared.
        y: float64 (n,).
        weights: of the rows, (n,).
        keep: finds of each length.
        longest: tokens of the longest that is kept.
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray, weights: np.ndarray, keep: int = 16, longest: int = 20
    ) -> None:
        self._X, self._y, self._w = X, y, weights / weights.sum()
        self._finds = Archive(keep, longest)
        self._longest = longest
        self._values: dict[Entry, np.ndarray] = {}  # of the finds that were paired already
        self._targets = list(self._transformed())
        variables = np.arange(X.shape[1])[:, None] + tok.FIRST_VARIABLE
        self.add(variables, np.zeros((len(variables), 0)))

    def _transformed(self) -> Iterator[tuple[_Around, np.ndarray]]:
        """Functions around a pair, and what the pair should be for them: (n,), of variance 1."""
        y = self._y / (np.abs(self._y).max(initial=0) or 1.0)
        for around in _AROUND:
            if around.one_sign and not ((y > 0).all() or (y < 0).all()):
                continue
            with np.errstate(all="ignore"):
                target = around.inverse(np.abs(y) if around.one_sign else y)
                spread = np.sqrt(self._w @ np.square(target - self._w @ target))
                target = target / spread
            if np.isfinite(target).all():
                yield around, target

    def add(self, tokens: np.ndarray, constants: np.ndarray) -> None:
        """Keep what is among the best of its length.

        Args:
            tokens: (B, L); constants: (B, K), a row's values first.
        """
        lengths = tok.lengths(tokens)
        some = np.flatnonzero((lengths <= self._longest) & tok.IS_VARIABLE[tokens].any(1))
        if not len(some):
            return
        tokens, constants = tokens[some][:, : self._longest], constants[some]
        standard, spread = self._standardised(self._evaluated(tokens, constants))
        # A part of a sum need not explain y by itself, but what explains more is likelier one.
        explained = np.zeros(len(some))
        for _, target in self._targets:
            explained = np.maximum(explained, np.square(standard @ (self._w * target)))
        loss = np.where(spread > 0, 1 - explained, np.inf)
        self._finds.add(tokens, constants, loss, lengths[some])

    def _evaluated(self, tokens: np.ndarray, constants: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return programs.evaluate(tokens, self._X, constants)

    def _standardised(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of mean 0 and variance 1, zeros where that cannot be; their deviation before."""
        with np.errstate(all="ignore"):
            centred = values - (values @ self._w)[:, None]
            spread = np.sqrt(np.square(centred) @ self._w)
            good = np.isfinite(spread) & (spread > _EVEN * np.abs(values).max(1))
            standard = np.where(good[:, None], centred / spread[:, None], 0.0)
        return standard, np.where(good, spread, 0.0)

    def pairs(self, count: int) -> list[Pair]:
        """The best pairs of which at least one find is new since the last call.

        Args:
            count: at most so many, shared by the functions that may stand around them.
        """
        finds, known = self._refreshed()
        if known.all() or count < len(self._targets) or not self._targets:
            return []
        F = np.array(list(self._values.values()))
        F = F / np.abs(F).max(1, keepdims=True)
        lengths = np.array([len(f.tokens) for f in finds])
        length = TOKEN_NATS * np.add.outer(lengths, lengths)
        length[np.logical_and.outer(known, known)] = np.inf
        kinds = [
            _Sums(self._standardised(F)[0], self._w),
            _Products(F, F, self._w, tok.MUL),
            _Products(F, _inverse(F), self._w, tok.DIV),
        ]
        made: list[Pair] = []
        share = count // len(self._targets)
        for around, target in self._targets:
            with np.errstate(all="ignore"):
                missed = np.stack([1 - kind.explained(target) for kind in kinds])
                price = len(target) / 2 * np.log(np.maximum(missed, 1e-14)) + length
            price[np.isnan(price)] = np.inf
            for kind, i, j in _cheapest(price, missed, share):
                made.append(self._made(around, target, kinds[kind], finds[i], finds[j]))
        return made

    def _refreshed(self) -> tuple[list[Entry], np.ndarray]:
        """All finds, and which of them were paired before: their values are up to date then."""
        finds = self._finds.entries()
        known = np.array([f in self._values for f in finds], dtype=bool)
        new = [f for f, k in zip(finds, known, strict=True) if not k]
        if new:
            constants = tok.stack_values([f.constants for f in new])
            values = self._evaluated(tok.stack([f.tokens for f in new]), constants)
            self._values.update(zip(new, values, strict=True))
        self._values = {f: self._values[f] for f in finds}
        return finds, known

    def _made(
        self, around: _Around, target: np.ndarray, kind: _Sums | _Products, f: Entry, g: Entry
    ) -> Pair:
        """around(a + b f + c g) or around(a + b f g), as far as scale and offset count inside."""
        u, v = self._values[f], self._values[g]
        columns = np.array([np.ones(len(u)), *kind.columns(u, v)])
        # Of equal size, or else what is small beside the largest would be taken for nothing.
        size = np.maximum(np.abs(columns).max(1), np.finfo(np.float64).tiny)
        root = np.sqrt(self._w)
        scaled = (columns / size[:, None] * root).T
        a, b, *c = np.linalg.lstsq(scaled, target * root, rcond=None)[0] / size
        b = b or 1.0
        constants = [*f.constants, *(np.array(c) / b), *g.constants]
        head: list[int] = []
        if around is _EXP:
            head, constants = [tok.MUL, tok.CONSTANT], [b, *constants]
        elif around is not _IDENTITY:
            head, constants = [tok.ADD, tok.CONSTANT], [a / b, *constants]
        scale = [tok.MUL, tok.CONSTANT] if c else []
        tokens = [*around.tokens, *head, kind.operator, *f.tokens, *scale, *g.tokens]
        return Pair(np.array(tokens), np.array(constants))


def _cheapest(price: np.ndarray, missed: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """Indices of the lowest finite prices; of those that miss as much, which are one function
    divided in different places, the first.
    """
    some = np.argpartition(price, min(4 * count, price.size - 1), axis=None)[: 4 * count]
    some = some[np.argsort(price.ravel()[some], kind="stable")]
    some = some[np.isfinite(price.ravel()[some])]
    same = np.round(np.log(np.maximum(missed.ravel()[some], 1e-14)), 6)
    first = np.unique(same, return_index=True)[1]
    best = some[np.sort(first)[:count]]
    return list(zip(*(at.tolist() for at in np.unravel_index(best, price.shape)), strict=True))


def subtrees(find: Entry) -> tuple[np.ndarray, np.ndarray]:
    """All parts of a find but single tokens and itself, or itself if there are none: tokens (B, L),
    constants (B, K).
    """
    parts = [span for span in spans(find.tokens)[1:] if span[1] - span[0] > 1]
    if not parts:
        return find.tokens[None], find.constants[None]
    rows = [find.tokens[start:stop] for start, stop, _, _ in parts]
    return tok.stack(rows), tok.stack_values([find.constants[a:b] for _, _, a, b in parts])


class _Sums:
    """R2 of a + b f + c g for all pairs of standardised rows S (N, n)."""

    operator = tok.ADD

    def __init__(self, S: np.ndarray, w: np.ndarray) -> None:
        self._S, self._w = S, w
        self._G = (S * w) @ S.T
        rest = 1 - np.square(self._G)
        # Of each pair once; and two that are nearly the same tell nothing by their difference.
        self._rest = np.where(np.triu(rest, 1) > 1e-6, rest, np.nan)

    def explained(self, target: np.ndarray) -> np.ndarray:
        r = self._S @ (self._w * target)
        return (np.add.outer(r * r, r * r) - 2 * np.outer(r, r) * self._G) / self._rest

    @staticmethod
    def columns(f: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
        return [f, g]


class _Products:
    """R2 of a + b f g for all pairs of rows of F (N, n) and G (N, n), which is F or 1 / F."""

    def __init__(self, F: np.ndarray, G: np.ndarray, w: np.ndarray, operator: int) -> None:
        self._F, self._G, self._w = F, G, w
        self.operator = operator
        square = (np.square(F) * w) @ np.square(G).T
        variance = square - np.square((F * w) @ G.T)
        if operator == tok.MUL:
            variance = np.triu(variance)  # f * f is a pair, f / f is not
        self._variance = np.where(variance > 1e-6 * square, variance, np.nan)

    def explained(self, target: np.ndarray) -> np.ndarray:
        centred = self._w * (target - self._w @ target)
        return np.square((self._F * centred) @ self._G.T) / self._variance

    def columns(self, f: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
        return [f * g if self.operator == tok.MUL else f / g]


def _inverse(F: np.ndarray) -> np.ndarray:
    """1 / f, its greatest value 1; zeros, which explain nothing, where f comes near 0."""
    least = np.abs(F).min(1, keepdims=True)
    return np.where(least > 1e-4, least / np.where(F == 0, 1.0, F), 0.0)
