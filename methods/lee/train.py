"""Train LEE: `lee-bench train lee`, or `python -m methods.lee.train` on a machine that has only
Python, torch, numpy, safetensors and rich.
"""

from __future__ import annotations

import functools
import sys

from methods.lee import checkpoint
from methods.lee.config import SIZES, TaskConfig
from methods.lee.model import LEE
from methods.lee.objective import Objective
from methods.training import command

RECIPE = command.Recipe(
    method="lee",
    sizes=SIZES,
    task=TaskConfig(),
    on_gpu={"rows": 4096, "own_from": 500},
    make=LEE,
    load=checkpoint.load,
    objective=Objective,
)

train = functools.partial(command.train, RECIPE)

if __name__ == "__main__":
    sys.exit(command.main(RECIPE))
