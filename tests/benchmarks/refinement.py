"""What refinement is worth at equal numbers of decodes: `python tests/benchmarks/refinement.py`.

Searches the same problems in ways that all offer as many expressions to the same pool in
each round, and prints how many problems they have solved after each round:

    one-shot    every expression from a first estimate, fresh bags of points in each round
    reencode    half of them from estimates that have read an earlier find
    rewrite     a quarter of them so, and half of all keep a find but for one part
    desired     half of them take the place of a part of a find, read from what it has to compute;
                the others as in rewrite
    gradient    half of them from estimates after gradient steps
    both        reencode and gradient
    all         desired and gradient
    unread      half of all keeping a find but for one part, the network shown the data alone
    prior       blind draws from the training prior: nothing learned
    mutants     rewrite, and beside each decode eight mutations of earlier finds: not at equal
                numbers, only at about equal time; left out unless named
    pairs       the same, and the best pairs of finds after each round; likewise
    default     the same, and desired: LEE as it searches; likewise
    blind       the same mutations beside blind draws: what they do without a network; likewise

Problems are functions of the training prior under a seed that training never uses, or the laws of a
suite (to report, never to tune by). Problem by problem all ways see the same rows, and those that
are LEE's begin with the same round; so they are compared in pairs.

A problem is solved when the formula chosen by description length, its constants fitted again to
targets without noise, has 1 - R2 below 1e-10; and, where there is no noise, when any find has. Most
problems are solved at once or never; what is gained on the others shows in the errors.

Results go to a CSV line by line; the same command goes on where it stopped, and shards share the
work. `--table` prints what is there. Other weights or settings want another folder (`--out`).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from lee_bench.tasks import catalog
from lee_bench.tasks.protocol import SEEDS, split
from lee_bench.tasks.sources import DataSource
from methods.lee import checkpoint
from methods.lee.config import Refinement
from methods.lee.method import Lee
from methods.lee.refine import Search
from methods.prior import Prior
from methods.symbolic import constants, programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.problem import Problem
from methods.symbolic.sampler import Sampler, SamplerConfig, sample_trees
from methods.symbolic.search import SOLVED, Pool, warm_up

HELD_OUT = "held-out"
_DRAWN = 300  # functions at a time; another number draws others
SEED = 777  # of the held-out functions; training's streams are seeded by other numbers
_OFF = {
    "reencoded": 0, "rewritten": 0, "desired": 0, "stepped": 0, "mutants": 0, "pairs": 0,
    "patience": 0,
}  # fmt: skip
_READ, _STEP, _DESIRED = {"reencoded": 0.5}, {"stepped": 0.5}, {"desired": 0.5}
_REWRITE = {"reencoded": 0.25, "rewritten": 0.5}
_MORE = {"mutants": 8.0, "pairs": 128}
MODES = {
    "one-shot": _OFF,
    "reencode": _OFF | _READ,
    "rewrite": _OFF | _REWRITE,
    "desired": _OFF | _REWRITE | _DESIRED,
    "gradient": _OFF | _STEP,
    "both": _OFF | _READ | _STEP,
    "all": _OFF | _REWRITE | _DESIRED | _STEP,
    "unread": _OFF | {"rewritten": 0.5},
    "prior": _OFF,
    "mutants": _OFF | _REWRITE | {"mutants": 8.0},
    "pairs": _OFF | _REWRITE | _MORE,
    "default": _OFF | _REWRITE | _DESIRED | _MORE,
    "blind": _OFF | {"mutants": 8.0},
}
FIELDS = [
    "suite", "problem", "noise", "mode", "round", "decodes", "new", "solved", "r2", "length",
    "seconds",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Law:
    """A problem: rows X (n, d) and the targets without noise (n,)."""

    name: str
    X: np.ndarray
    clean: np.ndarray

    def noisy(self, level: float, seed: int) -> np.ndarray:
        """Targets with noise, a share of their root mean square, added."""
        noise = np.random.default_rng(seed).normal(size=len(self.clean))
        return self.clean + level * math.sqrt(np.mean(self.clean**2)) * noise


def held_out(count: int, points: int, tokens: int) -> Iterator[Law]:
    """Functions of the sampler of at least so many tokens, evaluated in float64."""
    config = SamplerConfig(points=points)
    for b, batch in enumerate(
        Sampler(_DRAWN, torch.Generator().manual_seed(SEED), config, proposals=8192)
    ):
        X, numbers = batch.X.double().numpy(), batch.constants.double().numpy()
        clean = programs.evaluate(batch.tokens.numpy(), X, numbers)
        long = tok.lengths(batch.tokens.numpy()) >= tokens
        for i in np.flatnonzero(long & np.isfinite(clean).all(1)).tolist():
            yield Law(f"{_DRAWN * b + i}", X[i, :, : int(batch.variables[i])], clean[i])
            count -= 1
            if count == 0:
                return


def suite_laws(suite: str, count: int, points: int) -> Iterator[Law]:
    """Training rows of the tasks of a suite, for its first seed."""
    source = DataSource("auto", None)
    for info in catalog.tasks(suite)[:count]:
        rows = split(source.load(info), 0.0, SEEDS[0])
        some = np.random.default_rng(0).permutation(len(rows.y_train_clean))[:points]
        yield Law(info.name, rows.X_train[some], rows.y_train_clean[some])


def solved(pool: Pool, law: Law, noise: float) -> tuple[bool, float, int]:
    """Whether the law is found; R2, on clean targets, and tokens of the chosen find."""
    problem = pool.problem
    entry = pool.ranked()[0]
    tokens, values = entry.tokens[None], entry.constants[None]
    clean = law.clean / problem.y_unit
    predicted = programs.evaluate(tokens, problem.X, values, threads=1)[0]
    spread = clean.var()
    r2 = 1 - np.mean((clean - predicted) ** 2) / spread
    if noise == 0:
        return pool.solved(), r2, len(entry.tokens)
    fit = constants.fit(tokens, problem.X, clean, warm=values[:, None], threads=1)
    return bool(fit.loss[0] < SOLVED * spread), r2, len(entry.tokens)


def draws(columns: int, decodes: int, seed: int) -> Iterator[np.ndarray]:
    """So many skeletons from the prior at a time, over and over."""
    config = SamplerConfig(max_length=Prior.defaults["max_length"], variables=columns)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.zeros((0, config.max_length), dtype=torch.int64)
    while True:
        while len(drawn) < decodes:
            drawn = torch.cat([drawn, sample_trees(2 * decodes, config, generator)[0]])
        yield drawn[:decodes].numpy()
        drawn = drawn[decodes:]


class Blind(Search):
    """A search whose decodes are draws from the prior."""

    def __init__(self, *args, seed: int, **kwargs) -> None:
        super().__init__(*args, seed=seed, **kwargs)
        self._draws = draws(len(self.problem.columns), self.settings.decodes, seed)

    def _embeddings(self, count: int, finds: object) -> tuple[None, np.ndarray, np.ndarray]:
        return None, np.zeros((count, 1)), np.zeros(count, dtype=np.int64)

    def _write(self, embedding: None, read: object, finds: object) -> tuple[np.ndarray, np.ndarray]:
        drawn = next(self._draws)
        rows = np.pad(drawn, ((0, 0), (0, self.model.config.max_length - drawn.shape[1])))
        return rows, np.zeros(len(rows), dtype=bool)


def measured(
    model: torch.nn.Module, law: Law, noise: float, mode: str, settings: Refinement, rounds: int
) -> list[dict]:
    """One line for each round; once solved, a search ends and stays solved."""
    seed = sum(law.name.encode()) + round(1e6 * noise)
    problem = Problem(law.X, law.noisy(noise, seed), [f"v{i}" for i in range(law.X.shape[1])])
    kind = {"prior": Blind, "blind": Blind}.get(mode, Search)
    search = kind(model, problem, replace(settings, **MODES[mode]), threads=1, seed=seed)
    lines: list[dict] = []
    begin = time.perf_counter()
    for index in range(rounds):
        if not (lines and lines[-1]["solved"] and noise == 0):
            search.run(math.inf, max_rounds=index + 1)
            done, r2, length = solved(search.pool, law, noise)
            seconds = time.perf_counter() - begin
        line = {
            "round": index + 1,
            "decodes": (index + 1) * settings.decodes,
            "new": search.pool.tried,
        }
        line |= {"solved": int(done), "r2": f"{r2:.12g}", "length": length}
        lines.append(line | {"seconds": f"{seconds:.3f}"})
    return lines


def run(args: argparse.Namespace, file: Path) -> None:
    """Measure what is not in the file yet."""
    if args.suite == HELD_OUT:
        laws = list(held_out(args.problems, args.points, args.tokens))
    else:
        laws = list(suite_laws(args.suite, args.problems, args.points))
    index, count = map(int, args.shard.split("/"))
    known = {}
    if file.exists():
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                key = row["problem"], float(row["noise"]), row["mode"]
                known[key] = known.get(key, 0) + 1
    model, _ = checkpoint.load(Lee.folder(args.weights))
    chosen = dict(text.split("=", 1) for text in args.set)
    changes = {name: json.loads(value) for name, value in chosen.items()}
    settings = Refinement(**{"decodes": args.decodes, "first": args.decodes} | changes)
    warm_up(1)
    file.parent.mkdir(parents=True, exist_ok=True)
    begin, laws = time.perf_counter(), laws[index - 1 :: count]
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, FIELDS)
        if lines.tell() == 0:
            writer.writeheader()
        for i, law in enumerate(laws):
            for noise in args.noise:
                for mode in args.modes:
                    if known.get((law.name, noise, mode), 0) >= args.rounds:
                        continue
                    cell = {"suite": args.suite, "problem": law.name, "noise": noise, "mode": mode}
                    found = measured(model, law, noise, mode, settings, args.rounds)
                    writer.writerows(cell | line for line in found)
                lines.flush()
            minutes = (time.perf_counter() - begin) / 60
            print(f"\r{i + 1} of {len(laws)} problems, {minutes:.1f} min", end="", flush=True)
    print()


def table(folder: Path) -> None:
    """Print what the files of a folder say, mode by mode."""
    grids = defaultdict(list)
    for path in filter(lambda p: p.stat().st_size, sorted(folder.glob("*.csv"))):
        grids[path.stem.rpartition("-")[0]].append(pd.read_csv(path, dtype={"problem": str}))
    groups = (
        (*key, group)
        for shards in grids.values()
        for key, group in pd.concat(shards).drop_duplicates(FIELDS[:5]).groupby(["suite", "noise"])
    )
    for suite, noise, group in groups:
        modes = [mode for mode in MODES if mode in set(group["mode"])]
        rounds = sorted(group["round"].unique())
        cube = group.pivot(index="problem", columns=["mode", "round"], values="solved").dropna()
        last = group[group["round"] == rounds[-1]].set_index(["mode", "problem"])
        decodes = int(group["decodes"].min())
        print(f"\n{suite}, noise {noise:g}: share of {len(cube)} problems solved, in per cent,")
        print(f"after each round of {decodes} decodes; and at the end")
        print("mode      " + "".join(f"{r:>6}" for r in rounds), end="")
        print("   more than one-shot (95 %)  R2>.999  median R2  tokens  new  seconds")
        for mode in modes:
            print(
                f"{mode:10}" + "".join(f"{100 * cube[mode, r].mean():6.1f}" for r in rounds), end=""
            )
            rows = last.loc[mode].loc[cube.index]
            print(f"{_difference(cube, mode, rounds[-1]):>28}", end="")
            print(f"{100 * (rows['r2'] > 0.999).mean():9.1f}{rows['r2'].median():11.4f}", end="")
            print(f"{rows['length'].median():8.0f}{rows['new'].mean():5.0f}", end="")
            print(f"{rows['seconds'].mean():9.2f}")
        if "one-shot" in modes:
            _print_pairs(group, [mode for mode in modes if mode != "one-shot"], rounds)


def _print_pairs(group: pd.DataFrame, modes: list[str], rounds: list[int]) -> None:
    """On how many problems a mode's chosen find is nearer than one-shot's, and on how many farther.

    Compared is log10(1 - R2) on targets without noise; below 1e-12 all are alike.
    """
    group = group.assign(error=np.log10(np.maximum(1 - group["r2"], 1e-12)))
    errors = group.pivot(index="problem", columns=["mode", "round"], values="error").dropna()
    print("nearer : farther than one-shot, after each round")
    for mode in modes:
        print(f"{mode:10}", end="")
        for r in rounds:
            difference = errors[mode, r] - errors["one-shot", r]
            difference = difference[difference.abs() > 1e-6]
            print(f"{(difference < 0).sum():5} :{(difference > 0).sum():3}", end="")
        if len(difference):
            chance = stats.wilcoxon(difference).pvalue
            print(f"   Wilcoxon signed-rank p = {chance:.2g} at the end", end="")
        print()


def _difference(cube: pd.DataFrame, mode: str, at: int) -> str:
    """Difference to one-shot in points, with its bootstrap interval over problems."""
    if mode == "one-shot" or ("one-shot", at) not in cube:
        return ""
    pairs = 100.0 * (cube[mode, at] - cube["one-shot", at]).to_numpy()
    drawn = np.random.default_rng(0).integers(len(pairs), size=(4000, len(pairs)))
    low, high = np.quantile(pairs[drawn].mean(1), (0.025, 0.975))
    return f"{pairs.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default=HELD_OUT, help=f"{HELD_OUT}, feynman or strogatz")
    parser.add_argument("--problems", type=int, default=300, help="the first so many")
    parser.add_argument("--points", type=int, default=256, help="rows of each problem")
    parser.add_argument("--tokens", type=int, default=0, help="of held-out functions, at least")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.05])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--decodes", type=int, default=512, help="of each round")
    parser.add_argument("--modes", nargs="+", default=list(MODES)[:9], choices=MODES)
    parser.add_argument("--weights", default="small", help="a size that ships, or a folder")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of Refinement")
    parser.add_argument("--shard", default="1/1", help="I/N: only part I of N")
    parser.add_argument("--out", type=Path, default=Path("results/refinement"))
    parser.add_argument("--table", action="store_true", help="measure nothing, print what is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.table:
        shard = args.shard.replace("/", "of")
        run(args, args.out / f"{args.suite}-{args.rounds}x{args.decodes}-{shard}.csv")
    table(args.out)


if __name__ == "__main__":
    main()
