"""How many laws come back from their own latent: `python tests/benchmarks/round_trip.py`.

Each law is read with its data, as LEE reads a candidate, and the expression decoder writes it from
z by the likeliest token each time. Counted are those that come back token by token, those that come
back as the same function up to scale and offset, and, from data alone, those that are among 32
samples. Laws: held-out functions of the sampler, and the 133 ground-truth formulas of Feynman and
Strogatz on generated data (noise 0, first 32 rows of the first training split).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from lee_bench.expression import parse
from lee_bench.tasks.catalog import tasks
from lee_bench.tasks.protocol import SEEDS, split
from lee_bench.tasks.sources import DataSource
from methods.lee import checkpoint
from methods.lee.config import TaskConfig
from methods.lee.data import Data
from methods.lee.method import Lee
from methods.lee.model import LEE
from methods.lee.validation import SEED
from methods.network.candidates import fitted
from methods.network.functions import NumberedFunctions
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import without_affine
from methods.symbolic.canonical import canonical_row
from methods.symbolic.fingerprint import fingerprints
from methods.symbolic.sampler import Batch

POINTS, SAMPLES = 32, 32


def laws(model: LEE) -> Iterator[tuple[str, torch.Tensor, np.ndarray, np.ndarray, int]]:
    """Suite, core (1, max_length), X (POINTS, d), y (POINTS,) and d of each benchmark law."""
    source = DataSource("builtin")
    for suite in ("feynman", "strogatz"):
        for info in tasks(suite):
            row, _ = canonical_row(
                *tok.from_expression(parse(info.truth, info.features), info.features)
            )
            core = without_affine(np.array([row]))
            core = core[:, : tok.lengths(core)[0]]
            if core.shape[1] > model.config.max_length:
                print(f"{info.name}: {core.shape[1]} tokens, longer than LEE writes; a miss")
                yield suite, None, None, None, 0
                continue
            data = split(source.load(info), 0.0, SEEDS[0])
            wide = np.pad(core, ((0, 0), (0, model.config.max_length - core.shape[1])))
            yield (
                suite,
                torch.from_numpy(wide),
                data.X_train[:POINTS],
                data.y_train[:POINTS],
                len(info.features),
            )


def as_batch(core: torch.Tensor, X: np.ndarray, y: np.ndarray, columns: int) -> Batch:
    """One law as the sampler would give it."""
    wide = torch.zeros((1, POINTS, tok.MAX_VARIABLES))
    wide[0, :, :columns] = torch.from_numpy(X)
    y = torch.from_numpy(y).float()[None]
    nothing = torch.zeros((1, 0))
    return Batch(
        tokens=core,
        constants=nothing,
        variables=torch.tensor([columns]),
        used=torch.zeros((1, tok.MAX_VARIABLES), dtype=torch.bool),
        X=wide,
        clean=y,
        y=y,
        noise=torch.zeros(1),
        X_query=wide[:, :0],
        y_query=nothing,
    )


@torch.inference_mode()
def measure(model: LEE, functions: Batch) -> np.ndarray:
    """Bool (B, 3): token by token; same function; among samples from data alone."""
    bag = torch.arange(POINTS)
    X, y, variables = functions.X[:, bag], functions.y[:, bag], functions.variables
    given = fitted(functions.tokens, functions, seed=0, guess=False).at(bag)
    z = model.embed(X, y, variables, given).z
    rows, _ = model.expression.sample(z, variables, temperature=0)
    targets = functions.tokens[:, : rows.shape[1]]
    exact = (rows == targets).all(1).numpy()
    same = fingerprints(rows.numpy(), affine=True) == fingerprints(targets.numpy(), affine=True)
    blind = model.embed(X, y, variables).z.repeat_interleave(SAMPLES, 0)
    generator = torch.Generator().manual_seed(0)
    many, _ = model.expression.sample(
        blind, variables.repeat_interleave(SAMPLES), generator=generator
    )
    hits = fingerprints(many.numpy(), affine=True).reshape(-1, SAMPLES)
    among = (hits == fingerprints(targets.numpy(), affine=True)[:, None]).any(1)
    return np.stack([exact, exact | same, among], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="small")
    parser.add_argument("--functions", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, facts = checkpoint.load(Lee.folder(options.weights))
    print(f"{facts.get('examples')} functions seen in training")
    data = Data(TaskConfig(), model.config.max_length)
    results = {
        "held out": measure(model, NumberedFunctions(options.functions, data.sampler, SEED)[0])
    }
    for suite, *law in laws(model):
        hit = np.zeros((1, 3), dtype=bool) if law[0] is None else measure(model, as_batch(*law))
        results[suite] = np.concatenate([results.get(suite, np.zeros((0, 3), bool)), hit])
    print(f"{'laws':10} {'number':>6} {'exact':>8} {'same':>8} {f'in {SAMPLES}':>8}")
    for name, hits in results.items():
        shares = "".join(f" {share:8.1%}" for share in hits.mean(0))
        print(f"{name:10} {len(hits):6}{shares}")


if __name__ == "__main__":
    main()
