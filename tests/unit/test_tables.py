"""Reading a person's own table: right, or refused with a reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lee_bench.cli.columns import select
from lee_bench.cli.tables import Table, bare_name, read
from lee_bench.errors import UsageError

ROWS = "1,2,3\n2,4,5\n3,5,9\n4,7,11\n5,8,12\n"


@pytest.fixture
def file(tmp_path):
    """Write a file and read it."""

    def make(content: str | bytes, name: str = "data.csv") -> Table:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path)

    return make


def columns(table: Table) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in table.numbers.items()}


PLAIN = {"a": [1.5, 2, 3], "speed (m/s)": [4, 5, 6.25]}


@pytest.mark.parametrize(
    "content",
    [
        "a,speed (m/s)\n1.5,4\n2,5\n3,6.25\n",
        "a\tspeed (m/s)\n1.5\t4\n2\t5\n3\t6.25\n",
        "a;speed (m/s)\n1,5;4\n2;5\n3;6,25\n",
        " a | speed (m/s)\n1.5 | 4\n2 | 5\n3 | 6.25\n",
        'a "speed (m/s)"\n1.5 4\n2 5\n3 6.25\n'.replace(" (m/s)", "_(m/s)"),
        "\ufeffa,speed (m/s)\r\n1.5,4\r\n2,5\r\n3,6.25\r\n\r\n",
        "# measured in May\n#a,speed (m/s)\n1.5,4\n2,5\n3,6.25\n",
        "a,speed (m/s)\n1.5,4,\n2,5,\n3,6.25,\n",
        '"a","speed (m/s)"\n"1,5","4,0"\n"2,0","5,0"\n"3,0","6,25"\n',
        "a,speed (m/s)\n1.5,4\n2,5\n3,6.25\n".encode("utf-16"),
        gzip.compress(b"a,speed (m/s)\n1.5,4\n2,5\n3,6.25\n", mtime=0),
    ],
)
def test_usual_ways_to_write_a_table(file, content):
    packed = isinstance(content, bytes) and content.startswith(b"\x1f\x8b")
    found = columns(file(content, "data.csv.gz" if packed else "data.csv"))
    assert {name.replace("_", " "): values for name, values in found.items()} == PLAIN


@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), min_size=2, max_size=20
    )
)
@settings(max_examples=50, deadline=None)
def test_numbers_survive(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("numbers") / "data.csv"
    frame = pd.DataFrame(rows, columns=["a", "b"])
    for separator, decimal in ((",", "."), (";", ",")):
        frame.to_csv(path, index=False, sep=separator, decimal=decimal)
        table = read(path)
        for name in "ab":
            assert table.numbers[name] == pytest.approx(frame[name].to_numpy(), rel=1e-15, abs=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\n", "no rows"),
        ("# nothing\n", "comments and no table"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields and not 2"),
        ("a,b\n1,2,3\n4,5,6\n", "do not have the 2 fields"),
        ('a,b\n1,"2\n3,4\n', "a double quote is opened and never closed"),
        (b"a,b\n1,\0\n", "is no text"),
        (b"PAR1 and no more", "no readable Parquet file"),
        ("a" * 200_000 + "\n1\n", "is no table"),
    ],
)
def test_what_is_no_table_is_refused(file, content, words):
    with pytest.raises(UsageError, match=words):
        file(content)


def test_a_file_that_is_not_there_brings_up_others(tmp_path):
    (tmp_path / "data.csv").write_text(ROWS)
    with pytest.raises(UsageError) as error:
        read(tmp_path / "dat.csv")
    assert "data.csv" in error.value.hint
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path)


def test_other_encodings_are_said(file):
    table = file("größe,y\n1,2\n2,3\n".encode("cp1252"))
    assert table.names == ["größe", "y"]
    assert "Windows-1252" in table.notes[0]


def test_names_are_made_distinct_and_plain(file):
    table = file('a,a,,"x\ny",`b`\n1,2,3,4,5\n2,3,7,5,6\n')
    assert table.names == ["a", "a (2)", "column 3", "x y", "'b'"]
    assert "several columns are called 'a'" in table.notes[0]


def test_a_table_without_names_gets_some(file):
    table = file(ROWS)
    assert table.names == ["column1", "column2", "column3"]
    assert table.rows == 5
    assert "first line holds numbers" in table.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        "1.0 nan 3.0\n4.0 5.0 6.0\n",
        "# in May\n1.0 NaN 3.0\n4.0 5.0 6.0\n",
        "1.0,,3.0\n4.0,5.0,6.0\n",
        "1.0;?;3.0\n4.0;5.0;6.0\n",
    ],
)
def test_a_gap_in_the_first_line_makes_no_names_of_it(file, content):
    found = columns(file(content))
    assert list(found) == ["column1", "column2", "column3"]
    assert found["column1"] == [1, 4]
    assert found["column2"] == pytest.approx([np.nan, 5], nan_ok=True)


def test_gaps_alone_are_names(file):
    assert file("?,-\n1,2\n3,5\n").names == ["?", "-"]


def test_numbers_beside_an_empty_corner_are_names_and_that_is_said(file):
    table = file(",0,1\n0,1.5,2\n1,2.5,7\n")  # as pandas writes an array
    assert columns(table) == {"0": [1.5, 2.5], "1": [2, 7]}
    assert table.refused == {"column 1": "row numbers"}
    assert "begins with an empty field and was read as names" in table.notes[0]


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("data.csv", "data"),
        ("data.CSV.gz", "data"),
        ("run.2024-01-01.csv", "run.2024-01-01"),
        ("run.2024-01-02.parquet", "run.2024-01-02"),
        ("data", "data"),
        ("data.v2", "data.v2"),
        ("...csv", "...csv"),
    ],
)
def test_only_what_tells_the_kind_leaves_a_name(name, bare):
    assert bare_name(Path("somewhere") / name) == bare


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,y\nred,1\nblue,2\n", "text, such as 'red'"),
        ("a,y\n2021-03-04,1\n2021-03-05,2\n", "text, such as '2021-03-04'"),
        ("a,y\n,1\n,2\n", "nothing"),
        ("a\ty\n1,234\t1\n2,345\t2\n", "whose comma may mean two things"),
        ("a;y\n1.234;1,5\n2.345;2,5\n", "whose point may mean two things"),
        ("a;y\n1.5;1\n2,5;2\n", "numbers with commas, such as '2,5', and others with points"),
        ("a,y\n1_000,1\n0x10,2\n", "text, such as '1_000'"),
        (",y\n0,1\n1,5\n2,7\n", "row numbers"),
    ],
)
def test_columns_that_are_no_numbers_say_what_they_are(file, content, reason):
    table = file(content)
    assert list(table.numbers) == ["y"]
    assert reason in table.refused[table.names[0]]


@pytest.mark.parametrize(
    ("content", "values", "words"),
    [
        ('a,y\n"1,234",1\n"1,234,567",2\n', [1234, 1234567], "as thousands"),
        ("a;y\n1.234,5;1\n2,25;2\n", [1234.5, 2.25], "decimal comma"),
        ("a;y\n1,234;1\n2,345;2\n", [1.234, 2.345], "decimal comma"),
        ("a,y\nTRUE,1\nfalse,2\n", [1, 0], "true and false"),
        (f"a,y\n{10**25},1\n{3 * 10**25},2\n", [1e25, 3e25], "rounded to 16 digits"),
        (f"a,y\n{2**60 + 1},1\n5,2\n", [2.0**60, 5], "rounded to 16 digits"),
        ("a,y\n" + "3,1\n" * 19 + "3.x,1\n", [3.0] * 19 + [np.nan], "'3.x' in row 20"),
        ("a,y\n1e999,1\n-inf,2\n", [np.inf, -np.inf], ""),
        ("a,y\nNA,1\n?,2\n7,3\n", [np.nan, np.nan, 7], ""),
    ],
)
def test_how_values_were_read_is_said(file, content, values, words):
    table = file(content)
    assert table.numbers["a"] == pytest.approx(values, nan_ok=True)
    assert words in table.column_notes.get("a", "")


def test_parquet(tmp_path):
    pd.DataFrame(
        {
            "a": [1.5, 2.5, 3.5],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "when": pd.date_range("2021-01-01", periods=3),
            "took": pd.to_timedelta([1, 2, 3], unit="min"),
            "ok": [True, False, True],
            "kind": pd.Categorical(["u", "v", "u"]),
        }
    ).to_parquet(tmp_path / "data.parquet")
    table = read(tmp_path / "data.parquet")
    assert table.numbers["count"] == pytest.approx([1, np.nan, 3], nan_ok=True)
    assert table.numbers["took"].tolist() == [60, 120, 180]
    assert table.numbers["ok"].tolist() == [1, 0, 1]
    assert table.refused["when"].startswith("dates")
    assert table.refused["kind"] == "text, such as 'u'"


def test_a_parquet_index_that_is_a_column_too_counts_once(tmp_path):
    frame = pd.DataFrame({"t": [1.0, 2, 4], "u": [3, 4, 6], "y": [5.0, 7, 6]})
    frame.set_index("t", drop=False).to_parquet(tmp_path / "one.parquet")
    frame.set_index(["t", frame["u"].rename("v")], drop=False).to_parquet(tmp_path / "two.parquet")
    table = read(tmp_path / "one.parquet")
    assert columns(table) == frame.to_dict("list")
    assert table.notes == ["the index 't' is left out: a column is called so too"]
    assert read(tmp_path / "two.parquet").names == ["v", "t", "u", "y"]


# --- which columns and rows -------------------------------------------------------------------


def table_of(**numbers: list[float]) -> Table:
    n = len(next(iter(numbers.values())))
    return Table(list(numbers), n, {k: np.array(v, dtype=float) for k, v in numbers.items()})


def test_rows_and_columns_that_cannot_be_used_are_said():
    nan, inf = np.nan, np.inf
    table = table_of(
        a=[1, 2, 3, 4, 5, 6, nan],
        twin=[1, 2, 3, 4, 5, 6, 7],
        same=[7, 7, 7, 7, 7, 7, 7],
        gaps=[1, nan, nan, nan, nan, 2, 3],
        b=[1, 3, 2, 5, 4, inf, 9],
        y=[1, 2, 3, 5, 4, 3, 2],
    )
    data = select(table)
    assert (data.target, data.names) == ("y", ("a", "b"))
    assert data.rows.tolist() == [0, 1, 2, 3, 4]
    said = "; ".join(data.notes)
    for words in (
        "the target is 'y', the last column",
        "'gaps' is left out: it holds missing values in more than half",
        "2 of 7 (1 missing in 'a', 1 infinite in 'b')",
        "'same' is left out: it is 7 in every row",
        "'twin' is left out: it repeats 'a'",
    ):
        assert words in said


def test_columns_asked_for_are_taken_in_spite_of_gaps():
    table = table_of(a=[1, 2, 3, 4] + [np.nan] * 6, b=list(range(10)), y=[1, 3, 2, 5, 4] * 2)
    data = select(table, "y", ["a"])
    assert (data.names, len(data.y)) == (("a",), 4)


def test_rows_without_weight_are_left_out_and_counted():
    numbers = {"w": [1, 0, 2, 1, 1, 0], "a": [1, 2, 3, 4, 5, 9], "y": [2, 7, 7, 1, 8, 1]}
    data = select(table_of(**numbers), weights="w")
    assert data.rows.tolist() == [0, 2, 3, 4]
    assert data.weights.tolist() == [1, 2, 1, 1]
    assert "rows left out: 2 of weight 0" in data.notes


def test_a_copy_of_the_target_is_said():
    data = select(table_of(a=[1, 2, 3, 4], b=[1, 3, 2, 4], y=[1, 3, 2, 4]))
    assert "'b' equals the target 'y' in every row" in data.notes


@pytest.mark.parametrize(
    ("numbers", "how", "words"),
    [
        ({"a": [1, 2, 3, 4]}, {"target": "b"}, "There are: a"),
        ({"alpha": [1, 2, 3, 4]}, {"target": "alfa"}, "Did you mean alpha"),
        ({"a": [1], "y": [1]}, {}, "Only 1 row of 1"),
        ({"a": [1, 2, 3, 4], "y": [5, 5, 5, 5]}, {}, "is 5 in every row"),
        ({"a": [1, 1, 1, 1], "y": [5, 6, 7, 8]}, {}, "No column is left"),
        ({"y": [5, 6, 7, 8]}, {}, "No column is left"),
        ({"a": [1, 2, 3, 4], "y": [5, 6, 7, 8]}, {"features": ["y"]}, "cannot be a feature"),
        ({"a": [1, 2, 3, 4], "y": [5, 6, 7, 8]}, {"features": ["b"]}, "No column is called 'b'"),
        ({"w": [1, -2, 3, 4], "a": [1, 2, 3, 4], "y": [5, 6, 7, 8]}, {"weights": "w"}, "negative"),
        ({"a": [1, 2, 3, 4], "y": [5, 6, 7, 8]}, {"weights": "y", "target": "y"}, "weights and"),
    ],
)
def test_what_cannot_be_fitted_is_refused(numbers, how, words):
    with pytest.raises(UsageError) as error:
        select(table_of(**numbers), **how)
    assert words in f"{error.value} {error.value.hint}"


def test_text_cannot_be_a_target(tmp_path):
    (tmp_path / "data.csv").write_text("a,kind\n1,x\n2,y\n")
    with pytest.raises(UsageError, match="'kind' holds text, such as 'x'"):
        select(read(tmp_path / "data.csv"))
