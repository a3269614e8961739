"""GenSR's search: that its comparisons are fair, and that evolution helps. Random weights."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lee_bench.contract import Budget, Task
from lee_bench.errors import MethodError, SetupError
from lee_bench.expression import parse
from methods.gensr import checkpoint
from methods.gensr.config import ModelConfig, SearchConfig
from methods.gensr.method import GenSR as Adapter
from methods.gensr.model import GenSR
from methods.gensr.search import Search
from methods.symbolic import vocabulary as tok
from methods.symbolic.problem import Problem
from methods.symbolic.search import Pool

TINY = ModelConfig(
    width=32, heads=2, hidden=48, cell=16, encoders=1, decoders=2, z_width=16, max_length=20
)
SMALL = SearchConfig(population=24, samples=2, top=8, pairs=0)
MODES = {
    "all": {},
    "no top-k": {"top": 0},
    "no adaptation": {"adapt": False},
    "prior": {"evolve": False},
}
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GenSR(TINY).eval()
    with torch.no_grad():  # what is written depends on z, as after training
        model.expression.memory.from_z.weight *= 10
        model.expression.head.weight *= 3
    return model


def problem(law: str = "a*exp(-b) + sin(a*c)**2", rows: int = 200) -> Problem:
    X = np.random.default_rng(0).uniform(1, 4, size=(rows, 3))
    return Problem(X, parse(law, NAMES).evaluate(X, NAMES), NAMES)


def searched(model, rounds: int = 3, settings: SearchConfig = SMALL, **arguments) -> Search:
    search = Search(model, problem(), settings, **arguments)
    assert search.run(math.inf, max_rounds=rounds) == "round limit"
    return search


def found(search: Search) -> list:
    return [(e.tokens.tolist(), e.constants.tolist()) for e in search.pool.archive.entries()]


def test_every_mode_offers_as_many_decodes_and_begins_alike(model):
    runs = {mode: searched(model, settings=replace(SMALL, **s)) for mode, s in MODES.items()}
    for run in runs.values():
        assert [g.decodes for g in run.history] == [48, 48, 48]
        assert run.pool.offered == 144
        assert run.history[0].new == runs["all"].history[0].new
        assert run.history[0].fitness == runs["all"].history[0].fitness
    assert [g.evolution for g in runs["all"].history] == [0, 0, 0]
    assert [g.evolution for g in runs["prior"].history] == [0, 1, 2]
    lasts = {tuple(map(tuple, (t for t, _ in found(run)))) for run in runs.values()}
    assert len(lasts) > 1, "the switches change nothing"


def test_pairs_come_beside_the_decodes(model):
    plain, paired = (searched(model, settings=replace(SMALL, pairs=p)) for p in (0, 40))
    assert [g.decodes for g in paired.history] == [g.decodes for g in plain.history]
    assert 0 < paired.pool.offered - plain.pool.offered <= 3 * 40


def test_the_same_seed_repeats(model):
    assert found(searched(model, seed=4)) == found(searched(model, seed=4))


def test_half_of_a_first_generation_comes_from_noisy_bags(model):
    search = Search(model, problem(), SMALL)
    evolution, given = search._begin()
    assert given.shape == (12, (TINY.z_tokens + 3) * TINY.z_width)
    assert len(np.unique(given, axis=0)) == 12
    assert evolution.mean.shape == given.shape[1:]
    none, nothing = Search(model, problem(), replace(SMALL, reencoded=0.0))._begin()
    assert len(nothing) == 0
    assert none.mean.shape == evolution.mean.shape


def test_a_latent_is_worth_the_best_of_its_expressions(model):
    search = Search(model, problem(), SMALL)
    told = []
    begin = search._begin

    def watched():
        evolution, given = begin()
        tell = evolution.tell
        evolution.tell = lambda z, fitness: (told.append((z, fitness)), tell(z, fitness))
        return evolution, given

    wrote = []
    write = search._write
    search._begin, search._write = watched, lambda z: wrote.append(write(z)) or wrote[-1]
    search.run(math.inf, max_rounds=1)
    ((_, fitness),), (tokens,) = told, wrote
    assert tok.is_valid(tokens).all()
    pairs = tokens.reshape(24, 2, -1)
    assert len(np.unique(fitness)) > 4
    for row, worth in zip(pairs, fitness, strict=True):
        pool = Pool(problem(), threads=1, seed=0)
        pool.offer(row)
        bound = pool.r2(row).max()  # starts of the fits differ, so values may, too
        assert worth <= bound + 0.1
        assert worth > bound - 0.1 - 20 / 400


def test_evolution_ends_for_a_reason_and_another_begins(model):
    search = searched(model, rounds=5, settings=replace(SMALL, generations=2))
    assert search.stops == {"generation limit": 2}
    assert [g.evolution for g in search.history] == [0, 0, 1, 1, 2]


def test_a_solved_problem_ends_the_search(model):
    search = Search(model, problem("3*a + 1"), SMALL)
    search.pool.offer(tok.encode("x0")[None])
    assert search.run(math.inf) == "solved"
    assert not search.history


def test_time_is_kept(model):
    search = Search(model, problem(), SMALL)
    assert search.run(time.perf_counter()) == "time limit"
    assert len(search.history) == 1  # the first generation always is


def test_a_pool_tells_how_well_what_it_was_offered_fits():
    rows = tok.stack([tok.encode(text) for text in ("x0", "* x0 x1", "* C * x1 x0", "sin x2")])
    X = np.random.default_rng(0).uniform(1, 4, size=(100, 3))
    pool = Pool(Problem(X, 2 + 3 * X[:, 0] * X[:, 1], NAMES), threads=1)
    assert (pool.r2(rows) == 0).all()
    pool.offer(rows)
    r2 = pool.r2(rows)
    assert r2[1] == r2[2] == pytest.approx(1)  # one function, however it is written
    assert 0.3 < r2[0] < 0.9
    assert r2[3] < 0.2
    constant = tok.stack([tok.encode("C"), tok.encode("sin 2")])
    pool.offer(constant)
    assert (pool.r2(constant) == 0).all()


# -- in the harness ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    checkpoint.save(folder, model, TINY, {})
    return str(folder)


def test_gensr_answers_and_tells_what_it_did(weights):
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 2, size=(200, 14))
    names = tuple(f"v{i}" for i in range(14))
    task = Task(X, X[:, 2] * X[:, 12] + 0.3 * rng.normal(size=200), names)
    subject = Adapter(weights=weights, max_rounds=2, population=20, samples=2, pairs=0)
    subject.prepare(task, Budget(20), 3)
    subject.search(task, Budget(20), 3)
    outcome = subject.answer()
    assert outcome.stop_reason == "round limit"
    assert outcome.details["candidates"] == outcome.details["decodes"] == 80
    assert outcome.details["generations"] == 2
    assert "10 most relevant of 14" in outcome.details["features"]
    assert parse(outcome.candidates[outcome.chosen].formula, names)
    json.dumps(dict(outcome.details))


def test_missing_weights_and_wrong_settings_are_told(weights, tmp_path, monkeypatch):
    task, budget = Task(np.ones((2, 1)), np.ones(2), ("a",)), Budget(1)
    with pytest.raises(SetupError, match="no weights of GenSR called 'enormous'") as caught:
        Adapter(weights="enormous").prepare(task, budget, 0)
    assert "lee-bench train gensr" in caught.value.hint
    with pytest.raises(MethodError, match="share"):
        Adapter(reencoded=2)
    monkeypatch.setattr(Adapter, "shipped", tmp_path)
    assert Adapter.unavailable() == "no trained weights are here"
    shutil.copytree(weights, tmp_path / "small")
    assert Adapter.unavailable() == ""
