"""Train LEE: `lee-bench train lee`, or `python -m methods.lee.train` on a machine that has only
Python, torch, numpy, safetensors and rich.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from lee_bench.errors import LeeBenchError, UsageError, unknown
from methods.lee import checkpoint
from methods.lee.config import SIZES, TaskConfig
from methods.lee.model import LEE
from methods.lee.objective import Objective
from methods.training import Progress, Settings, Trainer, pick_device, show_progress

# On a processor a step takes one batch a core; a GPU takes one that keeps it busy.
_ON_GPU = TaskConfig(rows=4096, own_from=500)


def train(
    size: str,
    minutes: float,
    *,
    device: str = "auto",
    folder: Path | None = None,
    resume: bool = False,
    start: Path | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Progress:
    """Train for some minutes, showing progress; a checkpoint is left at the end.

    Args:
        size: a name in `SIZES`.
        device: `auto`, `cpu` or `cuda`.
        folder: for checkpoints and the model; results/training/lee-<size> by default.
        resume: go on from the folder's newest checkpoint.
        start: a saved model to begin from, with a fresh optimiser, where nothing is resumed.
        seed: of weights, data and noise.
        threads: processor cores to use; all by default.

    Raises:
        UsageError: no such size or device; checkpoints are there but `resume` is not set.
        SetupError: no checkpoint can be read.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    where = pick_device(device)
    folder = folder or Path("results/training") / f"lee-{size}"
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    task = replace(_ON_GPU if where.type == "cuda" else TaskConfig(), seed=seed)
    if where.type == "cpu":
        settings = Settings(shards=threads)
    else:  # one core launches kernels, a few fit constants, the others make data
        settings = Settings(workers=max(1, threads - 2), warmup=500)
    torch.manual_seed(seed)
    model = checkpoint.load(start)[0].train() if start else LEE(SIZES[size])
    facts = {
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "task": asdict(task),
        "settings": asdict(settings),
        "device": torch.cuda.get_device_name() if where.type == "cuda" else platform.machine(),
        "threads": threads,
        "torch": torch.__version__,
    }
    with show_progress() as show, _subnormals_as_zero():
        fitters = 1 if where.type == "cpu" else 4
        objective = Objective(model, task, where, fitters)
        trainer = Trainer(objective, folder, settings, facts, show)
        if resume:
            trainer.resume()
        elif trainer.checkpoints():
            raise UsageError(
                f"{folder} already holds checkpoints.",
                "Add --resume to go on from them, or name another --folder.",
            )
        return trainer.run(minutes)


@contextlib.contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """Numbers below 1e-38 are slow on processors; elsewhere in the process they must stay."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m methods.lee.train", description=__doc__)
    parser.add_argument("--size", default="small", choices=SIZES)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--start", type=Path, help="a saved model to begin from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        train(options.pop("size"), options.pop("minutes"), **options)
    except LeeBenchError as error:
        print(f"error: {error}\n{error.hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
