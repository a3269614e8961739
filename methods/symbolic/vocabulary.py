"""Prefix tokens: the alphabet in which expressions are sampled, decoded, evaluated and fitted.

An expression is a row of token ids in prefix order (`* C sin x0`), right padded with `PAD`; a batch
is an int64 matrix (B, L). The numbers behind its `C` placeholders stand in a float matrix (B, K),
column k holding the k-th placeholder of the row in prefix order, counted from the left.

Every node's first argument follows it directly, its second argument follows the whole first one,
and the constants of a subtree are neighbours in the row. All array code of this package uses that.

Why these tokens: `inv`, `square`, `cube` and `sqrt` are the powers that occur most in science and
cost one token instead of two; `pow` keeps all others reachable (x^1.5, 2^x, x^C, of which the last
would cost four tokens as exp(C*log(x))). Five integers make all small multiples and fractions in at
most three tokens; other numbers are constants. There is no zero: an expression that holds one has a
shorter form without. Ids are part of every saved model: append, never reorder.

Needs numpy, and lee_bench.expression to read and print formulas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lee_bench.expression import (
    Constant,
    Expression,
    Node,
    Number,
    Operator,
    Variable,
    parse,
)

SPECIAL_NAMES = ("<pad>", "<bos>", "<eos>")
NUMBER_NAMES = ("C", "pi", "1", "2", "3", "4", "5")
VARIABLE_NAMES = tuple(f"x{i}" for i in range(10))
UNARY_NAMES = (
    *("neg", "inv", "square", "cube", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh"),
    *("arcsin", "arccos", "arctan", "abs"),
)
BINARY_NAMES = ("+", "-", "*", "/", "pow")

NAMES = SPECIAL_NAMES + NUMBER_NAMES + VARIABLE_NAMES + UNARY_NAMES + BINARY_NAMES
ID = {name: i for i, name in enumerate(NAMES)}
SIZE = len(NAMES)
MAX_VARIABLES = len(VARIABLE_NAMES)

PAD, BOS, EOS = (ID[name] for name in SPECIAL_NAMES)
CONSTANT, PI = ID["C"], ID["pi"]
FIRST_VARIABLE = ID["x0"]
INTEGERS = {value: ID[str(value)] for value in range(1, 6)}

NEG, INV, SQUARE, CUBE, SQRT, EXP, LOG, SIN, COS, TAN, TANH, ARCSIN, ARCCOS, ARCTAN, ABS = (
    ID[name] for name in UNARY_NAMES
)
ADD, SUB, MUL, DIV, POW = (ID[name] for name in BINARY_NAMES)


def _mask(names: Sequence[str]) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[[ID[name] for name in names]] = True
    mask.flags.writeable = False
    return mask


# Tables over ids, each of shape (SIZE,). ARITY counts arguments and is -1 for PAD, BOS and EOS.
IS_SPECIAL = _mask(SPECIAL_NAMES)
IS_VARIABLE = _mask(VARIABLE_NAMES)
IS_CONSTANT = _mask(("C",))
IS_LITERAL = _mask(NUMBER_NAMES[1:])
IS_UNARY = _mask(UNARY_NAMES)
IS_BINARY = _mask(BINARY_NAMES)
IS_LEAF = _mask(NUMBER_NAMES + VARIABLE_NAMES)
IS_COMMUTATIVE = _mask(("+", "*"))
ARITY = IS_UNARY + 2 * IS_BINARY.astype(np.int64) - IS_SPECIAL
ARITY.flags.writeable = False
# Values of pi and the integers; NaN everywhere else.
LITERAL_VALUE = np.full(SIZE, np.nan)
LITERAL_VALUE[PI] = np.pi
for _value, _id in INTEGERS.items():
    LITERAL_VALUE[_id] = _value
LITERAL_VALUE.flags.writeable = False


def encode(names: Sequence[str] | str, length: int | None = None) -> np.ndarray:
    """Token ids, int64 (L,), of a prefix list of names or of one string of them ("* C sin x0").

    `length` pads the row with PAD. Raises ValueError for an unknown name or a row that is too long.
    """
    names = names.split() if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in ID]
    if unknown:
        raise ValueError(f"unknown token {unknown[0]!r}; the vocabulary is {' '.join(NAMES)}")
    length = len(names) if length is None else length
    if len(names) > length:
        raise ValueError(f"the expression has {len(names)} tokens, more than {length}")
    row = np.full(length, PAD, dtype=np.int64)
    row[: len(names)] = [ID[name] for name in names]
    return row


def decode(tokens: np.ndarray) -> list[str]:
    """Names of one row of ids, without PAD."""
    return [NAMES[int(t)] for t in tokens if t != PAD]


def stack(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """One int64 matrix (B, L) of rows of different lengths, right padded with PAD."""
    matrix = np.full((len(rows), max((len(row) for row in rows), default=0)), PAD, dtype=np.int64)
    for row, out in zip(rows, matrix, strict=True):
        out[: len(row)] = row
    return matrix


def stack_values(rows: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """One float64 matrix (B, K) of the constants of each row, right padded with zeros."""
    matrix = np.zeros((len(rows), max((len(row) for row in rows), default=0)))
    for row, out in zip(rows, matrix, strict=True):
        out[: len(row)] = row
    return matrix


def lengths(tokens: np.ndarray) -> np.ndarray:
    """Number of tokens before the padding: (..., L) -> (...)."""
    return (np.asarray(tokens) != PAD).sum(-1)


def count_constants(tokens: np.ndarray) -> np.ndarray:
    """Number of constant placeholders: (..., L) -> (...)."""
    return (np.asarray(tokens) == CONSTANT).sum(-1)


def subtree_sizes(tokens: np.ndarray) -> np.ndarray:
    """Tokens in the subtree that starts at each position: int64 (B, L), 0 at the padding.

    The first argument of node i stands at i + 1, the second at i + 1 + sizes[i + 1]. Expects rows
    for which `is_valid` holds.
    """
    tokens = np.asarray(tokens)
    arity, rows = ARITY[tokens], np.arange(len(tokens))
    sizes = np.zeros((len(tokens), tokens.shape[1] + 1), dtype=np.int64)
    for i in range(tokens.shape[1] - 1, -1, -1):
        first = np.where(arity[:, i] > 0, sizes[:, i + 1], 0)
        second_at = np.minimum(i + 1 + first, tokens.shape[1])
        second = np.where(arity[:, i] > 1, sizes[rows, second_at], 0)
        sizes[:, i] = np.where(arity[:, i] >= 0, 1 + first + second, 0)
    return sizes[:, :-1]


def is_valid(tokens: np.ndarray) -> np.ndarray:
    """Whether each row is one complete prefix expression followed only by PAD: (B, L) -> bool (B,).

    BOS and EOS belong to sequences, not to expressions, and make a row invalid.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2:
        raise ValueError(f"tokens must have shape (B, L), got {tokens.shape}")
    if tokens.shape[1] == 0 or ((tokens < 0) | (tokens >= SIZE)).any():
        return np.zeros(len(tokens), dtype=bool)
    used = tokens != PAD
    # Arguments still owed after each token: one before the first, then +arity - 1 for each token.
    owed = 1 + np.cumsum(np.where(used, ARITY[tokens] - 1, 0), axis=1)
    n = used.sum(1)
    last = np.clip(n - 1, 0, None)
    packed = (used == (np.arange(tokens.shape[1]) < n[:, None])).all(1)
    closed = np.take_along_axis(owed, last[:, None], 1)[:, 0] == 0
    open_before = (np.where(np.arange(tokens.shape[1]) < last[:, None], owed, 1) > 0).all(1)
    plain = ~(IS_SPECIAL[tokens] & used).any(1)
    return (n > 0) & packed & closed & open_before & plain


# Functions of the formula language that have no token, written in ones that have. They are equal
# wherever both are defined, but for rounding where terms cancel (arcsinh of large negative
# numbers, min and max of very different ones); `sign` and `cbrt` have no such form at zero and are
# refused.
_REWRITTEN = {
    name: parse(text, ("u", "v"))
    for name, text in {
        "log2": "log(u)/log(2)",
        "log10": "log(u)/log(2*5)",
        "cot": "1/tan(u)",
        "sinh": "(exp(u) - exp(-u))/2",
        "cosh": "(exp(u) + exp(-u))/2",
        "arcsinh": "log(u + sqrt(u**2 + 1))",
        "arccosh": "log(u + sqrt(u - 1)*sqrt(u + 1))",
        "arctanh": "log((1 + u)/(1 - u))/2",
        "min": "(u + v - abs(u - v))/2",
        "max": "(u + v + abs(u - v))/2",
    }.items()
}
_DIRECT = {"add": ADD, "sub": SUB, "mul": MUL, "div": DIV, "pow": POW}
_DIRECT |= {name: ID[name] for name in UNARY_NAMES}
# Powers that have tokens of their own.
_POWERS = {
    2.0: (SQUARE,), 3.0: (CUBE,), 0.5: (SQRT,), 4.0: (SQUARE, SQUARE), 1.0: (),
    -1.0: (INV,), -2.0: (INV, SQUARE), -3.0: (INV, CUBE), -0.5: (INV, SQRT),
}  # fmt: skip

_Part = tuple[list[int], list[float]]  # tokens and constants of a subtree


def _number(value: float) -> _Part:
    if value in INTEGERS:
        return [INTEGERS[value]], []
    if -value in INTEGERS:
        return [NEG, INTEGERS[-value]], []
    return [CONSTANT], [float(value)]


def _fixed_value(tokens: list[int], constants: list[float]) -> float | None:
    """The value of an exponent written with numbers, signs and fractions alone, else None."""
    stack, left = [], list(constants)
    for token in reversed(tokens):
        if token == CONSTANT:
            stack.append(left.pop())
        elif IS_LITERAL[token]:
            stack.append(LITERAL_VALUE[token])
        elif token == NEG:
            stack.append(-stack.pop())
        elif token in (INV, DIV):
            numerator = stack.pop() if token == DIV else 1.0
            stack.append(numerator / stack.pop() if stack[-1] else np.nan)
        else:
            return None
    return float(stack.pop())


def _apply(name: str, parts: list[_Part]) -> _Part:
    tokens = [t for part in parts for t in part[0]]
    constants = [c for part in parts for c in part[1]]
    if name == "pow":
        (base, inner), exponent = parts[0], _fixed_value(*parts[1])
        if base == [EXP, INTEGERS[1]]:  # e**u
            return [EXP, *parts[1][0]], constants
        if exponent in _POWERS:
            return [*_POWERS[exponent], *base], inner
    if name == "div" and parts[0][0] == [INTEGERS[1]]:
        return [INV, *parts[1][0]], constants
    if name not in _DIRECT:
        raise ValueError(f"there is no token for the function '{name}'")
    return [_DIRECT[name], *tokens], constants


def from_expression(
    expression: Expression, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, int64 (L,), and constants, float64 (K,), of a formula.

    Integers from 1 to 5 and pi keep their tokens, every other number becomes a constant, small
    powers take their short tokens, and functions without a token are written in others.

    Args:
        expression: a parsed formula.
        names: the variables in column order; x0, x1, ... by default.

    Raises:
        ValueError: an unknown or an eleventh variable, or a function that cannot be written.
    """
    names = VARIABLE_NAMES if names is None else names
    columns = {name: i for i, name in enumerate(names)}

    def leaf(node: Node) -> _Part:
        match node:
            case Variable(name):
                if columns.get(name, MAX_VARIABLES) >= MAX_VARIABLES:
                    raise ValueError(
                        f"'{name}' is not among the first {MAX_VARIABLES} variables: "
                        f"{', '.join(names)}"
                    )
                return [FIRST_VARIABLE + columns[name]], []
            case Constant(name):
                return ([PI], []) if name == "pi" else ([EXP, INTEGERS[1]], [])
            case Number(value):
                return _number(value)
        raise AssertionError(node)

    def apply(op: Operator, parts: list[_Part]) -> _Part:
        if op.name not in _REWRITTEN:
            return _apply(op.name, parts)
        arguments = dict(zip("uv", parts, strict=False))
        return _REWRITTEN[op.name].fold(
            lambda node: arguments[node.name] if isinstance(node, Variable) else leaf(node),
            lambda inner, inner_parts: _apply(inner.name, inner_parts),
        )

    tokens, constants = expression.fold(leaf, apply)
    return np.array(tokens, dtype=np.int64), np.array(constants, dtype=np.float64)


def from_infix(text: str, names: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`from_expression` of a text; raises ExpressionError where it cannot be read."""
    return from_expression(parse(text, VARIABLE_NAMES if names is None else names), names)


_NAME_OF = {token: name for name, token in _DIRECT.items()}
_AS_POWER = {SQUARE: 2, CUBE: 3}


def to_expression(
    tokens: np.ndarray, constants: np.ndarray | None = None, names: Sequence[str] | None = None
) -> Expression:
    """The formula of one row, in plain operators (`inv`, `square`, `cube` become / and **).

    Args:
        tokens: valid prefix row (L,), padding allowed.
        constants: values (K,) of its placeholders; without them they print as variables `C`.
        names: the variables in column order; x0, x1, ... by default.

    Raises:
        ValueError: the row is no complete expression, or there are too few constants or names.
    """
    row = np.asarray(tokens)
    if not is_valid(row[None])[0]:
        raise ValueError(f"not one complete prefix expression: {' '.join(decode(row))}")
    row = row[row != PAD]
    names = VARIABLE_NAMES if names is None else names
    needed = int(count_constants(row))
    if constants is not None and len(constants) < needed:
        raise ValueError(f"{needed} constants are needed, {len(constants)} were given")
    stack: list[tuple[Node, ...]] = []
    for token in row[::-1].tolist():
        if token == CONSTANT:
            needed -= 1
            node = Variable("C") if constants is None else Number(float(constants[needed]))
            stack.append((node,))
        elif token == PI:
            stack.append((Constant("pi"),))
        elif IS_LITERAL[token]:
            stack.append((Number(int(LITERAL_VALUE[token])),))
        elif IS_VARIABLE[token]:
            if token - FIRST_VARIABLE >= len(names):
                raise ValueError(f"no name for {NAMES[token]}: {len(names)} variables were named")
            stack.append((Variable(names[token - FIRST_VARIABLE]),))
        elif token == INV:
            stack.append((Number(1), *stack.pop(), Operator("div", 2)))
        elif token in _AS_POWER:
            stack.append((*stack.pop(), Number(_AS_POWER[token]), Operator("pow", 2)))
        elif IS_UNARY[token]:
            stack.append((*stack.pop(), Operator(_NAME_OF[token], 1)))
        else:
            first, second = stack.pop(), stack.pop()
            stack.append((*first, *second, Operator(_NAME_OF[token], 2)))
    return Expression(stack.pop())


def to_infix(
    tokens: np.ndarray,
    constants: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    digits: int | None = None,
) -> str:
    """Readable text of one row: `to_expression`, printed with `digits` significant digits."""
    return to_expression(tokens, constants, names).to_infix(digits)
