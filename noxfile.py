"""Developer sessions, and the installer: `python3 noxfile.py -s SESSION` needs only Python.

bench   install everything into .venv and run lee-bench with the arguments after --
tests   the test suite without its slow part
smoke   every installable method on one small task, through the real command
gate    every method on a small grid, held against results/baselines/ci.json; renew: -- renew
lint    style and format
slow    the tests that need minutes
lowest  the test suite on the oldest supported versions
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

try:
    import nox
except ImportError:  # a fresh clone: put nox into a folder of its own, then start over with it
    home = Path(__file__).parent / ".nox" / "bootstrap"
    python = home / "bin" / "python"
    if not (python.exists() and (home / "bin" / "nox").exists()):  # or an earlier start broke off
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "nox", "uv"], check=True)
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    os.execv(python, [python, "-m", "nox", "-f", __file__, *sys.argv[1:]])

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "tests", "smoke"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
METHODS = ".[operon,gplearn]"
TORCH = "2.13.0"


def install_torch(session: nox.Session, python: str) -> None:
    """Install the CPU build of torch where there is no GPU; PyPI's build for Linux is several GB.

    uv knows where the builds for each kind of machine are; pip only knows PyPI.
    """
    probe = [python, "-c", "import torch"]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        return
    uv = shutil.which("uv")
    wanted = f"torch=={TORCH}"
    if uv:
        command = [uv, "pip", "install", "--quiet", "--python", python, "--torch-backend=auto"]
        if subprocess.run([*command, wanted], capture_output=True).returncode == 0:
            return
    session.warn(
        "PyTorch's own index cannot be reached, so pip chooses the build of torch. On Linux, that "
        "may be the one for GPUs, several GB. Stop here to install a CPU torch by hand instead."
    )
    session.run(python, "-m", "pip", "install", "--quiet", wanted, external=True)


def install(session: nox.Session, *what: str) -> None:
    """Install the project and the named requirements into a session's environment."""
    install_torch(session, str(Path(session.virtualenv.location) / "bin" / "python"))
    session.install("--quiet", "-e", METHODS, *what)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Install into .venv and run lee-bench, e.g. `-s bench -- run --suite strogatz`."""
    python = Path(".venv/bin/python")
    if not python.exists():
        session.run(sys.executable, "-m", "venv", ".venv")
    elif subprocess.run([python, "-c", "import pip"], capture_output=True).returncode:
        # An earlier start broke off, or uv made it, which puts no pip in: what it holds stays.
        session.run(str(python), "-m", "ensurepip", "--default-pip")
    install_torch(session, str(python))
    session.run(str(python), "-m", "pip", "install", "--quiet", "-e", METHODS)
    session.run(".venv/bin/lee-bench", *(session.posargs or ["--help"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite without its slow part, on the same examples every time."""
    install(session, *nox.project.dependency_groups(PYPROJECT, "test"))
    same = "--hypothesis-profile=same"
    session.run("pytest", "-m", "not slow", "-n", "2", same, *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that need minutes."""
    install(session, *nox.project.dependency_groups(PYPROJECT, "test"))
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("--quiet", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def smoke(session: nox.Session) -> None:
    """Measure every installable method on one small task, and draw the front."""
    install(session)
    results = Path(session.create_tmp()) / "smoke"
    shutil.rmtree(results, ignore_errors=True)
    grid = ["--suite", "strogatz", "--task", "strogatz_lv1", "--method", "all"]
    limits = ["--noise", "0", "--noise", "0.01", "--time-limit", "5", "--data", "builtin"]
    session.run("lee-bench", "run", *grid, *limits, "--results", str(results))
    session.run("lee-bench", "pareto", str(results))


@nox.session
def gate(session: nox.Session) -> None:
    """Fail if a method got worse than in the baseline."""
    install(session)
    session.run("bash", ".ci/gate", *session.posargs, external=True)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the test suite on the oldest supported versions of the direct dependencies."""
    session.install("--quiet", "uv")
    groups = nox.project.dependency_groups(PYPROJECT, "test")
    session.run(
        "uv",
        "pip",
        "install",
        "--resolution=lowest-direct",
        "-e",
        METHODS,
        f"torch=={TORCH}",
        *groups,
    )
    session.run("pytest", "-m", "not slow", *session.posargs)


if __name__ == "__main__":  # `python3 noxfile.py` with a Python that has nox
    os.execv(sys.executable, [sys.executable, "-m", "nox", "-f", __file__, *sys.argv[1:]])
