"""How often `lee-bench check` is wrong: `python tests/benchmarks/gate.py [CHECKS [PLANT ...]]`.

Simulates a grid of six methods at two noise levels that is measured twice. If nothing changed, the
second run is another draw from the same distributions, as after a change that only moves random
streams; a check that fails then is a false alarm. Otherwise one method got worse in one way, at
both noise levels; a check that passes then is a miss.

Tasks are of all kinds, from never to always solved; a run's R² moves by about half a nine, its
size by a third, and its time by a tenth.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from lee_bench.evidence.baseline import Baseline
from lee_bench.evidence.regress import check

METHODS, NOISES = [f"method{i}" for i in range(6)], (0.0, 0.1)
PLANTS = ("nothing", "half the solutions", "one nine less", "a quarter fails",
          "a quarter larger", "half as long again")  # fmt: skip


class Grid:
    """The methods' true abilities on each task, from which runs are drawn."""

    def __init__(self, tasks: int, seeds: int, random: np.random.Generator) -> None:
        self.random = random
        names = ["suite", "noise", "method", "settings", "task", "seed"]
        rows = [
            ("suite", noise, method, "", f"task{t:03}", seed)
            for noise in NOISES
            for method in METHODS
            for t in range(tasks)
            for seed in range(seeds)
        ]
        self.identity = pd.DataFrame(rows, columns=names)
        kinds = len(NOISES) * len(METHODS) * tasks
        self.solves = random.beta(0.5, 0.5, kinds).repeat(seeds)
        self.nines = random.uniform(0.3, 6.0, kinds).repeat(seeds)
        self.size = random.uniform(np.log(5), np.log(60), kinds).repeat(seeds)

    def run(self, plant: str = "nothing") -> Baseline:
        """Measure all once; the first method is the one that got worse."""
        random, n = self.random, len(self.identity)
        hit = (self.identity["method"] == METHODS[0]).to_numpy()
        solved = random.uniform(size=n) < self.solves * np.where(
            hit & (plant == "half the solutions"), 0.5, 1.0
        )
        nines = random.normal(self.nines - (hit & (plant == "one nine less")), 0.5)
        size = self.size + np.log(np.where(hit & (plant == "a quarter larger"), 1.25, 1.0))
        seconds = np.where(hit & (plant == "half as long again"), 1.5, 1.0)
        cells = self.identity.assign(
            protocol=1, data="builtin", time_limit=10.0, threads=1, data_sha256="", machine="m",
            status="ok",
            r2_test=1.0 - 10.0 ** -np.maximum(nines, 0.05),
            complexity=np.round(np.exp(random.normal(size, 0.33))).clip(1),
            accuracy_solution=(nines > 3.0) * 1.0,
            symbolic_solution=solved * 1.0,
            seconds=seconds * np.exp(random.normal(1.0, 0.1, n)),
        )  # fmt: skip
        failed = hit & (plant == "a quarter fails") & (random.uniform(size=n) < 0.25)
        scores = ["r2_test", "complexity", "accuracy_solution", "symbolic_solution", "seconds"]
        cells.loc[failed, scores] = np.nan
        cells.loc[failed, "status"] = "crash"
        return Baseline(cells)


def fails(tasks: int, seeds: int, plant: str, seed: int) -> tuple[bool, bool]:
    """Whether a check fails for the method that got worse, and for any of the others."""
    grid = Grid(tasks, seeds, np.random.default_rng(seed))
    groups = check(grid.run(), grid.run(plant))
    guilty = any(group.fails for group in groups if group.method == METHODS[0])
    return guilty, any(group.fails for group in groups if group.method != METHODS[0])


def main(checks: int = 100, *plants: str) -> None:
    """Print the rates, one row a grid, a column a way to get worse."""
    plants = plants or PLANTS
    print(f"{checks} simulated checks each; share that fails (nothing: false alarms)")
    print("tasks x seeds | " + " | ".join(plants))
    begin = time.perf_counter()
    for tasks, seeds in ((5, 1), (5, 3), (14, 1), (14, 3), (40, 3)):
        rates = []
        for plant in plants:
            answers = [fails(tasks, seeds, plant, seed) for seed in range(checks)]
            caught = [guilty or (plant == "nothing" and other) for guilty, other in answers]
            rates.append(f"{np.mean(caught):.1%}")
        print(f"{tasks} x {seeds} | " + " | ".join(rates), flush=True)
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
