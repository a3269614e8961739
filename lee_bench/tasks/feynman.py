"""Feynman data sets made here: uniform samples of the published ranges, target by the formula.

PMLB's own files are 100,000 other draws from the same distribution, so results on generated and
on PMLB's rows are comparable but not equal; a record says which it used.
"""

from __future__ import annotations

import hashlib

import numpy as np

from lee_bench.expression import parse
from lee_bench.tasks.catalog import TaskInfo, table

SOURCE = "generated: uniform samples of the published ranges, target from the published formula"


def ranges(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each feature, float64, shape (d,), in the published units."""
    (row,) = (row for row in table("feynman") if row["name"] == name)
    low, high = (np.array(row[side].split(";"), dtype=np.float64) for side in ("low", "high"))
    return low, high


def generate(info: TaskInfo) -> tuple[np.ndarray, np.ndarray]:
    """Draw the data set: X float64 (n, d) and y float64 (n,).

    The same for a name everywhere, but for the last digit of y, in which processors differ.
    """
    low, high = ranges(info.name)
    seed = hashlib.sha256(info.name.encode()).digest()[:4]
    # RandomState, because numpy promises never to change its streams.
    X = np.random.RandomState(int.from_bytes(seed, "big")).uniform(
        low, high, size=(info.n_rows, info.n_features)
    )
    return X, parse(info.truth, info.features).evaluate(X, info.features)
