"""The picture of one problem: every candidate of every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lee_bench.evidence.pareto import on_front
from lee_bench.evidence.plots import (
    MOST_NINES,
    Mark,
    draw_marks,
    dress,
    freeze,
    look,
    name_marks,
    nines,
    save,
    scale,
)
from lee_bench.evidence.plots_curves import grid
from lee_bench.evidence.words import panel_name


def pareto(table: pd.DataFrame, name: str, stem: Path) -> list[Path]:
    """Write the picture of `draw_pareto` as PNG and SVG; returns the files."""
    return save(draw_pareto(table, name), stem)


def draw_pareto(table: pd.DataFrame, name: str) -> Figure:
    """Test R² against size of all candidates, with each method's own front; a panel a noise level.

    Args:
        table: from `lee_bench.evidence.candidates.of_task`.
        name: of the problem.
    """
    levels = sorted(set(table["noise"]))
    figure, (row,) = grid(1, len(levels), (4.4, 3.9))
    figure.supxlabel(
        "nodes as written, log scale; large marks were chosen, lines are each method's own front",
        fontsize=9,
    )
    figure.supylabel(f"test R² (log scale of 1 − R², cut at 0 and 1 − 1e-{MOST_NINES})", fontsize=9)
    panels = []
    for ax, level in zip(row, levels, strict=True):
        panel = table[table["noise"] == level].dropna(subset=["r2_test"])
        count = f"{len(panel)} candidates of {panel['label'].nunique()} methods"
        dress(ax, panel_name(name, level), count)
        scale(ax, table["r2_test"], table["complexity_raw"].astype(float))
        dots = np.column_stack([panel["complexity_raw"], nines(panel["r2_test"])])
        panels.append((ax, _draw(ax, panel), dots))
    freeze(figure)
    for ax, marks, dots in panels:
        name_marks(ax, marks, dots=dots)
    return figure


def _draw(ax: Axes, panel: pd.DataFrame) -> list[Mark]:
    """Draw a panel; returns one mark a method, to be named."""
    named = []
    for label, own in panel.groupby("label"):
        method = own["method"].iloc[0]
        colour, shape = look(method)
        x, y = own["complexity_raw"].to_numpy(float), nines(own["r2_test"])
        ax.plot(x, y, shape, color=colour, markersize=3.5, markeredgewidth=0, alpha=0.45, zorder=2)
        front = np.flatnonzero(on_front(np.column_stack([x, -own["r2_test"]])))
        front = front[np.argsort(x[front])]
        ax.step(x[front], y[front], where="post", color=colour, linewidth=1.1, alpha=0.8, zorder=1)
        chosen = own[own["chosen"]]
        draw_marks(ax, [
            Mark(row.complexity_raw, float(nines(row.r2_test)), label, method)
            for row in chosen.itertuples()
        ])  # fmt: skip
        best = (chosen if len(chosen) else own).sort_values("r2_test").iloc[-1]
        height = float(nines(best["r2_test"]))
        named.append(Mark(best["complexity_raw"], height, label, method))
    return named
