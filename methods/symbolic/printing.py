"""Formulas as a person writes them: x - 3*y for x + -3*y, x/15000 for x*(1/15000), 2*x for x*2.

`neat` rewrites an expression bottom up as sums of products, each with one number in front. Whole
numbers and fractions stay exact; a decimal number is never touched unless it meets another number.
Nothing is expanded. What is finite keeps its value, up to rounding errors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from operator import add, mul, truediv
from typing import Any

from lee_bench.expression import Constant, Expression, Node, Number, Operator, Variable
from methods.symbolic.exact import integer_nodes

_ODD = {"sin", "tan", "tanh", "arcsin", "arctan", "sinh", "arcsinh", "arctanh", "cbrt", "sign"}
_EVEN = {"cos", "cosh", "abs"}
_LARGEST = 10**60

_ADD, _SUB, _MUL, _DIV = (Operator(name, 2) for name in ("add", "sub", "mul", "div"))
_POW, _NEG = Operator("pow", 2), Operator("neg", 1)
_SQRT, _LOG = Operator("sqrt", 1), Operator("log", 1)

Nodes = tuple[Node, ...]


@dataclass(frozen=True)
class _Part:
    """A factor.

    Attributes:
        nodes: as printed.
        terms: of the sum it is; empty if it is none.
        root: what it is the square root of, if it is one.
        ratio: what it is the logarithm of, if that is a fraction.
    """

    nodes: Nodes
    terms: tuple[_Product, ...] = ()
    root: _Product | None = None
    ratio: _Product | None = None


_PI = _Part((Constant("pi"),))


@dataclass(frozen=True)
class _Product:
    """number * top / bottom."""

    number: Fraction | float = Fraction(1)
    top: tuple[_Part, ...] = ()
    bottom: tuple[_Part, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is a number and nothing else."""
        return not self.top and not self.bottom

    @property
    def constant(self) -> bool:
        """Whether no variable occurs."""
        parts = (*self.top, *self.bottom)
        return not any(isinstance(node, Variable) for part in parts for node in part.nodes)

    def times(self, number: Fraction | float) -> _Product:
        return _Product(_join(self.number, number, mul), self.top, self.bottom)


@dataclass(frozen=True)
class _Sum:
    terms: tuple[_Product, ...] = field(default_factory=tuple)


_Value = _Product | _Sum


def neat(expression: Expression) -> Expression:
    """Rewrite a formula the way it is best read; it computes the same."""
    return Expression(_print(_read(expression.nodes)))


def _read(nodes: Sequence[Node]) -> _Value:
    return Expression(tuple(nodes)).fold(_leaf, _apply)


def _leaf(node: Node) -> _Value:
    match node:
        case Number(value):
            return _Product(Fraction(value) if isinstance(value, int) else value)
        case Constant() | Variable():
            return _Product(top=(_Part((node,)),))
    raise AssertionError(node)


def _apply(op: Operator, args: list[_Value]) -> _Value:
    match op.name, args:
        case "add", (a, b):
            return _add(a, b)
        case "sub", (a, b):
            return _add(a, _negative(b))
        case "neg", (a,):
            return _negative(a)
        case "mul", (a, b):
            return _multiply(_factored(a), _factored(b))
        case "div", (a, b):
            return _divide(_factored(a), _factored(b))
        case "inv", (a,):
            return _divide(_Product(), _factored(a))
        case "square", (a,):
            return _power(a, _Product(Fraction(2)))
        case "cube", (a,):
            return _power(a, _Product(Fraction(3)))
        case "pow", (a, b):
            return _power(a, b)
        case "sqrt", (a,):
            return _sqrt(a)
        case (("sin" | "cos"), (a,)):
            return _wave(op, a)
        case "log", (_Product(number=Fraction(), bottom=(_, *_)) as a,):
            return _log(a)
    return _function(op, args)


def _function(op: Operator, args: list[_Value]) -> _Value:
    """Of arguments with few minus signs, where it is odd or even."""
    sign = Fraction(1)
    if op.name in _ODD | _EVEN and _mostly_negative(args[0]):
        args = [_negative(args[0])]
        sign = Fraction(-1) if op.name in _ODD else sign
    return _Product(sign, (_Part((*(n for arg in args for n in _print(arg)), op)),))


def _log(ratio: _Product) -> _Product:
    """Of a fraction: -log(x) for log(1/x)."""
    if ratio.top or ratio.number != 1:
        return _Product(top=(_Part((*_print(ratio), _LOG), ratio=ratio),))
    below = _opened(_Product(top=ratio.bottom))
    return _Product(Fraction(-1), (_Part((*_print(below), _LOG)),))


# --- waves ------------------------------------------------------------------------------------


def _wave(op: Operator, argument: _Value) -> _Value:
    """sin or cos: cos(x) for sin(x + pi/2), x for sin(arcsin(x)), sqrt(1 - x**2) for cos of it."""
    turns = 0 if op.name == "sin" else 1  # quarters by which it is ahead of sin
    others = []
    for term in _terms(argument):
        quarters = 2 * term.number
        if term.top == (_PI,) and not term.bottom and quarters % 1 == 0:
            turns += int(quarters)
        else:
            others.append(term)
    if not others:  # a number
        return _function(op, [argument])
    argument = others[0] if len(others) == 1 else _Sum(tuple(others))
    name = "cos" if turns % 2 else "sin"
    wave = _of_arc(name, argument) or _function(Operator(name, 1), [argument])
    return _negative(wave) if turns % 4 >= 2 else wave


def _of_arc(name: str, argument: _Value) -> _Value | None:
    """sin or cos of arcsin or arccos without either; None where the argument is neither."""
    if not (isinstance(argument, _Product) and len(argument.top) == 1 and not argument.bottom):
        return None
    *inside, last = argument.top[0].nodes
    arc = isinstance(last, Operator) and last.name in ("arcsin", "arccos")
    if not arc or abs(argument.number) != 1:
        return None
    odd = argument.number < 0 and name == "sin"
    value = _read(inside)
    if last.name != f"arc{name}":
        value = _sqrt(_add(_Product(), _negative(_power(value, _Product(Fraction(2))))))
    return _negative(value) if odd else value


def _with_squared_wave(terms: tuple[_Product, ...]) -> tuple[_Product, ...]:
    """Terms of a sum, with sin(x)**2 for 1/2 - cos(2*x)/2 or cos(x)**2 for 1 - sin(x)**2, where
    that is shorter.
    """
    numbers = [term for term in terms if term.plain]
    for number, term in itertools.product(numbers, terms):
        square = _squared_wave(number.number, term)
        if square is not None and len(_print(square)) < len(_print_terms((number, term))):
            return (*(t for t in terms if t is not number and t is not term), square)
    return terms


def _squared_wave(number: Fraction | float, term: _Product) -> _Product | None:
    """number + term as one square of a wave, if it is one."""
    same = math.isfinite(number) and abs(term.number) == abs(number)
    if not same or len(term.top) != 1 or term.bottom:
        return None
    sign = 1 if term.number == number else -1
    match term.top[0].nodes:
        case (*inside, Operator("cos")):
            half = _factored(_read(inside)).times(Fraction(1, 2))
            wave = _wave(Operator("cos" if sign > 0 else "sin", 1), _opened(half))
            number = _join(number, Fraction(2), mul)
            if not math.isfinite(number):
                return None
        case (*inside, Operator("sin" | "cos" as name), Number(2), Operator("pow")) if sign < 0:
            wave = _wave(Operator("cos" if name == "sin" else "sin", 1), _read(inside))
        case _:
            return None
    return _factored(_power(wave, _Product(Fraction(2)))).times(number)


def _with_wave_in_factor(product: _Product) -> _Product:
    """x*sin(y)**2 for x*(1 - cos(2*y))/2, and what is alike, where it is shorter."""
    for name in ("top", "bottom"):
        parts = getattr(product, name)
        for i, part in enumerate(parts):
            if len(part.terms) != 2:
                continue
            number = product.number if name == "top" else 1 / product.number
            joined = _with_squared_wave(tuple(term.times(number) for term in part.terms))
            if len(joined) == 1:
                rest = replace(product, number=Fraction(1), **{name: (*parts[:i], *parts[i + 1 :])})
                other = _factored((_multiply if name == "top" else _divide)(rest, joined[0]))
                if len(_print(other)) < len(_print(product)):
                    return other
    return product


# --- numbers ----------------------------------------------------------------------------------


def _join(
    a: Fraction | float, b: Fraction | float, how: Callable[[Any, Any], Any]
) -> Fraction | float:
    """a + b, a * b or a / b, as `how` says; exact if both are and the result stays short."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        exact = how(a, b)
        if max(abs(exact.numerator), exact.denominator) < _LARGEST:
            return exact
    return how(float(a), float(b))


# --- sums -------------------------------------------------------------------------------------


def _terms(value: _Value) -> tuple[_Product, ...]:
    return value.terms if isinstance(value, _Sum) else (value,)


def _add(a: _Value, b: _Value) -> _Value:
    """The sum, like terms joined."""
    found: dict[tuple, _Product] = {}
    for term in (*_terms(a), *_terms(b)):
        key = (term.top, term.bottom)
        if key in found:
            number = _join(found[key].number, term.number, add)
            if not math.isfinite(number):
                key = (key, len(found))
            else:
                term = _Product(number, term.top, term.bottom)
        found[key] = term
    kept = _with_squared_wave(tuple(term for term in found.values() if term.number != 0))
    if len(kept) == 1:
        return kept[0]
    return _Sum(kept) if kept else _Product(Fraction(0))


def _negative(value: _Value) -> _Value:
    if isinstance(value, _Sum):
        return _Sum(tuple(term.times(Fraction(-1)) for term in value.terms))
    return value.times(Fraction(-1))


def _mostly_negative(value: _Value) -> bool:
    negative = sum(term.number < 0 for term in _terms(value))
    return 2 * negative > len(_terms(value))


def _factored(value: _Value) -> _Product:
    """A sum as one factor, with the number that its terms share in front."""
    if isinstance(value, _Product):
        return value
    numbers = [term.number for term in value.terms]
    shared = Fraction(-1 if _mostly_negative(value) else 1)
    if all(isinstance(n, Fraction) for n in numbers):
        shared *= Fraction(
            math.gcd(*(n.numerator for n in numbers)), math.lcm(*(n.denominator for n in numbers))
        )
    return _Product(shared, (_scaled(_Part((), value.terms), 1 / shared),))


def _opened(product: _Product) -> _Value:
    """A product that is nothing but constants and a sum, as a sum if that is shorter."""
    sums = [part for part in product.top if part.terms]
    others = tuple(part for part in product.top if not part.terms)
    factor = _Product(product.number, others, product.bottom)
    if len(sums) != 1 or not factor.constant:
        return product
    terms = [
        term.times(factor.number) if factor.plain else _multiply(term, factor)
        for term in sums[0].terms
    ]
    if any(isinstance(t, _Sum) or t.number == 0 or not math.isfinite(t.number) for t in terms):
        return product
    opened = _Sum(tuple(terms))
    if (factor.plain and factor.number == 1) or len(_print(opened)) < len(_print(product)):
        return opened
    return product


# --- products ---------------------------------------------------------------------------------


def _multiply(a: _Product, b: _Product) -> _Value:
    number = _join(a.number, b.number, mul)
    if _lost(number, a, b):
        return _Product(a.number, (*a.top, _Part(_print(b))), a.bottom)
    return _collected(number, (*a.top, *b.top), (*a.bottom, *b.bottom))


def _divide(a: _Product, b: _Product) -> _Value:
    # Not times 1 / b: of decimal numbers, 3.7 * (1 / 3.7) < 1.
    number = _join(a.number, b.number, truediv) if b.number else math.nan
    if _lost(number, a, b):
        return _Product(a.number, a.top, (*a.bottom, _Part(_print(b))))
    return _collected(number, (*a.top, *b.bottom), (*a.bottom, *b.top))


def _lost(number: Fraction | float, a: _Product, b: _Product) -> bool:
    """Whether the joined number of two products is too large or too small to be one."""
    return not math.isfinite(number) or (number == 0 and a.number != 0 and b.number != 0)


def _collected(
    number: Fraction | float, top: tuple[_Part, ...], bottom: tuple[_Part, ...]
) -> _Value:
    if number == 0:
        return _Product(Fraction(0))
    top, bottom = _cancelled(top, bottom)
    top, bottom = _with_powers_of_pi(top), _with_powers_of_pi(bottom)
    return _opened(_with_wave_in_factor(_with_joined_roots(_Product(number, top, bottom))))


def _cancelled(
    top: Sequence[_Part], bottom: Sequence[_Part]
) -> tuple[tuple[_Part, ...], tuple[_Part, ...]]:
    """Numerator and denominator without the factors they share."""
    left = list(bottom)
    kept = []
    for part in top:
        if part in left:
            left.remove(part)
        else:
            kept.append(part)
    return tuple(kept), tuple(left)


def _with_powers_of_pi(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    n = parts.count(_PI)
    if n < 2:
        return parts
    power = _Part((*_PI.nodes, Number(n), _POW))
    return (power, *(part for part in parts if part != _PI))


def _with_joined_roots(product: _Product) -> _Product:
    """sqrt(2)*sqrt(x) as sqrt(2*x): roots of constants move into another root, if there is one."""
    top = list(product.top)
    hosts = [p for p in top if p.root is not None and not p.root.constant]
    numbers = [p for p in top if p.root is not None and p.root.constant]
    if not numbers or len(hosts) + len(numbers) < 2:
        return product
    inside = (hosts or numbers).pop(0)
    top.remove(inside)
    radicand: _Value = inside.root
    for part in numbers:
        top.remove(part)
        radicand = _multiply(_factored(radicand), part.root)
    rest = _Product(product.number, tuple(top), product.bottom)
    return _factored(_multiply(rest, _factored(_sqrt(radicand))))


def _power(base: _Value, exponent: _Value) -> _Value:
    if isinstance(exponent, _Product) and exponent.plain:
        n = exponent.number
        if isinstance(n, float) and n.is_integer() and abs(n) < 1000:
            n = Fraction(int(n))
        if isinstance(n, Fraction):
            if n == 0:
                return _Product()
            if n == 1:
                return base
            if n == Fraction(1, 2):
                return _sqrt(base)
            if n < 0:
                return _divide(_Product(), _factored(_power(base, _Product(-n))))
            if n.denominator == 1 and isinstance(base, _Product):
                return _whole_power(base, int(n))
    nodes = (*_print(base), *_print(exponent), _POW)
    return _Product(top=(_Part(nodes),))


def _whole_power(base: _Product, n: int) -> _Value:
    """base**n, n >= 2: of the number alone, of the rest as it stands."""
    if base.plain and isinstance(base.number, Fraction):
        size = max(abs(base.number.numerator), base.number.denominator)
        if n * math.log(max(size, 1)) < math.log(_LARGEST):
            return _Product(base.number**n)
    sign, number = Fraction(1), base.number
    if number < 0:
        number, sign = -number, Fraction(-1 if n % 2 else 1)
    if len(base.top) == 1 and not base.bottom and number == 1 and base.top[0].root and n % 2 == 0:
        return _power(base.top[0].root, _Product(Fraction(n // 2)))
    nodes = (*_print(_Product(number, base.top, base.bottom)), Number(n), _POW)
    return _Product(sign, (_Part(nodes),))


def _sqrt(value: _Value) -> _Value:
    if isinstance(value, _Product) and value.plain and isinstance(value.number, Fraction):
        p, q = value.number.numerator, value.number.denominator
        if p >= 0 and math.isqrt(p) ** 2 == p and math.isqrt(q) ** 2 == q:
            return _Product(Fraction(math.isqrt(p), math.isqrt(q)))
    root = _factored(value)
    if root.number < 0:
        root = _with_sign_inside(root)
    match root:
        case _Product(1, (_Part((*inside, Number(2), Operator("pow"))),), ()):  # sqrt(x**2)
            return _function(Operator("abs", 1), [_read(inside)])
    if root.number == 1 and not root.top and root.bottom:  # sqrt(1/x)
        below = _Product(top=root.bottom)
        return _Product(bottom=(_Part((*_print(_opened(below)), _SQRT), root=below),))
    return _Product(top=(_Part((*_print(value), _SQRT), root=root),))


# --- printing ---------------------------------------------------------------------------------


def _print(value: _Value) -> Nodes:
    if isinstance(value, _Sum):
        return _print_terms(value.terms)
    return _print_product(value)


def _print_terms(terms: Iterable[_Product]) -> Nodes:
    """What is added before what is subtracted; in each by the variables, numbers last."""

    def place(term: _Product) -> tuple:
        parts = (*term.top, *term.bottom)
        names = [n.name for part in parts for n in part.nodes if isinstance(n, Variable)]
        return term.number < 0, term.plain, names

    ordered = sorted(terms, key=place)
    first, *others = ordered
    nodes = _print_product(first)
    for term in others:
        negative = term.number < 0
        size = term.times(Fraction(-1)) if negative else term
        nodes += (*_print_product(size), _SUB if negative else _ADD)
    return nodes


def _print_product(product: _Product) -> Nodes:
    return min((_print_as_is(p) for p in (product, *_with_number_inside(product))), key=len)


def _with_number_inside(product: _Product) -> Iterator[_Product]:
    """Versions with the number, or a part of it, in a sum: x*(y + 0.7) for x*(10*y + 7)/10."""
    number = product.number
    if not isinstance(number, Fraction) or number == 1:
        return
    p, q = Fraction(number.numerator), Fraction(1, number.denominator)
    sums = [(i, part) for i, part in enumerate(product.top) if part.terms]
    for i, part in sums:
        for inside in (number, q):
            top = (*product.top[:i], _scaled(part, inside), *product.top[i + 1 :])
            yield _Product(number / inside, top, product.bottom)
    sums = [(i, part) for i, part in enumerate(product.bottom) if part.terms]
    for i, part in sums:
        first = part.terms[0].number
        for inside in (number, p, first if isinstance(first, Fraction) else p):
            bottom = (*product.bottom[:i], _scaled(part, 1 / inside), *product.bottom[i + 1 :])
            yield _Product(number / inside, product.top, bottom)


def _with_sign_inside(product: _Product) -> _Product:
    """The product of the opposite number and y - x for x - y, or log(y/x) for log(x/y), if there
    is such a sum or logarithm.
    """
    for name in ("top", "bottom"):
        parts = getattr(product, name)
        for i, part in enumerate(parts):
            if (opposite := _opposite(part)) is not None:
                turned = (*parts[:i], opposite, *parts[i + 1 :])
                return replace(product, number=-product.number, **{name: turned})
    return product


def _opposite(part: _Part) -> _Part | None:
    """A factor of the other sign that is no longer to write, if there is one."""
    if any(term.number < 0 for term in part.terms):
        return _scaled(part, Fraction(-1))
    if part.ratio is not None:
        ratio = _Product(1 / part.ratio.number, part.ratio.bottom, part.ratio.top)
        (turned,) = _log(ratio).top
        return turned if len(turned.nodes) <= len(part.nodes) else None
    return None


def _scaled(part: _Part, factor: Fraction | float) -> _Part:
    terms = tuple(term.times(factor) for term in part.terms)
    return _Part(_print_terms(terms), terms)


def _print_as_is(product: _Product) -> Nodes:
    for part in product.top:
        root = part.root
        if (
            root is not None
            and root.constant
            and not root.top
            and isinstance(root.number, Fraction)
        ):
            p, q = root.number.as_integer_ratio()
            if p == 1:  # 1/sqrt(2), not sqrt(1/2)
                top = tuple(other for other in product.top if other is not part)
                below = _Part((*_print(_Product(Fraction(q), root.bottom)), _SQRT))
                return _print_as_is(_Product(product.number, top, (below, *product.bottom)))
    if product.number < 0 and (turned := _with_sign_inside(product)) is not product:
        return _print_as_is(turned)
    over, under = _number_nodes(abs(product.number))
    if product.number < 0:
        if not over and product.top:
            first, *rest = product.top
            return _chain([(*first.nodes, _NEG), *(p.nodes for p in rest)], _under(product, under))
        over = over or (Number(1),)
        over = (Number(-over[0].value),) if len(over) == 1 else (*over, _NEG)
    tops = [over] if over else []
    tops += [part.nodes for part in product.top]
    return _chain(tops or [(Number(1),)], _under(product, under))


def _under(product: _Product, number: Nodes) -> list[Nodes]:
    return [number, *(p.nodes for p in product.bottom)] if number else [
        p.nodes for p in product.bottom
    ]  # fmt: skip


def _chain(over: list[Nodes], under: list[Nodes]) -> Nodes:
    """Factors multiplied from left to right, over factors likewise."""
    nodes = over[0]
    for factor in over[1:]:
        nodes += (*factor, _MUL)
    if under:
        bottom = under[0]
        for factor in under[1:]:
            bottom += (*factor, _MUL)
        nodes += (*bottom, _DIV)
    return nodes


def _number_nodes(number: Fraction | float) -> tuple[Nodes, Nodes]:
    """Numerator and denominator of a number that is not negative; a one is left out."""
    if isinstance(number, float):
        if number.is_integer() and number < 10**6:
            number = Fraction(int(number))
        else:
            return (Number(number),), ()
    p, q = number.numerator, number.denominator
    long_ = (p >= 10 and q >= 5) or (p > 1 and q in (10, 100, 1000))
    if long_ and 1000 * p >= q and 10**12 % q == 0:
        return (Number(p / q),), ()  # 9.81, not 981/100; smaller ones would not survive rounding
    if q > 10**6:
        power = next((k for k in range(6, 400) if 10**k % q == 0), None)
        if power is not None:  # 66743/10**15
            p, q = p * (10**power // q), 10**power
    return (() if p == 1 else integer_nodes(p)), (() if q == 1 else integer_nodes(q))
