"""What a later run is held against: the scores of a run's cells, small enough to be committed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lee_bench import __version__
from lee_bench.errors import SetupError
from lee_bench.evidence.grade import GRADE_VERSION, SYMPY
from lee_bench.evidence.metrics import ACCURATE, COMPLEXITY, R2_TEST, SECONDS, SOLVED
from lee_bench.files import write_atomically

BASELINE_VERSION = 1
"""1: first format."""
GROUP = ["suite", "noise", "method", "settings"]
"""What is judged as one."""
CELL = [*GROUP, "task", "seed"]
CONDITIONS = {
    "protocol": "protocol version",
    "data": "kind of data",
    "time_limit": "time limit",
    "threads": "number of threads",
}
_SCORES = [m.name for m in (R2_TEST, COMPLEXITY, ACCURATE, SOLVED, SECONDS)]
_COLUMNS = [*CELL, *CONDITIONS, "data_sha256", "machine", "status", *_SCORES]


@dataclass(frozen=True)
class Baseline:
    """A run, as far as comparing needs it.

    Attributes:
        cells: one row a cell: identity, conditions, machine, status and scores.
        exact: names of methods that are held to equality.
        grade_version, sympy, lee_bench: what graded and wrote it.
    """

    cells: pd.DataFrame
    exact: tuple[str, ...] = ()
    grade_version: int = GRADE_VERSION
    sympy: str = SYMPY
    lee_bench: str = __version__

    @classmethod
    def of(cls, frame: pd.DataFrame, exact: tuple[str, ...] = ()) -> Baseline:
        """Take what is needed from `aggregate.cells`.

        A failed cell has not found its law; no verdict on it has only a task whose law nobody
        knows.

        Raises:
            SetupError: a cell is not graded; it would never be held to anything.
        """
        left = int((~frame["graded"]).sum())
        if left:
            raise SetupError(
                f"{left} cells could not be graded, and what has no grade cannot be compared.",
                "`lee-bench grade RESULTS` says why; grade them, or delete their records.",
            )
        frame = frame.copy()
        missed = frame["truth"].notna() & frame[SOLVED.name].isna()
        frame.loc[missed, SOLVED.name] = 0.0
        cells = frame[_COLUMNS].sort_values(CELL).reset_index(drop=True)
        return cls(cells.fillna({"data_sha256": ""}), exact)  # where a method was not even started

    def write(self, path: Path) -> None:
        """Store as JSON, one cell a line, so that a renewal reads well in a diff."""
        head = {
            "format": BASELINE_VERSION,
            "lee_bench": self.lee_bench,
            "grade_version": self.grade_version,
            "sympy": self.sympy,
            "exact": list(self.exact),
            "columns": list(self.cells.columns),
        }
        rows = json.loads(self.cells.to_json(orient="values", double_precision=12))
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        start = json.dumps(head, ensure_ascii=False)[:-1]
        write_atomically(path, f'{start},\n"cells": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read what `write` stored.

        Raises:
            SetupError: there is no such file, or it is damaged or newer than this program.
        """
        anew = f"lee-bench baseline RESULTS -o {path}"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["format"] > BASELINE_VERSION:
                raise SetupError(
                    f"{path} was written by a newer lee-bench ({raw['lee_bench']}).",
                    f"Upgrade lee-bench, or write it anew: {anew}",
                )
            cells = pd.DataFrame(raw["cells"], columns=raw["columns"])[_COLUMNS]
            numbers = ["noise", "time_limit", *_SCORES]
            cells[numbers] = cells[numbers].astype("float64")
            facts = (raw["grade_version"], raw["sympy"], raw["lee_bench"])
            return cls(cells, tuple(raw["exact"]), *facts)
        except OSError as error:
            raise SetupError(
                f"Cannot read the baseline {path}: {error.strerror}.",
                f"Write one from a run that is good: {anew}",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SetupError(f"{path} is not a baseline: {error}", f"Write it anew: {anew}") from (
                error
            )


def refusal(before: pd.DataFrame | None, now: pd.DataFrame | None) -> str:
    """Why a group of cells cannot be held against another one, in words; '' if it can.

    Args:
        before, now: cells of one group, ordered by task and seed; None where there are none.
    """
    if before is None:
        return "not in the baseline"
    if now is None:
        return "in the baseline, but not measured now"
    for column, words in CONDITIONS.items():
        old, new = (sorted(set(cells[column])) for cells in (before, now))
        if len(old) > 1 or len(new) > 1:
            return f"cells of one side differ in their {words}"
        if old != new:
            return f"{words} was {old[0]}, is {new[0]}"
    for column in ("task", "seed"):
        old, new = (set(cells[column]) for cells in (before, now))
        if old != new:
            return f"other {column}s: " + "; ".join(
                f"{side} only {', '.join(map(str, some[:3]))}{' ...' if len(some) > 3 else ''}"
                for side, some in (("baseline", sorted(old - new)), ("now", sorted(new - old)))
                if some
            )
    cells = [list(zip(side["task"], side["seed"], strict=True)) for side in (before, now)]
    if cells[0] != cells[1]:
        return f"{len(set(cells[0]) ^ set(cells[1]))} cells are missing on one side"
    hashes = zip(before["task"], before["data_sha256"], now["data_sha256"], strict=True)
    changed = sorted({task for task, old, new in hashes if old and new and old != new})
    if changed:
        return f"other data (SHA-256) of {len(changed)} tasks, e.g. {changed[0]}"
    missing = (now["status"] == "unavailable").sum()
    if missing and not (before["status"] == "unavailable").all():
        return f"{missing} cells are unavailable: the method is not installed here"
    return ""
