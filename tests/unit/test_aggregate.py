"""Tables: a failed cell is a miss in rates, missing in medians, and counted."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from lee_bench.evidence.aggregate import CELL_COLUMNS, cells, summary
from lee_bench.evidence.grade import Cell, Grade
from lee_bench.evidence.report.content import gather
from lee_bench.runs.record import Status
from lee_bench.tasks.catalog import find


def graded(record, r2: float | None = 0.9, complexity: int = 10, solved: bool | None = False):
    return Cell(
        record,
        Grade(
            record="",
            r2_test=r2,
            r2_train=r2,
            rmse_test=0.1,
            complexity=complexity,
            complexity_raw=complexity,
            complexity_note="",
            simplified="",
            symbolic_solution=solved,
            symbolic_note="",
            accuracy_solution=r2 is not None and r2 > 0.999,
        ),
    )


def one_row(graded_cells) -> pd.Series:
    table = summary(cells(graded_cells))
    assert len(table) == 1
    return table.iloc[0]


def test_failures_are_misses_in_rates_and_missing_in_medians(made):
    row = one_row(
        [
            graded(made.ok(seed=1, search=1.0), 1.0, 5, True),
            graded(made.ok(seed=2, search=3.0), 0.5, 9, False),
            Cell(made.failed(seed=3), None),
            Cell(made.failed(Status.CRASH, seed=4), None),
        ]
    )
    assert (row["cells"], row["failed"], row["ungraded"]) == (4, 2, 0)
    assert sorted(row["failures"].split(", ")) == ["1 crash", "1 timeout"]
    assert (row["r2_test"], row["complexity"], row["seconds"]) == (0.75, 7.0, 2.0)
    assert row["accuracy_solution"] == row["symbolic_solution"] == 0.25


def test_a_formula_without_a_score_is_a_miss_too(made):
    row = one_row([graded(made.ok(seed=1), 1.0, 5, True), graded(made.ok(seed=2), None, 3)])
    assert (row["undefined"], row["failed"]) == (1, 0)
    assert row["r2_test"] == 1.0
    assert row["accuracy_solution"] == 0.5


def test_ungraded_cells_are_counted_and_left_out(made):
    row = one_row([graded(made.ok(seed=1), 1.0, 5, True), Cell(made.ok(seed=2), None)])
    assert (row["ungraded"], row["accuracy_solution"]) == (1, 1.0)


def test_if_all_failed_rates_are_zero_and_medians_missing(made):
    row = one_row([Cell(made.failed(seed=1), None)])
    assert math.isnan(row["r2_test"])
    assert row["accuracy_solution"] == row["symbolic_solution"] == 0.0
    assert math.isnan(row["rank"])


def test_without_a_true_formula_there_is_no_symbolic_rate(made):
    record = made.ok("x", suite="sklearn", task="diabetes")
    row = one_row([graded(record, 0.4, 5, None)])
    assert math.isnan(row["symbolic_solution"])


def test_solved_is_a_share_of_tasks_with_a_true_formula(made):
    known = made.ok("x", suite="sklearn", task="friedman1")
    unknown = [made.ok("x", suite="sklearn", task="diabetes", seed=seed) for seed in (1, 2)]
    both = [
        graded(known, 1.0, 5, True),
        *(graded(record, 1.0, 5, None) for record in unknown),
        Cell(made.failed(suite="sklearn", task="diabetes", seed=3), None),
    ]
    row = one_row(both)
    assert (row["symbolic_solution"], row["accuracy_solution"]) == (1.0, 0.75)
    (share,) = gather(both, "r").panels[0].shares
    assert (share.count, share.of) == (1, 1)


def test_what_is_not_known_is_none_beside_what_is(made):
    record = made.ok("x", suite="sklearn", task="diabetes")
    frame = cells([graded(made.ok()), graded(record), Cell(made.failed(seed=2), None)])
    assert frame["truth"].tolist() == [made.truth, None, made.truth]
    assert frame["formula"].tolist() == [made.truth, "x", None]
    assert frame["truth_complexity"].fillna(0).tolist() == [18, 0, 18]


def test_the_size_of_true_formulas_is_of_all_tasks_that_a_method_was_measured_on(made):
    records = [
        made.ok(method="a"),
        made.ok(method="a", seed=2),
        made.ok(method="b", task="strogatz_bacres2"),
        made.ok(method="b", task="strogatz_lv1"),
        made.ok(method="b", noise=0.1),
        made.ok("x", suite="sklearn", task="diabetes"),
    ]
    sizes = [find(name).complexity for name in (made.task, "strogatz_bacres2", "strogatz_lv1")]
    assert len(set(sizes)) == 3
    table = summary(cells(graded(record) for record in records))
    told = table.set_index(["suite", "noise", "label"])["truth_complexity"].fillna(0).to_dict()
    assert told == {
        ("strogatz", 0.0, "a"): sorted(sizes)[1],
        ("strogatz", 0.0, "b"): sorted(sizes)[1],
        ("strogatz", 0.1, "b"): sizes[0],
        ("sklearn", 0.0, "operon"): 0,
    }


def test_each_suite_and_noise_has_its_own_front(made):
    table = summary(
        cells(
            [
                graded(made.ok(method="a"), 0.9, 10),
                graded(made.ok(method="b"), 0.99, 20),
                graded(made.ok(method="c"), 0.8, 30),
                graded(made.ok(method="c", noise=0.1), 0.8, 30),
                Cell(made.failed(method="d"), None),
            ]
        )
    ).set_index(["noise", "label"])
    ranks = table["rank"].fillna(0).to_dict()
    assert ranks == {(0.0, "a"): 1, (0.0, "b"): 1, (0.0, "c"): 2, (0.0, "d"): 0, (0.1, "c"): 1}


def test_runs_under_different_conditions_are_not_one_method(made):
    table = summary(
        cells(
            [
                graded(made.ok(seconds=10.0)),
                graded(made.ok(seconds=60.0)),
                graded(made.ok(seconds=60.0, settings='{"pool":5,"words":"a,b"}')),
                graded(made.ok(method="linear")),
            ]
        )
    )
    assert sorted(table["label"]) == [
        "linear",
        "operon 10 s",
        "operon 60 s",
        "operon pool=5, words=a,b",
    ]
    assert table["cells"].tolist() == [1, 1, 1, 1]


def test_settings_are_always_told_and_kinds_of_data_where_one_task_has_both(made):
    def on_files(record):
        return replace(record, key=replace(record.key, data="pmlb"))

    some = [made.ok(), on_files(made.ok(task="strogatz_lv1")), made.ok(settings='{"pool":5}')]
    labels = cells(graded(record) for record in some)["label"].tolist()
    assert labels == ["operon", "operon", "operon pool=5"]
    both = [*some, made.ok(task="strogatz_lv1")]
    labels = cells(graded(record) for record in both)["label"].tolist()
    assert labels == [
        "operon builtin data",
        "operon pmlb data",
        "operon pool=5",
        "operon builtin data",
    ]


def test_rounding_errors_put_nothing_on_a_front(made):
    law, longer = made.ok(method="law"), made.ok(method="longer")
    table = summary(cells([graded(law, 1 - 2e-16, 11), graded(longer, 1.0, 15)]))
    assert table.set_index("label")["rank"].to_dict() == {"law": 1, "longer": 2}


def test_columns_and_types_are_fixed_even_without_values(made):
    for frame in (cells([]), cells([Cell(made.failed(), None)])):
        assert list(frame.columns) == CELL_COLUMNS
        assert frame["r2_test"].dtype == frame["symbolic_solution"].dtype == "float64"
    assert summary(cells([])).empty


@pytest.mark.parametrize("column", ["noise", "seed", "task", "status", "formula", "time_limit"])
def test_cells_carry_their_identity(made, column):
    record = made.ok("x + y", noise=0.01, seed=860)
    row = cells([graded(record)]).iloc[0]
    expected = {
        "noise": 0.01,
        "seed": 860,
        "task": made.task,
        "status": "ok",
        "formula": "x + y",
        "time_limit": 10.0,
    }
    assert row[column] == expected[column]
