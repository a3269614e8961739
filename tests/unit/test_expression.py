"""The parser: value-preserving, never executing, never failing in a way of its own."""

from __future__ import annotations

import math
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lee_bench.errors import ExpressionError
from lee_bench.expression import (
    ALIASES,
    FUNCTIONS,
    MAX_CHARACTERS,
    MAX_NODES,
    Constant,
    Expression,
    Number,
    Operator,
    Variable,
    is_variable_name,
    parse,
)

FEATURES = ("x", "y", "I", "gamma", "e1")
X = np.random.default_rng(0).normal(scale=2.0, size=(7, len(FEATURES)))

numbers = st.one_of(
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-10, 10).map(lambda v: round(v, 3)),
).map(Number)
leaves = st.one_of(
    numbers, st.sampled_from(FEATURES).map(Variable), st.sampled_from(["pi", "e"]).map(Constant)
).map(lambda node: (node,))


def _applied(children: st.SearchStrategy) -> st.SearchStrategy:
    def build(name: str) -> st.SearchStrategy:
        arity = FUNCTIONS[name][0]
        operands = st.tuples(*[children] * arity)
        return operands.map(lambda parts: (*sum(parts, ()), Operator(name, arity)))

    return st.sampled_from(sorted(FUNCTIONS)).flatmap(build)


expressions = st.recursive(leaves, _applied, max_leaves=12).map(Expression)


@given(expressions)
@example(Expression((Number(-0.0), Number(-2), Operator("pow", 2))))
@settings(max_examples=200, deadline=None)
def test_printing_and_parsing_keep_the_value(expression):
    again = parse(str(expression), FEATURES)
    np.testing.assert_array_equal(
        again.evaluate(X, FEATURES), expression.evaluate(X, FEATURES), strict=True
    )
    assert str(parse(str(again), FEATURES)) == str(again)


@given(expressions, st.integers(8, 17))
@example(Expression((Number(sys.float_info.max),)), 15)
@settings(max_examples=100, deadline=None)
def test_shortened_numbers_can_be_read(expression, digits):
    parse(expression.to_infix(digits), FEATURES)


def test_numpy_numbers_print_as_numbers():
    expression = Expression((Number(np.float64(0.1)), Number(np.int64(3)), Operator("add", 2)))
    assert parse(str(expression), ()).evaluate(X[:1], FEATURES)[0] == 3.1


arithmetic = st.recursive(
    st.sampled_from(["1", "2.5", "3", "x"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(" ".join),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"+ {text}"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=8,
)


@given(arithmetic)
@settings(max_examples=200, deadline=None)
def test_precedence_is_that_of_python(text):
    # The text is made here, of these few symbols only; float64 keeps powers of negatives real.
    with np.errstate(all="ignore"):
        source = text
        for literal in ("1", "2.5", "3"):
            source = source.replace(literal, f"V({literal})")
        expected = eval(source, {"V": np.float64, "x": np.float64(1.7)})
    found = parse(text, ["x"]).evaluate(np.array([[1.7]]), ["x"])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2**2", -4.0),
        ("2**-1", 0.5),
        ("2^3^2", 512.0),
        ("7 - 2 - 1", 4.0),
        ("8/2/2", 2.0),
        ("--3", 3.0),
        ("1e3 + .5 + 2.", 1002.5),
        ("PI - pi", 0.0),
        ("E - e", 0.0),
        ("max(1, min(2, 3))", 2.0),
        ("ln(e**2) + asin(0) + safe_sqrt(4)", 4.0),
        ("cbrt(-8)", -2.0),
        ("square(3) + cube(2) + inv(4) + sign(-9) + abs(-1)", 17.25),
        ("log2(8) + log10(100)", 5.0),
        ("cot(1)*tan(1)", 1.0),
    ],
)
def test_known_values(text, value):
    assert parse(text, ()).evaluate(np.empty((1, 0)), ())[0] == pytest.approx(value, abs=1e-15)


def test_outside_a_domain_the_value_is_not_finite_and_nothing_is_raised():
    for text in ("log(-1)", "1/0", "sqrt(-1)", "(-2)**0.5", "exp(1e9)", "arcsin(2)", "inv(0)"):
        assert not np.isfinite(parse(text, ()).evaluate(np.empty((2, 0)), ())).any()


@pytest.mark.parametrize(
    "name", ["I", "E", "S", "N", "Q", "O", "gamma", "beta", "pi", "e", "lambda"]
)
def test_awkward_names_are_variables_where_the_task_says_so(name):
    values = np.array([[3.0], [5.0]])
    np.testing.assert_array_equal(
        parse(f"{name}**2 + {name}", [name]).evaluate(values, [name]), [12.0, 30.0]
    )


def test_function_names_cannot_be_variables():
    assert not any(map(is_variable_name, [*FUNCTIONS, *ALIASES, "1x", "a b", "", "é"]))
    assert all(map(is_variable_name, ["x", "_a1", "I", "e", "lambda"]))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch hacked')",
        "open('hacked', 'w')",
        "eval(x)",
        "exec(x)",
        "x.__class__",
        "().__class__.__bases__",
        "(lambda: x)()",
        "[x for x in (1,)]",
        "x if x else y",
        "x; y",
        "x := 3",
        "f'{x}'",
        "x[0]",
        "x and y",
        "x == y",
        "x % y",
        "x // y",
        "0x10",
        "1_000",
        "1j",
        "x!",
        "print(x)",
        "Symbol(x)",
    ],
)
def test_code_is_no_formula(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExpressionError):
        parse(text, ["x", "y"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "missing at the end"),
        ("   ", "missing at the end"),
        ("x +", "missing at the end"),
        ("* x", "a value is missing"),
        ("x y", "an operator is missing"),
        ("(x", "not closed"),
        ("x)", "unexpected"),
        ("()", "a value is missing"),
        ("x, x", "unexpected"),
        ("(x, x)", "unexpected"),
        ("sin()", "a value is missing"),
        ("sin(x, x)", "takes 1 argument"),
        ("max(x)", "takes 2 argument"),
        ("sin x", "no variable 'sin'"),
        ("x(2)", "an operator is missing"),
        ("f(2)", "no function 'f'"),
        ("z", "no variable 'z'"),
        ("nan", "no variable"),
        ("inf", "no variable"),
        ("1e999", "not a finite number"),
        ("2 @ x", "unexpected '@'"),
    ],
)
def test_what_is_wrong_is_said(text, problem):
    with pytest.raises(ExpressionError, match=problem):
        parse(text, ["x"])


def _parses_or_refuses(text: str) -> None:
    try:
        expression = parse(text, FEATURES)
    except ExpressionError:
        return
    expression.evaluate(X, FEATURES)
    parse(str(expression), FEATURES)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_is_refused(text):
    _parses_or_refuses(text)


fragments = [*FEATURES, *FUNCTIONS, *"()+-*/^,", "**", "1", "2.5", "1e-3", "e", ".", "_", " ", "\n"]


@given(st.lists(st.sampled_from(fragments), max_size=25).map("".join))
@settings(max_examples=250, deadline=None)
def test_almost_formulas_parse_or_are_refused(text):
    _parses_or_refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 150_000,
        "(" * 90_000 + "x" + ")" * 90_000,
        "-" * 190_000 + "x",
        "+" * 190_000 + "x",
        "sin(" * 19_000 + "x" + ")" * 19_000,
        "sin(" * 40_000 + "x" + ")" * 40_000,
        "x" + "+x" * 9_000,
        "x" + "+x" * 90_000,
        "x" + "**x" * 9_000,
        "x-(" * 9_000 + "x" + ")" * 9_000,
        "9" * 199_999,
        "x" * 199_999,
        " " * 199_999 + "x",
        "x," * 99_999,
        "1e" + "9" * 1_000,
        "x" * (MAX_CHARACTERS + 1),
    ],
    ids=lambda text: f"{text[:6].strip()}...{len(text)}",
)
def test_long_and_deep_texts_are_fast(text):
    begin = time.perf_counter()
    limit = sys.getrecursionlimit()
    _parses_or_refuses(text)
    assert time.perf_counter() - begin < 3.0
    assert sys.getrecursionlimit() == limit


def test_size_limits():
    assert len(parse("x" + "+x" * (MAX_NODES // 2 - 1), ["x"])) == MAX_NODES - 1
    with pytest.raises(ExpressionError, match=f"more than {MAX_NODES} nodes"):
        parse("x" + "+x" * (MAX_NODES // 2), ["x"])
    with pytest.raises(ExpressionError, match="characters"):
        parse(" " * MAX_CHARACTERS + "x", ["x"])


def test_a_deep_formula_needs_little_memory():
    import tracemalloc

    deep = parse("sin(x)+(" * 4_000 + "x" + ")" * 4_000, ["x"])
    rows = np.linspace(0.0, 1.0, 30_000)[:, None]
    tracemalloc.start()
    deep.evaluate(rows, ["x"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20  # all 4,000 columns at once would be 960 MB


def test_rows_are_evaluated_alike_in_one_piece_or_many():
    text = "sin(x)*" * 6_000 + "exp(-x)"
    rows = np.linspace(-1.0, 1.0, 5_000)[:, None]
    whole = parse(text, ["x"]).evaluate(rows, ["x"])
    one = parse(text, ["x"]).evaluate(rows[4_321:4_322], ["x"])
    np.testing.assert_allclose(whole[4_321], one[0], rtol=1e-12)


def test_raw_node_count_and_variables():
    expression = parse("x*sin(2*y) - 3", FEATURES)
    assert len(expression) == 8
    assert expression.variables == {"x", "y"}


def test_substitution_keeps_precedence():
    inner = parse("(x - 1)/2", ["x"])
    outer = parse("x**2 - y*x", ["x", "y"]).substitute({"x": inner})
    rows = np.array([[3.0, 5.0]])
    assert parse(str(outer), ["x", "y"]).evaluate(rows, ["x", "y"])[0] == 1.0 - 5.0


def test_constant_formulas_fill_all_rows():
    np.testing.assert_array_equal(parse("2*pi", ()).evaluate(X, FEATURES), [2 * math.pi] * len(X))


def test_a_variable_that_is_no_feature_is_refused():
    with pytest.raises(ExpressionError, match="'y'"):
        parse("x + y", ["x", "y"]).evaluate(X[:, :1], ["x"])
