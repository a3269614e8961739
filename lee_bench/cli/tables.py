"""A person's own table, CSV or Parquet, as columns of numbers.

Nothing is guessed in silence: each column becomes numbers, or stays out with the reason, and what
a reader should know of how it was read is said in a note.
"""

from __future__ import annotations

import bz2
import csv
import difflib
import gzip
import io
import lzma
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os.path import splitext
from pathlib import Path

import numpy as np
import pandas as pd

from lee_bench.errors import UsageError

_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat")
_SHEETS = (".xlsx", ".xls", ".ods")
_SEPARATORS = "\t;|,"
_SPACES = r"\s+"
_HEAD, _SAMPLE = 1_000_000, 50  # characters, and lines of them, that show how a file is built
_MISSING = ["?", "-", "--", ".", "n.a.", "missing"]  # beside what pandas knows
_GAPS = {"", "nan", "-nan", "na", "#na", "n/a", "#n/a", "<na>", "null", "none", *_MISSING}
_LARGEST_EXACT = 2**53  # integers beyond it are not all float64
_FEW = 0.1  # share of values that may be no numbers in a column of numbers

_NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?)"
_DECIMAL_COMMA = r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][+-]?\d+)?"
_THOUSANDS = r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_POINT_GROUPS = r"[+-]?\d{1,3}(?:\.\d{3})+"


@dataclass
class Table:
    """What a file holds.

    Attributes:
        names: of all columns, in order; all different.
        rows: how many.
        numbers: float64 (rows,) of each column of numbers, NaN where a value is missing.
        refused: for every other column, what it holds instead.
        notes: about the whole file.
        column_notes: about single columns.
    """

    names: list[str]
    rows: int
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    column_notes: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Table:
    """Read a file: Parquet by its name, else text with any usual separator.

    Raises:
        UsageError: there is no such file, or no table in it.
    """
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        near = difflib.get_close_matches(path.name, [p.name for p in beside if p.is_file()])
        what = f"{path} is a folder." if path.is_dir() else f"There is no file {path}."
        raise UsageError(what, f"Did you mean {' or '.join(near)}?" if near else "Name a file.")
    if path.suffix.lower() in _SHEETS:
        raise UsageError(
            f"{path} is a spreadsheet.", "Save the sheet as CSV and give that file instead."
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from None
    if not raw.strip():
        raise UsageError(f"{path} is empty.", "Give a table with a line of column names.")
    if path.suffix.lower() in _PARQUET or raw.startswith(b"PAR1"):
        return _parquet(path, raw)
    try:
        return _csv(path, raw)
    except csv.Error as error:
        raise UsageError(f"{path} is no table: {error}.") from None


def bare_name(path: Path) -> str:
    """The name of a file without what tells its kind; other parts after points, as of a date, stay.

    Two files whose names differ in such parts must not be taken for one.
    """
    name = path.name
    for known in (_COMPRESSED, (*_TEXT, *_PARQUET)):
        stem, end = splitext(name)
        name = stem if end.lower() in known else name
    return name


def _parquet(path: Path, raw: bytes) -> Table:
    try:
        frame = pd.read_parquet(io.BytesIO(raw))
    except Exception as error:  # pyarrow has an error of its own for each kind of damage
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"{path} is no readable Parquet file: {reason}") from None
    taken = [name for name in frame.index.names if name in frame.columns]
    if taken:  # as set_index(..., drop=False) leaves it
        frame = frame.reset_index(level=taken, drop=True)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    table = Table(_distinct([str(name) for name in frame.columns]), len(frame))
    table.notes += [f"the index '{n}' is left out: a column is called so too" for n in taken]
    for name, (_, column) in zip(table.names, frame.items(), strict=True):
        _take(table, name, column, ",")
    return table


def _csv(path: Path, raw: bytes) -> Table:
    notes: list[str] = []
    text = _decoded(path, raw, notes)
    lines = text[:_HEAD].splitlines(keepends=True)
    comments = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), None)
    if comments is None:
        raise UsageError(f"{path} holds comments and no table.")
    sample = [line for line in lines[comments : comments + _SAMPLE] if line.strip()]
    separator = _separator(sample)
    header = _fields(sample, separator)
    above = lines[comments - 1].strip().lstrip("# ") if comments else ""
    headed = above and len(_fields([above], separator)) == len(header) and _all_numbers(header)
    if headed:  # as numpy.savetxt writes it
        names, skip = _fields([above], separator), comments
    elif _all_numbers(header):
        names, skip = [f"column{i + 1}" for i in range(len(header))], comments
        notes.append(f"the first line holds numbers, so the columns are called {names[0]}, ...")
    else:
        names, skip = header, comments + 1
        if not header[0].strip() and _all_numbers(header[1:]):
            notes.append("the first line begins with an empty field and was read as names")
    unnamed = [i for i, name in enumerate(names) if not name.strip()]
    often = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    names = _distinct(names)
    if often:
        notes.append(f"several columns are called '{often[0]}'; the later ones got a number")
    frame = _frame(path, text, names, skip, separator)
    if frame.empty:
        raise UsageError(f"{path} has column names and no rows.", "Give at least a few rows.")
    table = Table(names, len(frame), notes=notes)
    for i, name in enumerate(names):
        _take(table, name, frame[name], separator)
        values = table.numbers.get(name)
        if i in unnamed and values is not None and (np.diff(values) == 1).all():
            table.refused[name] = "row numbers"
            del table.numbers[name]
    if any("decimal comma" in note for note in table.column_notes.values()):
        _doubt_points(table, _frame(path, text, names, skip, separator, dtype=str))
    return table


def _decoded(path: Path, raw: bytes, notes: list[str]) -> str:
    unpack = _COMPRESSED.get(path.suffix.lower())
    if unpack is not None:
        try:
            raw = unpack(raw)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise UsageError(f"Cannot unpack {path}: {error}.") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw or raw.startswith(b"PK\x03\x04"):
        raise UsageError(f"{path} is no text.", "Give a CSV, TSV or Parquet file.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append("the file is not UTF-8; it was read as Windows-1252")
        return raw.decode("cp1252", errors="replace")


def _separator(sample: Sequence[str]) -> str:
    """The one that cuts all lines into equally many fields, else the one most used in the head."""
    for separator in _SEPARATORS:
        counts = {len(row) for row in csv.reader(sample, delimiter=separator)}
        if len(counts) == 1 and counts != {1}:
            return separator
    most = max(_SEPARATORS, key=sample[0].count)
    if sample[0].count(most):
        return most
    counts = {len(line.split()) for line in sample}
    return _SPACES if len(counts) == 1 and counts != {1} else ","


def _fields(lines: Sequence[str], separator: str) -> list[str]:
    if separator == _SPACES:
        return [word.strip("\"'") for word in lines[0].split()]
    return next(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _all_numbers(fields: Sequence[str]) -> bool:
    """Whether a line is one of data: numbers, maybe with gaps.

    An empty first field is no gap: it stands above names of rows, as pandas writes ",0,1,2".
    """
    number = re.compile(f"{_NUMBER}|{_DECIMAL_COMMA}|{_THOUSANDS}", re.IGNORECASE)
    texts = [text.strip() for text in fields]
    filled = [text for text in texts if text.lower() not in _GAPS]
    return bool(filled and texts[0]) and all(map(number.fullmatch, filled))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names for all columns, all different, on one line and without backticks."""
    distinct: list[str] = []
    for i, given in enumerate(names):
        name = " ".join(given.replace("`", "'").split()) or f"column {i + 1}"
        again = Counter(distinct)[name] and next(
            f"{name} ({k})" for k in range(2, len(names) + 2) if f"{name} ({k})" not in distinct
        )
        distinct.append(again or name)
    return distinct


def _frame(
    path: Path, text: str, names: list[str], skip: int, separator: str, dtype: type | None = None
) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.StringIO(text),
                sep=separator,
                header=None,
                names=names,
                skiprows=skip,
                index_col=False,
                dtype=dtype,
                na_values=_MISSING,
                skipinitialspace=True,
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        raise UsageError(f"{path} has column names and no rows.", "Give a few rows.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found:
            problem = f"line {found[2]} has {found[3]} fields and not {found[1]}"
        elif "EOF inside string" in str(error):
            problem = "a double quote is opened and never closed"
        else:
            problem = f"its rows do not have the {len(names)} fields of its first line"
        used = "spaces" if separator == _SPACES else repr(separator)
        raise UsageError(
            f"{path} is no regular table: {problem}.",
            f"Fields were separated by {used}; text that holds it must stand in double quotes.",
        ) from None


# --- columns ----------------------------------------------------------------------------------


def _take(table: Table, name: str, column: pd.Series, separator: str) -> None:
    """Put a column among the numbers or the refused."""
    if column.isna().all():
        table.refused[name] = "nothing"
    elif pd.api.types.is_bool_dtype(column):
        table.numbers[name] = column.to_numpy(np.float64, na_value=np.nan)
        table.column_notes[name] = "true and false were read as 1 and 0"
    elif pd.api.types.is_complex_dtype(column):
        table.refused[name] = "complex numbers"
    elif pd.api.types.is_numeric_dtype(column):
        table.numbers[name] = column.to_numpy(np.float64, na_value=np.nan)
        if pd.api.types.is_integer_dtype(column):
            _say_rounding(table, name)
    elif pd.api.types.is_datetime64_any_dtype(column):
        table.refused[name] = "dates; give time as a number, such as seconds since a start"
    elif pd.api.types.is_timedelta64_dtype(column):
        table.numbers[name] = column.dt.total_seconds().to_numpy(np.float64, na_value=np.nan)
        table.column_notes[name] = "durations were read as seconds"
    else:
        _take_text(table, name, column, separator)


def _say_rounding(table: Table, name: str) -> None:
    if np.nanmax(np.abs(table.numbers[name])) > _LARGEST_EXACT:
        table.column_notes[name] = "integers beyond 2**53 were rounded to 16 digits"


def _take_text(table: Table, name: str, column: pd.Series, separator: str) -> None:
    present = column.dropna().astype(str).str.strip()
    lower = present.str.lower()
    if lower.isin(["true", "false"]).all():
        values = np.full(len(column), np.nan)
        values[column.notna()] = lower == "true"
        table.numbers[name] = values
        table.column_notes[name] = "true and false were read as 1 and 0"
        return
    plain, note = _without_commas(present, separator)
    if plain is None:
        table.refused[name] = note
        return
    good = plain.str.fullmatch(_NUMBER, case=False)
    bad = present[~good]
    if len(bad) > _FEW * len(present):
        table.refused[name] = f"text, such as {_shown(bad.iloc[0])}"
        return
    values = np.full(len(column), np.nan)
    values[plain.index[good]] = plain[good].to_numpy("U").astype(np.float64)
    table.numbers[name] = values
    if note:
        table.column_notes[name] = note
    elif plain[good].str.fullmatch(r"[+-]?\d+").any():
        _say_rounding(table, name)
    if len(bad):
        said = (
            f"{len(bad)} of {len(present)} values are no numbers, the first "
            f"{_shown(bad.iloc[0])} in row {bad.index[0] + 1}"
        )
        table.column_notes[name] = f"{note}; {said}" if note else said


def _without_commas(values: pd.Series, separator: str) -> tuple[pd.Series | None, str]:
    """Numbers without commas, and a note; None and the reason where commas can mean two things."""
    with_comma = values[values.str.contains(",")]
    if not len(with_comma):
        return values, ""
    decimal = with_comma.str.fullmatch(_DECIMAL_COMMA).mean() > 1 - _FEW
    grouped = with_comma.str.fullmatch(_THOUSANDS).mean() > 1 - _FEW
    if not decimal and not grouped:
        return values, ""
    example = _shown(with_comma.iloc[0])
    if decimal and grouped:
        decimal, grouped = separator == ";", separator == ","
        if not decimal and not grouped:
            return None, f"numbers such as {example}, whose comma may mean two things"
    if grouped:
        return values.str.replace(",", ""), f"commas were read as thousands, as in {example}"
    if values[~values.str.contains(",")].str.contains(".", regex=False).any():
        return None, f"numbers with commas, such as {example}, and others with points"
    plain = values.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return plain, f"{example} was read with a decimal comma"


def _doubt_points(table: Table, texts: pd.DataFrame) -> None:
    """Beside decimal commas, 1.234 may well be a thousand and more: such columns stay out."""
    for name in list(table.numbers):
        values = texts[name].dropna().str.strip()
        pointed = values[values.str.contains(".", regex=False)]
        if len(pointed) and pointed.str.fullmatch(_POINT_GROUPS).all():
            if "decimal comma" in table.column_notes.get(name, ""):
                continue
            del table.numbers[name]
            table.refused[name] = (
                f"numbers such as {pointed.iloc[0]}, whose point may mean two things beside "
                "decimal commas"
            )


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= 24 else f"'{text[:21]}...'"
