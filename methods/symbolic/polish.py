"""From a fitted candidate to what a person wants to read.

Four steps, each of which the data decide, with the noise estimated from the candidate's residuals:

1. *Signs.* abs(u) becomes u or -u where u has one sign on all rows; again after step 2.
2. *Prune.* Terms, factors and functions go whose removal, with all constants refitted, raises
   chi-squared by no more than log(n) for each constant saved (the Bayesian information criterion,
   Schwarz 1978, doi:10.1214/aos/1176344136).
3. *Snap.* Constants become fractions, roots or multiples of pi where that describes them in fewer
   bits than the digits that the data determine (see `exact`), the rest is refitted each time, and
   chi-squared must rise by no more than 9 (three standard errors).
4. *Print.* Constants that stay get as many digits as they are known to; see `printing.neat`.

On clean data the noise is the rounding error of the fit, and 2 and 3 ask for exact agreement.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lee_bench.expression import Expression, Node, Number, Operator, Variable
from methods.symbolic import vocabulary as tok
from methods.symbolic.archive import TOKEN_NATS, noise_floor
from methods.symbolic.canonical import canonical_row
from methods.symbolic.exact import Exact, real_bits, simplest
from methods.symbolic.printing import neat
from methods.symbolic.programs import evaluate_with_jacobian
from methods.symbolic.subtrees import replaced, spans, subtree_values

_SNAP_CHI2 = 9.0
_TINY = 1e-3  # numbers below it are printed as fractions: readers that round keep them
_MOST_DIGITS = 14


@dataclass(frozen=True, eq=False)
class Polished:
    """What `polish` made of a formula.

    Attributes:
        expression: neat, in the given names; what `lee_bench.expression.parse` makes of its text.
        loss: mean squared error on all rows given.
        loss_before: that of the formula that came in.
    """

    expression: Expression
    loss: float
    loss_before: float


def tolerance(points: float, constants: int) -> float:
    """Factor by which polishing may raise the mean squared error: 1 + 2 (k + 1) log(n) / n.

    Twice what the tests of n rows and k constants allow; rounding errors come on top.
    """
    return 1 + 2 * (constants + 1) * math.log(max(points, 2)) / points


def in_original_units(
    expression: Expression,
    x_units: Mapping[str, float],
    y_unit: float = 1.0,
) -> Expression:
    """Undo a scaling: a formula for y / y_unit in x / x_unit becomes one for y in x.

    Args:
        x_units: divisor of each variable; those not named were left alone.
    """
    replacements = {
        name: Expression((Variable(name), _number(unit), Operator("div", 2)))
        for name, unit in x_units.items()
        if unit != 1
    }
    nodes = expression.substitute(replacements).nodes
    if y_unit != 1:
        nodes += (_number(y_unit), Operator("mul", 2))
    return Expression(nodes)


def _number(value: float) -> Number:
    return Number(int(value) if float(value).is_integer() and abs(value) < 1e15 else float(value))


def polish(
    expression: Expression,
    X: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    *,
    weights: np.ndarray | None = None,
    observations: float | None = None,
    deadline: float = math.inf,
    max_points: int = 3000,
    seed: int = 0,
) -> Polished:
    """Simplify a formula as far as the data allow.

    The result's mean squared error on the rows given is at most `tolerance` times that of the
    formula that came in, plus rounding errors; otherwise less is done.

    Args:
        expression: in `names` and original units.
        X: float64 (n, d); y: float64 (n,).
        names: of the d columns.
        weights: of the rows in all sums of squares, (n,), not negative.
        observations: that the rows stand for, where equal ones were merged; their number by
            default.
        deadline: value of `time.perf_counter()` after which no new step begins.
        max_points: rows used for fits and tests; all rows verify the result.
        seed: chooses those rows.

    Raises:
        lee_bench.errors.ExpressionError: the formula uses a variable that is not in `names`.
    """
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
    observations = observations or len(y)
    scale = float(np.abs(y).max(initial=0)) or 1.0  # losses are computed for y / scale

    def loss_of(formula: Expression) -> float:
        with np.errstate(all="ignore"):
            squares = weights * ((formula.evaluate(X, names) - y) / scale) ** 2
            loss = float(squares.sum() / weights.sum())
        return loss if math.isfinite(loss) else math.inf

    before = loss_of(expression)
    used = [name for name in names if name in expression.variables]
    floor = noise_floor(y / scale)
    stages = [neat(expression)]
    if before < math.inf and len(used) <= tok.MAX_VARIABLES:
        columns = [list(names).index(name) for name in used]
        rows = np.arange(len(y))
        if len(rows) > max_points:
            rows = np.sort(np.random.default_rng(seed).choice(rows, max_points, replace=False))
        data = _Data(
            np.ascontiguousarray(X[rows][:, columns]) if used else np.zeros((len(rows), 1)),
            y[rows],
            np.sqrt(weights[rows] / weights[rows].mean()) / scale,
            floor,
            observations * float(weights[rows].sum() / weights.sum()),
        )
        signs = np.ascontiguousarray(X[:, columns]) if used else np.zeros((len(X), 1))
        stages += _stages(expression, used, data, signs, deadline)
    square = scale * scale
    limit = before * tolerance(observations, _count_numbers(expression)) + floor
    for stage in reversed(stages):
        loss = loss_of(stage)
        if loss <= limit:
            return Polished(stage, loss * square, before * square)
    return Polished(expression, before * square, before * square)


@dataclass(frozen=True, eq=False)
class _Data:
    """Rows X (m, d) and y (m,), square roots of the weights of residuals (m,), the loss that is
    exact, and the number of observations that the rows stand for.
    """

    X: np.ndarray
    y: np.ndarray
    root_w: np.ndarray
    floor: float
    n: float


@dataclass(frozen=True, eq=False)
class _Fit:
    """Tokens (L,), constants (K,) and mean squared error of a candidate."""

    tokens: np.ndarray
    constants: np.ndarray
    loss: float


def _count_numbers(expression: Expression) -> int:
    return sum(isinstance(node, Number) for node in expression.nodes)


def _stages(
    expression: Expression, names: Sequence[str], data: _Data, all_X: np.ndarray, deadline: float
) -> Iterator[Expression]:
    """Ever more polished versions."""
    try:
        tokens, constants = tok.from_expression(expression, names)
    except ValueError:
        return
    tokens, constants = _without_abs(*_simplified(tokens, constants), all_X)
    fit = _relax([tokens], [constants], data)[0]
    if not fit.loss < math.inf:
        return
    k = len(fit.constants)
    noise = max(fit.loss * data.n / max(1, data.n - k), data.floor)
    yield neat(_formula(fit, {}, names))
    size = len(fit.tokens)
    fit = _pruned(fit, data, noise, deadline)
    # The root of a square and a sum may have become that of the square alone.
    fit = _Fit(*_without_abs(fit.tokens, fit.constants, all_X), fit.loss)
    if len(fit.tokens) < size:
        yield neat(_formula(fit, {}, names))
    fit, pins = _snapped(fit, data, noise, deadline)
    if pins:
        yield neat(_formula(fit, pins, names))
    fit, pins = _with_few_digits(fit, pins, data, noise, deadline)
    yield neat(_formula(fit, pins, names))


def _simplified(tokens: np.ndarray, constants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, values = canonical_row([int(t) for t in tokens], [float(c) for c in constants])
    return np.array(row, dtype=np.int64), np.array(values, dtype=np.float64)


def _formula(fit: _Fit, pins: Mapping[int, Exact | float], names: Sequence[str]) -> Expression:
    """The formula in the given names, with exact numbers where there are some."""
    values = iter(pins.get(i, float(c)) for i, c in enumerate(fit.constants))
    named = dict(zip(tok.VARIABLE_NAMES, names, strict=False))
    nodes: list[Node] = []
    for node in tok.to_expression(fit.tokens).nodes:
        if node == Variable("C"):
            value = next(values)
            nodes.extend(value.nodes if isinstance(value, Exact) else (Number(value),))
        elif isinstance(node, Variable):
            nodes.append(Variable(named[node.name]))
        else:
            nodes.append(node)
    return Expression(tuple(nodes))


# --- fitting ----------------------------------------------------------------------------------


def _relax(
    rows: Sequence[np.ndarray],
    starts: Sequence[np.ndarray],
    data: _Data,
    free: np.ndarray | None = None,
    hopeless: float = math.inf,
    steps: int = 30,
    deadline: float = math.inf,
) -> list[_Fit]:
    """Levenberg-Marquardt of a batch from starts that are near their minimum.

    Unlike `constants.fit` it can hold constants fixed, and needs no second start.

    Args:
        rows: B prefix rows; starts: their constants.
        free: bool (B, K), constants to fit; all by default.
        hopeless: loss above which slow progress ends a fit.
        steps: trial steps at most.
        deadline: value of `time.perf_counter()` after which no second step begins.
    """
    B, K = len(rows), max((len(c) for c in starts), default=0)
    tokens = tok.stack(rows)
    c = np.zeros((B, K))
    for out, start in zip(c, starts, strict=True):
        out[: len(start)] = start
    free = np.ones((B, K), dtype=bool) if free is None else free
    X, y, w = data.X, data.y, data.root_w
    loss, damping = np.full(B, np.inf), np.full(B, 1e-3)
    N, g = np.zeros((B, K, K)), np.zeros((B, K))
    trial, active = c.copy(), np.arange(B)
    with np.errstate(all="ignore"):
        for step in range(steps):
            f, J = evaluate_with_jacobian(tokens[active], X, trial[active])
            r = (y - f) * w
            new = np.square(r).mean(1)
            J = np.where(free[active][:, None, :], J * w[:, None], 0.0)
            better = new < loss[active]
            mine = active[better]
            slow = loss[mine] - new[better] < np.where(
                new[better] > hopeless, 0.03, 1e-9
            ) * loss[mine]  # fmt: skip
            c[mine], loss[mine] = trial[mine], new[better]
            J, r = J[better], r[better]
            J[~np.isfinite(J)] = 0
            N[mine] = np.matmul(J.transpose(0, 2, 1), J)
            g[mine] = np.matmul(J.transpose(0, 2, 1), r[:, :, None])[:, :, 0]
            damping[mine] = np.maximum(damping[mine] * 0.1, 1e-12)
            damping[active[~better]] *= 10
            done = ~np.isfinite(loss) | (damping > 1e6) | (loss <= data.floor * 1e-6)
            done[mine[slow & (step > 0)]] = True
            active = active[~done[active]]
            if K == 0 or not len(active) or time.perf_counter() >= deadline:
                break
            scale = np.sqrt(np.einsum("bkk->bk", N[active]))
            scale[scale == 0] = 1
            A = N[active] / (scale[:, :, None] * scale[:, None, :])
            A += np.eye(K) * (damping[active, None, None] + 1e-14)
            d = np.linalg.solve(A, (g[active] / scale)[:, :, None])[:, :, 0]
            trial[active] = c[active] + d / scale
    return [_Fit(row, c[i, : len(start)], float(loss[i]))
            for i, (row, start) in enumerate(zip(rows, starts, strict=True))]  # fmt: skip


def _free(fit: _Fit, pins: Mapping[int, Exact | float]) -> np.ndarray:
    return np.array([k not in pins for k in range(len(fit.constants))], dtype=bool)


def _standard_errors(fit: _Fit, free: np.ndarray, data: _Data, noise: float) -> np.ndarray:
    """Of each constant, given that those not free are known: (K,); inf where undetermined."""
    errors = np.zeros(len(fit.constants))
    if not free.any():
        return errors
    with np.errstate(all="ignore"):
        _, J = evaluate_with_jacobian(fit.tokens[None], data.X, fit.constants[None])
        J = (J[0] * data.root_w[:, None])[:, free] * math.sqrt(data.n / len(data.y))
        J[~np.isfinite(J)] = 0
        scale = np.sqrt(np.square(J).sum(0))
        lost = scale == 0
        scale[lost] = 1
        # Eigenvalues of the scaled matrix below 1e-13 are directions that the data do not see.
        values, vectors = np.linalg.eigh(np.matmul((J / scale).T, J / scale))
        variance = np.square(vectors) @ (1 / np.maximum(values, 1e-13))
    errors[free] = np.where(lost, np.inf, np.sqrt(noise * variance) / scale)
    return errors


# --- the steps --------------------------------------------------------------------------------


def _without_abs(
    tokens: np.ndarray, constants: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace each abs whose argument has one sign on all rows."""
    if tok.ABS not in tokens:
        return tokens, constants
    values = subtree_values(tokens, constants, X)
    row: list[int] = []
    for i, token in enumerate(tokens.tolist()):
        if token == tok.ABS and (values[i + 1] >= 0).all():
            continue
        row.append(tok.NEG if token == tok.ABS and (values[i + 1] <= 0).all() else token)
    return _simplified(np.array(row), constants)


def _shorter(
    tokens: np.ndarray, constants: np.ndarray, X: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All versions with one node less or one subtree replaced by a constant."""
    places = spans(tokens)
    means = np.nan_to_num(subtree_values(tokens, constants, X).mean(1), posinf=1, neginf=-1)

    def with_new(i: int, new: Sequence[int], values: Sequence[float]) -> tuple:
        return replaced(tokens, constants, places[i], new, values)

    for i, token in enumerate(tokens.tolist()):
        start, stop, c0, c1 = places[i]
        if tok.ARITY[token] == 0:
            if tok.IS_VARIABLE[token]:
                yield with_new(i, [tok.CONSTANT], [means[i]])
            continue
        first = places[i + 1]
        yield with_new(i, tokens[i + 1 : first[1]], constants[c0 : first[3]])
        if tok.IS_BINARY[token]:
            sign = {tok.SUB: [tok.NEG], tok.DIV: [tok.INV]}.get(token, [])
            yield with_new(i, [*sign, *tokens[first[1] : stop]], constants[first[3] : c1])
        if tok.IS_VARIABLE[tokens[start:stop]].any():
            yield with_new(i, [tok.CONSTANT], [means[i]])


def _pruned(fit: _Fit, data: _Data, noise: float, deadline: float) -> _Fit:
    """Remove what the data do not notice, largest saving first, until nothing is left to remove."""

    def price(f: _Fit) -> float:
        nats = TOKEN_NATS * len(f.tokens) + len(f.constants) * math.log(data.n) / 2
        return nats + data.n * f.loss / (2 * noise)

    while time.perf_counter() < deadline:
        unit = math.log(max(data.n, 3)) * noise / data.n  # of loss, for one constant
        edits: dict[tuple, np.ndarray] = {}
        for tokens, constants in _shorter(fit.tokens, fit.constants, data.X):
            tokens, constants = _simplified(tokens, constants)
            fewer = len(tokens) < len(fit.tokens) and len(constants) <= len(fit.constants)
            if fewer and np.isfinite(constants).all():
                edits.setdefault(tuple(tokens.tolist()), constants)
        if not edits:
            break
        rows = [np.array(row) for row in edits]
        hopeless = fit.loss + 10 * (1 + len(fit.constants)) * unit
        kept = [
            new
            for new in _relax(
                rows, list(edits.values()), data, hopeless=hopeless, deadline=deadline
            )
            if new.loss - fit.loss <= unit * max(1, len(fit.constants) - len(new.constants))
        ]
        if not kept:
            break
        fit = min(kept, key=price)
    return fit


def _snapped(
    fit: _Fit, data: _Data, noise: float, deadline: float
) -> tuple[_Fit, dict[int, Exact]]:
    """Make constants exact, the surest first, and refit the others each time."""
    pins: dict[int, Exact] = {}
    refused: set[int] = set()
    while time.perf_counter() < deadline:
        errors = _standard_errors(fit, _free(fit, pins), data, noise)
        choices = {
            k: (near, real_bits(value, errors[k]) - near[0].bits)
            for k, value in enumerate(fit.constants)
            if k not in pins and k not in refused and (near := simplest(value, errors[k]))
        }
        if not choices:
            break
        k = max(choices, key=lambda k: choices[k][1])
        for exact in choices[k][0][:3]:
            free = _free(fit, {**pins, k: exact})
            start = fit.constants.copy()
            start[k] = float(exact)
            (new,) = _relax([fit.tokens], [start], data, free[None])
            if data.n * (new.loss - fit.loss) / noise <= _SNAP_CHI2:
                fit, pins[k] = new, exact
                refused.clear()
                break
        else:
            refused.add(k)
    return fit, pins


def _with_few_digits(
    fit: _Fit, pins: Mapping[int, Exact], data: _Data, noise: float, deadline: float
) -> tuple[_Fit, dict[int, Exact | float]]:
    """Round what is not exact to the digits that count, the least known first, and refit the others
    each time: where constants stand in for each other, rounding them side by side would tell.
    """
    rounded: dict[int, Exact | float] = dict(pins)
    while (free := _free(fit, rounded)).any():
        errors = _standard_errors(fit, free, data, noise)
        with np.errstate(all="ignore"):
            k = max(np.flatnonzero(free), key=lambda k: errors[k] / abs(fit.constants[k]))
        rounded[k] = _rounded(fit.constants[k], errors[k])
        start = fit.constants.copy()
        start[k] = float(rounded[k])
        steps = 8 if time.perf_counter() < deadline else 2  # one step corrects most of it
        (fit,) = _relax([fit.tokens], [start], data, _free(fit, rounded)[None], steps=steps)
    return fit, rounded


def _rounded(value: float, error: float) -> Exact | float:
    """The value with the digits that count; as a fraction where it is tiny."""
    value = float(value)
    if not (math.isfinite(value) and value):
        return value
    for digits in range(2, _MOST_DIGITS):
        text = f"{value:.{digits - 1}e}"
        if abs(float(text) - value) <= 0.25 * error:
            break
    else:
        return value
    if abs(value) >= _TINY:
        return float(text)
    return Exact(1 if value > 0 else -1, abs(Fraction(text)))
