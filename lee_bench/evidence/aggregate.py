"""From graded records to tables, in pandas.

A failed cell is a row like any other: a miss in every rate, missing from every median, and
counted beside both.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lee_bench.equivalence import RAW_COUNT
from lee_bench.evidence.grade import Cell, is_gradable
from lee_bench.evidence.metrics import (
    ACCURATE,
    COMPLEXITY,
    METRICS,
    R2_TEST,
    SECONDS,
    SOLVED,
    Summary,
    judged,
)
from lee_bench.evidence.pareto import costs, ranks
from lee_bench.evidence.stats import interval
from lee_bench.runs.record import Status, method_words
from lee_bench.tasks.catalog import of_record

CELL_COLUMNS = [
    "suite", "task", "noise", "seed", "method", "label", "settings", "time_limit", "threads",
    "data", "data_sha256", "protocol", "machine", "status", "reason", "graded", "truth",
    "truth_complexity", "formula",
    *(m.name for m in METRICS), "complexity_note", "cell_seconds", "peak_memory_mb", "crowded",
]  # fmt: skip
GROUP = ["suite", "noise", "label"]
SUMMARISED = (R2_TEST, COMPLEXITY, ACCURATE, SOLVED, SECONDS)


def cells(graded: Iterable[Cell]) -> pd.DataFrame:
    """One row a cell, in the order given; columns are `CELL_COLUMNS`.

    Metrics are float64, NaN where there is no value: in a failed or ungraded cell, where a
    prediction was not finite, and for ``symbolic_solution`` where no true formula is known.
    ``truth`` and ``formula`` are None where there is none, ``truth_complexity`` NaN. ``label`` is
    the method's name and settings, with what else sets its runs in a suite apart where they differ.
    """

    rows = []
    for cell in graded:
        record, grade, key = cell.record, cell.grade, cell.record.key
        task = of_record(key.task, key.suite)
        row = {
            "suite": key.suite,
            "task": key.task,
            "noise": key.noise,
            "seed": key.seed,
            "method": key.method,
            "settings": key.settings,
            "time_limit": key.seconds,
            "threads": key.threads,
            "data": key.data,
            "data_sha256": record.data.get("sha256"),
            "protocol": key.protocol,
            "machine": ", ".join(str(value) for value in record.machine.values()),
            "status": record.status.value,
            "reason": record.reason,
            "graded": grade is not None or not is_gradable(record),
            "truth": task and task.truth,
            "truth_complexity": task and task.complexity,
            "formula": record.formula,
            "complexity_note": grade.complexity_note if grade else "",
            "cell_seconds": record.seconds.get("cell"),
            "peak_memory_mb": record.peak_memory_mb,
            "crowded": record.crowded,
        }
        for metric in METRICS:
            row[metric.name] = getattr(grade, metric.name, None)
        if record.status is Status.OK:
            row[SECONDS.name] = record.seconds.get("search")
        rows.append(row)
    _add_labels(rows)
    frame = pd.DataFrame(rows, columns=CELL_COLUMNS)
    numbers = [m.name for m in METRICS]
    numbers += ["truth_complexity", "noise", "cell_seconds", "peak_memory_mb"]
    frame[numbers] = frame[numbers].astype("float64")
    for column in ("truth", "formula"):  # pandas makes NaN of None beside strings, and NaN is true
        frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    return frame


def _add_labels(rows: list[dict]) -> None:
    """Name each method; runs of one method under different conditions are not one method."""
    in_words = {
        "time_limit": "{:g} s".format,
        "threads": "{} threads".format,
        "data": "{} data".format,
        "protocol": "protocol {}".format,
    }

    def place(row: dict) -> tuple[str, str, str]:
        return row["suite"], row["method"], row["settings"]

    seen = defaultdict(set)
    for row in rows:
        for column in in_words:
            # Kinds of data may differ from task to task, where only some files are at hand.
            task = row["task"] if column == "data" else ""
            seen[*place(row), column, task].add(row[column])
    differ = {key[:-1] for key, values in seen.items() if len(values) > 1}
    for row in rows:
        words = [in_words[c](row[c]) for c in in_words if (*place(row), c) in differ]
        row["label"] = " ".join([method_words(row["method"], row["settings"]), *words])


def mixed_conditions(frame: pd.DataFrame) -> list[str]:
    """What differs between the cells of a suite that should be alike, as sentences."""
    in_words = {
        "time_limit": "time limits ({} s)",
        "threads": "numbers of threads ({})",
        "protocol": "versions of the protocol ({})",
        "machine": "machines ({})",
    }
    found = []
    for suite, members in frame.groupby("suite"):
        for column, words in in_words.items():
            seen = sorted(set(members[column]) - {""})
            if len(seen) > 1:
                listed = words.format("; ".join(f"{value}" for value in seen))
                found.append(f"Cells of {suite} were measured with different {listed}.")
        kinds = members.dropna(subset="data_sha256").groupby("task")["data_sha256"].nunique()
        differ = list(kinds.index[kinds > 1])
        if differ:
            found.append(
                f"In {suite} methods saw different data of {len(differ)} tasks, e.g. {differ[0]}."
            )
    return found


def missing_cells(frame: pd.DataFrame) -> list[str]:
    """Where methods of a suite were not measured on the same cells, as sentences."""
    found = []
    for suite, members in frame.groupby("suite"):
        places = {
            label: set(zip(own["task"], own["noise"], own["seed"], strict=True))
            for label, own in members.groupby("label")
        }
        everything = set().union(*places.values())
        lacking = {label: len(everything - had) for label, had in places.items()}
        listed = ", ".join(f"{label} {count}" for label, count in lacking.items() if count)
        if listed:
            found.append(
                f"Not all methods were measured on all cells of {suite}. Missing of "
                f"{len(everything)}: {listed}. They are left out, not counted as misses."
            )
    return found


def crowded_cells(frame: pd.DataFrame) -> list[str]:
    """Where cells had to wait for a processor, as sentences."""
    found = []
    for suite, members in frame.groupby("suite"):
        counts = members.groupby("label")["crowded"].sum()
        if listed := ", ".join(f"{label} {n}" for label, n in counts.items() if n):
            found.append(
                f"Other work kept cells of {suite} waiting for a processor in more than a tenth of "
                f"their search: {listed}. Their times are too long, and they may have found less."
            )
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each suite, noise level and method.

    Args:
        frame: from `cells`.

    Returns:
        Columns, beside suite, noise and label:

        - ``method``, ``tasks``, ``cells``, ``failed``, ``failures`` (in words), ``ungraded``;
        - ``undefined``: cells that are ok but whose formula is not finite on the test data;
        - ``r2_test``, ``complexity``, ``seconds``: medians over the cells that have the value;
        - ``r2_test_low``, ``r2_test_high`` and so on for complexity, seconds and both shares:
          limits of their 95 % bootstrap intervals over tasks, NaN for a single task;
        - ``raw_counts``: cells whose complexity is the raw count, as sympy gave no simpler form;
        - ``accuracy_solution``, ``symbolic_solution``: shares of all graded or failed cells, in
          [0, 1], the second of tasks whose true formula is known only; NaN without such cells;
        - ``truth_complexity``: median over the tasks of the suite and noise level, whichever method
          was measured on them, of the complexity of their true formulas; NaN where none is known;
        - ``rank``, ``rank_time``: number of the Pareto front, 1 is best, among the methods of the
          same suite and noise, by the medians of test R² and complexity or seconds; NaN where
          there are none.
    """
    rows = [
        {**dict(zip(GROUP, group, strict=True)), **_summarise(members)}
        for group, members in frame.groupby(GROUP, sort=True)
    ]
    table = pd.DataFrame(rows, columns=[*GROUP, *_SUMMARY_COLUMNS])
    tasks = frame.drop_duplicates(["suite", "noise", "task"])
    sizes = tasks.groupby(["suite", "noise"])["truth_complexity"].median()
    table["truth_complexity"] = [sizes[row.suite, row.noise] for row in table.itertuples()]
    for name, cost in (("rank", COMPLEXITY), ("rank_time", SECONDS)):
        table[name] = float("nan")
        for _, panel in table.groupby(["suite", "noise"]):
            table.loc[panel.index, name] = ranks(costs(panel[cost.name], panel[R2_TEST.name]))
    return table


_SUMMARY_COLUMNS = [
    "method", "tasks", "cells", "failed", "failures", "ungraded", "undefined", "raw_counts",
    *(m.name + end for m in SUMMARISED for end in ("", "_low", "_high")),
]  # fmt: skip


def _summarise(members: pd.DataFrame) -> dict:
    failed = members["status"] != Status.OK
    counts = members.loc[failed, "status"].value_counts()
    numbers = {}
    for metric in SUMMARISED:
        own = judged(members, metric)
        values = own[metric.name]
        value = values.fillna(0.0).mean() if metric.summary is Summary.RATE else values.median()
        low, high = interval(values, own["task"], metric.summary)
        numbers |= {metric.name: value, f"{metric.name}_low": low, f"{metric.name}_high": high}
    return {
        "method": members["method"].iloc[0],
        "tasks": members["task"].nunique(),
        "cells": len(members),
        "failed": int(failed.sum()),
        "failures": ", ".join(f"{n} {status}" for status, n in counts.items()),
        "ungraded": int((~members["graded"]).sum()),
        "undefined": int((members["graded"] & ~failed & members[R2_TEST.name].isna()).sum()),
        "raw_counts": int(members["complexity_note"].str.contains(RAW_COUNT).sum()),
        **numbers,
    }


@functools.cache
def published() -> pd.DataFrame:
    """Published medians: source, algorithm, suite, noise, tasks, and the scores of `summary`."""
    return pd.read_csv(Path(__file__).parent / "data" / "published.csv", comment="#")


PUBLISHED_DIFFERS = (
    "Hollow: published medians, not measured here. They had other machines and far longer time "
    "limits, and their sizes are as their sources report them, not simplified and counted alike. "
    "SRBench (2021): ten trials, data standardised, R² of ground-truth problems approximate. TPSR "
    "and SNIP: one split (seed 14423); 55 of the 57 black-box sets."
)
"""What a reader must know who sees them beside ours."""
