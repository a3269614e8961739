"""Pictures of a fit: every point that has a value is drawn, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from lee_bench.evidence.plots_fit import FitPicture, draw_fit, draw_residuals, save


def picture(unit: float = 1.0, features: int = 2, **of) -> FitPicture:
    y = np.linspace(1, 2, 40) * unit
    return FitPicture(
        **{
            "target": "US$ _{ ^ $",
            "formula": "`a_0 $`**2/2 " * 30,
            "y": y,
            "prediction": y * 1.01,
            "held_out": np.arange(40) % 4 == 0,
            "features": {f"f{i} $_$": np.arange(40.0) * unit for i in range(features)},
            "r2_fit": 0.999,
            "r2_test": None,
        }
        | of
    )


def drawn(ax, label: str) -> np.ndarray:
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return np.column_stack(line.get_data())


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_fitted_and_held_out_rows_are_apart_at_any_scale(tmp_path, unit):
    figure = draw_fit(picture(unit))
    assert len(drawn(figure.axes[0], "fitted")) == 30
    assert len(drawn(figure.axes[0], "held out")) == 10
    for path in save(picture(unit), tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_residuals_stand_over_the_prediction_and_each_column_in_the_formula():
    figure = draw_residuals(picture(features=3))
    axes = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in axes[1:]] == ["f0 $_$", "f1 $_$", "f2 $_$"]
    for ax in axes:
        assert drawn(ax, "fitted")[0, 1] == pytest.approx(-0.01 * picture().y[1])


def test_a_formula_that_is_not_defined_everywhere_leaves_its_points_out(tmp_path):
    prediction = np.full(40, np.nan)
    some = picture(prediction=np.where(np.arange(40) < 9, np.inf, picture().y), r2_fit=None)
    assert len(drawn(draw_fit(some).axes[0], "fitted")) == 24
    save(picture(prediction=prediction, r2_fit=None), tmp_path)
    save(picture(features=0), tmp_path)


def test_a_pole_does_not_shrink_the_points():
    x = np.linspace(0, 39, 500)
    curve = x, 1 / (x - 19.5) ** 3
    (ax,) = draw_fit(picture(features=1, curve=curve)).axes
    assert ax.get_ylim()[1] < 3
    assert len(drawn(ax, "formula")) == 500
