"""How a latent space is ordered: its picture in a plane, and how far apart groups lie."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

_PERPLEXITY = 30.0
_TERCILES = ("low", "middle", "high")


def plane(z: np.ndarray, seed: int = 0) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton 2008) of points (n, k), at least 4: (n, 2)."""
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(z) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z)


def terciles(values: np.ndarray) -> np.ndarray:
    """Low, middle or high third of each of some values (n,)."""
    return np.array(_TERCILES)[np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)]


def silhouettes(z: np.ndarray, flat: np.ndarray, labels: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean silhouette (Rousseeuw 1987) of each grouping, -1 to 1; 0 where groups mix.

    Args:
        z: (n, k). flat: its picture (n, 2).
        labels: of each grouping, (n,).

    Returns:
        A row for each grouping: ``grouping``, ``latent`` (in z, by which two spaces are compared),
        ``plane`` (in the picture).
    """
    from sklearn.metrics import silhouette_score

    rows = [
        (name, float(silhouette_score(z, label)), float(silhouette_score(flat, label)))
        for name, label in labels.items()
    ]
    return pd.DataFrame(rows, columns=["grouping", "latent", "plane"])
