"""LEE's inference: decode, keep what fits, read it again beside the data, step on z, decode again.

Each round embeds some bags of points, writes some expressions from each z, and offers all of them
to a `Pool`, as every search over skeletons does; so methods are compared by what they offer. A z
comes from one of four sources:

- *data*: a fresh bag alone, the network's first estimate;
- *candidate*: a fresh bag beside an earlier find, fitted constants and prediction included. Finds
  are drawn by rank of description length, without repetition: many different ones in each round,
  because a search that reads its best find alone stays there;
- either of them *stepped*: improved by gradient steps on z, so that the evaluation decoder agrees
  with observations beyond the bag.

From each z some expressions are written in full, and some keep a find but for one part, which is
*rewritten*: a find is often right in all but one. It is the find that z has read, or else any.
And some parts are asked for by themselves: a bag of what the part has to compute for its find to be
right, the *desired* values (`methods.symbolic.holes`), is read like any bag of y.

Mutations of finds may be offered beside the decodes (`Refinement.mutants`), and pairs of finds, as
every search does (`Refinement.pairs`).

How many expressions a round decodes does not depend on the shares of the sources, and the first
round is the same for all; so with shares of zero one-shot sampling, re-encoding, gradient steps and
both can be compared, at equal numbers of decodes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from methods.lee.config import Refinement
from methods.lee.model import LEE, Embedding
from methods.lee.mutations import mutate
from methods.network import features
from methods.network.candidates import Candidates
from methods.network.decoder import Part
from methods.network.observations import Observations
from methods.symbolic import programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import without_affine
from methods.symbolic.holes import Hole, holes
from methods.symbolic.problem import Problem
from methods.symbolic.search import Pool
from methods.training import computing, fast_dtype

_MARGIN = 1.25  # a round takes longer, a decode, than the last: it reads more, steps more
SOURCES = (
    "data", "candidate", "data, stepped", "candidate, stepped", "rewritten", "desired", "mutant",
    "pair",
)  # fmt: skip


@dataclass(frozen=True)
class Round:
    """What a round did.

    Attributes:
        index: 0 for the first.
        seconds: it took.
        decodes: expressions written; all are offered to the pool but parts that make their find too
            long, or that nothing can be fitted to.
        new: those of them whose function was new.
        temperature: at which they were written.
        r2, length: of the find of shortest description so far, on the problem's rows; its tokens.
        best_r2: highest so far.
        sources: what was offered, by source; mutants and pairs come beside the decodes.
        kept: entries that came into the archive and stayed, by source; all that can be told of
            a source's worth, as its finds also feed the others.
    """

    index: int
    seconds: float
    decodes: int
    new: int
    temperature: float
    r2: float
    length: int
    best_r2: float
    sources: Mapping[str, int]
    kept: Mapping[str, int]


class Search:
    """Refinement of the estimate for one problem.

    Results depend on the seed and the number of rounds; on the clock only where a last round is cut
    to the time that is left.

    Args:
        model: in eval mode; decodes on its own device, in the precision that is fast there.
        problem: the data.
        settings: how to search.
        threads: of the fits; what torch uses is the caller's to set.
        seed: of bags, choices and samples.
        start: expressions to start from, token rows over the problem's columns. They are tried
            first, and read in the first round, if they are short enough for the network.

    Attributes:
        pool: all that was found.
        history: the rounds so far.
        temperature: of the next round.
    """

    def __init__(
        self,
        model: LEE,
        problem: Problem,
        settings: Refinement | None = None,
        *,
        threads: int = 1,
        seed: int = 0,
        start: Sequence[np.ndarray] = (),
    ) -> None:
        self.model, self.problem, self.threads = model, problem, threads
        self.settings = settings or Refinement()
        self.pool = Pool(problem, threads=threads, seed=seed, patience=self.settings.patience)
        self.history: list[Round] = []
        self.temperature = self.settings.temperature
        self._device = next(model.parameters()).device
        self._dtype = fast_dtype(self._device)
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._observations = Observations(problem, self.settings.bag, self._device)
        self._starts = len(start)
        if len(start):
            self.pool.offer(tok.stack(start))

    def run(
        self,
        deadline: float,
        *,
        max_rounds: int = 0,
        watch: Callable[[Round], None] | None = None,
    ) -> str:
        """Search round by round; may be called again to go on.

        Args:
            deadline: value of `time.perf_counter()` by which to end. A round is cut to the time
                that is left, judged by the last one; the first is whole.
            max_rounds: rounds, in all, after which to stop; 0 for none.
            watch: called after each round.

        Returns:
            Why it ended: "solved", "no gain", "round limit" or "time limit".
        """
        s = self.settings
        while not (ended := self.pool.stop()):
            rounds = len(self.history)
            if rounds and rounds == max_rounds:
                return "round limit"
            wanted = decodes = min(s.decodes, s.first << min(rounds, 20))
            if rounds:
                last = self.history[-1]
                each = _MARGIN * last.seconds / last.decodes
                decodes = int(min(wanted, (deadline - time.perf_counter()) / each))
                if decodes < min(wanted, s.samples):
                    return "time limit"
            self.history.append(self._round(decodes, math.ceil(s.pairs * decodes / wanted)))
            if watch is not None:
                watch(self.history[-1])
        return ended

    def _round(self, decodes: int, joined: int) -> Round:
        begin, s, pool = time.perf_counter(), self.settings, self.pool
        temperature = self.temperature
        finds, before, tried = self._finds(), set(pool.archive.entries()), pool.tried
        places = self._holes(math.floor(s.desired * decodes / s.samples))
        filled = self._filled(places)
        offered = [(filled, np.full(len(filled), SOURCES.index("desired")))]
        rest = decodes - len(places) * s.samples
        embedding, read, source = self._embeddings(math.ceil(rest / s.samples), finds)
        tokens, rewritten = self._write(embedding, read, finds)
        source = np.where(rewritten, SOURCES.index("rewritten"), source.repeat(s.samples))
        offered.append((tokens[:rest], source[:rest]))
        pool.offer(tokens[:rest])
        new = pool.tried - tried
        if new < s.scarce * decodes:
            self.temperature = min(1.05 * self.temperature, s.hottest)
        if s.mutants:
            mutants = self._mutated(round(s.mutants * decodes))
            pool.offer(mutants)
            offered.append((mutants, np.full(len(mutants), SOURCES.index("mutant"))))
        pairs = pool.join(joined)
        offered.append((pairs, np.full(len(pairs), SOURCES.index("pair"))))
        entries = pool.ranked()
        best = entries[0]
        kept = _writers([e.tokens for e in entries if e not in before], offered)
        variance = self.problem.variance or 1.0
        return Round(
            index=len(self.history),
            seconds=time.perf_counter() - begin,
            decodes=decodes,
            new=new,
            temperature=temperature,
            r2=1 - best.loss / variance,
            length=len(best.tokens),
            best_r2=1 - pool.best_loss,
            sources=_by_source(np.concatenate([source for _, source in offered])),
            kept=_by_source(kept),
        )

    def _embeddings(self, count: int, finds: _Finds) -> tuple[Embedding, np.ndarray, np.ndarray]:
        """Some z.

        Returns:
            z; the finds that they have read, int64 (count, L), PAD for those that read data alone;
            and the source of each, an index of SOURCES (count,).
        """
        s = self.settings
        least = 0 if self.history else self._starts
        given = min(count, max(round(s.reencoded * count), least)) if len(finds) else 0
        read = np.full((count, finds.cores.shape[1]), tok.PAD)
        with torch.no_grad(), computing(self._device, self._dtype):
            parts = []
            if given < count:
                parts.append(self._embed(count - given))
            if given:
                candidates = self._drawn(given, finds)
                read[-given:, : candidates.tokens.shape[1]] = candidates.tokens.cpu()
                parts.append(self._embed(given, candidates))
            embedding = Embedding.join(parts)
        candidate = np.arange(count) >= count - given
        place = np.arange(count) * s.stepped % 1 + s.stepped >= 1  # spread over both kinds
        stepped = np.flatnonzero(place if self.history else np.zeros(count, dtype=bool))
        if len(stepped):
            embedding.z[stepped] = self._step(embedding[stepped])
        source = candidate.astype(np.int64)
        source[stepped] += 2
        return embedding, read, source

    def _holes(self, count: int) -> list[Hole]:
        """A hole in each of some finds, drawn by rank as those that are read; fewer where there
        are not so many.
        """
        entries, problem = self.pool.ranked(), self.problem
        places: list[Hole] = []
        for i in _by_rank(len(entries), len(entries), self._rng, replace=False):
            if len(places) == count:
                break
            entry = entries[i]
            if some := list(holes(entry.tokens, entry.constants, problem.X, problem.y)):
                places.append(some[self._rng.integers(len(some))])
        return places

    def _filled(self, places: list[Hole]) -> np.ndarray:
        """Offer finds with parts that are written from what they have to compute.

        Returns:
            `samples` for each hole, but for those that cannot be, int64 (B, L).
        """
        if not places:
            return np.zeros((0, 1), dtype=np.int64)
        seen, each = self._observations, self.settings.samples
        values = torch.from_numpy(np.array([hole.values for hole in places])).to(seen.y)
        with np.errstate(divide="ignore"):
            log_slope = np.log(np.abs([hole.slope for hole in places]))
        bags = seen.bags(len(places), self._rng, log_slope)
        with torch.inference_mode(), computing(self._device, self._dtype):
            embedding = self.model.embed(
                seen.X[bags], values.gather(1, bags), seen.numbers(len(places))
            )
            tokens, _ = self.model.expression.sample(
                embedding.z,
                embedding.variables,
                each=each,
                temperature=self.temperature,
                generator=self._generator,
            )
        return self.pool.fill([hole for hole in places for _ in range(each)], tokens.cpu().numpy())

    def _embed(self, count: int, candidates: Candidates | None = None) -> Embedding:
        """Read fresh bags, each beside one of `count` candidates given at all rows, or alone."""
        seen = self._observations
        bags = seen.bags(count, self._rng)
        if candidates is not None:
            candidates = replace(candidates, prediction=candidates.prediction.gather(1, bags))
        return self.model.embed(seen.X[bags], seen.y[bags], seen.numbers(count), candidates)

    def _finds(self) -> _Finds:
        """What in the archive can be read."""
        entries = self.pool.ranked()
        cores = without_affine(tok.stack([e.tokens for e in entries]))
        first = np.sort(np.unique(cores, axis=0, return_index=True)[1])
        short = tok.lengths(cores[first]) <= self.model.config.max_length
        rows = first[short & tok.IS_VARIABLE[cores[first]].any(1)]
        # Scale and offset stand in front: the core's own constants are the last ones.
        counts = tok.count_constants(cores[rows]).tolist()
        fitted = (entries[i].constants for i in rows.tolist())
        inner = [c[len(c) - n :] for c, n in zip(fitted, counts, strict=True)]
        return _Finds(cores[rows], inner)

    def _drawn(self, count: int, finds: _Finds) -> Candidates:
        """Some of the finds as the network reads them, predictions at all rows."""
        picked = finds.drawn(min(count, len(finds)), self._rng, replace=False)
        picked = np.resize(picked, count)
        cores = finds.cores[picked]
        cores = cores[:, : tok.lengths(cores).max()]
        constants = np.zeros(cores.shape)
        for row, i in zip(constants, picked, strict=True):
            row[: len(finds.constants[i])] = finds.constants[i]
        problem = self.problem
        values = programs.evaluate(cores, problem.X, constants, threads=self.threads)
        arrays = cores, constants, best_affine(values, problem.y, problem.weights)
        tokens, constants, prediction = (torch.from_numpy(a).to(self._device) for a in arrays)
        guess = torch.ones(count, dtype=torch.bool, device=self._device)
        return Candidates(tokens, constants.float(), prediction.float(), guess)

    def _mutated(self, count: int) -> np.ndarray:
        """Mutations of finds, int64 (count, max_length); none where there are no finds."""
        finds = self._finds()
        room = self.model.config.max_length
        rows = np.full((count if len(finds) else 0, room), tok.PAD)
        if len(rows):
            cores = finds.cores[finds.drawn(count, self._rng)][:, :room]
            rows[:, : cores.shape[1]] = cores
        return mutate(rows, np.full(len(rows), len(self.problem.columns)), self._rng)

    def _step(self, embedding: Embedding) -> Tensor:
        """z after gradient steps towards what is observed, float32 (B, z_tokens, z_width)."""
        s, B, seen = self.settings, len(embedding.z), self._observations
        some = torch.from_numpy(self._rng.permutation(len(seen.y))[: s.observations])
        X = seen.X[some].expand(B, -1, -1)
        target = features.placed(seen.y[some].expand(B, -1), embedding.scales.y)
        start = embedding.z.float()
        z = start.clone().requires_grad_()
        adam = torch.optim.Adam([z], lr=s.step_size)
        for _ in range(s.steps):
            with computing(self._device, self._dtype):
                values = self.model.values(replace(embedding, z=z), X)
            error = functional.smooth_l1_loss(values, target, reduction="none").mean(1)
            loss = error.sum() + s.pull * (z - start).square().mean((1, 2)).sum()
            (z.grad,) = torch.autograd.grad(loss, [z])
            adam.step()
        return functional.rms_norm(z.detach(), (z.shape[-1],))

    def _write(
        self, embedding: Embedding, read: np.ndarray, finds: _Finds
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expressions sampled from each z in turn.

        Args:
            embedding: z.
            read: what they have read, see `_embeddings`.
            finds: what the others may rewrite.

        Returns:
            tokens, int64 (B, max_length), and which of them are rewritten finds, bool (B,).
        """
        s = self.settings
        place = np.tile(np.arange(s.samples), len(read))
        given = read.repeat(s.samples, 0)
        rewritten = place < round(s.rewritten * s.samples) * bool(len(finds))
        other = rewritten & (given[:, 0] == tok.PAD)
        if other.any():
            given[other] = finds.cores[finds.drawn(other.sum(), self._rng)]
        given[~rewritten] = np.where(np.arange(given.shape[1]), tok.PAD, tok.CONSTANT)
        # Any part but the whole, if there is one; of what is no find, all.
        length = tok.lengths(given)
        start = (1 + self._rng.random(len(given)) * (length - 1)).astype(np.int64)
        start = np.where(rewritten, np.minimum(start, length - 1), 0)
        with torch.inference_mode(), computing(self._device, self._dtype):
            tokens, _ = self.model.expression.sample(
                embedding.z,
                embedding.variables,
                each=s.samples,
                temperature=self.temperature,
                generator=self._generator,
                part=Part.of(given, start, self._device),
            )
        return tokens.cpu().numpy(), rewritten


@dataclass(frozen=True, eq=False)
class _Finds:
    """Entries of the archive, shortest description first.

    Attributes:
        cores: without scale and offset, int64 (N, L).
        constants: those inside each core.
    """

    cores: np.ndarray
    constants: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.cores)

    def drawn(self, count: int, rng: np.random.Generator, *, replace: bool = True) -> np.ndarray:
        """Indices of some of them."""
        return _by_rank(len(self), count, rng, replace=replace)


def _by_rank(
    finds: int, count: int, rng: np.random.Generator, *, replace: bool = True
) -> np.ndarray:
    """Ranks of some finds, the chance of each one over its rank, so that none is out of reach."""
    chances = 1 / np.arange(1, finds + 1)
    return rng.choice(finds, count, replace=replace, p=chances / chances.sum())


def best_affine(values: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """a + b * values, a and b of least squared error, in each row; b is 0 where values overflow.

    Args:
        values: (B, N); y, weights: (N,).

    Returns:
        (B, N)
    """
    share = weights / weights.sum()
    with np.errstate(all="ignore"):
        deviation = values - (values @ share)[:, None]
        size = np.abs(deviation).max(1, keepdims=True)
        deviation = np.where(size > 0, deviation / size, 0.0)  # squares of large values overflow
        mean = y @ share
        slope = deviation @ (share * (y - mean)) / np.maximum(deviation**2 @ share, 1e-300)
        return mean + slope[:, None] * deviation


def _writers(finds: list[np.ndarray], offered: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The sources of the expressions, of all that were offered, that became these finds."""
    written: dict[bytes, int] = {}
    for tokens, source in offered:
        for row, code in zip(without_affine(tokens), source.tolist(), strict=True):
            written.setdefault(row[row != tok.PAD].tobytes(), code)
    cores = [core[core != tok.PAD] for core in (without_affine(row[None])[0] for row in finds)]
    return np.array([written[core.tobytes()] for core in cores], dtype=np.int64)


def _by_source(source: np.ndarray) -> dict[str, int]:
    counts = np.bincount(source, minlength=len(SOURCES)).tolist()
    return {name: n for name, n in zip(SOURCES, counts, strict=True) if n}
