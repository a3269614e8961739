"""Pictures inside a report: SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lee_bench.evidence.plots import SIZE, draw_pareto, look
from lee_bench.evidence.plots_curves import draw_noise, draw_over_time, draw_ranks

# What has another colour on dark paper: paper, ink and what lies between, and two blues.
_VARIABLES = {
    "#ffffff": "paper", "#000000": "ink", "#e6e6e6": "grid", "#999999": "faint",
    "#555555": "soft", "#666666": "soft", "#0072b2": "blue", "#56b4e9": "sky",
}  # fmt: skip


def colour(method: str) -> str:
    """A method's colour, for CSS."""
    fixed = look(method)[0].lower()
    return f"var(--{_VARIABLES[fixed]})" if fixed in _VARIABLES else fixed


def fronts(table: pd.DataFrame) -> list[str]:
    """Accuracy against size, a picture a suite and noise level.

    Args:
        table: from `lee_bench.evidence.aggregate.summary`.
    """
    drawn = table.dropna(subset=["r2_test", "complexity"])
    panels = drawn[["suite", "noise"]].drop_duplicates().itertuples(index=False)
    return [
        _inline(lambda p=panel: draw_pareto(table, SIZE, only=tuple(p)), "front",
                f"Front of {panel.suite}, noise {panel.noise:g}; the scores are in a table below")
        for panel in panels
    ]  # fmt: skip


def over_noise(table: pd.DataFrame) -> list[str]:
    """Every score over the noise level, a picture a suite; none where there is one level."""
    return [
        _inline(lambda own=own: draw_noise(own), "noise", f"Scores of {suite} over noise")
        for suite, own in table.groupby("suite")
        if own["noise"].nunique() > 1
    ]


def over_time(cells: pd.DataFrame) -> list[str]:
    """Share solved within t seconds, a picture a suite."""
    return [
        _inline(lambda own=own: draw_over_time(own), "solved", f"Share of {suite} solved over time")
        for suite, own in cells.groupby("suite")
        if own["seconds"].notna().any()
    ]


def ranks(table: pd.DataFrame) -> list[str]:
    """Average ranks with their critical difference, a picture a suite.

    Args:
        table: from `lee_bench.evidence.stats.rank_table`.
    """
    return [
        _inline(lambda own=own: draw_ranks(own), "ranks", f"Average ranks in {suite}")
        for suite, own in table.groupby("suite")
    ]


def _inline(draw: Callable[[], Figure], kind: str, label: str) -> str:
    """A figure as an ``<svg>`` element; names in it are never read as formulas."""
    text = io.StringIO()
    plain = {"text.parse_math": False, "svg.hashsalt": "lee-bench", "svg.fonttype": "none"}
    with mpl.rc_context(plain):
        figure = draw()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    width = figure.get_size_inches()[0] * 96
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", markup, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        markup = re.sub(f"(fill|stroke): {colour}", rf"\1: var(--{variable})", markup)
    head, rest = re.split(r"(?<=>)", markup, maxsplit=1)
    box = re.search(r'viewBox="[^"]*"', head)[0]
    return (
        f'<svg class="plot {kind}" {box} style="max-width: {1.25 * width:.0f}px" role="img" '
        f'aria-label="{escape(label)}" xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'
    )
