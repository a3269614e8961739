"""Data made here against the real data and the published statistics."""

from __future__ import annotations

import gzip
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from lee_bench.expression import parse
from lee_bench.tasks import bundled, catalog, feynman, strogatz

FEYNMAN = catalog.tasks("feynman")
FIRST_ROW = (1.753523144361422, 1.8109016418115982, 1.2218997147069492)


@pytest.mark.parametrize("task", FEYNMAN, ids=lambda task: task.name)
def test_feynman_samples_are_finite_and_fill_their_ranges(task):
    X, y = feynman.generate(task)
    assert X.shape == (100_000, task.n_features)
    assert X.dtype == y.dtype == np.float64
    assert np.isfinite(y).all()
    low, high = feynman.ranges(task.name)
    assert (low <= X).all()
    assert (high >= X).all()
    # Quartiles of a uniform distribution, at 6 standard errors.
    quartiles = np.quantile((X - low) / (high - low), [0.25, 0.5, 0.75], axis=0)
    assert np.abs(quartiles.T - [0.25, 0.5, 0.75]).max() < 0.01


def test_feynman_samples_are_the_same_everywhere():
    X, _ = feynman.generate(catalog.find("feynman_I_9_18"))
    again, _ = feynman.generate(catalog.find("feynman_I_9_18"))
    other, _ = feynman.generate(catalog.find("feynman_I_32_17"))
    np.testing.assert_array_equal(X, again)
    assert not np.array_equal(X[:, 0], other[:, 0])
    # numpy promises this stream for ever; a change here changes every generated result.
    np.testing.assert_allclose(X[0, :3], FIRST_ROW, rtol=1e-15)


def test_feynman_formulas_give_the_real_rows(shared_data):
    """PMLB's pages show 6 decimals: a formula may be off by what half a last digit can do."""
    real = defaultdict(list)
    with gzip.open(shared_data / "feynman_sample_rows.csv.gz", "rt") as file:
        for line in file:
            if line.startswith("feynman_"):
                name, _, values = line.strip().split(",")
                real[name].append([float(value) for value in values.split(";")])
    assert len(real) == 117
    for name, rows in real.items():
        task = catalog.find(name)
        table = np.array(rows)
        X, y = table[:, :-1], table[:, -1]
        low, high = feynman.ranges(name)
        assert (low - 1e-6 <= X).all(), name
        assert (high + 1e-6 >= X).all(), name
        truth = parse(task.truth, task.features)
        slack = np.full(len(y), 0.5e-6)
        for i in range(task.n_features):
            step = np.zeros(task.n_features)
            step[i] = 0.5e-6
            up, down = (truth.evaluate(X + s * step, task.features) for s in (1, -1))
            slack += np.abs(up - down) / 2
        error = np.abs(truth.evaluate(X, task.features) - y)
        assert (error <= 1.05 * slack + 1e-9).all(), name


def test_feynman_targets_have_the_published_statistics(shared_data):
    facts = pd.read_csv(shared_data / "feynman_equations.csv", comment="#", index_col="dataset")
    for task in FEYNMAN:
        fact = facts.loc[task.name]
        if np.isnan(fact.target_mean):
            continue
        _, y = feynman.generate(task)
        # Both are means of 100,000 draws: their difference has sqrt(2) times one's standard error.
        error = np.sqrt(2 / len(y)) * y.std()
        assert abs(y.mean() - fact.target_mean) < 5 * error, task.name


@pytest.mark.parametrize("task", catalog.tasks("strogatz"), ids=lambda task: task.name)
def test_strogatz_is_remade_to_the_last_digits(task, shared_data):
    path = shared_data / "pmlb" / task.name / f"{task.name}.tsv.gz"
    real = pd.read_csv(path, sep="\t")
    X, y = strogatz.generate(task)
    np.testing.assert_allclose(X, real[["x", "y"]].to_numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(y, real["target"].to_numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("task", catalog.tasks("strogatz"), ids=lambda task: task.name)
def test_strogatz_starts_where_it_should_and_obeys_its_law(task):
    X, y = strogatz.generate(task)
    assert X.shape == (400, 2)
    assert len(np.unique(X[::100], axis=0)) == 4
    if task.name.endswith("1"):  # x goes forward by 0.1 of its stored rate
        moved = (X[1:] - X[:-1]).reshape(-1, 2)[:, 0]
        within = np.arange(399) % 100 != 99
        np.testing.assert_allclose(moved[within], 0.1 * y[:-1][within], atol=1e-12)


@pytest.mark.parametrize("task", catalog.tasks("sklearn"), ids=lambda task: task.name)
def test_bundled_data_are_as_the_table_says(task):
    X, y = bundled.generate(task)
    assert X.shape == (task.n_rows, task.n_features)
    assert np.isfinite(X).all()
    assert y.std() > 0
    if task.truth:
        truth = parse(task.truth, task.features).evaluate(X, task.features)
        np.testing.assert_allclose(y, truth, rtol=1e-9)


def test_bundled_columns_are_the_named_ones():
    from sklearn.datasets import load_diabetes, load_iris, load_wine

    assert tuple(load_diabetes().feature_names) == catalog.find("diabetes").columns
    iris, _ = bundled.generate(catalog.find("iris_petal_width"))
    np.testing.assert_array_equal(iris, load_iris().data[:, :3])
    wine, y = bundled.generate(catalog.find("wine_alcohol"))
    np.testing.assert_array_equal(wine, load_wine().data[:, 1:])
    np.testing.assert_array_equal(y, load_wine().data[:, 0])
