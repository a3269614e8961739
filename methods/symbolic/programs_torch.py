"""The torch back end of `programs`: all nodes of a batch grouped by depth and operator.

Nodes of all expressions are numbered so that every group is one contiguous slice of the value
matrix; a group costs one gather an argument and one kernel. Device-agnostic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from methods.symbolic import vocabulary as tok

Tensor = torch.Tensor

# Numbers in flight at a time, nodes times points; larger blocks spend less on launching kernels.
NODE_VALUES = {"cpu": 2**23, "cuda": 2**27}


def _cube(a: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.mul(a * a, a, out=out)


def _power_slope(d: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where((a == 0) & (b > 0), torch.zeros_like(d), d * (v * a.log()))


def _arc_slope(a: Tensor) -> Tensor:
    return ((1 - a) * (1 + a)).sqrt()


# name -> (value of a, slope of the result by a times d, given the result v)
_UNARY: dict[str, tuple[Callable, Callable]] = {
    "neg": (torch.neg, lambda d, v, a: -d),
    "inv": (torch.reciprocal, lambda d, v, a: d * (-v * v)),
    "square": (torch.square, lambda d, v, a: d * (2 * a)),
    "cube": (_cube, lambda d, v, a: d * (3 * a * a)),
    "sqrt": (torch.sqrt, lambda d, v, a: d * (0.5 / v)),
    "exp": (torch.exp, lambda d, v, a: d * v),
    "log": (torch.log, lambda d, v, a: d / a),
    "sin": (torch.sin, lambda d, v, a: d * a.cos()),
    "cos": (torch.cos, lambda d, v, a: d * -a.sin()),
    "tan": (torch.tan, lambda d, v, a: d * (1 + v * v)),
    "tanh": (torch.tanh, lambda d, v, a: d * (1 - v * v)),
    "arcsin": (torch.arcsin, lambda d, v, a: d / _arc_slope(a)),
    "arccos": (torch.arccos, lambda d, v, a: -d / _arc_slope(a)),
    "arctan": (torch.arctan, lambda d, v, a: d / (1 + a * a)),
    "abs": (torch.abs, lambda d, v, a: d * torch.sgn(a)),
}
UNARY = {tok.ID[name]: _UNARY[name] for name in tok.UNARY_NAMES}
# id -> (value of a and b, slopes by a and by b times d)
BINARY: dict[int, tuple[Callable, Callable, Callable]] = {
    tok.ADD: (torch.add, lambda d, v, a, b: d.clone(), lambda d, v, a, b: d.clone()),
    tok.SUB: (torch.sub, lambda d, v, a, b: d.clone(), lambda d, v, a, b: -d),
    tok.MUL: (torch.mul, lambda d, v, a, b: d * b, lambda d, v, a, b: d * a),
    tok.DIV: (torch.div, lambda d, v, a, b: d / b, lambda d, v, a, b: d * (-v / b)),
    tok.POW: (torch.pow, lambda d, v, a, b: d * (b * a.pow(b - 1)), _power_slope),
}


@dataclass(frozen=True)
class Group:
    """Nodes start:stop, which share an operator and a depth; `first`, `second` are their arguments.

    `first_slope` and `second_slope` say where in the matrix of slopes an argument's row is; None
    where none of the arguments holds a placeholder.
    """

    op: int
    start: int
    stop: int
    first: Tensor
    second: Tensor | None
    first_slope: Tensor | None
    second_slope: Tensor | None


@dataclass(frozen=True)
class Program:
    """A compiled batch of B expressions with M nodes in all.

    Nodes without placeholders below them come first; each half is sorted by depth, deepest first,
    then by operator. Slopes are kept for the second half alone, after one row that nobody reads.

    Attributes:
        fixed: groups that do not depend on the constants, arguments before their users.
        varying: groups that do, likewise.
        nodes: M.
        fixed_nodes: nodes that do not depend on the constants; the numbers of the others follow.
        roots: (B,) node of each expression's result.
        variable_nodes, variable_rows, variable_columns: leaves that read X.
        constant_nodes, constant_rows, constant_columns: leaves that read the constants.
        literal_nodes, literal_values: leaves that are numbers; values in float64.
    """

    fixed: list[Group]
    varying: list[Group]
    nodes: int
    fixed_nodes: int
    roots: Tensor
    variable_nodes: Tensor
    variable_rows: Tensor
    variable_columns: Tensor
    constant_nodes: Tensor
    constant_rows: Tensor
    constant_columns: Tensor
    literal_nodes: Tensor
    literal_values: Tensor


def layout(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the nodes of valid rows (B, L) stand, without a loop over positions.

    Returns:
        For each position, (B, L): index of the second argument (L where there is none), depth below
        the root, and whether the subtree holds a placeholder. Padding has values without meaning.
    """
    L, place = tokens.shape[1], torch.arange(tokens.shape[1], device=tokens.device)
    arity = torch.tensor(tok.ARITY, device=tokens.device)[tokens]
    # Arguments still owed after a token; a subtree ends where one fewer is owed than before it.
    change = torch.where(arity < 0, 0, arity - 1).to(torch.int16)
    owed = change.cumsum(1, dtype=torch.int16)
    settled = (owed[:, None, :] == (owed - change)[:, :, None] - 1) & (place >= place[:, None])
    end = settled.to(torch.uint8).argmax(2) + 1
    inside = (place >= place[:, None]) & (place < end[:, :, None])
    depth = inside.sum(1) - 1
    constant = torch.nn.functional.pad((tokens == tok.CONSTANT).cumsum(1), (1, 0))
    holds = constant.gather(1, end) > constant[:, :-1]
    next_end = torch.nn.functional.pad(end[:, 1:], (0, 1))
    return torch.where(arity == 2, next_end, L), depth, holds


def compile_batch(tokens: Tensor, with_slopes: bool = True) -> Program:
    """Group the nodes of valid rows (B, L), on the device of `tokens`.

    Without slopes all nodes count as fixed, which makes fewer groups; such a program serves one
    `forward` and no `reverse`.
    """
    device, (B, L) = tokens.device, tokens.shape
    tokens = tokens.long()
    second, depth, holds = layout(tokens)
    row, position = (tokens != tok.PAD).nonzero(as_tuple=True)
    op, varies = tokens[row, position], holds[row, position] & with_slopes
    key = (varies * L + L - 1 - depth[row, position]) * tok.SIZE + op
    key, order = torch.sort(key, stable=True)
    row, position, op, varies = row[order], position[order], op[order], varies[order]
    number = torch.zeros((B, L + 1), dtype=torch.int64, device=device)
    number[row, position] = torch.arange(len(row), device=device)
    first_of, second_of = number[row, position + 1], number[row, second[row, position]]
    # Which groups there are, and in which of them first or second arguments have slopes.
    keys, member, counts = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    fixed_nodes = (~varies).sum()
    arguments = torch.stack([first_of, second_of])
    slopes = (arguments - fixed_nodes + 1).clamp_min(0) * varies
    wanted = torch.zeros((2, len(keys)), dtype=torch.int64, device=device)
    wanted.index_add_(1, member, slopes)
    table = torch.stack([keys, counts, *wanted, fixed_nodes.expand(len(keys))])
    fixed, varying, start, first_varying = [], [], 0, 0
    for group_key, count, *slope_sums, first_varying in table.T.tolist():
        group_op, here = group_key % tok.SIZE, slice(start, start + count)
        if (used := tok.ARITY[group_op]) > 0:
            group = Group(
                group_op,
                start,
                start + count,
                *(arguments[k, here] if k < used else None for k in range(2)),
                *(slopes[k, here] if k < used and slope_sums[k] else None for k in range(2)),
            )
            (varying if start >= first_varying else fixed).append(group)
        start += count
    variable = torch.tensor(tok.IS_VARIABLE, device=device)[op].nonzero()[:, 0]
    literal = torch.tensor(tok.IS_LITERAL, device=device)[op].nonzero()[:, 0]
    constant = (op == tok.CONSTANT).nonzero()[:, 0]
    column = (tokens == tok.CONSTANT).cumsum(1) - 1
    return Program(
        fixed=fixed,
        varying=varying,
        nodes=len(row),
        fixed_nodes=first_varying,
        roots=number[:, 0],
        variable_nodes=variable,
        variable_rows=row[variable],
        variable_columns=op[variable] - tok.FIRST_VARIABLE,
        constant_nodes=constant,
        constant_rows=row[constant],
        constant_columns=column[row[constant], position[constant]],
        literal_nodes=literal,
        literal_values=torch.tensor(tok.LITERAL_VALUE, device=device)[op[literal]],
    )


def forward(program: Program, X: Tensor, constants: Tensor, V: Tensor | None = None) -> Tensor:
    """Values (M, N) of all nodes, for X (N, D) or (B, N, D) and constants (B, K).

    V, an earlier result for the same program and X, is brought up to date for new constants.
    """
    groups = program.varying
    if V is None:
        V = X.new_empty((program.nodes, X.shape[-2]))
        if X.ndim == 2:
            V[program.variable_nodes] = X.T[program.variable_columns]
        else:
            V[program.variable_nodes] = X[program.variable_rows, :, program.variable_columns]
        V[program.literal_nodes] = program.literal_values.to(V)[:, None].expand(-1, V.shape[1])
        groups = program.fixed + program.varying
    leaves = constants[program.constant_rows, program.constant_columns]
    V[program.constant_nodes] = leaves[:, None].expand(-1, V.shape[1])
    for group in groups:
        if group.second is None:
            UNARY[group.op][0](V[group.first], out=V[group.start : group.stop])
        else:
            out = V[group.start : group.stop]
            BINARY[group.op][0](V[group.first], V[group.second], out=out)
    return V


def reverse(program: Program, V: Tensor, shape: tuple[int, int]) -> Tensor:
    """Derivatives (B, K, N) by the constants, from the values V (M, N); shape is (B, K)."""
    offset = program.fixed_nodes - 1
    A = V.new_zeros((program.nodes - offset, V.shape[1]))
    A[(program.roots - offset).clamp_min(0)] = 1
    for group in reversed(program.varying):
        d, v = A[group.start - offset : group.stop - offset], V[group.start : group.stop]
        a = V[group.first]
        if group.second is None:
            A[group.first_slope] = UNARY[group.op][1](d, v, a)
            continue
        b = V[group.second]
        _, by_first, by_second = BINARY[group.op]
        if group.first_slope is not None:
            A[group.first_slope] = by_first(d, v, a, b)
        if group.second_slope is not None:
            A[group.second_slope] = by_second(d, v, a, b)
    J = V.new_zeros((*shape, V.shape[1]))
    J[program.constant_rows, program.constant_columns] = A[program.constant_nodes - offset]
    return J


def run(tokens: Tensor, X: Tensor, constants: Tensor, with_jacobian: bool) -> tuple[Tensor, ...]:
    """See `programs.evaluate_with_jacobian`; the arguments are checked tensors of one device.

    Works through the batch in blocks of `NODE_VALUES` numbers.
    """
    tokens = tokens.to(X.device)
    block = max(1, NODE_VALUES.get(X.device.type, 2**23) // max(1, tokens.shape[1] * X.shape[-2]))
    parts = []
    for lo in range(0, len(tokens), block):
        here = slice(lo, lo + block)
        program = compile_batch(tokens[here], with_jacobian)
        V = forward(program, X if X.ndim == 2 else X[here], constants[here])
        part = (V[program.roots],)
        if with_jacobian:
            part += (reverse(program, V, tuple(constants[here].shape)).transpose(1, 2),)
        parts.append(part)
    if not parts:
        empty = X.new_empty((0, X.shape[-2]))
        return (empty, empty[:, :, None].expand(-1, -1, constants.shape[1]))[: 1 + with_jacobian]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
