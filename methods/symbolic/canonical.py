"""Canonical form: one way to write what can be written in many, without a computer algebra system.

An expression is read into sums of products and printed back by fixed rules. The form is

- a sum is (terms added) - (terms subtracted), a product is (numerator) / (denominator): at most one
  `-` and one `/` each, `+` and `*` nested to the right, operands in lexicographic order of their
  token ids, that is numbers, variables, functions, operators;
- factors of equal power share it: square(x/y); a product has one exp, one sqrt and one abs;
- a sum gives up what all its terms share: x*y + x*z is x*(y + z), 2*x + 4*y is 2*(x + 2*y);
- signs leave even and odd functions, and a difference begins with its first term where the sign
  can go elsewhere: square(x1 - x0) is square(x0 - x1);
- numbers fold exactly (rationals up to 1000/1000, perfect squares), `C` takes in every number it
  meets, and no two constants are left where one has the same effect: (C*x + C)/(C*y + C) is
  (C + C*x)/(C + y);
- inverse pairs vanish: exp(log(x)), log(exp(x)), sin(arcsin(x)), square(sqrt(x)), x/x, x - x;
  sqrt(square(x)) is abs(x), exp(y*log(x)) is pow(x, y).

What is kept: wherever the input and its parts are finite the output has the same value; it may be
finite at more points (x/x at 0). For a skeleton, whose constants are still free, it can express at
least the functions that the input can. It is no decision procedure: nothing is multiplied out, so
equal functions may keep different forms, and `fingerprint` is there for them.

A placeholder is never equal to another one: sin(C*x) - sin(C*x) does not vanish. Where values are
given they follow the same rules, so the tokens are those of the skeleton unless two values are
equal or a function of a constant has no value (log of a negative).

Pure Python on purpose: the rules are many and branchy, and thousands of expressions a second a core
are enough for formulas that people give (`benchmark_sampler` prints the figure). The sampler, which
needs a hundred times more, does not call this module: it builds expressions that are canonical
already (see `trees`), and tests hold the two to each other. Searches tell functions apart by values
(`fingerprint`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from methods.symbolic import canonical_rules as rules
from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical_terms import Atom, Term, print_term

_ARITY = tok.ARITY.tolist()
_LEAF = {token: Term(value) for value, token in tok.INTEGERS.items()}
_LEAF[tok.PI] = Term(factors={Atom(tok.PI, ((tok.PI,), ()), number=math.pi): 1})
for _token in np.flatnonzero(tok.IS_VARIABLE).tolist():
    _LEAF[_token] = Term(factors={Atom(_token, ((_token,), ())): 1})
_POWER = {tok.INV: -1, tok.SQUARE: 2, tok.CUBE: 3}


def _unary(op: int, a: rules.Value) -> rules.Value:
    if op == tok.NEG:
        return rules.scaled(a, Term(-1))
    if op == tok.EXP:
        return rules.exp(a)
    if op in _POWER:
        return rules.power(rules.close(a), _POWER[op])
    if op == tok.SQRT:
        return rules.sqrt(rules.close(a))
    if op == tok.ABS:
        return rules.abs_(rules.close(a))
    return rules.function(op, a)


def _binary(op: int, a: rules.Value, b: rules.Value) -> rules.Value:
    if op == tok.ADD:
        return rules.add(a, b)
    if op == tok.SUB:
        return rules.add(a, rules.scaled(b, Term(-1)))
    if op == tok.POW:
        return rules.pow_(rules.close(a), b)
    for sign, other in ((a, b), (b, a)):
        # A sum times 1 or -1 stays open for other terms to join.
        plain = isinstance(sign, Term) and not sign.factors and sign.free is None
        if plain and abs(sign.value) == 1 and (sign is b or op == tok.MUL):
            return rules.scaled(other, sign)
    b = rules.close(b)
    return rules.multiply(rules.close(a), b if op == tok.MUL else rules.power(b, -1))


def canonical_row(
    tokens: Sequence[int], constants: Sequence[float] | None = None
) -> tuple[list[int], list[float]]:
    """The canonical form of one expression.

    Args:
        tokens: one complete prefix expression without padding.
        constants: the values of its placeholders in prefix order; None for a skeleton.

    Returns:
        Tokens, and the values of their placeholders (meaningless for a skeleton). An expression
        that has a part without a value anywhere (1/0), or whose constants would overflow, comes
        back unchanged.
    """
    tokens = list(tokens)
    skeleton = constants is None
    constants = (
        _stand_ins(tokens.count(tok.CONSTANT)) if skeleton else [float(c) for c in constants]
    )
    left = list(constants)
    stack: list[rules.Value] = []
    try:
        for token in reversed(tokens):
            if token == tok.CONSTANT:
                stack.append(Term(free=left.pop()))
            elif _ARITY[token] == 0:
                stack.append(_LEAF[token])
            elif _ARITY[token] == 1:
                stack.append(_unary(token, stack.pop()))
            else:
                stack.append(_binary(token, stack.pop(), stack.pop()))
        row, values = print_term(rules.close(stack.pop()))
    except ArithmeticError:
        return tokens, constants
    if not skeleton and not all(map(math.isfinite, values)):
        return tokens, constants
    return list(row), list(values)


def _stand_ins(n: int) -> list[float]:
    """Distinct numbers in place of unknown ones: no rule may see them as equal or special."""
    return [1 + math.fmod((i + 1) * 0.6180339887498949, 1) for i in range(n)]


def canonical(
    tokens: np.ndarray, constants: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The canonical forms of a batch; `canonical_row` says what is kept.

    Args:
        tokens: int64 (B, L), valid prefix rows padded with PAD.
        constants: (B, K) values of the placeholders, or None for skeletons.

    Returns:
        Tokens (B, L'), L' the longest row that came out, and constants float64 (B, K') padded with
        zeros, or None for skeletons.
    """
    rows, values = [], []
    for i, row in enumerate(np.asarray(tokens)):
        row = row[row != tok.PAD].tolist()
        given = None if constants is None else constants[i][: row.count(tok.CONSTANT)]
        row, out = canonical_row(row, given)
        rows.append(row)
        values.append(out)
    if constants is None:
        return tok.stack(rows), None
    return tok.stack(rows), tok.stack_values(values)


def unique_skeletons(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Canonical skeletons without repetition, in order of first appearance.

    Args:
        tokens: int64 (B, L), valid prefix rows padded with PAD.

    Returns:
        Canonical tokens (U, L') and, for each row of the input, its number among them, int64 (B,).
    """
    found: dict[tuple[int, ...], int] = {}
    known: dict[bytes, int] = {}  # spares rows that were seen in the same dress
    inverse = np.empty(len(tokens), dtype=np.int64)
    for i, row in enumerate(np.ascontiguousarray(tokens)):
        dress = row.tobytes()
        if dress not in known:
            form = tuple(canonical_row(row[row != tok.PAD].tolist())[0])
            known[dress] = found.setdefault(form, len(found))
        inverse[i] = known[dress]
    return tok.stack(list(found)), inverse
