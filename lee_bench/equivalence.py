"""Symbolic grading by SRBench's definitions.

The rules are those of La Cava et al. 2021 (arXiv:2107.14351, section 4 and Definition 4.1):

- *Complexity*: nodes of the sympy expression after floats are rounded to three decimals, those
  below 1e-4 in size dropped, and the rest simplified.
- *Symbolic solution*: the model does not reduce to a constant, and truth minus model is a
  constant, or truth over model is a constant other than zero. Floats are rounded before the
  comparison; pi counts as the float it is in SRBench's formulas.

Symbols carry no assumptions, as in SRBench: ``abs(x)`` is not ``x``, whatever the data's range.
Where definition and SRBench's program disagree, the program is followed, so that rates compare
with published ones: it simplifies the model alone before it compares, in arithmetic of three
digits, and so rejects three of the 133 true formulas themselves (II.6.15b, II.35.18, test 12).

sympy may take for ever, or all memory: call it through `SymbolicGrader`, whose worker processes
are ended when they pass their limits.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pebble
import psutil
import sympy

from lee_bench.algebra import TooLargeError, from_sympy, to_sympy
from lee_bench.errors import ExpressionError
from lee_bench.expression import Expression, parse

T = TypeVar("T")

DECIMALS = 3
SIGNIFICANT_DIGITS = 3
NEGLIGIBLE = 1e-4
PI = sympy.Float("3.1415926535")
"""Pi as SRBench writes it, in the true formulas and in the models."""

RAW_COUNT = "raw count used"
"""What a note says where sympy gave no simplified form."""
TIME_LIMIT = 10.0
"""Seconds of processor time for one question to sympy."""
MEMORY_LIMIT_MB = 2048
"""Address space a worker may take beyond what it starts with, MiB."""
_UNDEFINED = (sympy.nan, sympy.zoo, sympy.oo)
_POINTS = 64
_ROUNDING_ERROR = 1e-2  # rounded floats carry 13 bits, and functions amplify their errors


class UndefinedError(Exception):
    """A formula that divides by zero once its constants are rounded."""


def round_floats(expr: sympy.Expr) -> sympy.Expr:
    """Round floats as SRBench does: three decimals, three significant digits, none below 1e-4.

    Exact numbers stay. The short mantissa matters: 12.566 and 12.57 become the same number.
    """
    rounded = {
        number: sympy.Integer(0)
        if abs(number) < NEGLIGIBLE
        else sympy.Float(round(number, DECIMALS), SIGNIFICANT_DIGITS)
        for number in expr.atoms(sympy.Float)
    }
    return expr.xreplace(rounded)


def simplified(expression: Expression) -> sympy.Expr:
    """The form SRBench judges: floats rounded, then simplified without growing longer."""
    return sympy.simplify(round_floats(to_sympy(expression, PI)), ratio=1)


def count_nodes(expr: sympy.Expr) -> int:
    """Nodes of sympy's tree, in which a sum or product of any number of terms is one node."""
    return sum(1 for _ in sympy.preorder_traversal(expr))


def is_symbolic_solution(model: Expression, truth: Expression) -> tuple[bool, str]:
    """Definition 4.1 of SRBench.

    Args:
        model: the formula found.
        truth: the true formula.

    Returns:
        The verdict and, where it is no, why.
    """
    right = round_floats(to_sympy(truth, PI))
    found = round_floats(to_sympy(model, PI))
    if _surely_varies(right - found) and _surely_varies(found / right):
        return False, "neither difference nor ratio is constant at points tried"
    as_written = found
    found = sympy.simplify(as_written, ratio=1)
    if found.has(*_UNDEFINED):
        return False, "undefined once its constants are rounded"
    if not found.free_symbols:
        return False, "reduces to a constant once its constants are rounded"
    difference = round_floats(right - found)
    ratio = round_floats(found / right)
    if difference.is_constant() or round_floats(sympy.simplify(difference, ratio=1)).is_constant():
        return True, "truth minus model is constant"
    if ratio.is_constant():
        return True, "model over truth is constant"
    if not (right - as_written).free_symbols:
        return (
            False,
            "the truth as written, but no longer once simplified, which SRBench does first",
        )
    return False, "neither difference nor ratio simplifies to a constant"


def _surely_varies(expr: sympy.Expr) -> bool:
    """Whether float64 evaluation at random points rules out that `expr` is a constant.

    Decides nearly all wrong models in milliseconds. False means "cannot tell": too few points
    where the value is defined, or differences that rounding errors could explain.
    """
    try:
        terms = [from_sympy(term) for term in sympy.Add.make_args(round_floats(expr))]
    except ExpressionError:
        return False
    names = sorted(set().union(*(term.variables for term in terms)))
    rng = np.random.default_rng(0)
    X = np.concatenate(
        [rng.uniform(low, 4.0, size=(_POINTS, max(1, len(names)))) for low in (0.1, -4.0)]
    )
    values = np.array([term.evaluate(X[:, : len(names)], names) for term in terms])
    with np.errstate(all="ignore"):
        total, scale = values.sum(axis=0), np.abs(values).sum(axis=0)
    defined = np.isfinite(scale)
    if defined.sum() < _POINTS // 4:
        return False
    total, scale = total[defined], scale[defined]
    middle = np.argsort(total)[len(total) // 2]
    distance = np.abs(total - total[middle])
    return int((distance > _ROUNDING_ERROR * (scale + scale[middle])).sum()) >= _POINTS // 8


@dataclass(frozen=True)
class SymbolicGrade:
    """What sympy says about one formula.

    Attributes:
        complexity: SRBench's; the raw node count where sympy gave no answer.
        complexity_note: why the raw count was used, or what makes the count odd; '' otherwise.
        simplified: the form that was counted; '' where sympy gave no answer.
        solution: whether the formula is a symbolic solution; None if there is no true formula.
        solution_note: the reason for the verdict.
    """

    complexity: int
    complexity_note: str = ""
    simplified: str = ""
    solution: bool | None = None
    solution_note: str = ""


class SymbolicGrader:
    """Worker processes that put questions to sympy within limits of time and memory.

    Use as a context manager. A question that fails is answered with what is known without sympy
    and a note; it never raises and never takes longer than its limit.

    Args:
        jobs: worker processes.
        seconds: processor time for each of the two questions about a formula.
        memory_mb: address space a worker may take beyond what it starts with, MiB.
    """

    def __init__(
        self, jobs: int = 1, seconds: float = TIME_LIMIT, memory_mb: int = MEMORY_LIMIT_MB
    ) -> None:
        self.seconds = seconds
        # Workers are forked from a clean server that has sympy loaded already, so one that had to
        # be ended is replaced in milliseconds, and none inherits the threads of this process.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._pool = pebble.ProcessPool(
            max_workers=jobs,
            max_tasks=_TASKS_PER_WORKER,
            initializer=_start_worker,
            initargs=[memory_mb, os.getpid()],
            context=context,
        )

    def __enter__(self) -> SymbolicGrader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.stop()
        self._pool.join()

    def grade(
        self, formula: str, truth: str | None, features: tuple[str, ...]
    ) -> Callable[[], SymbolicGrade]:
        """Put both questions about a formula.

        Args:
            formula: readable by `parse`.
            truth: the true formula, or None.
            features: variable names of both.

        Returns:
            A function that waits for the answers.
        """
        raw = len(parse(formula, features))
        counted = self._ask(_count, [formula], features)
        solved = truth and self._ask(is_symbolic_solution, [formula, truth], features)

        def wait() -> SymbolicGrade:
            answer, problem = self._answer(counted)
            if answer is None:
                grade = SymbolicGrade(raw, f"simplify {problem}, {RAW_COUNT}")
            else:
                grade = SymbolicGrade(*answer)
            if not solved:
                return grade
            answer, problem = self._answer(solved)
            solution, note = answer or (False, f"sympy {problem}, counted as no solution")
            return replace(grade, solution=solution, solution_note=note)

        return wait

    def _ask(self, question: Callable, formulas: list[str], features: tuple) -> Future:
        return self._pool.schedule(
            _ask,
            args=[question, self.seconds, formulas, features],
            timeout=_wall_clock(self.seconds),
        )

    def _answer(self, future: Future) -> tuple[tuple | None, str]:
        try:
            return future.result(), ""
        except TimeoutError:
            return None, f"timed out ({self.seconds:g} s)"
        except MemoryError:
            return None, "ran out of memory"
        except RecursionError:
            return None, "was nested too deeply"
        except TooLargeError:
            return None, "met a power too large to write down"
        except UndefinedError:
            return None, "found it undefined once its constants are rounded"
        except pebble.ProcessExpired:
            return None, "died"
        except Exception as error:  # sympy fails in many ways on odd input; each is a value here
            return None, f"failed ({type(error).__name__})"


_TASKS_PER_WORKER = 200  # sympy's caches grow; a fresh worker costs milliseconds


def _start_worker(memory_mb: int, user: int) -> None:
    threading.Thread(target=_end_with, args=[psutil.Process(user)], daemon=True).start()
    allowed = psutil.Process().memory_info().vms + memory_mb * 2**20
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):  # some systems know no such limit
        resource.setrlimit(resource.RLIMIT_AS, (allowed, most))


def _end_with(user: psutil.Process) -> None:
    """End this process when the one that asks is gone; the server between them would not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while user.is_running() and user.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    os._exit(1)


class _OutOfTime(BaseException):
    """Not an Exception, which sympy might catch."""


def _ask(question: Callable[..., T], seconds: float, formulas: list[str], features: tuple) -> T:
    """Run one question in a worker, for so many seconds of processor time.

    Processor time makes a grade the same on a busy machine. The pool's own limit is for single
    operations in C that no signal interrupts, the alarm for those whose parent was killed.
    """

    def stop(*_: object) -> None:
        raise _OutOfTime

    sympy.core.random.seed(0)  # sympy tries random numbers; same question, same answer
    signal.signal(signal.SIGPROF, stop)
    signal.alarm(math.ceil(_wall_clock(seconds)) + 5)
    try:
        try:
            signal.setitimer(signal.ITIMER_PROF, seconds, 0.5)
            return question(*(parse(formula, features) for formula in formulas))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.alarm(0)
    except _OutOfTime:
        raise TimeoutError from None


def _wall_clock(seconds: float) -> float:
    return 3 * seconds + 5


def _count(model: Expression) -> tuple[int, str, str]:
    """SRBench complexity, a remark on it, and the form counted."""
    expr = simplified(model)
    if expr.has(*_UNDEFINED):
        raise UndefinedError
    constant = model.variables and not expr.free_symbols
    note = "reduces to a constant once its constants are rounded" if constant else ""
    return count_nodes(expr), note, str(expr)
