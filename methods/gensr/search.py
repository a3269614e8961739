"""GenSR's inference: z evolves from the prior's Gaussian towards formulas that fit.

Each generation is decoded, all its expressions are offered to a `Pool`, as every search over
skeletons does, and a z is worth the best of what was written from it: R2 less a price for each
token. An evolution starts from p(z | X) of a bag of points; part of its first generation are the
means for noisy bags, so that it does not hang on one bag. When an evolution stops before the search
does, another begins from a fresh bag.

With `evolve` off every generation is drawn like a first one, so what evolution adds can be measured
at equal numbers of decodes; so can the adaptation of variances, and the top-k rule (`Strategy`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from methods.gensr.config import SearchConfig
from methods.gensr.evolution import Evolution
from methods.gensr.model import Gaussian, GenSR
from methods.network.observations import Observations
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import without_affine
from methods.symbolic.problem import Problem
from methods.symbolic.search import Pool
from methods.training import computing, fast_dtype


@dataclass(frozen=True)
class Generation:
    """What a generation did.

    Attributes:
        index: 0 for the first of the search.
        evolution: to which evolution it belongs, 0 for the first.
        seconds: it took.
        decodes: expressions written, all of them offered to the pool.
        new: those of them whose function was new.
        fitness, typical: of the best individual, and the median.
        step: step size after it.
        r2, length: of the find of shortest description so far, on the problem's rows; its tokens.
        best_r2: highest so far.
    """

    index: int
    evolution: int
    seconds: float
    decodes: int
    new: int
    fitness: float
    typical: float
    step: float
    r2: float
    length: int
    best_r2: float


class Search:
    """Evolution of z for one problem.

    Results depend on the seed and the number of generations, not on the clock.

    Args:
        model: in eval mode; decodes on its own device, in the precision that is fast there.
        problem: the data.
        settings: how to search.
        threads: of the fits; what torch uses is the caller's to set.
        seed: of bags, evolution and samples.

    Attributes:
        pool: all that was found.
        history: the generations so far.
        stops: why evolutions ended, and how often.
    """

    def __init__(
        self,
        model: GenSR,
        problem: Problem,
        settings: SearchConfig | None = None,
        *,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.model, self.problem = model, problem
        self.settings = settings or SearchConfig()
        self.pool = Pool(problem, threads=threads, seed=seed, patience=self.settings.patience)
        self.history: list[Generation] = []
        self.stops: Counter[str] = Counter()
        self._evolution: Evolution | None = None
        self._started = 0
        self._device = next(model.parameters()).device
        self._dtype = fast_dtype(self._device)
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._observations = Observations(problem, self.settings.bag, self._device)
        # Tokens of z that are there.
        self._tokens = model.config.z_tokens + self._observations.variables

    def run(
        self,
        deadline: float,
        *,
        max_rounds: int = 0,
        watch: Callable[[Generation], None] | None = None,
    ) -> str:
        """Search generation by generation; may be called again to go on.

        Args:
            deadline: value of `time.perf_counter()` by which to end. A generation is begun if there
                is time for it, judged by the last one; the first always is.
            max_rounds: generations, in all, after which to stop; 0 for none.
            watch: called after each generation.

        Returns:
            Why it ended: "solved", "no gain", "round limit" or "time limit".
        """
        while not (ended := self.pool.stop()):
            if self.history:
                if len(self.history) == max_rounds:
                    return "round limit"
                if time.perf_counter() + 1.1 * self.history[-1].seconds > deadline:
                    return "time limit"
            self.history.append(self._generation())
            if watch is not None:
                watch(self.history[-1])
        return ended

    def _generation(self) -> Generation:
        begin, s, pool = time.perf_counter(), self.settings, self.pool
        given = None
        if self._evolution is None:
            self._evolution, given = self._begin()
        evolution = self._evolution
        population = evolution.ask(given)
        tokens = self._write(population)
        new = pool.offer(tokens)
        pool.join(s.pairs)
        price = s.price * tok.lengths(without_affine(tokens))
        fitness = (pool.r2(tokens) - price).reshape(len(population), s.samples).max(1)
        evolution.tell(population, fitness)
        reason = evolution.stop() if s.evolve else "not evolved"
        if reason:
            self.stops[reason] += 1
            self._evolution = None
        best = pool.ranked()[0]
        return Generation(
            index=len(self.history),
            evolution=self._started - 1,
            seconds=time.perf_counter() - begin,
            decodes=len(tokens),
            new=new,
            fitness=float(fitness.max()),
            typical=float(np.median(fitness)),
            step=evolution.step,
            r2=1 - best.loss / (self.problem.variance or 1.0),
            length=len(best.tokens),
            best_r2=1 - pool.best_loss,
        )

    def _begin(self) -> tuple[Evolution, np.ndarray]:
        """An evolution from the prior of a fresh bag, and what noisy bags make of the data."""
        s = self.settings
        noisy = round(s.reencoded * s.population)
        read = self._read(1 + noisy)
        mean, deviation = (self._flat(t) for t in (read.mean, read.deviation))
        self._started += 1
        return Evolution(mean[0], deviation[0], s, self._rng), mean[1:]

    def _read(self, count: int) -> Gaussian:
        """p(z | X) of fresh bags; all but the first have noise on y, of different sizes."""
        seen, level = self._observations, self.settings.noise
        bags = seen.bags(count, self._rng)
        deviation = level * self._rng.uniform(size=(count, 1)) * (np.arange(count) > 0)[:, None]
        noise = deviation * self._rng.standard_normal(bags.shape)
        y = seen.y[bags]
        y = y + torch.from_numpy(noise).to(y) * seen.y.square().mean().sqrt()
        with torch.inference_mode(), computing(self._device, self._dtype):
            return self.model.read(seen.X[bags], y, seen.numbers(count))

    def _flat(self, z: Tensor) -> np.ndarray:
        """The tokens that are there, as vectors: (B, tokens, width) -> float64 (B, n)."""
        return z[:, : self._tokens].flatten(1).double().cpu().numpy()

    def _write(self, population: np.ndarray) -> np.ndarray:
        """Expressions sampled from each individual in turn, int64 (B * samples, max_length)."""
        s, config = self.settings, self.model.config
        shape = len(population), config.z_tokens + tok.MAX_VARIABLES, config.z_width
        z = torch.zeros(shape, device=self._device)
        z[:, : self._tokens] = torch.from_numpy(population).to(z).unflatten(1, (self._tokens, -1))
        with torch.inference_mode(), computing(self._device, self._dtype):
            tokens, _ = self.model.expression.sample(
                self.model.fuse(z[:, None]),
                self._observations.numbers(len(z)),
                each=s.samples,
                temperature=s.temperature,
                generator=self._generator,
            )
        return tokens.cpu().numpy()
