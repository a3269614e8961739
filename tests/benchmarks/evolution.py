"""What GenSR's evolution is worth: `python tests/benchmarks/evolution.py`.

Without weights (`--toys`), generations until the strategy has brought down a function, by mode:

    all             variances of the top dimensions adapted, as GenSR does
    no top-k        variances of all dimensions (sep-CMA-ES)
    no adaptation   step size alone
    prior           every generation drawn like the first

With weights (`--weights FOLDER`), the same modes on the problems of `refinement.py`, which LEE is
measured on: the share solved after so many decodes, all of which go through the same pool. A
problem is solved as it says there. Results go to a CSV, one line for each problem, mode and number
of decodes; the table printed is of that file. Other weights or settings want another folder.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from refinement import HELD_OUT, held_out, solved, suite_laws

from methods.gensr import checkpoint
from methods.gensr.config import SearchConfig, Strategy
from methods.gensr.evolution import Evolution
from methods.gensr.search import Search
from methods.symbolic.problem import Problem
from methods.symbolic.search import warm_up

MODES = {
    "all": {},
    "no top-k": {"top": 0},
    "no adaptation": {"adapt": False},
    "prior": {"evolve": False},
}
_N = 448  # numbers of z for three variables in `small`
_ACTIVE = 24  # of them that matter, on the toys where some do not


def _toys() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    scales = 10.0 ** np.linspace(0, 4, _ACTIVE)
    return {
        f"sphere, all {_N}": lambda z: np.square(z).sum(1),
        f"sphere, {_ACTIVE} of {_N}": lambda z: np.square(z[:, :_ACTIVE]).sum(1),
        f"ellipsoid, {_ACTIVE} of {_N}": lambda z: np.square(z[:, :_ACTIVE]) @ scales,
    }


def toys(generations: int, seeds: int) -> pd.DataFrame:
    """Decades by which the best value of a toy fell, from that of the first generation; medians."""
    rows = []
    for name, function in _toys().items():
        for mode, changes in MODES.items():
            changes = {k: v for k, v in changes.items() if k != "evolve"}
            settings = replace(Strategy(generations=generations, stagnation=0), **changes)
            fell = []
            for seed in range(seeds):
                begin = partial(
                    Evolution, np.ones(_N), np.ones(_N), settings, np.random.default_rng(seed)
                )
                search, best, first = begin(), math.inf, 0.0
                for _ in range(generations):
                    population = search.ask()
                    values = function(population)
                    best = min(best, values.min())
                    first = first or best
                    search.tell(population, -values)
                    if mode == "prior":
                        search = begin()
                fell.append(math.log10(first / best))
            rows.append({"function": name, "mode": mode, "decades": np.median(fell)})
    return pd.DataFrame(rows).pivot(index="function", columns="mode", values="decades")[[*MODES]]


def measure(args: argparse.Namespace, file: Path) -> None:
    """Append what the file lacks."""
    if args.suite == HELD_OUT:
        laws = held_out(args.problems, args.points)
    else:
        laws = suite_laws(args.suite, args.problems, args.points)
    known = set()
    if file.exists():
        done = pd.read_csv(file, dtype={"problem": str})
        known = set(zip(done["problem"], done["noise"], done["mode"], strict=True))
    model, _ = checkpoint.load(args.weights)
    warm_up(1)
    file.parent.mkdir(parents=True, exist_ok=True)
    for law in laws:
        for noise in args.noise:
            seed = sum(law.name.encode()) + round(1e6 * noise)
            names = [f"v{i}" for i in range(law.X.shape[1])]
            problem = Problem(law.X, law.noisy(noise, seed), names)
            for mode, changes in MODES.items():
                if (law.name, noise, mode) in known:
                    continue
                begin = time.perf_counter()
                settings = replace(SearchConfig(patience=0), **changes)
                search = Search(model, problem, settings, seed=seed)
                lines = []
                each = settings.population * settings.samples
                for decodes in args.decodes:
                    search.run(math.inf, max_rounds=max(1, decodes // each))
                    right, r2, length = solved(search.pool, law, noise)
                    lines.append(
                        {
                            "suite": args.suite,
                            "problem": law.name,
                            "noise": noise,
                            "mode": mode,
                            "decodes": decodes,
                            "new": search.pool.tried,
                            "solved": int(right),
                            "r2": r2,
                            "length": length,
                            "seconds": round(time.perf_counter() - begin, 3),
                        }
                    )
                pd.DataFrame(lines).to_csv(file, mode="a", header=not file.exists(), index=False)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toys", action="store_true")
    parser.add_argument("--generations", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--suite", default=HELD_OUT, help=f"{HELD_OUT}, feynman or strogatz")
    parser.add_argument("--problems", type=int, default=40, help="the first so many")
    parser.add_argument("--points", type=int, default=256, help="rows of each problem")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0])
    parser.add_argument("--decodes", type=int, nargs="+", default=[320, 1280, 5120])
    parser.add_argument("--out", type=Path, default=Path("results/evolution"))
    args = parser.parse_args()
    if args.toys:
        print(toys(args.generations, args.seeds).round(2).to_string())
    if args.weights:
        file = args.out / "evolution.csv"
        measure(args, file)
        cells = pd.read_csv(file).groupby(["suite", "noise", "mode", "decodes"])
        print(cells[["solved", "r2", "length"]].agg({"solved": "mean", "r2": "median"}).round(3))


if __name__ == "__main__":
    main()
