"""The tables the project carries, and finding a task in them."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_bench.errors import UsageError
from lee_bench.expression import is_variable_name, parse
from lee_bench.tasks import catalog
from lee_bench.tasks.protocol import MAX_TRAIN_ROWS


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.mark.parametrize(
    ("suite", "size", "with_truth"),
    [
        ("feynman", 119, 119),
        ("strogatz", 14, 14),
        ("blackbox", 122, 0),
        ("blackbox57", 57, 0),
        ("sklearn", 6, 3),
    ],
)
def test_suites_have_their_published_size(suite, size, with_truth):
    tasks = catalog.tasks(suite)
    assert len({task.name for task in tasks}) == len(tasks) == size
    assert sum(task.truth is not None for task in tasks) == with_truth
    assert {task.suite for task in tasks} == {suite}


@pytest.mark.parametrize("suite", catalog.suites())
def test_features_are_distinct_names_a_formula_may_use(suite):
    for task in catalog.tasks(suite):
        assert len(set(task.features)) == len(task.columns) == task.n_features > 0
        assert all(is_variable_name(name) for name in task.features), task.name
        assert "target" not in task.columns


@pytest.mark.parametrize("suite", ["feynman", "strogatz", "sklearn"])
def test_every_true_formula_parses(suite):
    noise_features = {"sklearn": 5}  # friedman1 has five features that do not matter
    for task in catalog.tasks(suite):
        if task.truth:
            used = parse(task.truth, task.features).variables
            unused = set(task.features) - used
            may_lack = noise_features.get(suite, 0) or task.suite == "strogatz"
            assert not unused or may_lack, (task.name, unused)


def test_variables_named_like_constants_are_variables():
    for name, variable in [("II_13_17", "I"), ("I_39_11", "gamma"), ("III_17_37", "beta")]:
        task = catalog.find(name)
        assert variable in parse(task.truth, task.features).variables


def test_features_follow_the_columns_of_awkward_files():
    task = catalog.find("1096_FacultySalaries")
    assert "average.salary" in task.columns
    assert task.features[task.columns.index("average.salary")] == "average_salary"
    assert len(task.columns) == task.n_features


def test_no_task_is_of_a_size_where_two_readings_of_the_protocol_differ():
    sizes = [task.n_rows for suite in catalog.suites() for task in catalog.tasks(suite)]
    assert not [n for n in sizes if MAX_TRAIN_ROWS < n <= MAX_TRAIN_ROWS / 0.75]


def test_tables_agree_with_the_published_facts(shared_data):
    manifest = {row["dataset"]: row for row in read(shared_data / "pmlb_manifest.csv")}
    for suite in ("feynman", "strogatz", "blackbox"):
        for task in catalog.tasks(suite):
            row = manifest.pop(task.name)
            present = {row["pmlb_lfs_sha256"]} if not task.replaced else set()
            assert set(task.sha256) == present | {row["cache_sha256"]} - {""}, task.name
            assert task.pmlb_name == row["pmlb_name_2025"]
    assert not manifest
    for row in read(shared_data / "feynman_equations.csv"):
        task = catalog.find(row["dataset"])
        (mine,) = (r for r in catalog.table("feynman") if r["name"] == task.name)
        for ours, theirs in [
            ("formula", "formula"),
            ("features", "variables"),
            ("low", "low"),
            ("high", "high"),
            ("target", "target_name"),
        ]:
            assert mine[ours] == row[theirs], (task.name, ours)
    members = {
        row["dataset"] for row in read(shared_data / "blackbox_tasks.csv") if row["in_57"] == "1"
    }
    assert {task.name for task in catalog.tasks("blackbox57")} == members


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("feynman_I_6_2", "feynman_I_6_2"),
        ("I_6_2", "feynman_I_6_2"),
        ("I.6.2a", "feynman_I_6_2a"),
        ("test_3", "feynman_test_3"),
        ("bacres1", "strogatz_bacres1"),
        ("esl", "1027_ESL"),
        ("titanic", "titanic"),
        ("friedman1", "friedman1"),
    ],
)
def test_find_knows_short_names(written, meant):
    assert catalog.find(written).name == meant


def test_every_full_name_finds_itself():
    for suite in catalog.suites():
        for task in catalog.tasks(suite):
            assert catalog.find(task.name, suite) is task


def test_an_ambiguous_short_name_lists_what_it_could_be():
    with pytest.raises(UsageError, match=r"could be any of: 197_cpu_act, 573_cpu_act"):
        catalog.find("cpu_act")


def test_a_wrong_name_gets_the_nearest_ones():
    with pytest.raises(UsageError, match="No suite is called 'feyman'") as caught:
        catalog.tasks("feyman")
    assert "feynman" in caught.value.hint
    with pytest.raises(UsageError, match="No task is called 'strogatz_bacres3'") as caught:
        catalog.find("strogatz_bacres3")
    assert "strogatz_bacres1" in caught.value.hint
    with pytest.raises(UsageError):
        catalog.find("titanic", suite="feynman")


@given(st.lists(st.text(max_size=8), min_size=1, max_size=12, unique=True))
def test_any_column_names_become_distinct_variable_names(columns):
    names = catalog.identifiers(tuple(columns))
    assert len(set(names)) == len(columns)
    assert all(is_variable_name(name) for name in names)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_]{3,8}x", fullmatch=True), unique=True, min_size=1))
def test_good_column_names_stay(columns):
    assert catalog.identifiers(tuple(columns)) == tuple(columns)


def test_names_of_functions_give_way():
    assert catalog.identifiers(("log", "log_", "exp", "1st")) == ("log_", "log__", "exp_", "x1st")


def test_the_catalog_imports_nothing_heavy():
    code = (
        "import sys, lee_bench.tasks.catalog;"
        "print(*{'numpy', 'pandas', 'sklearn', 'requests', 'pmlb'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
