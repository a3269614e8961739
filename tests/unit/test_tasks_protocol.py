"""SRBench's protocol: split, subsample, noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lee_bench.errors import UsageError
from lee_bench.tasks import catalog
from lee_bench.tasks.protocol import MAX_TRAIN_ROWS, SEEDS, split
from lee_bench.tasks.sources import Dataset, DataSource


def dataset(n: int, d: int = 2) -> Dataset:
    """Every row is told apart by its number, which is its first feature."""
    X = np.random.default_rng(n).normal(size=(n, d))
    X[:, 0] = np.arange(n)
    y = 3.0 + 2.0 * X[:, 1]
    X.flags.writeable = y.flags.writeable = False
    return Dataset(catalog.find("strogatz_lv1"), X, y, "made by the test", "")


def as_srbench_does(data: Dataset, noise: float, seed: int):
    """SRBench 2021 in its own words: the global generator, and y standardised before noise."""
    from sklearn.model_selection import train_test_split

    np.random.seed(seed)
    X, X_test, y, y_test = train_test_split(
        data.X, data.y, train_size=0.75, test_size=0.25, random_state=seed
    )
    if len(data.y) > 10_000:
        rows = np.random.choice(np.arange(len(X)), size=10_000)
        X, y = X[rows], y[rows]
    scaled = (y - y.mean()) / y.std()
    draws = np.random.normal(0, noise * np.sqrt(np.mean(scaled**2)), size=len(y))
    return X, y, draws, X_test, y_test


@pytest.mark.parametrize("n", [100, 13_333, 13_336, 100_000])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_rows_are_srbenchs_rows(n, seed):
    data = dataset(n)
    parts = split(data, 0.1, seed)
    X, y, draws, X_test, y_test = as_srbench_does(data, 0.1, seed)
    if n == 13_333:  # the one reading that differs: SRBench would draw 10,000 of 9,999 rows
        assert len(parts.X_train) == 9_999
    else:
        np.testing.assert_array_equal(parts.X_train, X)
        np.testing.assert_array_equal(parts.y_train_clean, y)
        # The same draws, on the other scale: RMS(y) instead of std(y).
        ours = (parts.y_train - parts.y_train_clean) / np.sqrt(np.mean(y**2))
        np.testing.assert_allclose(ours, draws, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(parts.X_test, X_test)
    np.testing.assert_array_equal(parts.y_test, y_test)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(8, 400),
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0.0, 0.001, 0.01, 0.1, 2.0]),
)
def test_parts_are_disjoint_complete_and_clean_where_they_must_be(n, seed, noise):
    data = dataset(n)
    parts = split(data, noise, seed)
    train, test = parts.X_train[:, 0], parts.X_test[:, 0]
    assert sorted([*train, *test]) == list(range(n))
    assert len(test) == int(np.ceil(0.25 * n))
    np.testing.assert_array_equal(parts.X_train, data.X[train.astype(int)])
    np.testing.assert_array_equal(parts.y_train_clean, data.y[train.astype(int)])
    np.testing.assert_array_equal(parts.y_test, data.y[test.astype(int)])
    assert (noise == 0) == np.array_equal(parts.y_train, parts.y_train_clean)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_large_set_is_cut_with_replacement_and_no_test_row_leaks_in(seed):
    parts = split(dataset(40_000), 0.0, seed)
    train = set(parts.X_train[:, 0])
    assert len(parts.X_train) == MAX_TRAIN_ROWS > len(train)
    assert len(parts.X_test) == 10_000
    assert not train & set(parts.X_test[:, 0])


@pytest.mark.parametrize("noise", [0.001, 0.01, 0.1])
def test_noise_has_the_stated_size(noise):
    parts = split(dataset(100_000), noise, SEEDS[0])
    added = parts.y_train - parts.y_train_clean
    spread = noise * np.sqrt(np.mean(parts.y_train_clean**2))
    n = len(added)
    assert abs(added.mean()) < 4 * spread / np.sqrt(n)
    assert abs(added.std() / spread - 1) < 4 / np.sqrt(2 * n)
    assert abs(np.corrcoef(added, parts.y_train_clean)[0, 1]) < 4 / np.sqrt(n)


def test_noise_levels_share_rows_and_draws():
    data = dataset(20_000)
    low, high = split(data, 0.01, 860), split(data, 0.1, 860)
    np.testing.assert_array_equal(low.X_train, high.X_train)
    np.testing.assert_allclose(
        10 * (low.y_train - low.y_train_clean), high.y_train - high.y_train_clean, atol=1e-12
    )


def test_a_seed_means_one_split_whatever_happened_before():
    data = dataset(20_000)
    first = split(data, 0.1, 860)
    np.random.seed(1)
    np.random.normal(size=100)
    split(data, 0.1, 5390)
    again = split(data, 0.1, 860)
    for name in ("X_train", "y_train", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.X_test, split(data, 0.1, 5390).X_test)


def test_the_global_generator_is_left_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    split(dataset(20_000), 0.1, 860)
    assert np.random.random() == expected


def test_a_real_task_goes_through():
    parts = split(DataSource("builtin").load(catalog.find("I_8_14")), 0.01, SEEDS[0])
    assert parts.X_train.shape == (10_000, 4)
    assert parts.X_test.shape == (25_000, 4)
    assert {a.dtype for a in (parts.X_train, parts.y_train, parts.X_test)} == {np.dtype("f8")}


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(UsageError, match="makes no sense"):
        split(dataset(40), noise, 0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(UsageError, match="out of range"):
        split(dataset(40), 0.0, seed)
