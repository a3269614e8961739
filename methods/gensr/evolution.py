"""A degenerate CMA-ES: a strategy that asks for fitness, is told, and says when to stop.

The covariance is diagonal, as in sep-CMA-ES (Ros & Hansen 2008, "A simple modification in CMA-ES
achieving linear time and space complexity", whose update formulas and default rates are used here),
and of its n variances only the k are updated in a generation that the update would change most.
Since only k numbers are learnt at a time, their learning rate is that of k dimensions, which is far
higher than that of n. With k = n this is sep-CMA-ES.

Knows nothing of networks or expressions: anything that gives a number for a vector will do.
"""

from __future__ import annotations

import math

import numpy as np

from methods.gensr.config import Strategy


class Evolution:
    """Looks for the vector of highest fitness.

    Args:
        mean, deviation: of the Gaussian to start from, (n,) each; deviations are positive.
        settings: how to search.
        seed: of the samples; int, or a generator to go on with.

    Attributes:
        mean: of the Gaussian now, (n,). variance: of its dimensions, in units of step squared.
        step: step size. generation: how many were told.
        best, best_fitness: the best individual told so far, (n,), and its fitness.

    Examples:
        >>> search = Evolution(np.ones(3), np.ones(3), Strategy(top=0))
        >>> while not search.stop():
        ...     population = search.ask()
        ...     search.tell(population, -np.square(population).sum(1))
        >>> bool(search.best_fitness > -1e-5)
        True
    """

    def __init__(
        self,
        mean: np.ndarray,
        deviation: np.ndarray,
        settings: Strategy,
        seed: int | np.random.Generator = 0,
    ) -> None:
        s = self.settings = settings
        self.mean, self.variance = np.array(mean, float), np.square(deviation, dtype=float)
        self.step, self.generation = s.step, 0
        self.best, self.best_fitness = self.mean, -math.inf
        self._rng = np.random.default_rng(seed)
        self._widest = self._spread()
        self._improved = 0  # generation of the last improvement
        self._flat = False
        n = len(self.mean)
        parents = max(1, round(s.parents * s.population))
        weights = math.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
        self._weights = weights / weights.sum()
        self._mass = mass = 1 / np.square(self._weights).sum()  # mu_eff of the paper
        self._c_step = (mass + 2) / (n + mass + 3)
        excess = max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1)
        self._damping = 1 + 2 * excess + self._c_step
        self._c_path = 4 / (n + 4)
        self._top = k = min(s.top, n) if s.top else n
        c = 2 / (mass * (k + math.sqrt(2)) ** 2)
        c += (1 - 1 / mass) * min(1.0, (2 * mass - 1) / ((k + 2) ** 2 + mass))
        self._c_variance = min(1.0, c * (k + 2) / 3)
        self._length = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))  # E |N(0, I)|
        self._step_path, self._path = np.zeros(n), np.zeros(n)

    def ask(self, given: np.ndarray | None = None) -> np.ndarray:
        """A population to judge, (population, n).

        Args:
            given: individuals from elsewhere (m, n), which stand in for as many of its last ones.
        """
        shape = self.settings.population, len(self.mean)
        noise = self._rng.standard_normal(shape)
        population = self.mean + self.step * np.sqrt(self.variance) * noise
        if given is not None and len(given):
            population[-len(given) :] = given
        return population

    def tell(self, population: np.ndarray, fitness: np.ndarray) -> None:
        """Learn from a population (population, n) and its fitness (population,), higher better.

        Individuals from elsewhere may be far away: steps are cut to a length that the Gaussian's
        own hardly ever have (Hansen 2011, "Injecting external solutions into CMA-ES").
        """
        fitness = np.asarray(fitness, float)
        order = np.argsort(-fitness, kind="stable")
        self.generation += 1
        self._flat = fitness[order[0]] == fitness[order[-1]]
        if fitness[order[0]] > self.best_fitness:
            self.best, self.best_fitness = population[order[0]].copy(), float(fitness[order[0]])
            self._improved = self.generation
        n, mass, deviation = len(self.mean), self._mass, np.sqrt(self.variance)
        steps = (population[order[: len(self._weights)]] - self.mean) / self.step
        size = np.sqrt(np.square(steps / deviation).sum(1, keepdims=True))
        steps *= np.minimum(1, (math.sqrt(n) + 2 * n / (n + 2)) / np.maximum(size, 1e-300))
        step = self._weights @ steps
        self.mean = self.mean + self.step * step

        c = self._c_step
        self._step_path *= 1 - c
        self._step_path += math.sqrt(c * (2 - c) * mass) * step / deviation
        length = float(np.linalg.norm(self._step_path))
        if self.settings.adapt:
            self._adapt(steps, step, length)
        self.step *= math.exp(min(1.0, c / self._damping * (length / self._length - 1)))

    def _adapt(self, steps: np.ndarray, step: np.ndarray, length: float) -> None:
        n, mass, c = len(self.mean), self._mass, self._c_path
        # While the step size is far too small, the path must not make the variances follow.
        settled = length / math.sqrt(1 - (1 - self._c_step) ** (2 * self.generation))
        calm = settled < (1.4 + 2 / (n + 1)) * self._length
        self._path *= 1 - c
        self._path += calm * math.sqrt(c * (2 - c) * mass) * step
        c = self._c_variance
        learnt = np.square(self._path) / mass
        learnt += (1 - 1 / mass) * (self._weights @ np.square(steps))
        updated = (1 - c) * self.variance + c * learnt
        change = np.abs(np.log(updated / self.variance))
        chosen = np.argpartition(-change, self._top - 1)[: self._top]
        self.variance[chosen] = updated[chosen]

    def stop(self) -> str:
        """Why to stop: "generation limit", "step too small", "flat", "stagnation"; "" to go on."""
        s = self.settings
        if self.generation >= s.generations:
            return "generation limit"
        if self._spread() < s.least_step * self._widest:
            return "step too small"
        if self._flat:
            return "flat"
        if s.stagnation and self.generation - self._improved >= s.stagnation:
            return "stagnation"
        return ""

    def _spread(self) -> float:
        return self.step * math.sqrt(self.variance.max())
