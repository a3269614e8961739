"""A virtual environment for a method whose packages do not get on with everybody else's.

The environment holds numpy and what the method asks pip for, nothing of lee-bench's own needs. The
two packages lee_bench and methods reach it through a *bridge*: a folder of symbolic links that is
put on PYTHONPATH, so that nothing else of the main environment can be seen from there.
"""

from __future__ import annotations

import os
from pathlib import Path

_COMPLETE = "complete.json"
"""Written last; a folder without it is half made and counts as absent."""


def home() -> Path:
    """Where environments live: $LEE_BENCH_ENVIRONMENTS, or the user's data folder."""
    if chosen := os.environ.get("LEE_BENCH_ENVIRONMENTS"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("lee-bench")) / "environments"


def interpreter(name: str) -> Path | None:
    """Python of a method's own environment; None if it has none."""
    folder = home() / name
    if not (folder / _COMPLETE).is_file():
        return None
    return folder / "bin" / "python"


def bridge(name: str) -> Path:
    """The folder of links by which a method's environment sees its adapter and the contract."""
    return home() / name / "bridge"


def child_environment(name: str) -> dict[str, str]:
    """Environment variables for a process of a method that has its own interpreter."""
    drop = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    alone = {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}  # no packages of the user's, or of ./
    return kept | alone | {"PYTHONPATH": str(bridge(name))}
