"""Train LEE: `lee-bench train lee`, or `python -m methods.lee.train` on a machine that has only
Python, torch, numpy, safetensors and rich.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from methods.lee import checkpoint
from methods.lee.config import SIZES, TaskConfig
from methods.lee.model import LEE
from methods.lee.objective import Objective
from methods.training import Progress, command

# On a processor a step takes one batch a core; a GPU takes one that keeps it busy.
_ON_GPU = TaskConfig(rows=4096, own_from=500)


def train(
    size: str,
    minutes: float,
    *,
    start: Path | None = None,
    seed: int = 0,
    **options: Any,
) -> Progress:
    """Train for some minutes, showing progress; a checkpoint is left at the end.

    Args:
        size: a name in `SIZES`.
        start: a saved model to begin from, with a fresh optimiser, where nothing is resumed.
        seed: of weights, data and noise.
        options: device, folder, resume, threads; see `methods.training.command.train`, which also
            says what is raised.
    """

    def build(where: torch.device, fitters: int) -> tuple[Objective, Mapping[str, Any]]:
        task = replace(_ON_GPU if where.type == "cuda" else TaskConfig(), seed=seed)
        if start:
            task = replace(task, own_from=0)
        model = checkpoint.load(start)[0].train() if start else LEE(SIZES[size])
        return Objective(model, task, where, fitters), asdict(task)

    return command.train("lee", size, SIZES, minutes, build, seed=seed, **options)


if __name__ == "__main__":
    sys.exit(command.main("methods.lee.train", train, SIZES))
