"""Canonical forms: same function, one dress."""

import numpy as np
import pytest
import sympy
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical import canonical, canonical_row, unique_skeletons
from methods.symbolic.programs import evaluate

LEAVES = ["x0", "x1", "x2", "C", "pi", "1", "2", "3", "4", "5"]
BINARY = ["+", "-", "*", "/", "pow"]
X = np.concatenate(
    [
        np.random.default_rng(0).uniform(0.3, 3, (24, 3)),
        np.random.default_rng(1).uniform(-3, 3, (24, 3)),
    ]
)


def form(text: str) -> str:
    row, _ = canonical_row(tok.encode(text).tolist())
    return " ".join(tok.decode(np.array(row)))


def trees(leaves=tuple(LEAVES), unary=tok.UNARY_NAMES, binary=tuple(BINARY), max_leaves=7):
    """Prefix expressions as lists of names."""
    return st.recursive(
        st.sampled_from(leaves).map(lambda name: [name]),
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(unary), inner).map(lambda t: [t[0], *t[1]]),
            st.tuples(st.sampled_from(binary), inner, inner).map(lambda t: [t[0], *t[1], *t[2]]),
        ),
        max_leaves=max_leaves,
    )


def subtrees(row: list[int]) -> list[tuple[slice, slice]]:
    """Where each subtree stands in the row and its constants among the row's."""
    sizes = tok.subtree_sizes(np.array([row]))[0]
    before = np.cumsum([0, *(t == tok.CONSTANT for t in row)])
    return [
        (slice(i, i + n), slice(before[i], before[i + n])) for i, n in enumerate(sizes.tolist())
    ]


def defined(row: list[int], constants: np.ndarray) -> np.ndarray:
    """Points of X at which every part of the expression is finite."""
    return np.all([np.isfinite(value(row[s], constants[c])) for s, c in subtrees(row)], axis=0)


def value(row, constants, points=X) -> np.ndarray:
    return evaluate(np.array([row]), points, np.array([constants], dtype=float).reshape(1, -1))[0]


def numbers(row: list[int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    k = row.count(tok.CONSTANT)
    some = rng.uniform(0.3, 3, k) * rng.choice([-1, 1, 1], k)
    # Often equal ones, or multiples: what coincides is joined.
    return np.where(rng.random(k) < 0.5, some, rng.choice([0.25, 0.5, 1.5, 3.0, -2.0], k))


@given(trees(), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_value_is_kept_wherever_the_input_is_finite(names, seed):
    row = tok.encode(names).tolist()
    constants = numbers(row, seed)
    y = value(row, constants)
    # Rounding at this point, from what a relative change of 1e-12 in the inputs does.
    shaken = [value(row, constants * (1 + s), X * (1 + s)) for s in (1e-12, -1e-12, 3e-12)]
    with np.errstate(invalid="ignore"):
        noise = np.max(np.abs(np.array(shaken) - y), axis=0)
    use = defined(row, constants) & np.isfinite(noise) & (noise < 1e-6 * np.abs(y))
    assume(use.any())
    out, fitted = canonical_row(row, constants)
    assert tok.is_valid(np.array([out])).all()
    assert len(fitted) == out.count(tok.CONSTANT)
    error = np.abs(value(out, fitted)[use] - y[use])
    assert (error <= 1e-9 * np.abs(y[use]) + 1e4 * noise[use]).all()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("* + C * C x0 + C * C x0", (0.5, 0.5, 1.5, 1.5)),
        ("* C * + 1 * C x0 + 2 * C x0", (0.7, 0.25, 0.5)),
        ("/ * C + 1 * C x0 + 2 * C x0", (0.7, 0.25, 0.5)),
        ("* square + C * C x0 + C * C x0", (2.0, 2.0, 3.0, 3.0)),
    ],
)
def test_sums_that_differ_in_scale_alone_stay_two_factors(text, numbers):
    row = tok.encode(text).tolist()
    out, fitted = canonical_row(row, np.array(numbers))
    np.testing.assert_allclose(value(out, fitted), value(row, np.array(numbers)), rtol=1e-12)


@given(trees())
@settings(max_examples=200, deadline=None)
def test_canonical_form_is_its_own_canonical_form(names):
    once, _ = canonical_row(tok.encode(names).tolist())
    twice, _ = canonical_row(once)
    assert once == twice


def commuted(row: list[int], choices) -> list[int]:
    """The expression with operands of + and * exchanged and chains regrouped as `choices` say."""

    def build(i: int) -> tuple[list[int], int]:
        op = row[i]
        if tok.ARITY[op] == 0:
            return [op], i + 1
        a, j = build(i + 1)
        if tok.ARITY[op] == 1:
            return [op, *a], j
        b, j = build(j)
        if tok.IS_COMMUTATIVE[op] and choices.draw(st.booleans()):
            a, b = b, a
        if tok.IS_COMMUTATIVE[op] and a[0] == op and choices.draw(st.booleans()):
            first = tok.subtree_sizes(np.array([a]))[0][1]  # (u op v) op b -> u op (v op b)
            u, v = a[1 : 1 + first], a[1 + first :]
            return [op, *u, op, *v, *b], j
        return [op, *a, *b], j

    return build(0)[0]


@given(trees(), st.data())
@settings(max_examples=200, deadline=None)
def test_commuted_and_regrouped_variants_have_one_form(names, data):
    row = tok.encode(names).tolist()
    assume(defined(row, np.abs(numbers(row, 0))).any())
    assert canonical_row(row)[0] == canonical_row(commuted(row, data))[0]


@given(trees(), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_known_constants_give_the_tokens_of_the_skeleton(names, seed):
    row = tok.encode(names).tolist()
    constants = np.abs(numbers(row, seed))
    everywhere = [value(row[s], constants[c]) for s, c in subtrees(row)]
    assume(all(np.isfinite(y).any() and (np.abs(y) < 1e6).any() for y in everywhere))
    assert canonical_row(row, constants)[0] == canonical_row(row)[0]


@given(
    trees(
        leaves=("x0", "x1", "pi", "1", "2", "3"),
        unary=("neg", "inv", "square", "cube", "sqrt", "exp", "log", "sin", "cos", "tanh", "abs"),
        binary=("+", "-", "*", "/"),
        max_leaves=5,
    )
)
@example(["/", "log", "1", "sin", "pi"])
@settings(max_examples=40, deadline=None)
def test_sympy_finds_the_same_value_at_thirty_digits(names):
    row = tok.encode(names).tolist()
    out, _ = canonical_row(row)
    assume(out != row and len(row) < 12 and tok.CONSTANT not in out)
    x0, x1 = sympy.symbols("x0 x1", real=True)
    for at in ({x0: sympy.Rational(7, 5), x1: sympy.Rational(3, 11)}, {x0: -2, x1: 3}):
        point = np.array([[float(at[x0]), float(at[x1]), 0.0]])
        parts = [value(row[s], np.zeros(0), point)[0] for s, _ in subtrees(row)]
        if not np.isfinite(parts).all() or max(np.abs(parts)) > 1e6:
            continue
        before, after = (
            sympy.sympify(tok.to_infix(np.array(r)), locals={"x0": x0, "x1": x1}).subs(at)
            for r in (row, out)
        )
        if not before.evalf(30).is_finite:
            continue  # sin(pi) is 0 to sympy, and a divisor to floating point
        assert abs((before - after).evalf(30)) < sympy.Float("1e-20") * (1 + abs(before.evalf(30)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+ x1 x0", "+ x0 x1"),
        ("+ + x2 x1 x0", "+ x0 + x1 x2"),
        ("- x0 - x1 x2", "- + x0 x2 x1"),
        ("/ x0 / x1 x2", "/ * x0 x2 x1"),
        ("neg neg x0", "x0"),
        ("* 1 x0", "x0"),
        ("pow x0 1", "x0"),
        ("- x0 x0", "- 1 1"),
        ("/ x0 x0", "1"),
        ("+ x0 x0", "* 2 x0"),
        ("* x0 x0", "square x0"),
        ("* x0 square x0", "cube x0"),
        ("+ 2 3", "5"),
        ("/ 2 4", "inv 2"),
        ("sqrt 4", "2"),
        ("exp log x0", "x0"),
        ("log exp x0", "x0"),
        ("sin arcsin x0", "x0"),
        ("square sqrt x0", "x0"),
        ("sqrt square x0", "abs x0"),
        ("sqrt cube x0", "* x0 sqrt x0"),
        ("pow x0 / 3 2", "* x0 sqrt x0"),
        ("* sqrt x0 sqrt x1", "sqrt * x0 x1"),
        ("* square x0 square x1", "square * x0 x1"),
        ("square - x1 x0", "square - x0 x1"),
        ("cos - x1 x0", "cos - x0 x1"),
        ("sin - x1 x0", "neg sin - x0 x1"),
        ("* x2 - x1 x0", "* x2 - x1 x0"),
        ("+ * x0 x1 * x0 x2", "* x0 + x1 x2"),
        ("+ * 2 x0 * 4 x1", "* 2 + x0 * 2 x1"),
        ("inv exp x0", "exp neg x0"),
        ("* exp x0 exp x1", "exp + x0 x1"),
        ("exp * x1 log x0", "pow x0 x1"),
        ("* C * C x0", "* C x0"),
        ("+ C + x0 C", "+ C x0"),
        ("+ * C x0 x0", "* C x0"),
        ("neg * C x0", "* C x0"),
        ("/ x0 C", "* C x0"),
        ("sqrt C", "C"),
        ("* C + x0 C", "+ C * C x0"),
        ("exp + x0 C", "* C exp x0"),
        ("square * C + x0 C", "* C square + C x0"),
        ("/ + C * C x0 + C * C x1", "/ + C * C x0 + C x1"),
        ("* x0 pow x0 C", "pow x0 C"),
        ("pow C x0", "exp * C x0"),
    ],
)
def test_rules_by_example(text, expected):
    assert form(text) == expected


@pytest.mark.parametrize(
    "text",
    ["sqrt * C x0", "log * C x0", "- sin * C x0 sin * C x0", "arcsin sin x0", "* x0 abs x0"],
)
def test_what_would_lose_values_is_left_alone(text):
    assert form(text) == text


def test_constants_are_carried_along():
    row = tok.encode("* C + x0 * C - C C").tolist()
    out, constants = canonical_row(row, [2.0, 3.0, 5.0, 1.0])
    assert (form("* C + x0 * C - C C"), out) == ("+ C * C x0", tok.encode("+ C * C x0").tolist())
    assert constants == [24.0, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "square + C * C x0",
        "/ x1 + C * C x0",
        "/ + C * C x0 + C * C x1",
        "* square + C * C x0 + C * C x1",
        "* C cube + x1 * C x0",
        "* exp + C x0 / C + 1 * C x1",
        "abs + C * C x0",
        "pow C * C x0",
        "* square x0 pow x0 C",
        "+ * C x0 * pi x0",
        "sqrt / square + C * C x0 exp + C x1",
    ],
)
def test_constants_that_move_keep_the_value(text):
    row = tok.encode(text).tolist()
    constants = np.array([2.0, 3.0, 0.7, 1.6])[: row.count(tok.CONSTANT)]
    out, moved = canonical_row(row, constants)
    assert out != row
    points = np.abs(X) + 0.1
    np.testing.assert_allclose(value(out, moved, points), value(row, constants, points), rtol=1e-12)


def test_undefined_expressions_come_back_unchanged():
    assert form("* x0 inv - x1 x1") == "* x0 inv - x1 x1"
    row = tok.encode("exp + x0 C").tolist()
    assert canonical_row(row, [800.0]) == (row, [800.0])


def test_batches_and_duplicates():
    tokens = tok.stack([tok.encode(t) for t in ("+ x1 * C x0", "x0", "+ * x0 C x1", "* 1 x0")])
    forms, inverse = unique_skeletons(tokens)
    assert inverse.tolist() == [0, 1, 0, 1]
    assert forms.tolist() == tok.stack([tok.encode("+ x1 * C x0"), tok.encode("x0")]).tolist()
    out, constants = canonical(tokens, np.array([[2.0], [0.0], [3.0], [0.0]]))
    assert out.shape == (4, 5)
    assert constants.tolist() == [[2.0], [0.0], [3.0], [0.0]]
