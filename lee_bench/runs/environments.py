"""A virtual environment for a method whose packages do not get on with everybody else's.

The environment holds numpy and what the method asks pip for, nothing of lee-bench's own needs.
lee_bench, methods and the package of an outside adapter reach it through a *bridge*: a folder of
symbolic links that is put on PYTHONPATH, so that nothing else of the main environment can be seen
from there. The code is always the one that runs here, never a copy.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lee_bench.errors import SetupError

COMPLETE = "complete.json"
"""Written last; a folder without it is half made and counts as absent."""

NUMPY = "numpy>=1.26"


def home() -> Path:
    """Where environments live: $LEE_BENCH_ENVIRONMENTS, or the user's data folder."""
    if chosen := os.environ.get("LEE_BENCH_ENVIRONMENTS"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("lee-bench")) / "environments"


def interpreter(name: str) -> Path | None:
    """Python of a method's own environment; None if it has none."""
    folder = home() / name
    return _python(folder) if (folder / COMPLETE).is_file() else None


def child_environment(name: str) -> dict[str, str]:
    """Environment variables for a process of a method that has its own interpreter."""
    about = _read(home() / name)
    if about is None:
        raise SetupError(
            f"The environment of {name} is gone.", f"Run `lee-bench methods install {name}`."
        )
    drop = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    alone = {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}  # no packages of the user's, or of ./
    return kept | alone | {"PYTHONPATH": str(_bridge(name, about["adapter"]))}


def install(
    name: str,
    requirements: Sequence[str],
    target: str,
    say: Callable[[str], None],
    force: bool = False,
) -> Path:
    """Make a method's environment; one made for the same is left as it is unless forced.

    Args:
        name: registered name of the method.
        requirements: what pip installs besides numpy.
        target: ``module:Class`` of the adapter, whose package must be seen from there.
        say: receives each line of progress, as it comes.
        force: build it anew.

    Returns:
        The folder of the environment. On failure, or when interrupted, nothing is left of it.

    Raises:
        SetupError: the environment cannot be made, or pip cannot install something.
    """
    import filelock

    folder = home() / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.parent / f".{name}.lock"):
            about = {"adapter": target.partition(":")[0], "requirements": list(requirements)}
            if not force and _read(folder) == about:
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _build(folder, requirements, say)
                (folder / COMPLETE).write_text(json.dumps(about), encoding="utf-8")
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise SetupError(
            f"No environment can be made in {folder}: {error}",
            "Set LEE_BENCH_ENVIRONMENTS to a folder that can be written.",
        ) from error
    return folder


def remove(name: str) -> bool:
    """Delete a method's environment; says whether there was one."""
    import filelock

    folder = home() / name
    if not folder.exists():
        return False
    with filelock.FileLock(folder.parent / f".{name}.lock"):
        (folder / COMPLETE).unlink(missing_ok=True)  # first, so that none is ever half there
        shutil.rmtree(folder)
    return True


def _read(folder: Path) -> dict | None:
    """What a complete environment was made for."""
    try:
        return json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _build(folder: Path, requirements: Sequence[str], say: Callable[[str], None]) -> None:
    say(f"making an environment in {folder}")
    _run([sys.executable, "-m", "venv", str(folder)], say, "Python cannot make an environment")
    pip = [str(_python(folder)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run(
        [*pip, "install", NUMPY, *requirements], say, f"pip cannot install {' '.join(requirements)}"
    )


def _run(command: list[str], say: Callable[[str], None], problem: str) -> None:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    last = ""
    with subprocess.Popen(
        command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            say(line.rstrip())
            last = line.strip() or last
    if process.returncode != 0:
        raise SetupError(
            f"{problem}: {last or f'exit code {process.returncode}'}",
            "The lines above say more. pip's own settings apply, such as PIP_INDEX_URL.",
        )


def _bridge(name: str, adapter: str) -> Path:
    """Folder of links to the packages a worker needs, made where it is missing.

    Its name comes from where the packages are, so two installations of lee-bench that share an
    environment never redirect each other's workers.
    """
    places = {top: _place(top) for top in ("lee_bench", "methods", adapter.partition(".")[0])}
    digest = hashlib.sha256("\n".join(map(str, places.values())).encode()).hexdigest()[:12]
    folder = home() / name / "bridge" / digest
    if not folder.is_dir():
        draft = folder.with_name(f"{digest}.{os.getpid()}")
        draft.mkdir(parents=True, exist_ok=True)
        for place in places.values():
            (draft / place.name).symlink_to(place)
        try:
            draft.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    return folder


def _place(top: str) -> Path:
    """Where a package or single-file module lies."""
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        raise SetupError(f"The package {top} is not to be found.")
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin)
