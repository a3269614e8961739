"""The first thing a person sees."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from lee_bench.cli.app import app
from methods.symbolic.method import PATIENCE

ROOT = typer.main.get_command(app)
COMMANDS = [
    (*path, name)
    for path, group in [((), ROOT), *(((n,), c) for n, c in ROOT.commands.items())]
    if hasattr(group, "commands")
    for name in group.commands
]


def test_help_imports_nothing_heavy():
    """Start-up time is import time; this holds it without timing anything."""
    heavy = [
        "numpy",
        "pandas",
        "sympy",
        "scipy",
        "torch",
        "matplotlib",
        "sklearn",
        "psutil",
        "pmlb",
    ]
    code = (
        "import sys; sys.argv = ['lee-bench', '--help']\n"
        "from lee_bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_explained(path):
    command = ROOT
    for name in path:
        command = command.commands[name]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]} has no help"


def test_the_patience_that_fit_tells_of_is_that_of_the_search():
    told = {p.name: p.help for p in ROOT.commands["fit"].params}["patience"]
    assert f"[default: {PATIENCE:g}]" in told


def test_version(lee_bench):
    done = lee_bench("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "lee-bench")


def test_an_unknown_command_is_wrong_usage(lee_bench):
    done = lee_bench("bench")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
