"""Measure canonical forms, fingerprints and the sampler on this machine.

    python -m methods.symbolic.benchmark_sampler [--quick]

Canonical forms run on one thread and are measured in processor time, so that other work on the
machine does not count; the sampler is measured in wall time too, with one stream and with one a
core. Compilation and first calls are not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

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


def _stream(pairs: int, device: str, queries: int, seed: int) -> tuple[int, float, float, float]:
    """Pairs made, processor and wall seconds, and the share of expressions in the former."""
    generator = torch.Generator(device).manual_seed(seed)
    config = SamplerConfig(points=64, query_points=queries)
    sampler = Sampler(2048 if device == "cpu" else 32768, generator, config)
    next(sampler)
    before, proposed = sampler.counts.accepted, sampler.counts.proposed

    def run() -> None:
        while sampler.counts.accepted - before < pairs:
            next(sampler)

    cpu, wall = timed(run)
    rounds = (sampler.counts.proposed - proposed) // sampler.proposals
    some = max(1, rounds // 4)
    tree_cpu, _ = timed(
        lambda: [sample_trees(sampler.proposals, config, generator) for _ in range(some)]
    )
    return sampler.counts.accepted - before, cpu, wall, tree_cpu / some * rounds / cpu


def measure_sampler(pairs: int, device: str, streams: int, queries: int) -> None:
    """Pairs a second of some streams side by side, each a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(streams, mp_context=context, initializer=_use_one_thread) as pool:
        jobs = [pool.submit(_stream, pairs // streams, device, queries, i) for i in range(streams)]
        results = [job.result() for job in jobs]
    made = sum(r[0] for r in results)
    backend = "numba" if device == "cpu" and programs.HAS_NUMBA else "torch"
    print(
        f"sampler, {device}, {streams} streams, {64 + queries} points, {backend}: "
        f"{sum(r[0] / r[2] for r in results):,.0f} pairs a second, "
        f"{made / sum(r[1] for r in results):,.0f} a processor second; "
        f"expressions {np.mean([r[3] for r in results]):.0%} of it"
    )


def _use_one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure canonical forms and the sampler.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    args = parser.parse_args()
    scale = 1 if args.quick else 10
    measure_canonical(2_000 * scale)
    for streams in sorted({1, programs.default_threads()}):
        measure_sampler(5_000 * scale, "cpu", streams, 0)
    measure_sampler(5_000 * scale, "cpu", 1, 64)
    if torch.cuda.is_available():
        measure_sampler(200_000 * scale, "cuda", 1, 0)
        measure_sampler(200_000 * scale, "cuda", 1, 64)
    else:
        print("sampler, cuda: no GPU here")


if __name__ == "__main__":
    main()
