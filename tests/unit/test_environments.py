"""A method's own environment: built whole or not at all, and seeing nothing of the main one."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from lee_bench.contract import Budget, Task
from lee_bench.errors import SetupError
from lee_bench.runs import environments, registry
from lee_bench.runs.record import RunKey, Status
from lee_bench.runs.supervisor import Cell, run_cell


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "environments"
    monkeypatch.setenv("LEE_BENCH_ENVIRONMENTS", str(folder))
    return folder


def quiet(line: str) -> None:
    """Progress nobody reads."""


def write_wheel(folder: Path, name: str, version: str, tag: str, files: dict[str, bytes]) -> None:
    about = f"{name}-{version}.dist-info"
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n".encode(),
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in files).encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch) -> Path:
    """A folder that pip takes everything from: this environment's numpy, and a tiny library."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    numpy = metadata.distribution("numpy")
    tag = next(
        line.split(": ")[1]
        for line in numpy.read_text("WHEEL").splitlines()
        if line.startswith("Tag: ")
    )
    inside = [path for path in numpy.files if path.parts[0] in ("numpy", "numpy.libs")]
    write_wheel(
        folder,
        "numpy",
        numpy.version,
        tag,
        {
            path.as_posix(): path.locate().read_bytes()
            for path in inside
            if "tests" not in path.parts and path.suffix != ".pyc"
        },
    )
    write_wheel(folder, "tiny_sr", "0.1", "py3-none-any", {"tiny_sr.py": b"answer = 42\n"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def linear_cell(target: str, name: str) -> Cell:
    X = np.linspace(1, 2, 20)[:, None]
    return Cell(
        key=RunKey("s", "t", "builtin", name, "", 0.0, 1, 5.0, 1, 1),
        target=target,
        settings={},
        command=str(environments.interpreter(name)),
        environment=environments.child_environment(name),
        task=Task(X, 3 * X[:, 0], ("I",)),
        budget=Budget(5.0),
        data={},
    )


def test_an_environment_is_built_used_kept_and_removed(wheelhouse, home):
    lines = []
    folder = environments.install("tiny", ["tiny_sr"], "methods.linear:Linear", lines.append)
    assert folder == home / "tiny"
    assert any("Successfully installed" in line for line in lines)

    # the worker runs there, on this code, with numpy and nothing of the main environment
    record = run_cell(linear_cell("methods.linear:Linear", "tiny"), threading.Event())
    assert record.status is Status.OK, record.stderr
    code = (
        "import sys, tiny_sr, lee_bench, importlib.util as u;"
        "print(tiny_sr.answer, lee_bench.__file__);"
        "print([n for n in ('scipy', 'sympy', 'typer', 'pandas', 'torch') if u.find_spec(n)])"
    )
    done = subprocess.run(
        [environments.interpreter("tiny"), "-c", code],
        env=environments.child_environment("tiny"),
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"42 {home / 'tiny' / 'bridge'}"), done.stderr
    assert second == "[]"

    # asked again, it is there already; and it goes when told to
    assert environments.install("tiny", ["tiny_sr"], "methods.linear:Linear", pytest.fail)
    assert environments.remove("tiny")
    assert environments.interpreter("tiny") is None
    assert not folder.exists()
    assert not environments.remove("tiny")


def test_when_pip_fails_nothing_is_left(home, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SetupError, match=r"pip cannot install .*no-such-sr") as caught:
        environments.install("broken", ["no-such-sr"], "methods.linear:Linear", quiet)
    assert "PIP_INDEX_URL" in caught.value.hint
    assert not (home / "broken").exists()
    assert environments.interpreter("broken") is None


def test_when_interrupted_nothing_is_left(home):
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments.install("half", [], "methods.linear:Linear", interrupt)
    assert not (home / "half").exists()


def test_a_half_made_environment_counts_as_none(home):
    (home / "half" / "bin").mkdir(parents=True)
    (home / "half" / "bin" / "python").symlink_to(sys.executable)
    assert environments.interpreter("half") is None


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LEE_BENCH_ENVIRONMENTS", str(tmp_path / "file" / "environments"))
    with pytest.raises(SetupError, match="No environment can be made") as caught:
        environments.install("any", [], "methods.linear:Linear", quiet)
    assert "LEE_BENCH_ENVIRONMENTS" in caught.value.hint


def pretend_installed(home: Path, name: str, adapter: str) -> None:
    (home / name).mkdir(parents=True)
    (home / name / environments.COMPLETE).write_text(f'{{"adapter": "{adapter}"}}')


def test_the_bridge_carries_the_package_of_an_outside_adapter(home, tmp_path, monkeypatch):
    (tmp_path / "outside_adapter.py").write_text("here = True")
    monkeypatch.syspath_prepend(str(tmp_path))
    pretend_installed(home, "mine", "outside_adapter")
    bridge = Path(environments.child_environment("mine")["PYTHONPATH"])
    assert sorted(link.name for link in bridge.iterdir()) == [
        "lee_bench",
        "methods",
        "outside_adapter.py",
    ]
    assert (bridge / "outside_adapter.py").read_text() == "here = True"
    assert Path(environments.child_environment("mine")["PYTHONPATH"]) == bridge


def test_nothing_around_the_user_leaks_into_a_worker(home, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    pretend_installed(home, "linear", "methods.linear")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the numpy of the current folder')")
    done = subprocess.run(
        [sys.executable, "-c", "import numpy, lee_bench; print(lee_bench.__file__)"],
        env=environments.child_environment("linear"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(home) in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gplearn", "operon"])
def test_a_real_method_is_installed_and_measured_in_its_own_environment(name):
    """Needs a package index; set PIP_INDEX_URL where the default one is out of reach."""
    target = registry.locate(name)
    needs = list(registry.load_class(target).packages.values())
    environments.install(name, needs, target, quiet)
    probe = registry.probe(name)
    assert probe.available, probe.reason
    record = run_cell(linear_cell(target, name), threading.Event())
    assert record.status is Status.OK, record.stderr
    assert name in " ".join(record.versions)
