"""Train GenSR: `lee-bench train gensr`, or `python -m methods.gensr.train` on a machine that has
only Python, torch, numpy, safetensors and rich.
"""

from __future__ import annotations

import functools
import sys

from methods.gensr import checkpoint
from methods.gensr.config import SIZES, TaskConfig
from methods.gensr.model import GenSR
from methods.gensr.objective import Objective
from methods.training import command

RECIPE = command.Recipe(
    method="gensr",
    sizes=SIZES,
    task=TaskConfig(),
    on_gpu={"rows": 4096, "anneal": 500},
    make=GenSR,
    load=checkpoint.load,
    objective=lambda model, task, device, _: Objective(model, task, device),
)

train = functools.partial(command.train, RECIPE)

if __name__ == "__main__":
    sys.exit(command.main(RECIPE))
