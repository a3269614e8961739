"""The package in docs/adding-a-method.md is what the page says: complete, and it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """The page's package as pip would install it: its module and its entry points."""
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
    assert set(files) == {"pyproject.toml", "one_curve.py"}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    site = tmp_path_factory.mktemp("site")
    (site / "one_curve.py").write_text(files["one_curve.py"], encoding="utf-8")
    about = site / f"one_curve-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))
    homes = {"LEE_BENCH_ENVIRONMENTS": str(site / "environments")}
    return os.environ | homes | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def lee_bench(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from lee_bench.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_it_is_listed_with_what_it_says_of_itself(environment):
    done = lee_bench(environment, "methods", "--json")
    (probe,) = (probe for probe in json.loads(done.stdout) if probe["name"] == "one-curve")
    assert probe["available"], probe["reason"]
    assert probe["origin"] == "one-curve 0.1"
    assert probe["summary"] == "one function of one feature, by least squares"
    assert "scipy" in probe["versions"]


def test_the_documented_commands_measure_it(environment, tmp_path):
    commands = re.findall(r"^\$ lee-bench (run .*one-curve.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for number, command in enumerate(commands):
        arguments = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)]
        if "operon" in arguments:  # another method's time is not the example's to spend
            at = arguments.index("operon")
            del arguments[at - 1 : at + 1]
        results = tmp_path / str(number)
        small = ["--limit", "1", "--noise", "0", "--data", "builtin", "--results", str(results)]
        done = lee_bench(environment, *arguments, *small)
        assert done.returncode == 0, done.stdout + done.stderr
        (record,) = (results / "runs").rglob("*.json")
        stored = json.loads(record.read_text())
        assert stored["status"] == "ok", stored
        assert stored["formula"] == stored["candidates"][stored["chosen"]]["formula"]


def test_it_passes_the_contract_suite_as_the_page_promises(environment):
    (command,) = re.findall(r"^\$ pytest (.*)$", PAGE, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *command.split()],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
    assert "failed" not in done.stdout
