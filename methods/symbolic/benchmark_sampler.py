"""Measure canonical forms, fingerprints and the sampler on this machine.

    python -m methods.symbolic.benchmark_sampler [--quick]

Canonical forms run on one thread and are measured in processor time, so that other work on the
machine does not count; the sampler is measured in both, with one thread and with all. Compilation
and first calls are not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from methods.symbolic import inputs, programs, trees
from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical import canonical
from methods.symbolic.fingerprint import fingerprints
from methods.symbolic.sampler import Sampler, SamplerConfig, sample_trees


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of a call, after the device has finished."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def raw_trees(n: int, seed: int) -> np.ndarray:
    """Trees as the rules give them, most of them not in canonical form, int64 (about n, 30)."""
    generator = torch.Generator().manual_seed(seed)
    draw = inputs.Draw(generator)
    tokens, alive = trees.grow(
        draw.whole(3, 20, n), torch.zeros(n, dtype=torch.int64), 30, generator
    )
    used = torch.ones(n, dtype=torch.int64)
    tokens = trees.name_variables(tokens, used, 3 * used, generator)
    return tokens[alive & (tokens == tok.CONSTANT).any(1)].numpy()


def measure_canonical(n: int) -> None:
    """Canonical forms and fingerprints a second on one thread."""
    tokens = raw_trees(n, 0)
    constants = np.random.default_rng(0).uniform(0.5, 2, (len(tokens), 30))
    length = tok.lengths(tokens).mean()
    canonical(tokens[:100])
    for name, call in (
        ("skeletons", lambda: canonical(tokens)),
        ("with values", lambda: canonical(tokens, constants)),
    ):
        cpu, _ = timed(call)
        print(f"canonical, {name}: {len(tokens) / cpu:,.0f} a second ({length:.1f} tokens each)")
    fingerprints(tokens)
    cpu, _ = timed(lambda: fingerprints(tokens))
    print(f"fingerprints: {len(tokens) / cpu:,.0f} a second")


def measure_sampler(pairs: int, device: str, threads: int, queries: int) -> None:
    """Pairs a second, and how the time divides."""
    torch.set_num_threads(threads)
    generator = torch.Generator(device).manual_seed(0)
    config = SamplerConfig(points=64, query_points=queries)
    sampler = Sampler(2048 if device == "cpu" else 32768, generator, config)
    next(sampler)
    before = sampler.counts.accepted

    def run() -> None:
        while sampler.counts.accepted - before < pairs:
            next(sampler)

    cpu, wall = timed(run)
    made = sampler.counts.accepted - before
    sample_trees(sampler.proposals, config, generator)
    rounds = max(1, made // 3000) if device == "cpu" else 3
    _, tree_wall = timed(
        lambda: [sample_trees(sampler.proposals, config, generator) for _ in range(rounds)]
    )
    per_round = tree_wall / rounds
    all_rounds = sampler.counts.proposed / sampler.proposals * made / sampler.counts.accepted
    backend = "numba" if device == "cpu" and programs.HAS_NUMBA else "torch"
    print(
        f"sampler, {device}, {threads} threads, {64 + queries} points, {backend}: "
        f"{made / wall:,.0f} pairs a second, {made / cpu:,.0f} a processor second; "
        f"expressions {per_round * all_rounds / wall:.0%} of the time"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure canonical forms and the sampler.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    args = parser.parse_args()
    scale = 1 if args.quick else 10
    torch.set_num_threads(1)
    measure_canonical(2_000 * scale)
    for threads in sorted({1, programs.default_threads()}):
        measure_sampler(5_000 * scale, "cpu", threads, 0)
    measure_sampler(5_000 * scale, "cpu", 1, 64)
    if torch.cuda.is_available():
        measure_sampler(200_000 * scale, "cuda", 1, 0)
        measure_sampler(200_000 * scale, "cuda", 1, 64)
    else:
        print("sampler, cuda: no GPU here")


if __name__ == "__main__":
    main()
