"""The best candidates found so far, by complexity, and the choice of one as the answer.

The answer is the candidate with the shortest description: of the data given the formula, and of
the formula. With Gaussian noise of unknown size the first part is n/2 log(mse) nats (the noise is
estimated from each candidate's own residuals), and the second a price for each token and each
fitted constant (Rissanen 1978, doi:10.1016/0005-1098(78)90005-5; in symbolic regression: Bartlett,
Desmond, Ferreira 2023, arXiv:2211.11461).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from methods.symbolic import vocabulary as tok

TOKEN_NATS = math.log(20)
"""Price of a token: about 20 of them are possible at each place of a formula in few variables. It
is also what keeps the best of many thousand tried formulas from winning by luck."""

PRECISION = 1e-10
"""Residuals below this share of the target's spread are rounding errors, not evidence."""

_SAME = 1e-9  # relative difference of losses


def noise_floor(y: np.ndarray) -> float:
    """Mean squared error below which a fit to targets y (n,) counts as exact."""
    y = np.asarray(y, dtype=np.float64)
    rounding = 8 * np.finfo(np.float64).eps * np.abs(y).max(initial=0)
    return float(max(PRECISION * y.std(), rounding, np.finfo(np.float64).tiny ** 0.5) ** 2)


def description_length(
    loss: np.ndarray, tokens: np.ndarray, constants: np.ndarray, points: float, floor: float
) -> np.ndarray:
    """Nats needed for the data and the formula, up to a constant of the data.

    Args:
        loss: mean squared errors on the same points, (...).
        tokens: numbers of tokens, (...).
        constants: numbers of fitted constants, (...).
        points: observations that they stand for.
        floor: loss that counts as exact, see `noise_floor`.
    """
    loss = np.where(np.isfinite(loss), loss, np.inf)
    data = points / 2 * np.log(loss + floor)
    return data + TOKEN_NATS * np.asarray(tokens) + np.asarray(constants) * math.log(points) / 2


@dataclass(frozen=True, eq=False)
class Entry:
    """A fitted candidate.

    Attributes:
        tokens: prefix row without padding, int64 (L,).
        constants: values of its placeholders, float64 (K,).
        loss: mean squared error.
        complexity: what the archive sorts by; tokens and constants together by default.
    """

    tokens: np.ndarray
    constants: np.ndarray
    loss: float
    complexity: int


class Archive:
    """The `keep` best candidates of each complexity; a skeleton occurs once, at its best fit.

    Two of one complexity whose losses agree to nine digits count as the same function in different
    dress; the first stays.

    Args:
        keep: candidates per complexity. 1 is a front; more keep what a search can build on.
        max_complexity: more complex candidates are not kept.
    """

    def __init__(self, keep: int = 1, max_complexity: int = 100) -> None:
        self.keep = keep
        self._entries: list[list[Entry]] = [[] for _ in range(max_complexity + 1)]
        # Loss a newcomer has to beat, by complexity: it sends most candidates away unread.
        self._limit = np.full(max_complexity + 1, np.inf)

    def __len__(self) -> int:
        return sum(map(len, self._entries))

    def add(
        self,
        tokens: np.ndarray,
        constants: np.ndarray,
        loss: np.ndarray,
        complexity: np.ndarray | None = None,
    ) -> np.ndarray:
        """Offer a batch.

        Args:
            tokens: padded prefix rows, (B, L).
            constants: (B, K); a row's values stand first.
            loss: mean squared errors, (B,), comparable between calls. Not finite: sent away.
            complexity: (B,) integers. By default tokens plus constants: a fitted number describes
                more than a token, and must not drive out a formula that does without.

        Returns:
            Which candidates are in the archive now, bool (B,).
        """
        tokens, loss = np.asarray(tokens), np.asarray(loss, dtype=np.float64)
        if complexity is None:
            complexity = tok.lengths(tokens) + tok.count_constants(tokens)
        complexity = np.asarray(complexity)
        fits = np.isfinite(loss) & (complexity < len(self._limit))
        fits[fits] = loss[fits] < self._limit[complexity[fits]]
        taken = np.zeros(len(tokens), dtype=bool)
        order = np.flatnonzero(fits)
        for i in order[np.argsort(loss[order], kind="stable")].tolist():
            c = int(complexity[i])
            if not loss[i] < self._limit[c]:
                continue
            row = tokens[i][tokens[i] != tok.PAD]
            held = self._entries[c]
            if any(abs(e.loss - loss[i]) <= _SAME * e.loss for e in held):
                continue
            same = next((e for e in held if np.array_equal(e.tokens, row)), None)
            if same is not None:
                if same.loss <= loss[i]:
                    continue
                held.remove(same)
            values = np.array(constants[i][: tok.count_constants(row)], dtype=np.float64)
            held.append(Entry(row.astype(np.int64), values, float(loss[i]), c))
            held.sort(key=lambda e: e.loss)
            del held[self.keep :]
            if len(held) == self.keep:
                self._limit[c] = held[-1].loss
            taken[i] = True
        return taken

    def entries(self) -> list[Entry]:
        """Everything kept, by complexity, then loss."""
        return [entry for held in self._entries for entry in held]

    def best(self, count: int) -> list[Entry]:
        """The `count` entries of lowest loss."""
        return sorted(self.entries(), key=lambda e: (e.loss, e.complexity))[:count]

    def front(self) -> list[Entry]:
        """The entries that no simpler or equally simple one matches, simplest first."""
        front: list[Entry] = []
        for held in self._entries:
            if held and (not front or held[0].loss < front[-1].loss):
                front.append(held[0])
        return front


def rank(entries: Sequence[Entry], points: float, floor: float) -> np.ndarray:
    """Order entries by description length, shortest first: indices, int64 (len(entries),)."""
    return np.argsort(
        description_length(
            np.array([e.loss for e in entries]),
            np.array([len(e.tokens) for e in entries]),
            np.array([len(e.constants) for e in entries]),
            points,
            floor,
        ),
        kind="stable",
    )
