"""LEERegressor: what scikit-learn expects, and what a person does with it."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import sympy
from sklearn.utils import estimator_checks

from lee_bench.errors import ExpressionError, SetupError
from methods.lee import LEERegressor
from methods.lee.method import Lee
from methods.lee.regressor import _observations

SELECTS = "ignore:of .* features, the search used"  # many checks have more than ten features


def quick(**parameters) -> LEERegressor:
    """Two rounds: the same on every machine."""
    return LEERegressor(**{"time_limit": 60.0, "max_rounds": 2, "threads": 1} | parameters)


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "speed (m/s)": rng.uniform(1, 5, 120),
            "mass": rng.uniform(1, 3, 120),
            "pi": rng.uniform(1, 2, 120),
        }
    )
    return X, X["mass"] * X["speed (m/s)"]


@pytest.fixture(scope="module")
def fitted(data) -> LEERegressor:
    return quick().fit(*data)


@pytest.mark.slow
@pytest.mark.filterwarnings(SELECTS)
@estimator_checks.parametrize_with_checks([quick(max_rounds=1)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name",
    [
        "no_attributes_set_in_init",
        "parameters_default_constructible",
        "estimators_unfitted",
        "estimators_nan_inf",
        "estimators_pickle",
        "fit2d_1sample",
        "fit_idempotent",
        "dict_unchanged",
        "regressors_int",
        "all_zero_sample_weights_error",
        "sample_weight_equivalence_on_dense_data",
        "methods_subset_invariance",
        "dataframe_column_names_consistency",
    ],
)
@pytest.mark.filterwarnings(SELECTS)
def test_core_of_scikit_learns_checks(name):
    getattr(estimator_checks, f"check_{name}")("LEERegressor", quick(max_rounds=1))


def test_the_formula_is_the_model(data, fitted):
    X, y = data
    assert fitted.stop_reason_ == "solved"
    assert fitted.score(X, y) == pytest.approx(1.0)
    assert fitted.predict(X) == pytest.approx(y.to_numpy())
    assert X.eval(fitted.formula_).to_numpy() == pytest.approx(y.to_numpy())
    assert fitted.feature_names_in_.tolist() == ["speed (m/s)", "mass", "pi"]


def test_the_front_is_told_in_full(fitted):
    front = fitted.equations_
    assert list(front.columns) == ["complexity", "loss", "r2", "formula", "chosen"]
    assert front["complexity"].is_monotonic_increasing
    assert front["loss"].is_monotonic_decreasing
    assert front["chosen"].sum() == 1
    assert front.loc[front["chosen"], "formula"].item() == fitted.formula_
    assert front["r2"].iloc[-1] == 1.0
    assert [fitted.text(i) for i in range(len(front))] == front["formula"].tolist()


def test_algebra_and_latex_of_any_formula(fitted):
    speed, mass = sympy.Symbol("speed (m/s)"), sympy.Symbol("mass")
    assert sympy.simplify(fitted.sympy() - speed * mass) == 0
    assert r"\text{speed (m/s)}" in fitted.latex()
    assert fitted.sympy(0) != fitted.sympy()
    assert fitted.latex(0) != fitted.latex()


def test_a_column_called_pi_is_not_the_number():
    X = pd.DataFrame({"pi": np.linspace(1, 2, 30)})
    model = quick().fit(X, 2 * X["pi"])
    assert model.formula_ == "2*`pi`"


def test_history_has_a_row_a_round(fitted):
    history = fitted.refine_history_
    assert len(history) >= 1
    assert history["index"].tolist() == list(range(len(history)))
    assert (history["decodes"] > 0).all()


def test_it_can_be_stored(data, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict(data[0]) == pytest.approx(fitted.predict(data[0]))


LAW = "2.5*exp(-`speed (m/s)`**2/7) + sin(37.5*mass*`pi`)/`pi`**1.3"


@pytest.mark.parametrize("unit", [1.0, 1e100])
def test_a_start_is_taken_up_with_its_constants(data, unit):
    X, _ = data
    y = unit * X.eval(LAW)
    start = f"{unit}*({LAW.replace('37.5', '37.6').replace('2.5', '2.4')})"
    assert quick(start=start).fit(X, y).score(X, y) == pytest.approx(1)
    assert quick().fit(X, y).equations_["r2"].max() < 1


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("mass +", "something is missing"),
        ("mas*2", "no variable 'mas'"),
        ("`speed`*2", "Did you mean speed"),
        ("sign(mass)", "no token for the function 'sign'"),
        ("3 + 4", "holds no feature"),
        ("__import__('os')", "cannot read"),
    ],
)
def test_a_start_that_cannot_be_used_is_said(data, start, words):
    with pytest.raises(ExpressionError) as error:
        quick(start=[start]).fit(*data)
    assert words in f"{error.value} {error.value.hint}"


def test_more_than_ten_features_are_selected_and_said():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, (80, 14))
    y = X[:, 3] * X[:, 12]
    with pytest.warns(UserWarning, match="of 14 features, the search used the 10 most"):
        model = quick().fit(X, y)
    assert len(model.selected_features_) == 10
    assert {"x3", "x12"} <= set(model.selected_features_)
    assert model.predict(X) == pytest.approx(y)
    idle = f"x{next(i for i in range(14) if f'x{i}' not in model.selected_features_)}"
    with pytest.warns(UserWarning, match="most relevant"):
        model = quick(start=f"{idle}**2", max_rounds=1).fit(X, y)
    assert idle in model.selected_features_


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e300])
def test_any_scale(data, unit):
    X, y = data
    model = quick().fit(X.to_numpy() * [unit, 1, 1], y * unit)
    assert model.equations_["r2"].max() == pytest.approx(1)
    assert model.predict(X.to_numpy() * [unit, 1, 1]) / unit == pytest.approx(y.to_numpy())


def test_rows_without_weight_count_for_nothing(data):
    X, y = data
    spoilt = y.copy()
    spoilt[::3] = 99.0
    weights = np.where(np.arange(len(y)) % 3 == 0, 0.0, 2.0)
    assert quick().fit(X, spoilt, sample_weight=weights).score(X, y) == pytest.approx(1)


def test_weights_count_like_repetition_in_any_order(data):
    X, y = data[0].to_numpy(), data[1].to_numpy()
    rng = np.random.default_rng(2)
    y = y + rng.normal(size=len(y))
    times = rng.integers(1, 4, len(y))
    rows = rng.permutation(np.repeat(np.arange(len(y)), times))
    weighted = quick().fit(X, y, sample_weight=times)
    repeated = quick().fit(X[rows], y[rows])
    pd.testing.assert_frame_equal(weighted.equations_, repeated.equations_)
    assert not weighted.equations_.equals(quick().fit(X, y).equations_)


def test_weights_that_are_not_whole_count_as_effective_rows(data):
    X, y = data[0].to_numpy(), data[1].to_numpy() + np.random.default_rng(2).normal(size=120)
    few = np.where(np.arange(120) < 10, 1.5, 1e-9)
    assert _observations(few) == pytest.approx(10, rel=1e-4)
    assert _observations(np.full(120, 0.3)) == pytest.approx(120)
    assert _observations(np.full(120, 2.0)) == 240
    model = quick().fit(X, y, sample_weight=few)
    assert model.equations_.loc[model.equations_["chosen"], "complexity"].item() < 12


def test_a_network_that_was_trained_on_is_read_again(data, tmp_path):
    folder = shutil.copytree(Lee.folder("small"), tmp_path / "mine")
    model = quick(model=folder, max_rounds=1).fit(*data)
    (folder / "model.json").write_text("{}")
    with pytest.raises(SetupError):
        model.fit(*data)


def test_a_table_of_counts_is_fitted_for_all_its_rows():
    rng = np.random.default_rng(0)
    x = np.repeat([0.0, 1.0], 2000)
    y = (rng.uniform(size=4000) < 0.3 + 0.4 * x).astype(float)
    model = quick().fit(x[:, None], y)
    assert model.predict([[0.0], [1.0]]) == pytest.approx([0.3, 0.7], abs=0.05)


def test_threads_hold_for_the_kernels(data):
    from methods.symbolic import programs

    seen = []
    quick(threads=1, callback=lambda *_: seen.append(programs.default_threads())).fit(*data)
    assert set(seen) == {1}


@pytest.mark.parametrize("y", [np.zeros(20), np.full(20, -7.25), np.full(20, 1e300)])
def test_a_constant_target_is_a_constant(y):
    model = quick().fit(np.linspace(0, 1, 20)[:, None], y)
    assert model.predict([[5.0]]) == pytest.approx(y[:1])
    assert len(model.equations_) == 1


def test_the_callback_sees_each_round_and_can_end_the_search(data):
    X, y = data
    y = y + np.random.default_rng(1).normal(size=len(y))
    seen = []

    def callback(done, formula):
        seen.append((done.index, formula))
        return len(seen) == 2

    model = quick(max_rounds=0, callback=callback).fit(X, y)
    assert [index for index, _ in seen] == [0, 1]
    assert seen[-1][1]
    assert model.stop_reason_ == "stopped"
    assert len(model.refine_history_) == 2


def test_time_is_kept(data):
    X, y = data
    y = y + np.random.default_rng(1).normal(size=len(y))
    quick(max_rounds=1).fit(X, y)  # network and kernels are loaded now
    begin = time.perf_counter()
    quick(max_rounds=0, time_limit=2.0).fit(X, y)
    assert time.perf_counter() - begin < 3.0  # other work may go on beside the tests


@pytest.mark.parametrize(
    "parameters", [{"time_limit": 0}, {"max_rounds": -1}, {"patience": -1}, {"threads": 0}], ids=str
)
def test_parameters_without_sense_are_refused(data, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        quick(**parameters).fit(*data)


def test_missing_weights_of_the_network_are_said(data):
    with pytest.raises(SetupError, match="no weights of LEE called 'huge'"):
        quick(model="huge").fit(*data)


def test_the_package_imports_without_torch_and_scikit_learn():
    code = "import sys, methods.lee; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("names", [["a", "a"], ["a", "b`"]])
def test_names_that_formulas_cannot_tell_apart_are_refused(data, names):
    X = pd.DataFrame(data[0].to_numpy()[:, :2], columns=names)
    with pytest.raises(ValueError, match=r"names must differ|unique column names"):
        quick().fit(X, data[1])
