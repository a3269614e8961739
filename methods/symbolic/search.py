"""What every search over skeletons shares: a pool that tries them on one problem.

A `Pool` drops skeletons it has seen, fits the constants of the others on few points, those that
look good on many, and keeps an `Archive`; at the end it polishes the best and chooses the answer by
description length.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lee_bench.expression import Expression, Number
from methods.symbolic import constants, programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import with_affine, without_affine
from methods.symbolic.archive import Archive, Entry, description_length, rank
from methods.symbolic.canonical import canonical_row
from methods.symbolic.fingerprint import fingerprints
from methods.symbolic.holes import Hole, fill
from methods.symbolic.pairs import Parts, subtrees
from methods.symbolic.polish import polish
from methods.symbolic.problem import Problem

SOLVED = 1e-10
"""1 - R2 below which clean data are explained exactly."""

_LONGEST_LAW = 20  # tokens; longer formulas that fit exactly are mostly pairs of stand-ins
_GAIN = 1.0  # nats by which a description must be shorter to count as a gain
_JUDGED = 48  # finds of shortest description of the rows for fits that all rows judge
_LEAST = 40_000  # skeletons without a gain before a search gives up
_PROBES = 32  # rows on which functions that agree count as the same
_TAKEN_APART = 16  # finds whose parts may join others


@dataclass(frozen=True, eq=False)
class Answer:
    """A formula of the final front.

    Attributes:
        formula: in original names and units.
        loss: mean squared error on all rows, in original units.
        nodes: raw node count.
        polished: whether there was time to polish it.
        description: its description length in nats, up to a constant of the data.
    """

    formula: Expression
    loss: float
    nodes: int
    polished: bool
    description: float


class Pool:
    """Skeletons tried on one problem.

    Every skeleton stands for its affine family: it is fitted with a free scale and a free offset
    around it, which variable projection makes cheap, and promising ones also with less.

    Args:
        problem: the data.
        keep: candidates kept per complexity.
        glance: points of the first fit.
        promising: most skeletons of a batch that are fitted on all points.
        threads: of the fits.
        seed: of the starts.
        patience: how many times as many skeletons as until the last gain are tried without another
            before a search gives up; 0 for no end.

    Attributes:
        archive: the best so far; losses are those on the problem's points and in its units.
        offered, tried: skeletons that came in, and those that were new.
    """

    def __init__(
        self,
        problem: Problem,
        keep: int = 4,
        glance: int = 128,
        promising: int = 64,
        threads: int | None = None,
        seed: int = 0,
        patience: float = 0.0,
    ) -> None:
        self.problem, self.archive = problem, Archive(keep)
        self.promising, self.threads = promising, threads
        self.patience = patience
        self.offered = self.tried = 0
        self._gain = math.inf, 0  # nats of the last gain, and so many offered
        self._solved_after: int | None = None  # so many offered
        self._nearly = max(SOLVED * problem.variance, problem.floor)  # loss that solves
        self._rng = np.random.default_rng(seed)
        self._seen: dict[int, int] = {}  # fingerprint -> shortest length
        self._losses: dict[int, float] = {}  # fingerprint -> loss of the first fit
        few = self._rng.permutation(len(problem.y))[:glance]
        # Drawn as well, because rows may lie in an order: of y, or of time.
        self._probes = problem.X[few[:_PROBES]]
        self._few = np.sort(few)
        self._parts = Parts(problem.X[self._few], problem.y[self._few], problem.weights[self._few])
        mean = np.average(problem.y, weights=problem.weights)
        self.archive.add(np.array([[tok.CONSTANT]]), np.array([[mean]]), [problem.variance])
        (self._mean,) = self.archive.entries()

    @property
    def best_loss(self) -> float:
        """Lowest loss so far, as a share of the variance of y."""
        return self._share(self.archive.best(1)[0])

    def _share(self, entry: Entry) -> float:
        return entry.loss / self.problem.variance if self.problem.variance > 0 else 0.0

    def ranked(self) -> list[Entry]:
        """The archive by description length of the rows for fits, shortest first."""
        entries = self.archive.entries()
        order = rank(entries, self.problem.observations, self.problem.floor)
        return [entries[i] for i in order]

    def offer(self, tokens: np.ndarray) -> int:
        """Try a batch of skeletons.

        Args:
            tokens: int64 (B, L), valid rows padded with PAD, over the problem's columns.

        Returns:
            How many of them were new.
        """
        return self._offer_cores(without_affine(tokens))

    def join(self, count: int) -> np.ndarray:
        """Try the best pairs of earlier finds, see `pairs`.

        Args:
            count: how many.

        Returns:
            The pairs, int64 (B, L), scale and offset taken off.
        """
        if count == 0:
            return np.zeros((0, 1), dtype=np.int64)
        for entry in self.ranked()[:_TAKEN_APART]:
            self._parts.add(*subtrees(entry))
        return self._offer_fitted([(p.tokens, p.constants) for p in self._parts.pairs(count)])

    def fill(self, places: Sequence[Hole], tokens: np.ndarray) -> np.ndarray:
        """Try skeletons as parts of earlier finds.

        Args:
            places: B holes, computed on the problem's rows.
            tokens: int64 (B, L), what to put there.

        Returns:
            The expressions that this makes (`holes.fill`), int64 (B', L'), scale and offset taken
            off.
        """
        p = self.problem
        made = fill(
            places, tokens, p.X, p.weights, self._few, rng=self._rng, threads=self.threads
        )  # fmt: skip
        return self._offer_fitted(made)

    def _offer_fitted(self, made: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Try expressions, (L,), from known constants, (K,); their cores, int64 (B, L)."""
        if not made:
            return np.zeros((0, 1), dtype=np.int64)
        made = [canonical_row(tokens, values) for tokens, values in made]
        cores = without_affine(tok.stack([row for row, _ in made]))
        # Scale and offset stand in front: the core's own constants are the last ones.
        counts = tok.count_constants(cores).tolist()
        inner = [c[len(c) - n :] for (_, c), n in zip(made, counts, strict=True)]
        self._offer_cores(cores, tok.stack_values(inner))
        return cores

    def _offer_cores(self, cores: np.ndarray, warm: np.ndarray | None = None) -> int:
        """Try those cores that are new, from constants (B, K) if there are any; their number."""
        self.offered += len(cores)
        index, keys = self._new(cores)
        self.tried += len(index)
        if len(index):
            self._try(cores[index], keys, None if warm is None else warm[index])
        return len(index)

    def _try(self, cores: np.ndarray, keys: list[int], warm: np.ndarray | None = None) -> None:
        """Fit new cores on few points, from constants given too; those that look good, on all."""
        if warm is not None:
            warm = np.pad(warm, ((0, 0), (2, 0)), constant_values=1.0)[:, None]
        fitted = self._fit(with_affine(cores), self._few, constants.Effort(starts=4), warm)
        self._losses.update(zip(keys, fitted.loss.tolist(), strict=True))
        inner = fitted.constants[:, 2:]
        self._parts.add(cores, inner)
        chosen = self._promising(tok.lengths(cores), fitted.loss)
        if len(chosen):
            self._add_family(cores[chosen], inner[chosen])

    def r2(self, tokens: np.ndarray) -> np.ndarray:
        """How well skeletons that were offered explain the points of the first fit.

        Args:
            tokens: (B, L).

        Returns:
            R2 of each with the best scale and offset found, float64 (B,), from 0 to 1; 0 where no
            value is known.
        """
        keys = self._keys(without_affine(tokens)).tolist()
        loss = np.array([self._losses.get(key, math.inf) for key in keys])
        variance = self.problem.variance
        return np.clip(1 - loss / variance, 0.0, 1.0) if variance > 0 else np.zeros(len(loss))

    def refit(self, tokens: np.ndarray, values: np.ndarray) -> None:
        """Fit candidates from given constants on all points and keep the good ones.

        Args:
            tokens: (B, L); values: starts (B, K).
        """
        fitted = self._fit(tokens, slice(None), constants.Effort(), values[:, None])
        self.archive.add(tokens, fitted.constants, fitted.loss)

    def _fit(
        self, tokens: np.ndarray, rows, effort: constants.Effort, warm: np.ndarray | None = None
    ) -> constants.Fit:
        p = self.problem
        return constants.fit(
            tokens,
            p.X[rows],
            p.y[rows],
            weights=p.weights[rows],
            warm=warm,
            effort=effort,
            seed=self._rng,
            threads=self.threads,
        )

    def _keys(self, cores: np.ndarray) -> np.ndarray:
        """Fingerprints (B,) of affine families."""
        return fingerprints(cores, X=self._probes, affine=True)

    def _new(self, cores: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Indices of rows whose affine family was not seen, or only in longer words; their keys."""
        index = np.flatnonzero(tok.IS_VARIABLE[cores].any(1))
        cores = cores[index]
        keys = self._keys(cores).tolist()
        kept = []
        for i, (key, n) in enumerate(zip(keys, tok.lengths(cores).tolist(), strict=True)):
            if n < self._seen.get(key, math.inf):
                self._seen[key] = n
                kept.append(i)
        return index[kept], [keys[i] for i in kept]

    def _promising(self, lengths: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Rows that come near the best of their length or shorter, the nearest first."""
        bar = np.full(int(lengths.max()) + 1, self.problem.variance)
        np.minimum.at(bar, lengths, loss)
        for entry in self.archive.front():
            if entry.complexity < len(bar):
                bar[entry.complexity] = min(bar[entry.complexity], entry.loss)
        bar = np.maximum(np.minimum.accumulate(bar), self.problem.floor)
        with np.errstate(over="ignore"):
            ratio = loss / bar[lengths]  # on few points: may be off by some ten per cent
        order = np.argsort(ratio, kind="stable")
        return order[ratio[order] < 1.5][: self.promising]

    def _add_family(self, cores: np.ndarray, inner: np.ndarray) -> None:
        """Fit f, C*f, C + f and C + C*f on all points."""
        for scaled, shifted in ((False, False), (True, False), (False, True), (True, True)):
            tokens = with_affine(cores, scaled, shifted)
            free = np.ones((len(cores), scaled + shifted))
            self.refit(tokens, np.concatenate([free, inner], axis=1))

    def solved(self) -> bool:
        """Whether a candidate explains all rows, 1 - R2 below `SOLVED`."""
        return self._lowest_loss() <= self._nearly

    def stop(self) -> str:
        """Why a search should end, asked after each round: "solved" or "no gain"; "" to go on.

        What has found the law under noise cannot know it; but from there on nothing shortens the
        description, while whatever approximates keeps gaining.
        """
        if self._explained():
            return "solved"
        nats = self._shortest()
        last, after = self._gain
        if nats < last - _GAIN:
            self._gain = nats, self.offered
        elif self.patience and self.offered - after >= max(_LEAST, self.patience * after):
            return "no gain"
        return ""

    def _shortest(self) -> float:
        """Description length of the first of `ranked`."""
        best, problem = self.ranked()[0], self.problem
        size = len(best.tokens), len(best.constants)
        return float(description_length(best.loss, *size, problem.observations, problem.floor))

    def _explained(self) -> bool:
        """Whether all is explained by what may be a law, but for rounding errors.

        A formula that solves and leaves more than that is a good approximation, and the law may be
        near it: as many skeletons again are tried first. A very long one ends no search.
        """
        loss = self._lowest_loss(_LONGEST_LAW)
        if loss > self._nearly:
            return False
        if self._solved_after is None:
            self._solved_after = self.offered
        return loss <= self.problem.floor or self.offered >= 2 * self._solved_after

    def _lowest_loss(self, longest: float = math.inf) -> float:
        """On all rows, of the entry of at most so many tokens that fits best; inf where that is far
        from solving.
        """
        short = (e for e in self.archive.entries() if len(e.tokens) <= longest)
        best = min(short, key=lambda e: e.loss)
        if not self._share(best) < SOLVED:
            return math.inf
        return self.problem.loss(self.problem.formula(best))

    def answers(self, deadline: float, most: int = 6) -> tuple[list[Answer], int]:
        """The front as formulas, simplest first, and the index of the chosen one.

        Args:
            deadline: value of `time.perf_counter()` by which polishing ends.
            most: candidates to polish, those of shortest description of all rows first.
        """
        problem = self.problem
        points = problem.all_observations

        def made(formula: Expression, polished: bool) -> Answer:
            nodes, loss = len(formula), problem.loss(formula)
            length = description_length(loss, nodes, 0, points, problem.floor)
            price = float(length) + digit_nats(formula)
            return Answer(formula, loss, nodes, polished, price)

        # The mean has the size of a lone variable but a constant more: the front may pass it over.
        front = dict.fromkeys([self._mean, *self.archive.front()])
        tried = {
            entry: made(problem.formula(entry), polished=False)
            for entry in dict.fromkeys([*self.ranked()[:_JUDGED], *front])
        }
        # All rows know more than those of the fits, and under noise it takes many to tell the law.
        entries = list(tried)
        on_all = [replace(entry, loss=tried[entry].loss) for entry in entries]
        best = [entries[i] for i in rank(on_all, points, problem.floor)[:most]]
        others = [entry for entry in front if entry not in best]
        answers = [tried[entry] for entry in [*best, *others]]
        for i in range(len(best)):
            if time.perf_counter() >= deadline:
                break
            done = polish(
                answers[i].formula,
                problem.all_X,
                problem.all_y,
                problem.all_names,
                weights=problem.all_weights,
                observations=points,
                deadline=deadline,
            )
            answers[i] = made(done.expression, polished=True)
        chosen = min(answers, key=lambda a: a.description)
        shown: list[Answer] = []
        for answer in sorted(answers, key=lambda a: (a.nodes, a.loss, not a.polished)):
            better = not shown or answer.loss < shown[-1].loss
            if answer is chosen or (better and chosen.formula != answer.formula):
                shown.append(answer)
        # Squares of large or small units leave the range of numbers, so they come last.
        unit = problem.y_unit
        told = [replace(answer, loss=answer.loss * unit * unit) for answer in shown]
        return told, shown.index(chosen)


def digit_nats(formula: Expression) -> float:
    """Price of the digits of a formula's numbers; the first of an integer is in its node's."""
    digits = 0
    for node in formula.nodes:
        if isinstance(node, Number):
            text = str(abs(node.value)).partition("e")[0].replace(".", "").strip("0")
            digits += max(1, len(text)) - isinstance(node.value, int)
    return digits * math.log(10)


def polishing(seconds: float) -> float:
    """How much of a time limit is left for polishing the answers."""
    return min(1.5, 0.2 * seconds)


def warm_up(threads: int = 1) -> None:
    """Compile or load every kernel that a search needs."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, size=(64, 2))
    y = 2 * X[:, 0] * X[:, 1] + 0.01 * rng.normal(size=64)
    pool = Pool(Problem(X, y, ("a", "b")), threads=threads)
    rows = ["* x0 x1", "sin * C x0", "+ x1 exp * C x0", "x0"]
    pool.offer(tok.stack([tok.encode(row) for row in rows]))
    pool.answers(math.inf)
    programs.evaluate(tok.encode("x0")[None], X.astype(np.float32))
