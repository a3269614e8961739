"""The pool that tries skeletons, and `prior`, which offers it blind draws."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError
from lee_bench.expression import parse
from methods.prior import Prior
from methods.symbolic import search
from methods.symbolic import vocabulary as tok
from methods.symbolic.problem import Problem, relevance
from methods.symbolic.search import Pool, digit_nats, with_affine, without_affine

NAMES = ("a", "b", "c")


def sample(law: str, noise: float = 0.0, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 4, size=(n, 3))
    y = parse(law, NAMES).evaluate(X, NAMES)
    return X, y + noise * np.sqrt(np.mean(y**2)) * rng.normal(size=n)


def rows(*texts: str) -> np.ndarray:
    return tok.stack([tok.encode(text) for text in texts])


SKELETONS = rows("* x0 x1", "x2", "sin x1", "+ x0 * C x2", "exp * C x1", "* x1 sin x0", "- x0 x2")


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("2*a*b + 5", "2*a*b + 5"),
        ("1e-9*b*sin(a)", "b*sin(a)/1000000000"),
        ("3*exp(-b/2)", "3*exp(-b/2)"),
        ("c - a", "c - a"),
        ("4e15 + 1e15*c", "10**15*c + 4*10**15"),
    ],
)
def test_finds_the_member_of_the_family(law, expected):
    X, y = sample(law)
    pool = Pool(Problem(X, y, NAMES), threads=1)
    pool.offer(SKELETONS)
    assert pool.solved()
    answers, chosen = pool.answers(math.inf)
    assert str(answers[chosen].formula) == expected


def test_a_good_approximation_is_not_the_end_until_as_much_again_was_tried():
    X = np.random.default_rng(0).uniform(0, 0.1, (200, 3))
    pool = Pool(Problem(X, np.sin(X[:, 0]), NAMES), threads=1)
    pool.offer(rows("x1", "- x0 * C cube x0"))  # the first terms of its series
    assert pool.solved()
    assert pool.stop() == ""
    pool.offer(rows("x2"))
    assert pool.stop() == ""
    pool.offer(rows("tan x2"))
    assert pool.stop() == "solved"
    pool = Pool(Problem(X, np.sin(X[:, 0]), NAMES), threads=1)
    pool.offer(rows("x1", "- x0 * C cube x0", "sin x0"))
    assert pool.stop() == "solved"


def test_a_very_long_formula_solves_and_is_not_the_end():
    X, y = sample("2*a*b + 5")
    pool = Pool(Problem(X, y, NAMES), threads=1)
    terms = ["sin x0"] * 9
    pool.offer(rows(" ".join([*["+"] * 9, *["-"] * 9, "* x0 x1", *terms, *terms])))
    assert pool.solved()
    assert pool.stop() == ""
    pool.offer(rows("* x0 x1"))
    assert pool.stop() == "solved"


def test_a_search_gives_up_when_long_nothing_was_gained(monkeypatch):
    monkeypatch.setattr(search, "_LEAST", 12)
    X, y = sample("2*a*b + 5", noise=0.05)
    pool = Pool(Problem(X, y, NAMES), threads=1, patience=2)
    pool.offer(rows(*["x0"] * 8))
    assert pool.stop() == ""
    pool.offer(rows(*["x2"] * 15))
    assert pool.stop() == ""  # not yet twice as many
    pool.offer(rows("* x0 x1"))
    assert pool.stop() == ""  # a gain, after 24
    pool.offer(rows(*["* x0 + x1 * C x2"] * 47))  # fits better, by less than it costs
    assert pool.stop() == ""
    pool.offer(rows("x2"))
    assert pool.stop() == "no gain"
    few = Pool(Problem(X, y, NAMES), threads=1, patience=2)
    few.offer(rows("* x0 x1"))
    assert few.stop() == ""
    few.offer(rows(*["x2"] * 11))
    assert few.stop() == ""  # twice as many, but few
    few.offer(rows("x2"))
    assert few.stop() == "no gain"
    endless = Pool(Problem(X, y, NAMES), threads=1)
    for _ in range(3):
        endless.offer(rows(*["* x0 x1"] * 99))
        assert endless.stop() == ""


def test_noise_does_not_solve_and_does_not_mislead():
    X, y = sample("2*a*b + 5", noise=0.05)
    pool = Pool(Problem(X, y, NAMES), threads=1)
    pool.offer(SKELETONS)
    assert not pool.solved()
    answers, chosen = pool.answers(math.inf)
    assert str(answers[chosen].formula) == "2*a*b + 5"
    assert all(math.isfinite(answer.loss) for answer in answers)
    losses = [answer.loss for answer in answers if answer is not answers[chosen]]
    assert losses == sorted(losses, reverse=True)


def test_the_same_function_is_tried_once():
    X, y = sample("a*b + sin(c)")
    pool = Pool(Problem(X, y, NAMES), threads=1)
    assert pool.offer(rows("* x0 x1", "* C * x0 x1", "+ C * x0 x1", "exp log * x1 x0")) == 1
    assert pool.offer(rows("* x0 x1", "sin x0", "C")) == 1
    assert (pool.offered, pool.tried) == (7, 2)


def test_a_shorter_form_of_a_function_is_tried_again():
    X, y = sample("a")
    pool = Pool(Problem(X, y, NAMES), threads=1)
    assert pool.offer(rows("exp log x0")) == 1
    assert pool.offer(rows("x0")) == 1
    answers, chosen = pool.answers(math.inf)
    assert str(answers[chosen].formula) == "a"


@pytest.mark.parametrize(
    ("low", "high", "law", "first", "second"),
    [
        (50, 100, "3 + 2*tanh(0.02*a)", "tanh x0", "tanh * C x0"),
        (500, 1000, "2*exp(0.01*a)", "exp square x0", "exp * C x0"),
        (500, 1000, "2*exp(-0.01*a)", "exp neg square x0", "exp * C x0"),
        (20, 50, "2*exp(0.002*a*b)", "exp exp x0", "exp * C * x0 x1"),
    ],
)
def test_what_says_nothing_before_its_constants_are_fitted_is_fitted(low, high, law, first, second):
    X = np.random.default_rng(0).uniform(low, high, (200, 3))
    pool = Pool(Problem(X, parse(law, NAMES).evaluate(X, NAMES), NAMES), threads=1)
    pool.offer(rows(first))
    pool.offer(rows(second))
    assert pool.solved()
    assert pool.offer(rows(second)) == 0


def test_rows_in_order_tell_functions_apart_too():
    X = np.linspace(-2, 2, 200)[:, None]
    pool = Pool(Problem(X, 3 * X[:, 0] + np.abs(X[:, 0]), ("a",)), threads=1)
    pool.offer(rows("x0"))
    assert pool.offer(rows("abs x0")) == 1


def test_evidence_is_that_of_the_rows_it_was_taken_from():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 4, (10_000, 1))
    y = X[:, 0] * (1 + 0.1 * rng.normal(size=10_000))
    whole, half = Problem(X, y, ("a",)), Problem(X[:5000], y[:5000], ("a",))
    assert (whole.observations, whole.all_observations) == (1000, 10_000)
    assert (half.observations, half.all_observations) == (1000, 5000)
    assert Problem(X, y, ("a",), observations=20_000).observations == 2000


def test_repeated_rows_are_as_much_evidence_merged():
    X = np.array([[0.0], [0.0], [1.0], [1.0]])
    y = np.array([0.0, 1.0, 0.0, 1.0])
    counts = np.array([3500.0, 1500.0, 1500.0, 3500.0])  # y is 0.3, then 0.7
    pool = Pool(Problem(X, y, ("a",), weights=counts, observations=counts.sum()), threads=1)
    pool.offer(rows("x0", "square x0"))
    answers, chosen = pool.answers(math.inf)
    values = answers[chosen].formula.evaluate(np.array([[0.0], [1.0]]), ("a",))
    assert values == pytest.approx([0.3, 0.7], abs=0.03)


def test_all_rows_judge_what_few_rows_cannot_tell():
    X, y = sample("a + c**2/20", noise=0.17, n=8000)
    pool = Pool(Problem(X, y, NAMES, points=60), threads=1)
    pool.offer(rows("x0", "sqrt x0", "log x0", "/ x0 x2", "+ x0 * C square x2"))
    assert all(pool.problem.formula(e).variables == {"a"} for e in pool.ranked()[:2])
    answers, chosen = pool.answers(math.inf, most=2)
    assert answers[chosen].polished
    assert answers[chosen].formula.variables == {"a", "c"}


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_the_front_is_whole_at_any_size(size):
    X, y = sample("a*b + 0.1*c")
    pool = Pool(Problem(X, size * y, NAMES), threads=1)
    pool.offer(SKELETONS)
    answers, _ = pool.answers(math.inf)
    plain = Pool(Problem(X, y, NAMES), threads=1)
    plain.offer(SKELETONS)
    assert len(answers) >= 3
    assert abs(len(answers) - len(plain.answers(math.inf)[0])) <= 1


def test_affine_wrappings_come_off_and_go_on():
    tokens = rows("+ C * C sin x0", "/ C x1", "- C x0", "neg * C + C x1", "* x0 + C x1")
    cores = without_affine(tokens)
    found = [" ".join(tok.decode(row)) for row in cores]
    assert found == ["sin x0", "inv x1", "x0", "x1", "* x0 + C x1"]
    wide = with_affine(cores[:2])
    assert [" ".join(tok.decode(row)) for row in wide] == ["+ C * C sin x0", "+ C * C inv x1"]
    assert " ".join(tok.decode(with_affine(cores[:1], shifted=False)[0])) == "* C sin x0"


def test_weights_decide():
    X, y = sample("2*a*b + 5")
    y[:100] = -3.0
    weights = np.ones(len(y))
    weights[:100] = 0
    pool = Pool(Problem(X, y, NAMES, weights), threads=1)
    pool.offer(SKELETONS)
    assert pool.solved()


def test_relevant_columns_are_chosen_and_named():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 25))
    y = X[:, 3] + X[:, 17] ** 2
    assert set(np.argsort(-relevance(X, y))[:2].tolist()) == {3, 17}
    names = tuple(f"v{i}" for i in range(25))
    problem = Problem(X, y, names)
    assert len(problem.columns) == 10
    assert {"v3", "v17"} <= set(problem.names)
    X[:, 5], y = 0.0, np.zeros(500)
    assert relevance(X, y).tolist() == [0.0] * 25


def test_columns_are_chosen_by_the_rows_that_count():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = np.where(np.arange(400) < 200, X[:, 0], X[:, 1])
    weights = np.where(np.arange(400) < 200, 1.0, 1e-6)
    first, second = relevance(X, y, weights)
    assert first > 0.9 > 0.2 > second
    assert relevance(X, y) == pytest.approx(relevance(X, y, np.full(400, 7.0)))


def test_at_most_twenty_thousand_rows_judge_and_count_as_many_observations():
    X = np.random.default_rng(0).normal(size=(50_000, 2))
    problem = Problem(X, X[:, 0], ("a", "b"))
    assert (len(problem.all_y), problem.all_observations) == (20_000, 20_000)
    assert (len(problem.y), problem.observations) == (1000, 1000)
    np.testing.assert_array_equal(problem.all_X[:, 0], problem.all_y)


def test_digits_cost():
    price = [digit_nats(parse(text, NAMES)) for text in ("2*a", "a", "12*a", "2.5*a", "2.512*a")]
    assert price[0] == price[1] == 0
    assert price == sorted(price)
    assert price[2] == pytest.approx(math.log(10))
    assert price[4] == pytest.approx(4 * math.log(10))


def run(task: Task, seconds: float = 20.0, **settings) -> tuple[Prior, object]:
    method = Prior(**settings)
    budget = Budget(seconds)
    method.prepare(task, budget, 3)
    method.search(task, budget, 3)
    return method, method.answer()


def test_prior_finds_a_small_law_and_stops():
    X, y = sample("a*b/c")
    outcome = run(Task(X, y, NAMES))[1]
    assert outcome.stop_reason == "solved"
    assert outcome.candidates[outcome.chosen].formula == "a*b/c"
    assert outcome.details["distinct"] <= outcome.details["candidates"]


def test_prior_repeats_itself_round_by_round():
    X, y = sample("a*exp(-b) + sin(a*c)**2", noise=0.1)
    settings = {"max_rounds": 2, "proposals": 512}
    first, second = (run(Task(X, y, NAMES), **settings)[1] for _ in range(2))
    assert first.candidates == second.candidates
    assert first.chosen == second.chosen
    assert first.stop_reason == "round limit"


def test_prior_uses_its_budget():
    X, y = sample("a*exp(-b) + sin(a*c)**2", noise=0.1)
    task, budget = Task(X, y, NAMES), Budget(1.5)
    method = Prior()
    method.prepare(task, budget, 0)
    begin = time.perf_counter()
    method.search(task, budget, 0)
    assert time.perf_counter() - begin > 0.5
    assert method.answer().stop_reason == "time limit"


def test_prior_says_which_features_it_used():
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 2, size=(200, 14))
    names = tuple(f"v{i}" for i in range(14))
    outcome = run(Task(X, X[:, 2] * X[:, 12], names), max_rounds=2)[1]
    assert "10 most relevant of 14" in outcome.details["features"]
    assert outcome.candidates[outcome.chosen].formula == "v2*v12"


@pytest.mark.parametrize(
    "y", [np.zeros(40), np.full(40, 2.5), np.full(40, 1e300)], ids=["zero", "constant", "huge"]
)
def test_prior_answers_a_constant_target(y):
    X = np.random.default_rng(0).normal(size=(40, 2))
    outcome = run(Task(X, y, ("a", "b")), max_rounds=1, proposals=256)[1]
    value = parse(outcome.candidates[outcome.chosen].formula, ("a", "b")).evaluate(X, ("a", "b"))
    np.testing.assert_allclose(value, y)


def test_prior_takes_one_row():
    outcome = run(Task(np.ones((1, 1)), np.ones(1), ("a",)), max_rounds=1, proposals=256)[1]
    assert outcome.candidates


@pytest.mark.parametrize(
    "wrong", [{"proposals": 0}, {"max_length": 2}, {"pairs": -1}, {"patience": -1}], ids=str
)
def test_prior_refuses_settings_that_no_search_can_have(wrong):
    with pytest.raises(MethodError, match=next(iter(wrong))):
        Prior(**wrong)
