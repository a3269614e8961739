"""The picture of the front: readable whatever the numbers are."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation

from lee_bench.evidence import aggregate, plots_curves, plots_task
from lee_bench.evidence.plots import MOST_NINES, TIME, draw_pareto, look, nines, pareto

METHODS = ["lee", "operon", "gplearn", "pysr", "gensr", "prior", "linear", "somebody_elses"]


def table(points: list[tuple[float, float]], suite: str = "strogatz", noise: float = 0.0):
    return pd.DataFrame(
        {
            "suite": suite,
            "noise": noise,
            "label": METHODS[: len(points)],
            "method": METHODS[: len(points)],
            "tasks": 14,
            "cells": 14,
            "failed": [14 if np.isnan(r2) else 0 for _, r2 in points],
            "ungraded": 0,
            "complexity": [size for size, _ in points],
            "r2_test": [r2 for _, r2 in points],
            "rank": [1.0 + i for i in range(len(points))],
            "r2_test_low": [r2 - 0.01 for _, r2 in points],
            "r2_test_high": [r2 for _, r2 in points],
            "complexity_low": [size / 1.3 for size, _ in points],
            "complexity_high": [size * 1.3 for size, _ in points],
            "truth_complexity": np.nan,
        }
    )


def test_nine_and_one_more_nine_are_apart():
    heights = nines(np.array([-5.0, 0.0, 0.9, 0.99, 0.999, 1 - 1e-9, 1.0]))
    assert heights == pytest.approx([0, 0, 1, 2, 3, MOST_NINES, MOST_NINES])


def test_known_methods_look_different_and_keep_their_look():
    assert len({look(method)[0] for method in METHODS[:7]}) == 7
    assert len({look(method)[1] for method in METHODS[:7]}) == 7
    assert look("somebody_elses") == look("somebody_elses")


@given(
    st.lists(
        st.tuples(st.floats(1, 500), st.sampled_from([-1.0, 0.5, 0.9, 0.95, 0.999, 1.0])),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=15, deadline=None)
def test_names_cover_neither_each_other_nor_the_edge(points):
    figure = draw_pareto(table(points))
    names = texts_in_place(figure)
    assert sorted(names) == sorted(METHODS[: len(points)])


def texts_in_place(figure) -> list[str]:
    """Names in the only panel, after a look whether they lie on each other or stick out."""
    (ax,) = figure.axes
    renderer = figure.canvas.get_renderer()
    names = [child for child in ax.get_children() if isinstance(child, Annotation)]
    boxes = [name.get_window_extent(renderer) for name in names]
    for name, box in zip(names, boxes, strict=True):
        text_only = super(Annotation, name).get_window_extent(renderer)
        assert text_only.x0 >= ax.bbox.x0 - 1, box
        assert text_only.x1 <= ax.bbox.x1 + 1, box
    texts = [super(Annotation, name).get_window_extent(renderer) for name in names]
    for one, other in itertools.combinations(texts, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(width, height) < 2, "two names lie on each other"
    return [name.get_text() for name in names]


def test_the_size_of_the_true_formulas_is_drawn_where_it_is_known():
    known = table([(5, 0.5), (30, 0.9999)]).assign(truth_complexity=90.0)
    known[["seconds", "seconds_low", "seconds_high", "rank_time"]] = 1.0
    figure = draw_pareto(pd.concat([known, table([(5, 0.5)], "blackbox")]))
    with_law, without = figure.axes
    assert "14 tasks; failed cells: none; dotted: true formulas, 90 nodes" in [
        text.get_text() for text in with_law.texts
    ]
    (dotted,) = (line for line in with_law.lines if line.get_linestyle() == ":")
    assert list(dotted.get_xdata()) == [90, 90]
    assert with_law.get_xlim()[1] > 90
    for ax in (without, *draw_pareto(known, TIME).axes):
        assert not [line for line in ax.lines if line.get_linestyle() == ":"]


def test_panels_files_and_failures(tmp_path):
    numbers = pd.concat(
        [
            table([(5, 0.5), (30, 0.9999), (20, np.nan)], noise=0.0),
            table([(5, 0.5), (30, 0.99)], noise=0.1),
            table([(5, -3.0)], "blackbox", 0.0).assign(ungraded=3),
        ]
    )
    figure = draw_pareto(numbers)
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert len(figure.axes) == 4
    assert "14 tasks; failed cells: gplearn 14 of 14" in texts
    assert "14 tasks; failed cells: none; without a grade: 3" in texts
    assert "not measured" in texts
    files = pareto(numbers, tmp_path / "new" / "front")
    assert [path.name for path in files] == ["front.png", "front.svg"]
    before = [path.read_bytes() for path in files]
    assert before == [path.read_bytes() for path in pareto(numbers, tmp_path / "new" / "front")]


def test_nothing_to_draw_is_still_a_picture(tmp_path):
    sizes = [path.stat().st_size for path in pareto(table([(np.nan, np.nan)]), tmp_path / "p")]
    assert len(sizes) == 2
    assert all(sizes)


def test_published_results_are_named_and_their_differences_stated():
    ours = table([(12, 0.9), (30, 0.95)], "blackbox57")
    names = texts_in_place(figure := draw_pareto(ours, published=aggregate.published()))
    assert {"lee", "operon", "TPSR λ=0.1", "SNIP", "Operon", "GP-GOMEA"} <= set(names)
    assert "not measured here" in figure.get_supxlabel().replace("\n", " ")
    assert look("tpsr") != look("snip")
    assert "not measured here" not in draw_pareto(ours).get_supxlabel()


def test_published_numbers_are_those_of_their_sources(shared_data):
    theirs = pd.read_csv(shared_data / "srbench_published.csv", comment="#")
    theirs["suite"] = theirs["suite"].replace(
        {"blackbox_57": "blackbox57", "blackbox_55": "blackbox57"}
    )
    theirs["algorithm"] = theirs["algorithm"].str.replace(r"\(lambda=(.*)\)", r" λ=\1", regex=True)
    theirs = theirs[~theirs["source"].str.contains("notebook")]
    keys = ["algorithm", "suite", "noise", "tasks"]
    both = aggregate.published().merge(
        theirs.rename(columns={"target_noise": "noise", "n_datasets": "tasks"}), on=keys
    )
    assert len(both) == len(aggregate.published()) == 75
    for mine, other in (
        ("r2_test", "r2_median"),
        ("complexity", "model_size_median"),
        ("seconds", "training_time_s_median"),
    ):
        pd.testing.assert_series_equal(both[mine], both[other], check_names=False)
    percent = both["symbolic_solution_rate_pct"]
    assert np.allclose(100 * both["symbolic_solution"], percent, rtol=1e-3, equal_nan=True)
    assert not both["note"].fillna("").str.startswith("stale").any()


def all_scores(noises=(0.0, 0.1)) -> pd.DataFrame:
    """A summary with every column that pictures read."""
    parts = [table([(5, 0.5), (30, 0.9999), (20, np.nan)], noise=noise) for noise in noises]
    numbers = pd.concat(parts, ignore_index=True)
    for name in ("accuracy_solution", "symbolic_solution", "seconds"):
        for end in ("", "_low", "_high"):
            numbers[name + end] = 0.5
    numbers["rank_time"] = numbers["rank"]
    return numbers


def test_time_is_drawn_like_size():
    names = texts_in_place(draw_pareto(all_scores((0.0,)), TIME))
    assert sorted(names) == ["lee", "operon"]


def test_scores_over_noise_have_a_panel_each_and_one_legend():
    figure = plots_curves.draw_noise(all_scores())
    assert len(figure.axes) == 5
    assert [text.get_text() for text in figure.legends[0].texts] == ["gplearn", "lee", "operon"]
    lee = figure.axes[2].lines[1]
    assert lee.get_ydata().tolist() == [0.5, 0.5]


def test_the_share_solved_over_time_counts_failures_as_misses():
    cells = pd.DataFrame(
        {
            "suite": "strogatz", "noise": 0.0, "label": "lee", "method": "lee", "graded": True,
            "truth": "x", "time_limit": 10.0,
            "symbolic_solution": [1.0, 1.0, 0.0, np.nan],
            "accuracy_solution": 1.0,
            "seconds": [4.0, 1.0, 2.0, np.nan],
        }
    )  # fmt: skip
    (ax,) = plots_curves.draw_over_time(cells).axes
    curve = ax.lines[0]
    assert curve.get_xdata()[1:3].tolist() == [1.0, 4.0]
    assert curve.get_ydata().tolist() == [0.0, 0.25, 0.5, 0.5]
    cells["truth"] = ["x", "x", None, None]
    (ax,) = plots_curves.draw_over_time(cells).axes
    assert ax.lines[0].get_ydata()[-1] == 1.0  # of the two whose true formula is known
    cells["truth"] = None
    (ax,) = plots_curves.draw_over_time(cells).axes
    assert ax.lines[0].get_ydata()[-1] == 0.75  # without a true formula: R² > 0.999


def test_settings_of_one_method_are_told_apart_by_their_lines():
    one = all_scores()
    one = one[one["label"] == one["label"].iloc[0]]
    figure = plots_curves.draw_noise(pd.concat([one, one.assign(label="other settings")]))
    handles = figure.legends[0].legend_handles
    assert len({handle.get_color() for handle in handles}) == 1
    assert len({handle.get_linestyle() for handle in handles}) == 2
    elsewhere = one.assign(label="other settings", suite="feynman")
    figure = plots_curves.draw_noise(pd.concat([one, elsewhere]))
    first, second = (ax.lines[0].get_linestyle() for ax in (figure.axes[0], figure.axes[5]))
    assert {first, second} == {h.get_linestyle() for h in figure.legends[0].legend_handles}


def test_an_axis_of_nearly_equal_numbers_still_has_a_number():
    scores = all_scores()
    for end in ("", "_low", "_high"):
        scores[f"seconds{end}"] = 29.0
    figure = plots_curves.draw_noise(scores)
    for ax in figure.axes:
        low, high = ax.get_ylim()
        assert any(low <= tick <= high for tick in ax.get_yticks()), ax.get_title(loc="left")


def test_ranks_are_drawn_with_their_critical_difference():
    ranks = pd.DataFrame(
        {
            "suite": "strogatz", "noise": 0.0, "metric": "r2_test", "label": ["lee", "operon"],
            "method": ["lee", "operon"], "rank": [1.25, 1.75], "tasks": 14, "left_out": 1,
            "critical_difference": 0.5, "p_friedman": 0.01,
        }
    )  # fmt: skip
    (ax,) = plots_curves.draw_ranks(ranks).axes
    assert ax.lines[0].get_xdata() == pytest.approx([1.0, 1.5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["lee", "operon"]
    assert "14 tasks, 1 left out; Friedman p = 0.01" in [text.get_text() for text in ax.texts]


def test_one_problem_shows_all_candidates_and_names_each_method_once():
    candidates = pd.DataFrame(
        {
            "noise": 0.0, "label": ["lee", "lee", "operon"], "method": ["lee", "lee", "operon"],
            "seed": 1, "chosen": [True, False, True], "r2_test": [0.99, 0.5, np.nan],
            "complexity_raw": [9, 3, 5], "rank": [1.0, 1.0, np.nan], "formula": "x",
        }
    )  # fmt: skip
    assert texts_in_place(plots_task.draw_pareto(candidates, "lv1")) == ["lee"]


def test_suites_stand_side_by_side_where_there_is_one_noise_level():
    rows = [table([(10, 0.99), (20, 0.999)], suite) for suite in ("strogatz", "feynman")]
    places = [ax.get_position() for ax in draw_pareto(pd.concat(rows)).axes]
    assert places[0].x1 < places[1].x0
    assert places[0].y0 == pytest.approx(places[1].y0)
    both = pd.concat([*rows, *(row.assign(noise=0.1) for row in rows)])
    first, second, third, _ = (ax.get_position() for ax in draw_pareto(both).axes)
    assert first.x1 < second.x0
    assert third.y1 < first.y0
