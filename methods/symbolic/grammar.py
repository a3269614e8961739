"""The prior of the sampler: which expressions are likely, as weighted rules.

Reasoned, not fitted: no benchmark formula and no statistic of one was used. What it believes is
what physics, chemistry and engineering text looks like in general: mostly products and ratios of
distinct variables; squares, differences and roots of sums of squares; decaying exponentials of
ratios; oscillations of a product; few constants, in front of a product, as an offset or as a free
exponent; rarely more than one function inside another and never one of its own kind.

The rules also keep most of the canonical form (see `canonical`), so that little has to be thrown
away afterwards: a chain has no `-` or `/` inside, a product has at most one number, powers do not
stand in powers, a subtracted term has no free constant. `trees` does the rest.

A rule is a weight and `token child child`, a child being the name of another list of rules. `x`
stands for any variable, `@name` for all rules of that list in proportion to their own weights.
Weights count among the rules that can reach the number of tokens still to be placed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from methods.symbolic import vocabulary as tok

_Rules = list[tuple[float, str]]

_NUMBERS = {
    "scale": [(6, "C"), (2, "2"), (1, "3"), (1, "4"), (0.3, "5"), (1, "pi")],
    "whole": [(4, "2"), (2, "3"), (2, "4"), (1, "5"), (1, "pi")],
    "even": [(2, "2"), (1, "4")],
    "portion": [(6, "2"), (2, "3"), (2, "4"), (1, "5"), (0.5, "pi")],
    "offset": [(5, "C"), (4, "1"), (0.8, "2"), (0.3, "3"), (0.1, "4"), (0.1, "5")],
    "unit": [(6, "1"), (1, "2"), (0.4, "3"), (0.1, "4"), (0.1, "5")],
    "prime": [(3, "2"), (1, "3")],
    "exponent": [(1, "C")],
}
_FUNCTIONS = {
    # Functions that may stand in a power, a root, a logarithm's product or a divisor.
    "inner": [
        (2, "log quantity"), (3, "sin angle"), (3, "cos angle"), (0.4, "tan angle"),
        (1, "tanh angle"), (0.6, "arcsin ratio"), (0.4, "arccos ratio"), (0.8, "arctan angle"),
    ],
    "plain": [
        (6, "square base"), (1, "cube base"), (4, "sqrt radicand"), (0.8, "abs size"),
        (2.5, "@inner"),
    ],
    "function": [(3.5, "exp growth"), (0.6, "pow body exponent"), (8, "@plain")],
    "base": [
        (6, "x"), (5, "- term taken"), (2, "@sum"), (1, "@inner"), (2, "* part parts"),
        (3, "/ parts parts"),
    ],
    "radicand": [
        (3, "x"), (4, "+ power powers"), (2, "- power power"), (2, "+ offset powers"),
        (2, "- unit power"), (1.5, "@sum"), (2, "* part parts"), (3, "/ parts parts"),
        (0.7, "* prime parts"),
    ],
    "power": [(5, "square base"), (1, "@bare")],
    "powers": [(3, "@power"), (1, "+ power powers")],
    "growth": [
        (5, "neg bare"), (2, "@product"), (1, "@bare"), (0.7, "- term taken"),
        (0.3, "+ term terms"),
    ],
    "quantity": [(3, "x"), (3, "@sum"), (1.5, "* part parts"), (4, "/ parts parts")],
    "angle": [(3, "x"), (4, "@product"), (2.5, "@sum"), (0.3, "@function")],
    "ratio": [(2, "x"), (4, "/ factors divisor"), (1, "* factor factors")],
    "size": [(1, "x"), (4, "@sum"), (1, "* part parts"), (1, "/ parts parts")],
    "body": [(4, "x"), (1.5, "@sum"), (1.5, "/ parts parts")],
}  # fmt: skip
_PRODUCTS = {
    "part": [(5, "x"), (1, "@inner"), (2, "@sum")],
    "parts": [(3, "@part"), (1, "* part parts")],
    "factor": [(8, "x"), (3, "@function"), (3, "@sum")],
    "factors": [(3, "@factor"), (1, "* factor factors")],
    "divisor": [(6, "x"), (2, "@plain"), (3, "@sum"), (2, "* below belows")],
    "below": [(6, "x"), (2, "@plain"), (2, "@sum")],
    "belows": [(3, "@below"), (1, "* below belows")],
    "split": [(1, "* portion belows")],
    "scaled": [(6, "* scale factors"), (1, "* even circle")],
    "circle": [(1, "* pi factors")],
    "pi": [(1, "pi")],
    # A product or ratio of two things or more; without a free constant in "exact".
    "exact": [
        (1, "* whole factors"), (0.3, "* even circle"), (7, "* factor factors"),
        (6, "/ factors divisor"), (0.5, "/ whole divisor"), (0.5, "/ wholes divisor"),
        (1, "/ factors portion"), (1, "/ factors split"), (1, "inv divisor"), (0.3, "inv split"),
    ],
    "wholes": [(1, "* whole factors")],
    "product": [
        (6, "@scaled"), (1.5, "/ scale divisor"), (2, "/ scaled divisor"), (8, "@exact"),
    ],
}  # fmt: skip
_SUMS = {
    "bare": [(3, "x"), (4, "@exact"), (2, "@function")],
    "term": [(3, "x"), (4, "@product"), (2, "@function")],
    "terms": [(3, "@term"), (1, "+ term terms")],
    "taken": [(4, "@bare"), (1, "+ bare taken")],
    "plus": [(2, "+ term terms"), (1, "+ offset terms")],
    "sum": [
        (5, "+ term terms"), (2.5, "+ offset terms"), (5, "- term taken"), (2, "- offset taken"),
        (1, "- plus taken"), (0.8, "- term unit"),
    ],
    "start": [(6, "@product"), (5, "@sum"), (2, "@function"), (0.2, "neg bare")],
}  # fmt: skip
RULES: dict[str, _Rules] = {**_SUMS, **_PRODUCTS, **_FUNCTIONS, **_NUMBERS}
RULES["start"] = [(1, "x"), *RULES["start"]]

# Families of functions. One that stands around a node, or that an expression does without from the
# start, is not drawn again inside.
FAMILIES = {
    "wave": ("sin", "cos", "tan", "tanh", "arcsin", "arccos", "arctan"),
    "exp": ("exp",),
    "log": ("log",),
    "sqrt": ("sqrt",),
    "rare": ("tan", "tanh", "arcsin", "arccos", "arctan", "abs", "pow", "cube"),
}
# Probability that a family is absent from a whole expression.
ABSENT = {"wave": 0.4, "exp": 0.45, "log": 0.5, "sqrt": 0.35, "rare": 0.6}
_CLOSES = {name: family for family, names in FAMILIES.items() for name in names if family != "rare"}
_CLOSES |= {"pow": "rare", "abs": "rare"}
_ALSO_CLOSES = {"exp": ("log",)}  # exp(y*log(x)) is pow(x, y)


@dataclass(frozen=True)
class Tables:
    """The rules as arrays.

    A state is (list of rules) * 2**F + (bit set of closed families), F the number of families. Rule
    0 marks a dead end: nothing can be placed there with the tokens that are left.

    Attributes:
        start: first state of an expression with nothing closed.
        draw: int16 (states, lengths, bins): a rule for a state, min(tokens left, lengths) - 1 and a
            uniform bin. A rule's share of the bins is its probability.
        token: (rules,) token ids; FIRST_VARIABLE stands for any variable.
        arity: (rules,).
        child: (2, rules) lists of rules of the children, times 2**F.
        closes: (rules,) bits that a rule closes in its children.
        shortest, longest: (2, rules) least and greatest number of tokens of each child.
    """

    start: int
    draw: np.ndarray
    token: np.ndarray
    arity: np.ndarray
    child: np.ndarray
    closes: np.ndarray
    shortest: np.ndarray
    longest: np.ndarray


def _expand(name: str) -> dict[str, float]:
    """The rules of a list without `@`, with weights that sum to 1."""
    out: dict[str, float] = {}
    total = sum(weight for weight, _ in RULES[name])
    for weight, rule in RULES[name]:
        inner = _expand(rule[1:]) if rule.startswith("@") else {rule: 1.0}
        for key, share in inner.items():
            out[key] = out.get(key, 0) + weight / total * share
    return out


@functools.cache
def tables(lengths: int = 8, bins: int = 1024) -> Tables:
    """Compile RULES; `lengths` is where longer remainders stop making a difference."""
    lists = {name: _expand(name) for name in RULES}
    rules = ["", *sorted({rule for expanded in lists.values() for rule in expanded})]
    number = {rule: i for i, rule in enumerate(rules)}
    names = [rule.split() for rule in rules]
    place = {name: i for i, name in enumerate(RULES)}
    shortest, longest = _spans(lists)
    families = list(FAMILIES)
    bits = {family: 1 << i for i, family in enumerate(families)}
    closed_by = {name: sum(bits[f] for f in families if name in FAMILIES[f]) for name in tok.NAMES}
    closes = {
        name: bits[family] + sum(bits[f] for f in _ALSO_CLOSES.get(name, ()))
        for name, family in _CLOSES.items()
    }

    def fits(rule: str, n: int) -> bool:
        children = rule.split()[1:]
        low = 1 + sum(shortest[c] for c in children)
        return low <= n <= 1 + sum(longest[c] for c in children)

    sets = 1 << len(families)
    draw = np.zeros((len(RULES) * sets, lengths, bins), dtype=np.int16)
    levels = (np.arange(bins) + 0.5) / bins
    for name, expanded in lists.items():
        for closed in range(sets):
            for n in range(1, lengths + 1):
                open_ = [
                    r
                    for r in expanded
                    if fits(r, n) and not closed_by.get(r.split()[0], 0) & closed
                ]
                if open_:
                    share = np.cumsum([expanded[r] for r in open_])
                    chosen = np.searchsorted(share / share[-1], levels)
                    draw[place[name] * sets + closed, n - 1] = np.array([number[r] for r in open_])[
                        chosen
                    ]
    children = [[n[i] if len(n) > i else None for n in names] for i in (1, 2)]
    ids = {**tok.ID, "x": tok.FIRST_VARIABLE}
    return Tables(
        start=place["start"] * sets,
        draw=draw,
        token=np.array([ids[n[0]] if n else tok.FIRST_VARIABLE for n in names]),
        arity=np.array([max(len(n) - 1, 0) for n in names]),
        child=np.array([[place.get(c, 0) * sets for c in side] for side in children]),
        closes=np.array([closes.get(n[0], 0) if n else 0 for n in names]),
        shortest=np.array([[shortest.get(c, 0) for c in side] for side in children]),
        longest=np.array([[longest.get(c, 0) for c in side] for side in children]),
    )


def _spans(lists: dict[str, dict[str, float]]) -> tuple[dict[str, int], dict[str, int]]:
    """The least and greatest number of tokens each list can produce (999: no limit)."""
    shortest = dict.fromkeys(lists, 999)
    for _ in lists:
        for name, expanded in lists.items():
            for rule in expanded:
                length = 1 + sum(shortest[c] for c in rule.split()[1:])
                shortest[name] = min(shortest[name], length)
    only_leaves = {name: all(len(r.split()) == 1 for r in lists[name]) for name in lists}
    return shortest, {name: 1 if only_leaves[name] else 999 for name in lists}
