"""The command that trains a network: what LEE's and GenSR's have in common."""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lee_bench.errors import LeeBenchError, UsageError, unknown
from methods.symbolic.programs import default_threads
from methods.training.devices import pick_device
from methods.training.loop import Objective, Progress, Settings, Trainer
from methods.training.show import show_progress


@dataclass(frozen=True)
class Recipe:
    """How a method's network is made, and what it is asked.

    Attributes:
        method: its name.
        sizes: configurations of its network.
        task: what it is asked on a processor, where a step takes one batch a core; a dataclass with
            a `seed`.
        on_gpu: what differs on a GPU, which takes a batch that keeps it busy.
        make: a fresh network of a configuration. load: a saved one, and what is known of it.
        objective: of a network, a task, a device, and cores for its own use.
    """

    method: str
    sizes: Mapping[str, Any]
    task: Any
    on_gpu: Mapping[str, Any]
    make: Callable[[Any], nn.Module]
    load: Callable[[Path], tuple[nn.Module, Mapping[str, Any]]]
    objective: Callable[[Any, Any, torch.device, int], Objective]


def train(
    recipe: Recipe,
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
        recipe: of the method.
        size: a name in its sizes.
        device: `auto`, `cpu` or `cuda`.
        folder: for checkpoints and the model; results/training/<method>-<size> by default.
        resume: go on from the folder's newest checkpoint.
        start: a saved model to go on from, with a fresh optimiser, where nothing is resumed.
        seed: of weights, data and noise.
        threads: processor cores to use; all by default.

    Raises:
        UsageError: no such size or device; checkpoints are there but `resume` is not set.
        SetupError: no checkpoint can be read.
    """
    if size not in recipe.sizes:
        raise unknown("size", size, recipe.sizes)
    where = pick_device(device)
    on_cpu = where.type == "cpu"
    folder = folder or Path("results/training") / f"{recipe.method}-{size}"
    threads = threads or default_threads()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    if on_cpu:
        settings = Settings(shards=threads)
    else:  # one core launches kernels, a few fit constants, the others make data
        settings = Settings(workers=max(1, threads - 2), warmup=500)
    torch.manual_seed(seed)
    with show_progress() as show, _subnormals_as_zero():
        task = replace(recipe.task, seed=seed, **({} if on_cpu else recipe.on_gpu))
        network, done = recipe.load(start) if start else (recipe.make(recipe.sizes[size]), {})
        if start and network.config != recipe.sizes[size]:
            raise UsageError(f"{start} is no model of size {size}.", "Name its own size: --size.")
        network.train()
        objective = recipe.objective(network, task, where, 1 if on_cpu else 4)
        facts = {
            "size": size,
            "parameters": sum(p.numel() for p in objective.module.parameters()),
            "task": asdict(task),
            "settings": asdict(settings),
            "device": platform.machine() if on_cpu else torch.cuda.get_device_name(),
            "threads": threads,
            "torch": torch.__version__,
        }
        trainer = Trainer(objective, folder, settings, facts, show)
        trainer.begin(done)
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


def main(recipe: Recipe, arguments: list[str] | None = None) -> int:
    """Command line of a method's `train` module; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m methods.{recipe.method}.train")
    parser.add_argument("--size", default="small", choices=recipe.sizes)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--start", type=Path, help="a saved model to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        train(recipe, **options)
    except LeeBenchError as error:
        print(f"error: {error}\n{error.hint}", file=sys.stderr)
        return 2
    return 0
