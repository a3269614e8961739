"""Formulas in LaTeX, in the very structure in which they were found.

sympy's printer is for expressions that sympy has rearranged; here ``(a - b)/2`` stays a fraction.
What comes out needs amsmath, which MathJax, KaTeX and Jupyter have.
"""

from __future__ import annotations

import re

from lee_bench.expression import Constant, Expression, Node, Number, Operator, Variable

_SUM, _PRODUCT, _SIGNED, _FRACTION, _POWER, _ATOM = range(6)  # what binds tighter comes later
_Part = tuple[str, int]

GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi",
    "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi",
    "Omega",
}  # fmt: skip
_NAME = re.compile(r"([A-Za-z]+)(?:_?(\d+))?|([A-Za-z]+)_([A-Za-z0-9]+)", re.ASCII)
_SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_FUNCTIONS = {
    "log": r"\ln",
    "log2": r"\log_{2}",
    "log10": r"\log_{10}",
    "sign": r"\operatorname{sgn}",
    "arcsinh": r"\operatorname{arsinh}",
    "arccosh": r"\operatorname{arcosh}",
    "arctanh": r"\operatorname{artanh}",
}  # the others are called in LaTeX what they are called here


def split_name(name: str) -> tuple[str, str] | None:
    """Letters and index ('' if there is none) of a name that reads as a symbol; else None."""
    match = _NAME.fullmatch(name)
    return match and (match[1] or match[3], match[2] or match[4] or "")


def escape(text: str) -> str:
    """Text that TeX prints as it is."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def name_to_latex(name: str) -> str:
    """A column's name: ``theta1`` as a symbol with an index, ``speed (m/s)`` as text."""
    parts = split_name(name)
    if parts is None:
        return rf"\text{{{escape(name)}}}"
    head, index = parts
    if head in GREEK:
        head = f"\\{head}"
    elif len(head) > 1:
        head = rf"\mathrm{{{head}}}"
    if not index:
        return head
    return f"{head}_{{{index}}}" if index.isdigit() else rf"{head}_{{\mathrm{{{index}}}}}"


def to_latex(expression: Expression, digits: int | None = None) -> str:
    """Print a formula for people.

    Args:
        expression: the formula.
        digits: significant digits of decimal numbers; None prints them exactly.
    """

    def leaf(node: Node) -> _Part:
        match node:
            case Variable(name):
                return name_to_latex(name), _ATOM
            case Constant(name):
                return (r"\pi" if name == "pi" else r"\mathrm{e}"), _ATOM
            case Number(value):
                return _number(value, digits)
        raise AssertionError(node)

    return expression.fold(leaf, _apply)[0]


def written(value: int | float, digits: int | None) -> str:
    """A number as Python writes it, decimals cut to so many significant digits if told."""
    if digits is not None and isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value) if isinstance(value, int) else repr(float(value))


def _number(value: int | float, digits: int | None) -> _Part:
    text = written(value, digits)
    mantissa, _, exponent = text.partition("e")
    if exponent:
        power = f"10^{{{int(exponent)}}}"
        sign = "-" if mantissa.startswith("-") else ""
        one = float(mantissa) in (1, -1)
        text = f"{sign}{power}" if one else rf"{mantissa} \cdot {power}"
    if value < 0:
        return text, _SIGNED
    return text, (_PRODUCT if exponent else _ATOM)


def _apply(op: Operator, args: list[_Part]) -> _Part:
    first, second = args[0], args[-1]
    match op.name:
        case "add" | "sub":
            sign = "+" if op.name == "add" else "-"
            right = second[0]
            if right.startswith("-") or (op.name == "sub" and second[1] == _SUM):
                right = _in_parentheses(right)
            return f"{first[0]} {sign} {right}", _SUM
        case "mul":
            text = _times(first, second)
            return text, (_SIGNED if text.startswith("-") else _PRODUCT)
        case "neg":
            return f"-{_wrapped(first, _PRODUCT)}", _SIGNED
        case "div" | "inv":
            over = first[0] if op.name == "div" else "1"
            return rf"\frac{{{over}}}{{{second[0]}}}", _FRACTION
        case "pow":
            return f"{_wrapped(first, _ATOM)}^{{{second[0]}}}", _POWER
        case "square" | "cube":
            return f"{_wrapped(first, _ATOM)}^{{{2 if op.name == 'square' else 3}}}", _POWER
        case "sqrt":
            return rf"\sqrt{{{first[0]}}}", _ATOM
        case "cbrt":
            return rf"\sqrt[3]{{{first[0]}}}", _ATOM
        case "abs":
            return rf"\left|{first[0]}\right|", _ATOM
        case name:
            function = _FUNCTIONS.get(name, f"\\{name}")
            return function + _in_parentheses(", ".join(text for text, _ in args)), _FRACTION


def _times(left: _Part, right: _Part) -> str:
    a, b = _wrapped(left, _PRODUCT), _wrapped(right, _PRODUCT)
    if left[1] == _SIGNED:
        a = left[0]  # no parentheses at the front: the product is signed then
    digit_last, number_first = a[-1].isdigit(), b[0].isdigit() or b.startswith(r"\frac")
    return a + (r" \cdot " if b[0].isdigit() or (digit_last and number_first) else r" \, ") + b


def _wrapped(part: _Part, at_least: int) -> str:
    text, level = part
    return text if level >= at_least and level != _SIGNED else _in_parentheses(text)


def _in_parentheses(text: str) -> str:
    return rf"\left({text}\right)"
