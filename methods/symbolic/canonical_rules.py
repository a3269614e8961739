"""The rules of `canonical`: how products, sums and functions of terms join.

A value on the way is a `Term`, or an open sum: a list of terms that others may still join. Closing
a sum (as factor, argument or result) draws out what its terms share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical_terms import (
    Atom,
    Term,
    free_count,
    numbers_in,
    print_sum,
    print_term,
    safely,
    without_numbers,
)

Value = Term | list[Term]

_ODD = {tok.SIN, tok.TAN, tok.TANH, tok.ARCSIN, tok.ARCTAN}
_FUNCTION: dict[int, Callable[[float], float]] = {
    tok.SQRT: math.sqrt, tok.EXP: math.exp, tok.LOG: math.log, tok.SIN: math.sin,
    tok.COS: math.cos, tok.TAN: math.tan, tok.TANH: math.tanh, tok.ARCSIN: math.asin,
    tok.ARCCOS: math.acos, tok.ARCTAN: math.atan, tok.ABS: math.fabs,
}  # fmt: skip
# outer -> inner, where outer(inner(u)) = u
_INVERSE = {tok.SIN: tok.ARCSIN, tok.COS: tok.ARCCOS, tok.TAN: tok.ARCTAN, tok.LOG: tok.EXP}
_AT_ZERO = {tok.COS: 1, **dict.fromkeys(_ODD, 0)}
_JOINED = {tok.EXP, tok.SQRT, tok.ABS, tok.POW, tok.ADD}
_HIGHEST = 100  # whole powers beyond it are left alone


class UndefinedError(ArithmeticError):
    """The expression has no value anywhere, such as 1/0, or powers too high to handle."""


def rational(p: int, q: int = 1) -> Term:
    """p/q as a term."""
    g = math.gcd(p, q)
    return Term(p // g, q // g)


# --- products -------------------------------------------------------------------------------------


def multiply(a: Term, b: Term) -> Term:
    """a*b."""
    if a.p == 0 or b.p == 0:
        return Term(0)
    free, front = None, Term()
    if a.free is not None or b.free is not None:
        free = a.value * b.value
    else:
        front = rational(a.p * b.p, a.q * b.q)
    factors = a.factors or b.factors
    if a.factors and b.factors:
        factors = dict(a.factors)
        for atom, exponent in b.factors.items():
            _count(factors, atom, exponent)
    return _tidy(Term(front.p, front.q, front.free if free is None else free, factors))


def _count(factors: dict[Atom, int], atom: Atom, exponent: int) -> None:
    total = factors.pop(atom, 0) + exponent
    if total:
        factors[atom] = total


def power(a: Term, n: int) -> Term:
    """a**n for a whole n."""
    if n == 0:
        return Term(1)
    if a.p == 0 and n > 0:
        return a
    if a.p == 0 or abs(n) > _HIGHEST:
        raise UndefinedError
    factors = {atom: e * n for atom, e in a.factors.items()}
    if a.free is not None:
        return _tidy(Term(free=safely(pow, a.free, n), factors=factors))
    p, q = (a.p**n, a.q**n) if n > 0 else (a.q**-n, a.p**-n)
    return _tidy(Term(-p if q < 0 else p, abs(q), factors=factors))


def _product(terms: Iterable[Term]) -> Term:
    result = Term()
    for term in terms:
        result = multiply(result, term)
    return result


def _tidy(term: Term) -> Term:
    """Restore the rules that hold between the factors of one product."""
    kinds = {atom.kind for atom in term.factors}
    if _JOINED.isdisjoint(kinds):
        return term
    for kind, join in ((tok.EXP, _join_exp), (tok.SQRT, _join_sqrt), (tok.ABS, _join_abs)):
        if kind in kinds:
            joined = join({a: e for a, e in term.factors.items() if a.kind == kind})
            if joined is not None:
                rest = {a: e for a, e in term.factors.items() if a.kind != kind}
                return multiply(Term(term.p, term.q, term.free, rest), joined)
    if tok.SQRT in kinds:
        term = _reduce_root(term)
    if tok.POW in kinds:
        term = _join_pow(term)
    if tok.ADD in kinds or (tok.EXP in kinds and term.free is not None):
        term = _place_constant(term)
    return term


def _join_exp(powers: dict[Atom, int]) -> Term | None:
    """exp(a)**2 * exp(b) as exp(2*a + b)."""
    if list(powers.values()) == [1]:
        return None
    return exp(add(*(scaled(atom.argument, rational(e)) for atom, e in powers.items())))


def _join_sqrt(powers: dict[Atom, int]) -> Term | None:
    """sqrt(a)**3 / sqrt(b) as a * sqrt(a/b)."""
    if list(powers.values()) == [1]:
        return None
    outside, inside, positive = Term(), Term(), set()
    for atom, e in powers.items():
        if len(atom.argument.factors) == 1 and atom.argument.free is None and atom.argument.p > 0:
            positive |= atom.argument.factors.keys()
        outside = multiply(outside, power(atom.argument, int(e / 2)))
        if e % 2:
            inside = multiply(inside, power(atom.argument, 1 if e > 0 else -1))
    return multiply(outside, sqrt(inside, positive))


def _join_abs(powers: dict[Atom, int]) -> Term | None:
    """abs(a)**2 as a**2."""
    if all(e % 2 for e in powers.values()):
        return None
    odd = {a: e for a, e in powers.items() if e % 2}
    even = (power(a.argument, e) for a, e in powers.items() if e % 2 == 0)
    return multiply(Term(factors=odd), _product(even))


def _reduce_root(term: Term) -> Term:
    """sqrt(x)/x as sqrt(1/x): a root and a power of the same factor have one sign."""
    root = next(a for a in term.factors if a.kind == tok.SQRT)
    inside: Term = root.argument
    if len(inside.factors) != 1 or inside.free is not None or inside.p < 0:
        return term
    ((atom, sign),) = inside.factors.items()
    if term.factors.get(atom, 0) * sign >= 0:
        return term
    factors = {a: e for a, e in term.factors.items() if a is not root}
    _count(factors, atom, sign)
    turned = sqrt(Term(inside.p, inside.q, factors={atom: -sign}))
    return multiply(Term(term.p, term.q, term.free, factors), turned)


def _join_pow(term: Term) -> Term:
    """pow(a, b)**2 * pow(a, c) as pow(a, 2*b + c); a free exponent also takes in plain powers."""
    exponents: dict = {}  # base as printed -> base and exponent
    rest = {a: e for a, e in term.factors.items() if a.kind != tok.POW}
    changed = False
    for atom, e in term.factors.items():
        if atom.kind == tok.POW:
            base, exponent = atom.argument
            key = print_term(base)
            changed |= e != 1 or key in exponents
            total = add(scaled(exponent, rational(e)), exponents.get(key, (base, []))[1])
            if base.lone() in rest and len(total) == 1 and _is_free_number(total[0]):
                total = add(total, rational(rest.pop(base.lone())))
                changed = True
            exponents[key] = (base, total)
    if not changed:
        return term
    powers = _product(pow_(base, exponent) for base, exponent in exponents.values())
    return multiply(Term(term.p, term.q, term.free, rest), powers)


def _is_free_number(term: Term) -> bool:
    return term.free is not None and not term.factors


def _place_constant(term: Term) -> Term:
    """Leave one constant where several would only scale the product.

    A sum whose coefficients are all free, or all but one while the product has a free constant,
    carries a scale of its own. These scales are gathered into one constant, which goes into the
    first such sum of power 1 if there is one, else in front.
    """
    fixed = {a: len(a.argument) - free_count(a.argument) for a in term.factors if a.kind == tok.ADD}
    full = [a for a, n in fixed.items() if n == 0]
    if term.free is None and not full:
        return term
    value, product = term.value, Term()
    for atom, e in term.factors.items():
        part, scale = Term(factors={atom: 1}), 1.0
        if fixed.get(atom, 2) < 2:
            part, scale = _monic(atom)
        elif atom.number is not None:
            part, scale = Term(), atom.number
        elif atom.kind == tok.EXP:
            constants = [t for t in atom.argument if t.number() is not None]
            if constants:
                scale = math.prod(safely(math.exp, t.number()) for t in constants)
                part = exp([t for t in atom.argument if t.number() is None])
        value *= part.value * safely(pow, scale, e)
        for a, n in part.factors.items():  # two sums may be the same but for their scales
            _count(product.factors, a, n * e)
    hosts = [
        a
        for a, e in product.factors.items()
        if a.kind == tok.ADD and e == 1 and len(a.argument) - free_count(a.argument) == 1
    ]
    if not hosts:
        return Term(free=value, factors=product.factors)
    host = min(hosts, key=lambda a: a.printed)
    del product.factors[host]
    product.factors[sum_atom(_with_fronts(host.argument, lambda t: value * t.front))] = 1
    return product


def _with_fronts(terms: list[Term], front: Callable[[Term], float]) -> list[Term]:
    """The sum with free constants in front of all its terms."""
    factors = ((t, without_numbers(t.factors)) for t in terms)
    return add(*(_tidy(Term(free=front(t), factors=f)) for t, f in factors))


def _monic(atom: Atom) -> tuple[Term, float]:
    """The sum over the coefficient of its first term that is no constant, and that coefficient."""
    terms: list[Term] = atom.argument
    lead = min(
        (t for t in terms if t.number() is None),
        key=lambda t: print_term(Term(factors=without_numbers(t.factors))),
    )
    if lead.front == 0:
        return Term(factors={atom: 1}), 1.0
    others = _with_fronts([t for t in terms if t is not lead], lambda t: t.front / lead.front)
    first = Term(factors=without_numbers(lead.factors))
    return close(add(first, others)), lead.front


# --- sums -----------------------------------------------------------------------------------------


def _terms(value: Value) -> list[Term]:
    """The terms of a value that is added to something."""
    if isinstance(value, list):
        return value
    if value.p == 0:
        return []
    if len(value.factors) == 1 and value.free is None and value.q == 1 and abs(value.p) == 1:
        ((atom, exponent),) = value.factors.items()
        if atom.kind == tok.ADD and exponent == 1:
            return scaled(atom.argument, Term(value.p))
    return [value]


def scaled(value: Value, factor: Term) -> list[Term]:
    """factor * value, term by term."""
    terms = _terms(value)
    if factor.lone() is None and not factor.factors and factor.free is None and factor.value == 1:
        return terms
    return [multiply(factor, t) for t in terms]


def add(*values: Value) -> list[Term]:
    """The sum of all values with like terms joined; a free constant also takes in exact ones."""
    groups: dict[frozenset, list[Term]] = {}
    for value in values:
        for part in value if isinstance(value, list) else [value]:
            for term in _terms(part):
                factors = without_numbers(term.factors)
                _join(groups.setdefault(frozenset(factors.items()), []), term, factors)
    return [t for group in groups.values() for t in group if t.p]


def _join(group: list[Term], term: Term, factors: dict[Atom, int]) -> None:
    """Add a term to those that have the same factors but for exact constants."""
    if group and (term.free is not None or group[0].free is not None):
        group[:] = [Term(free=sum(t.front for t in group) + term.front, factors=factors)]
        return
    for i, other in enumerate(group):
        if other.factors == term.factors:
            total = rational(other.p * term.q + term.p * other.q, other.q * term.q)
            group[i] = Term(total.p, total.q, total.free, term.factors)
            return
    group.append(term)


def sum_atom(terms: list[Term]) -> Atom:
    """A sum as a factor; the first of its terms is positive."""
    exact = free_count(terms) == 0 and all(t.number() is not None for t in terms)
    return Atom(tok.ADD, print_sum(terms), terms, sum(t.front for t in terms) if exact else None)


def close(value: Value) -> Term:
    """A sum as one term: what all its terms share, and the sign, in front of a sum atom."""
    if isinstance(value, Term):
        return value
    if len(value) < 2:
        return value[0] if value else Term(0)
    common = {}
    for atom, e in value[0].factors.items():
        exponents = [t.factors.get(atom, 0) for t in value]
        if all(exponent * e > 0 for exponent in exponents):
            common[atom] = min(exponents, key=abs)
    p = q = 1
    if free_count(value) == 0:
        p, q = math.gcd(*(t.p for t in value)), math.gcd(*(t.q for t in value))
    if common or p != 1 or q != 1:
        inner = []
        for t in value:
            factors = dict(t.factors)
            for atom, e in common.items():
                _count(factors, atom, -e)
            inner.append(Term(t.p // p, t.q // q, t.free, factors))
        return multiply(Term(p, q, factors=common), close(add(*inner)))
    exact = [t for t in value if t.free is None]
    sign = 1
    if exact and min(exact, key=lambda t: print_term(t, signed=False)).p < 0:
        sign, value = -1, scaled(value, Term(-1))
    return _tidy(Term(sign, factors={sum_atom(value): 1}))


# --- functions ------------------------------------------------------------------------------------


def _make(kind: int, argument: Term) -> Term:
    number = None
    if argument.free is None and (inside := argument.number()) is not None:
        number = safely(_FUNCTION[kind], inside)
        if not math.isfinite(number):
            raise UndefinedError
    tokens, values = print_term(argument)
    return Term(factors={Atom(kind, ((kind, *tokens), values), argument, number): 1})


def function(kind: int, value: Value) -> Value:
    """sin, cos, tan, tanh, arcsin, arccos, arctan or log of a value."""
    term = close(value)
    if _is_free_number(term):
        return Term(free=safely(_FUNCTION[kind], term.free))
    if term.p == 0 and kind in _AT_ZERO:
        return Term(_AT_ZERO[kind])
    if term.p < 0 and kind in _ODD:
        return scaled(function(kind, multiply(Term(-1), term)), Term(-1))
    if term.p < 0 and kind == tok.COS:
        term = multiply(Term(-1), term)
    atom = term.lone()
    if atom is not None and atom.kind == _INVERSE.get(kind):
        return atom.argument
    if kind == tok.LOG and term.free is None and term.p == 1:
        if term.q == 1 and not term.factors:
            return Term(0)
        if all(e < 0 for e in term.factors.values()):
            return scaled(function(kind, power(term, -1)), Term(-1))
    return _make(kind, term)


def exp(value: Value) -> Term:
    """exp of a value; free constants and logarithms among its terms become factors."""
    outside, inside = Term(), []
    for term in add(value):
        logs = [a for a, e in term.factors.items() if a.kind == tok.LOG and e == 1]
        if _is_free_number(term):
            outside = multiply(outside, Term(free=safely(math.exp, term.free)))
        elif logs:
            log = min(logs, key=lambda a: a.printed)
            rest = {a: e for a, e in term.factors.items() if a is not log}
            exponent = Term(term.p, term.q, term.free, rest)
            outside = multiply(outside, pow_(log.argument, exponent))
        else:
            inside.append(term)
    if not inside:
        return outside
    made = _make(tok.EXP, close(inside))
    ((atom, _),) = made.factors.items()
    atom.argument = inside  # open, for other exponents to join
    return multiply(outside, made)


def sqrt(term: Term, positive: Iterable[Atom] = ()) -> Term:
    """The square root; even powers leave it as abs(), or plainly for atoms known as positive."""
    if term.p == 0:
        return term
    if not term.factors and term.p < 0:
        raise UndefinedError
    p_out, p = _square_part(abs(term.p))
    q_out, q = _square_part(term.q)
    odd_numbers = {a: e for a, e in term.factors.items() if a.number is not None and e % 2}
    unknown = [a for a in term.factors if a.number is None]
    if len(unknown) == 1 and term.free is None and term.p * numbers_in(odd_numbers) > 0:
        positive = unknown if term.factors[unknown[0]] % 2 else positive
    outside, inside = Term(p_out, q_out), {}
    for atom, e in term.factors.items():
        if atom.kind == tok.EXP:
            half = exp(scaled(atom.argument, Term(1, 2)))
            outside = multiply(outside, power(half, e))
            continue
        half_power = int(e / 2)
        if half_power:
            whole = Term(factors={atom: half_power})
            sure = atom in positive or half_power % 2 == 0
            outside = multiply(outside, whole if sure else abs_(whole))
        if e % 2:
            inside[atom] = 1 if e > 0 else -1
    radicand = _tidy(Term(p if term.p > 0 else -p, q, term.free, inside))
    if _is_free_number(radicand):
        return multiply(outside, Term(free=safely(math.sqrt, radicand.free)))
    if radicand.factors or radicand.free is not None or radicand.p != 1 or radicand.q != 1:
        outside = multiply(outside, _make(tok.SQRT, radicand))
    return outside


def _square_part(n: int) -> tuple[int, int]:
    """s and r with n = s*s*r and no square left in r."""
    s = next(s for s in range(math.isqrt(n), 0, -1) if n % (s * s) == 0)
    return s, n // (s * s)


def abs_(term: Term) -> Term:
    """The absolute value, factor by factor."""
    result = Term(abs(term.p), term.q, None if term.free is None else abs(term.free))
    for atom, e in term.factors.items():
        part = Term(factors={atom: 1})
        if atom.kind == tok.ADD and free_count(atom.argument) == len(atom.argument):
            part, scale = _monic(atom)
            result = multiply(result, Term(free=safely(pow, abs(scale), e)))
            (atom,) = part.factors
        if atom.number is not None:
            part = part if atom.number > 0 else multiply(Term(-1), part)
        elif e % 2 and atom.kind not in (tok.EXP, tok.SQRT, tok.ABS):
            part = _make(tok.ABS, part)
        result = multiply(result, power(part, e))
    return result


def pow_(base: Term, value: Value) -> Term:
    """base**value for any exponent."""
    exponent = close(value)
    exact = exponent.free is None and not exponent.factors
    if exact and exponent.q <= 2 and abs(exponent.p) <= _HIGHEST:
        return power(base if exponent.q == 1 else sqrt(base), exponent.p)
    if base.free is None and not base.factors and base.p == base.q:
        return base
    constant = base.number() is not None and exponent.number() is not None
    number = safely(math.pow, base.number(), exponent.number()) if constant else None
    if constant and (base.free is not None or exponent.free is not None):
        return Term(free=number)
    if _is_free_number(base):
        return exp(multiply(Term(free=safely(math.log, base.free)), exponent))
    atom = base.lone()
    if atom is not None and atom.kind == tok.EXP:
        return exp(scaled(atom.argument, exponent))
    if atom is not None and atom.kind == tok.SQRT:
        return pow_(atom.argument, multiply(Term(1, 2), exponent))
    if len(base.factors) == 1 and base.free is None and base.p == base.q == 1:
        ((atom, n),) = base.factors.items()
        if n % 2 and n != 1:
            return pow_(Term(factors={atom: 1}), multiply(rational(n), exponent))
    left, right = print_term(base), print_term(exponent)
    printed = (tok.POW, *left[0], *right[0]), left[1] + right[1]
    return Term(factors={Atom(tok.POW, printed, (base, exponent), number): 1})
