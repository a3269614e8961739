"""The project's own gate on real measurements: a worse search is caught, another stream passes.

`tests/numeric/gate_*.json` are baselines of LEE on the grid of `.ci/gate`, each really measured: as
it was, with every random seed one higher, and with `Refinement` decoding 64 expressions a round (16
in the first) instead of 1024 (256).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lee_bench.evidence.baseline import Baseline
from lee_bench.evidence.regress import Verdict, check
from lee_bench.runs import registry

ROOT = Path(__file__).parents[2]


def measured(name: str) -> Baseline:
    return Baseline.read(ROOT / "tests" / "numeric" / f"gate_{name}.json")


def test_a_search_with_a_sixteenth_of_its_decodes_is_caught():
    groups = check(measured("before"), measured("damaged"), times=False)
    (everywhere,) = (group for group in groups if group.suite == "all")
    assert everywhere.fails
    (r2,) = (line for line in everywhere.lines if line.score == "R²")
    assert r2.verdict is Verdict.WORSE
    assert r2.now < r2.before


@pytest.mark.parametrize("names", [("before", "reseeded"), ("reseeded", "before")])
def test_another_random_stream_passes(names):
    before, now = map(measured, names)
    assert (before.cells["r2_test"] != now.cells["r2_test"]).any()
    assert not any(group.fails for group in check(before, now, times=False))


def test_the_baseline_in_the_repository_holds_every_method_that_comes_along():
    baseline = Baseline.read(ROOT / "results" / "baselines" / "ci.json")
    methods = set(registry.BUILTIN) - {"pysr"}  # needs Julia
    assert set(baseline.cells["method"]) == methods
    assert set(baseline.cells["status"]) <= {"ok", "unavailable"}
    assert set(baseline.exact) < methods
    counts = baseline.cells.groupby("method").size()
    assert counts.nunique() == 1
    assert not any(group.fails for group in check(baseline, baseline))
