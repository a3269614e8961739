"""Pictures of one fit: prediction against measurement, and what is left over."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lee_bench.evidence.plots import save_png

_FITTED, _HELD_OUT, _LINE = "#0072B2", "#D55E00", "#555555"
_MOST_POINTS = 4000
_MOST_PANELS = 6
_LARGEST = 1e100  # beyond it axes lose their ticks


@dataclass(frozen=True)
class FitPicture:
    """What is drawn.

    Attributes:
        target: name of y; formula: as shown.
        y, prediction: (n,); prediction may hold NaN.
        held_out: bool (n,), rows not used for the fit.
        features: values (n,) of each column in the formula.
        r2_fit: on the fitted rows; r2_test: on the others; None where there is none.
        curve: of a formula in one column, its values at many places: x and y.
    """

    target: str
    formula: str
    y: np.ndarray
    prediction: np.ndarray
    held_out: np.ndarray
    features: Mapping[str, np.ndarray]
    r2_fit: float | None
    r2_test: float | None
    curve: tuple[np.ndarray, np.ndarray] | None = None


def save(picture: FitPicture, folder: Path) -> list[Path]:
    """Write ``fit.png`` and ``residuals.png``; returns their paths."""
    return [
        save_png(draw_fit(picture), folder / "fit.png"),
        save_png(draw_residuals(picture), folder / "residuals.png"),
    ]


def draw_fit(picture: FitPicture) -> Figure:
    """Of one column: the curve through the points. Of more: prediction against measurement."""
    figure, (ax,) = _figure(1, (5.6, 5.0))
    unit, target = _unit(picture.y, picture.target)
    y, prediction = picture.y / unit, picture.prediction / unit
    if picture.curve is not None:
        ((name, x),) = picture.features.items()
        x_unit, name = _unit(x, name)
        _points(ax, picture, x / x_unit, y)
        bottom, top = ax.get_ylim()  # where the points are; a pole must not shrink them
        at, value = picture.curve
        ax.plot(at / x_unit, value / unit, color=_LINE, linewidth=1.4, zorder=4, label="formula")
        ax.set_ylim(bottom, top)
        ax.set_xlabel(name, parse_math=False)
        ax.set_ylabel(target, parse_math=False)
    else:
        _points(ax, picture, y, prediction)
        low, high = np.nanmin([y.min(), _low(prediction)]), np.nanmax([y.max(), _high(prediction)])
        ax.plot([low, high], [low, high], color=_LINE, linewidth=1.0, zorder=1, label="equal")
        ax.set_xlabel(f"{target}, measured", parse_math=False)
        ax.set_ylabel(f"{target}, formula", parse_math=False)
    ax.legend(fontsize=8, frameon=False)
    _title(figure, picture)
    return figure


def draw_residuals(picture: FitPicture) -> Figure:
    """Measurement minus prediction, against the prediction and each column in the formula."""
    unit, target = _unit(picture.y, picture.target)
    y, prediction = picture.y / unit, picture.prediction / unit
    panels = {f"{target}, formula": prediction}
    for name, x in picture.features.items():
        x_unit, label = _unit(x, name)
        panels[label] = x / x_unit
    panels = dict(list(panels.items())[:_MOST_PANELS])
    figure, axes = _figure(len(panels), (4.0, 3.3))
    residual = y - prediction
    for ax, (name, x) in zip(axes, panels.items(), strict=True):
        _points(ax, picture, x, residual)
        ax.axhline(0, color=_LINE, linewidth=1.0, zorder=1)
        ax.set_xlabel(name, parse_math=False)
    axes[0].set_ylabel(f"{target}, measured − formula", parse_math=False)
    axes[0].legend(fontsize=8, frameon=False)
    _title(figure, picture)
    return figure


def _figure(panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    across = min(panels, 3)
    down = math.ceil(panels / across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes[panels:]:
        ax.set_visible(False)
    for ax in axes[:panels]:
        ax.grid(color="#E6E6E6", linewidth=0.7)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, axes[:panels]


def _points(ax: Axes, picture: FitPicture, x: np.ndarray, y: np.ndarray) -> None:
    """Both kinds of rows, thinned where there are very many."""
    for chosen, colour, mark, label in (
        (~picture.held_out, _FITTED, "o", "fitted"),
        (picture.held_out, _HELD_OUT, "s", "held out"),
    ):
        if not chosen.any():
            continue
        rows = np.flatnonzero(chosen & np.isfinite(x) & np.isfinite(y))
        rows = rows[:: math.ceil(len(rows) / _MOST_POINTS) or 1]
        ax.plot(
            x[rows],
            y[rows],
            mark,
            color=colour,
            markersize=4 if len(rows) < 500 else 2.5,
            alpha=0.8 if len(rows) < 500 else 0.4,
            markeredgewidth=0,
            label=label,
            zorder=3,
        )


def _title(figure: Figure, picture: FitPicture) -> None:
    scores = f"R² {_score(picture.r2_fit)}"
    if picture.held_out.any():
        scores = f"R² fitted {_score(picture.r2_fit)}, held out {_score(picture.r2_test)}"
    width = int(11 * figure.get_figwidth())
    formula = textwrap.shorten(f"{picture.target} = {picture.formula}", 3 * width)
    text = "\n".join([*textwrap.wrap(formula, width), scores])
    figure.suptitle(text, fontsize=9, parse_math=False)


def _score(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.6g}"


def _low(values: np.ndarray) -> float:
    return np.min(values[np.isfinite(values)], initial=np.inf)


def _high(values: np.ndarray) -> float:
    return np.max(values[np.isfinite(values)], initial=-np.inf)


def _unit(values: np.ndarray, name: str) -> tuple[float, str]:
    """A power of ten to divide by, where axes need one, and the label that says so."""
    size = np.abs(values).max()
    if size == 0 or 1 / _LARGEST < size < _LARGEST:
        return 1.0, name
    power = math.floor(math.log10(size))
    return 10.0**power, f"{name} / 1e{power}"
