"""What the parts of LEE's training are worth: `python tests/benchmarks/ablations.py`.

Trains LEE `small` from nothing on the same number of functions in each of some ways, and prints the
held-out figures of `methods.lee.validation`:

    full        as shipped, but that own decodes are read from a third of the way on
    unseen      a candidate's prediction is hidden from the encoder, and so is the residual
    untold      the network is not told which candidates are guesses
    noiseless   no noise on y in training (the held-out functions have noise)
    small bags  16 points in every bag; large bags: 48
    one way     no function is read both with and without a candidate
    no g_eval   the evaluation decoder is not trained
    no z noise  z is decoded as it is
    more own    three times as many own decodes are read; no own: none
    narrow      two thirds of the width

So few functions rank what matters early; a hundredth of a nat is within what another seed does
(`--seeds` shows how much that is). Results go to a CSV; the same command goes on where it stopped.

`--shipped` trains nothing: it asks the weights that ship what they make of a candidate whose
prediction, and so the residual, is hidden, of guesses that they are not told to be guesses, and of
smaller and larger bags of points; then what reading an own decode does, by how well it fits.
`--weights` asks others.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from methods.lee import checkpoint
from methods.lee.config import SIZES, ModelConfig, TaskConfig
from methods.lee.method import Lee
from methods.lee.model import LEE, Embedding
from methods.lee.objective import Objective, cross_entropy, read
from methods.network.candidates import Candidates, fitted
from methods.network.functions import NumberedFunctions
from methods.network.held_out import functions as held_out
from methods.training import Feed, Settings, Trainer

FIGURES = ["none", "truth", "mutant", "own", "best", "g_eval", "recovered", "recovered, refined"]


class Unseen(LEE):
    """LEE that sees the tokens and constants of candidates, but not what they predict."""

    def embed(self, X, y, variables, candidates: Candidates | None = None) -> Embedding:
        if candidates is not None:
            nothing = torch.full_like(candidates.prediction, torch.nan)
            candidates = replace(candidates, prediction=nothing)
        return super().embed(X, y, variables, candidates)


class Untold(LEE):
    """LEE that takes every candidate for the law."""

    def embed(self, X, y, variables, candidates: Candidates | None = None) -> Embedding:
        if candidates is not None:
            candidates = replace(candidates, guess=torch.zeros_like(candidates.guess))
        return super().embed(X, y, variables, candidates)


def noiseless(objective: Objective) -> None:
    """Take the noise from the training data of an objective."""
    data = objective.data
    data.sampler = replace(data.sampler, noiseless=1.0)
    data.functions = NumberedFunctions(data.task.rows, data.sampler, data.task.seed)


Way = tuple[type[LEE], dict, dict, Callable[[Objective], None] | None]
WAYS: dict[str, Way] = {
    "full": (LEE, {}, {}, None),
    "unseen": (Unseen, {}, {}, None),
    "untold": (Untold, {}, {}, None),
    "noiseless": (LEE, {}, {}, noiseless),
    "small bags": (LEE, {}, {"bags": (16,)}, None),
    "large bags": (LEE, {}, {"bags": (48,)}, None),
    "one way": (LEE, {}, {"twice": 0.0}, None),
    "no g_eval": (LEE, {}, {"evaluation": 0.0}, None),
    "no z noise": (LEE, {}, {"z_noise": 0.0}, None),
    "more own": (LEE, {}, {"own": 0.75}, None),
    "no own": (LEE, {}, {"own": 0.0}, None),
    "narrow": (LEE, {"width": 128, "hidden": 384, "cell": 64}, {}, None),
}


def measured(way: str, functions: int, seed: int, threads: int, folder: Path) -> dict[str, float]:
    """Held-out figures after so many functions, and the seconds it took."""
    network, shape, asked, change = WAYS[way]
    torch.manual_seed(seed)
    task = TaskConfig(**{"seed": seed, **asked})
    steps = functions // (task.rows * threads)
    task = replace(task, own_from=steps * threads // 3)
    config: ModelConfig = replace(SIZES["small"], **shape)
    objective = Objective(network(config), task, torch.device("cpu"))
    if change is not None:
        change(objective)
    settings = Settings(shards=threads)
    trainer = Trainer(objective, folder, settings, {}, lambda report: None)
    feed = Feed(objective.data, 0, 0, settings.ahead)
    begin = time.perf_counter()
    try:
        for step in range(steps):
            rise, fall = (step + 1) / min(settings.warmup, steps / 4), 2 * (1 - step / steps)
            trainer.step([feed.next() for _ in range(threads)], min(1.0, rise, fall))
    finally:
        feed.close()
    seconds = time.perf_counter() - begin
    figures = objective.validate(trainer.average.eval())
    return {name: figures[name] for name in FIGURES} | {"seconds": seconds}


@torch.no_grad()
def shipped(model: LEE) -> pd.DataFrame:
    """Cross-entropy (nats a token) of trained weights, one way of reading a row."""
    variants = {"as shipped": LEE, "predictions hidden": Unseen, "not told of guesses": Untold}
    objective = Objective(model, TaskConfig(), torch.device("cpu"))
    rows = {}
    for name, kind in variants.items():
        network = kind(model.config).eval()
        network.load_state_dict(model.state_dict())
        figures = objective.validate(network)
        rows[name] = {kind: figures[kind] for kind in ("none", "truth", "mutant", "own", "best")}
    functions = held_out(model.config.max_length)
    for size in (8, 16, 32, 48, 64):
        with objective.computing():
            reading = read(model, functions, torch.arange(size))
            nats, _, count = cross_entropy(model, reading)
        rows[f"a bag of {size} points"] = {"none": float(nats.sum() / count.sum())}
    return pd.DataFrame(rows).T


@torch.no_grad()
def by_fit(model: LEE, decodes: int = 16) -> pd.DataFrame:
    """What reading the best of some own decodes does, in nats a token, by how well that one fits.

    `none` reads the same bag alone.
    """
    objective = Objective(model, TaskConfig(), torch.device("cpu"))
    functions = held_out(model.config.max_length)
    count, generator = len(functions.y), torch.Generator().manual_seed(5)
    first, second = torch.arange(32), torch.arange(32, 64)
    with objective.computing():
        z = read(model, functions, first).z
        own, _ = model.expression.sample(z, functions.variables, each=decodes, generator=generator)
        many = functions[torch.arange(count).repeat_interleave(decodes)]
        fits = fitted(own, many, seed=1, guess=True)
        errors = fits.error(many.y).view(count, decodes)
        best = fits[torch.arange(count) * decodes + errors.argmin(1)]
        readings = {
            "none": read(model, functions, second),
            "own": read(model, functions, second, best),
        }
        nats = {kind: cross_entropy(model, reading) for kind, reading in readings.items()}
    spread = functions.y.var(1)
    error, noise = errors.amin(1), (functions.y - functions.clean).square().mean(1)
    law = (best.tokens == functions.tokens).all(1)
    within = error <= 1.05 * noise + 1e-9 * spread
    groups = {
        "is the law": law,
        "is not, fits within noise": ~law & within,
        "is not, R2 > .99": ~law & ~within & (error < 0.01 * spread),
        "is not, R2 .9 to .99": ~law & ~within & (error >= 0.01 * spread) & (error < 0.1 * spread),
        "is not, R2 < .9": ~law & ~within & (error >= 0.1 * spread),
        "any": torch.ones_like(law),
    }
    rows = {
        name: {"functions": int(rows.sum())}
        | {kind: float(sums[0][rows].sum() / sums[2][rows].sum()) for kind, sums in nats.items()}
        for name, rows in groups.items()
    }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--functions", type=int, default=60_000)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("results/ablations"))
    parser.add_argument("--shipped", action="store_true")
    parser.add_argument("--weights", default="small", help="for --shipped: a size, or a folder")
    args = parser.parse_args()
    if args.shipped:
        model, _ = checkpoint.load(Lee.folder(args.weights))
        for table in (shipped(model), by_fit(model)):
            print(table.round(3).to_string(na_rep=""))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{args.functions}.csv"
    known = set()
    if file.exists():
        known = set(pd.read_csv(file)[["way", "seed"]].itertuples(index=False, name=None))
    torch.set_flush_denormal(True)
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, ["way", "seed", *FIGURES, "seconds"])
        if lines.tell() == 0:
            writer.writeheader()
        for seed in args.seeds:
            for way in args.ways:
                if (way, seed) in known:
                    continue
                figures = measured(way, args.functions, seed, args.threads, args.out)
                row = {name: f"{value:.4f}" for name, value in figures.items()}
                writer.writerow({"way": way, "seed": seed} | row)
                lines.flush()
                print(way, seed, row, flush=True)
    print(pd.read_csv(file).to_string(index=False))


if __name__ == "__main__":
    main()
