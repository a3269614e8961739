"""Whether expressions are in canonical form, for whole batches of them in tensors.

The sampler's trees (see `trees`) keep most of the form of `canonical` by the way they are drawn.
The rest is told here: equal factors, like terms, factors that all terms share, signs and constants
in the wrong place. A few passes of gathers and scatters over (B, L) and two sorts, no rewriting.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.symbolic import vocabulary as tok
from methods.symbolic.trees import is_any, subtree_sizes, table

_TRANSPARENT = (tok.MUL, tok.DIV, tok.INV, tok.SQUARE, tok.CUBE)  # what products are made of
_NUMBERS = (tok.CONSTANT, tok.PI, *tok.INTEGERS.values())
_ONCE = (tok.SQUARE, tok.CUBE, tok.SQRT, tok.EXP, tok.ABS)  # at most once in a product
# Around a product whose sign has nowhere else to go.
_KEEPS_SIGN = (tok.PAD, tok.EXP, tok.SQRT, tok.LOG, tok.POW, tok.ARCCOS)
_BELOW, _EVEN, _RAISED = 1, 2, 4  # how a factor stands: divided by, squared, in a power
_FAR = 2**62


@functools.cache
def _salts(L: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random words for tokens and positions, powers of an odd base and of its inverse mod 2**64."""
    rng = np.random.default_rng(0)
    base = int(rng.integers(2**62)) * 2 + 1
    inverse = pow(base, -1, 2**64)
    powers = [[pow(b, i, 2**64) for i in range(L)] for b in (base, inverse)]
    words = [rng.integers(2**64, size=n, dtype=np.uint64) for n in (tok.SIZE, L)]
    arrays = words + [np.array(p, dtype=np.uint64) for p in powers]
    return tuple(torch.from_numpy(a.view(np.int64)).to(device) for a in arrays)


def _mix(*words: Tensor | int) -> Tensor:
    """A hash of some integers, elementwise."""
    h = torch.zeros((), dtype=torch.int64)
    for word in words:
        h = (h ^ word) * -7046029254386353131
        h = h ^ (h >> 29)
    return h


def _hashes(tokens: Tensor, sizes: Tensor) -> Tensor:
    """A word for each subtree, equal for equal ones; placeholders are all different."""
    L = tokens.shape[1]
    word, place, power, inverse = _salts(L, tokens.device)
    value = word[tokens] + torch.where(tokens == tok.CONSTANT, place, 0)
    until = pad((value * power).cumsum(1), (1, 0))
    end = until.gather(1, torch.arange(L, device=tokens.device) + sizes)
    return (end - until[:, :-1]) * inverse


class _Facts:
    """What stands where in a batch of rows; all (B, L), meaningful at used positions only.

    Attributes:
        parent: token above each node, PAD at the top.
        root: position at which the product begins that a node is a factor of, or part of one.
        stand: how it stands in it, bits _BELOW, _EVEN, _RAISED.
        below: whether it stands below the line.
        sum: position at which the sum begins that a + or - is part of.
        sum_above: that of the parent.
        is_sum: whether a sum begins here.
        term: whether a node is a term of a sum.
        factor: whether a node is a factor of its product and no number.
        free: whether the product that begins here has a free constant in front.
        numbers: whether it has any number in front.
        terms: how many terms the sum that begins here has.
        fixed: how many of them have no free constant.
        hash: a word for each subtree, equal for equal ones; placeholders are all different.
        row: index of the row.
    """

    def __init__(self, tokens: Tensor):
        B, L = tokens.shape
        device = tokens.device
        self.tokens, self.sizes = tokens, subtree_sizes(tokens)
        used = tokens != tok.PAD
        arity = table("ARITY", device)[tokens]
        self.place = torch.arange(L, device=device).expand(B, L)
        self.row = torch.arange(B, device=device)[:, None].expand(B, L)
        second = torch.where(arity == 2, self.place + 1 + self.next(self.sizes), L)
        above = pad(torch.where(arity > 0, self.place, 0)[:, :-1], (1, 1))
        above = above.scatter_(1, second, self.place)[:, :L]
        is_second = torch.zeros((B, L + 1), dtype=torch.bool, device=device)
        is_second = is_second.scatter_(1, second, True)[:, :L]
        self.parent = tokens.gather(1, above)
        self.parent[:, 0] = tok.PAD
        plus_minus = is_any(tokens, tok.ADD, tok.SUB)
        in_sum = is_any(self.parent, tok.ADD, tok.SUB)
        self._pass_down(above, is_second, plus_minus & in_sum)
        self.below = (self.stand & _BELOW) > 0
        self.sum_above = self.sum.gather(1, above)
        self.is_sum = plus_minus & (self.sum == self.place)
        self.term = used & ~plus_minus & in_sum
        number = is_any(tokens, *_NUMBERS)
        self.factor = used & ~is_any(tokens, *_TRANSPARENT) & ~number
        self.free = self.count(self.root, tokens == tok.CONSTANT) > 0
        self.numbers = self.count(self.root, number) > 0
        self.terms = self.count(self.sum_above, self.term)
        self.fixed = self.count(self.sum_above, self.term & ~self.free)
        self.hash = _hashes(tokens, self.sizes)

    def _pass_down(self, above: Tensor, is_second: Tensor, chained: Tensor) -> None:
        """From left to right: what a node passes on to its children."""
        inside = is_any(self.parent, *_TRANSPARENT)
        turns = (self.parent == tok.INV) | ((self.parent == tok.DIV) & is_second)
        gains = torch.where(self.parent == tok.SQUARE, _EVEN | _RAISED, 0)
        gains = torch.where(self.parent == tok.CUBE, _RAISED, gains)
        columns = (above, inside, turns.long(), gains, chained, self.place)
        above, inside, turns, gains, chained, place = (c.T.contiguous() for c in columns)
        rows = self.row[:, 0]
        root, stand, sum_ = place.clone(), torch.zeros_like(place), place.clone()
        for i in range(1, len(place)):
            up = above[i]
            root[i] = torch.where(inside[i], root[up, rows], i)
            stand[i] = torch.where(inside[i], (stand[up, rows] ^ turns[i]) | gains[i], 0)
            sum_[i] = torch.where(chained[i], sum_[up, rows], i)
        self.root, self.stand, self.sum = (a.T.contiguous() for a in (root, stand, sum_))

    @staticmethod
    def next(values: Tensor) -> Tensor:
        """The values one position to the right."""
        return pad(values[:, 1:], (0, 1))

    @staticmethod
    def total(values: Tensor, index: Tensor, wanted: Tensor) -> Tensor:
        """Sums of the wanted values, brought to the position `index` names for each."""
        return torch.zeros_like(values).scatter_add_(1, index, torch.where(wanted, values, 0))

    def count(self, index: Tensor, wanted: Tensor) -> Tensor:
        """How many of the wanted nodes name a position."""
        return torch.zeros_like(index).scatter_add_(1, index, wanted.long())

    def least(self, values: Tensor, index: Tensor, wanted: Tensor) -> Tensor:
        """The least of the wanted values that name a position, _FAR where there is none."""
        far = torch.full_like(values, _FAR)
        return far.scatter_reduce(1, index, torch.where(wanted, values, _FAR), "amin")

    def rows_of(self, nodes: Tensor) -> Tensor:
        """Rows of the nodes at these flat positions, as bool (B,)."""
        bad = torch.zeros(len(self.tokens), dtype=torch.bool, device=nodes.device)
        bad[self.row.flatten()[nodes]] = True
        return bad


def is_canonical(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Whether nothing is left to simplify, and whether turning differences would do.

    Knows the rules of `canonical` as far as `grammar` leaves them open, so it is meant for rows of
    `trees.grow` after `trees.sort_operands` alone; in doubt it says no.

    Args:
        tokens: int64 (B, L), padded with PAD.

    Returns:
        bool (B,), and bool (B, L): in rows that fail by the sign of some differences alone, the
        differences to be turned (x1 - x0 into x0 - x1, another function) before looking again.
    """
    f = _Facts(tokens)
    upside_down = is_any(tokens, *_ONCE) & f.below & (f.next(tokens) == tok.DIV)
    bad = upside_down.any(1)  # 1/square(x/y)
    bad |= _has_repeated_factors(f)
    bad |= _has_shared_factors(f)
    bad |= _has_shared_numbers(f)
    bad |= _has_redundant_constant(f)
    misplaced, turns = _misplaced_signs(f)
    return ~(bad | misplaced), turns & ~bad[:, None]


def _has_repeated_factors(f: _Facts) -> Tensor:
    """Two equal factors in a product, two like terms in a sum, sqrt(x)/x."""
    base = torch.where(f.tokens == tok.POW, f.next(f.hash), f.hash)
    inside, content = f.next(f.tokens), f.next(f.hash)
    numbered = (inside == tok.MUL) & is_any(f.next(inside), *_NUMBERS)  # sqrt(2*x)
    inside = torch.where(numbered, f.next(f.next(inside)), inside)
    content = torch.where(numbered, f.next(f.next(content)), content)
    root_of_one = (f.tokens == tok.SQRT) & ~is_any(inside, *_TRANSPARENT)
    product = f.total(_mix(f.hash, f.stand), f.root, f.factor)
    below = f.below.long()
    entries = [
        (f.factor, _mix(f.row, f.root, base, 1)),
        (is_any(f.tokens, *_ONCE), _mix(f.row, f.root, f.tokens, 2)),
        (f.factor, _mix(f.row, f.root, f.hash, below + 3)),
        (root_of_one, _mix(f.row, f.root, content, (1 - below) + 3)),
        (f.term, _mix(f.row, f.sum_above, product, 5)),
    ]
    nodes = [wanted.flatten().nonzero()[:, 0] for wanted, _ in entries]
    keys = torch.cat([key.flatten()[n] for (_, key), n in zip(entries, nodes, strict=True)])
    keys, order = keys.sort()
    return f.rows_of(torch.cat(nodes)[order[1:][keys[1:] == keys[:-1]]])


def _has_shared_factors(f: _Facts) -> Tensor:
    """A factor that all terms of a sum have, on the same side of the line."""
    inside = (f.factor | (f.tokens == tok.PI)) & f.term.gather(1, f.root)
    nodes = inside.flatten().nonzero()[:, 0]
    sum_ = f.sum_above.gather(1, f.root)
    keys = _mix(f.row, sum_, f.hash, f.below.long()).flatten()[nodes]
    keys, order = keys.sort()
    # n equal keys in a row, n the number of terms: the one n - 1 places on is equal too.
    ahead = (
        torch.arange(len(keys), device=keys.device)
        + f.terms.gather(1, sum_).flatten()[nodes][order]
        - 1
    )
    shared = (ahead < len(keys)) & (keys[ahead.clamp(max=max(len(keys) - 1, 0))] == keys)
    return f.rows_of(nodes[order[shared]])


def _has_shared_numbers(f: _Facts) -> Tensor:
    """A whole number that divides all terms of a sum, or all their denominators."""
    bad = torch.zeros_like(f.term)
    for divisor in (2, 3, 5):
        multiple = is_any(f.tokens, *(i for n, i in tok.INTEGERS.items() if n % divisor == 0))
        for side in (~f.below, f.below):
            divisible = f.term & (f.count(f.root, multiple & side) > 0)
            bad |= f.is_sum & (f.count(f.sum_above, divisible) == f.terms)
    return bad.any(1)


def _misplaced_signs(f: _Facts) -> tuple[Tensor, Tensor]:
    """x1 - x0 where x0 - x1 would do, -(x0 - x1) where x1 - x0 would.

    Returns:
        Rows with such signs, and the differences to turn where that helps.
    """
    second = torch.where(f.tokens == tok.SUB, f.place + 1 + f.next(f.sizes), _FAR)
    subtracted = f.term & (f.place >= second.gather(1, f.sum_above))
    exact = f.term & ~f.free
    key = _order_keys(f.tokens, f.sizes)
    plus, minus = (f.least(key, f.sum_above, exact & s) for s in (~subtracted, subtracted))
    negative = f.is_sum & (minus <= plus) & (minus < _FAR)
    odd = f.is_sum & (f.stand & _EVEN == 0)
    alone = odd & (f.count(f.root, odd).gather(1, f.root) == 1)
    around = f.parent.gather(1, f.root)
    negative &= ~(alone & is_any(around, *_KEEPS_SIGN) & ~f.free.gather(1, f.root))
    differs = f.count(f.sum_above, subtracted) > 0
    bad = alone & (around == tok.NEG) & (differs | (f.fixed < f.terms))
    # x*(C + C*y) has a free sign.
    hosts = f.count(f.root, f.is_sum & (f.fixed == 0)) > 0
    bad |= f.is_sum & differs & (f.count(f.sum_above, f.term & hosts) > 0)
    bad |= negative & (f.fixed < f.terms)  # a free constant cannot be subtracted
    bad = bad.any(1)
    return bad | negative.any(1), negative & ~bad[:, None]


def _has_redundant_constant(f: _Facts) -> Tensor:
    """Free constants in sums that only scale the product; see `canonical_rules._place_constant`."""
    has_free = f.term & f.free
    around = f.parent.gather(1, f.root)
    scaled = f.count(f.root, f.is_sum & (f.fixed <= 1))
    host = (f.stand == 0) & ~f.numbers.gather(1, f.root) & (scaled.gather(1, f.root) == 1)
    host &= ~is_any(around, tok.ABS, tok.NEG)
    above_root = f.below.gather(1, (f.root - 1).clamp(min=0))
    host &= ~((around == tok.SQRT) & above_root)  # 1/sqrt(C + C*x)
    grouped = (f.tokens == tok.MUL) & is_any(f.next(f.next(f.tokens)), tok.ADD, tok.SUB)
    host &= f.count(f.sum_above, has_free & grouped) == 0  # C + C*(x - y)
    monic = (f.stand != 0) & _is_monic(f, has_free)
    bad = (f.fixed == 0) & ~host
    bad |= (f.fixed == 1) & f.free.gather(1, f.root) & ~monic
    return (f.is_sum & bad).any(1)


def _is_monic(f: _Facts, has_free: Tensor) -> Tensor:
    """Whether the one term of a sum without a free constant certainly leads it, by first tokens."""
    t, next_ = f.tokens, f.next(f.tokens)
    core = torch.where(t == tok.MUL, f.next(next_), torch.where(next_ == tok.CONSTANT, tok.INV, t))
    others = f.least(core, f.sum_above, has_free & (t != tok.CONSTANT))
    lead = torch.where(f.numbers, _FAR, t)
    return f.total(lead, f.sum_above, f.term & ~f.free) < others


def _order_keys(tokens: Tensor, sizes: Tensor) -> Tensor:
    """The first ten tokens of each subtree as one number, in lexicographic order."""
    key, padded = torch.zeros_like(tokens), pad(tokens, (0, 10), value=tok.PAD)
    for i in range(10):
        key = key * 64 + torch.where(i < sizes, padded[:, i : i + tokens.shape[1]], 0)
    return key
