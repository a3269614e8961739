"""The picture of the front: readable whatever the numbers are."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation

from lee_bench.evidence.plots import MOST_NINES, draw_pareto, look, nines, pareto

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
            "complexity": [size for size, _ in points],
            "r2_test": [r2 for _, r2 in points],
            "front": [i == 0 for i in range(len(points))],
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
    (ax,) = figure.axes
    renderer = figure.canvas.get_renderer()
    names = [child for child in ax.get_children() if isinstance(child, Annotation)]
    assert sorted(name.get_text() for name in names) == sorted(METHODS[: len(points)])
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


def test_panels_files_and_failures(tmp_path):
    numbers = pd.concat(
        [
            table([(5, 0.5), (30, 0.9999), (20, np.nan)], noise=0.0),
            table([(5, 0.5), (30, 0.99)], noise=0.1),
            table([(5, -3.0)], "blackbox", 0.0),
        ]
    )
    figure = draw_pareto(numbers)
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert len(figure.axes) == 4
    assert "14 tasks; failed cells: gplearn 14 of 14" in texts
    assert "not measured" in texts
    files = pareto(numbers, tmp_path / "new" / "front")
    assert [path.name for path in files] == ["front.png", "front.svg"]
    before = [path.read_bytes() for path in files]
    assert before == [path.read_bytes() for path in pareto(numbers, tmp_path / "new" / "front")]


def test_nothing_to_draw_is_still_a_picture(tmp_path):
    assert all(path.stat().st_size for path in pareto(table([(np.nan, np.nan)]), tmp_path / "p"))
