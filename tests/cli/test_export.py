"""`lee-bench export`, read back as a user would."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from lee_bench.evidence.aggregate import CELL_COLUMNS


@pytest.fixture
def results(made, tmp_path):
    made.store(
        tmp_path / "results",
        made.ok(),
        made.ok("20 - x", method="linear", noise=0.1, settings='{"a":1}'),
        made.failed(method="pysr"),
    )
    return "results"


@pytest.mark.parametrize(("end", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_one_row_a_cell_with_its_scores(typed, results, tmp_path, end, read):
    done = typed("export", results, "-o", f"out/cells.{end}")
    assert done.returncode == 0, done.stderr
    assert f"Written: out/cells.{end}, 3 cells." in done.stdout
    table = read(tmp_path / "out" / f"cells.{end}").set_index("method")
    assert [*table.columns, "method"] == [*(c for c in CELL_COLUMNS if c != "method"), "method"]
    assert table.loc["operon", ["r2_test", "symbolic_solution"]].tolist() == [1.0, 1.0]
    assert table.loc["linear", "noise"] == 0.1
    assert table.loc["linear", "settings"] == '{"a":1}'
    assert table.loc["pysr", "status"] == "timeout"
    assert pd.isna(table.loc["pysr", "r2_test"])
    assert table["seed"].dtype == "int64"


def test_every_column_is_explained():
    text = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    table = text.partition("| column | meaning |")[2].partition("\n\n")[0]
    explained = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.M)))
    assert sorted(explained) == sorted(CELL_COLUMNS)


def test_mistakes_are_answered_in_words(typed, results, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    for arguments, code, words in (
        (("export", results, "-o", "cells.xlsx"), 2, "neither in .csv nor in .parquet"),
        (("export", "empty", "-o", "cells.csv"), 1, "No readable record"),
        (("export", results, "-o", "/proc/cells.csv"), 1, "Cannot write"),
    ):
        done = typed(*arguments)
        assert done.returncode == code, arguments
        assert words in done.stderr
    for name in {"pyarrow", *(n for n in sys.modules if n.startswith("pyarrow."))}:
        monkeypatch.setitem(sys.modules, name, None)
    done = typed("export", results, "-o", "cells.parquet")
    assert done.returncode == 1
    assert "needs pyarrow" in done.stderr
