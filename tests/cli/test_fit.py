"""`lee-bench fit`, as a user types it."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lee_bench.cli import console, main
from lee_bench.cli.columns import Data
from lee_bench.cli.fit import _watching
from lee_bench.cli.fitted import Fitted

FILES = ["fit.png", "formula.tex", "formula.txt", "front.csv", "model.json", "residuals.png"]


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys):
    """The command line without the seconds that torch needs to start."""

    def run(*arguments: object) -> SimpleNamespace:
        monkeypatch.chdir(tmp_path)
        searching = () if "--time" in arguments else ("--time", "2")
        line = ["lee-bench", "fit", *arguments, *searching, "--threads", "1"]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err + printed.out
        return SimpleNamespace(
            returncode=end.value.code or 0, stdout=printed.out, stderr=printed.err
        )

    return run


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "speed (m/s)": rng.uniform(1, 5, 80),
            "mass": rng.uniform(1, 3, 80),
            "site": ["north", "south"] * 40,
        }
    )
    frame["power"] = frame["mass"] * frame["speed (m/s)"]
    frame.to_csv(tmp_path / "data.csv", index=False)
    return frame


def test_the_users_own_line(lee_bench, table, tmp_path):
    done = lee_bench("fit", "data.csv", "--target", "power", "--time", "3", "--threads", "1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "fit" / "data"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    formula = (folder / "formula.txt").read_text().strip()
    assert table.eval(formula).to_numpy() == pytest.approx(table["power"].to_numpy())
    assert f"power = {formula}" in done.stdout
    assert (folder / "formula.tex").read_text().strip() in done.stdout
    for words in ("60 rows to fit, 20 to test", "'site' is left out: it holds text", "solved"):
        assert words in done.stderr
    for name in FILES:
        assert f"written: results/fit/data/{name}" in done.stderr
    assert (folder / "fit.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((folder / "model.json").read_text())
    assert summary["r2_test"] == pytest.approx(1)
    with (folder / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["formula"] for row in rows if row["chosen"] == "True"] == [formula]


def test_json_is_the_summary_and_nothing_else(fit, table, tmp_path):
    done = fit("data.csv", "--json", "-o", "elsewhere", "--test-share", "0")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer == json.loads((tmp_path / "elsewhere" / "model.json").read_text())
    assert (answer["target"], answer["rows_tested"], answer["r2_test"]) == ("power", 0, None)
    assert "the target is 'power', the last column" in done.stderr


def test_the_table_fits_eighty_columns(fit, table, monkeypatch):
    monkeypatch.setattr(console.out, "width", 80)
    monkeypatch.setattr(type(console.out), "is_terminal", True)
    done = fit("data.csv")
    front = done.stdout.split("\n\n")[0].splitlines()
    assert front[0].split() == ["size", "R²", "fit", "R²", "test", "formula", "(●", "chosen)"]
    assert all(len(line) <= 80 for line in front)
    assert sum("●" in line for line in front[1:]) == 1


def test_features_and_start_in_the_files_own_names(fit, table):
    done = fit(
        "data.csv", "--features", "speed (m/s)", "--start", "2*`speed (m/s)`", "--json"
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["features"] == ["speed (m/s)"]


def test_weights_take_rows_out(fit, table, tmp_path):
    table["w"] = [0, 1] * 40
    table.loc[table["w"] == 0, "power"] = 77.0
    table.drop(columns="site").to_parquet(tmp_path / "data.parquet")
    done = fit("data.parquet", "-t", "power", "--weights", "w", "--json")
    answer = json.loads(done.stdout)
    assert answer["r2_fit"] == pytest.approx(1)
    assert answer["features"] == ["speed (m/s)", "mass"]


def test_a_formula_that_fails_on_other_rows_is_not_praised(fit, tmp_path):
    rng = np.random.default_rng(3)
    pd.DataFrame(rng.normal(size=(40, 3)), columns=["a", "b", "y"]).to_csv(
        tmp_path / "noise.csv", index=False
    )
    done = fit("noise.csv", "--time", "1")
    assert done.returncode == 0
    assert "do not rely on it" in done.stderr or "says next to nothing" in done.stderr


def test_huge_values(fit, table, tmp_path):
    (table.drop(columns="site") * [1e300, 1, 1e300]).to_csv(tmp_path / "huge.csv", index=False)
    done = fit("huge.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["r2_test"] == pytest.approx(1)
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.csv",), "There is no file nowhere.csv"),
        (("data.csv", "--target", "powr"), "Did you mean power?"),
        (("data.csv", "--target", "site"), "holds text, such as 'north'"),
        (("data.csv", "--features", "mass,size"), "No column is called 'size'"),
        (("data.csv", "--start", "mass*velocity"), "no variable 'velocity'"),
        (("data.csv", "--start", "mass*"), "something is missing"),
        (("data.csv", "--output", "data.csv"), "Cannot write to data.csv"),
        (("data.csv", "--output", "/proc"), "Cannot write to /proc"),  # root may not either
        (("one.csv",), "Only 1 row of 1 can be used"),
        (("empty.csv",), "is empty"),
    ],
)
def test_wrong_usage_is_a_sentence_and_code_2(fit, table, tmp_path, arguments, words):
    (tmp_path / "one.csv").write_text("a,y\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    done = fit(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_disk_that_fills_up_costs_the_files_and_not_the_formula(fit, table, monkeypatch, how):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Fitted, "write", full)
    done = fit("data.csv", *how)
    assert done.returncode == 1
    assert "Cannot write to results/fit/data: No space left on device" in done.stderr
    assert "mass" in done.stdout
    assert "written" not in done.stderr


def test_a_reader_that_goes_away_costs_no_files(fit, table, monkeypatch, tmp_path):
    def closed(*_: object) -> None:
        raise SystemExit(1)  # what rich makes of a broken pipe

    monkeypatch.setattr(console, "print_table", closed)
    assert fit("data.csv").returncode == 1
    assert sorted(path.name for path in (tmp_path / "results/fit/data").iterdir()) == FILES


def test_missing_weights_of_the_network_are_code_1(fit, table):
    done = fit("data.csv", "--model", "nowhere")
    assert done.returncode == 1
    assert "no weights of LEE called 'nowhere'" in done.stderr


def test_ctrl_c_keeps_what_was_found(command, tmp_path):
    rng = np.random.default_rng(3)
    pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "y"]).to_csv(
        tmp_path / "noise.csv", index=False
    )
    process = subprocess.Popen(
        [command, "fit", "noise.csv", "--time", "600", "--threads", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in process.stderr:  # the search is on when it tells of a first formula
            lines.append(line)
            if "R²" in line:
                break
        process.send_signal(signal.SIGINT)
        begin = time.perf_counter()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, "".join(lines) + err
    assert time.perf_counter() - begin < 30
    assert "stopped" in err
    assert out.count("●") == 2
    assert (tmp_path / "results" / "fit" / "noise" / "formula.txt").is_file()


def test_r2_is_right_where_squares_overflow_and_formulas_have_no_value():
    y = np.array([1.0, 2.0, 3.0, 4.0]) * 1e300
    data = Data(y[:, None], y, None, ("a",), "y", np.arange(4))
    fitted = Fitted(data, np.zeros(4, dtype=bool), None)
    every = np.ones(4, dtype=bool)
    assert fitted._r2(y, every) == 1
    assert fitted._r2(np.full(4, 2.5e300), every) == pytest.approx(0)
    assert fitted._r2(np.array([np.nan, 2, 3, 4]), every) is None
    weighted = Fitted(
        Data(y[:, None], y, np.array([1.0, 1, 1, 0]), ("a",), "y", np.arange(4)), ~every, None
    )
    assert weighted._r2(y * [1, 1, 1, 9], every) == 1


def test_ctrl_c_in_the_middle_of_a_line_writes_no_other(monkeypatch):
    class Strict(io.StringIO):
        """Like standard error, it cannot be written to while it is being written to."""

        busy = False

        def write(self, text: str) -> int:
            assert not self.busy, "a second line inside of the first"
            self.busy = True
            if "R²" in text:
                os.kill(os.getpid(), signal.SIGINT)
            self.busy = False
            return super().write(text)

    monkeypatch.setattr(console.err, "_file", Strict())
    with _watching(1.0) as watch:
        assert watch(SimpleNamespace(seconds=0.1, r2=0.5), "a")
