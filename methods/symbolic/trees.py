"""Batches of random canonical expressions, in tensors from first to last.

How, and why so. One expression at a time in Python gives a few thousand a second; a GPU can train
on a hundred thousand. Rewriting in tensors (every rule of `canonical` at every node, until nothing
changes) costs thousands of kernels. So trees are built such that they are canonical to begin with:

1. `grow` draws trees left to right from the rules of `grammar`. The number of tokens of every
   subtree is drawn before the subtree, so its position in the row is known at once and no stack is
   needed: step i looks at column i of the whole batch. The rules keep the local part of the
   canonical form.
2. `name_variables` turns the leaves into variables.
3. `sort_operands` brings chains of + and * into order, from the right to the left, by exchanging
   neighbours in place: an insertion sort in all rows at once.
4. `canonical_check.is_canonical` finds rows with something left to simplify: equal factors, like
   terms, shared factors, signs or constants in the wrong place. Where turning a difference is all
   it takes, that is done; the others, about half, are thrown away.

The tests compare what remains with `canonical.canonical`. No step waits for one expression, none
reads a value back to the host but the sizes of subsets; rows of a batch never influence each other.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from methods.symbolic import grammar
from methods.symbolic import vocabulary as tok


@functools.cache
def table(name: str, device: torch.device) -> Tensor:
    """An array of `grammar.tables()` or of the vocabulary on a device."""
    array = getattr(grammar.tables(), name, None)
    array = getattr(tok, name) if array is None else array
    return torch.from_numpy(np.array(array)).to(device)


@functools.cache
def _members(ids: tuple[int, ...], device: torch.device) -> Tensor:
    members = torch.zeros(tok.SIZE, dtype=torch.bool, device=device)
    members[list(ids)] = True
    return members


def is_any(tokens: Tensor, *ids: int) -> Tensor:
    """Whether each token is one of `ids`."""
    return _members(ids, tokens.device)[tokens]


def grow(
    lengths: Tensor, closed: Tensor, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one tree of each length.

    Args:
        lengths: int64 (B,), tokens of each tree, 1 to width.
        closed: int64 (B,), families of functions that the whole tree does without, as bits in the
            order of `grammar.FAMILIES`.
        width: columns of the result.
        generator: of the device of `lengths`.

    Returns:
        Tokens int64 (B, width), x0 standing for every variable, and whether each tree could be
        completed with its length, bool (B,).
    """
    device, B = lengths.device, len(lengths)
    draw = table("draw", device)
    classes, bins = draw.shape[1:]
    draw = draw.flatten()
    rows = torch.arange(B, device=device)
    # One column more takes what is written beyond the end.
    state = torch.zeros((width + 1, B), dtype=torch.int64, device=device)
    budget = torch.zeros_like(state)
    tokens = torch.full((width, B), tok.PAD, dtype=torch.int64, device=device)
    alive = torch.ones(B, dtype=torch.bool, device=device)
    state[0], budget[0] = grammar.tables().start + closed, lengths
    chance = torch.rand((2, width, B), device=device, generator=generator)
    sets = 1 << len(grammar.FAMILIES)
    for i in range(width):
        n = budget[i]
        used = n > 0
        bin_ = (chance[0, i] * bins).long().clamp_(max=bins - 1)
        row = state[i] * classes + (n.clamp(1, classes) - 1)
        rule = draw[row * bins + bin_].long()
        alive &= ~used | (rule > 0)
        tokens[i] = torch.where(used, table("token", device)[rule], tok.PAD)
        arity = torch.where(used, table("arity", device)[rule], 0)
        inside = (state[i] % sets) | table("closes", device)[rule]
        child, shortest = table("child", device)[:, rule], table("shortest", device)[:, rule]
        longest = table("longest", device)[:, rule]
        low = torch.maximum(shortest[0], n - 1 - longest[1])
        high = torch.minimum(longest[0], n - 1 - shortest[1])
        split = low + (chance[1, i] * (high - low + 1)).long().clamp_(min=0)
        first = torch.where(arity == 2, torch.minimum(split, n - 2), n - 1)
        # Children that do not exist are written to the last column.
        at = torch.where(arity > 0, min(i + 1, width), width)
        state[at, rows], budget[at, rows] = child[0] + inside, first
        at = torch.where(arity == 2, i + 1 + first, width)
        at = at.clamp(max=width)
        state[at, rows], budget[at, rows] = child[1] + inside, n - 1 - first
        budget[width] = 0
    return tokens.T.contiguous(), alive


def name_variables(
    tokens: Tensor, used: Tensor, total: Tensor, generator: torch.Generator
) -> Tensor:
    """Give the leaves of each tree `used` different variables out of its first `total` columns.

    Every one of them occurs; leaves beyond the number of variables repeat one at random.

    Args:
        tokens: int64 (B, L) of `grow`.
        used: int64 (B,), at least 1, at most the number of leaves and `total`.
        total: int64 (B,), at most 10.
    """
    B, L = tokens.shape
    chance = torch.rand((B, L), device=tokens.device, generator=generator)
    leaf = tokens == tok.FIRST_VARIABLE
    order = torch.where(leaf, chance, 2.0).argsort(1).argsort(1)  # leaves in random order
    again = torch.rand((B, L), device=tokens.device, generator=generator)
    which = torch.where(order < used[:, None], order, (again * used[:, None]).long())
    column = _random_columns(B, total, generator)
    name = column.gather(1, which.clamp(max=tok.MAX_VARIABLES - 1)) + tok.FIRST_VARIABLE
    return torch.where(leaf, name, tokens)


def _random_columns(B: int, total: Tensor, generator: torch.Generator) -> Tensor:
    """The first `total` columns of each row in random order, (B, 10)."""
    chance = torch.rand((B, tok.MAX_VARIABLES), device=total.device, generator=generator)
    exists = torch.arange(tok.MAX_VARIABLES, device=total.device) < total[:, None]
    return torch.where(exists, chance, 2.0).argsort(1)


def subtree_sizes(tokens: Tensor) -> Tensor:
    """`vocabulary.subtree_sizes` in tensors: (B, L) -> (B, L), 0 at the padding."""
    B, L = tokens.shape
    arity = table("ARITY", tokens.device)[tokens].T
    rows = torch.arange(B, device=tokens.device)
    sizes = torch.zeros((L + 1, B), dtype=torch.int64, device=tokens.device)
    for i in range(L - 1, -1, -1):
        first = torch.where(arity[i] > 0, sizes[i + 1], 0)
        second = sizes[(i + 1 + first).clamp(max=L), rows]
        sizes[i] = torch.where(arity[i] > 1, second, 0) + first + (arity[i] >= 0)
    return sizes[:-1].T.contiguous()


def sort_operands(tokens: Tensor, turn: Tensor | None = None) -> Tensor:
    """Bring the operands of + and * into lexicographic order.

    Every row is an insertion sort of its own, from its last operator to its first; all rows take a
    step at a time, and those that are done leave.

    Args:
        tokens: int64 (B, L), valid rows in which chains of one operator nest to the right.
        turn: bool (B, L), positions of `-` whose two sides are to be exchanged.
    """
    L, device = tokens.shape[1], tokens.device
    todo = is_any(tokens, tok.ADD, tok.MUL)
    todo = todo if turn is None else todo | turn
    last = torch.where(todo, torch.arange(L, device=device), -1).cummax(1).values
    last = pad(last, (1, 0), value=-1)  # [i]: the last position to look at before i
    tokens = pad(tokens, (0, L), value=tok.PAD)
    sizes = pad(subtree_sizes(tokens[:, :L]), (0, L))
    rows = torch.arange(len(tokens), device=device)
    begin = last[:, L]  # all to the right of it is in order, but for one operand on its way
    at = begin  # the operator after which that operand stands
    while len(rows):
        keep = (begin >= 0).nonzero()[:, 0]
        rows, begin, at = rows[keep], begin[keep], at[keep]
        op = tokens[rows, at]
        second = at + 1 + sizes[rows, at + 1]
        chain = (tokens[rows, second] == op) & (op != tok.SUB)
        passes = _is_less(tokens, rows, second + chain, at + 1) | (op == tok.SUB)
        moved = passes.nonzero()[:, 0]
        inner = _swap(tokens, sizes, rows[moved], at[moved], chain[moved])
        goes_on = passes & chain
        begin = torch.where(goes_on, begin, last[rows, begin])
        at = begin.scatter(0, moved, torch.where(chain[moved], inner, begin[moved]))
    return tokens[:, :L].contiguous()


def _is_less(tokens: Tensor, rows: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Whether the subtree at `one` comes before that at `two`."""
    offsets = torch.arange(tokens.shape[1] // 2, device=tokens.device)
    place = rows[:, None] * tokens.shape[1] + offsets
    a, b = (tokens.take(place + start[:, None]) for start in (one, two))
    # Prefix expressions differ within the shorter one or not at all.
    first = (a != b).int().argmax(1, keepdim=True)
    return (a.gather(1, first) < b.gather(1, first))[:, 0]


def _swap(tokens: Tensor, sizes: Tensor, rows: Tensor, at: Tensor, chain: Tensor) -> Tensor:
    """Turn `op A (op) B` at `at` into `op B (op) A` in place, the inner op only in a `chain`.

    Returns:
        Position of the inner op.
    """
    a = sizes[rows, at + 1]
    b = sizes[rows, at + 1 + a + chain]
    place = torch.arange(tokens.shape[1], device=tokens.device)
    u = place - at[:, None] - 1
    first, second, link = a[:, None], b[:, None], chain[:, None].long()
    source = torch.where(u < second, u + first + link, u - second - link)
    source = torch.where((link > 0) & (u == second), first, source)
    inside = (u >= 0) & (u < first + second + link)
    source = torch.where(inside, source + at[:, None] + 1, place)
    tokens[rows] = tokens[rows].gather(1, source)
    sizes[rows] = sizes[rows].gather(1, source)
    inner = at + 1 + b
    sizes[rows, inner] += torch.where(chain, a - b, 0)
    return inner
