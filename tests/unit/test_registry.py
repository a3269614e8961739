"""Names of methods: built in, from other packages, wrong, twice, broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lee_bench.errors import MethodError, SetupError, UsageError
from lee_bench.runs import registry

ADAPTER = """
from lee_bench.contract import Method

class Mine(Method):
    summary = "a method of another package"

    def search(self, task, budget, seed):
        pass

    def answer(self):
        pass
"""


@pytest.fixture(autouse=True)
def _fresh_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("LEE_BENCH_ENVIRONMENTS", str(tmp_path / "environments"))
    registry.table.cache_clear()
    yield
    registry.table.cache_clear()


@pytest.fixture
def add_package(tmp_path, monkeypatch):
    """Put an installed package on the path: its code, and its entry points as pip writes them."""

    def add(package: str, entry_points: str, code: str = ADAPTER, version: str = "1.0") -> Path:
        site = tmp_path / package
        about = site / f"{package}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry_points}\n")
        (site / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, package, raising=False)
        registry.table.cache_clear()
        return site

    return add


def test_a_builtin_method_is_known_by_name():
    assert registry.names()[0] == "linear"
    assert registry.locate("operon") == "methods.operon:Operon"
    assert registry.probe("linear").available


def test_every_builtin_loads():
    for target in registry.BUILTIN.values():
        assert registry.load_class(target).summary


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UsageError, match="'opperon'") as caught:
        registry.locate("opperon")
    assert caught.value.hint.startswith("Did you mean operon")


def test_another_package_registers_by_entry_point(add_package):
    add_package("outside_sr", "mine = outside_sr:Mine")
    assert registry.names()[-1] == "mine"
    probe = registry.probe("mine")
    assert (probe.target, probe.origin) == ("outside_sr:Mine", "outside_sr 1.0")
    assert probe.available
    assert probe.interpreter == sys.executable
    assert probe.summary == "a method of another package"


def test_two_methods_of_one_name_are_refused_naming_both(add_package):
    add_package("first_sr", "mine = first_sr:Mine")
    add_package("second_sr", "mine = second_sr:Mine", version="2.0")
    with pytest.raises(SetupError, match="'mine'") as caught:
        registry.names()
    for origin in ("first_sr:Mine of first_sr 1.0", "second_sr:Mine of second_sr 2.0"):
        assert origin in str(caught.value)


def test_no_package_can_replace_a_builtin(add_package):
    add_package("rude_sr", "operon = rude_sr:Mine")
    with pytest.raises(SetupError, match="Operon of lee-bench and rude_sr:Mine"):
        registry.locate("operon")


def test_one_package_seen_twice_is_no_conflict(add_package, tmp_path, monkeypatch):
    site = add_package("outside_sr", "mine = outside_sr:Mine")
    (tmp_path / "again").symlink_to(site)
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    registry.table.cache_clear()
    assert registry.names().count("mine") == 1


def test_a_name_that_would_leave_its_folder_is_refused(add_package):
    add_package("outside_sr", "../../etc = outside_sr:Mine")
    with pytest.raises(SetupError, match=r"outside_sr 1\.0 registers"):
        registry.names()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError"),
        ("class Other: pass", "has no attribute 'Mine'"),
        ("class Mine: pass", "is not a lee_bench.contract.Method"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_broken_adapter_is_unavailable_and_says_why(add_package, code, reason):
    add_package("broken_sr", "mine = broken_sr:Mine", code)
    probe = registry.probe("mine")
    assert not probe.available
    assert reason in probe.reason
    assert probe.remedy
    with pytest.raises(MethodError, match="broken_sr:Mine"):
        registry.load_class("broken_sr:Mine")


def test_a_missing_library_comes_with_the_way_to_get_it(add_package):
    needs = "class Mine(Mine):\n    packages = {'no_such_library': 'no-such>=1'}\n"
    add_package("outside_sr", "mine = outside_sr:Mine", ADAPTER + needs)
    probe = registry.probe("mine")
    assert probe.reason == "no_such_library not installed"
    assert "lee-bench methods install mine" in probe.remedy
    assert probe.requirements == ("no-such>=1",)


def test_a_folder_that_happens_to_have_a_librarys_name_is_not_the_library(
    add_package, tmp_path, monkeypatch
):
    needs = "class Mine(Mine):\n    packages = {'no_such_library': 'no-such>=1'}\n"
    add_package("outside_sr", "mine = outside_sr:Mine", ADAPTER + needs)
    (tmp_path / "no_such_library").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not registry.probe("mine").available


def test_looking_a_library_up_does_not_load_it(add_package):
    needs = "class Mine(Mine):\n    packages = {'this_sr_lib': 'pytest'}\n"
    site = add_package("outside_sr", "mine = outside_sr:Mine", ADAPTER + needs)
    (site / "this_sr_lib.py").write_text("raise SystemExit('loaded')")
    probe = registry.probe("mine")
    assert probe.available
    assert probe.versions["pytest"] == pytest.__version__


def test_what_only_the_method_can_know_comes_with_its_own_remedy(add_package):
    knows = (
        "class Mine(Mine):\n"
        "    remedy = 'Buy a licence.'\n"
        "    @classmethod\n"
        "    def unavailable(cls):\n"
        "        return 'no licence'\n"
    )
    add_package("outside_sr", "mine = outside_sr:Mine", ADAPTER + knows)
    probe = registry.probe("mine")
    assert (probe.reason, probe.remedy) == ("no licence", "Buy a licence.")


def give_environment(tmp_path: Path, name: str, script: str) -> Path:
    """A finished environment whose Python is a script."""
    folder = tmp_path / "environments" / name
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (folder / "complete.json").write_text(json.dumps({"adapter": "methods.linear"}))
    return python


def test_a_method_with_its_own_environment_is_asked_there(tmp_path):
    python = give_environment(tmp_path, "linear", f'exec {sys.executable} "$@"')
    probe = registry.probe("linear")
    assert probe.available
    assert probe.interpreter == str(python)
    assert probe.versions["python"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo out of order >&2; exit 3", "out of order"),
        ("exec /no/such/python", "no/such/python"),
    ],
)
def test_a_broken_environment_says_so_and_how_to_mend_it(tmp_path, script, reason):
    give_environment(tmp_path, "linear", script)
    probe = registry.probe("linear")
    assert not probe.available
    assert reason in probe.reason
    assert "lee-bench methods install linear --force" in probe.remedy


def test_the_registry_needs_numpy_only():
    """It runs inside environments that have nothing else."""
    code = (
        "import sys, numpy; before = set(sys.modules); import lee_bench.runs.registry;"
        "new = {n.partition('.')[0] for n in set(sys.modules) - before};"
        "print(*(new - sys.stdlib_module_names - {'lee_bench', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [], done.stderr
