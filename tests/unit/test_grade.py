"""Grades: from the stored formula and the data alone, repeatable, never lost."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lee_bench.evidence import grade as grading
from lee_bench.evidence.grade import digest, grade_all, grade_path, read_grade
from lee_bench.tasks.catalog import find
from lee_bench.tasks.protocol import split
from lee_bench.tasks.sources import DataSource


def grade_one(made, store, **options):
    cells, problems = grade_all(store, made.source, **options)
    assert problems == []
    return cells


def test_the_truth_gets_full_marks(made, tmp_path):
    store = made.store(tmp_path, made.ok())
    (cell,) = grade_one(made, store)
    grade = cell.grade
    assert grade.r2_test == grade.r2_train == 1.0
    assert grade.rmse_test < 1e-12
    assert (grade.complexity, grade.complexity_raw) == (18, 15)
    assert grade.symbolic_solution
    assert grade.accuracy_solution
    assert grade.simplified


def test_scores_are_those_of_the_formula_on_the_split(made, tmp_path):
    record = made.ok("20 - 1.1*x", noise=0.1, seed=860)
    (cell,) = grade_one(made, made.store(tmp_path, record))
    dataset = made.source.load(find(made.task))
    parts = split(dataset, 0.1, 860)
    for X, y, found in (
        (parts.X_test, parts.y_test, cell.grade.r2_test),
        (parts.X_train, parts.y_train, cell.grade.r2_train),
    ):
        error = y - (20 - 1.1 * X[:, 0])
        assert found == pytest.approx(1 - np.sum(error**2) / np.sum((y - y.mean()) ** 2))
    assert cell.grade.symbolic_solution is False
    assert cell.grade.accuracy_solution is False


def test_what_a_method_claims_is_not_believed(made, tmp_path):
    record = made.ok("x")
    boast = {"formula": made.truth, "loss": 0.0, "complexity": 1.0}
    record = replace(record, candidates=(record.candidates[0], boast), details={"r2": 1.0})
    (cell,) = grade_one(made, made.store(tmp_path, record))
    assert cell.grade.r2_test < 0.5
    assert not cell.grade.symbolic_solution


@pytest.mark.parametrize("formula", ["log(0 - x)", "1/(x - x)", "exp(exp(x))", "1e300*x*1e300"])
def test_a_formula_that_is_not_finite_is_a_miss_without_score(made, tmp_path, formula):
    (cell,) = grade_one(made, made.store(tmp_path, made.ok(formula)))
    assert cell.grade.r2_test is None
    assert cell.grade.rmse_test is None
    assert not cell.grade.accuracy_solution
    assert cell.grade.complexity >= 1


def test_without_a_true_formula_there_is_no_verdict(made, tmp_path):
    record = made.ok("2*x1", suite="sklearn", task=sklearn_task())
    record = replace(record, formula=find(record.key.task, "sklearn").features[0])
    (cell,) = grade_one(made, made.store(tmp_path, record))
    assert cell.grade.symbolic_solution is None
    assert cell.grade.complexity == 1


def sklearn_task() -> str:
    from lee_bench.tasks.catalog import tasks

    return next(task.name for task in tasks("sklearn") if task.truth is None)


def test_an_unreadable_formula_is_a_miss_that_says_why(made, tmp_path):
    (cell,) = grade_one(made, made.store(tmp_path, made.ok("__import__('os')")))
    assert cell.grade.r2_test is None
    assert cell.grade.complexity is None
    assert "cannot read the formula" in cell.grade.complexity_note


def test_failed_cells_have_no_grade(made, tmp_path):
    (cell,) = grade_one(made, made.store(tmp_path, made.failed()))
    assert cell.grade is None
    assert not (tmp_path / "grades").exists()


def test_only_what_is_new_or_out_of_date_is_graded(made, tmp_path, monkeypatch):
    first, second = made.ok(), made.ok("x", seed=860)
    store = made.store(tmp_path, first)
    asked = []

    def graded() -> int:
        asked.clear()
        grade_one(made, store, progress=lambda done, total: asked.append((done, total)))
        return len(asked)

    assert graded() == 1
    assert graded() == 0
    store.write(second)
    assert graded() == 1
    store.write(replace(second, formula="y"))  # measured again, with another outcome
    assert graded() == 1
    grade_path(store, first.key).write_text('{"version":')  # a crash that atomic writes prevent
    assert graded() == 1
    monkeypatch.setattr(grading, "GRADE_VERSION", 999)
    assert graded() == 2
    monkeypatch.setattr(grading, "SYMPY", "99.0")
    assert graded() == 2
    asked.clear()
    grade_one(made, store, force=True, progress=lambda *state: asked.append(state))
    assert asked == [(1, 2), (2, 2)]


def test_grades_come_back_from_disk_as_they_were(made, tmp_path):
    store = made.store(tmp_path, made.ok(), made.ok("log(0-x)", seed=860), made.failed(seed=1))
    cells = grade_one(made, store)
    assert [read_grade(store, cell.record) for cell in cells] == [cell.grade for cell in cells]
    assert cells == grade_one(made, store)


def test_grading_again_gives_the_same_grade(made, tmp_path):
    store = made.store(tmp_path, made.ok("20 - x - 0.98*x*y/(1+0.5*x**2) + 0.001*sin(y)"))
    before = grade_path(store, store.records()[0][0].key)
    grade_one(made, store)
    text = before.read_text()
    grade_one(made, store, force=True)
    assert before.read_text() == text


@pytest.mark.parametrize("mode", ["auto", "pmlb", "builtin"])
def test_what_was_measured_on_generated_data_needs_no_files(made, tmp_path, mode):
    """Wherever data come from now, and with no network."""
    record = made.ok("2*x1", suite="sklearn", task=sklearn_task())
    record = replace(record, formula=find(record.key.task, "sklearn").features[0])
    store = made.store(tmp_path, record, made.ok())
    source = DataSource(mode, tmp_path / "no files", "http://127.0.0.1:1")
    cells, problems = grade_all(store, source)
    assert problems == []
    assert all(cell.grade for cell in cells)


def test_other_data_are_refused_and_the_rest_is_graded(made, tmp_path):
    other = made.ok(seed=860)
    other = replace(other, data={**other.data, "sha256": "0" * 64})
    store = made.store(tmp_path, made.ok(), other)
    cells, problems = grade_all(store, made.source)
    assert [cell.grade is None for cell in cells] == [cell.record == other for cell in cells]
    assert len(problems) == 1
    assert "not those it was measured on" in str(problems[0])


def test_damaged_and_newer_records_are_left_as_they_are(made, tmp_path):
    good, bad, newer = made.ok(), made.ok(seed=1), made.ok(seed=2)
    store = made.store(tmp_path, good, bad, newer)
    bad_path, newer_path = store.runs / bad.key.path, store.runs / newer.key.path
    bad_path.write_text(bad_path.read_text()[:100])
    newer_path.write_text(newer_path.read_text().replace('"version": 1', '"version": 99'))
    texts = bad_path.read_text(), newer_path.read_text()
    cells, problems = grade_all(store, made.source)
    assert [cell.record for cell in cells] == [good]
    assert "damaged" in "".join(map(str, problems))
    assert "newer" in "".join(map(str, problems))
    assert (bad_path.read_text(), newer_path.read_text()) == texts


def test_a_grade_names_the_record_it_is_of(made, tmp_path):
    record = made.ok()
    store = made.store(tmp_path, record)
    grade_one(made, store)
    stored = json.loads(grade_path(store, record.key).read_text())
    assert stored["record"] == digest(record)
    assert grade_path(store, record.key).relative_to(tmp_path / "grades") == (
        (store.runs / record.key.path).relative_to(store.runs)
    )
    assert read_grade(store, record) == grading.Grade(**stored)
