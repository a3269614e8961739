"""The first thing a person sees."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

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


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_where_to_write_has_the_same_two_names_everywhere(path):
    command = ROOT
    for name in path:
        command = command.commands[name]
    for parameter in command.params:
        if "--output" in parameter.opts:
            assert "-o" in parameter.opts


def test_signs_that_the_terminal_lacks_do_not_end_a_command(command, made, tmp_path):
    found = ({"formula": "20 - θ"},)
    record = replace(made.failed(), candidates=found, chosen=0)
    made.store(tmp_path / "results", record)

    def show(*how: str) -> str:
        done = subprocess.run(
            [command, "show", made.task, *how],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            encoding="latin-1",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "20 - ?" in show()  # after a ●, which has no place in Latin-1 either
    (cell,) = json.loads(show("--json"))
    assert cell["record"]["candidates"] == list(found)


def test_the_installer_starts_over_where_it_broke_off(tmp_path, monkeypatch):
    def execv(*_: object) -> None:
        raise SystemExit

    made = []
    script = shutil.copy(Path(__file__).parents[2] / "noxfile.py", tmp_path)
    monkeypatch.setitem(sys.modules, "nox", None)
    monkeypatch.setattr(venv, "create", lambda home, **how: made.append((home, how)))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the script puts its folder in front
    home = tmp_path / ".nox" / "bootstrap"
    (home / "bin").mkdir(parents=True)
    for there in ("python", "nox"):
        (home / "bin" / there).touch()
        with pytest.raises(SystemExit):
            runpy.run_path(script)
    assert made == [(home, {"with_pip": True, "clear": True})]  # with Python and no nox, not later


def test_what_the_system_refuses_is_told_in_a_sentence(lee_bench):
    done = lee_bench("pareto", "x" * 300)
    assert done.returncode == 1
    assert "File name too long" in done.stderr
    assert "Traceback" not in done.stderr


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
