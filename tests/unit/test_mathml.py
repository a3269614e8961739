"""Formulas in MathML: well-formed, the same formula when read back, and nothing to inject."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lee_bench.expression import FUNCTIONS, Constant, Expression, Number, Operator, Variable, parse
from lee_bench.mathml import name_to_mathml, to_mathml

FEATURES = ("a", "b", "x_1", "theta", "v_max")
SYMBOLS = {
    "−": "-", "·": "*", "\u2062": "*", "\u2061": "", "π": "pi", "θ": "theta", "ln": "log",
    "sgn": "sign", "arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh",
}  # fmt: skip


def read(markup: str) -> str:
    """What a person reads, as the text of a formula; juxtaposition alone means nothing here."""
    return written(ElementTree.fromstring(f"<all>{markup}</all>"))


def written(element: ElementTree.Element) -> str:
    parts = [written(child) for child in element]
    match element.tag:
        case "mfrac":
            return f"(({parts[0]})/({parts[1]}))"
        case "msup":
            return f"{parts[0]}**({parts[1]})"
        case "msub":
            function = parts[0] in ("log",)
            return parts[0] + parts[1] if function else f"{parts[0]}_{parts[1]}"
        case "msqrt":
            return f"sqrt({parts[0]})"
        case "mroot":
            assert parts[1] == "3"
            return f"cbrt({parts[0]})"
        case "mi" | "mn" | "mo" | "mtext":
            return SYMBOLS.get(element.text, element.text)
        case "mrow" if parts and parts[0] == "|":
            return f"abs({''.join(parts[1:-1])})"
    assert element.tag in ("all", "math", "mrow", "wbr"), element.tag
    return "".join(parts)


LEAVES = st.one_of(
    st.sampled_from([Variable(name) for name in FEATURES]),
    st.integers(-4, 12).map(Number),
    st.sampled_from([0.5, -1.25, 1e-7, -1e22, 6.674e-11]).map(Number),
    st.sampled_from(["pi", "e"]).map(Constant),
).map(lambda node: (node,))


def grown(children):
    def build(name: str) -> st.SearchStrategy:
        arity = FUNCTIONS[name][0]
        return st.tuples(*[children] * arity).map(
            lambda parts: (*(node for part in parts for node in part), Operator(name, arity))
        )

    common = st.sampled_from(["add", "sub", "mul", "div", "pow", "neg"])
    return st.one_of(common.flatmap(build), st.sampled_from(sorted(FUNCTIONS)).flatmap(build))


FORMULAS = st.recursive(LEAVES, grown, max_leaves=10).map(Expression)
POINTS = np.random.default_rng(3).uniform(0.3, 2.5, size=(40, 5)) * [1.0, 1.0, -1.0, 1.0, -1.0]


@settings(max_examples=400, deadline=None)
@given(FORMULAS)
def test_what_is_shown_is_what_was_found(formula):
    shown = parse(read(to_mathml(formula)), FEATURES).evaluate(POINTS, FEATURES)
    meant = formula.evaluate(POINTS, FEATURES)
    # a square is shown as a power, so the last digits may differ; what cancels shows them
    moved = formula.evaluate(POINTS * (1 + 1e-9), FEATURES)
    sure = np.isfinite(meant) & np.isfinite(moved) & (np.abs(meant) < 1e12)
    shown, meant, moved = shown[sure], meant[sure], moved[sure]
    close = np.abs(shown - meant) <= 1e-9 * (1 + np.abs(meant)) + 10 * np.abs(moved - meant)
    assert close.all()


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("a - (b - a)", "a-(b-a)"),
        ("a - (b + a)", "a-(b+a)"),
        ("a + -2*b", "a+(-2*b)"),
        ("-(a*b)**2", "-(a*b)**(2)"),
        ("(-2)**a", "(-2)**(a)"),
        ("(a**b)**a", "(a**(b))**(a)"),
        ("(1e-7)**2", "(10**(-7))**(2)"),
        ("sin(a)**2", "(sin(a))**(2)"),
        ("(a + b)*a", "(a+b)*a"),
        ("a/(b*2)", "((a)/(b*2))"),
        ("min(a, b)*log10(b)", "min(a,b)*log10(b)"),
        ("abs(a - b)", "abs(a-b)"),
    ],
)
def test_parentheses_stand_where_they_must_and_nowhere_else(formula, shown):
    assert read(to_mathml(parse(formula, FEATURES))) == shown


def test_numbers_never_run_together():
    for formula, dots in (("a*2", 1), ("2*3", 1), ("a*(2*b)", 1), ("2*(1/3)", 1), ("2*a", 0)):
        assert to_mathml(parse(formula, "ab")).count("·") == dots, formula


def test_a_long_sum_can_be_broken_into_lines_between_its_terms():
    markup = to_mathml(parse("1.5*a - b + sin(a)/(a + b)", "ab"))
    assert markup.count("<math>") == 3
    assert to_mathml(parse("(a + b)*a", "ab")).count("<math>") == 1


def test_digits_round_decimal_numbers_only():
    shown = read(to_mathml(parse("0.123456789*a + 123456789 - 1.23456e-9", "a"), 3))
    assert shown == "0.123*a+123456789-1.23*10**(-9)"


@pytest.mark.parametrize(
    ("name", "markup"),
    [
        ("x0", "<msub><mi>x</mi><mn>0</mn></msub>"),
        ("theta_1", "<msub><mi>θ</mi><mn>1</mn></msub>"),
        ("lambda", "<mi>λ</mi>"),
        ("Omega", "<mi>Ω</mi>"),
        ("v_max", "<msub><mi>v</mi><mtext>max</mtext></msub>"),
        ("a_b_c", "<mtext>a_b_c</mtext>"),
        ("<script>&", "<mtext>&lt;script&gt;&amp;</mtext>"),
    ],
)
def test_names_read_well_and_are_escaped(name, markup):
    assert name_to_mathml(name) == markup
