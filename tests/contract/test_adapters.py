"""What the contract suite cannot know: the dialect of each library, translated without loss."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_bench.contract import Budget, Task
from lee_bench.errors import ExpressionError, MethodError
from lee_bench.expression import parse
from methods.gplearn import GPLearn, _translate
from methods.linear import Linear
from methods.operon import Operon
from methods.pysr import PySR


def solve(method, task: Task, seconds: float = 10.0, seed: int = 1):
    budget = Budget(seconds)
    method.prepare(task, budget, seed)
    method.search(task, budget, seed)
    return method.answer()


# ---------------------------------------------------------------- linear


@given(st.integers(0, 10_000))
def test_linear_recovers_what_is_linear(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 5)) * 10.0 ** rng.integers(-6, 7, size=5) + rng.normal(size=5) * 100
    X[:, 4] = X[:, 1] - 2 * X[:, 0] if seed % 2 else 3.0
    y = X @ rng.normal(size=5) + rng.normal()
    outcome = solve(Linear(), Task(X, y, ("a", "b", "c", "d", "e")))
    formula = parse(outcome.candidates[0].formula, "abcde")
    scale = np.abs(X).max(axis=0).max() + np.abs(y).max()
    assert np.abs(formula.evaluate(X, "abcde") - y).max() < 1e-9 * scale


# ---------------------------------------------------------------- fewer rows


@pytest.mark.parametrize(
    ("method", "package"),
    [(Operon, "pyoperon"), (GPLearn, "gplearn")],
)
def test_fewer_rows_are_searched_as_if_there_were_no_others(method, package):
    pytest.importorskip(package)
    rng = np.random.default_rng(3)
    X = rng.uniform(1, 2, (300, 2))
    task = Task(X, X[:, 0] * np.log(X[:, 1]) + 0.1 * rng.normal(size=300), ("a", "b"))
    few, short = task.sample(40, seed=1), {"population_size": 50, "generations": 2}
    assert len(few.y) == 40
    assert set(zip(*few.X.T, few.y, strict=True)) < set(zip(*X.T, task.y, strict=True))
    outcomes = [
        solve(method(**settings, **short), data).candidates
        for settings, data in (({"rows": 40}, task), ({}, few), ({"rows": 999}, task), ({}, task))
    ]
    assert outcomes[0] == outcomes[1] != outcomes[2] == outcomes[3]
    with pytest.raises(MethodError, match="too few"):
        solve(method(rows=-1, **short), task)


# ---------------------------------------------------------------- operon


OPERON_PRIMITIVES = [
    "Add", "Sub", "Mul", "Div", "Fmin", "Fmax", "Aq", "Pow", "Powabs", "Abs", "Acos", "Asin",
    "Atan", "Cbrt", "Cos", "Cosh", "Exp", "Log", "Logabs", "Log1p", "Sin", "Sinh", "Sqrt",
    "Sqrtabs", "Tan", "Tanh", "Square",
]  # fmt: skip


@pytest.fixture(scope="module")
def fitted_operon():
    pytest.importorskip("pyoperon")
    rng = np.random.default_rng(0)
    task = Task(
        rng.uniform(0.1, 0.9, (50, 2)) * [1e-5, 1e4], 1e3 * rng.uniform(1, 2, 50), ("N", "S")
    )
    method = Operon(population_size=10, generations=1)
    solve(method, task)
    return method, task


def operon_model(method: Operon, primitive: str) -> dict:
    """A primitive over weighted variables, as pyoperon's front would hold it."""
    op = pytest.importorskip("pyoperon")
    root = op.Node(getattr(op.NodeType, primitive))
    operands = [op.Node.Variable(weight) for weight in (0.5, 0.75)[: root.Arity]]
    for operand, name in zip(operands, method._regressor.variables_, strict=False):
        operand.HashValue = operand.CalculatedHashValue = name
    tree = op.Tree([*operands, root]).UpdateNodes()
    return {"tree": tree, "mean_squared_error": 1.0, "complexity": 1}


@pytest.mark.parametrize("primitive", OPERON_PRIMITIVES)
def test_a_primitive_of_operon_prints_as_it_computes(fitted_operon, primitive):
    method, task = fitted_operon
    model = operon_model(method, primitive)
    formula = parse(method._candidate(model).formula, task.features)
    scaled = task.X / method._x_unit
    expected = method._regressor.evaluate_model(model["tree"], scaled) * method._y_unit
    np.testing.assert_allclose(formula.evaluate(task.X, task.features), expected, rtol=1e-5)


@pytest.mark.parametrize("primitive", ["Ceil", "Floor"])
def test_what_no_formula_can_say_operon_may_not_use(fitted_operon, primitive):
    method, _ = fitted_operon
    with pytest.raises(ExpressionError, match="no function"):
        method._candidate(operon_model(method, primitive))


def test_operon_prints_its_small_constants_in_full(fitted_operon):
    method, _ = fitted_operon
    op = pytest.importorskip("pyoperon")
    tree = op.Tree([op.Node.Constant(1.2345679e-20)]).UpdateNodes()
    candidate = method._candidate({"tree": tree, "mean_squared_error": 1.0, "complexity": 1})
    assert float(candidate.formula) == pytest.approx(
        1.2345679e-20 * method._y_unit, rel=1e-7, abs=0
    )


# ---------------------------------------------------------------- gplearn


def gplearn_program(*items):
    """A program in gplearn's own form, from names of functions, columns and constants."""
    functions = pytest.importorskip("gplearn.functions")._function_map
    return [functions[item] if isinstance(item, str) else item for item in items]


def execute(program: list, X: np.ndarray) -> np.ndarray:
    from gplearn._program import _Program

    blank = _Program.__new__(_Program)
    blank.program = program
    return blank.execute(X)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (("div", 0, 1), "a/b"),
        (("div", 0, "sub", 1, 1), "1"),  # protected on every row: a constant
        (("add", 0, "log", "sub", 0, 0), "a + 0"),
        (("inv", "mul", 0, 0.0), "0"),
        (("log", 0), "log(a)"),
        (("log", "neg", 0), "log(abs(-a))"),
        (("sqrt", "sub", 0, 1), "sqrt(abs(a - b))"),
        (("mul", 1, "sqrt", "abs", "sin", 0), "b*sqrt(abs(sin(a)))"),
        (("max", 0, "min", 1, "inv", -0.5), "max(a, min(b, inv(-0.5)))"),
        (("tan", "cos", 1), "tan(cos(b))"),
        ((1,), "b"),
        ((0.25,), "0.25"),
    ],
)
def test_gplearn_prints_its_protected_functions_as_they_act(items, text):
    X = np.random.default_rng(0).uniform(1, 2, (30, 2))
    program = gplearn_program(*items)
    formula, protected = _translate(program, Task(X, X[:, 0], ("a", "b")))
    assert not protected
    assert str(formula) == text
    np.testing.assert_array_equal(formula.evaluate(X, ("a", "b")), execute(program, X))


def test_a_program_that_gplearn_protects_on_some_rows_is_no_formula():
    X = np.array([[1.0, 0.0005], [2.0, 2.0]])
    program = gplearn_program("div", 0, 1)
    formula, protected = _translate(program, Task(X, X[:, 0], ("a", "b")))
    assert protected
    assert str(formula) == "a/b"
    assert execute(program, X)[0] == 1.0


def test_gplearn_answers_with_what_is_a_formula_on_data_full_of_zeros():
    pytest.importorskip("gplearn")
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(100, 3)).astype(float)
    y = np.log(X[:, 0] + 0.5) / (X[:, 1] + 1)
    outcome = solve(GPLearn(generations=4), Task(X, y, ("a", "b", "c")))
    formula = parse(outcome.candidates[outcome.chosen].formula, ("a", "b", "c"))
    np.testing.assert_allclose(formula.evaluate(X, ("a", "b", "c")), outcome.predict(X))


def test_gplearn_stops_when_no_error_is_left():
    pytest.importorskip("gplearn")
    X = np.random.default_rng(0).uniform(1, 2, (50, 2))
    outcome = solve(GPLearn(), Task(X, X[:, 0] * X[:, 1], ("a", "b")))
    assert outcome.stop_reason == "no error left"
    assert outcome.candidates[outcome.chosen].formula in ("a*b", "b*a")
    losses = [candidate.loss for candidate in outcome.candidates]
    assert losses == sorted(losses, reverse=True)


def test_gplearn_pays_for_length_in_the_units_of_the_target():
    pytest.importorskip("gplearn")
    X = np.random.default_rng(0).uniform(1, 2, (50, 2))
    small = solve(GPLearn(generations=6), Task(X, 1e-4 * X[:, 0] / X[:, 1], ("a", "b")))
    assert len(parse(small.candidates[small.chosen].formula, ("a", "b"))) > 1


# ---------------------------------------------------------------- pysr


def test_pysr_takes_every_argument_the_adapter_gives():
    """Read from the installed package's source, because importing it would start Julia."""
    spec = importlib.util.find_spec("pysr")
    if spec is None or spec.origin is None:
        pytest.skip("pysr is not installed: its arguments were not checked")
    tree = ast.parse((Path(spec.origin).parent / "sr.py").read_text(encoding="utf-8"))
    assert "pysr" not in sys.modules
    (regressor,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "PySRRegressor"
    )
    functions = {node.name: node for node in regressor.body if isinstance(node, ast.FunctionDef)}
    known = functions["__init__"].args
    taken = {argument.arg for argument in known.args + known.kwonlyargs}
    for threads in (1, 2):
        arguments = PySR().arguments(Budget(5, threads), 1)
        assert set(arguments) <= taken, f"not taken: {set(arguments) - taken}"
    assert "index" in {argument.arg for argument in functions["predict"].args.args}
    assert "get_best" in functions


def test_pysr_names_come_back_as_the_tasks_and_its_own_choice_is_kept():
    """The table has the columns and the notation that PySR documents."""
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(
        {
            "complexity": [1, 6, 8, 9],
            "loss": [33.6, 1.24, 2.9e-13, np.inf],
            "equation": [
                "3.8552167",
                "(cos(x1) + square(x0))",
                "((cos(x1) * 2.5382e-5) + (x0 ^ 2.0)) + -0.5",
                "log(-1.0)",
            ],
        }
    )
    method = PySR()
    method._regressor = SimpleNamespace(
        fit=lambda X, y: None,
        equations_=table,
        get_best=lambda: table.loc[2],
        predict=lambda X, index: X[:, 0] * index,
    )
    task = Task(np.ones((3, 2)), np.ones(3), ("I", "beta"))
    method.search(task, Budget(seconds=60.0), seed=0)
    outcome = method.answer()
    assert outcome.stop_reason == "generation limit"
    assert [candidate.formula for candidate in outcome.candidates] == [
        "3.8552167",
        "cos(beta) + square(I)",
        "cos(beta)*2.5382e-05 + I**2.0 + (-0.5)",
    ]
    assert outcome.chosen == 2
    assert outcome.predict(np.ones((1, 2))).tolist() == [2.0]


def test_pysr_is_deterministic_on_one_thread_and_keeps_its_cap_on_more():
    one, two = (PySR().arguments(Budget(5, threads), 1) for threads in (1, 2))
    assert (one["parallelism"], one["deterministic"]) == ("serial", True)
    assert (two["parallelism"], two["deterministic"]) == ("multithreading", False)
    assert one["timeout_in_seconds"] == 5


def test_pysr_knows_whether_julia_is_set_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path))
    assert "Julia is not set up" in PySR.unavailable()
    (tmp_path / "pyjuliapkg").mkdir()
    (tmp_path / "pyjuliapkg" / "meta.json").write_text("{}")
    assert PySR.unavailable() == ""
