"""Pictures of results. Only modules called plots import matplotlib."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lee_bench.files import write_atomically

# Okabe & Ito's palette, told apart with every kind of colour vision; marks differ as well, so
# that a grey print can be read. A method keeps its look in every plot.
_COLOURS = (
    "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F",
)  # fmt: skip
_MARKS = "o^sDvPX*<>hd"
_KNOWN = ("lee", "operon", "gplearn", "pysr", "gensr", "prior", "linear")

MOST_NINES = 6
"""R² above 1 - 10**-MOST_NINES is drawn at the upper end of the axis."""
_PNG_DPI = 160


def look(method: str) -> tuple[str, str]:
    """Colour and mark of a method: fixed for known ones, from the name for others."""
    if method in _KNOWN:
        number = _KNOWN.index(method)
        return _COLOURS[number], _MARKS[number]
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
    return _COLOURS[number % len(_COLOURS)], _MARKS[number // len(_COLOURS) % len(_MARKS)]


def nines(r2: np.ndarray | pd.Series) -> np.ndarray:
    """Height on the R² axis, -log10(1 - R²): 0.9 is 1, 0.99 is 2, 0.999 is 3.

    Clipped to 0 (R² of 0 and less) and `MOST_NINES`.
    """
    lost = 1.0 - np.asarray(r2, dtype=np.float64)
    return -np.log10(np.clip(lost, 10.0**-MOST_NINES, 1.0))


def pareto(table: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the picture of `draw_pareto`.

    Args:
        table: from `lee_bench.evidence.aggregate.summary`.
        stem: path of the pictures, without suffix.

    Returns:
        The files: PNG and SVG.
    """
    return save(draw_pareto(table), stem)


def draw_pareto(table: pd.DataFrame) -> Figure:
    """Median test R² against median complexity, one panel a suite and noise level."""
    suites = list(dict.fromkeys(table["suite"]))
    noises = sorted(set(table["noise"]))
    size = (max(5.2, 3.9 * len(noises) + 0.6), 3.7 * len(suites) + 0.6)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot: no window, no state
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(suites), len(noises), squeeze=False, sharex=True, sharey=True)
    figure.supxlabel("median complexity (nodes after simplification, log scale)", fontsize=10)
    figure.supylabel(
        f"median test R² (log scale of 1 − R², cut at 0 and 1 − 1e-{MOST_NINES})", fontsize=10
    )
    _scale(axes[0, 0], table)
    panels = []
    for row, suite in zip(axes, suites, strict=True):
        for ax, noise in zip(row, noises, strict=True):
            members = table[(table["suite"] == suite) & (table["noise"] == noise)]
            panels.append((ax, members))
            _panel(ax, suite, noise, members)
    figure.canvas.draw()  # places of texts are known only now, and must not move again
    figure.set_layout_engine("none")
    for ax, members in panels:
        _name_points(ax, members)
    return figure


def _scale(ax: Axes, table: pd.DataFrame) -> None:
    top = max(3, math.ceil(nines(table["r2_test"].dropna()).max(initial=0.0)))
    heights = [0.0, -math.log10(0.5), *range(1, top + 1)]
    names = ["≤ 0", "0.5", *(f"{1 - 10.0**-n:.{n}f}" for n in range(1, top + 1))]
    if top == MOST_NINES:
        names[-1] = f"≥ {names[-1]}"
    ax.set_ylim(-0.25, top + 0.35)
    ax.yaxis.set_major_locator(FixedLocator(heights))
    ax.set_yticklabels(names)

    sizes = table["complexity"].dropna() if table["complexity"].notna().any() else pd.Series(10.0)
    low, high = max(1.0, sizes.min() / 1.6), sizes.max() * 2.2
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ticks = [f * 10**k for k in range(6) for f in (1, 2, 5) if low <= f * 10**k <= high]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([f"{tick:g}" for tick in ticks])


def _panel(ax: Axes, suite: str, noise: float, members: pd.DataFrame) -> None:
    remark = textwrap.fill(_failures(members), 64)
    above = 7 + 9 * (remark.count("\n") + 1)
    title = f"{suite}, noise {noise:g}"
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=above)
    ax.text(0, 1.02, remark, transform=ax.transAxes, fontsize=7, color="#555555", in_layout=False)
    ax.grid(color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, length=0, labelbottom=True, labelleft=True)
    drawn = members.dropna(subset=["r2_test", "complexity"])
    front = drawn[drawn["front"]].sort_values("complexity")
    ax.step(
        front["complexity"],
        nines(front["r2_test"]),
        where="post",
        color="#999999",
        linewidth=1.2,
        linestyle="--",
        zorder=1,
    )
    for row in drawn.itertuples():
        colour, mark = look(row.method)
        ax.plot(
            row.complexity,
            nines(row.r2_test),
            mark,
            color=colour,
            markersize=8,
            markeredgecolor="white",
            markeredgewidth=0.8,
            zorder=3,
        )


def _failures(members: pd.DataFrame) -> str:
    if members.empty:
        return "not measured"
    failed = members[members["failed"] > 0]
    worst = [f"{row.label} {row.failed} of {row.cells}" for row in failed.itertuples()]
    shown = ", ".join(worst[:4]) + (f" and {len(worst) - 4} more" if len(worst) > 4 else "")
    return f"{members['tasks'].max()} tasks; failed cells: {shown or 'none'}"


def _name_points(ax: Axes, members: pd.DataFrame) -> None:
    """Write each name beside its point, where it covers no other name, point or edge."""
    drawn = members.dropna(subset=["r2_test", "complexity"])
    if drawn.empty:
        return
    renderer = ax.figure.canvas.get_renderer()
    unit = renderer.points_to_pixels(1.0)
    points = ax.transData.transform(np.column_stack([drawn["complexity"], nines(drawn["r2_test"])]))
    mark = 5.0 * unit
    taken = [(x - mark, y - mark, x + mark, y + mark) for x, y in points]
    front = sorted(points[drawn["front"].to_numpy()].tolist())
    for (x0, y0), (x1, y1) in itertools.pairwise(front):
        taken += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y0, x1 + 1, y1)]
    frame = ax.get_window_extent(renderer).extents
    for row, (x, y) in zip(drawn.itertuples(), points, strict=True):
        colour, _ = look(row.method)
        text = ax.annotate(
            row.label,
            (0, 0),
            xycoords="figure pixels",
            fontsize=8,
            color=colour,
            fontweight="bold" if row.front else "normal",
            zorder=4,
        )
        box = text.get_window_extent(renderer)
        left, bottom = _free_place((x, y), (box.width, box.height), taken, frame, unit)
        text.remove()
        taken.append((left, bottom, left + box.width, bottom + box.height))
        centre = np.array([left + box.width / 2, bottom + box.height / 2])
        far = abs(centre[0] - x) > box.width / 2 + 12 * unit or abs(centre[1] - y) > 22 * unit
        ax.annotate(
            row.label,
            (row.complexity, float(nines(row.r2_test))),
            xytext=((left - x) / unit, (bottom - y) / unit),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            fontweight="bold" if row.front else "normal",
            zorder=4,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5} if far else None,
        )


def _free_place(
    point: tuple[float, float],
    size: tuple[float, float],
    taken: Sequence[tuple[float, float, float, float]],
    frame: tuple[float, float, float, float],
    unit: float,
) -> tuple[float, float]:
    """Lower left corner of a text: the nearest place around its point that covers least.

    Boxes are left, bottom, right, top, in pixels.
    """
    (x, y), (width, height) = point, size
    places = []
    for distance in np.arange(7.0, 90.0, 6.0) * unit:
        for angle in np.radians([0, 90, 270, 180, 45, 315, 135, 225, 20, 340, 160, 200]):
            c, s = math.cos(angle), math.sin(angle)
            left = x + distance * c + width / 2 * (c - 1 if abs(c) > 0.1 else -1)
            bottom = y + distance * s + height / 2 * (s - 1)
            left = max(frame[0], min(left, frame[2] - width))
            bottom = max(frame[1], min(bottom, frame[3] - height))
            places.append((left, bottom))

    def covered(place: tuple[float, float]) -> float:
        left, bottom = place
        return sum(
            max(0.0, min(left + width, box[2]) - max(left, box[0]))
            * max(0.0, min(bottom + height, box[3]) - max(bottom, box[1]))
            for box in taken
        )

    return min(places, key=covered)  # the first of equals is the nearest


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a picture as PNG and SVG; returns the files."""
    files = []
    with mpl.rc_context({"svg.hashsalt": "lee-bench", "svg.fonttype": "path"}):
        for suffix, options in (
            (".png", {"dpi": _PNG_DPI}),
            (".svg", {"metadata": {"Date": None}}),
        ):
            picture = io.BytesIO()
            figure.savefig(picture, format=suffix[1:], **options)
            files.append(stem.with_suffix(suffix))
            write_atomically(files[-1], picture.getvalue())
    return files


def save_png(figure: Figure, path: Path) -> Path:
    """Write one picture; returns its path."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_PNG_DPI)
    write_atomically(path, picture.getvalue())
    return path
