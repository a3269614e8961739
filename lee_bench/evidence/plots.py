"""Pictures of results. Only modules called plots import matplotlib."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from lee_bench.evidence.aggregate import PUBLISHED_DIFFERS
from lee_bench.evidence.words import panel_name
from lee_bench.files import write_atomically

# Okabe & Ito's palette, told apart with every kind of colour vision; marks differ as well, so
# that a grey print can be read. A method keeps its look in every plot.
_COLOURS = (
    "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F",
)  # fmt: skip
_MARKS = "o^sDvPX*<>hd"
_KNOWN = (
    "lee", "operon", "gplearn", "pysr", "gensr", "prior", "linear", "snip", "tpsr", "gp-gomea",
    "dsr", "feat", "afp", "afp_fe", "itea", "eplex", "bsr", "sbp-gp", "ffx", "mrgp", "aifeynman",
)  # fmt: skip

MOST_NINES = 6
"""R² above 1 - 10**-MOST_NINES is drawn at the upper end of the axis."""
_PNG_DPI = 160


def look(method: str) -> tuple[str, str]:
    """Colour and mark of a method: fixed for known ones, from the name for others."""
    if method in _KNOWN:
        number = _KNOWN.index(method)
        return _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
    return _COLOURS[number % len(_COLOURS)], _MARKS[number // len(_COLOURS) % len(_MARKS)]


def line_styles(table: pd.DataFrame) -> dict[str, str]:
    """A line style for each label: settings of one method, which share its look, differ in it."""
    styles = {}
    for _, own in table.groupby("method"):
        cycle = itertools.cycle(("-", "--", ":", "-."))
        styles |= dict(zip(sorted(set(own["label"])), cycle, strict=False))
    return styles


def nines(r2: np.ndarray | pd.Series) -> np.ndarray:
    """Height on the R² axis, -log10(1 - R²): 0.9 is 1, 0.99 is 2, 0.999 is 3.

    Clipped to 0 (R² of 0 and less) and `MOST_NINES`.
    """
    lost = 1.0 - np.asarray(r2, dtype=np.float64)
    return -np.log10(np.clip(lost, 10.0**-MOST_NINES, 1.0))


@dataclass(frozen=True)
class Plane:
    """What accuracy is drawn against.

    Attributes:
        cost: column of the table, with its limits in ``_low`` and ``_high``.
        rank: column that is 1 on the front.
        axis: what the axis is called.
        truth: column that has the cost of the true formulas; '' if they have none.
    """

    cost: str
    rank: str
    axis: str
    truth: str = ""


SIZE = Plane(
    "complexity",
    "rank",
    "median complexity (nodes after simplification, log scale)",
    "truth_complexity",
)
TIME = Plane("seconds", "rank_time", "median search time (s, log scale)")


@dataclass(frozen=True)
class Mark:
    """One point with a name, in data coordinates; ``y`` is a height on the R² axis."""

    x: float
    y: float
    name: str
    method: str
    on_front: bool = False
    hollow: bool = False


def pareto(
    table: pd.DataFrame, stem: Path, plane: Plane = SIZE, published: pd.DataFrame | None = None
) -> list[Path]:
    """Write the picture of `draw_pareto`.

    Args:
        table: from `lee_bench.evidence.aggregate.summary`.
        stem: path of the pictures, without suffix.
        plane: what accuracy is drawn against.
        published: from `lee_bench.evidence.aggregate.published`, to be drawn beside.

    Returns:
        The files: PNG and SVG.
    """
    return save(draw_pareto(table, plane, published), stem)


def draw_pareto(
    table: pd.DataFrame,
    plane: Plane = SIZE,
    published: pd.DataFrame | None = None,
    only: tuple[str, float] | None = None,
) -> Figure:
    """Median test R² against a median cost, one panel a suite and noise level.

    Thin lines are 95 % bootstrap intervals; the dashed line is the front of ours, the dotted one
    the median cost of the true formulas: what is shorter than they are is not them. With ``only``,
    the panel of one suite and noise level, on the axes that all panels of its suite share.
    """
    suites = [only[0]] if only else list(dict.fromkeys(table["suite"]))
    noises = [only[1]] if only else sorted(set(table["noise"]))
    if published is not None:
        here = published["suite"].isin(suites) & published["noise"].isin(noises)
        published = published[here].dropna(subset=[plane.cost, "r2_test"])
    wide = 3.9 if published is None else 5.2  # its marks and names come on top
    aside = len(noises) == 1  # suites stand side by side where there is nothing else to
    across, down = (suites, noises) if aside else (noises, suites)
    size = (max(5.2, wide * len(across) + 0.6), 3.7 * len(down) + 0.6)
    figure = Figure(figsize=size, layout="constrained")  # without pyplot: no window, no state
    FigureCanvasAgg(figure)
    shared = "none" if aside else "row"  # each suite has its own scales
    axes = figure.subplots(len(down), len(across), squeeze=False, sharex=shared, sharey=shared)
    axes = axes.T if aside else axes
    words = "" if published is None else PUBLISHED_DIFFERS
    figure.supxlabel(caption(plane.axis, words, size[0]), fontsize=9)
    figure.supylabel(
        f"median test R² (log scale of 1 − R², cut at 0 and 1 − 1e-{MOST_NINES})", fontsize=9
    )
    panels = []
    for row, suite in zip(axes, suites, strict=True):
        shown = [t[t["suite"] == suite] for t in (table, published) if t is not None]
        scale(row[0], _values(shown, "r2_test"), _values(shown, plane.cost, plane.truth))
        for ax, noise in zip(row, noises, strict=True):
            members = table[(table["suite"] == suite) & (table["noise"] == noise)]
            truth = members[plane.truth].median() if plane.truth else math.nan
            dress(ax, panel_name(suite, noise), _remark(members, truth))
            if not math.isnan(truth):
                ax.axvline(truth, color="#999999", linewidth=1.0, linestyle=":", zorder=1)
            marks = _panel(ax, members, plane)
            if published is not None:
                inside = (published["suite"] == suite) & (published["noise"] == noise)
                marks += [
                    Mark(row[plane.cost], nines(row["r2_test"]).item(), row["algorithm"],
                         row["algorithm"].lower().split()[0], hollow=True)
                    for _, row in published[inside].iterrows()
                ]  # fmt: skip
            draw_marks(ax, marks)
            panels.append((ax, marks, _bars(members, plane)))
    freeze(figure)
    for ax, marks, bars in panels:
        name_marks(ax, marks, bars)
    return figure


def _values(tables: Sequence[pd.DataFrame], *columns: str) -> pd.Series:
    """All that is drawn of columns, where there are such: values and ends of their intervals."""
    ends = [column + end for column in columns for end in ("", "_low", "_high")]
    return pd.concat([table[name] for table in tables for name in ends if name in table])


def caption(axis: str, words: str, width: float) -> str:
    """Text under a figure this many inches wide: what the axis is, then what must be known."""
    return "\n".join([axis, *textwrap.wrap(words, int(14 * width))])


def freeze(figure: Figure) -> None:
    """Lay the figure out once; places of texts are known only then, and must not move again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def scale(ax: Axes, r2: pd.Series, costs: pd.Series) -> None:
    """Scales that hold these values: nines upwards, costs in logarithms to the right."""
    scale_r2(ax, r2)
    costs = costs[costs > 0].dropna() if (costs > 0).any() else pd.Series(10.0)
    low, high = costs.min() / 1.6, costs.max() * 2.2
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    log_ticks(ax.xaxis, low, high)


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis, three a decade where there is room."""
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [f * 10.0**k for k in range(-4, 7) for f in steps if low <= f * 10.0**k <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FormatStrFormatter("%g"))


def scale_r2(ax: Axes, r2: pd.Series) -> None:
    """A vertical scale of nines that holds these values."""
    top = max(3, math.ceil(nines(r2.dropna()).max(initial=0.0)))
    heights = [0.0, -math.log10(0.5), *range(1, top + 1)]
    names = ["≤ 0", "0.5", *(f"{1 - 10.0**-n:.{n}f}" for n in range(1, top + 1))]
    if top == MOST_NINES:
        names[-1] = f"≥ {names[-1]}"
    ax.set_ylim(-0.25, top + 0.35)
    ax.yaxis.set_major_locator(FixedLocator(heights))
    ax.set_yticklabels(names)


def dress(ax: Axes, title: str, remark: str = "") -> None:
    """The plain look of every panel: a title, a small remark under it, a pale grid."""
    remark = textwrap.fill(remark, 64)
    above = 7 + (9 * (remark.count("\n") + 1) if remark else 0)
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=above)
    ax.text(0, 1.02, remark, transform=ax.transAxes, fontsize=7, color="#555555", in_layout=False)
    ax.grid(color="#E6E6E6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, length=0, labelbottom=True, labelleft=True)


def _panel(ax: Axes, members: pd.DataFrame, plane: Plane) -> list[Mark]:
    drawn = members.dropna(subset=["r2_test", plane.cost])
    front = drawn[drawn[plane.rank] == 1].sort_values(plane.cost)
    ax.step(front[plane.cost], nines(front["r2_test"]), where="post", color="#999999",
            linewidth=1.2, linestyle="--", zorder=1)  # fmt: skip
    for row, (x, y) in zip(drawn.itertuples(), _bars(drawn, plane), strict=True):
        colour, _ = look(row.method)
        middle = getattr(row, plane.cost), nines(row.r2_test)
        ax.plot(x, [middle[1]] * 2, color=colour, linewidth=0.9, alpha=0.6, zorder=2)
        ax.plot([middle[0]] * 2, y, color=colour, linewidth=0.9, alpha=0.6, zorder=2)
    return [
        Mark(getattr(row, plane.cost), float(nines(row.r2_test)), row.label, row.method,
             getattr(row, plane.rank) == 1)
        for row in drawn.itertuples()
    ]  # fmt: skip


def _bars(members: pd.DataFrame, plane: Plane) -> list[tuple[list[float], list[float]]]:
    """Ends of each point's intervals, along x and along y; NaN where there are none."""
    drawn = members.dropna(subset=["r2_test", plane.cost])
    x = drawn[[f"{plane.cost}_low", f"{plane.cost}_high"]].to_numpy(float).tolist()
    y = nines(drawn[["r2_test_low", "r2_test_high"]]).tolist()
    return list(zip(x, y, strict=True))


def draw_marks(ax: Axes, marks: Sequence[Mark]) -> None:
    """Each method by its colour and mark; hollow ones smaller, and behind."""
    for mark in marks:
        colour, shape = look(mark.method)
        ax.plot(mark.x, mark.y, shape, color=colour,
                markersize=6 if mark.hollow else 8,
                markerfacecolor="white" if mark.hollow else colour,
                markeredgecolor=colour if mark.hollow else "white",
                markeredgewidth=0.9 if mark.hollow else 0.8,
                zorder=2.5 if mark.hollow else 3)  # fmt: skip


def _remark(members: pd.DataFrame, truth: float) -> str:
    """How many tasks and failures, and the median size of the true formulas where it is known."""
    if members.empty:
        return "not measured"
    failed = members[members["failed"] > 0]
    worst = [f"{row.label} {row.failed} of {row.cells}" for row in failed.itertuples()]
    shown = ", ".join(worst[:4]) + (f" and {len(worst) - 4} more" if len(worst) > 4 else "")
    ungraded = members["ungraded"].sum()
    words = f"{members['tasks'].max()} tasks; failed cells: {shown or 'none'}"
    words += f"; without a grade: {ungraded}" if ungraded else ""
    return words + ("" if math.isnan(truth) else f"; dotted: true formulas, {truth:g} nodes")


def name_marks(
    ax: Axes,
    marks: Sequence[Mark],
    bars: Sequence[tuple[list[float], list[float]]] = (),
    dots: Sequence[tuple[float, float]] = (),
) -> None:
    """Write each name beside its mark, where it covers no other name, mark, line or edge.

    Args:
        ax: a panel that is laid out.
        marks: what is named.
        bars: ends of the first marks' intervals, along x and along y.
        dots: small marks without a name.
    """
    if not marks:
        return
    renderer = ax.figure.canvas.get_renderer()
    unit = renderer.points_to_pixels(1.0)
    points = ax.transData.transform([(mark.x, mark.y) for mark in marks])
    half = 5.0 * unit
    taken = [(x - half, y - half, x + half, y + half) for x, y in points]
    for x, y in ax.transData.transform(dots) if len(dots) else ():
        taken.append((x - half / 2, y - half / 2, x + half / 2, y + half / 2))
    front = sorted(p for p, m in zip(points.tolist(), marks, strict=True) if m.on_front)
    for (x0, y0), (x1, y1) in itertools.pairwise(front):
        taken += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y0, x1 + 1, y1)]
    frame = ax.get_window_extent(renderer).extents
    for (x, y), (across, along) in zip(points, bars, strict=False):
        (left, _), (right, _) = ax.transData.transform([(c, 1.0) for c in across])
        (_, low), (_, high) = ax.transData.transform([(1.0, h) for h in along])
        for box in ((left, y - 1, right, y + 1), (x - 1, low, x + 1, high)):
            if np.isfinite(box).all():
                taken.append(box)
    for mark, (x, y) in zip(marks, points, strict=True):
        style = {
            "fontsize": 6.5 if mark.hollow else 8,
            "color": "#666666" if mark.hollow else look(mark.method)[0],
            "fontweight": "bold" if mark.on_front else "normal",
            "zorder": 4,
        }
        text = ax.annotate(mark.name, (0, 0), xycoords="figure pixels", **style)
        box = text.get_window_extent(renderer)
        left, bottom = _free_place((x, y), (box.width, box.height), taken, frame, unit)
        text.remove()
        taken.append((left, bottom, left + box.width, bottom + box.height))
        centre = np.array([left + box.width / 2, bottom + box.height / 2])
        far = abs(centre[0] - x) > box.width / 2 + 12 * unit or abs(centre[1] - y) > 22 * unit
        ax.annotate(
            mark.name,
            (mark.x, mark.y),
            xytext=((left - x) / unit, (bottom - y) / unit),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": style["color"], "lw": 0.5} if far else None,
            **style,
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
            figure.set_layout_engine("none")  # laid out by now; once is slow enough
            files.append(stem.with_suffix(suffix))
            write_atomically(files[-1], picture.getvalue())
    return files


def save_png(figure: Figure, path: Path) -> Path:
    """Write one picture; returns its path."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_PNG_DPI)
    write_atomically(path, picture.getvalue())
    return path
