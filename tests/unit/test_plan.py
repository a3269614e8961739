from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_bench.errors import DataError, UsageError
from lee_bench.runs.plan import Grid, plan
from lee_bench.runs.record import RunKey
from lee_bench.tasks import catalog


def grid(**changes) -> Grid:
    tasks = [("strogatz", info) for info in catalog.tasks("strogatz")[:3]]
    fields = {
        "tasks": tasks,
        "methods": ("linear", "operon"),
        "noises": (0.0, 0.1),
        "seeds": (1, 2),
        "seconds": 5.0,
        "threads": 1,
        "settings": {"operon": {"b": 1, "a": 2}},
    }
    return Grid(**{**fields, **changes})


def test_a_plan_is_the_product_of_its_grid():
    keys = plan(grid(), lambda info: "builtin").keys
    assert len(keys) == len(set(keys)) == 3 * 2 * 2 * 2
    assert {key.settings for key in keys if key.method == "linear"} == {""}
    assert {key.settings for key in keys if key.method == "operon"} == {'{"a":2,"b":1}'}


def test_methods_of_one_problem_stand_side_by_side():
    keys = plan(grid(), lambda info: "builtin").keys
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        assert (first.task, first.noise, first.seed) == (second.task, second.noise, second.seed)


def test_a_task_without_data_is_left_out_and_named():
    planned = plan(grid(), but_not("strogatz_bacres2"))
    assert [name for name, _ in planned.left_out] == ["strogatz_bacres2"]
    assert "strogatz_bacres2" not in {key.task for key in planned.keys}


@pytest.mark.parametrize(
    "wrong",
    [
        {"noises": (-0.1,)},
        {"noises": (float("nan"),)},
        {"seconds": 0},
        {"seconds": float("inf")},
        {"threads": 0},
    ],
)
def test_senseless_grids_are_refused(wrong):
    with pytest.raises(UsageError):
        grid(**wrong)


def but_not(name: str):
    """Where data come from on a machine that lacks those of one task."""

    def kind(info):
        if info.name == name:
            raise DataError("no such file")
        return "builtin"

    return kind


@given(st.integers(1, 9), st.sampled_from(["", "strogatz_bacres1", "strogatz_barmag1"]))
def test_parts_cover_a_plan_once_and_keep_methods_together(count, lacking):
    """Even where one machine lacks data that the others have."""
    kinds = [but_not(lacking), *[but_not("")] * (count - 1)]
    parts = [plan(grid(), kind, i + 1, count).keys for i, kind in enumerate(kinds)]
    keys = list(itertools.chain(*parts))
    assert len(keys) == len(set(keys))
    whole = plan(grid(), but_not("")).keys
    assert {key.task for key in set(whole) - set(keys)} <= {lacking}
    for part in parts:
        problems = Counter((key.task, key.noise, key.seed) for key in part)
        assert set(problems.values()) <= {2}


def test_a_part_that_does_not_exist_is_refused():
    with pytest.raises(UsageError):
        plan(grid(), but_not(""), 3, 2)


KEY = RunKey("strogatz", "lv1", "pmlb", "linear", "", 0.01, 23654, 30.0, 1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suite", "feynman"),
        ("task", "lv2"),
        ("data", "builtin"),
        ("method", "operon"),
        ("settings", "{}"),
        ("noise", 0.1),
        ("seed", 1),
        ("seconds", 31.0),
        ("threads", 2),
        ("protocol", 2),
    ],
)
def test_every_part_of_the_identity_counts(name, value):
    other = replace(KEY, **{name: value})
    assert other.path != KEY.path
    assert other.method_seed != KEY.method_seed


def test_the_identity_does_not_change_between_versions():
    """Stored results are found again by this name; a change here orphans them."""
    assert str(KEY.path) == "strogatz/lv1/linear/noise0.01_seed23654_30s_e49f072c54.json"
