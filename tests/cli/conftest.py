from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lee_bench.cli import main
from lee_bench.runs.record import Status


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Shells start what runs in the background deaf to Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def command() -> str:
    """Path of the installed command."""
    return str(Path(sys.executable).with_name("lee-bench"))


@pytest.fixture
def lee_bench(tmp_path, command):
    """Run the real command in an empty folder; returns the finished process."""

    def run(*arguments: str, timeout: float = 120, **environment: str):
        return subprocess.run(
            [command, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def three_methods(made, tmp_path):
    """Makes a folder with three methods at two noise levels, of which one always fails so."""

    def make(failure: Status) -> Path:
        records = []
        for noise in (0.0, 0.1):
            records += [
                made.ok(method="operon", noise=noise),
                made.ok("20 - x", method="linear", noise=noise),
                made.failed(failure, method="pysr", noise=noise),
            ]
        made.store(tmp_path / "results", *records)
        return tmp_path / "results"

    return make


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """The command line without the second that a process of its own needs to start."""

    def run(*arguments: object) -> SimpleNamespace:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lee-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return SimpleNamespace(
            returncode=end.value.code or 0, stdout=printed.out, stderr=printed.err
        )

    return run
