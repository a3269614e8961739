from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lee_bench.evidence.pareto import on_front

costs = st.integers(1, 3).flatmap(
    lambda k: arrays(
        np.float64,
        st.tuples(st.integers(0, 25), st.just(k)),
        elements=st.one_of(st.integers(0, 4).map(float), st.just(np.nan), st.just(np.inf)),
    )
)


def beats(a, b) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y for x, y in zip(a, b, strict=True)
    )


@given(costs)
def test_the_front_is_what_nothing_beats(points):
    known = [p for p in points if not np.isnan(p).any()]
    expected = [
        not np.isnan(p).any() and not any(beats(other, p) for other in known) for p in points
    ]
    assert on_front(points).tolist() == expected


@given(costs)
def test_someone_is_on_the_front(points):
    assert on_front(points).any() == (~np.isnan(points).any(axis=1)).any()


def test_simplest_and_best_are_on_it_and_equals_share_it():
    size_and_error = np.array([[5, 0.1], [5, 0.1], [9, 0.01], [9, 0.2], [30, 0.01]])
    assert on_front(size_and_error).tolist() == [True, True, True, False, False]
