"""What parts of expressions have to compute."""

from __future__ import annotations

import numpy as np
import pytest

from methods.symbolic import programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.holes import Hole, fill, holes
from methods.symbolic.problem import Problem
from methods.symbolic.search import Pool

X = np.random.default_rng(0).uniform(1, 2, size=(200, 3))
ROWS = np.arange(len(X))
NOTHING = np.zeros(0)


def values(tokens: np.ndarray, constants: np.ndarray = NOTHING) -> np.ndarray:
    return programs.evaluate(tokens[None], X, constants[None])[0]


def asked(text: str, y: np.ndarray, constants: np.ndarray = NOTHING) -> dict[str, Hole]:
    """Holes by the text of the part."""
    tokens = tok.encode(text)
    found = holes(tokens, constants, X, y)
    return {" ".join(tok.decode(tokens[slice(*h.span[:2])])): h for h in found}


EVERY_OPERATOR = [
    "* x0 / sqrt + 1 square x1 + x2 tanh x1",
    "sin * 5 + x1 cos * 4 x2",
    "exp neg * x0 arctan - x1 x2",
    "pow x0 - x1 log x2",
    "arccos tanh inv cube + x0 x1",
    "abs - x1 * 2 x2",
    "arcsin / x0 + x1 3",
    "tan / x0 * 3 x1",
    "square - x0 x1",
]


@pytest.mark.parametrize("text", EVERY_OPERATOR)
def test_in_a_right_expression_every_part_has_to_compute_what_it_computes(text):
    tokens = tok.encode(text)
    y = values(tokens)
    found = list(holes(tokens, NOTHING, X, y))
    parts = sum(size < len(tokens) for size in tok.subtree_sizes(tokens[None])[0].tolist())
    literals = sum(tok.IS_LITERAL[tokens])
    assert parts - literals <= len(found) <= parts  # a literal's value varies only by rounding
    for hole in found:
        part = values(tokens[slice(*hole.span[:2])])
        assert hole.values == pytest.approx(part, rel=1e-8, abs=1e-8)
        step = np.array([1e-6])
        moved = np.array([*tokens[: hole.span[0]], tok.ADD, tok.CONSTANT, *tokens[hole.span[0] :]])
        up, down = values(moved, step), values(moved, -step)
        slope = (up - down) / (2 * step)
        assert hole.slope == pytest.approx(slope, rel=1e-4, abs=1e-5 * np.abs(slope).max())


def test_a_wrong_part_is_asked_for_what_the_law_has_there():
    y = values(tok.encode("* - x0 x1 inv sqrt + 1 square x2"))
    hole = asked("* - x0 x1 cos x2", y)["cos x2"]
    assert hole.values == pytest.approx(1 / np.sqrt(1 + X[:, 2] ** 2))


def test_the_whole_without_its_scale_and_offset_is_no_part():
    y = values(tok.encode("+ x0 x1"))
    numbers = np.array([2.0, 3.0])
    assert "* x0 x1" not in asked("+ C * C * x0 x1", y, numbers)
    assert "* x0 x1" in asked("exp + C * C * x0 x1", y, numbers)


def test_what_makes_an_expression_too_long_is_left_out():
    tokens = tok.encode(["+", "x0"] * 15 + ["sin", "x1"])
    (hole,) = (h for h in holes(tokens, NOTHING, X, values(tokens)) if h.span[:2] == (30, 32))
    for length, kept in ((5, True), (7, False)):  # with scale and offset 9 and 11
        part = np.array([tok.encode(["+", "x0"] * ((length - 1) // 2) + ["x1"])])
        made = fill([hole], part, X, np.ones(len(X)), ROWS, rng=np.random.default_rng(0), threads=1)
        assert bool(made) is kept


def test_rows_on_which_no_value_would_do_count_for_nothing():
    y = np.where(ROWS % 10, X[:, 0], -1.0)  # no square is negative
    hole = asked("square x1", y)["x1"]
    assert (hole.slope == 0).tolist() == (y < 0).tolist()
    assert np.isfinite(hole.values).all()
    assert not asked("square x1", np.where(ROWS % 2, X[:, 0], -1.0))  # half of them are too many


def test_what_fills_a_hole_gets_the_scale_and_offset_that_it_needs():
    wrong = "* x0 exp x1"
    for part, filled in {
        "cos x2": "* x0 cos x2",
        "* 3 cos x2": "* x0 * C cos x2",
        "+ 3 cos x2": "* x0 + C cos x2",
        "+ 3 * 2 cos x2": "* x0 + C * C cos x2",
    }.items():
        y = values(tok.encode(f"* x0 {part}"))
        ((tokens, numbers),) = fill(
            [asked(wrong, y)["exp x1"]],
            tok.encode("cos x2")[None],
            X,
            np.ones(len(X)),
            ROWS,
            rng=np.random.default_rng(0),
        )
        assert " ".join(tok.decode(tokens)) == filled
        assert values(tokens, numbers) == pytest.approx(y)


def test_the_constants_around_a_hole_stay_and_those_in_it_go():
    tokens, numbers = tok.encode("+ * C x0 * C exp * C x1"), np.array([1.0, 2.0, 3.0])
    hole = Hole(tokens, numbers, (4, 10, 1, 3), X[:, 0], X[:, 0])
    row, kept = hole.filled(tok.encode("sin * C x2"), [7.0])
    assert " ".join(tok.decode(row)) == "+ * C x0 sin * C x2"
    assert kept.tolist() == [1.0, 7.0]


def test_a_pool_finds_the_law_when_the_wrong_part_is_replaced():
    y = values(tok.encode("* - x0 x1 inv sqrt + 1 square x2"))
    pool = Pool(Problem(X, y, ("a", "b", "c")), threads=1)
    pool.offer(tok.encode("* - x0 x1 cos x2")[None])
    entry = next(e for e in pool.ranked() if tok.COS in e.tokens)
    found = holes(entry.tokens, entry.constants, pool.problem.X, pool.problem.y)
    places = [h for h in found if " ".join(tok.decode(h.tokens[slice(*h.span[:2])])) == "cos x2"]
    offered = pool.offered
    assert not pool.solved()
    made = pool.fill(places, tok.encode("inv sqrt + C square x2")[None])
    assert pool.solved()
    assert len(made) == len(places) == pool.offered - offered == 1
