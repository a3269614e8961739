"""Formulas in MathML, which browsers typeset by themselves: nothing to load, nothing to run.

The structure is that in which a formula was found, as in `lee_bench.latex`. Only elements of MathML
Core are used (https://www.w3.org/TR/mathml-core/).
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import NamedTuple

from lee_bench.expression import Constant, Expression, Node, Number, Operator, Variable
from lee_bench.latex import GREEK, split_name, written

_SUM, _PRODUCT, _SIGNED, _FRACTION, _POWER, _ATOM = range(6)  # what binds tighter comes later
_MINUS = '<mo form="prefix">−</mo>'
_TIMES, _APPLY = '<mo rspace="0.17em">&#x2062;</mo>', "<mo>&#x2061;</mo>"  # not seen, but read out
_FUNCTIONS = {
    "log": "<mi>ln</mi>",
    "log2": "<msub><mi>log</mi><mn>2</mn></msub>",
    "log10": "<msub><mi>log</mi><mn>10</mn></msub>",
    "sign": "<mi>sgn</mi>",
    "arcsinh": "<mi>arsinh</mi>",
    "arccosh": "<mi>arcosh</mi>",
    "arctanh": "<mi>artanh</mi>",
}


class _Part(NamedTuple):
    """A piece of a formula.

    Attributes:
        terms: its markup; more than one piece where a sum may be broken into lines.
        level: how tightly it binds.
        first, last: "-", "digit", "fraction" or "" at its ends, for signs and dots beside it.
    """

    terms: tuple[str, ...]
    level: int
    first: str = ""
    last: str = ""

    @property
    def row(self) -> str:
        """The markup as one element."""
        return f"<mrow>{''.join(self.terms)}</mrow>"


def name_to_mathml(name: str) -> str:
    """A column's name: ``theta1`` as a symbol with an index, ``speed (m/s)`` as text."""
    parts = split_name(name)
    if parts is None:
        return f"<mtext>{escape(name)}</mtext>"
    head, index = parts
    symbol = f"<mi>{_greek(head) if head in GREEK else head}</mi>"
    if not index:
        return symbol
    below = f"<mn>{index}</mn>" if index.isdigit() else f"<mtext>{index}</mtext>"
    return f"<msub>{symbol}{below}</msub>"


def to_mathml(expression: Expression, digits: int | None = None) -> str:
    """Print a formula for people, as one ``<math>`` element for each term of its outermost sum.

    Browsers do not break a line inside of an element, but do between them.

    Args:
        expression: the formula.
        digits: significant digits of decimal numbers; None prints them exactly.
    """

    def leaf(node: Node) -> _Part:
        match node:
            case Variable(name):
                return _Part((name_to_mathml(name),), _ATOM)
            case Constant(name):
                return _Part(("<mi>π</mi>" if name == "pi" else "<mi>e</mi>",), _ATOM)
            case Number(value):
                return _number(value, digits)
        raise AssertionError(node)

    return "<wbr/>".join(f"<math>{term}</math>" for term in expression.fold(leaf, _apply).terms)


def _greek(name: str) -> str:
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    return unicodedata.lookup(f"GREEK {case} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")


def _number(value: int | float, digits: int | None) -> _Part:
    text = written(value, digits)
    mantissa, _, exponent = text.removeprefix("-").partition("e")
    markup = f"<mn>{mantissa}</mn>"
    if exponent:
        power = int(exponent)
        size = f"<mn>{abs(power)}</mn>"
        raised = f"<msup><mn>10</mn><mrow>{_MINUS if power < 0 else ''}{size}</mrow></msup>"
        markup = raised if float(mantissa) == 1 else f"{markup}<mo>·</mo>{raised}"
    if text.startswith("-"):
        return _Part((_MINUS + markup,), _SIGNED, "-", "digit")
    return _Part((markup,), _PRODUCT if exponent else _ATOM, "digit", "digit")


def _apply(op: Operator, args: list[_Part]) -> _Part:
    first, second = args[0], args[-1]
    match op.name:
        case "add" | "sub":
            sign = f'<mo form="infix">{"+" if op.name == "add" else "−"}</mo>'
            nested = second.first == "-" or (op.name == "sub" and second.level == _SUM)
            right = (_in_parentheses(second),) if nested else second.terms
            terms = (*first.terms, sign + right[0], *right[1:])
            return _Part(terms, _SUM, first.first, "" if nested else second.last)
        case "mul":
            return _times(first, second)
        case "neg":
            operand = _wrapped(first, _PRODUCT)
            return _Part((_MINUS + operand.terms[0],), _SIGNED, "-", operand.last)
        case "div" | "inv":
            over = first.row if op.name == "div" else "<mn>1</mn>"
            return _Part((f"<mfrac>{over}{second.row}</mfrac>",), _FRACTION, "fraction")
        case "pow":
            base = _wrapped(first, _ATOM)
            return _Part((f"<msup>{base.row}{second.row}</msup>",), _POWER, base.first)
        case "square" | "cube":
            base = _wrapped(first, _ATOM)
            power = "<mn>2</mn>" if op.name == "square" else "<mn>3</mn>"
            return _Part((f"<msup>{base.row}{power}</msup>",), _POWER, base.first)
        case "sqrt":
            return _Part((f"<msqrt>{first.row}</msqrt>",), _ATOM)
        case "cbrt":
            return _Part((f"<mroot>{first.row}<mn>3</mn></mroot>",), _ATOM)
        case "abs":
            bars = (f'<mo form="{form}" stretchy="true">|</mo>' for form in ("prefix", "postfix"))
            return _Part((f"<mrow>{first.row.join(bars)}</mrow>",), _ATOM)
        case name:
            function = _FUNCTIONS.get(name, f"<mi>{name}</mi>")
            listed = "<mo>,</mo>".join("".join(arg.terms) for arg in args)
            inner = f"<mrow><mo>(</mo>{listed}<mo>)</mo></mrow>"
            return _Part((function + _APPLY + inner,), _FRACTION)


def _times(left: _Part, right: _Part) -> _Part:
    a, b = _wrapped(left, _PRODUCT), _wrapped(right, _PRODUCT)
    if left.level == _SIGNED:
        a = left  # no parentheses at the front: the product is signed then
    dotted = b.first == "digit" or (b.first == "fraction" and a.last == "digit")
    dot = "<mo>·</mo>" if dotted else _TIMES
    level = _SIGNED if a.first == "-" else _PRODUCT
    return _Part((a.terms[0] + dot + b.terms[0],), level, a.first, b.last)


def _wrapped(part: _Part, at_least: int) -> _Part:
    """The part, in parentheses where it binds more loosely."""
    if part.level >= at_least and part.level != _SIGNED:
        return part
    return _Part((_in_parentheses(part),), _ATOM)


def _in_parentheses(part: _Part) -> str:
    return f"<mrow><mo>(</mo>{''.join(part.terms)}<mo>)</mo></mrow>"
