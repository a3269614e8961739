"""The archive keeps the best of each complexity; the choice weighs data against length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.symbolic import vocabulary as tok
from methods.symbolic.archive import Archive, Entry, description_length, noise_floor, rank
from methods.symbolic.programs import evaluate


def add(archive: Archive, *candidates: tuple[str, list[float], float]) -> np.ndarray:
    constants = np.zeros((len(candidates), 4))
    for out, (_, values, _) in zip(constants, candidates, strict=True):
        out[: len(values)] = values
    tokens = tok.stack([tok.encode(text) for text, _, _ in candidates])
    return archive.add(tokens, constants, np.array([loss for _, _, loss in candidates]))


def texts(entries: list[Entry]) -> list[str]:
    return [" ".join(tok.decode(entry.tokens)) for entry in entries]


def test_keeps_the_best_of_each_complexity():
    archive = Archive()
    taken = add(
        archive,
        ("sin x0", [], 3.0),
        ("cos x0", [], 2.0),
        ("* C x0", [1.5], 1.0),
        ("exp x0", [], 2.5),
    )
    assert taken.tolist() == [False, True, True, False]
    assert texts(archive.entries()) == ["cos x0", "* C x0"]
    (entry,) = archive.best(1)
    assert entry.constants.tolist() == [1.5]
    assert entry.complexity == 4
    assert add(archive, ("tan x0", [], 2.0)).tolist() == [False]
    assert add(archive, ("tan x0", [], 1.9)).tolist() == [True]
    assert texts(archive.entries()) == ["tan x0", "* C x0"]


def test_the_front_has_no_candidate_that_a_simpler_one_matches():
    archive = Archive(keep=2)
    add(
        archive,
        ("x0", [], 5.0),
        ("sin x0", [], 6.0),
        ("* C x0", [2.0], 5.0),
        ("+ x0 x1", [], 4.0),
        ("sin + x0 x1", [], 1.0),
    )
    assert texts(archive.front()) == ["x0", "+ x0 x1", "sin + x0 x1"]
    assert len(archive) == 5
    assert texts(archive.best(2)) == ["sin + x0 x1", "+ x0 x1"]


def test_a_skeleton_occurs_once_at_its_best_fit():
    archive = Archive(keep=3)
    add(archive, ("* C x0", [1.0], 4.0), ("* C x0", [2.0], 3.0))
    add(archive, ("* C x0", [3.0], 2.0), ("* C x0", [4.0], 5.0), ("* C x1", [1.0], 6.0))
    assert [(e.constants.tolist(), e.loss) for e in archive.entries()] == [
        ([3.0], 2.0),
        ([1.0], 6.0),
    ]


def test_the_same_function_in_different_dress_is_kept_once():
    archive = Archive(keep=3)
    add(archive, ("- x0 x1", [], 1.0), ("- x1 x0", [], 1.0 + 1e-12), ("+ x0 x1", [], 1.1))
    assert texts(archive.entries()) == ["- x0 x1", "+ x0 x1"]


def test_sends_away_what_has_no_loss_or_is_too_complex():
    archive = Archive(max_complexity=3)
    taken = add(
        archive,
        ("x0", [], np.nan),
        ("x0", [], np.inf),
        ("sin sin sin x0", [], 1.0),
        ("sin sin x0", [], 1.0),
    )
    assert taken.tolist() == [False, False, False, True]


def test_complexity_may_be_given():
    archive = Archive()
    tokens = tok.stack([tok.encode("x0"), tok.encode("exp x0")])
    archive.add(tokens, np.zeros((2, 0)), np.array([2.0, 1.0]), complexity=np.array([7, 7]))
    assert texts(archive.entries()) == ["exp x0"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(0, 40)), max_size=60))
def test_order_and_batching_do_not_matter(offers):
    """Against a plain sort, for skeletons that are told apart by length and variable.

    No two variables have one loss: of two that do the first stays, and the other is forgotten.
    """
    offers = [(n, v, 6 * x + v) for n, v, x in offers]
    rows = [np.array([tok.SIN] * (n - 1) + [tok.FIRST_VARIABLE + v]) for n, v, _ in offers]
    loss = np.array([x for _, _, x in offers], dtype=float)
    whole, single = Archive(keep=2), Archive(keep=2)
    if rows:
        whole.add(tok.stack(rows), np.zeros((len(rows), 0)), loss)
        for row, x in zip(rows, loss, strict=True):
            single.add(row[None], np.zeros((1, 0)), np.array([x]))
    expected = []
    for n in range(1, 7):
        best = {}
        for size, v, x in offers:
            if size == n:
                best[v] = min(x, best.get(v, np.inf))
        expected.append(sorted(set(best.values()))[:2])
    for archive in (whole, single):
        found = [[e.loss for e in archive.entries() if e.complexity == n] for n in range(1, 7)]
        assert found == expected


def fitted(texts_: list[str], X: np.ndarray, y: np.ndarray) -> list[Entry]:
    """Entries of constant-free rows."""
    entries = []
    for text in texts_:
        tokens = tok.encode(text)
        loss = float(np.mean((evaluate(tokens[None], X)[0] - y) ** 2))
        entries.append(Entry(tokens, np.zeros(0), loss, len(tokens)))
    return entries


@pytest.mark.parametrize("noise", [0.0, 1e-9, 0.01, 0.1])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_chooses_the_law_over_simpler_and_longer_formulas(noise, scale):
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 3, size=(300, 2))
    law = X[:, 0] * np.sin(X[:, 1])
    y = law + noise * law.std() * rng.normal(size=300)
    # The longest follows the noise a little better than the law, as overfitted formulas do.
    entries = fitted(["x0", "* x0 sin x1", "* x0 cos x1"], X, y)
    follower = Entry(
        tok.encode("+ C * C * x0 sin + C * C x1"), np.ones(4), entries[1].loss * 0.99, 12
    )
    entries.append(follower)
    entries = [Entry(e.tokens, e.constants, e.loss * scale**2, e.complexity) for e in entries]
    assert rank(entries, 300, noise_floor(y * scale))[0] == 1


def test_pays_for_a_better_formula():
    short, long = (
        Entry(tok.encode("x0"), np.zeros(0), 1.0, 1),
        Entry(tok.encode("+ x0 * C sin x1"), np.ones(1), 0.5, 6),
    )
    assert rank([short, long], 1000, 1e-20)[0] == 1
    assert rank([short, long], 10, 1e-20)[0] == 0


def test_a_formula_without_a_value_comes_last():
    lengths = description_length(np.array([np.nan, 1.0]), [1, 50], [0, 9], 20, 1e-20)
    assert np.argmin(lengths) == 1


def test_noise_floor_follows_scale_and_offset():
    y = np.random.default_rng(0).normal(size=100)
    assert noise_floor(1e6 * y) == pytest.approx(1e12 * noise_floor(y))
    assert noise_floor(y + 1e9) > noise_floor(y)
    assert noise_floor(np.zeros(5)) > 0
