"""Formulas in LaTeX: the same structure, and nothing that TeX would read otherwise."""

from __future__ import annotations

import pytest

from lee_bench.expression import parse
from lee_bench.latex import name_to_latex, to_latex


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("(a - b)/2", r"\frac{a - b}{2}"),
        ("9.81*m*h - 3", r"9.81 \, m \, h - 3"),
        ("a - (b - m)", r"a - \left(b - m\right)"),
        ("a - (b + m)", r"a - \left(b + m\right)"),
        ("a + -2*b", r"a + \left(-2 \, b\right)"),
        ("b*(-a*2)", r"b \, \left(-a \cdot 2\right)"),
        ("-(a*b)**2", r"-\left(a \, b\right)^{2}"),
        ("(-2)**a", r"\left(-2\right)^{a}"),
        ("a**b**m", r"a^{b^{m}}"),
        ("(a**b)**m", r"\left(a^{b}\right)^{m}"),
        ("2*(1/3)*a", r"2 \cdot \frac{1}{3} \, a"),
        ("6.674e-11*a", r"6.674 \cdot 10^{-11} \, a"),
        ("a/1e-7", r"\frac{a}{10^{-7}}"),
        ("(1e-7)**2", r"\left(10^{-7}\right)^{2}"),
        ("sqrt(abs(a))/pi", r"\frac{\sqrt{\left|a\right|}}{\pi}"),
        ("sin(a)**2", r"\left(\sin\left(a\right)\right)^{2}"),
        ("log(a)*log10(b)", r"\ln\left(a\right) \, \log_{10}\left(b\right)"),
        ("min(a, b)", r"\min\left(a, b\right)"),
    ],
)
def test_structure_survives(formula, latex):
    assert to_latex(parse(formula, "abmh")) == latex


def test_digits_round_decimal_numbers_only():
    assert to_latex(parse("0.123456789*a + 123456789", "a"), 3) == r"0.123 \, a + 123456789"


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("x0", "x_{0}"),
        ("theta_1", r"\theta_{1}"),
        ("mass", r"\mathrm{mass}"),
        ("v_max", r"v_{\mathrm{max}}"),
        ("speed (m/s)", r"\text{speed (m/s)}"),
        ("100%", r"\text{100\%}"),
        ("a_b_c", r"\text{a\_b\_c}"),
        ("x_", r"\text{x\_}"),
    ],
)
def test_names_read_well_and_are_escaped(name, latex):
    assert name_to_latex(name) == latex
