"""Pictures of what changes: ranks, scores over noise, shares over time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lee_bench.evidence.metrics import METRICS
from lee_bench.evidence.plots import look, save

LABELS = {metric.name: metric.label for metric in METRICS}


def ranks(table: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the picture of `draw_ranks` as PNG and SVG; returns the files."""
    return save(draw_ranks(table), stem)


def draw_ranks(table: pd.DataFrame) -> Figure:
    """Average ranks, a row of panels a suite and noise level, a column a metric.

    Bars are half a critical difference to each side: methods whose bars do not overlap differ at
    the 5 % level by Nemenyi's test.

    Args:
        table: from `lee_bench.evidence.stats.rank_table`.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    groups = list(dict.fromkeys(zip(table["suite"], table["noise"], strict=True)))
    most = table.groupby(["metric", "suite", "noise"])["label"].nunique().max()
    figure, axes = grid(len(groups), len(metrics), (3.6, 0.9 + 0.26 * most))
    figure.supxlabel(
        "average rank over tasks, 1 is best; bars that do not overlap differ (Nemenyi, 5 %)",
        fontsize=9,
    )
    for row, (suite, noise) in zip(axes, groups, strict=True):
        for ax, metric in zip(row, metrics, strict=True):
            chosen = (table["metric"] == metric) & (table["suite"] == suite)
            panel = table[chosen & (table["noise"] == noise)]
            dress(ax, f"{suite}, noise {noise:g}: {LABELS[metric]}")
            if panel.empty:
                ax.set_axis_off()
            else:
                _rank_panel(ax, panel.sort_values("rank"))
    return figure


def _rank_panel(ax: Axes, panel: pd.DataFrame) -> None:
    for place, row in enumerate(panel.itertuples()):
        colour, mark = look(row.method)
        half = row.critical_difference / 2
        ax.plot([row.rank - half, row.rank + half], [place, place], color=colour, lw=2.2, alpha=0.6)
        ax.plot(row.rank, place, mark, color=colour, ms=8, mec="white", mew=0.8)
    tasks, left_out, p = panel[["tasks", "left_out", "p_friedman"]].iloc[0]
    said = f"{tasks:.0f} tasks" + (f", {left_out:.0f} left out" if left_out else "")
    said += "" if pd.isna(p) else f"; Friedman p {'< .001' if p < 0.001 else f'= {p:.2g}'}"
    ax.text(0, 1.02, said, transform=ax.transAxes, fontsize=7, color="#555555")
    ax.set_yticks(range(len(panel)), panel["label"])
    ax.set_ylim(len(panel) - 0.5, -0.5)
    ax.set_xlim(0.5, len(panel) + 0.5)
    ax.set_xticks(range(1, len(panel) + 1))


def grid(rows: int, columns: int, panel: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels, each of this width and height in inches."""
    size = (max(5.2, panel[0] * columns + 0.6), panel[1] * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot: no window, no state
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def dress(ax: Axes, title: str) -> None:
    """The plain look of every panel."""
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=16)
    ax.grid(color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, length=0)
