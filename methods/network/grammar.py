"""Prefix grammar as the decoder needs it: which argument is filled next, and which tokens may.

An expression under construction is a stack of open arguments. A token fills the top one and opens
as many as it has arguments; when none is left, the expression is complete. So every sequence of
legal tokens is one valid expression, and no end token is needed.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from methods.symbolic import vocabulary as tok

ROOT = 0  # parent of the whole expression; ids of operators are `token` (their last or only
#           argument) or `token + tok.SIZE` (the first of two), which are never 0


@functools.cache
def _arity(device: torch.device) -> Tensor:
    return torch.tensor(tok.ARITY, device=device)


@functools.cache
def _allowed(device: torch.device) -> Tensor:
    """Bool (MAX_VARIABLES + 1, SIZE): tokens that exist when there are so many variables."""
    index = torch.arange(tok.SIZE) - tok.FIRST_VARIABLE
    count = torch.arange(tok.MAX_VARIABLES + 1)[:, None]
    absent = torch.tensor(tok.IS_VARIABLE) & (index >= count)
    return (~absent & ~torch.tensor(tok.IS_SPECIAL)).to(device)


def legal(owed: Tensor, room: Tensor, variables: Tensor) -> Tensor:
    """Tokens after which the expression can still be completed.

    Args:
        owed: int64 (...), open arguments, the one to be filled included.
        room: int64, broadcast to (...), tokens that may still be written, this one included.
        variables: int64, broadcast to (...), number of variables that exist.

    Returns:
        bool (..., SIZE). Where nothing is owed (the padding) all but the variables' rule holds.
    """
    fits = _arity(owed.device) <= (room - owed)[..., None]
    return fits & _allowed(owed.device)[variables]


class Frontier:
    """The open arguments of a batch of partial expressions.

    Attributes:
        owed: int64 (B,), how many arguments are open; 0 once complete.
        parent: int64 (B,), whose argument is filled next (see ROOT); ROOT once complete.
    """

    def __init__(self, rows: int, max_length: int, device: torch.device) -> None:
        self.owed = torch.ones(rows, dtype=torch.int64, device=device)
        self._stack = torch.full((rows, max_length + 2), ROOT, dtype=torch.int64, device=device)

    @property
    def parent(self) -> Tensor:
        top = self._stack.gather(1, (self.owed - 1).clamp_min(0)[:, None])[:, 0]
        return torch.where(self.owed > 0, top, ROOT)

    def step(self, token: Tensor) -> None:
        """Fill the next argument of every row with a token (B,); complete rows ignore theirs."""
        arity = torch.where(self.owed > 0, _arity(token.device)[token], 0)
        at = (self.owed - 1).clamp_min(0)
        # The last argument lies under the first; what is written above the top is never read.
        self._stack.scatter_(1, at[:, None], token[:, None])
        self._stack.scatter_(1, (at + 1)[:, None], (token + tok.SIZE)[:, None])
        self.owed = torch.where(self.owed > 0, self.owed + arity - 1, 0)

    def close(self, rows: Tensor) -> None:
        """Count some of the rows, bool (B,), as complete."""
        self.owed = torch.where(rows, 0, self.owed)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows, bool (B,)."""
        self.owed, self._stack = self.owed[rows], self._stack[rows]


def frontiers(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """`owed` and `parent` before each token of complete expressions: (B, L) -> two (B, L)."""
    frontier = Frontier(len(tokens), tokens.shape[1], tokens.device)
    owed, parent = [], []
    for token in tokens.unbind(1):
        owed.append(frontier.owed)
        parent.append(frontier.parent)
        frontier.step(token)
    return torch.stack(owed, 1), torch.stack(parent, 1)
