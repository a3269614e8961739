"""What the commands that train LEE and GenSR have in common."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from lee_bench.errors import UsageError

METHODS = ["lee", "gensr"]


@pytest.mark.parametrize("method", METHODS)
def test_mistakes_are_told_without_a_traceback(method, tmp_path):
    module = f"methods.{method}.train"
    with pytest.raises(UsageError, match="huge"):
        importlib.import_module(module).train("huge", 1)
    command = [sys.executable, "-m", module, "--minutes", "1", "--folder", tmp_path]
    done = subprocess.run(
        [*command, "--device", "abacus"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "abacus" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_training_needs_no_more_than_torch_numpy_safetensors_and_rich(method):
    forbidden = ["numba", "pandas", "sklearn", "scipy", "sympy", "typer", "matplotlib"]
    program = (
        "import sys\n"
        f"for name in {forbidden}: sys.modules[name] = None\n"
        "import torch\n"
        "from dataclasses import replace\n"
        f"from methods.{method}.train import RECIPE\n"
        f"from methods.{method}.config import ModelConfig\n"
        "config = ModelConfig(width=32, heads=2, hidden=48, encoders=1, decoders=1)\n"
        "task = replace(RECIPE.task, rows=16)\n"
        "o = RECIPE.objective(RECIPE.make(config), task, torch.device('cpu'), 1)\n"
        "for step in range(3000, 3002):\n"  # LEE reads decodes of its own from here on
        "    loss, terms = o.loss(o.data[step], step, 0)\n"
        "print(sorted(terms), float(loss.detach()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) > 0
    assert ("own" in done.stdout) == (method == "lee")  # own decodes need their constants fitted
