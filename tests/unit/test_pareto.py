from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lee_bench.evidence.pareto import on_front, ranks

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
@settings(deadline=None)
def test_the_front_is_what_nothing_beats(points):
    known = [p for p in points if not np.isnan(p).any()]
    expected = [
        not np.isnan(p).any() and not any(beats(other, p) for other in known) for p in points
    ]
    assert on_front(points).tolist() == expected


@given(costs)
@settings(deadline=None)
def test_someone_is_on_the_front(points):
    assert on_front(points).any() == (~np.isnan(points).any(axis=1)).any()


def test_simplest_and_best_are_on_it_and_equals_share_it():
    size_and_error = np.array([[5, 0.1], [5, 0.1], [9, 0.01], [9, 0.2], [30, 0.01]])
    assert on_front(size_and_error).tolist() == [True, True, True, False, False]


@given(costs)
@settings(deadline=None)
def test_ranks_are_what_peeling_by_hand_gives(points):
    left = {i: p for i, p in enumerate(points) if not np.isnan(p).any()}
    expected = np.full(len(points), np.nan)
    number = 0
    while left:
        number += 1
        front = [i for i, p in left.items() if not any(beats(q, p) for q in left.values())]
        for i in front:
            expected[i] = number
            del left[i]
    np.testing.assert_array_equal(ranks(points), expected)


@given(costs)
@settings(deadline=None)
def test_a_rank_is_the_longest_chain_of_points_that_beat_it(points):
    rank = ranks(points)
    for i in np.flatnonzero(~np.isnan(rank)):
        better = [rank[j] for j in np.flatnonzero(~np.isnan(rank)) if beats(points[j], points[i])]
        assert rank[i] == max(better, default=0) + 1
