"""Imports point one way: cli -> evidence -> runs -> tasks -> expression -> contract -> errors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [  # from the ground up; a room may import its own and lower ones
    {"lee_bench", "lee_bench.errors", "lee_bench.files"},
    {"lee_bench.contract"},
    {"lee_bench.expression"},
    {"lee_bench.algebra", "lee_bench.latex", "lee_bench.mathml"},
    {"lee_bench.equivalence"},
    {"lee_bench.tasks"},
    {"lee_bench.runs"},
    {"lee_bench.evidence"},
    {"lee_bench.cli"},
]
METHOD_MAY_IMPORT = {
    "lee_bench.contract",
    "lee_bench.expression",
    "lee_bench.algebra",
    "lee_bench.latex",
    "lee_bench.errors",
}


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at its head or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    for level, rooms in reversed(list(enumerate(LAYERS))):
        if any(
            module == room or module.startswith(room + ".") for room in rooms if room != "lee_bench"
        ):
            return level
    return 0


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources("lee_bench"), ids=module_name)
def test_the_harness_imports_downwards_only(path):
    own = layer(module_name(path))
    for name in imports(path):
        if name == "lee_bench" or name.startswith("lee_bench."):
            assert layer(name) <= own, f"{module_name(path)} imports {name} above it"
        assert name.split(".")[0] != "methods", f"{module_name(path)} imports a method: {name}"


@pytest.mark.parametrize("path", sources("methods"), ids=module_name)
def test_methods_meet_the_harness_at_the_contract_only(path):
    own = module_name(path).split(".")[1:2]
    for name in imports(path):
        if name.startswith("lee_bench."):
            assert any(name == m or name.startswith(m + ".") for m in METHOD_MAY_IMPORT), name
        if own in (["lee"], ["gensr"]):
            other = "methods.gensr" if own == ["lee"] else "methods.lee"
            assert not name.startswith(other), f"{module_name(path)} imports {name}"


@pytest.mark.parametrize("path", sources("lee_bench"), ids=module_name)
def test_matplotlib_stays_in_plots(path):
    if not module_name(path).startswith("lee_bench.evidence.plots"):
        assert not any(name.split(".")[0] == "matplotlib" for name in imports(path))


def test_a_worker_needs_numpy_only():
    """A method's own environment has nothing else, so nothing else may be loaded on the way."""
    heavy = [
        "pandas",
        "sympy",
        "scipy",
        "torch",
        "matplotlib",
        "rich",
        "typer",
        "psutil",
        "sklearn",
    ]
    code = (
        "import sys, lee_bench.runs.worker, lee_bench.expression, methods.linear\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
