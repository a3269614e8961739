"""Measure the symbolic core here: constant fits against scipy, evaluation against Operon.

    python -m methods.symbolic.benchmark_programs [--quick]

Times of single threads are processor times, so that other work on the machine does not count
against anyone; times of several threads are wall times. Compilation is not counted and is stated.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import optimize

from methods.symbolic import constants, programs, programs_numba
from methods.symbolic import vocabulary as tok
from methods.symbolic.benchmark_problems import (
    Problems,
    random_problems,
    random_tree,
    with_constants,
)

SOLVED = 1e-10  # mean squared error over the variance of y
STARTS = 8
_NUMPY = {"neg": "-{0}", "inv": "1/{0}", "square": "{0}**2", "cube": "{0}**3"}
_NUMPY |= {op: f"({{0}} {op} {{1}})" for op in "+-*/"} | {"pow": "{0}**{1}"}


def numpy_function(tokens: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """f(x, c) for columns x (D, N) and constants c, compiled from source as people do it."""
    stack, left = [], int(tok.count_constants(tokens))
    for token in tokens[tokens != tok.PAD][::-1].tolist():
        name = tok.NAMES[token]
        if token == tok.CONSTANT:
            left -= 1
            stack.append(f"c[{left}]")
        elif tok.IS_VARIABLE[token]:
            stack.append(f"x[{token - tok.FIRST_VARIABLE}]")
        elif tok.IS_LITERAL[token]:
            stack.append(repr(float(tok.LITERAL_VALUE[token])))
        else:
            arguments = [stack.pop() for _ in range(tok.ARITY[token])]
            stack.append(f"({_NUMPY.get(name, f'np.{name}({{0}})').format(*arguments)})")
    return eval(f"lambda x, c: {stack.pop()}", {"np": np})  # noqa: S307 - our own tokens


def fit_with_scipy(problems: Problems, method: str, exact: bool) -> tuple[float, float]:
    """Solved share and processor seconds of scipy, one start after the other until one solves.

    Args:
        method: "lm" for least_squares (MINPACK), "BFGS" for minimize.
        exact: derivatives from our evaluator instead of scipy's finite differences.
    """
    rng = np.random.default_rng(1)
    solved, seconds = 0, 0.0
    for tokens, X, y in zip(problems.tokens, problems.X, problems.y, strict=True):
        K = int(tok.count_constants(tokens))
        f, x, spread = numpy_function(tokens), np.ascontiguousarray(X.T), y.std()
        starts = random_starts(rng, STARTS, K)

        def residual(c, f=f, x=x, y=y, spread=spread):
            r = (f(x, c) - y) / spread
            return np.where(np.isfinite(r), r, 1e3)

        def values_and_slopes(c, tokens=tokens, X=X):
            values, J = programs_numba.run(tokens[None], X, c[None], True, 1)
            return values[0], np.where(np.isfinite(J[0]), J[0], 0)

        def slopes(c, call=values_and_slopes, spread=spread):
            return call(c)[1] / spread

        def loss(c, call=residual):
            return (call(c) ** 2).mean()

        def loss_and_gradient(c, call=values_and_slopes, y=y, spread=spread):
            values, J = call(c)
            r = (values - y) / spread
            r = np.where(np.isfinite(r), r, 1e3)
            return (r**2).mean(), 2 * (r[:, None] * J / spread).mean(0)

        begin = time.process_time()
        best = np.inf
        for start in starts:
            try:
                if method == "lm":
                    options = {"jac": slopes} if exact else {}
                    c = optimize.least_squares(residual, start, method="lm", **options).x
                else:
                    target = (loss_and_gradient, True) if exact else (loss, False)
                    c = optimize.minimize(target[0], start, jac=target[1], method="BFGS").x
            except (ValueError, FloatingPointError, np.linalg.LinAlgError):
                continue
            best = min(best, loss(c))
            if best < 1e-16:
                break
        seconds += time.process_time() - begin
        solved += best < SOLVED
    return solved / len(problems.y), seconds


def random_starts(rng: np.random.Generator, count: int, K: int) -> np.ndarray:
    """Starts (count, K) from the distribution that our fits draw from; the first is all ones."""
    kind = rng.random((count, K))
    decades = 10 ** rng.uniform(-2, 2, (count, K)) * np.where(rng.random((count, K)) < 0.3, -1, 1)
    starts = np.where(kind < 0.15, 1, np.where(kind < 0.5, rng.normal(size=(count, K)), decades))
    starts[0] = 1
    return starts


def fit_with_ours(problems: Problems, threads: int, backend: str, **effort) -> tuple[float, float]:
    """Solved share and seconds (processor time of one thread, wall time of several)."""
    clock = time.process_time if threads == 1 else time.perf_counter
    begin = clock()
    fit = constants.fit(
        problems.tokens,
        problems.X,
        problems.y,
        effort=constants.Effort(starts=STARTS, **effort),
        backend=backend,
        threads=threads,
    )
    seconds = clock() - begin
    return float((fit.loss / problems.y.var(1) < SOLVED).mean()), seconds


def compare_fits(quick: bool) -> None:
    """Solved share and fits a second, ours and scipy's, on the same problems."""
    problems = random_problems(per_count=20 if quick else 200)
    B, N = problems.y.shape
    begin = time.perf_counter()
    constants.fit(problems.tokens[:1], problems.X[:1], problems.y[:1])
    seconds = time.perf_counter() - begin
    print(f"first call (compiling, or loading what an earlier run compiled): {seconds:.1f} s")
    print(f"\nFits: {B} problems, 1 to 5 constants, {N} points, at most {STARTS} starts each")
    print(f"{'':54}  solved   fits/s   ratio")
    scipy, ours = partial(fit_with_scipy, problems), partial(fit_with_ours, problems)
    rows = [
        ("scipy least_squares(lm), finite differences", partial(scipy, "lm", False)),
        ("scipy least_squares(lm), exact derivatives", partial(scipy, "lm", True)),
        ("scipy BFGS, finite differences", partial(scipy, "BFGS", False)),
        ("scipy BFGS, exact derivatives", partial(scipy, "BFGS", True)),
        ("ours, torch, 1 thread", partial(ours, 1, "torch")),
        ("ours, numba, 1 thread, 8 random starts", partial(ours, 1, "numba", candidates=STARTS)),
        ("ours, numba, 1 thread, best 8 of 64 starts", partial(ours, 1, "numba")),
        ("ours, numba, 2 threads (wall), best 8 of 64 starts", partial(ours, 2, "numba")),
    ]
    reference = None
    for name, run in rows:
        share, seconds = run()
        rate = B / seconds
        reference = reference or rate
        print(f"{name:54} {share:7.1%} {rate:8.0f} {rate / reference:7.1f}", flush=True)


def time_a_round() -> None:
    """What a search asks for: many wrong expressions against one target, on 500 points."""
    problems = random_problems(per_count=200, points=500, seed=1)
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3, (500, 3))
    y = np.sin(X[:, 0]) * np.exp(-X[:, 1]) + X[:, 2] / (1 + X[:, 0])
    y = y + 0.01 * y.std() * rng.normal(size=500)
    begin = time.process_time()
    fit = constants.fit(problems.tokens, X, y, threads=1)
    seconds = time.process_time() - begin
    print(
        f"\nOne round of a search: {len(problems.y)} expressions fitted to one noisy target of 500 "
        f"points in {seconds:.2f} s on one core; best R2 {1 - fit.loss.min() / y.var():.4f}"
    )


_SHARED = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "square": "Square", "sqrt": "Sqrt"}
_SHARED |= {"exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "tan": "Tan", "tanh": "Tanh"}


def operon_tree(op, tokens: np.ndarray, c: np.ndarray, hashes: dict[int, int]):
    """The same tree in Operon; its postfix order is our prefix order read backwards."""
    nodes, left = [], int(tok.count_constants(tokens))
    for token in tokens[tokens != tok.PAD][::-1].tolist():
        if token == tok.CONSTANT:
            left -= 1
            nodes.append(op.Node.Constant(float(c[left])))
        elif tok.IS_LITERAL[token]:
            nodes.append(op.Node.Constant(float(tok.LITERAL_VALUE[token])))
        elif tok.IS_VARIABLE[token]:
            node = op.Node.Variable(1.0)
            node.HashValue = hashes[token - tok.FIRST_VARIABLE]
            nodes.append(node)
        else:
            nodes.append(getattr(op.Node, _SHARED[tok.NAMES[token]])())
    tree = op.Tree(nodes)
    tree.UpdateNodes()
    return tree


def best_of(repeats: int, clock: Callable[[], float], run: Callable[[], None]) -> float:
    """Least seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        begin = clock()
        run()
        seconds.append(clock() - begin)
    return min(seconds)


def compare_evaluation(quick: bool) -> None:
    """Node-evaluations a second, ours and Operon's, on the same trees and points."""
    try:
        import pyoperon as op
    except ImportError:
        print("\nEvaluation: pyoperon is not installed, nothing to compare with")
        return
    rng = np.random.default_rng(2)
    known = {tok.ID[name] for name in _SHARED} | set(np.flatnonzero(tok.IS_LEAF).tolist())
    trees = []
    while len(trees) < (200 if quick else 2000):
        tree = with_constants(rng, random_tree(rng, int(rng.integers(5, 25)), 3, False), 3)
        if set(tree) <= known:
            trees.append(tree)
    tokens = tok.stack(trees)
    c = rng.normal(size=(len(trees), int(tok.count_constants(tokens).max())))
    nodes = int(tok.lengths(tokens).sum())
    print(
        f"\nEvaluation: {len(trees)} trees of {nodes / len(trees):.1f} nodes on average, of "
        f"{' '.join(_SHARED)}; 1e9 nodes a second"
    )
    print("Operon computes in float32 and adds a weight to every variable; both allocate results.")
    columns = ("Operon f32", "numba f32", "numba f64", "torch f32", "slopes f64", "agree")
    print(f"{'points':>8} {'threads':>8}" + "".join(f"{name:>12}" for name in columns))
    for points in (100, 1000) if quick else (100, 1000, 5000):
        X = np.asfortranarray(rng.uniform(1, 3, (points, 3)).astype(np.float32))
        data = op.Dataset(X)  # a view: X must live on
        hashes = {variable.Index: variable.Hash for variable in data.Variables}
        theirs = [operon_tree(op, t, row, hashes) for t, row in zip(tokens, c, strict=True)]
        for threads in (1, 2):
            clock = time.process_time if threads == 1 else time.perf_counter

            def operon(theirs=theirs, data=data, points=points, threads=threads):
                result = np.empty(len(theirs) * points, np.float32)
                op.EvaluateTrees(theirs, data, op.Range(0, points), result, threads)
                return result.reshape(len(theirs), points)

            double = X.astype(np.float64)
            runs = [
                operon,
                lambda X=X, threads=threads: programs.evaluate(tokens, X, c, threads=threads),
                lambda X=double, threads=threads: programs.evaluate(tokens, X, c, threads=threads),
                lambda X=X, threads=threads: programs.evaluate(
                    tokens, X, c, backend="torch", threads=threads
                ),
                lambda X=double, threads=threads: programs.evaluate_with_jacobian(
                    tokens, X, c, threads=threads
                ),
            ]
            theirs_values, ours = operon(), runs[2]()
            both = np.isfinite(theirs_values) & np.isfinite(ours)
            agree = np.isclose(theirs_values, ours, rtol=1e-3)[both].mean()
            rates = [nodes * points / best_of(3, clock, run) / 1e9 for run in runs]
            numbers = "".join(f"{rate:12.2f}" for rate in rates)
            print(f"{points:8} {threads:8}{numbers}{agree:12.1%}", flush=True)


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the problems")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")  # overflow on the way is part of the problems
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load:.1f}")
    compare_fits(quick)
    time_a_round()
    compare_evaluation(quick)


if __name__ == "__main__":
    main()
