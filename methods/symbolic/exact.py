"""Exact numbers near a measured one: fractions, their square roots, multiples of powers of pi.

What makes a number simple is the length of its shortest description here, in bits; what a measured
number costs is the length that its uncertainty leaves. A constant is worth replacing where the
first is shorter: 2.97 +- 0.2 becomes 3, 0.739 +- 0.01 stays, 0.3333333333 +- 1e-11 becomes 1/3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from lee_bench.expression import Constant, Node, Number, Operator

_Z = (0.25, 1.0, 2.0, 3.0)  # standard errors away from the measured value that are searched
_LARGEST_INTEGER = 10**15  # more digits than this are more than float64 can verify
# (root, power of pi) -> bits, for root of (fraction * pi**power): how much rarer than a fraction.
_KINDS = {
    (1, 0): 0.0, (1, 1): 5.0, (1, -1): 5.0, (2, 0): 8.0, (1, 2): 9.0, (1, -2): 9.0, (2, 1): 11.0,
    (2, -1): 11.0,
}  # fmt: skip


@dataclass(frozen=True)
class Exact:
    """sign * (fraction * pi**pi_power)**(1/root), with a fraction that is not negative.

    Attributes:
        bits: length of its description.
    """

    sign: int
    fraction: Fraction
    root: int = 1
    pi_power: int = 0
    bits: float = 0.0

    def __float__(self) -> float:
        return self.sign * (float(self.fraction) * math.pi**self.pi_power) ** (1 / self.root)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The number as postfix nodes of a formula, not yet neat."""
        p, q = self.fraction.numerator, self.fraction.denominator
        nodes: tuple[Node, ...] = (*integer_nodes(p), *integer_nodes(q), Operator("div", 2))
        for _ in range(abs(self.pi_power)):
            nodes += (Constant("pi"), Operator("mul" if self.pi_power > 0 else "div", 2))
        if self.root == 2:
            nodes += (Operator("sqrt", 1),)
        return nodes if self.sign > 0 else (*nodes, Operator("neg", 1))


def integer_nodes(n: int) -> tuple[Node, ...]:
    """A natural number as nodes; a long one as m*10**k, because texts keep 15 digits exact."""
    if n < _LARGEST_INTEGER:
        return (Number(n),)
    zeros = len(str(n)) - len(str(n).rstrip("0"))
    power = (Number(10), Number(zeros), Operator("pow", 2))
    rest = n // 10**zeros
    if rest >= _LARGEST_INTEGER:
        return (Number(float(n)),)
    return power if rest == 1 else (Number(rest), *power, Operator("mul", 2))


def _integer_bits(n: int) -> float:
    """Elias' gamma or delta code (1975), whichever is shorter, without rounding up."""
    size = math.log2(n)
    return 1 + min(2 * size, size + 2 * math.log2(size + 1))


def real_bits(value: float, error: float) -> float:
    """Bits for a number known to a standard error: its digits and its decimal exponent."""
    exponent = abs(round(math.log10(abs(value)))) if value else 0
    digits = math.log2(1 + min(abs(value) / max(error, 1e-300), 1e18))
    return 2 + digits + _integer_bits(exponent + 1)


def simplest_fraction(low: float, high: float) -> Fraction:
    """The fraction of smallest denominator in [low, high], 0 <= low <= high.

    By continued fractions, as in Python's `Fraction.limit_denominator`.
    """
    a, b = Fraction(low), Fraction(high)
    steps: list[int] = []
    while True:
        whole = a.numerator // a.denominator
        if whole == a or whole + 1 <= b:
            result = Fraction(whole if whole == a else whole + 1)
            break
        steps.append(whole)
        a, b = 1 / (b - whole), 1 / (a - whole)
    for whole in reversed(steps):
        result = whole + 1 / result
    return result


def _short_decimal(low: float, high: float) -> Fraction | None:
    """The number of fewest digits in [low, high], 0 < low."""
    exponent = math.floor(math.log10(high))
    for digits in range(16):
        unit = Fraction(10) ** (exponent - digits)
        n = math.ceil(Fraction(low) / unit)
        if n * unit <= high:
            return n * unit
    return None


def _decimal_bits(fraction: Fraction) -> float:
    """Bits of m and k in m * 10**k."""
    p, q = fraction.numerator, fraction.denominator
    exponent = 0
    while q > 1:
        factor = 10 // math.gcd(q, 10)
        p, q, exponent = p * factor, q * factor // 10, exponent - 1
    while p % 10 == 0:
        p, exponent = p // 10, exponent + 1
    return 2 + _integer_bits(p) + _integer_bits(abs(exponent) + 1)


def candidates(value: float, error: float) -> Iterator[Exact]:
    """The simplest exact numbers of each kind within three standard errors of a value.

    Args:
        value: as measured, finite.
        error: standard error of it; inf where the data do not determine it.
    """
    if not error < 1e6 * max(1.0, abs(value)):
        yield Exact(1, Fraction(1), bits=2.0)
        return
    sign, size = (-1 if value < 0 else 1), abs(value)
    # float64 itself carries 52 bits; the last few are rounding errors of the fit
    error = max(error, 4e-16 * size)
    for z in _Z:
        low, high = max(0.0, size - z * error), size + z * error
        if low == 0:
            continue  # near zero: it is for pruning to remove it
        for (root, power), extra in _KINDS.items():
            a, b = (limit**root / math.pi**power for limit in (low, high))
            if a < 1e-12 or b > 1e15:
                continue
            fraction = simplest_fraction(a, b)
            p, q = fraction.numerator, fraction.denominator
            if max(p, q) >= _LARGEST_INTEGER:
                continue
            if root == 2 and power == 0 and math.isqrt(p) ** 2 == p and math.isqrt(q) ** 2 == q:
                continue  # found among the fractions
            yield Exact(sign, fraction, root, power, extra + _integer_bits(p) + _integer_bits(q))
        decimal = _short_decimal(low, high)
        if decimal is not None:
            yield Exact(sign, decimal, bits=_decimal_bits(decimal))


def simplest(value: float, error: float) -> list[Exact]:
    """Exact numbers that describe a measured value in fewer bits than its own digits, best first.

    A distance of z standard errors costs z**2/2 nats.
    """

    def length(exact: Exact) -> float:
        z = (float(exact) - value) / error if math.isfinite(error) else 0.0
        return exact.bits + z * z / (2 * math.log(2))

    if not math.isfinite(value):
        return []
    error = max(error, 4e-16 * abs(value), 1e-300)
    limit = real_bits(value, error)
    near = sorted((e for e in candidates(value, error) if length(e) < limit), key=length)
    seen: dict[float, Exact] = {}
    for exact in near:
        seen.setdefault(float(exact), exact)
    return list(seen.values())
