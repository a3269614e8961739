"""Sums of products as `canonical` holds them, and how they are written as tokens.

Printing decides the look of the canonical form; what may be joined is decided in `canonical_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from methods.symbolic import vocabulary as tok

Printed = tuple[tuple[int, ...], tuple[float, ...]]  # tokens, and constants in their order

_LARGEST = 1000  # a numerator or denominator beyond it becomes a constant
_ONE: Printed = ((tok.INTEGERS[1],), ())


def safely(function: Callable[..., float], *args: float) -> float:
    """function(*args), NaN where it has no value."""
    try:
        return function(*args)
    except (ArithmeticError, ValueError):
        return math.nan


class Atom:
    """What a product is made of: a variable, pi, a function of something, or a sum.

    Attributes:
        kind: its token; ADD for a sum.
        printed: its tokens and constants, which are also its identity.
        argument: a Term; for sums and exp a list of terms; for pow a base and an exponent.
        number: its value if it is an exact constant, else None.
    """

    __slots__ = ("argument", "hash", "kind", "number", "printed")

    def __init__(self, kind: int, printed: Printed, argument=None, number: float | None = None):
        self.kind, self.printed, self.argument, self.number = kind, printed, argument, number
        self.hash = hash(printed)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other) -> bool:
        return self is other or (self.hash == other.hash and self.printed == other.printed)


class Term:
    """p/q, or the free constant `free`, times the product of atom**exponent, exponents nonzero.

    With a free constant p = q = 1, and exact constants among the atoms are taken into it. p = 0 is
    zero. p carries the sign; p and q have no common divisor.
    """

    __slots__ = ("factors", "free", "p", "q")

    def __init__(
        self,
        p: int = 1,
        q: int = 1,
        free: float | None = None,
        factors: dict[Atom, int] | None = None,
    ):
        self.factors = {} if factors is None else factors
        if free is None and (q > _LARGEST or abs(p) > _LARGEST):
            free = p / q
        if free is not None:
            p = q = 1
            free *= numbers_in(self.factors)
            self.factors = without_numbers(self.factors)
        self.p, self.q, self.free = p, q, free

    @property
    def value(self) -> float:
        """The rational or free constant in front."""
        return self.p / self.q if self.free is None else self.free

    @property
    def front(self) -> float:
        """All constants of the product together, those among its atoms included."""
        return self.value * numbers_in(self.factors)

    def number(self) -> float | None:
        """The value of a constant, exact or free; None if there are variables."""
        return None if any(a.number is None for a in self.factors) else self.front

    def lone(self) -> Atom | None:
        """The atom, if the term is nothing but one atom."""
        if len(self.factors) == 1 and self.free is None and self.p == self.q == 1:
            ((atom, exponent),) = self.factors.items()
            return atom if exponent == 1 else None
        return None


def numbers_in(factors: dict[Atom, int]) -> float:
    """The product of the exact constants among the factors."""
    return math.prod(
        (safely(pow, a.number, e) for a, e in factors.items() if a.number is not None), start=1.0
    )


def without_numbers(factors: dict[Atom, int]) -> dict[Atom, int]:
    """The factors that are no exact constants."""
    if all(a.number is None for a in factors):
        return factors
    return {a: e for a, e in factors.items() if a.number is None}


def free_count(terms: list[Term]) -> int:
    """How many terms have a free constant in front."""
    return sum(t.free is not None for t in terms)


def _chain(op: int, parts: list[Printed]) -> Printed:
    """Operands in order, nested to the right."""
    parts = sorted(parts)
    tokens = [t for part in parts[:-1] for t in (op, *part[0])]
    return (*tokens, *parts[-1][0]), tuple(c for part in parts for c in part[1])


def _fraction(over: list[Printed], under: list[Printed]) -> Printed:
    if not under:
        return _chain(tok.MUL, over) if over else _ONE
    bottom = _chain(tok.MUL, under)
    if not over:
        return (tok.INV, *bottom[0]), bottom[1]
    top = _chain(tok.MUL, over)
    return (tok.DIV, *top[0], *bottom[0]), top[1] + bottom[1]


def _integer(n: int) -> list[Printed]:
    """A positive integer as factors made of those that have tokens."""
    if n == 1:
        return []
    for d in (5, 4, 3, 2):
        if n % d == 0:
            return [((tok.INTEGERS[d],), ()), *_integer(n // d)]
    return [_chain(tok.ADD, [((tok.INTEGERS[5],), ()), _fraction(_integer(n - 5), [])])]


def _raised(base: Printed, n: int) -> Printed:
    """base**n, n >= 1."""
    if n == 1:
        return base
    for d, op in ((2, tok.SQUARE), (3, tok.CUBE)):
        if n % d == 0:
            tokens, values = _raised(base, n // d)
            return (op, *tokens), values
    if n % 5 == 0:
        tokens, values = _raised(base, n // 5)
        return (tok.POW, *tokens, tok.INTEGERS[5]), values
    return _chain(tok.MUL, [base, _raised(base, n - 1)])


def print_sum(terms: list[Term], sign: int = 1) -> Printed | None:
    """The sum, or its negative for sign = -1; None where all terms would be subtracted."""
    plus, minus = [], []
    for t in terms:
        if t.free is None:
            (plus if t.p * sign > 0 else minus).append(print_term(t, signed=False))
        else:
            plus.append(print_term(Term(free=sign * t.free, factors=t.factors)))
    if not plus:
        return None
    left = _chain(tok.ADD, plus)
    if not minus:
        return left
    right = _chain(tok.ADD, minus)
    return (tok.SUB, *left[0], *right[0]), left[1] + right[1]


def print_term(term: Term, signed: bool = True) -> Printed:
    """The tokens and constants of a product; without its sign if not `signed`.

    A minus goes into the sum among the factors if there is one of odd power, else in front.
    """
    if term.p == 0:
        return (tok.SUB, *_ONE[0], *_ONE[0]), ()
    atom = term.lone()
    if atom is not None and atom.kind not in (tok.SQRT, tok.ABS):
        return atom.printed
    turned, minus = None, signed and term.p < 0
    if minus:
        odd = [a for a, e in term.factors.items() if a.kind == tok.ADD and e % 2]
        if len(odd) == 1 and (turned_print := print_sum(odd[0].argument, -1)) is not None:
            turned, minus = odd[0], False
    over = _integer(abs(term.p)) if term.free is None else [((tok.CONSTANT,), (term.free,))]
    under = _integer(term.q)
    powers: dict[int, _Power] = {}
    for atom, e in term.factors.items():
        if atom.kind == tok.SQRT:
            inside: Term = atom.argument
            below = abs(inside.p) == 1 and inside.free is None
            if below and all(power < 0 for power in inside.factors.values()):
                upright = {a: -power for a, power in inside.factors.items()}
                tokens, values = print_term(Term(inside.p * inside.q, factors=upright))
                under.append(((tok.SQRT, *tokens), values))
            else:
                over.append(atom.printed)
        else:
            power = powers.setdefault(abs(e), _Power())
            power.add(atom, e > 0, turned_print if atom is turned else atom.printed)
    for n, power in powers.items():
        power.finish(n, over, under)
    tokens, values = _fraction(over, under)
    return ((tok.NEG, *tokens), values) if minus else (tokens, values)


class _Power:
    """The factors of a product that share the size of their exponent."""

    def __init__(self):
        self.over: list[Printed] = []
        self.under: list[Printed] = []
        self.absolute_over: list[Printed] = []
        self.absolute_under: list[Printed] = []

    def add(self, atom: Atom, above: bool, printed: Printed) -> None:
        if atom.kind == tok.ABS:
            inside = print_term(atom.argument)
            (self.absolute_over if above else self.absolute_under).append(inside)
        else:
            (self.over if above else self.under).append(printed)

    def finish(self, n: int, over: list[Printed], under: list[Printed]) -> None:
        if self.absolute_over:
            tokens, values = _fraction(self.absolute_over, self.absolute_under)
            self.over.append(((tok.ABS, *tokens), values))
        elif self.absolute_under:
            tokens, values = _chain(tok.MUL, self.absolute_under)
            self.under.append(((tok.ABS, *tokens), values))
        if n == 1:
            over += self.over
            under += self.under
        elif self.over:
            over.append(_raised(_fraction(self.over, self.under), n))
        else:
            under.append(_raised(_chain(tok.MUL, self.under), n))
