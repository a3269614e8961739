"""The `sklearn` suite: data that scikit-learn carries, and Friedman's functions."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from lee_bench.tasks.catalog import TaskInfo

SOURCE = f"scikit-learn {version('scikit-learn')}"
_FRIEDMAN_SEED = 0


def generate(info: TaskInfo) -> tuple[np.ndarray, np.ndarray]:
    """Load or draw the data set: X float64 (n, d) and y float64 (n,), without noise."""
    from sklearn import datasets

    if info.name.startswith("friedman"):
        make = getattr(datasets, f"make_{info.name}")
        X, y = make(n_samples=info.n_rows, noise=0.0, random_state=_FRIEDMAN_SEED)
    elif info.name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    else:
        # Classification sets, used with one measurement as the target and the class left out.
        load = {"iris_petal_width": datasets.load_iris, "wine_alcohol": datasets.load_wine}
        bunch = load[info.name]()
        names = list(bunch.feature_names)
        X = bunch.data[:, [names.index(column) for column in info.columns]]
        y = bunch.data[:, names.index(info.target)]
    return np.asarray(X, np.float64), np.asarray(y, np.float64)
