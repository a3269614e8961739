"""The torch back end of `programs`: all nodes of a batch grouped by height and operator.

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


def _power_slope(d: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where((a == 0) & (b > 0), torch.zeros_like(d), d * (v * a.log()))


def _arc_slope(a: Tensor) -> Tensor:
    return ((1 - a) * (1 + a)).sqrt()


# name -> (value of a, slope of the result by a times d, given the result v)
_UNARY: dict[str, tuple[Callable, Callable]] = {
    "neg": (torch.neg, lambda d, v, a: -d),
    "inv": (torch.reciprocal, lambda d, v, a: d * (-v * v)),
    "square": (torch.square, lambda d, v, a: d * (2 * a)),
    "cube": (lambda a: a * a * a, lambda d, v, a: d * (3 * a * a)),
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
    """Nodes start:stop share an operator and a height; first and second hold their arguments."""

    op: int
    start: int
    stop: int
    first: Tensor
    second: Tensor | None


@dataclass(frozen=True)
class Program:
    """A compiled batch of B expressions with M nodes in all, sorted by height, then operator.

    Attributes:
        groups: operator nodes, arguments before their users; leaves come first in the numbering.
        nodes: M.
        roots: (B,) node of each expression's result.
        variable_nodes, variable_rows, variable_columns: leaves that read X.
        constant_nodes, constant_rows, constant_columns: leaves that read the constants.
        literal_nodes, literal_values: leaves that are numbers; values in float64.
        has_constant: bool (M,), whether the subtree of a node holds a placeholder.
    """

    groups: list[Group]
    nodes: int
    roots: Tensor
    variable_nodes: Tensor
    variable_rows: Tensor
    variable_columns: Tensor
    constant_nodes: Tensor
    constant_rows: Tensor
    constant_columns: Tensor
    literal_nodes: Tensor
    literal_values: Tensor
    has_constant: Tensor


def layout(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where the nodes of valid rows (B, L) stand.

    Returns:
        Arity (B, L); and, with a column more, (B, L + 1): index of the second argument (L where
        there is none), size, height, and whether the subtree holds a placeholder.
    """
    B, L = tokens.shape
    arity = torch.tensor(tok.ARITY, device=tokens.device)[tokens]
    rows = torch.arange(B, device=tokens.device)
    size = torch.zeros((B, L + 1), dtype=torch.int64, device=tokens.device)
    height, second = torch.zeros_like(size), torch.full_like(size, L)
    holds = torch.zeros_like(size, dtype=torch.bool)
    for i in range(L - 1, -1, -1):
        inner = arity[:, i] > 0
        j = torch.where(arity[:, i] > 1, i + 1 + size[:, i + 1], L)
        second[:, i] = j
        size[:, i] = (arity[:, i] >= 0) + inner * size[:, i + 1] + size[rows, j]
        height[:, i] = inner * (1 + torch.maximum(height[:, i + 1], height[rows, j]))
        holds[:, i] = (tokens[:, i] == tok.CONSTANT) | (inner & holds[:, i + 1]) | holds[rows, j]
    return arity, second, size, height, holds


def compile_batch(tokens: Tensor) -> Program:
    """Group the nodes of valid rows (B, L), on the device of `tokens`."""
    device, (B, L) = tokens.device, tokens.shape
    tokens = tokens.long()
    arity, second, _, height, holds = layout(tokens)
    used = arity >= 0
    row, position = used.nonzero(as_tuple=True)
    op = tokens[row, position]
    key = height[row, position] * tok.SIZE + op
    order = torch.argsort(key, stable=True)
    row, position, op, key = row[order], position[order], op[order], key[order]
    number = torch.zeros((B, L + 1), dtype=torch.int64, device=device)
    number[row, position] = torch.arange(len(row), device=device)
    first_of, second_of = number[row, position + 1], number[row, second[row, position]]
    keys, counts = torch.unique_consecutive(key, return_counts=True)
    groups, start = [], 0
    # The only wait for the device: which groups there are.
    for group_key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        stop, group_op = start + count, group_key % tok.SIZE
        if tok.ARITY[group_op] > 0:
            binary = tok.ARITY[group_op] == 2
            groups.append(
                Group(
                    group_op,
                    start,
                    stop,
                    first_of[start:stop],
                    second_of[start:stop] if binary else None,
                )
            )
        start = stop
    variable = torch.tensor(tok.IS_VARIABLE, device=device)[op].nonzero()[:, 0]
    literal = torch.tensor(tok.IS_LITERAL, device=device)[op].nonzero()[:, 0]
    constant = (op == tok.CONSTANT).nonzero()[:, 0]
    column = (tokens == tok.CONSTANT).cumsum(1) - 1
    return Program(
        groups=groups,
        nodes=len(row),
        roots=number[:, 0],
        variable_nodes=variable,
        variable_rows=row[variable],
        variable_columns=op[variable] - tok.FIRST_VARIABLE,
        constant_nodes=constant,
        constant_rows=row[constant],
        constant_columns=column[row[constant], position[constant]],
        literal_nodes=literal,
        literal_values=torch.tensor(tok.LITERAL_VALUE, device=device)[op[literal]],
        has_constant=holds[row, position],
    )


def forward(program: Program, X: Tensor, constants: Tensor) -> Tensor:
    """Values (M, N) of all nodes, for X (N, D) or (B, N, D) and constants (B, K)."""
    V = X.new_empty((program.nodes, X.shape[-2]))
    if X.ndim == 2:
        V[program.variable_nodes] = X.T[program.variable_columns]
    else:
        V[program.variable_nodes] = X[program.variable_rows, :, program.variable_columns]
    leaves = constants[program.constant_rows, program.constant_columns]
    V[program.constant_nodes] = leaves[:, None].expand(-1, V.shape[1])
    V[program.literal_nodes] = program.literal_values.to(V)[:, None].expand(-1, V.shape[1])
    for group in program.groups:
        if group.second is None:
            V[group.start : group.stop] = UNARY[group.op][0](V[group.first])
        else:
            V[group.start : group.stop] = BINARY[group.op][0](V[group.first], V[group.second])
    return V


def reverse(program: Program, V: Tensor, shape: tuple[int, int]) -> Tensor:
    """Derivatives (B, K, N) by the constants, from the values V (M, N); shape is (B, K)."""
    A = torch.zeros_like(V)
    A[program.roots] = 1
    for group in reversed(program.groups):
        here = slice(group.start, group.stop)
        d, v, a = A[here], V[here], V[group.first]
        if group.second is None:
            A[group.first] = UNARY[group.op][1](d, v, a)
        else:
            b = V[group.second]
            A[group.first] = BINARY[group.op][1](d, v, a, b)
            A[group.second] = BINARY[group.op][2](d, v, a, b)
    J = V.new_zeros((*shape, V.shape[1]))
    J[program.constant_rows, program.constant_columns] = A[program.constant_nodes]
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
        program = compile_batch(tokens[here])
        V = forward(program, X if X.ndim == 2 else X[here], constants[here])
        part = (V[program.roots],)
        if with_jacobian:
            part += (reverse(program, V, tuple(constants[here].shape)).transpose(1, 2),)
        parts.append(part)
    if not parts:
        empty = X.new_empty((0, X.shape[-2]))
        return (empty, empty[:, :, None].expand(-1, -1, constants.shape[1]))[: 1 + with_jacobian]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
