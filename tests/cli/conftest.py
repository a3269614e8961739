from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


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
