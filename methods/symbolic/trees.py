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
4. `is_canonical` finds rows with what is left to simplify: equal factors, like terms, shared
   factors, signs or constants in the wrong place. They are thrown away; about two in five are.

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


def is_any(tokens: Tensor, *ids: int) -> Tensor:
    """Whether each token is one of `ids`."""
    table = torch.zeros(tok.SIZE, dtype=torch.bool, device=tokens.device)
    table[list(ids)] = True
    return table[tokens]


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


def sort_operands(tokens: Tensor) -> Tensor:
    """Bring the operands of + and * into lexicographic order.

    Args:
        tokens: int64 (B, L), valid rows in which chains of one operator nest to the right.
    """
    L, device = tokens.shape[1], tokens.device
    tokens = pad(tokens, (0, L), value=tok.PAD)
    sizes = pad(subtree_sizes(tokens[:, :L]), (0, L))
    offsets = torch.arange(L, device=device)
    for i in range(L - 3, -1, -1):
        # The chain below position i is in order; put the operand at i + 1 in its place.
        rows = is_any(tokens[:, i], tok.ADD, tok.MUL).nonzero()[:, 0]
        at = torch.full_like(rows, i)
        while len(rows):
            t, s = tokens[rows], sizes[rows]
            one = torch.arange(len(rows), device=device)
            op, a = t[one, at], s[one, at + 1]
            second = at + 1 + a
            chain = t[one, second] == op
            next_ = second + chain  # where the neighbour begins
            b = s[one, next_]
            A = t.gather(1, (at + 1)[:, None] + offsets)
            N = t.gather(1, next_[:, None] + offsets)
            # Prefix expressions differ within the shorter one or not at all.
            differs = (A != N) & (offsets < torch.minimum(a, b)[:, None])
            where = differs.int().argmax(1)
            after = differs.any(1) & (A[one, where] > N[one, where])
            keep = after.nonzero()[:, 0]
            rows, at, a, b, chain = rows[keep], at[keep], a[keep], b[keep], chain[keep]
            source = _exchange(at, a, b, chain, 2 * L)
            tokens[rows] = t[keep].gather(1, source)
            s = s[keep].gather(1, source)
            inner = at + 1 + b  # the operator between the two, in chains
            s[one[: len(keep)], inner] += torch.where(chain, a - b, 0)
            sizes[rows] = s
            rows, at = rows[chain], inner[chain]
    return tokens[:, :L].contiguous()


def _exchange(at: Tensor, a: Tensor, b: Tensor, chain: Tensor, width: int) -> Tensor:
    """Source positions that turn `op A (op) B` at `at` into `op B (op) A`; sizes a and b."""
    at, a, b, chain = (v[:, None] for v in (at, a, b, chain.long()))
    place = torch.arange(width, device=at.device)
    u = place - at - 1
    source = torch.where(u < b, at + 1 + a + chain + u, at + 1 + u - b - chain)
    source = torch.where((chain > 0) & (u == b), at + 1 + a, source)
    return torch.where((u >= 0) & (u < a + b + chain), source, place.expand_as(source))
