"""Batched constant fitting: what it finds, on what terms, and what may be asked of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.symbolic import constants_torch, programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.benchmark_problems import random_problems, random_tree, with_constants
from methods.symbolic.constants import Effort, fit

needs_numba = pytest.mark.skipif(not programs.HAS_NUMBA, reason="numba is not installed")
BACKENDS = ["torch", pytest.param("numba", marks=needs_numba)]
both_backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small kernels on many threads wait for each other."""
    with programs.torch_threads(1):
        yield


@pytest.fixture(scope="module")
def problems():
    return random_problems(per_count=12, seed=5)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 3, (150, 2))


def values(text: str, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (1, L), constants and values of a formula."""
    tokens, c = tok.from_infix(text)
    return tokens[None], c, programs.evaluate(tokens[None], X, c[None])[0]


@both_backends
@pytest.mark.parametrize(
    "text",
    [
        "2.5*exp(-0.7*x0) + 0.3",
        "0.2*sin(1.7*x0 + 0.4)",
        "1.5*x0**2.3/(x1 + 0.25)",
        "sqrt(7.7*x0 + x1**2) - 0.1*x1",
        "log(x0 + 6.5) + 0.01*tanh(x1 - 1.2)",
    ],
)
def test_the_constants_behind_the_data_are_found(text, backend, points):
    tokens, hidden, y = values(text, points)
    found = fit(tokens, points, y, backend=backend)
    assert found.loss[0] < 1e-20 * y.var()
    assert found.converged[0]
    assert found.steps[0] > 0
    again = programs.evaluate(tokens, points, found.constants)[0]
    np.testing.assert_allclose(again, y, rtol=1e-8)
    if "sin" not in text:  # there, a phase and a sign are free
        np.testing.assert_allclose(found.constants[0], hidden, rtol=1e-6)


@both_backends
def test_most_random_problems_are_solved(problems, backend):
    found = fit(problems.tokens, problems.X, problems.y, backend=backend)
    share = found.loss / problems.y.var(1)
    assert (share < 1e-10).mean() > 0.75
    values = programs.evaluate(problems.tokens, problems.X, found.constants)
    np.testing.assert_allclose(
        ((values - problems.y) ** 2).mean(1), found.loss, rtol=1e-6, atol=1e-20
    )


@both_backends
def test_linear_constants_are_least_squares(backend, points):
    rng = np.random.default_rng(1)
    y = rng.normal(size=150)
    weights = rng.uniform(0, 2, 150)
    tokens = tok.encode("+ + * C x0 * C x1 C")[None]
    A = np.column_stack([points, np.ones(150)])
    for w in (None, weights):
        root = np.sqrt(1 if w is None else w) * np.ones(150)
        expected = np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
        found = fit(tokens, points, y, weights=w, backend=backend)
        np.testing.assert_allclose(found.constants[0], expected, rtol=1e-8)
        loss = (root**2 * (A @ expected - y) ** 2).sum() / (root**2).sum()
        np.testing.assert_allclose(found.loss[0], loss, rtol=1e-10)


@both_backends
def test_points_of_no_weight_do_not_count(backend, points):
    tokens, hidden, y = values("1.3*exp(0.4*x0)", points)
    wrong = np.arange(150) % 3 == 0
    found = fit(tokens, points, np.where(wrong, 1e6, y), weights=~wrong * 1.0, backend=backend)
    np.testing.assert_allclose(found.constants[0], hidden, rtol=1e-6)


@both_backends
def test_constants_that_cannot_be_told_apart_do_no_harm(backend, points):
    y = 3 * points[:, 0] + 1
    rows = ["+ * * C C x0 C", "+ * C x0 + C C", "+ * C x0 * C + C - x1 x1", "+ * C x0 exp C"]
    found = fit(tok.stack([tok.encode(row) for row in rows]), points, y, backend=backend)
    assert np.isfinite(found.constants).all()
    assert (found.loss < 1e-12).all()


@both_backends
def test_scales_far_from_one_are_no_obstacle(backend):
    x = np.random.default_rng(0).uniform(1e6, 5e6, (120, 1))
    tokens, hidden, y = values("4e-9*x0**2 + 3e12/x0 + 7e4", x)
    found = fit(tokens, x, y, backend=backend)
    np.testing.assert_allclose(found.constants[0], hidden, rtol=1e-6)


@both_backends
def test_undefined_values_and_slopes_are_survived(backend):
    x = np.linspace(0, 2, 90)[:, None]
    tokens, hidden, y = values("sqrt(1.7*x0)", x)  # no slope at zero
    found = fit(tokens, x, y, backend=backend)
    np.testing.assert_allclose(found.constants[0], hidden, rtol=1e-8)
    tokens, hidden, y = values("log(x0 + 0.001)", x)  # undefined for most starts
    found = fit(tokens, x, y, backend=backend)
    np.testing.assert_allclose(found.constants[0], hidden, rtol=1e-5)
    nowhere = fit(tok.encode("+ C log neg x0")[None], x + 1, y, backend=backend)
    assert nowhere.loss[0] == np.inf
    assert not nowhere.converged[0]


@both_backends
@pytest.mark.parametrize("n", [20, 100])
def test_expressions_without_constants_are_scored_beside_others(n, backend, points):
    tokens = tok.stack([tok.encode("* C x0"), tok.encode("+ x0 x1"), tok.encode("x1")])
    y = points.sum(1)
    found = fit(tokens, points[:n], y[:n], backend=backend)
    assert found.loss[1] == 0
    np.testing.assert_allclose(found.loss[2], (points[:n, 0] ** 2).mean())
    assert found.converged.all()


@both_backends
def test_each_expression_may_have_data_of_its_own(problems, backend):
    some = slice(0, 24)
    together = fit(problems.tokens[some], problems.X[some], problems.y[some], backend=backend)
    shared = fit(problems.tokens[some], problems.X[3], problems.y[3], backend=backend)
    assert together.loss[3] == pytest.approx(shared.loss[3], abs=1e-12 * problems.y[3].var())
    assert (shared.loss >= together.loss - 1e-9).mean() > 0.8


@both_backends
def test_warm_starts_are_used(backend, points):
    tokens, _, y = values("sin(83.1*x0)", points)
    alone = fit(tokens, points, y, effort=Effort(starts=1, candidates=1), backend=backend)
    warm = np.array([[[83.0]]])
    helped = fit(
        tokens, points, y, warm=warm, effort=Effort(starts=1, candidates=1), backend=backend
    )
    assert alone.loss[0] > 0.1
    assert helped.loss[0] < 1e-20


@needs_numba
def test_a_seed_decides_everything_and_threads_nothing(problems):
    def run(**options):
        return fit(problems.tokens, problems.X, problems.y, backend="numba", **options)

    first, second = run(seed=3, threads=1), run(seed=3, threads=2)
    np.testing.assert_array_equal(first.constants, second.constants)
    np.testing.assert_array_equal(first.loss, second.loss)
    assert (run(seed=4).steps != first.steps).any()
    assert (run(seed=np.random.default_rng(3)).loss == first.loss).all()


def test_the_torch_back_end_repeats_itself(problems):
    some = slice(0, 60, 5)
    first, second = (
        fit(problems.tokens[some], problems.X[some], problems.y[some], backend="torch", seed=3)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.constants, second.constants)


@both_backends
def test_torch_goes_in_and_torch_comes_out(backend, points):
    tokens, hidden, y = values("1.3*exp(0.4*x0)", points)
    found = fit(*map(torch.from_numpy, (tokens, points, y)), backend=backend)
    assert found.constants.dtype == torch.float64
    np.testing.assert_allclose(found.constants[0].numpy(), hidden, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_solves_as_many(problems):
    here = fit(problems.tokens, problems.X, problems.y)
    tensors = (torch.from_numpy(a).cuda() for a in (problems.tokens, problems.X, problems.y))
    there = fit(*tensors)
    solved = (there.loss.cpu().numpy() / problems.y.var(1) < 1e-10).mean()
    assert solved > (here.loss / problems.y.var(1) < 1e-10).mean() - 0.05


def test_constants_marked_linear_enter_linearly():
    rng = np.random.default_rng(0)
    rows = [random_tree(rng, int(rng.integers(1, 12)), 2, False) for _ in range(400)]
    tokens = tok.stack([with_constants(rng, row, int(rng.integers(1, 5))) for row in rows])
    linear = constants_torch.mark_linear(torch.from_numpy(tokens)).numpy()
    K, X = linear.shape[1], rng.uniform(0.5, 2, (20, 2))
    c = rng.uniform(0.5, 2, (len(tokens), K))
    step = 0.1 * rng.normal(size=c.shape) * linear
    low, middle, high = (programs.evaluate(tokens, X, c + k * step) for k in (-1, 0, 1))
    with np.errstate(all="ignore"):
        bend = abs(high - 2 * middle + low)
        size = 1e-9 * np.maximum(abs(middle), abs(high) + abs(low))
    checked = np.isfinite(bend)
    assert (bend[checked] <= size[checked]).all()
    assert 0.2 < linear[tok.count_constants(tokens) == K].mean() < 0.9
    for text, expected in [
        ("* C + x0 C", [True, False]),
        ("* x0 + C * C x1", [True, True]),
        ("/ C + C x0", [True, False]),
        ("- neg C sin C", [True, False]),
        ("* + C * C x0 + C C", [True, True, False, False]),
        ("pow C 2", [False]),
    ]:
        row = torch.from_numpy(tok.encode(text)[None])
        assert constants_torch.mark_linear(row).tolist() == [expected], text


@needs_numba
def test_both_back_ends_mark_the_same_constants():
    from methods.symbolic import constants_parts, programs_numba

    rng = np.random.default_rng(1)
    rows = [random_tree(rng, int(rng.integers(1, 12)), 2, False) for _ in range(300)]
    tokens = tok.stack([with_constants(rng, row, int(rng.integers(1, 5))) for row in rows])
    expected = constants_torch.mark_linear(torch.from_numpy(tokens)).numpy()
    L, K = tokens.shape[1], expected.shape[1]
    size, second, constant = (np.empty(L, np.int64) for _ in range(3))
    holds, path, linear = np.empty(L, bool), np.empty(L, bool), np.empty(K, bool)
    for row, marks in zip(tokens, expected, strict=True):
        n, _ = programs_numba.link(row, size, second, constant, holds)
        count = constants_parts.mark_linear(row, n, second, constant, size, linear, path)
        np.testing.assert_array_equal(linear, marks)
        assert count == marks.sum()


def test_wrong_arguments_are_told_apart(points):
    tokens, y = tok.encode("* C x0")[None], np.ones(150)
    for options, message in [
        ({"y": y[:5]}, r"y must be \(150,\) or \(1, 150\), got \(1, 5\)"),
        ({"y": np.where(y == 1, np.nan, y)}, "y must be finite"),
        ({"weights": -y}, "must not be negative"),
        ({"weights": 0 * y}, "nor all zero"),
        ({"warm": np.ones((1, 1))}, r"warm must be \(1, S, 1 or more\)"),
        ({"tokens": tokens[:, :2]}, "no complete prefix expression"),
        ({"backend": "jax"}, "no back end"),
        ({"X": points[:0], "y": y[:0]}, "no points"),
    ]:
        arguments = {"tokens": tokens, "X": points, "y": y} | options
        with pytest.raises(ValueError, match=message):
            fit(**arguments)
    with pytest.raises(ValueError, match="at least 1"):
        Effort(starts=0)
