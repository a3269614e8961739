"""The command that trains a network: what LEE's and GenSR's have in common."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lee_bench.errors import LeeBenchError, UsageError, unknown
from methods.training.devices import pick_device
from methods.training.loop import Objective, Progress, Settings, Trainer
from methods.training.show import show_progress

Build = Callable[[torch.device, int], tuple[Objective, Mapping[str, Any]]]
"""Makes an objective for a device, given cores for its own use, and says what the task is."""


def train(
    method: str,
    size: str,
    sizes: Mapping[str, Any],
    minutes: float,
    build: Build,
    *,
    device: str = "auto",
    folder: Path | None = None,
    resume: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> Progress:
    """Train for some minutes, showing progress; a checkpoint is left at the end.

    Args:
        method: its name; size: a name in `sizes`.
        build: called once the device is known and torch's seed is set.
        device: `auto`, `cpu` or `cuda`.
        folder: for checkpoints and the model; results/training/<method>-<size> by default.
        resume: go on from the folder's newest checkpoint.
        seed: of the weights.
        threads: processor cores to use; all by default.

    Raises:
        UsageError: no such size or device; checkpoints are there but `resume` is not set.
        SetupError: no checkpoint can be read.
    """
    if size not in sizes:
        raise unknown("size", size, sizes)
    where = pick_device(device)
    on_cpu = where.type == "cpu"
    folder = folder or Path("results/training") / f"{method}-{size}"
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    if on_cpu:
        settings = Settings(shards=threads)
    else:  # one core launches kernels, a few fit constants, the others make data
        settings = Settings(workers=max(1, threads - 2), warmup=500)
    torch.manual_seed(seed)
    with show_progress() as show, _subnormals_as_zero():
        objective, task = build(where, 1 if on_cpu else 4)
        facts = {
            "size": size,
            "parameters": sum(p.numel() for p in objective.module.parameters()),
            "task": dict(task),
            "settings": asdict(settings),
            "device": platform.machine() if on_cpu else torch.cuda.get_device_name(),
            "threads": threads,
            "torch": torch.__version__,
        }
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


def main(
    module: str,
    train: Callable[..., Progress],
    sizes: Mapping[str, Any],
    arguments: list[str] | None = None,
) -> int:
    """Command line of a method's `train` module; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--size", default="small", choices=sizes)
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
