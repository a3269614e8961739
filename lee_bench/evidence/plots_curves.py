"""Pictures of what changes: ranks, scores over noise, shares over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from lee_bench.evidence.aggregate import SUMMARISED
from lee_bench.evidence.metrics import (
    ACCURATE,
    LABELS,
    R2_TEST,
    SOLVED,
    Metric,
    Summary,
    judged,
)
from lee_bench.evidence.plots import (
    caption,
    dress,
    line_styles,
    log_ticks,
    look,
    nines,
    save,
    scale_r2,
)
from lee_bench.evidence.words import panel_name


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
            dress(ax, f"{panel_name(suite, noise)}: {LABELS[metric]}", _tested(panel))
            if panel.empty:
                ax.set_axis_off()
            else:
                _rank_panel(ax, panel.sort_values("rank"))
    return figure


def _tested(panel: pd.DataFrame) -> str:
    if panel.empty:
        return ""
    tasks, left_out, p = panel[["tasks", "left_out", "p_friedman"]].iloc[0]
    said = f"{tasks:.0f} tasks" + (f", {left_out:.0f} left out" if left_out else "")
    return said + ("" if pd.isna(p) else f"; Friedman p {'< .001' if p < 0.001 else f'= {p:.2g}'}")


def _rank_panel(ax: Axes, panel: pd.DataFrame) -> None:
    for place, row in enumerate(panel.itertuples()):
        colour, mark = look(row.method)
        half = row.critical_difference / 2
        ax.plot([row.rank - half, row.rank + half], [place, place], color=colour, lw=2.2, alpha=0.6)
        ax.plot(row.rank, place, mark, color=colour, ms=8, mec="white", mew=0.8)
    ax.set_yticks(range(len(panel)), panel["label"])
    ax.set_ylim(len(panel) - 0.5, -0.5)
    ax.set_xlim(0.5, len(panel) + 0.5)
    ax.set_xticks(range(1, len(panel) + 1))


def noise(table: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the picture of `draw_noise` as PNG and SVG; returns the files."""
    return save(draw_noise(table), stem)


def draw_noise(table: pd.DataFrame) -> Figure:
    """Every score over the noise level, with intervals; a row a suite, a column a score.

    Args:
        table: from `lee_bench.evidence.aggregate.summary`.
    """
    suites = list(dict.fromkeys(table["suite"]))
    levels = sorted(set(table["noise"]))
    lines = line_styles(table)  # of all suites, as in the legend
    figure, axes = grid(len(suites), len(SUMMARISED), (2.7, 2.5))
    figure.supxlabel("noise on the training target, share of its RMS", fontsize=9)
    for row, suite in zip(axes, suites, strict=True):
        for ax, metric in zip(row, SUMMARISED, strict=True):
            members = table[table["suite"] == suite]
            dress(ax, f"{suite}: {metric.label}")
            if members[metric.name].isna().all():
                ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", fontsize=8)
            _noise_panel(ax, members, metric, levels, lines)
    _legend(figure, table)
    return figure


def _noise_panel(
    ax: Axes,
    members: pd.DataFrame,
    metric: Metric,
    levels: list[float],
    lines: Mapping[str, str],
) -> None:
    methods = list(members.groupby("label"))
    height = nines if metric is R2_TEST else (lambda values: values)
    for place, (label, own) in enumerate(methods):
        own = own.sort_values("noise")
        colour, mark = look(own["method"].iloc[0])
        aside = 0.3 * ((place + 0.5) / len(methods) - 0.5)  # so that intervals do not hide others
        x = np.array([levels.index(level) for level in own["noise"]]) + aside
        low, high = (height(own[metric.name + end]) for end in ("_low", "_high"))
        ax.vlines(x, low, high, color=colour, linewidth=0.9, alpha=0.6)
        ax.plot(x, height(own[metric.name]), mark, linestyle=lines[label], linewidth=1.1,
                color=colour, markersize=6.5, markeredgecolor="white",
                markeredgewidth=0.7)  # fmt: skip
    ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    ax.set_xlim(-0.4, len(levels) - 0.6)
    if metric is R2_TEST:
        scale_r2(ax, members[[metric.name, f"{metric.name}_high"]].stack())
    elif metric.summary is Summary.RATE:
        ax.set_ylim(-0.04, 1.04)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif members[metric.name].notna().any():
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ax.set_ylim(low / 1.6, high * 1.6)  # no less, or there may be no tick between
        log_ticks(ax.yaxis, *ax.get_ylim())


def over_time(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the picture of `draw_over_time` as PNG and SVG; returns the files."""
    return save(draw_over_time(frame), stem)


def draw_over_time(frame: pd.DataFrame) -> Figure:
    """Share of cells that were solved by a search that ended within t seconds.

    Solved is a symbolic solution, of tasks whose true formula is known, or R² > 0.999 where
    no task has one. One row a suite, a column a noise level.

    Args:
        frame: from `lee_bench.evidence.aggregate.cells`.
    """
    suites = list(dict.fromkeys(frame["suite"]))
    levels = sorted(set(frame["noise"]))
    figure, axes = grid(len(suites), len(levels), (3.2, 2.6))
    words = "A method that always uses its whole time limit rises there at once."
    figure.supxlabel(
        caption("seconds until the search ended, log scale", words, figure.get_size_inches()[0]),
        fontsize=9,
    )
    lines = line_styles(frame)
    longest = frame["time_limit"].max()
    shortest = min(longest / 10, max(frame["seconds"].min(), 0.01))
    for row, suite in zip(axes, suites, strict=True):
        for ax, level in zip(row, levels, strict=True):
            panel = frame[(frame["suite"] == suite) & (frame["noise"] == level)]
            metric = SOLVED if panel["truth"].notna().any() else ACCURATE
            panel = judged(panel, metric)
            dress(ax, panel_name(suite, level), metric.label if len(panel) else "not measured")
            for label, own in panel.groupby("label"):
                colour, mark = look(own["method"].iloc[0])
                ends = np.sort(own.loc[own[metric.name] == 1.0, "seconds"].dropna())
                share = np.arange(1, len(ends) + 1) / len(own)
                x = np.concatenate([[shortest / 2], ends, [longest * 1.3]])
                y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
                ax.step(x, y, where="post", color=colour, linewidth=1.3, linestyle=lines[label])
                ax.plot(x[-1], y[-1], mark, color=colour, markersize=7, markeredgecolor="white",
                        clip_on=False, zorder=3)  # fmt: skip
            ax.set_xscale("log")
            ax.set_xlim(shortest / 2, longest * 1.3)
            log_ticks(ax.xaxis, *ax.get_xlim())
            ax.set_ylim(-0.02, 1.04)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    _legend(figure, frame)
    return figure


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    """Names above all panels, in the look of each method."""
    methods = table.drop_duplicates("label").sort_values("label")
    lines = line_styles(table)
    handles = [
        Line2D([], [], color=look(row.method)[0], marker=look(row.method)[1], linewidth=1.1,
               linestyle=lines[row.label], markeredgecolor="white", markersize=8, label=row.label)
        for row in methods.itertuples()
    ]  # fmt: skip
    columns = max(1, min(len(handles), int(figure.get_size_inches()[0] / 1.4)))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False,
                  fontsize=9)  # fmt: skip


def grid(rows: int, columns: int, panel: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels, each of this width and height in inches."""
    size = (max(5.2, panel[0] * columns + 0.6), panel[1] * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot: no window, no state
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)
