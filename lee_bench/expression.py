"""Formulas: one safe parser, printing, float64 evaluation and node counts.

An `Expression` is a flat postfix program, so nothing here recurses and nothing is ever evaluated
as code: a text from a method is read by a whitelist of operators, functions, numbers and the
task's own variable names. sympy is not imported; what needs it lives in `lee_bench.algebra`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lee_bench.errors import ExpressionError

T = TypeVar("T")

MAX_CHARACTERS = 200_000
MAX_NODES = 20_000
_VALUES_AT_ONCE = 1 << 24  # float64 values an evaluation may hold: 128 MiB


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; an int stays an int, because exact and rounded numbers are graded apart."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Constant:
    """A named constant: ``pi`` or ``e``."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A feature of the task."""

    name: str


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator or function applied to the `arity` values before it."""

    name: str
    arity: int


Node = Number | Constant | Variable | Operator


def _compose(outer: np.ufunc, inner: np.ufunc) -> Callable[[np.ndarray], np.ndarray]:
    return lambda a: outer(inner(a))


# name -> (arity, float64 meaning). Outside a function's domain the value is NaN or infinite.
FUNCTIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul": (2, np.multiply),
    "div": (2, np.divide),
    "pow": (2, np.power),
    "neg": (1, np.negative),
    "inv": (1, np.reciprocal),
    "square": (1, np.square),
    "cube": (1, lambda a: a * a * a),
    "sqrt": (1, np.sqrt),
    "cbrt": (1, np.cbrt),
    "abs": (1, np.abs),
    "sign": (1, np.sign),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "log2": (1, np.log2),
    "log10": (1, np.log10),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "tan": (1, np.tan),
    "cot": (1, _compose(np.reciprocal, np.tan)),
    "arcsin": (1, np.arcsin),
    "arccos": (1, np.arccos),
    "arctan": (1, np.arctan),
    "sinh": (1, np.sinh),
    "cosh": (1, np.cosh),
    "tanh": (1, np.tanh),
    "arcsinh": (1, np.arcsinh),
    "arccosh": (1, np.arccosh),
    "arctanh": (1, np.arctanh),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}
ALIASES = {
    "Abs": "abs", "ln": "log", "reciprocal": "inv", "safe_log": "log", "safe_sqrt": "sqrt",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}
RESERVED = frozenset(FUNCTIONS) | frozenset(ALIASES)

_BINARY = {
    "+": ("add", 1), "-": ("sub", 1), "*": ("mul", 2), "/": ("div", 2), "**": ("pow", 4),
    "^": ("pow", 4),
}  # fmt: skip
_UNARY_LEVEL = 3  # -x**2 is -(x**2), -x*y is (-x)*y
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z_])"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<symbol>\*\*|[-+*/^(),]))",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def is_variable_name(name: str) -> bool:
    """Whether a column may stand in a formula under this name."""
    return _IDENTIFIER.fullmatch(name) is not None and name not in RESERVED


@dataclass(frozen=True)
class Expression:
    """A formula as a postfix program.

    Attributes:
        nodes: operands before their operator; never empty, always exactly one result.
    """

    nodes: tuple[Node, ...]

    def __len__(self) -> int:
        """Raw node count: operators, functions, variables and constants, as written."""
        return len(self.nodes)

    def __str__(self) -> str:
        return self.to_infix()

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that occur."""
        return frozenset(node.name for node in self.nodes if isinstance(node, Variable))

    def fold(self, leaf: Callable[[Node], T], apply: Callable[[Operator, list[T]], T]) -> T:
        """Replace every node by a value, bottom up.

        Args:
            leaf: value of a `Number`, `Constant` or `Variable`.
            apply: value of an `Operator` from the values of its operands, in order.
        """
        stack: list[T] = []
        for node in self.nodes:
            if isinstance(node, Operator):
                operands = stack[len(stack) - node.arity :]
                del stack[len(stack) - node.arity :]
                stack.append(apply(node, operands))
            else:
                stack.append(leaf(node))
        (result,) = stack
        return result

    def evaluate(self, X: np.ndarray, features: Sequence[str]) -> np.ndarray:
        """Evaluate in float64.

        Args:
            X: observations, shape (n, d).
            features: names of the d columns.

        Returns:
            Values of shape (n,); NaN or infinite where the formula is not defined.

        Raises:
            ExpressionError: the formula uses a variable that is not a feature.
        """
        missing = sorted(self.variables - set(features))
        if missing:
            raise ExpressionError(f"the formula uses '{missing[0]}', which is no feature")
        places = {name: i for i, name in enumerate(features)}
        result = np.empty(len(X))
        step = max(1, _VALUES_AT_ONCE // len(self))  # a deep formula keeps many columns waiting

        def leaf(node: Node) -> np.ndarray:
            if isinstance(node, Variable):
                return columns[places[node.name]]
            return np.float64(CONSTANTS[node.name] if isinstance(node, Constant) else node.value)

        for start in range(0, len(X), step):
            columns = np.ascontiguousarray(X[start : start + step].T, dtype=np.float64)
            with np.errstate(all="ignore"):
                value = self.fold(leaf, lambda op, args: FUNCTIONS[op.name][1](*args))
            result[start : start + step] = value
        return result

    def substitute(self, replacements: Mapping[str, Expression]) -> Expression:
        """Put expressions in place of variables, e.g. to undo a standardisation."""
        nodes: list[Node] = []
        for node in self.nodes:
            known = isinstance(node, Variable) and node.name in replacements
            nodes.extend(replacements[node.name].nodes if known else (node,))
        return Expression(tuple(nodes))

    def to_infix(self, digits: int | None = None) -> str:
        """Print with as few parentheses as the parser needs to read the same formula back.

        Args:
            digits: significant digits of decimal numbers; None prints them exactly.
        """

        def leaf(node: Node) -> tuple[str, int]:
            if not isinstance(node, Number):
                return node.name, 9
            value = node.value
            if isinstance(value, int):
                text = str(value)
            else:  # numpy's own repr is no number
                text = repr(float(value)) if digits is None else f"{value:.{digits}g}"
                if math.isinf(float(text)):  # the largest numbers cannot be rounded up
                    text = repr(float(value))
            return text, (_UNARY_LEVEL if text[0] == "-" else 9)  # -0.0 too

        def wrap(operand: tuple[str, int], at_least: int) -> str:
            return operand[0] if operand[1] >= at_least else f"({operand[0]})"

        def second(operand: tuple[str, int], at_least: int) -> str:
            return f"({operand[0]})" if operand[0][0] == "-" else wrap(operand, at_least)

        def apply(op: Operator, args: list[tuple[str, int]]) -> tuple[str, int]:
            match op.name:
                case "add":
                    return f"{wrap(args[0], 1)} + {second(args[1], 2)}", 1
                case "sub":
                    return f"{wrap(args[0], 1)} - {second(args[1], 2)}", 1
                case "mul":
                    return f"{wrap(args[0], 2)}*{wrap(args[1], 4)}", 2
                case "div":
                    return f"{wrap(args[0], 2)}/{wrap(args[1], 4)}", 2
                case "pow":
                    return f"{wrap(args[0], 5)}**{wrap(args[1], 5)}", 4
                case "neg":
                    return f"-{wrap(args[0], 4)}", _UNARY_LEVEL
                case name:
                    return f"{name}({', '.join(text for text, _ in args)})", 9

        return self.fold(leaf, apply)[0]


def parse(text: str, features: Iterable[str]) -> Expression:
    """Read a formula. Only the grammar below is known; nothing is executed.

    Numbers, ``+ - * / ** ^``, parentheses, ``pi``, ``e``, the functions of `FUNCTIONS` (and the
    usual other names, `ALIASES`), and the features. A feature's name wins over a constant's, so
    variables called ``e``, ``I`` or ``gamma`` work.

    Args:
        text: infix formula.
        features: the variables that may occur.

    Raises:
        ExpressionError: says what cannot be read, and where.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"the formula has {len(text)} characters (limit {MAX_CHARACTERS})")
    return Expression(tuple(_Reader(text, frozenset(features)).read()))


class _Reader:
    """Dijkstra's shunting yard: operators wait on a stack until their operands are out."""

    def __init__(self, text: str, features: frozenset[str]) -> None:
        self.text, self.features = text, features
        self.output: list[Node] = []
        # waiting: ("(", function name or None, arguments so far) or (operator, precedence)
        self.waiting: list[tuple] = []

    def fail(self, problem: str, at: int) -> ExpressionError:
        near = self.text[max(0, at - 15) : at + 25]
        return ExpressionError(
            f"cannot read the formula at character {at + 1}: {problem} ({near!r})"
        )

    def emit(self, node: Node) -> None:
        is_negative_literal = (
            node == Operator("neg", 1) and self.output and isinstance(self.output[-1], Number)
        )
        if is_negative_literal:
            self.output[-1] = Number(-self.output[-1].value)
        else:
            self.output.append(node)
        if len(self.output) > MAX_NODES:
            raise ExpressionError(f"the formula has more than {MAX_NODES} nodes")

    def release(self, level: int) -> None:
        """Emit waiting operators that bind at least as tightly as `level`."""
        while self.waiting and self.waiting[-1][0] != "(" and self.waiting[-1][1] >= level:
            name = self.waiting.pop()[0]
            self.emit(Operator(name, FUNCTIONS[name][0]))

    def read(self) -> list[Node]:
        at, operand_next = 0, True
        text = self.text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.fail(f"unexpected {text[at:].lstrip()[0]!r}", at)
            start, at = match.start(match.lastgroup), match.end()
            word = match[match.lastgroup]
            handle = self._operand if operand_next else self._operator
            operand_next = handle(word, match.lastgroup, start, text, at)
        if operand_next:
            raise self.fail("something is missing at the end", len(text))
        self.release(0)
        if self.waiting:
            raise self.fail("a parenthesis is not closed", len(text))
        return self.output

    def _operand(self, word: str, kind: str, start: int, text: str, end: int) -> bool:
        if kind == "number":
            value = int(word) if word.isdigit() and len(word) <= 15 else float(word)
            if not math.isfinite(value):
                raise self.fail(f"{word} is not a finite number", start)
            self.emit(Number(value))
            return False
        if kind == "name":
            called = text[end:].lstrip().startswith("(")
            function = ALIASES.get(word, word)
            if called and function in FUNCTIONS:
                self.waiting.append(("call", math.inf, function))
                return True
            if word in self.features:
                self.emit(Variable(word))
            elif word.lower() in CONSTANTS and not called:
                self.emit(Constant(word.lower()))
            else:
                what = "function" if called else "variable"
                raise self.fail(f"there is no {what} '{word}'", start)
            return False
        if word == "(":
            call = self.waiting.pop()[2] if self.waiting and self.waiting[-1][0] == "call" else None
            self.waiting.append(("(", call, 1))
            return True
        if word == "-":
            self.waiting.append(("neg", _UNARY_LEVEL))
            return True
        if word == "+":
            return True
        raise self.fail(f"a value is missing before {word!r}", start)

    def _operator(self, word: str, kind: str, start: int, text: str, end: int) -> bool:
        if kind == "symbol" and word in _BINARY:
            name, level = _BINARY[word]
            self.release(level + (name == "pow"))  # powers group to the right
            self.waiting.append((name, level))
            return True
        if kind == "symbol" and word in "),":
            self.release(0)
            if not self.waiting or (word == "," and self.waiting[-1][1] is None):
                raise self.fail(f"unexpected {word!r}", start)
            _, function, arguments = self.waiting.pop()
            if word == ",":
                self.waiting.append(("(", function, arguments + 1))
                return True
            if function is not None:
                arity = FUNCTIONS[function][0]
                if arguments != arity:
                    raise self.fail(f"{function} takes {arity} argument(s), not {arguments}", start)
                self.output.append(Operator(function, arity))
            return False
        raise self.fail(f"an operator is missing before {word!r}", start)
