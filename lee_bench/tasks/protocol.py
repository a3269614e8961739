"""SRBench's protocol: from a data set to what a method trains on and what it is scored on.

In this order, all of it fixed by one seed that every method shares:

1. Split. scikit-learn's ``train_test_split(train_size=0.75, test_size=0.25, random_state=seed)``.
2. Subsample. If the training part has more than 10,000 rows, 10,000 of them are drawn **with
   replacement** by ``np.random.RandomState(seed).choice``.
3. Noise. ``N(0, (noise * RMS(y_train))**2)`` from the same stream is added to the training target;
   RMS is of the training target after step 2, in original units. The test target stays clean.

The rows are those of SRBench 2021 (v2.0), draw for draw. Two things differ:

- SRBench standardises y before it adds noise, so its noise is relative to the standard deviation
  of y_train. Ours is relative to the RMS, as its paper and most later work define it, and data
  stay in original units; a method that wants standardised data does that inside.
- SRBench subsamples when the whole data set has more than 10,000 rows, which would draw more rows
  than there are from one of 10,001 to 13,333. No data set of its suites is of that size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lee_bench.errors import UsageError
from lee_bench.tasks.sources import Dataset

PROTOCOL_VERSION = 1
"""1: as described above."""

SEEDS = (23654, 15795, 860, 5390, 16850, 29910, 4426, 21962, 14423, 28020)
"""SRBench's seeds, in its order: trial i uses SEEDS[i]."""

MAX_TRAIN_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test rows of one trial, all float64, in original units.

    Attributes:
        X_train: (n, d), n at most `MAX_TRAIN_ROWS`.
        y_train: (n,), noise included.
        X_test: (m, d).
        y_test: (m,), clean.
        y_train_clean: (n,), before noise.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    y_train_clean: np.ndarray


def split(dataset: Dataset, noise: float, seed: int) -> Split:
    """Split, subsample and add noise, as the head of this module says.

    Args:
        dataset: where the rows are from.
        noise: standard deviation of the noise, as a fraction of the RMS of the training target.
        seed: 0 to 2**32 - 1.

    Raises:
        UsageError: noise or seed is out of range.
    """
    if not (math.isfinite(noise) and noise >= 0):
        raise UsageError(
            f"Noise {noise:g} makes no sense.",
            "It is a fraction of the target's RMS: 0 or more, e.g. 0.01.",
        )
    if not 0 <= seed < 2**32:
        raise UsageError(f"Seed {seed} is out of range.", "Seeds go from 0 to 4294967295.")
    from sklearn.model_selection import train_test_split

    X, y = dataset.X, dataset.y
    train, test = train_test_split(
        np.arange(len(y)), train_size=0.75, test_size=0.25, random_state=seed
    )
    random = np.random.RandomState(seed)
    if len(train) > MAX_TRAIN_ROWS:
        train = train[random.choice(len(train), size=MAX_TRAIN_ROWS)]
    y_clean = y[train]
    y_train = y_clean
    if noise > 0:
        spread = noise * np.sqrt(np.mean(np.square(y_clean)))
        y_train = y_clean + random.normal(0.0, spread, size=len(y_clean))
    return Split(X[train], y_train, X[test], y[test], y_clean)
