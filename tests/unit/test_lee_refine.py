"""LEE's search: what it feeds its network, and that its comparisons are fair. Random weights."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError, SetupError
from lee_bench.expression import parse
from methods.lee import checkpoint, refine
from methods.lee.config import ModelConfig, Refinement
from methods.lee.method import Lee
from methods.lee.model import LEE
from methods.lee.refine import SOURCES, Search, best_affine
from methods.network import features
from methods.network.observations import Observations
from methods.symbolic import search as pools
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import without_affine
from methods.symbolic.problem import Problem

TINY = ModelConfig(
    width=32, heads=2, hidden=48, cell=16, encoders=2, decoders=2, z_width=16, max_length=20
)
SMALL = Refinement(
    decodes=96,
    first=48,
    samples=8,
    reencoded=0.5,
    rewritten=0,
    desired=0,
    stepped=0.5,
    pairs=0,
    steps=2,
    observations=32,
    mutants=0,
)
MODES = {
    "one-shot": {"reencoded": 0.0, "stepped": 0.0},
    "reencode": {"stepped": 0.0},
    "gradient": {"reencoded": 0.0},
    "both": {},
}
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = LEE(TINY).eval()
    with torch.no_grad():  # what is written depends on z, as after training
        model.expression.memory.from_z.weight *= 10
        model.expression.head.weight *= 3
    return model


def problem(law: str = "a*exp(-b) + sin(a*c)**2", rows: int = 200, **arguments) -> Problem:
    X = np.random.default_rng(0).uniform(1, 4, size=(rows, 3))
    return Problem(X, parse(law, NAMES).evaluate(X, NAMES), NAMES, **arguments)


def searched(model, rounds: int = 3, settings: Refinement = SMALL, **arguments) -> Search:
    search = Search(model, problem(), settings, **arguments)
    assert search.run(math.inf, max_rounds=rounds) == "round limit"
    return search


def found(search: Search) -> list:
    return [(e.tokens.tolist(), e.constants.tolist()) for e in search.pool.archive.entries()]


# -- fairness ------------------------------------------------------------------------------------


def test_every_mode_offers_as_many_decodes_and_begins_alike(model):
    firsts, lasts, wrote = {}, {}, {}
    for mode, shares in MODES.items():
        search = Search(model, problem(), replace(SMALL, samples=7, **shares))
        search.run(math.inf, max_rounds=1)
        firsts[mode] = str(found(search))
        search.run(math.inf, max_rounds=4)
        assert [r.decodes for r in search.history] == [48, 96, 96, 96]
        assert search.pool.offered == 336
        assert all(sum(r.sources.values()) == r.decodes for r in search.history)
        lasts[mode] = str(found(search))
        wrote[mode] = set().union(*(r.sources for r in search.history))
    assert len(set(firsts.values())) == 1
    assert len(set(lasts.values())) == 4
    data, candidate, data_stepped, candidate_stepped, *_ = SOURCES
    assert wrote["one-shot"] == {data}
    assert wrote["reencode"] == {data, candidate}
    assert wrote["gradient"] == {data, data_stepped}
    assert wrote["both"] == {data, candidate, data_stepped, candidate_stepped}


def test_shares_are_kept(model):
    search = searched(model, 3, replace(SMALL, decodes=128, reencoded=0.25, stepped=0.75))
    assert search.history[0].sources == {"data": 48}
    assert search.history[2].sources == dict(zip(SOURCES, (24, 8, 72, 24), strict=False))


def test_some_expressions_keep_a_find_but_for_one_part(model, monkeypatch):
    written = []

    def sample(*arguments, part, **others):
        tokens, score = type(model.expression).sample(
            model.expression, *arguments, part=part, **others
        )
        written.append((part, tokens))
        return tokens, score

    monkeypatch.setattr(model.expression, "sample", sample)
    search = searched(model, 3, replace(SMALL, rewritten=0.75))
    assert search.history[0].sources == {"data": 48}
    assert search.history[2].sources == {
        "data": 6, "data, stepped": 6, "candidate": 6, "candidate, stepped": 6, "rewritten": 72
    }  # fmt: skip
    part, tokens = written[2]
    rows = part.stop - part.start < (part.tokens != tok.PAD).sum(1)  # not written as a whole
    assert rows.sum() >= 20
    for row, find, start in zip(tokens[rows], part.tokens[rows], part.start[rows], strict=True):
        assert start > 0
        assert torch.equal(row[:start], find[:start])


def test_finds_are_rewritten_where_none_is_read(model):
    search = searched(model, 3, replace(SMALL, reencoded=0.0, stepped=0.0, rewritten=0.5))
    assert search.history[0].sources == {"data": 48}
    assert search.history[2].sources == {"data": 48, "rewritten": 48}


def test_parts_of_finds_are_written_from_what_they_have_to_compute(model, monkeypatch):
    settings = replace(SMALL, reencoded=0.0, stepped=0.0, desired=0.25)
    search, asked = Search(model, problem(), settings), []

    def holes(count):
        asked.append(Search._holes(search, count))
        return asked[-1]

    monkeypatch.setattr(search, "_holes", holes)
    calls = watched(model, monkeypatch)
    search.run(math.inf, max_rounds=3)
    first, _, last = search.history
    assert first.sources == {"data": 48}
    assert last.sources["data"] == 72
    assert 0 < last.sources["desired"] <= 24
    assert [len(places) for places in asked] == [0, 3, 3]
    (_, y, _, candidates) = calls[-2]
    assert candidates is None
    for hole, read in zip(asked[2], y, strict=True):
        assert set(read.tolist()) <= set(hole.values[hole.slope != 0].astype(np.float32).tolist())


def test_mutants_come_beside_the_decodes(model):
    plain, mutated = (searched(model, 3, replace(SMALL, mutants=m)) for m in (0.0, 2.0))
    assert [r.decodes for r in mutated.history] == [r.decodes for r in plain.history]
    assert [r.sources["mutant"] for r in mutated.history] == [96, 192, 192]
    assert mutated.pool.offered == plain.pool.offered + 480
    assert any("mutant" in r.kept for r in mutated.history)


def test_pairs_come_beside_the_decodes(model):
    plain, paired = (searched(model, 3, replace(SMALL, pairs=p)) for p in (0, 40))
    assert [r.decodes for r in paired.history] == [r.decodes for r in plain.history]
    counts = [r.sources["pair"] for r in paired.history]
    assert all(0 < n <= 40 for n in counts)
    assert paired.pool.offered == plain.pool.offered + sum(counts)
    assert any("pair" in r.kept for r in paired.history)


def test_a_seed_and_a_number_of_rounds_say_it_all(model):
    first, again, other = (searched(model, seed=seed) for seed in (5, 5, 6))
    assert found(first) == found(again)
    assert [replace(r, seconds=0) for r in first.history] == [
        replace(r, seconds=0) for r in again.history
    ]
    assert found(first) != found(other)


def test_what_is_kept_is_told_by_source(model):
    search = Search(model, problem(), SMALL)
    before: set = set(search.pool.archive.entries())
    for rounds in (1, 2, 3):
        search.run(math.inf, max_rounds=rounds)
        now = set(search.pool.archive.entries())
        assert sum(search.history[-1].kept.values()) == len(now - before)
        before = now
    last = search.history[-1]
    assert last.best_r2 == 1 - search.pool.best_loss
    assert last.r2 <= last.best_r2


# -- what the network is given --------------------------------------------------------------------


def watched(model, monkeypatch) -> list:
    """What `model.embed` is given from now on."""
    calls, embed = [], model.embed

    def watch(X, y, variables, candidates=None):
        calls.append((X, y, variables, candidates))
        return embed(X, y, variables, candidates)

    monkeypatch.setattr(model, "embed", watch)
    return calls


def test_candidates_are_cores_with_their_constants_and_best_prediction(model, monkeypatch):
    start = [tok.encode("+ C * C sin * C x0"), tok.encode("* C x1")]
    given_problem = problem("3*sin(1.5*a) + 7 + 0.1*b")
    search = Search(model, given_problem, replace(SMALL, bag=24), start=start)
    calls = watched(model, monkeypatch)
    search.run(math.inf, max_rounds=1)
    (_, _, _, nothing), (X, y, variables, candidates) = calls
    assert nothing is None
    assert variables.tolist() == [3] * 3
    assert X.shape == (3, 24, tok.MAX_VARIABLES)
    assert (X[..., 3:] == 0).all()
    cores = {" ".join(tok.decode(row)): i for i, row in enumerate(candidates.tokens.numpy())}
    assert set(cores) == {"sin * C x0", "x1"}
    i = cores["sin * C x0"]
    assert abs(float(candidates.constants[i, 0])) == pytest.approx(1.5, abs=0.01)
    assert (candidates.constants[cores["x1"]] == 0).all()
    constant = float(candidates.constants[i, 0])
    columns = {"sin * C x0": np.sin(constant * X[..., 0].numpy()), "x1": X[..., 1].numpy()}
    for core, i in cores.items():  # scale and offset are those that suit all rows
        read, observed = candidates.prediction[i].numpy(), y[i].numpy()
        assert abs(np.corrcoef(columns[core][i], read)[0, 1]) > 0.9999
        assert np.square(observed - read).mean() < 1.5 * given_problem.variance
    sine = cores["sin * C x0"]
    assert np.square(y[sine].numpy() - candidates.prediction[sine].numpy()).mean() < 0.05


def test_bags_are_fresh_and_without_repetition(model, monkeypatch):
    calls = watched(model, monkeypatch)
    searched(model, 2)
    bags = [set(bag.tolist()) for _, y, _, _ in calls for bag in y]
    assert all(len(bag) == 48 for bag in bags)
    assert len({frozenset(bag) for bag in bags}) == len(bags)


def test_many_finds_are_read_not_the_best_alone(model, monkeypatch):
    texts = ("x0", "x1", "sin x0", "exp x1", "square x2", "* x0 x1", "- x0 x2", "* x0 exp neg x1")
    start = [tok.encode(text) for text in texts]
    search = Search(model, problem(), replace(SMALL, first=96), start=start)
    calls = watched(model, monkeypatch)
    search.run(math.inf, max_rounds=1)
    tokens = calls[-1][3].tokens.numpy()
    assert len(np.unique(tokens, axis=0)) == len(tokens) == len(start)
    assert (without_affine(tokens) == tokens).all()


def test_rows_of_greater_weight_are_seen_more(model):
    weights = np.ones(200)
    weights[:20] = 1e6
    bags = Observations(problem(weights=weights), SMALL.bag, torch.device("cpu")).bags(
        50, np.random.default_rng(0)
    )
    assert all({*range(20)} <= set(bag.tolist()) for bag in bags)


def test_gradient_steps_bring_the_values_nearer(model):
    search = Search(model, problem(), replace(SMALL, steps=30, observations=200, pull=0.0))
    with torch.no_grad():
        before = search._embed(4)
    after = replace(before, z=search._step(before))
    assert (before.z - after.z).abs().max() > 0.01
    size = after.z.square().mean(-1)
    present = TINY.z_tokens + 3
    torch.testing.assert_close(size[:, :present], torch.ones(4, present), atol=1e-3, rtol=0)
    assert (size[:, present:] == 0).all()

    def error(embedding):
        seen = search._observations
        X, y = seen.X.expand(4, -1, -1), seen.y.expand(4, -1)
        with torch.no_grad():
            values = model.values(embedding, X)
        return (values - features.placed(y, embedding.scales.y)).square().mean(1)

    assert (error(after) < error(before)).all()
    assert all(p.grad is None for p in model.parameters())
    search.settings = replace(search.settings, step_size=1e-9)
    torch.testing.assert_close(search._step(before), before.z, atol=1e-3, rtol=0)


def test_best_affine_is_least_squares():
    rng = np.random.default_rng(0)
    values, y, weights = rng.normal(size=(3, 50)), rng.normal(size=50), rng.uniform(size=50)
    values[1] *= 1e200
    got = best_affine(values, y, weights)
    for v, g in zip(values, got, strict=True):
        A = np.stack([np.ones(50), v / np.abs(v).max()], 1)
        root = np.sqrt(weights)
        expected = A @ np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
        np.testing.assert_allclose(g, expected)
    odd = np.stack([np.full(50, 3.0), np.full(50, np.inf)])
    mean = np.average(y, weights=weights)
    np.testing.assert_allclose(best_affine(odd, y, weights), np.full((2, 50), mean))


# -- when it stops --------------------------------------------------------------------------------


def test_a_start_that_is_right_ends_the_search(model):
    search = Search(model, problem("2*a*b + 5"), SMALL, start=[tok.encode("* x0 x1")])
    assert search.run(math.inf) == "solved"
    assert search.history == []


def test_a_start_that_is_wrong_is_read_in_the_first_round(model):
    search = Search(model, problem(), SMALL, start=[tok.encode("* x0 x1")])
    search.run(math.inf, max_rounds=1)
    assert search.history[0].sources == {"data": 24, "candidate": 24}


def test_all_starts_are_read_in_the_first_round(model):
    starts = [tok.encode(text) for text in ("* x0 x1", "sin x2", "+ x0 exp x1", "cos * x0 x2")]
    search = Search(model, problem(), replace(SMALL, reencoded=0.1, stepped=0.0), start=starts)
    search.run(math.inf, max_rounds=1)
    assert search.history[0].sources == {"data": 16, "candidate": 32}


def test_rounds_of_few_decodes_are_no_shortage_of_time(model):
    search = Search(model, problem(), replace(SMALL, first=2, decodes=4, samples=8))
    assert search.run(math.inf, max_rounds=3) == "round limit"
    assert [r.decodes for r in search.history] == [2, 4, 4]


def test_a_start_too_long_to_read_is_tried_all_the_same(model):
    long = tok.encode(["+", "x0"] * 12 + ["sin", "x1"])
    search = Search(model, problem(), SMALL, start=[long])
    search.run(math.inf, max_rounds=1)
    assert search.history[0].sources == {"data": 48}
    assert search.pool.tried > 0


def test_it_stops_when_the_next_round_would_be_too_long(model, monkeypatch):
    ticks = itertools.count()  # a clock on which each look takes a second, and so a round
    monkeypatch.setattr(refine, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    search = Search(model, problem(), SMALL)
    assert search.run(0) == "time limit"
    assert [r.seconds for r in search.history] == [1]
    assert search.run(12) == "time limit"
    assert len(search.history) > 2
    assert 12 <= next(ticks) <= 14  # one look after a round that ended by 12, or could not


def test_it_stops_when_nothing_is_gained(model, monkeypatch):
    monkeypatch.setattr(pools, "_LEAST", 400)
    X = np.random.default_rng(0).uniform(size=(40, 1))
    noise = Problem(X, np.random.default_rng(1).normal(size=40), ("a",))
    search = Search(model, noise, replace(SMALL, patience=2))
    assert search.run(time.perf_counter() + 300) == "no gain"
    assert search.pool.offered >= 400


def test_the_temperature_rises_while_little_is_new(model):
    cool = searched(model, 3, replace(SMALL, scarce=0.0))
    assert [r.temperature for r in cool.history] == [1.0, 1.0, 1.0]
    hot = searched(model, 4, replace(SMALL, scarce=1.0, hottest=1.06))
    assert [r.temperature for r in hot.history] == pytest.approx([1.0, 1.05, 1.06, 1.06])


@pytest.mark.parametrize("rows", [1, 2, 5, 20])
def test_few_rows_will_do(model, rows):
    X = np.random.default_rng(0).uniform(1, 2, (rows, 2))
    few = Problem(X, X[:, 0] * X[:, 1] ** 2.345 + X[:, 0], ("a", "b"))
    search = Search(model, few, SMALL)
    assert search.run(math.inf, max_rounds=2) in ("solved", "round limit")
    assert search.pool.answers(math.inf)[0]


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"samples": 0}, {"reencoded": 1.5}, {"desired": 1.0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=r"must be|are shares|is a share"):
            Refinement(**wrong)


# -- in the harness -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    checkpoint.save(folder, model, TINY, {})
    return str(folder)


def answered(task: Task, seconds: float = 20.0, **settings):
    method, budget = Lee(**settings), Budget(seconds)
    method.prepare(task, budget, 3)
    begin = time.perf_counter()
    method.search(task, budget, 3)
    return method.answer(), time.perf_counter() - begin


def test_lee_answers_and_tells_what_it_did(weights):
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 2, size=(200, 14))
    names = tuple(f"v{i}" for i in range(14))
    y = X[:, 2] * X[:, 12] + 0.3 * rng.normal(size=200)
    few = {"max_rounds": 2, "decodes": 128, "first": 128, "mutants": 0.0, "pairs": 0}
    outcome, _ = answered(Task(X, y, names), weights=weights, **few)
    told = outcome.details
    assert outcome.stop_reason == "round limit"
    assert (told["rounds"], told["candidates"]) == (2, 256)
    assert told["decodes"] == sum(told["candidates_by_source"].values()) == 256
    assert "10 most relevant of 14" in told["features"]
    assert parse(outcome.candidates[outcome.chosen].formula, names)


def test_lee_uses_its_budget(weights):
    p = problem()
    y = p.y + 0.1 * np.random.default_rng(1).normal(size=len(p.y))  # never solved
    outcome, seconds = answered(Task(p.X, y, NAMES), 1.0, weights=weights)
    assert outcome.stop_reason == "time limit"
    assert seconds > 0.5


@pytest.mark.parametrize("y", [np.zeros(40), np.full(40, 1e300)], ids=["zero", "huge"])
def test_lee_answers_a_constant_target(weights, y):
    X = np.random.default_rng(0).normal(size=(40, 2))
    outcome, _ = answered(Task(X, y, ("a", "b")), weights=weights)
    value = parse(outcome.candidates[outcome.chosen].formula, ("a", "b")).evaluate(X, ("a", "b"))
    np.testing.assert_allclose(value, y)


def test_missing_weights_and_wrong_settings_are_told():
    task, budget = Task(np.ones((2, 1)), np.ones(2), ("a",)), Budget(1)
    with pytest.raises(SetupError, match="no weights of LEE called 'enormous'") as caught:
        Lee(weights="enormous").prepare(task, budget, 0)
    assert "lee-bench train lee" in caught.value.hint
    with pytest.raises(MethodError, match="shares"):
        Lee(reencoded=2)
