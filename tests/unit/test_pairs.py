"""Pairs of finds: closed forms against least squares, and laws found from their parts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_bench.expression import parse
from methods.symbolic import programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.archive import Entry
from methods.symbolic.pairs import Parts, _inverse, _Products, _Sums, subtrees
from methods.symbolic.problem import Problem
from methods.symbolic.search import Pool

NAMES = ("a", "b", "c")
FINDS = ["sin x0", "square x1", "exp x1", "square x0", "* x2 sin x2", "/ x0 x1"]


def rows(*texts: str) -> np.ndarray:
    return tok.stack([tok.encode(text) for text in texts])


def data(law: str, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).uniform(1, 3, size=(n, 3))
    return X, parse(law, NAMES).evaluate(X, NAMES)


def least_squares(columns: list[np.ndarray], y: np.ndarray, w: np.ndarray) -> float:
    """Weighted R2 of y as an affine function of the columns."""
    A, root = np.stack([np.ones(len(y)), *columns], 1), np.sqrt(w)
    beta = np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
    return 1 - w @ (y - A @ beta) ** 2 / (w @ (y - w @ y) ** 2)


@given(st.integers(0, 10**6))
def test_closed_forms_are_least_squares(seed):
    rng = np.random.default_rng(seed)
    F = rng.uniform(0.5, 2, size=(4, 12)) * rng.choice([-1, 1], size=(4, 1))
    y = rng.normal(size=12)
    w = rng.uniform(0.1, 1, size=12)
    w /= w.sum()
    y /= math.sqrt(w @ (y - w @ y) ** 2)
    centred = F - (F @ w)[:, None]
    S = centred / np.sqrt(centred**2 @ w)[:, None]
    kinds = [_Sums(S, w), _Products(F, F, w, tok.MUL), _Products(F, _inverse(F), w, tok.DIV)]
    for kind in kinds:
        explained = kind.explained(y)
        for i, j in itertools.product(range(4), repeat=2):
            if math.isnan(explained[i, j]):
                assert i == j or (i > j and kind.operator != tok.DIV)
            else:
                expected = least_squares(kind.columns(F[i], F[j]), y, w)
                assert explained[i, j] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    "law",
    [
        "2*sin(a) + 0.3*b**2",
        "3 + sin(a)*b**2",
        "sin(a)/b**2 - 1",
        "sqrt(a**2 + 3*exp(b) + 1)",
        "-sqrt(a**2 + 3*exp(b))",
        "4*exp(0.3 - sin(a)*b**2)",
        "1/(2 + a*b/c)",
        "1/sqrt(a**2 + c*sin(c))",
        "c*a**2 + 2*c*exp(b) + sin(a)",
        "1e-9*a**2 + 2e-9*exp(b)",
    ],
)
def test_a_law_is_found_from_its_parts(law):
    X, y = data(law)
    pool = Pool(Problem(X, y, NAMES), threads=1)
    pool.offer(rows(*FINDS))
    assert not pool.solved()
    for _ in range(3):
        pool.join(64)
    assert pool.solved()


def test_pairs_bring_the_constants_that_fit():
    X, y = data("2*sin(a) + 0.3*b**2")
    parts = Parts(X, y, np.ones(len(y)))
    parts.add(rows(*FINDS), np.zeros((len(FINDS), 0)))
    y = (y - y.mean()) / y.std()
    best = 0.0
    for pair in parts.pairs(20):
        f = programs.evaluate(pair.tokens[None], X, pair.constants[None])[0]
        best = max(best, np.corrcoef(f, y)[0, 1] ** 2)
    assert best == pytest.approx(1, abs=1e-12)


def test_only_pairs_with_a_new_find_are_made():
    X, y = data("a*b + sin(c)")
    parts = Parts(X, y, np.ones(len(y)))
    assert parts.pairs(10)
    assert parts.pairs(10) == []
    parts.add(rows("sin x2"), np.zeros((1, 0)))
    again = parts.pairs(30)
    sine = int(tok.encode("sin x2")[0])
    assert again
    assert all(sine in pair.tokens for pair in again)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("law", ["a - a + 3", "0*a", "1e200*a*b", "1e-200*a", "log(a - 0.9)"])
def test_odd_targets_and_finds_do_no_harm(law):
    X, y = data(law)
    pool = Pool(Problem(X, y, NAMES), threads=1)
    pool.offer(rows("log - x0 2", "exp exp exp exp x1", "- x0 x0", "inv - x1 x1", "sqrt - x0 x1"))
    joined = pool.join(32)
    assert joined.shape[0] <= 32
    assert all(math.isfinite(entry.loss) for entry in pool.archive.entries())


def test_subtrees_keep_their_constants():
    row = tok.encode("+ * C sin * C x0 exp * C x1")
    find = Entry(row, np.array([2.0, 3.0, 4.0]), 0.0, len(row))
    tokens, constants = subtrees(find)
    told = {tok.to_infix(t, c): None for t, c in zip(tokens, constants, strict=True)}
    assert list(told) == [
        "2.0*sin(3.0*x0)", "sin(3.0*x0)", "3.0*x0", "exp(4.0*x1)", "4.0*x1"
    ]  # fmt: skip
    tokens, constants = subtrees(Entry(tok.encode("x1"), np.zeros(0), 0.0, 1))
    assert tokens.tolist() == [tok.encode("x1").tolist()]


def test_the_same_pairs_whatever_the_unit_of_y():
    X, y = data("2*sin(a) + 0.3*b**2")
    made = []
    for unit in (1.0, 1e-3, 1e6):
        parts = Parts(X, unit * y, np.ones(len(y)))
        parts.add(rows(*FINDS), np.zeros((len(FINDS), 0)))
        made.append([pair.tokens.tolist() for pair in parts.pairs(20)])
    assert made[0] == made[1] == made[2]


def test_an_offset_beside_a_large_product_is_found():
    """The columns of the closed form are of very different size."""
    X = np.random.default_rng(0).uniform(100, 1000, size=(128, 2))
    y = 1 / (3e17 + X[:, 0] ** 3 * X[:, 1] ** 3)
    parts = Parts(X, y / y.std(), np.ones(128))
    cores = tok.stack([tok.encode("cube x0"), tok.encode("cube x1")])
    parts.add(cores, np.zeros((2, 0)))
    best = next(p for p in parts.pairs(8) if tok.decode(p.tokens)[:3] == ["inv", "+", "C"])
    assert best.constants[0] == pytest.approx(3e17, rel=1e-6)
