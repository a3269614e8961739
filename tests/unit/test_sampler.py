"""The training sampler: what it promises about trees, data and the stream."""

import numpy as np
import pytest
import torch

from methods.symbolic import grammar, inputs, trees
from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical import canonical_row
from methods.symbolic.canonical_check import is_canonical
from methods.symbolic.fingerprint import fingerprints
from methods.symbolic.programs import evaluate
from methods.symbolic.sampler import (
    Batch,
    Sampler,
    SamplerConfig,
    has_effects,
    has_good_values,
    is_stable,
    sample_trees,
)
from methods.symbolic.sampler_report import (
    Formula,
    describe,
    measure_overlap,
    read_formulas,
    renamed_key,
)

CONFIG = SamplerConfig(max_length=28, max_constants=5, points=48, query_points=8)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch() -> Batch:
    return next(Sampler(1500, generator(3), CONFIG, proposals=2048))


@pytest.fixture(scope="module")
def skeletons() -> torch.Tensor:
    return sample_trees(8192, SamplerConfig(max_length=32), generator(11))[0]


def encode(*texts: str) -> torch.Tensor:
    return torch.from_numpy(tok.stack([tok.encode(text) for text in texts]))


def test_rows_are_expressions_within_the_limits(batch):
    tokens = batch.tokens.numpy()
    assert tokens.shape == (1500, 28)
    assert tok.is_valid(tokens).all()
    assert tok.count_constants(tokens).max() <= 5
    lengths = tok.lengths(tokens)
    assert lengths.max() > 22
    assert len(np.unique(lengths)) > 20


def test_targets_are_canonical(skeletons):
    rows = [row[row > 0].tolist() for row in skeletons.numpy()]
    different = [row for row in rows if canonical_row(row)[0] != row]
    assert len(rows) > 3000
    assert len(different) <= len(rows) / 1000, [tok.to_infix(np.array(r)) for r in different]


def test_data_are_what_the_expression_gives(batch):
    tokens, constants = batch.tokens.numpy(), batch.constants.double().numpy()
    for X, y in ((batch.X, batch.clean), (batch.X_query, batch.y_query)):
        exact = evaluate(tokens, X.double().numpy(), constants)
        error = np.abs(y.numpy() - exact) / exact.std(1, keepdims=True)
        assert np.median(error, axis=1).max() < 1e-3


def test_what_single_precision_cannot_compute_is_refused():
    X = torch.linspace(1, 2, 16)[None, :, None].expand(2, 16, 10).contiguous()
    tokens, constants = encode("sin * C x0", "sin * C x0"), torch.tensor([[1e7], [1e2]])
    values = evaluate(tokens, X, constants)
    assert is_stable(tokens, X, constants, values).tolist() == [False, True]


def test_values_are_finite_and_vary(batch):
    for name in ("constants", "X", "clean", "y", "X_query", "y_query"):
        assert torch.isfinite(getattr(batch, name)).all(), name
    spread, size = batch.clean.std(1), batch.clean.square().mean(1).sqrt()
    assert (spread > 0.009 * size).all()
    assert batch.clean.abs().max() < 1e8


def test_noise_has_the_stated_size(batch):
    error, size = batch.y - batch.clean, batch.clean.square().mean(1).sqrt()
    assert torch.equal(error[batch.noise == 0], torch.zeros_like(error[batch.noise == 0]))
    assert 0.25 < (batch.noise == 0).float().mean() < 0.42
    assert batch.noise.max() <= 0.2
    loud = batch.noise > 0.003
    ratio = error.square().mean(1).sqrt()[loud] / (batch.noise * size)[loud]
    assert abs(ratio.mean() - 1) < 0.02
    assert ratio.std() < 2.5 / (2 * CONFIG.points) ** 0.5


def test_distractors_exist_and_change_nothing(batch):
    columns = torch.arange(10) < batch.variables[:, None]
    assert not (batch.used & ~columns).any()
    assert (batch.X[~columns[:, None].expand_as(batch.X)] == 0).all()
    spare = columns & ~batch.used
    assert 0.15 < spare.any(1).float().mean() < 0.55
    assert (batch.X.std(1)[columns] > 0).all()
    X = torch.where(spare[:, None], 7.0, batch.X)
    again = evaluate(batch.tokens, X, batch.constants)
    assert torch.equal(again, evaluate(batch.tokens, batch.X, batch.constants))
    assert sorted(batch.used.sum(1).unique().tolist())[:6] == [1, 2, 3, 4, 5, 6]


def test_every_variable_and_number_matters(batch):
    values = torch.cat([batch.clean, batch.y_query], 1)
    assert has_effects(batch.tokens, batch.X, batch.constants, values).all()
    tokens = encode("+ square x0 5", "+ x0 x1", "+ C x0", "* C x0")
    X = torch.zeros(4, 16, 10)
    X[:, :, 0], X[:, :, 1] = torch.linspace(100, 900, 16), torch.linspace(1e-4, 2e-4, 16)
    constants = torch.tensor([[0.0], [0.0], [1e-3], [1e-3]])
    values = evaluate(tokens, X, constants)
    assert has_effects(tokens, X, constants, values).tolist() == [False, False, False, True]


def test_bad_values_are_refused():
    line = torch.linspace(1, 2, 40)
    bad = torch.stack([line] * 7)
    bad[1, 3] = torch.nan
    bad[2, 3] = torch.inf
    bad[3] = 5 + 1e-4 * line
    bad[4, 5] = 1e7
    bad[5] = torch.where(line < 1.5, 1.0, 2.0)
    bad[6] *= 1e9
    assert has_good_values(bad).tolist() == [True] + [False] * 6


def test_the_seed_determines_the_stream():
    streams = [Sampler(300, generator(seed), CONFIG, proposals=1024) for seed in (5, 5, 6)]
    for _ in range(3):
        first, same, other = (next(stream) for stream in streams)
        for name, value in vars(first).items():
            assert torch.equal(value, getattr(same, name)), name
        assert not torch.equal(first.tokens, other.tokens)


def test_batches_of_any_size_continue_one_stream():
    whole = next(Sampler(600, generator(8), CONFIG, proposals=1024))
    parts = Sampler(200, generator(8), CONFIG, proposals=1024)
    joined = Batch.join([next(parts) for _ in range(3)])
    assert torch.equal(whole.tokens, joined.tokens)
    assert torch.equal(whole.y, joined.y)


def test_a_fixed_number_of_columns():
    config = SamplerConfig(max_length=15, variables=2)
    tokens, columns = sample_trees(2048, config, generator(0))
    assert (columns == 2).all()
    assert tokens.max(1).values.min() >= tok.FIRST_VARIABLE
    assert not ((tokens >= tok.FIRST_VARIABLE + 2) & (tokens < tok.NEG)).any()


def test_functions_do_not_stand_inside_their_own_kind(skeletons):
    names = {
        **{tok.ID[n]: "wave" for n in grammar.FAMILIES["wave"]},
        tok.EXP: "exp",
        tok.LOG: "log",
        tok.SQRT: "sqrt",
        tok.POW: "pow",
    }
    for row in skeletons[:3000].numpy():
        row = row[row > 0]
        sizes = tok.subtree_sizes(row[None])[0]
        for i, size in enumerate(sizes):
            kind = names.get(int(row[i]))
            inside = [names.get(int(t)) for t in row[i + 1 : i + size]]
            assert kind is None or kind not in inside, tok.to_infix(row)


def test_trees_have_the_length_asked_for():
    lengths = torch.arange(1, 31).repeat(40)
    tokens, alive = trees.grow(lengths, torch.zeros_like(lengths), 30, generator(0))
    assert alive.float().mean() > 0.9
    grown = tokens[alive].numpy()
    assert tok.is_valid(grown).all()
    assert (tok.lengths(grown) == lengths[alive].numpy()).all()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("+ x1 x0", "+ x0 x1"),
        ("* x2 * x1 x0", "* x0 * x1 x2"),
        ("+ sin x0 + * x1 x0 + x3 2", "+ 2 + x3 + sin x0 * x0 x1"),
        ("- * x1 x0 + x3 x2", "- * x0 x1 + x2 x3"),
        ("* sin + x1 x0 * sin + x0 C x0", "* x0 * sin + C x0 sin + x0 x1"),
    ],
)
def test_operands_are_sorted_in_chains_and_inside(before, after):
    rows = torch.nn.functional.pad(encode(before, "x0"), (0, 3))
    expected = torch.nn.functional.pad(encode(after, "x0"), (0, 3))
    assert torch.equal(trees.sort_operands(rows), expected)


def test_differences_turn_before_their_parents_are_sorted():
    rows = encode("* - x1 x0 * - x3 x2 x4", "- square x1 + x2 x0")
    turn = torch.zeros_like(rows, dtype=torch.bool)
    turn[0, 1] = turn[0, 5] = True
    expected = encode("* x4 * - x0 x1 - x2 x3", "- square x1 + x0 x2")
    assert torch.equal(trees.sort_operands(rows, turn), expected)


@pytest.mark.parametrize(
    "text",
    [
        "+ x0 x0", "* x0 x0", "/ x0 x0", "* x0 square x0", "* square x0 square x1",
        "+ * 2 x0 * C x0", "+ * x0 x1 * x0 x2", "+ / x0 x1 / x2 x1", "+ * 2 x0 * 4 x1",
        "square - x1 x0", "* - x0 x1 - x3 x2", "sin - x1 x0", "neg * x0 - x1 x2",
        "* C + C x0", "square + C * C x0", "/ x1 + C * C x0", "/ sqrt x0 x0",
        "* exp x0 exp x1", "* sqrt x0 sqrt x1", "/ x0 square / x1 x2",
    ],
)  # fmt: skip
def test_what_can_be_simplified_is_noticed(text):
    row = encode(text)
    assert canonical_row(row[0].tolist())[0] != row[0].tolist()
    assert not is_canonical(row)[0].item()


@pytest.mark.parametrize(
    "text",
    [
        "* x2 - x1 x0", "exp neg / square - x0 x1 2", "/ * C x0 + C x1", "+ C * C x0",
        "sqrt + square - x0 x1 square - x2 x3", "* x0 sqrt x0", "neg * - x0 x1 - x2 x3",
    ],
)  # fmt: skip
def test_canonical_rows_pass(text):
    row = encode(text)
    assert canonical_row(row[0].tolist())[0] == row[0].tolist()
    assert is_canonical(row)[0].item()


def test_points_lie_as_the_layouts_say():
    X = inputs.draw_points(torch.full((2000,), 4), 64, generator(1))
    assert torch.isfinite(X).all()
    assert (X[:, :, 4:] == 0).all()
    X = X[:, :, :4]
    positive = (X > 0).all(1).float().mean()
    assert 0.4 < positive < 0.8
    assert ((X.amax(1) / X.amin(1))[(X > 0).all(1)] > 30).float().mean() > 0.05
    assert X.std(1).min() > 0


def test_constants_are_of_several_kinds():
    tokens = encode("* C + x0 pow x1 C").repeat(4000, 1)
    values = inputs.draw_constants(tokens, 3, generator(2)).double()
    assert (values[:, 2] == 0).all()
    front, exponent = values[:, 0].abs(), values[:, 1].abs()
    assert exponent.max() <= 3.5
    assert 0.08 < (front == front.round()).double().mean() < 0.25
    turns = front / np.pi * 12
    assert 0.05 < ((turns - turns.round()).abs() < 1e-5).double().mean() < 0.2
    assert front.log10().quantile(0.95) - front.log10().quantile(0.05) > 1.5
    assert 0.2 < (values[:, 0] < 0).double().mean() < 0.4


@pytest.mark.parametrize(
    "settings", [{"max_length": 2}, {"max_length": 64}, {"variables": 11}, {"points": 4}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SamplerConfig(**settings)


def test_fingerprints_join_equal_functions_in_different_dress():
    same = [
        ("square + 1 x0", "+ 1 + * 2 x0 square x0"),
        ("+ square sin x0 square cos x0", "1"),
        ("log square x1", "* 2 log abs x1"),
        ("/ - exp x0 exp neg x0 + exp x0 exp neg x0", "tanh x0"),
        ("* + x0 x1 - x0 x1", "- square x0 square x1"),
    ]
    for one, two in same:
        a, b = fingerprints(encode(one, two).numpy())
        assert a == b, (one, two)
        assert canonical_row(tok.encode(one).tolist()) != canonical_row(tok.encode(two).tolist())


def test_fingerprints_part_different_functions(skeletons):
    rows = np.unique(skeletons[:3000].numpy(), axis=0)
    constants = np.random.default_rng(0).uniform(1, 2, (len(rows), 12))
    X = np.random.default_rng(1).uniform(0.5, 0.9, (24, 10))
    finite = np.isfinite(evaluate(rows, X, constants)).all(1)
    prints = fingerprints(rows, constants, X)[finite]
    assert finite.sum() > 1500
    assert len(np.unique(prints)) > 0.999 * len(prints)
    nudge = 1e-4 * np.random.default_rng(2).uniform(-1, 1, X.shape)
    nudged = fingerprints(rows, constants, X + nudge)[finite]
    assert (prints != nudged).mean() > 0.999


def test_fingerprints_up_to_shift_and_scale():
    tokens = encode("sin x0", "+ C * C sin x0", "- 2 * 3 sin x0", "cos x0").numpy()
    constants = np.array([[0, 0], [1.5, -0.3], [0, 0], [0, 0]], dtype=float)
    prints = fingerprints(tokens, constants, affine=True)
    assert prints[0] == prints[1] == prints[2] != prints[3]
    assert len(set(fingerprints(tokens, constants).tolist())) == 4


def test_overlap_ignores_the_names_of_variables():
    def key(text: str) -> int:
        return renamed_key(canonical_row(tok.encode(text).tolist())[0])

    assert key("* x0 + x1 square x2") == key("* x2 + x0 square x1")
    assert key("- x0 x1") == key("- x1 x0")
    assert key("* x0 + x1 square x2") != key("* x0 + x1 square x0")
    assert key("/ x0 + x0 x1") != key("/ x1 + x0 x2")
    laws = [
        Formula("energy", "m*v**2/2", ("m", "v")),
        Formula("period", "2*pi*sqrt(l/g)", ("l", "g")),
        Formula("absent", "sin(a)*exp(b)", ("a", "b")),
        Formula("sign", "sign(a)", ("a",)),
    ]
    samples = encode("/ * x4 square x1 2", "* C sqrt / x1 x0", "+ x0 x1").numpy()
    overlap = measure_overlap(list(samples), laws)
    assert overlap.exact == ("energy",)
    assert overlap.shape == ("energy", "period")
    assert overlap.sample_share == pytest.approx(1 / 3)
    assert overlap.unreadable == ("sign",)


def test_report_states_what_was_drawn(tmp_path):
    path = tmp_path / "laws.csv"
    path.write_text("# laws\nname,formula,features\nproduct,a*b,a;b\n")
    report = describe(600, 0, CONFIG, read_formulas(path))
    text = report.text(examples=3)
    assert "1 of" not in text.split("\n")[0]
    assert len(report.tokens) >= 600
    assert "1 (100.0%) occur with their numbers" in text
    path.write_text("name,formula\na,b\n")
    with pytest.raises(ValueError, match="features"):
        read_formulas(path)
