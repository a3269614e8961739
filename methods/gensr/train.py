"""Train GenSR: `lee-bench train gensr`, or `python -m methods.gensr.train` on a machine that has
only Python, torch, numpy, safetensors and rich.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from methods.gensr import checkpoint
from methods.gensr.config import SIZES, TaskConfig
from methods.gensr.model import GenSR
from methods.gensr.objective import Objective
from methods.training import Progress, command

# On a processor a step takes one batch a core; a GPU takes one that keeps it busy.
_ON_GPU = TaskConfig(rows=4096, anneal=500)


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

    def build(where: torch.device, _: int) -> tuple[Objective, Mapping[str, Any]]:
        task = replace(_ON_GPU if where.type == "cuda" else TaskConfig(), seed=seed)
        model = checkpoint.load(start)[0].train() if start else GenSR(SIZES[size])
        return Objective(model, task, where), asdict(task)

    return command.train("gensr", size, SIZES, minutes, build, seed=seed, **options)


if __name__ == "__main__":
    sys.exit(command.main("methods.gensr.train", train, SIZES))
