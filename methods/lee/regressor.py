"""LEE as a scikit-learn estimator."""

from __future__ import annotations

import contextlib
import functools
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from lee_bench.errors import ExpressionError, unknown
from lee_bench.expression import Expression, Variable, is_variable_name, parse
from lee_bench.latex import to_latex
from methods.lee import checkpoint
from methods.lee.config import Refinement
from methods.lee.method import Lee
from methods.lee.model import LEE
from methods.lee.refine import Round, Search
from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical import canonical_row
from methods.symbolic.method import PATIENCE
from methods.symbolic.polish import in_original_units
from methods.symbolic.problem import Problem, relevance
from methods.symbolic.programs import use_threads
from methods.symbolic.search import Pool, polishing, warm_up

if TYPE_CHECKING:
    import sympy

_QUOTED = re.compile(r"`([^`]*)`")


class LEERegressor(RegressorMixin, BaseEstimator):
    """Find a formula for y in the columns of X.

    Finds a whole front of formulas, from the simplest to the most accurate, and predicts with the
    one whose description of formula and data together is shortest. Data of any scale will do. Of
    more than ten features the ten most relevant are used, with a warning.

    Rows that occur twice count as one of twice the weight, and the order of rows does not matter.
    With the same `random_state`, `threads` and number of rounds a fit repeats exactly; a limit in
    seconds allows more rounds on a faster machine.

    Args:
        time_limit: seconds for search and polish. Reading the network and compiling, once in a
            process, come on top.
        max_rounds: rounds after which to stop; 0 for none.
        patience: how many times as many expressions as until the last gain are tried without
            another before the search gives up; 0 uses all of the time.
        model: `small`, which ships, or a folder with weights of your own.
        start: a formula, or several, to start from, in the features' names; names that are no
            identifiers stand in backticks: ``2*`speed (m/s)`**2``. Its constants are a first guess.
        threads: processor cores; None for as many as torch may use.
        random_state: int, RandomState or None, as everywhere in scikit-learn.
        callback: called after each round with what it did (`methods.lee.refine.Round`) and the
            best formula so far, as text with six digits. Returning True ends the search with what
            was found.

    Attributes:
        formula_: the chosen formula as text, readable by `lee_bench.expression.parse` (and by
            `pandas.DataFrame.eval`, which knows backticks as well).
        expression_: the same as a `lee_bench.expression.Expression` in the names as they are.
        equations_: the front, a DataFrame, simplest first: complexity (nodes of the formula), loss
            (mean squared error), r2 (on the data of `fit`), formula, and whether it was chosen.
        expressions_: the front as expressions.
        refine_history_: a DataFrame with a row for each round.
        stop_reason_: what ended the search.
        selected_features_: names of the features that the search used.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Examples:
        >>> from methods.lee import LEERegressor
        >>> model = LEERegressor(time_limit=10).fit(X, y)  # doctest: +SKIP
        >>> model.formula_  # doctest: +SKIP
        '9.81*mass*height'
    """

    def __init__(
        self,
        time_limit: float = 30.0,
        max_rounds: int = 0,
        patience: float = PATIENCE,
        model: str | Path = "small",
        start: str | Sequence[str] | None = None,
        threads: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        callback: Callable[[Round, str], bool | None] | None = None,
    ) -> None:
        self.time_limit = time_limit
        self.max_rounds = max_rounds
        self.patience = patience
        self.model = model
        self.start = start
        self.threads = threads
        self.random_state = random_state
        self.callback = callback

    def fit(self, X, y, sample_weight=None) -> LEERegressor:
        """Search for formulas.

        Args:
            X: (n, d), finite numbers; y: (n,).
            sample_weight: (n,), not negative, or None.

        Raises:
            ValueError: X, y, weights or a parameter are not what they must be.
            lee_bench.errors.ExpressionError: a `start` cannot be used.
            lee_bench.errors.SetupError: the weights cannot be read.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        y = y.astype(np.float64)
        weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight is zero for every row")
        self._check_parameters()
        names = self._names()
        if len(set(names)) < len(names) or any("`" in name for name in names):
            raise ValueError(f"feature names must differ and hold no backticks: {', '.join(names)}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        starts = [_read(text, names) for text in _as_list(self.start)]
        observations = _observations(weights)
        X, y, weights = _merged(X, y, weights)
        columns = _columns(X, y, weights, names, starts)
        used = [names[j] for j in columns]
        problem = Problem(X[:, columns], y, used, weights, seed=seed, observations=observations)
        with _threads(self.threads) as threads:
            _compile(threads)
            folder = Lee.folder(str(self.model))
            changed = [path.stat().st_mtime_ns for path in folder.glob("model.json")]
            network = _network(folder, *changed)
            self._search(problem, network, starts, threads, seed)
        self.selected_features_ = problem.names
        if len(problem.names) < len(names):
            warnings.warn(
                f"of {len(names)} features, the search used the {len(problem.names)} most "
                f"relevant: {', '.join(problem.names)}",
                stacklevel=2,
            )
        return self

    def predict(self, X) -> np.ndarray:
        """Values of the chosen formula, (n,); NaN or infinite where it is not defined."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.expression_.evaluate(X, self._names())

    def text(self, index: int | None = None, digits: int | None = None) -> str:
        """A formula as text: the chosen one, or that in a row of `equations_`.

        Args:
            index: row.
            digits: significant digits of decimal numbers; None prints them exactly.
        """
        return to_text(self._expression(index), digits)

    def sympy(self, index: int | None = None) -> sympy.Expr:
        """A formula for further algebra: the chosen one, or that in a row of `equations_`."""
        from lee_bench.algebra import to_sympy

        return to_sympy(self._expression(index))

    def latex(self, index: int | None = None, digits: int | None = None) -> str:
        """A formula in LaTeX; arguments as of `text`."""
        return to_latex(self._expression(index), digits)

    def _expression(self, index: int | None) -> Expression:
        check_is_fitted(self)
        return self.expression_ if index is None else self.expressions_[index]

    def _names(self) -> list[str]:
        given = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(self.n_features_in_)] if given is None else list(given)

    def _check_parameters(self) -> None:
        if not self.time_limit > 0:
            raise ValueError(f"time_limit must be positive, not {self.time_limit}")
        if self.max_rounds < 0:
            raise ValueError(f"max_rounds must not be negative, not {self.max_rounds}")
        if not self.patience >= 0:
            raise ValueError(f"patience must not be negative, not {self.patience}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")

    def _search(
        self, problem: Problem, network: LEE, starts: list[Expression], threads: int, seed: int
    ) -> None:
        begin = time.perf_counter()
        end = begin + self.time_limit
        rows = [_tokens(formula, problem) for formula in starts]
        settings = Refinement(patience=self.patience)
        tokens = [tokens for tokens, _ in rows]
        search = Search(network, problem, settings, threads=threads, seed=seed, start=tokens)
        for formula in starts:
            search.pool.refit(*_with_values(formula, problem))

        def watch(done: Round) -> None:
            if self.callback is not None and self.callback(done, _best(search.pool)):
                raise _Stopped

        try:
            polish_from = end - polishing(self.time_limit)
            self.stop_reason_ = search.run(polish_from, max_rounds=self.max_rounds, watch=watch)
        except _Stopped:
            self.stop_reason_ = "stopped"
        answers, chosen = search.pool.answers(end)
        self.expressions_ = tuple(answer.formula for answer in answers)
        self.expression_ = self.expressions_[chosen]
        self.formula_ = to_text(self.expression_)
        self.equations_ = pd.DataFrame(
            {
                "complexity": [answer.nodes for answer in answers],
                "loss": [answer.loss for answer in answers],
                "r2": [_r2(formula, problem) for formula in self.expressions_],
                "formula": [to_text(formula) for formula in self.expressions_],
                "chosen": np.arange(len(answers)) == chosen,
            }
        )
        self.refine_history_ = pd.json_normalize([asdict(done) for done in search.history])


class _Stopped(Exception):  # noqa: N818 - no error
    """The callback asked to stop."""


def to_text(formula: Expression, digits: int | None = None) -> str:
    """Print a formula with backticks around names that are not identifiers."""
    quoted = {
        name: Expression((Variable(f"`{name}`"),)) for name in formula.variables if _odd(name)
    }
    return formula.substitute(quoted).to_infix(digits)


def _odd(name: str) -> bool:
    """Whether a name stands in backticks; `pi` does, to be told from the number."""
    return not is_variable_name(name) or name.lower() == "pi"


def _read(text: str, names: Sequence[str]) -> Expression:
    """A user's formula in the features' names; ExpressionError says what is wrong with it."""
    stand_ins: dict[str, str] = {}

    def stand_in(match: re.Match) -> str:
        if match[1] not in names:
            error = unknown("feature", match[1], names)
            raise ExpressionError(f"cannot start from '{text}': {error}", error.hint)
        stand_ins[match[1]] = "q" * longest + str(names.index(match[1]))
        return f" {stand_ins[match[1]]} "

    longest = 1 + max(map(len, names))  # longer than any name: no name is taken twice
    plain = _QUOTED.sub(stand_in, text)
    features = [name for name in names if not _odd(name)]
    try:
        formula = parse(plain, [*features, *stand_ins.values()])
    except ExpressionError as error:
        raise ExpressionError(
            f"cannot start from '{text}': {error}", f"The features are {', '.join(names)}."
        ) from None
    if not formula.variables:
        raise ExpressionError(f"cannot start from '{text}': it holds no feature")
    return formula.substitute({new: Expression((Variable(n),)) for n, new in stand_ins.items()})


def _tokens(formula: Expression, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Canonical tokens (L,) and constants (K,) of a formula in the names of a problem."""
    try:
        tokens, constants = tok.from_expression(formula, problem.names)
    except ValueError as error:
        raise ExpressionError(f"cannot start from '{to_text(formula)}': {error}") from None
    row, values = canonical_row(tokens, constants)
    return np.array(row), np.array(values)


def _with_values(formula: Expression, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """One row (1, L) in the units of a problem, and its constants (1, K) to start a fit from."""
    units = {name: 1 / unit for name, unit in problem.x_units.items() if unit != 1}
    moderate = in_original_units(formula, units, 1 / problem.y_unit)
    tokens, constants = _tokens(moderate, problem)
    return tokens[None], constants[None]


def _best(pool: Pool) -> str:
    """The candidate of shortest description, as a short text."""
    return to_text(pool.problem.formula(pool.ranked()[0]), 6)


def _r2(formula: Expression, problem: Problem) -> float:
    """R² on all rows; of a constant target 1 where it is met."""
    y = problem.all_y / problem.y_unit
    variance = np.average(
        (y - np.average(y, weights=problem.all_weights)) ** 2, weights=problem.all_weights
    )
    loss = problem.loss(formula)
    if loss <= problem.floor:
        return 1.0
    return float(1 - loss / variance) if variance > 0 else 0.0


def _observations(weights: np.ndarray) -> float:
    """How many observations weighted rows are: whole weights are repetitions; of others the
    effective number (Kish, Survey Sampling, 1965), which equal weights leave at that of the rows.
    """
    if (weights == np.floor(weights)).all():
        return float(weights.sum())
    share = weights / weights.max()  # squares of tiny ones would vanish
    return float(share.sum() ** 2 / np.square(share).sum())


def _merged(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in a fixed order, equal ones as one that weighs as much, weightless ones left out."""
    rows = np.column_stack([X, y])[weights > 0]
    weights = weights[weights > 0]
    order = np.lexsort(rows.T)
    rows, weights = rows[order], weights[order]
    first = np.append(True, (rows[1:] != rows[:-1]).any(axis=1))
    rows, weights = rows[first], np.add.reduceat(weights, np.flatnonzero(first))
    return np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy(), weights


def _columns(
    X: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    names: Sequence[str],
    starts: Sequence[Expression],
) -> np.ndarray:
    """Columns that a problem may choose from: where there are too many, those of the starts too."""
    wanted = [i for i, n in enumerate(names) if any(n in start.variables for start in starts)]
    if not wanted or len(names) <= tok.MAX_VARIABLES:
        return np.arange(len(names))
    some = slice(None, None, max(1, len(y) // 1000))
    scores = relevance(X[some], y[some], weights[some])
    scores[wanted] = np.inf
    return np.sort(np.argsort(-scores, kind="stable")[: tok.MAX_VARIABLES])


def _as_list(start: str | Sequence[str] | None) -> list[str]:
    if start is None:
        return []
    return [start] if isinstance(start, str) else list(start)


@contextlib.contextmanager
def _threads(wanted: int | None) -> Iterator[int]:
    """Set the threads of torch and of the kernels for a while."""
    before = torch.get_num_threads()
    threads = wanted or before
    torch.set_num_threads(threads)
    try:
        with use_threads(threads):
            yield threads
    finally:
        torch.set_num_threads(before)


@functools.cache
def _compile(threads: int) -> None:
    warm_up(threads)


@functools.lru_cache(maxsize=2)
def _network(folder: Path, changed: int = 0) -> Any:
    """A saved network; `changed` tells it from an earlier one in the same folder."""
    return checkpoint.load(folder)[0]
