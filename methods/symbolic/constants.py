"""Fit the constants of many expressions at once: batched multi-start Levenberg-Marquardt.

Each expression is fitted in three rounds, so that most of the work happens on few points:

1. *Glance*: `candidates` random starts are ranked by their loss on 32 points. Constants in which
   the expression is affine are solved for, not searched (variable projection). Starts without a
   finite loss are drawn again (numba only).
2. *Descend*: the best `starts` of them run Levenberg-Marquardt on `screen` points. A run that
   falls behind the best so far stops early; so do all once enough runs agree on a minimum.
3. *Finish*: the best run continues on all points to convergence.

Points are taken in a random order, the same for every expression, so that the first few of them
stand for all. Where derivatives have no value (sqrt at 0) a point is left out of the step, not of
the loss; where the loss has no value the step is rejected. Constants without effect stay at their
start.

Back ends as in `programs`: one numba kernel does all of this for one expression at a time, spread
over threads; the torch version does it for all at once, for machines without numba.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from methods.symbolic import programs, vocabulary


@dataclass(frozen=True)
class Fit:
    """Fitted constants of B expressions; arrays are of the kind (numpy or torch) of X.

    Attributes:
        constants: float64 (B, K), zero beyond a row's number of constants.
        loss: (B,) weighted mean of squared residuals over all points; inf where no start gave
            finite values.
        converged: bool (B,), whether a minimum of the loss was reached.
        steps: int (B,), trial steps taken over all starts.
    """

    constants: np.ndarray | torch.Tensor
    loss: np.ndarray | torch.Tensor
    converged: np.ndarray | torch.Tensor
    steps: np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Effort:
    """How hard to try. The defaults suit thousands of expressions in a search.

    Attributes:
        starts: descents for each expression.
        candidates: random starts they are chosen from; 8 for each descent where None.
        screen: points of the descents.
        max_steps: trial steps of one descent.
        tolerance: a descent ends when two steps each gain less than this share of its loss; the
            finish, of up to 4 * max_steps, goes on to 1e-6.
        agree: stop when so many descents ended within 0.1 % of the best loss (numba only: the
            torch back end runs all of them at once).
    """

    starts: int = 8
    candidates: int | None = None
    screen: int = 128
    max_steps: int = 50
    tolerance: float = 1e-3
    agree: int = 4

    def __post_init__(self) -> None:
        if min(self.starts, self.screen, self.max_steps, self.agree) < 1:
            raise ValueError("starts, screen, max_steps and agree must be at least 1")

    @property
    def pool(self) -> int:
        """Random starts that are looked at."""
        return 8 * self.starts if self.candidates is None else max(self.candidates, self.starts)


def fit(
    tokens: programs.Array,
    X: programs.Array,
    y: programs.Array,
    *,
    weights: programs.Array | None = None,
    warm: programs.Array | None = None,
    effort: Effort | None = None,
    seed: int | np.random.Generator = 0,
    backend: str = "auto",
    threads: int | None = None,
) -> Fit:
    """Minimise the weighted mean of (y - f(X; constants))**2 for every expression f.

    Args:
        tokens: int64 (B, L), valid prefix rows.
        X: points, (N, D) for all or (B, N, D) for each. numba computes in float64, torch in the
            precision of X and on its device.
        y: targets, (N,) for all or (B, N) for each; finite.
        weights: non-negative, shaped like y; all one by default. 1 / sigma**2 for known noise.
        warm: starts (B, S, K) to look at besides the random ones, such as earlier constants.
        effort: how hard to try.
        seed: or a generator, from which one is drawn. The result depends on it, not on threads.
        backend, threads: as in `programs.evaluate`, but "auto" takes numba for data on a GPU too:
            a trial step costs torch about 2,400 kernel launches, however few the rows.

    Raises:
        ValueError: shapes do not fit, y is not finite, weights are negative or all zero.
    """
    given = X
    if backend == "auto" and programs.HAS_NUMBA:
        backend = "numba"
    if backend == "numba":
        # In float64 on the CPU, wherever the data are: they are small, the work on them is not.
        X = programs.to_numpy(X).astype(np.float64)
        tokens = programs.to_numpy(tokens)
    backend = programs.choose_backend(X, backend)
    tokens, X = programs.check_tokens(tokens, X)
    effort, rng = effort or Effort(), np.random.default_rng(seed)
    B, N, K = len(tokens), X.shape[-2], _most_constants(tokens)
    y, weights = _check_targets(X, y, weights, (B, N))
    warm = _check_warm(X, warm, B, K)
    order = rng.permutation(N)
    problem = (tokens, X[..., order, :], y[:, order], weights[:, order], warm)
    rng_seed = int(rng.integers(2**62))
    if backend == "numba":
        from methods.symbolic import constants_numba

        threads = threads or programs.default_threads()
        results = constants_numba.run(*problem, effort, rng_seed, threads)
    else:
        from methods.symbolic import constants_torch

        tensors = (torch.as_tensor(a) for a in problem)
        with programs.torch_threads(threads):
            results = constants_torch.run(*tensors, effort, rng_seed)
    return Fit(*(_returned(given, a) for a in results))


def _returned(given, a):
    """A result as numpy, or as a tensor beside the points that were given."""
    if isinstance(given, torch.Tensor):
        return torch.as_tensor(a).to(given.device)
    return programs.to_numpy(a)


def warm_up(backend: str = "auto") -> None:
    """Load or compile all there is to compile, so that no later call has to.

    For the CPU with numba: about 30 s once for an installation, half a second after that. Call it
    before the clock runs.
    """
    row, x = vocabulary.encode("* C sin x0")[None], np.linspace(0, 1, 8)
    fit(row, x[:, None], x, backend=backend, threads=1)
    programs.evaluate(row, x[:, None].astype(np.float32), np.ones((1, 1)), backend=backend)


def _most_constants(tokens) -> int:
    return int(vocabulary.count_constants(programs.to_numpy(tokens)).max(initial=0))


def _like(X, a):
    """`a` as X's kind, precision and device."""
    if isinstance(X, torch.Tensor):
        return torch.as_tensor(a).to(X)
    return programs.to_numpy(a).astype(X.dtype, copy=False)


def _check_targets(X, y, weights, shape: tuple[int, int]):
    """Targets and weights as (1 or B, N)."""
    if shape[1] == 0:
        raise ValueError("there are no points to fit to")
    y = _like(X, y)
    weights = _like(X, np.ones(shape[1]) if weights is None else weights)
    checked = []
    for name, a in (("y", y), ("weights", weights)):
        a = a[None] if a.ndim == 1 else a
        if a.shape not in ((1, shape[1]), shape):
            raise ValueError(f"{name} must be ({shape[1]},) or {shape}, got {tuple(a.shape)}")
        if not bool((abs(a) < np.inf).all()):
            raise ValueError(f"{name} must be finite")
        checked.append(a)
    if bool((checked[1] < 0).any()) or not bool((checked[1].sum(1) > 0).all()):
        raise ValueError("weights must not be negative, nor all zero")
    return checked


def _check_warm(X, warm, B: int, K: int):
    """Starts as (1 or B, S, K or more)."""
    if warm is None:
        warm = np.zeros((1, 0, K))
    elif warm.ndim != 3 or warm.shape[0] != B or warm.shape[2] < K:
        raise ValueError(f"warm must be ({B}, S, {K} or more), got {tuple(warm.shape)}")
    return _like(X, warm)
