"""Batched evaluation: all back ends against numpy's rules, exact slopes, errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from methods.symbolic import programs, programs_torch
from methods.symbolic import vocabulary as tok
from methods.symbolic.benchmark_problems import random_tree, with_constants

needs_numba = pytest.mark.skipif(not programs.HAS_NUMBA, reason="numba is not installed")
BACKENDS = ["torch", pytest.param("numba", marks=needs_numba)]
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 2.5, 1e-310, 1e-30, 1e30, -1e30, 1e300]
EDGES += [709.0, 710.5, -745.0, -800.0, 1e5 + 0.5, -3e7, np.pi, np.inf, -np.inf, np.nan]
NUMPY = {
    "neg": np.negative, "inv": np.reciprocal, "square": np.square, "cube": lambda a: a * a * a,
    "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "tanh": np.tanh, "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "abs": np.abs,
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "pow": np.power,
}  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """300 random expressions with constants, 70 points of 3 variables, the constants."""
    rng = np.random.default_rng(3)
    rows = [random_tree(rng, int(rng.integers(1, 15)), 3, False) for _ in range(300)]
    tokens = tok.stack([with_constants(rng, row, int(rng.integers(0, 4))) for row in rows])
    return tokens, rng.uniform(0.3, 2, (70, 3)), rng.uniform(0.3, 2, (300, 3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NUMPY)
def test_every_operator_follows_numpy_at_the_edges(name, dtype, backend):
    unary = name in tok.UNARY_NAMES
    grid = np.array(np.meshgrid(EDGES, [0.0] if unary else EDGES)).reshape(2, -1).T
    with np.errstate(all="ignore"):
        X = grid.astype(dtype)
        expected = NUMPY[name](*X.T[: 1 if unary else 2])
    values = programs.evaluate(
        tok.encode(f"{name} x0" if unary else f"{name} x0 x1")[None], X, backend=backend
    )[0]
    assert values.dtype == dtype
    # Next to a pole of tan a last digit of the argument's reduction counts for more.
    np.testing.assert_allclose(values, expected, rtol=8 * np.finfo(dtype).eps, equal_nan=True)


@needs_numba
@pytest.mark.parametrize(
    "name",
    ["exp", "log", "sin", "cos", "tan", "tanh", "arcsin", "arccos", "arctan", "pow"],
    ids=str,
)
def test_our_elementary_functions_are_right_to_four_units_in_the_last_place(name):
    rng = np.random.default_rng(0)
    scale = 10 ** rng.uniform(
        -8, {"exp": 3, "pow": 3, "sin": 5, "cos": 5, "tan": 5}.get(name, 300), 20_000
    )
    near = rng.normal(size=20_000)
    a = np.concatenate([scale * np.sign(near), near, near * 30])
    if name in ("log", "pow"):
        a = abs(a)
    if name in ("arcsin", "arccos"):
        a = np.concatenate([np.clip(near, -1, 1), near / 1e5, 1 - abs(near) / 1e5])
    b = rng.normal(size=len(a)) * np.where(rng.random(len(a)) < 0.5, 1, 50)
    if name == "pow":
        tokens, X, inputs = tok.encode("pow x0 x1"), np.stack([a, b], 1), (a, b)
    else:
        tokens, X, inputs = tok.encode(f"{name} x0"), a[:, None], (a,)
    values = programs.evaluate(tokens[None], X, backend="numba")[0]
    with np.errstate(all="ignore"):
        exact = NUMPY[name](*(i.astype(np.longdouble) for i in inputs))
        unit = np.spacing(abs(exact.astype(np.float64)))
        normal = np.isfinite(unit) & (abs(exact) > 1e-307)
    assert normal.mean() > 0.3
    assert (abs(values - exact)[normal] / unit[normal]).max() < (8 if name == "pow" else 4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_agree_with_the_formula_read_by_the_harness(batch, backend, dtype):
    tokens, X, constants = batch
    values = programs.evaluate(tokens, X.astype(dtype), constants, backend=backend)
    assert values.shape == (300, 70)
    rough = 0
    for row, c, of in zip(tokens, constants, values, strict=True):
        expression = tok.to_expression(row, c)
        expected = expression.evaluate(X, tok.VARIABLE_NAMES[:3])
        with np.errstate(all="ignore"):
            moved = expression.evaluate(X * (1 + 1e-9), tok.VARIABLE_NAMES[:3])
            # Where a billionth more of x matters, rounding does too.
            steady = abs(moved - expected) < 1e-7 * abs(expected)
        rough += (~steady & np.isfinite(expected)).mean()
        rtol = 1e-3 if dtype == np.float32 else 1e-9
        limit = np.finfo(dtype).max ** 0.25  # values on the way may overflow in float32
        steady &= (abs(expected) < limit) & (abs(expected) > 1 / limit)
        np.testing.assert_allclose(of[steady], expected[steady], rtol=rtol)
        if dtype == np.float64:
            assert (np.isfinite(of) == np.isfinite(expected))[steady].all()
    assert rough < 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_slopes_are_those_of_automatic_differentiation(batch, backend):
    tokens, X, constants = batch
    values, slopes = programs.evaluate_with_jacobian(tokens, X, constants, backend=backend)
    assert slopes.shape == (300, 70, 3)
    alone = programs.evaluate(tokens, X, constants, backend=backend)
    assert np.isclose(values, alone, rtol=1e-12, equal_nan=True).mean() > 0.99
    points = torch.from_numpy(X)
    checked = 0
    for row, c, of in zip(tokens, constants, slopes, strict=True):
        stack, left = [], int(tok.count_constants(row))
        leaf = torch.tensor(c, requires_grad=True)
        spread = leaf.expand(len(X), -1) * 1.0
        for token in row[row != tok.PAD][::-1].tolist():
            if token == tok.CONSTANT:
                left -= 1
                stack.append(spread[:, left])
            elif tok.IS_VARIABLE[token]:
                stack.append(points[:, token - tok.FIRST_VARIABLE])
            elif tok.IS_UNARY[token]:
                stack.append(programs_torch.UNARY[token][0](stack.pop()))
            else:
                stack.append(programs_torch.BINARY[token][0](stack.pop(), stack.pop()))
        (value,) = stack
        if not value.requires_grad:
            assert (of == 0).all()
            continue
        assert (of[:, int(tok.count_constants(row)) :] == 0).all()
        expected = torch.autograd.grad(value.sum(), spread)[0].numpy()
        well = np.isfinite(expected) & (abs(expected) < 1e12)
        np.testing.assert_allclose(of[well], expected[well], rtol=1e-7, atol=1e-12)
        checked += (well & (expected != 0)).sum()
    assert checked > 0.4 * slopes.size  # the rest are padding and undefined points


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_undefined_value_stays_at_its_own_point(backend):
    tokens = tok.stack([tok.encode("log x0"), tok.encode("/ C x0"), tok.encode("+ x0 C")])
    X = np.array([[-1.0], [0.0], [1.0]])
    values, slopes = programs.evaluate_with_jacobian(
        tokens, X, np.array([[0.0], [2.0], [3.0]]), backend=backend
    )
    np.testing.assert_array_equal(
        values, [[np.nan, -np.inf, 0.0], [-2.0, np.inf, 2.0], [2.0, 3.0, 4.0]]
    )
    np.testing.assert_array_equal(slopes[:, :, 0], [[0, 0, 0], [-1, np.inf, 1], [1, 1, 1]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_slopes_at_corners_follow_the_stated_conventions(backend):
    X = np.array([[0.0], [1.0]])
    tokens = tok.stack([tok.encode("abs * C x0"), tok.encode("pow x0 C"), tok.encode("sqrt C")])
    _, slopes = programs.evaluate_with_jacobian(
        tokens, X, np.array([[2.0], [2.0], [0.0]]), backend=backend
    )
    np.testing.assert_array_equal(slopes[:, :, 0], [[0, 1], [0, 0], [np.inf, np.inf]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_expression_may_have_points_of_its_own(batch, backend):
    tokens, _, constants = batch
    own = np.random.default_rng(1).uniform(0.5, 2, (len(tokens), 20, 3))
    together = programs.evaluate(tokens, own, constants, backend=backend)
    for i in (0, 17, 299):
        alone = programs.evaluate(tokens[[i]], own[i], constants[[i]], backend=backend)
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_torch_goes_in_and_torch_comes_out(batch, backend):
    tokens, X, constants = batch
    tensors = (torch.from_numpy(tokens), torch.from_numpy(X).float(), torch.from_numpy(constants))
    values, slopes = programs.evaluate_with_jacobian(*tensors, backend=backend)
    assert values.dtype == slopes.dtype == torch.float32
    arrays = programs.evaluate(tokens, X.astype(np.float32), constants, backend=backend)
    assert np.isclose(values.numpy(), arrays, rtol=1e-4, equal_nan=True).mean() > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_agrees(batch):
    tokens, X, constants = batch
    here = programs.evaluate_with_jacobian(tokens, X, constants, backend="torch")
    there = programs.evaluate_with_jacobian(tokens, torch.from_numpy(X).cuda(), constants)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.cpu().numpy(), a, rtol=1e-9, atol=1e-12, equal_nan=True)


@needs_numba
def test_threads_do_not_change_a_digit(batch):
    tokens, X, constants = batch
    one, two = (
        programs.evaluate_with_jacobian(tokens, X, constants, backend="numba", threads=threads)
        for threads in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_odd_sizes_work(backend):
    tokens = tok.encode("+ C x0")[None]
    for points in (1, 127, 128, 129, 300):
        X = np.arange(points, dtype=np.float64)[:, None]
        values = programs.evaluate(tokens, X, np.array([[0.5]]), backend=backend)
        np.testing.assert_array_equal(values[0], X[:, 0] + 0.5)
    assert programs.evaluate(tokens[:0], np.ones((3, 1)), backend=backend).shape == (0, 3)
    assert programs.evaluate(tokens, np.ones((0, 1)), np.ones((1, 1)), backend=backend).size == 0


def test_wrong_arguments_are_told_apart():
    X, row = np.ones((4, 2)), tok.encode("* C x1")[None]
    for tokens, points, constants, message in [
        (row, X.astype(int), np.ones((1, 1)), "float32 or float64"),
        (row, X[:, :1], np.ones((1, 1)), "x1 occurs, but X has 1 columns"),
        (row, X, np.ones((1, 0)), "1, 1 or more"),
        (row, X, None, "1, 1 or more"),
        (row, X, np.ones((2, 1)), "1, 1 or more"),
        (row, X[None].repeat(3, 0), np.ones((1, 1)), r"\(1, N, D\)"),
        (row[0], X, np.ones((1, 1)), r"\(B, L\)"),
        (row[:, :2], X, np.ones((1, 1)), "row 0 is no complete prefix expression"),
        (row * 1.0, X, np.ones((1, 1)), "integers"),
    ]:
        with pytest.raises(ValueError, match=message):
            programs.evaluate(tokens, points, constants)
    with pytest.raises(ValueError, match="no back end is called 'jax'"):
        programs.evaluate(row, X, np.ones((1, 1)), backend="jax")


def test_threads_default_to_what_the_environment_allows(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert programs.default_threads() == 3
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert programs.default_threads() == 1


def test_torch_and_numpy_alone_are_enough():
    code = """
import sys
for name in ("numba", "scipy", "sympy", "pandas"):
    sys.modules[name] = None
import numpy as np
from methods.symbolic import constants, programs, vocabulary
row = vocabulary.encode("+ * C x0 C")[None]
x = np.linspace(0, 1, 20)
assert programs.evaluate(row, x[:, None], np.array([[2.0, 1.0]]))[0, -1] == 3
fit = constants.fit(row, x[:, None], 3 * x - 1)
assert np.allclose(fit.constants, [[3, -1]]), fit
"""
    subprocess.run([sys.executable, "-c", code], check=True)
