from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score, root_mean_squared_error

from lee_bench.evidence.metrics import METRICS, is_accurate, r2, rmse

vectors = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


@given(st.data())
def test_r2_and_rmse_are_scikit_learns(data):
    y = np.array(data.draw(vectors))
    prediction = np.array(
        data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(y), max_size=len(y)))
    )
    assert r2(y, prediction) == pytest.approx(r2_score(y, prediction), rel=1e-9, abs=1e-9)
    assert rmse(y, prediction) == pytest.approx(root_mean_squared_error(y, prediction))


def test_bounds_and_constant_targets():
    y = np.array([1.0, 2.0, 4.0])
    assert r2(y, y) == 1.0
    assert r2(y, np.full(3, y.mean())) == 0.0
    constant = np.full(3, 2.0)
    assert r2(constant, constant) == 1.0
    assert r2(constant, y) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_prediction_beyond_float64_has_no_score(bad):
    y, prediction = np.array([1.0, 2.0]), np.array([1.0, bad])
    assert np.isnan(r2(y, prediction))
    assert np.isnan(rmse(y, prediction))


def test_accuracy_solution():
    assert is_accurate(0.9991)
    assert not is_accurate(0.999)
    assert not is_accurate(None)


def test_every_metric_declares_direction_and_a_worst_value():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.label
        assert metric.worst <= 0 if metric.higher_is_better else metric.worst > 0
