"""The prefix vocabulary: tables, shapes of trees, text both ways, and the benchmarks' formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lee_bench.errors import ExpressionError
from lee_bench.expression import parse
from lee_bench.tasks import catalog, feynman
from methods.symbolic import vocabulary as tok
from methods.symbolic.programs import evaluate


def trees(variables: int = 3) -> st.SearchStrategy[list[int]]:
    """Prefix rows of up to a few dozen tokens."""
    names = [*tok.NUMBER_NAMES, *tok.VARIABLE_NAMES[:variables]]
    leaves = st.sampled_from([[tok.ID[name]] for name in names])

    def grow(inner: st.SearchStrategy) -> st.SearchStrategy:
        unary = st.tuples(st.sampled_from(np.flatnonzero(tok.IS_UNARY).tolist()), inner)
        binary = st.tuples(st.sampled_from(np.flatnonzero(tok.IS_BINARY).tolist()), inner, inner)
        return st.one_of(unary, binary).map(
            lambda node: [node[0], *(t for part in node[1:] for t in part)]
        )

    return st.recursive(leaves, grow, max_leaves=10)


def end_of(row: list[int], start: int = 0) -> int:
    """Where the subtree at `start` ends, by definition; IndexError where it never does."""
    end = start + 1
    for _ in range(tok.ARITY[row[start]]):
        end = end_of(row, end)
    return end


def test_tables_say_what_the_names_say():
    assert tok.PAD == 0
    assert len(set(tok.NAMES)) == tok.SIZE == len(tok.ARITY)
    assert {tok.NAMES[i] for i in np.flatnonzero(tok.ARITY == 2)} == {"+", "-", "*", "/", "pow"}
    assert tok.NAMES[tok.ID["arctan"]] == "arctan"
    assert tok.ARITY[tok.ID["arctan"]] == 1
    assert (tok.ARITY[[tok.PAD, tok.BOS, tok.EOS]] == -1).all()
    assert ((tok.ARITY == 0) == tok.IS_LEAF).all()
    assert tok.LITERAL_VALUE[tok.encode("pi 1 5")].tolist() == [np.pi, 1, 5]
    kinds = (tok.IS_SPECIAL, tok.IS_CONSTANT, tok.IS_LITERAL, tok.IS_VARIABLE, tok.IS_UNARY)
    assert (sum(mask.astype(int) for mask in (*kinds, tok.IS_BINARY)) == 1).all()


def test_names_and_ids_convert_both_ways():
    row = tok.encode("* C sin x0", length=6)
    assert row.tolist() == [tok.MUL, tok.CONSTANT, tok.SIN, tok.ID["x0"], tok.PAD, tok.PAD]
    assert tok.decode(row) == ["*", "C", "sin", "x0"]
    assert tok.stack([row[:4], row[:1]]).shape == (2, 4)
    assert tok.lengths(tok.stack([row, row[:1]])).tolist() == [4, 1]
    with pytest.raises(ValueError, match="'sinh'"):
        tok.encode("sinh x0")
    with pytest.raises(ValueError, match="more than 2"):
        tok.encode("+ x0 x1", length=2)


@given(trees(), st.integers(0, 3))
def test_subtrees_end_where_their_arguments_do(row, padding):
    tokens = np.array([row + [tok.PAD] * padding])
    sizes = tok.subtree_sizes(tokens)[0]
    assert sizes.tolist() == [end_of(row, i) - i for i in range(len(row))] + [0] * padding


@given(st.lists(st.integers(0, tok.SIZE - 1), min_size=1, max_size=8))
def test_a_row_is_valid_exactly_if_it_is_one_complete_expression(row):
    used = row[: next((i for i, t in enumerate(row) if t == tok.PAD), len(row))]
    special = {tok.PAD, tok.BOS, tok.EOS}
    try:
        complete = not special & set(used) and end_of(used) == len(used)
    except IndexError:
        complete = False
    assert tok.is_valid(np.array([row]))[0] == (complete and not any(row[len(used) :]))


@given(trees(), st.integers(0, 7))
def test_damaged_rows_are_invalid(row, place):
    assert tok.is_valid(np.array([row]))[0]
    assert not tok.is_valid(np.array([[*row, tok.ID["x0"]]]))[0]
    assert not tok.is_valid(np.array([[tok.BOS, *row]]))[0]
    assert not tok.is_valid(np.array([[tok.ADD, *row]]))[0]
    assert not tok.is_valid(np.array([[*row[:-1], tok.PAD]]))[0]
    assert not tok.is_valid(np.array([[*row, tok.SIZE]]))[0]


@given(trees(), st.lists(st.floats(-1e3, 1e3), min_size=10, max_size=10))
@settings(deadline=None, derandomize=True)  # sin(exp(exp(x))) magnifies a last digit
def test_printed_expressions_read_back_as_the_same_function(row, constants):
    tokens = np.array(row)
    text = tok.to_infix(tokens, np.array(constants))
    again, fitted = tok.from_infix(text)
    X = np.random.default_rng(0).uniform(0.5, 2, (5, 3))
    with np.errstate(all="ignore"):
        first = evaluate(tokens[None], X, np.array([constants]), backend="torch")
        second = evaluate(again[None], X, fitted[None], backend="torch")
    np.testing.assert_allclose(second, first, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x0**2", "square x0"),
        ("x0^3", "cube x0"),
        ("x0**0.5", "sqrt x0"),
        ("x0**(1/2)", "sqrt x0"),
        ("x0**(-1)", "inv x0"),
        ("x0**(-1/2)", "inv sqrt x0"),
        ("x0**-2", "inv square x0"),
        ("x0**-3", "inv cube x0"),
        ("x0**4", "square square x0"),
        ("x0**(3/2)", "pow x0 / 3 2"),
        ("x0**x1", "pow x0 x1"),
        ("1/x1", "inv x1"),
        ("e**x0", "exp x0"),
        ("e", "exp 1"),
        ("-3*x0", "* neg 3 x0"),
        ("7.5*x0 - 2*pi", "- * C x0 * 2 pi"),
        ("sinh(x0)", "/ - exp x0 exp neg x0 2"),
        ("abs(x0)", "abs x0"),
    ],
)
def test_numbers_and_powers_take_the_tokens_made_for_them(text, expected):
    assert " ".join(tok.decode(tok.from_infix(text)[0])) == expected


def test_constants_stand_in_prefix_order():
    tokens, constants = tok.from_infix("sin(0.1*x0 + 7) - 0.25/x1")
    assert constants.tolist() == [0.1, 7.0, 0.25]
    assert tok.to_infix(tokens, constants) == "sin(0.1*x0 + 7.0) - 0.25/x1"
    assert tok.to_infix(tokens, constants, names=("t", "m")) == "sin(0.1*t + 7.0) - 0.25/m"
    assert tok.to_infix(tokens) == "sin(C*x0 + C) - C/x1"


def test_what_cannot_be_written_is_refused_with_its_name():
    with pytest.raises(ValueError, match="'sign'"):
        tok.from_infix("sign(x0)")
    with pytest.raises(ValueError, match="'k' is not among the first 10"):
        tok.from_infix("a + k", names=tuple("abcdefghijk"))
    with pytest.raises(ExpressionError):
        tok.from_infix("x0 + nonsense")
    with pytest.raises(ValueError, match="not one complete"):
        tok.to_expression(tok.encode("+ x0"))
    with pytest.raises(ValueError, match="2 constants are needed"):
        tok.to_infix(tok.encode("+ C C"), np.ones(1))
    with pytest.raises(ValueError, match="no name for x1"):
        tok.to_infix(tok.encode("x1"), names=("a",))


# No formula has to be left out; one that ever must goes here with its reason.
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.parametrize("suite", ["feynman", "strogatz"])
def test_every_true_formula_can_be_written_and_read_back(suite, capsys):
    rng = np.random.default_rng(0)
    lengths = {}
    for info in catalog.tasks(suite):
        if info.name in EXCEPTIONS:
            continue
        truth = parse(info.truth, info.features)
        tokens, constants = tok.from_expression(truth, info.features)
        again = tok.to_expression(tokens, constants, info.features)
        low, high = feynman.ranges(info.name) if suite == "feynman" else (0.5, 2.0)
        X = rng.uniform(low, high, (50, info.n_features))
        expected = truth.evaluate(X, info.features)
        assert np.isfinite(expected).all(), info.name
        np.testing.assert_allclose(again.evaluate(X, info.features), expected, rtol=1e-9)
        values = evaluate(tokens[None], X, constants[None])[0]
        np.testing.assert_allclose(values, expected, rtol=1e-9, err_msg=info.name)
        lengths[info.name] = len(tokens)
    assert len(lengths) + len(EXCEPTIONS) == {"feynman": 119, "strogatz": 14}[suite]
    of = np.array(list(lengths.values()))
    longest = max(lengths, key=lengths.get)
    with capsys.disabled():
        print(
            f"\n{suite}: {len(of)} formulas in 3 to {of.max()} tokens (longest: {longest}), "
            f"median {np.median(of):.0f}, 90 % within {np.quantile(of, 0.9):.0f}"
        )
