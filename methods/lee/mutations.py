"""Wrong versions of expressions, to train on and to search with."""

from __future__ import annotations

import numpy as np

from methods.symbolic import vocabulary as tok

_LEAVES = np.flatnonzero(tok.IS_LEAF)
_UNARIES = np.flatnonzero(tok.IS_UNARY)
_BINARIES = np.flatnonzero(tok.IS_BINARY)


def mutate(tokens: np.ndarray, variables: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change each expression a little or much, keeping it valid.

    Half of the rows have single tokens exchanged for others with as many arguments, half have one
    subtree replaced by a subtree of another row; a quarter gets both. A row may come out as it was.

    Args:
        tokens: valid prefix rows, int64 (B, L).
        variables: int64 (B,), variables that may occur in each row.

    Returns:
        int64 (B, L).
    """
    kind = rng.random(len(tokens))
    grafted = np.where((kind < 0.625)[:, None], _graft(tokens, rng), tokens)
    changed = np.where((kind > 0.375)[:, None], _exchange(grafted, variables, rng), grafted)
    # A donor's variables may not exist here.
    index = changed - tok.FIRST_VARIABLE
    return np.where(
        tok.IS_VARIABLE[changed], tok.FIRST_VARIABLE + index % variables[:, None], changed
    )


def _exchange(tokens: np.ndarray, variables: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = tok.lengths(tokens)[:, None]
    chosen = rng.random(tokens.shape) < 1 / length
    at_least = (rng.random(length.shape) * length).astype(np.int64)
    np.put_along_axis(chosen, at_least, True, 1)
    leaf = rng.choice(_LEAVES, tokens.shape)
    # Half of the leaves are variables of the row, whose number is seldom ten.
    variable = tok.FIRST_VARIABLE + (rng.random(tokens.shape) * variables[:, None]).astype(np.int64)
    leaf = np.where(rng.random(tokens.shape) < 0.5, variable, leaf)
    other = np.choose(
        tok.ARITY[tokens].clip(0),
        [leaf, rng.choice(_UNARIES, tokens.shape), rng.choice(_BINARIES, tokens.shape)],
    )
    return np.where(chosen & (tokens != tok.PAD), other, tokens)


def _graft(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, length = np.arange(len(tokens)), tok.lengths(tokens)
    sizes = tok.subtree_sizes(tokens)
    donors = rng.permutation(len(tokens))
    i = (rng.random(len(tokens)) * length).astype(np.int64)
    j = (rng.random(len(tokens)) * length[donors]).astype(np.int64)
    removed, added = sizes[rows, i], sizes[donors, j]
    fits = length - removed + added <= tokens.shape[1]
    at = np.arange(tokens.shape[1])
    i, j, removed, added = (v[:, None] for v in (i, j, removed, added))
    own = np.take_along_axis(tokens, np.where(at < i, at, at - added + removed).clip(0, at[-1]), 1)
    own[(at >= i) & (at - added + removed > at[-1])] = tok.PAD
    given = np.take_along_axis(tokens[donors], (at - i + j).clip(0, at[-1]), 1)
    result = np.where((at >= i) & (at < i + added), given, own)
    return np.where(fits[:, None], result, tokens)
