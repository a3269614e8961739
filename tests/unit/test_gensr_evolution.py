"""The degenerate CMA-ES apart from any network: on spheres and ellipsoids."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from methods.gensr import evolution
from methods.gensr.config import Strategy
from methods.gensr.evolution import Evolution

LONG = Strategy(
    population=40, parents=0.5, step=1.0, generations=2000, stagnation=0, least_step=0.0
)


def sphere(z):
    return np.square(z).sum(-1)


def ellipsoid(z):
    return np.square(z) @ 10.0 ** np.linspace(0, 4, z.shape[-1])


def generations_to(goal, function, settings, n=20, seed=0, shift=1.0):
    """Generations until the function is below the goal; the limit where it never is."""
    search = Evolution(np.full(n, shift), np.ones(n), settings, seed)
    while not search.stop() and -search.best_fitness > goal:
        population = search.ask()
        search.tell(population, -function(population))
    return search.generation


@pytest.mark.parametrize("top", [0, 5, 10])
@pytest.mark.parametrize("function", [sphere, ellipsoid])
def test_it_converges_to_any_precision(function, top):
    assert generations_to(1e-12, function, replace(LONG, top=top)) < 400


def test_the_ellipsoid_needs_variances_to_be_adapted_and_the_sphere_does_not():
    fixed, adapted = replace(LONG, adapt=False), replace(LONG, top=0)
    assert generations_to(1e-8, ellipsoid, fixed) == LONG.generations
    assert generations_to(1e-8, sphere, fixed) < 3 * generations_to(1e-8, sphere, adapted)


def test_it_needs_about_as_many_evaluations_as_the_cma_package():
    cma = pytest.importorskip("cma")
    n = 20
    theirs = cma.CMAEvolutionStrategy(
        np.ones(n),
        1.0,
        {"CMA_diagonal": True, "popsize": 40, "seed": 1, "verbose": -9, "ftarget": 1e-8},
    )
    theirs.optimize(ellipsoid)
    ours = generations_to(1e-8, ellipsoid, replace(LONG, top=0))
    assert ours < 2 * theirs.countiter


def test_the_path_does_not_depend_on_where_or_how_large_things_are():
    """Translation and scale: the same seed does the same, moved and stretched."""
    scales = np.array([1e-3, 1.0, 50.0, 2.0])
    one = Evolution(np.zeros(4), np.ones(4), LONG, 3)
    other = Evolution(np.full(4, 7.0), scales, LONG, 3)
    for _ in range(20):
        first, second = one.ask(), other.ask()
        np.testing.assert_allclose(first, (second - 7) / scales, atol=1e-8)
        one.tell(first, -sphere(first - 1))
        other.tell(second, -sphere((second - 7) / scales - 1))


def test_only_the_top_dimensions_change_their_variance_in_a_generation():
    search = Evolution(np.ones(20), np.ones(20), replace(LONG, top=3), 0)
    for _ in range(4):
        before = search.variance.copy()
        population = search.ask()
        search.tell(population, -ellipsoid(population))
        assert (search.variance != before).sum() == 3
    fixed = Evolution(np.ones(20), np.ones(20), replace(LONG, adapt=False), 0)
    population = fixed.ask()
    fixed.tell(population, -ellipsoid(population))
    assert (fixed.variance == 1).all()


def test_the_best_share_of_the_population_recombines():
    settings = replace(LONG, population=10, parents=0.2)
    search = Evolution(np.zeros(2), np.ones(2), settings, 0)
    population = search.ask()
    fitness = np.zeros(10)
    fitness[[4, 7]] = 2.0, 1.0
    search.tell(population, fitness)
    low, high = np.sort(population[[4, 7]], axis=0)
    assert ((low <= search.mean) & (search.mean <= high)).all()
    near = np.abs(search.mean - population[4]) < np.abs(search.mean - population[7])
    assert near.all(), "the better parent weighs more"


def test_individuals_from_elsewhere_are_judged_and_cannot_throw_it_off():
    search = Evolution(np.zeros(5), np.ones(5), LONG, 0)
    given = np.full((2, 5), 1e6)
    population = search.ask(given)
    assert (population[-2:] == 1e6).all()
    assert np.abs(population[:-2]).max() < 10
    search.tell(population, np.arange(len(population), dtype=float))
    assert np.abs(search.mean).max() < 10
    assert (search.best == 1e6).all()


def test_it_says_why_it_stops():
    def ended(function, **settings):
        search = Evolution(np.ones(6), np.ones(6), replace(LONG, **settings), 0)
        while not search.stop():
            population = search.ask()
            search.tell(population, function(population))
        return search.stop()

    assert ended(lambda z: -sphere(z), generations=5) == "generation limit"
    assert ended(lambda z: -sphere(z), least_step=1e-2) == "step too small"
    assert ended(lambda z: np.zeros(len(z))) == "flat"
    assert ended(lambda z: np.full(len(z), -np.inf)) == "flat"
    rng = np.random.default_rng(0)
    assert ended(lambda z: rng.uniform(size=len(z)), stagnation=12) == "stagnation"


def test_the_same_seed_repeats():
    runs = []
    for seed in (1, 1, 2):
        search = Evolution(np.ones(8), np.ones(8), LONG, seed)
        for _ in range(5):
            population = search.ask()
            search.tell(population, -sphere(population))
        runs.append(search.mean)
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_its_example_is_true():
    assert doctest.testmod(evolution).failed == 0
