"""Pictures of a latent space: one map, coloured in three ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lee_bench.evidence.plots import save

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKS = "os^D"


def latent(
    flat: np.ndarray,
    family: np.ndarray,
    dimension: np.ndarray,
    mean_y: np.ndarray,
    title: str,
    stem: Path,
) -> list[Path]:
    """Write the map as PNG and SVG; returns the files.

    Args:
        flat: (n, 2). family, dimension, mean_y: of each point, (n,).
        stem: path of the pictures, without suffix.
    """
    figure = Figure(figsize=(11.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    _groups(axes[0], flat, family, "by family")
    _groups(axes[1], flat, np.array([f"{d} variables" for d in dimension]), "by dimension")
    # Means span many decades and both signs: their order is what can be seen.
    rank = mean_y.argsort().argsort() / max(1, len(mean_y) - 1)
    dots = axes[2].scatter(*flat.T, c=rank, cmap="viridis", s=14, linewidths=0)
    axes[2].set_title("by mean of y", fontsize=9)
    bar = figure.colorbar(dots, ax=axes[2], ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels([f"{np.quantile(mean_y, q):.2g}" for q in (0, 0.5, 1)], fontsize=7)
    for ax in axes:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(title, fontsize=10, parse_math=False)
    return save(figure, stem)


def _groups(ax: Axes, flat: np.ndarray, labels: np.ndarray, title: str) -> None:
    for i, name in enumerate(sorted(set(labels.tolist()))):
        ax.plot(
            *flat[labels == name].T,
            _MARKS[i % len(_MARKS)],
            color=_COLOURS[i % len(_COLOURS)],
            markersize=4,
            markeredgewidth=0,
            alpha=0.8,
            label=name,
        )
    ax.legend(fontsize=7, frameon=False)
    ax.set_title(title, fontsize=9)
