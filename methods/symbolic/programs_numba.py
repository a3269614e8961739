"""The numba back end of `programs`: one pass over a tree for each short chunk of points.

Kernels release the GIL and are spread over Python threads by blocks of expressions, so the number
of threads is an argument, results never depend on it, and no parallel compilation is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from methods.symbolic import programs_math as fast
from methods.symbolic import vocabulary as tok
from methods.symbolic.kernels import kernel

ARITY = tok.ARITY
LITERAL_VALUE = tok.LITERAL_VALUE
CHUNK = 128  # points; the values of a 30-node tree then fill most of a 48 kB first cache


@kernel
def link(tokens, size, second, constant, has_constant):
    """Lay out one row: its length, second arguments, constants' columns, subtrees with constants.

    Args:
        tokens: (L,) one valid row.
        size: out (L,), tokens in each subtree.
        second: out (L,), index of each binary node's second argument.
        constant: out (L,), column of each placeholder.
        has_constant: out bool (L,), whether a subtree holds a placeholder.

    Returns:
        Length of the row and number of placeholders.
    """
    n = 0
    while n < len(tokens) and tokens[n] != tok.PAD:
        n += 1
    count = 0
    for i in range(n):
        if tokens[i] == tok.CONSTANT:
            constant[i] = count
            count += 1
    for i in range(n - 1, -1, -1):
        size[i] = 1
        has_constant[i] = tokens[i] == tok.CONSTANT
        if ARITY[tokens[i]] > 0:
            size[i] += size[i + 1]
            has_constant[i] = has_constant[i + 1]
        if ARITY[tokens[i]] > 1:
            second[i] = i + 1 + size[i + 1]
            size[i] += size[second[i]]
            has_constant[i] |= has_constant[second[i]]
    return n, count


@kernel
def forward(tokens, n, second, constant, todo, c, X, start, P, V):
    """Values V[i, :P] of the nodes of one expression at points start to start + P of X (D, N).

    Nodes i with `todo[i]` false keep the values that V holds.
    """
    one = V.dtype.type(1)  # typed, lest a Python number turn float32 work into float64
    for i in range(n - 1, -1, -1):
        if not todo[i]:
            continue
        op = tokens[i]
        v = V[i, :P]
        if op < tok.FIRST_VARIABLE:
            v[:] = c[constant[i]] if op == tok.CONSTANT else LITERAL_VALUE[op]
        elif op < tok.FIRST_VARIABLE + tok.MAX_VARIABLES:
            x = X[op - tok.FIRST_VARIABLE]
            for p in range(P):
                v[p] = x[start + p]
        elif ARITY[op] == 1:
            a = V[i + 1, :P]
            if op == tok.NEG:
                for p in range(P):
                    v[p] = -a[p]
            elif op == tok.INV:
                for p in range(P):
                    v[p] = one / a[p]
            elif op == tok.SQUARE:
                for p in range(P):
                    v[p] = a[p] * a[p]
            elif op == tok.CUBE:
                for p in range(P):
                    v[p] = a[p] * a[p] * a[p]
            elif op == tok.SQRT:
                for p in range(P):
                    v[p] = math.sqrt(a[p])
            elif op == tok.EXP:
                for p in range(P):
                    v[p] = fast.exp(a[p])
            elif op == tok.LOG:
                for p in range(P):
                    v[p] = fast.log(a[p])
            elif op == tok.SIN:
                far = False
                for p in range(P):
                    v[p] = fast.sin(a[p])
                    far |= abs(a[p]) > fast.FAR
                if far:
                    for p in range(P):
                        v[p] = math.sin(a[p])
            elif op == tok.COS:
                far = False
                for p in range(P):
                    v[p] = fast.cos(a[p])
                    far |= abs(a[p]) > fast.FAR
                if far:
                    for p in range(P):
                        v[p] = math.cos(a[p])
            elif op == tok.TAN:
                far = False
                for p in range(P):
                    v[p] = fast.tan(a[p])
                    far |= abs(a[p]) > fast.FAR
                if far:
                    for p in range(P):
                        v[p] = math.tan(a[p])
            elif op == tok.TANH:
                for p in range(P):
                    v[p] = fast.tanh(a[p])
            elif op == tok.ARCSIN:
                for p in range(P):
                    v[p] = fast.arcsin(a[p])
            elif op == tok.ARCCOS:
                for p in range(P):
                    v[p] = fast.arccos(a[p])
            elif op == tok.ARCTAN:
                for p in range(P):
                    v[p] = fast.arctan(a[p])
            elif op == tok.ABS:
                for p in range(P):
                    v[p] = abs(a[p])
        else:
            a, b = V[i + 1, :P], V[second[i], :P]
            if op == tok.ADD:
                for p in range(P):
                    v[p] = a[p] + b[p]
            elif op == tok.SUB:
                for p in range(P):
                    v[p] = a[p] - b[p]
            elif op == tok.MUL:
                for p in range(P):
                    v[p] = a[p] * b[p]
            elif op == tok.DIV:
                for p in range(P):
                    v[p] = a[p] / b[p]
            elif op == tok.POW:
                for p in range(P):
                    v[p] = fast.power(a[p], b[p])


@kernel
def reverse(tokens, n, second, constant, todo, V, A, J, P):
    """Derivatives by the constants, J[k, p], from the values V; A (L, P) is scratch.

    A[i] is the derivative of the result by node i. Nodes with `todo[i]` false are not visited, so
    it should hold for all ancestors of the constants that are asked for.
    """
    one, two, three, half = V.dtype.type(1), V.dtype.type(2), V.dtype.type(3), V.dtype.type(0.5)
    for p in range(P):
        A[0, p] = one
    for i in range(n):
        if not todo[i]:
            continue
        op = tokens[i]
        d = A[i, :P]
        if op == tok.CONSTANT:
            column = J[constant[i], :P]
            for p in range(P):
                column[p] = d[p]
            continue
        v, a, da = V[i, :P], V[i + 1, :P], A[i + 1, :P]
        if ARITY[op] == 1:
            if op == tok.NEG:
                for p in range(P):
                    da[p] = -d[p]
            elif op == tok.INV:
                for p in range(P):
                    da[p] = d[p] * (-v[p] * v[p])
            elif op == tok.SQUARE:
                for p in range(P):
                    da[p] = d[p] * (two * a[p])
            elif op == tok.CUBE:
                for p in range(P):
                    da[p] = d[p] * (three * a[p] * a[p])
            elif op == tok.SQRT:
                for p in range(P):
                    da[p] = d[p] * (half / v[p])
            elif op == tok.EXP:
                for p in range(P):
                    da[p] = d[p] * v[p]
            elif op == tok.LOG:
                for p in range(P):
                    da[p] = d[p] / a[p]
            elif op == tok.SIN:
                far = False
                for p in range(P):
                    da[p] = d[p] * fast.cos(a[p])
                    far |= abs(a[p]) > fast.FAR
                if far:
                    for p in range(P):
                        da[p] = d[p] * math.cos(a[p])
            elif op == tok.COS:
                far = False
                for p in range(P):
                    da[p] = d[p] * -fast.sin(a[p])
                    far |= abs(a[p]) > fast.FAR
                if far:
                    for p in range(P):
                        da[p] = d[p] * -math.sin(a[p])
            elif op == tok.TAN:
                for p in range(P):
                    da[p] = d[p] * (one + v[p] * v[p])
            elif op == tok.TANH:
                for p in range(P):
                    da[p] = d[p] * (one - v[p] * v[p])
            elif op == tok.ARCSIN:
                for p in range(P):
                    da[p] = d[p] / math.sqrt((one - a[p]) * (one + a[p]))
            elif op == tok.ARCCOS:
                for p in range(P):
                    da[p] = -d[p] / math.sqrt((one - a[p]) * (one + a[p]))
            elif op == tok.ARCTAN:
                for p in range(P):
                    da[p] = d[p] / (one + a[p] * a[p])
            elif op == tok.ABS:
                for p in range(P):
                    da[p] = d[p] * np.sign(a[p])
            continue
        j = second[i]
        b, db = V[j, :P], A[j, :P]
        if todo[i + 1]:
            if op in (tok.ADD, tok.SUB):
                for p in range(P):
                    da[p] = d[p]
            elif op == tok.MUL:
                for p in range(P):
                    da[p] = d[p] * b[p]
            elif op == tok.DIV:
                for p in range(P):
                    da[p] = d[p] / b[p]
            elif op == tok.POW:
                for p in range(P):
                    da[p] = d[p] * (b[p] * fast.power(a[p], b[p] - one))
        if todo[j]:
            if op == tok.ADD:
                for p in range(P):
                    db[p] = d[p]
            elif op == tok.SUB:
                for p in range(P):
                    db[p] = -d[p]
            elif op == tok.MUL:
                for p in range(P):
                    db[p] = d[p] * a[p]
            elif op == tok.DIV:
                for p in range(P):
                    db[p] = d[p] * (-v[p] / b[p])
            elif op == tok.POW:
                for p in range(P):
                    zero = a[p] == 0 and b[p] > 0
                    db[p] = 0 if zero else d[p] * (v[p] * fast.log(a[p]))


@kernel
def _evaluate_block(tokens, X, constants, lo, hi, work, values, jacobian):
    """Rows lo to hi: values (B, N) and jacobian (B, K, N), if asked for, of X (1 or B, D, N)."""
    size, second, constant, has_constant, every, V, A, J = work
    N = X.shape[2]
    for b in range(lo, hi):
        n, count = link(tokens[b], size, second, constant, has_constant)
        row, c, points = tokens[b], constants[b], X[b if X.shape[0] > 1 else 0]
        for start in range(0, N, CHUNK):
            P = min(CHUNK, N - start)
            forward(row, n, second, constant, every, c, points, start, P, V)
            for p in range(P):
                values[b, start + p] = V[0, p]
            if len(jacobian) == 0:
                continue
            reverse(row, n, second, constant, has_constant, V, A, J, P)
            for k in range(count):
                for p in range(P):
                    jacobian[b, k, start + p] = J[k, p]


def spread(work: Callable[[int, int], None], total: int, block: int, threads: int) -> None:
    """Call work(lo, hi) for blocks of range(total), on so many threads.

    Threads take the next block when they are free, because expressions differ in cost.
    """
    blocks = [(lo, min(total, lo + block)) for lo in range(0, total, block)]
    if threads <= 1 or len(blocks) <= 1:
        for lo, hi in blocks:
            work(lo, hi)
        return
    with ThreadPoolExecutor(min(threads, len(blocks))) as pool:
        for future in [pool.submit(work, lo, hi) for lo, hi in blocks]:
            future.result()


def columns(X: np.ndarray) -> np.ndarray:
    """Points (N, D) or (B, N, D) as contiguous columns (1 or B, D, N)."""
    X = X[None] if X.ndim == 2 else X
    return np.ascontiguousarray(X.transpose(0, 2, 1))


def run(tokens, X, constants, with_jacobian: bool, threads: int) -> tuple[np.ndarray, ...]:
    """See `programs.evaluate_with_jacobian`; the arguments are checked numpy arrays."""
    tokens = np.ascontiguousarray(tokens, dtype=np.int64)
    constants = np.ascontiguousarray(constants)
    X = columns(X)
    B, N, K = len(tokens), X.shape[2], constants.shape[1]
    values = np.empty((B, N), dtype=X.dtype)
    jacobian = np.zeros((B, K, N) if with_jacobian else (0, 0, 0), dtype=X.dtype)

    def evaluate(lo: int, hi: int) -> None:
        L = tokens.shape[1]
        work = (
            np.empty(L, np.int64),  # size, second, constant, has_constant, every
            np.empty(L, np.int64),
            np.empty(L, np.int64),
            np.empty(L, np.bool_),
            np.ones(L, np.bool_),
            np.empty((L, CHUNK), X.dtype),  # V, A, J
            np.empty((L, CHUNK), X.dtype),
            np.empty((K, CHUNK), X.dtype),
        )
        _evaluate_block(tokens, X, constants, lo, hi, work, values, jacobian)

    spread(evaluate, B, max(1, min(256, B // (4 * threads))), threads)
    return (values, jacobian.transpose(0, 2, 1)) if with_jacobian else (values,)
