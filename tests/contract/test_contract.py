"""What every registered method must do, whoever wrote it.

The suite runs on the built-in methods and on every package that registered one by entry point, in
the method's own interpreter and through the real worker; `pytest tests/contract -k NAME` checks
one. A method that is not installed here is still checked for what can be: that its module loads
without its library, and that it says what is missing and what to do.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from lee_bench.expression import parse
from lee_bench.runs import environments, registry
from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.runs.supervisor import Cell, run_cell

pytestmark = pytest.mark.parametrize("name", registry.names())

FEATURES = ("I", "gamma", "x_1")  # names that trip programs which evaluate formulas as code


@functools.cache
def probe(name: str) -> registry.Probe:
    return registry.probe(name)


def default_settings(name: str) -> dict:
    return dict(registry.load_class(registry.locate(name)).defaults)


def few_generations(name: str) -> dict:
    """A setting that ends the search before the clock does, where the method has one."""
    known = default_settings(name)
    return {key: 2 for key in ("generations", "max_rounds") if key in known}


def run(name: str, task: Task, budget: Budget, settings: dict | None = None) -> RunRecord:
    """One cell through the real worker; skips, visibly, where the method is not installed."""
    found = probe(name)
    if not found.available:
        pytest.skip(f"{name}: {found.reason}")
    own = found.interpreter != sys.executable
    cell = Cell(
        key=RunKey("contract", "task", "builtin", name, "", 0.0, 1, budget.seconds, 1, 1),
        target=found.target,
        settings=settings or {},
        command=found.interpreter,
        environment=environments.child_environment(name) if own else os.environ,
        task=task,
        budget=budget,
        data={},
    )
    return run_cell(cell, threading.Event())


def easy_task() -> Task:
    """A smooth function of three features in units of one, without noise."""
    X = np.random.default_rng(1).uniform(1, 2, (200, 3))
    return Task(X, 2 * X[:, 0] + X[:, 1] * X[:, 2], FEATURES)


@functools.cache
def easy_record(name: str) -> RunRecord:
    return run(name, easy_task(), Budget(seconds=10), few_generations(name))


def test_its_module_loads_with_numpy_and_the_contract_alone(name):
    """Listing methods, and a worker that lacks a library, must be able to read the module."""
    target = registry.locate(name)
    code = """
import re, sys
import numpy, lee_bench.runs.registry, lee_bench.expression
before = set(sys.modules)
from lee_bench.runs.registry import load_class
load_class(sys.argv[1])
new = {name.partition(".")[0] for name in set(sys.modules) - before}
own = re.split("[.:]", sys.argv[1])[0]
new -= sys.stdlib_module_names | {"numpy", "lee_bench", own}
assert not new, f"loading the module also imported {sorted(new)}"
"""
    done = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_says_what_it_is_and_what_it_needs(name):
    cls = registry.load_class(registry.locate(name))
    assert cls.summary
    assert "\n" not in cls.summary
    assert all(isinstance(part, str) and part for item in cls.packages.items() for part in item)
    # settings are stored in records, as JSON
    assert json.loads(json.dumps(dict(cls.defaults))).keys() == cls.defaults.keys()


def test_it_refuses_a_setting_it_does_not_have(name):
    cls = registry.load_class(registry.locate(name))
    with pytest.raises(MethodError, match="no setting 'no_such_setting'"):
        cls(no_such_setting=1)
    assert cls().settings == dict(cls.defaults)


def test_it_is_available_or_says_why_not_and_what_to_do(name):
    found = probe(name)
    if found.available:
        assert not found.reason
        assert found.versions["python"]
        return
    assert found.reason
    assert found.remedy.endswith(".")


def test_its_formulas_can_be_read_in_the_tasks_own_names(name):
    record = easy_record(name)
    assert record.status is Status.OK, f"{record.reason}\n{record.stderr}"
    assert record.formula == record.candidates[record.chosen]["formula"]
    for candidate in record.candidates:
        assert parse(candidate["formula"], FEATURES).variables <= set(FEATURES)
        assert candidate["loss"] is None or candidate["loss"] >= 0


def test_its_answer_beats_the_mean(name):
    task = easy_task()
    predicted = parse(easy_record(name).formula, FEATURES).evaluate(task.X, FEATURES)
    assert np.mean((task.y - predicted) ** 2) < task.y.var()


def test_its_prediction_is_its_formula(name):
    """Up to single precision; a method without a prediction of its own has no gap."""
    gap = easy_record(name).prediction_gap
    assert gap is None or gap < 1e-4


def test_the_same_seed_gives_the_same_formulas(name):
    first = easy_record(name)
    again = run(name, easy_task(), Budget(seconds=10), few_generations(name))
    assert again.candidates == first.candidates
    assert again.chosen == first.chosen


def test_it_answers_in_original_units(name):
    """Few rows, columns of very different size, one that is constant and one that is a copy."""
    X = np.random.default_rng(2).uniform(1, 2, (30, 4)) * [1e-6, 1e6, 1, 1]
    X[:, 2], X[:, 3] = 7.0, X[:, 0]
    y = 1e10 * X[:, 0] + 1e-2 * X[:, 1]
    features = ("small", "large", "fixed", "copy")
    record = run(name, Task(X, y, features), Budget(seconds=10), few_generations(name))
    assert record.status is Status.OK, f"{record.reason}\n{record.stderr}"
    predicted = parse(record.formula, features).evaluate(X, features)
    assert np.isfinite(predicted).all()
    # the size of y, not of a standardised y
    assert 0.1 < np.abs(predicted).mean() / np.abs(y).mean() < 10


def test_it_keeps_the_budget_on_large_data(name):
    """10,000 rows are as many as there will ever be. Threads: a second core would show here."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(10_000, 10))
    y = np.sin(X[:, 0] * X[:, 1]) + X[:, 2] ** 2 + rng.normal(size=len(X)) / 10
    budget = Budget(seconds=2)  # room for a first round, which is whole, on a slow machine
    record = run(name, Task(X, y, tuple(f"x{i}" for i in range(10))), budget)
    assert record.status is Status.OK, f"{record.reason}\n{record.stderr}"
    waited = record.seconds.get("waited", 0.0)  # for a processor: tests run beside each other
    assert record.seconds["search"] - waited < budget.seconds * 1.05 + 0.3
    assert record.seconds["cpu"] < record.seconds["search"] * 1.2 + 0.3
