"""Evaluate a batch of expressions over a batch of points, with derivatives by the constants.

One interface over two back ends with one meaning (tests hold them to it):

- `numba`: compiled loops over short chunks of points that stay in the processor's first cache;
  CPU only, used when numba is installed.
- `torch`: nodes of all expressions grouped by depth and operator, one kernel a group; any device.

A value outside a function's domain is NaN or infinite, at that point of that expression only, by
the rules of IEEE 754 as numpy applies them. Derivatives are exact (reverse mode over the tree).
Where a function has no derivative they follow the usual conventions: abs has slope 0 at 0.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np
import torch

from methods.symbolic import vocabulary

Array = TypeVar("Array", np.ndarray, torch.Tensor)

HAS_NUMBA = importlib.util.find_spec("numba") is not None


_granted: ContextVar[int] = ContextVar("granted", default=0)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let `default_threads` be `count` for a while."""
    before = _granted.set(count)
    try:
        yield
    finally:
        _granted.reset(before)


def default_threads() -> int:
    """Threads to use on the CPU: those of `use_threads`, else NUMBA_NUM_THREADS, else
    OMP_NUM_THREADS, else all cores we own.
    """
    if granted := _granted.get():
        return granted
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def evaluate(
    tokens: Array,
    X: Array,
    constants: Array | None = None,
    *,
    backend: str = "auto",
    threads: int | None = None,
    validate: bool = True,
) -> Array:
    """Values of every expression at every point.

    Args:
        tokens: int64 (B, L), valid prefix rows padded with PAD.
        X: float32 or float64, (N, D) shared by all expressions or (B, N, D). Sets the precision;
            the result is of its kind (numpy or torch) and on its device.
        constants: (B, K), the numbers behind each row's placeholders in prefix order; K may exceed
            a row's count, the rest is ignored. None where there are no placeholders.
        backend: "numba", "torch" or "auto" (numba on the CPU if installed, else torch).
        threads: cap on the CPU; `default_threads()` by default, for torch what it is set to.
        validate: look at every token first. Without it, rows that are no expressions do harm;
            for rows that are known to be right, such as a sampler's own.

    Returns:
        (B, N) in the precision of X.

    Raises:
        ValueError: a row is no expression, shapes or types do not fit, a variable has no column.
    """
    return _run(tokens, X, constants, False, backend, threads, validate)[0]


def evaluate_with_jacobian(
    tokens: Array,
    X: Array,
    constants: Array,
    *,
    backend: str = "auto",
    threads: int | None = None,
    validate: bool = True,
) -> tuple[Array, Array]:
    """`evaluate`, and the exact derivatives of each value by the row's constants.

    Returns:
        Values (B, N) and derivatives (B, N, K), zero beyond a row's number of constants.
    """
    return _run(tokens, X, constants, True, backend, threads, validate)


def _run(
    tokens, X, constants, with_jacobian: bool, backend: str, threads: int | None, validate: bool
):
    backend = choose_backend(X, backend)
    tokens, X = check_tokens(tokens, X, validate)
    constants = _check_constants(tokens, X, constants, validate)
    if backend == "numba":
        from methods.symbolic import programs_numba

        arrays = (to_numpy(a) for a in (tokens, X, constants))
        results = programs_numba.run(*arrays, with_jacobian, threads or default_threads())
        if isinstance(X, torch.Tensor):
            results = tuple(torch.from_numpy(r) for r in results)
        return results
    from methods.symbolic import programs_torch

    tensors = (torch.as_tensor(a) for a in (tokens, X, constants))
    with torch_threads(threads):
        results = programs_torch.run(*tensors, with_jacobian)
    return results if isinstance(X, torch.Tensor) else tuple(r.numpy() for r in results)


def choose_backend(X: Array, backend: str) -> str:
    """Resolve "auto" for these points, and refuse what cannot be."""
    on_cpu = not isinstance(X, torch.Tensor) or X.device.type == "cpu"
    if backend == "auto":
        return "numba" if on_cpu and HAS_NUMBA else "torch"
    if backend not in ("numba", "torch"):
        raise ValueError(f"no back end is called {backend!r}; use 'auto', 'numba' or 'torch'")
    if backend == "numba" and not on_cpu:
        raise ValueError(f"the numba back end runs on the CPU; X is on {X.device}")
    if backend == "numba" and not HAS_NUMBA:
        raise ValueError("the numba back end needs numba, which is not installed")
    return backend


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many threads of the CPU for a while; None leaves it as it is."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        yield
    finally:
        torch.set_num_threads(before)


def to_numpy(a) -> np.ndarray:
    """A numpy view or copy of a tensor on any device, or of anything array-like."""
    if isinstance(a, torch.Tensor):
        return a.detach().cpu().numpy()
    return np.asarray(a)


def check_tokens(tokens, X, validate: bool = True):
    """Tokens and points that fit each other, as arrays or tensors; see `evaluate` for errors."""
    if isinstance(X, torch.Tensor):
        tokens, floating = torch.as_tensor(tokens), (torch.float32, torch.float64)
    else:
        tokens, X, floating = to_numpy(tokens), np.asarray(X), (np.float32, np.float64)
    if X.dtype not in floating:
        raise ValueError(f"X must be float32 or float64, not {X.dtype}")
    if tokens.ndim != 2:
        raise ValueError(f"tokens must have shape (B, L), got {tuple(tokens.shape)}")
    if X.ndim not in (2, 3) or (X.ndim == 3 and X.shape[0] != len(tokens)):
        raise ValueError(f"X must be (N, D) or ({len(tokens)}, N, D), got {tuple(X.shape)}")
    if validate:
        ids = to_numpy(tokens)
        if ids.dtype.kind not in "iu":
            raise ValueError(f"tokens must be integers, not {ids.dtype}")
        valid = vocabulary.is_valid(ids)
        if not valid.all():
            row = int(np.argmin(valid))
            raise ValueError(f"row {row} is no complete prefix expression: {ids[row].tolist()}")
        variables = ids[vocabulary.IS_VARIABLE[ids]] - vocabulary.FIRST_VARIABLE
        if variables.max(initial=-1) >= X.shape[-1]:
            raise ValueError(f"x{variables.max()} occurs, but X has {X.shape[-1]} columns")
    return tokens, X


def _check_constants(tokens, X, constants, validate: bool):
    """Constants with X's kind, precision and device."""
    if constants is None:
        constants = np.zeros((len(tokens), 0))
    if isinstance(X, torch.Tensor):
        constants = torch.as_tensor(constants).to(X)
    else:
        constants = to_numpy(constants).astype(X.dtype, copy=False)
    most = vocabulary.count_constants(to_numpy(tokens)).max(initial=0) if validate else 0
    if constants.ndim != 2 or constants.shape[0] != len(tokens) or constants.shape[1] < most:
        raise ValueError(
            f"constants must be ({len(tokens)}, {most} or more), got {tuple(constants.shape)}"
        )
    return constants
