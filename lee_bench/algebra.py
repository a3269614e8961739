"""Formulas as sympy expressions, and back."""

from __future__ import annotations

import math
from collections.abc import Callable

import sympy

from lee_bench.errors import ExpressionError
from lee_bench.expression import Constant, Expression, Node, Number, Operator, Variable

_LARGEST_POWER_BITS = 4096


class TooLargeError(Exception):
    """An exact power whose digits alone would fill the memory."""


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if base.is_Rational and exponent.is_Integer:
        bits = max(abs(int(base.p)), int(base.q)).bit_length()
        if bits > 1 and bits * abs(int(exponent)) > _LARGEST_POWER_BITS:
            raise TooLargeError(f"{base}**{exponent}" if bits < 64 else "a power of exact numbers")
    return sympy.Pow(base, exponent)


_TO_SYMPY: dict[str, Callable[..., sympy.Expr]] = {
    "add": sympy.Add,
    "sub": lambda a, b: a - b,
    "mul": sympy.Mul,
    "div": lambda a, b: a / b,
    "pow": _power,
    "neg": lambda a: -a,
    "inv": lambda a: 1 / a,
    "square": lambda a: _power(a, sympy.Integer(2)),
    "cube": lambda a: _power(a, sympy.Integer(3)),
    "sqrt": sympy.sqrt,
    "cbrt": sympy.cbrt,
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "exp": sympy.exp,
    "log": sympy.log,
    "log2": lambda a: sympy.log(a, 2),
    "log10": lambda a: sympy.log(a, 10),
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "cot": sympy.cot,
    "arcsin": sympy.asin,
    "arccos": sympy.acos,
    "arctan": sympy.atan,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
    "arcsinh": sympy.asinh,
    "arccosh": sympy.acosh,
    "arctanh": sympy.atanh,
    "min": sympy.Min,
    "max": sympy.Max,
}
_FROM_SYMPY = {
    function: name for name, function in _TO_SYMPY.items() if isinstance(function, type)
} | {sympy.Pow: "pow"}


def to_sympy(expression: Expression, pi: sympy.Expr = sympy.pi) -> sympy.Expr:
    """Translate a formula node by node; literals with a point become floats.

    Args:
        expression: the formula.
        pi: what stands for pi.

    Raises:
        TooLargeError: the formula holds an exact power such as ``9**9**9``.
    """

    def leaf(node: Node) -> sympy.Expr:
        match node:
            case Variable(name):
                return sympy.Symbol(name)
            case Constant(name):
                return pi if name == "pi" else sympy.E
            case Number(value):
                return sympy.Integer(value) if isinstance(value, int) else sympy.Float(value)

    return expression.fold(leaf, lambda op, args: _TO_SYMPY[op.name](*args))


def from_sympy(expr: sympy.Expr) -> Expression:
    """Translate back.

    Raises:
        ExpressionError: sympy made something that is no formula here (infinity, i, an integral).
    """
    nodes: list[Node] = []
    for part in sympy.postorder_traversal(expr):
        kind, count = type(part), len(part.args)
        if isinstance(part, sympy.Symbol):
            nodes.append(Variable(part.name))
        elif part in (sympy.pi, sympy.E):
            nodes.append(Constant("pi" if part is sympy.pi else "e"))
        elif isinstance(part, sympy.Integer):
            value = int(part)
            nodes.append(Number(value if abs(value) < 10**15 else _float(part)))
        elif isinstance(part, sympy.Rational):
            nodes += [Number(int(part.p)), Number(int(part.q)), Operator("div", 2)]
        elif isinstance(part, sympy.Float):
            nodes.append(Number(_float(part)))
        elif kind in (sympy.Add, sympy.Mul, sympy.Min, sympy.Max) and count > 1:
            nodes += [Operator(_FROM_SYMPY[kind], 2)] * (count - 1)
        elif kind in _FROM_SYMPY:
            nodes.append(Operator(_FROM_SYMPY[kind], count))
        else:
            raise ExpressionError(f"sympy's {part} is not part of a formula")
    return Expression(tuple(nodes))


def _float(number: sympy.Expr) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ExpressionError(f"the constant {number} is beyond float64")
    return value
