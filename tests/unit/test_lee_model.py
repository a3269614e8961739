"""LEE's network, grammar, candidates and checkpoints; small sizes, float32."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lee_bench.errors import SetupError
from methods.lee import checkpoint
from methods.lee.config import SIZES, ModelConfig
from methods.lee.model import LEE, Embedding
from methods.lee.mutations import mutate
from methods.network import checkpoint as network_checkpoint
from methods.network import features
from methods.network.blocks import Table
from methods.network.candidates import Candidates
from methods.network.decoder import Part
from methods.network.grammar import ROOT, Frontier, frontiers, legal
from methods.network.trends import EXPONENTS, trends
from methods.symbolic import vocabulary as tok

TINY = ModelConfig(
    width=32, heads=2, hidden=48, cell=16, encoders=2, decoders=2, latents=6, max_length=20
)
ROWS = ["* x0 sin x1", "+ C * C x0", "/ - x2 x0 exp neg x1", "square x1"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LEE(TINY).eval()


def data(B=4, N=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(B, N, tok.MAX_VARIABLES, generator=g) * 3
    y = X[..., 0] * X[..., 1].sin() + 0.1 * torch.randn(B, N, generator=g)
    return X, y, torch.tensor([3, 2, 5, 3])[:B]


def tokens(rows=ROWS):
    return torch.tensor(tok.stack([tok.encode(row) for row in rows]))


def encode(model, X, y, variables, candidate=None, constants=None, prediction=None, guess=False):
    given = None
    if candidate is not None:
        given = Candidates(candidate, constants, prediction, torch.tensor(guess).expand(len(X)))
    with torch.no_grad():
        return model.embed(X, y, variables, given).z


# -- features -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_features_are_finite_and_tame_at_any_scale(scale):
    X, y, variables = data()
    X, y = X * scale, y * scale
    scales, table = features.Scales.of(X, y), Table.of(variables)
    cells = features.among(table.pack(X.transpose(1, 2)), scales.x[table.exists])
    assert cells.shape[-1] == features.PLACED
    for prediction in (None, y + scale, torch.full_like(y, torch.nan), torch.full_like(y, 3e38)):
        target = features.target(y, scales.y, prediction)
        assert target.shape[-1] == features.TARGET
        trend = trends(X, y, scales, table, prediction)
        for seen in (cells, target, trend.columns, trend.points):
            assert seen.isfinite().all()
            assert seen.abs().max() < 20


def test_numbers_tell_sign_magnitude_and_mantissa():
    v = torch.tensor([2.0, -2.0, 20.0, 2e-5, 2.1])
    f = features.numbers(v)
    assert f.shape == (5, features.NUMBER)
    assert not torch.equal(f[0], f[1])  # sign
    mantissa = f[:, 5:]
    assert torch.allclose(mantissa[0], mantissa[2], atol=1e-4)  # decades share their mantissa
    assert torch.allclose(mantissa[0], mantissa[3], atol=1e-3)
    assert (f[0, 1] - f[2, 1]).abs() > 0.1  # magnitude
    assert (mantissa[0] - mantissa[4]).norm() > 0.3  # five per cent apart


def test_the_residual_is_seen_down_to_a_millionth_of_the_spread():
    _, y, _ = data()
    spread = features.Spread.of(y)
    near, nearer = (features.target(y, spread, y + e * spread.scale) for e in (1e-4, 1e-5))
    assert (near - nearer).abs().amax(-1).min() > 0.1


def test_exponents_of_a_product_of_powers_are_read_off():
    X = torch.rand(2, 40, tok.MAX_VARIABLES, generator=torch.Generator().manual_seed(0)) + 0.5
    y = 3 * X[..., 0] ** 2 / X[..., 1]
    table = Table.of(torch.tensor([3, 2]))
    trend = trends(X, y, features.Scales.of(X, y), table)
    near = trend.columns[:, : len(EXPONENTS)].argmax(1)
    assert [EXPONENTS[i] for i in near] == [2, -1, 0, 2, -1]
    assert trend.points[..., 3].abs().max() < 0.01  # nothing is left
    assert trend.points[..., 0].abs().max() > 0.1  # of a plane, something is


# -- encoder ------------------------------------------------------------------------------------


def test_z_does_not_depend_on_the_order_of_points(model):
    X, y, variables = data()
    order = torch.randperm(X.shape[1], generator=torch.Generator().manual_seed(1))
    candidate, constants = tokens(), torch.randn(4, 3)
    assert torch.allclose(
        encode(model, X, y, variables),
        encode(model, X[:, order], y[:, order], variables),
        atol=1e-5,
    )
    assert torch.allclose(
        encode(model, X, y, variables, candidate, constants, y * 2),
        encode(model, X[:, order], y[:, order], variables, candidate, constants, y[:, order] * 2),
        atol=1e-5,
    )


def test_columns_that_do_not_exist_are_not_seen(model):
    X, y, variables = data()
    other = X.clone()
    other[torch.arange(tok.MAX_VARIABLES) >= variables[:, None, None].expand(*X.shape)] = 7e5
    assert torch.equal(encode(model, X, y, variables), encode(model, other, y, variables))


def test_a_candidate_its_constants_and_its_residual_each_change_z(model):
    X, y, variables = data()
    constants = torch.ones(4, 3)
    base = encode(model, X, y, variables, tokens(), constants, y + 1)
    assert base.shape == (4, TINY.z_tokens + tok.MAX_VARIABLES, TINY.z_width)
    there = torch.arange(base.shape[1]) < TINY.z_tokens + variables[:, None]
    assert torch.allclose(base.square().mean(-1), there.float(), atol=1e-3)
    for other in (
        encode(model, X, y, variables),
        encode(model, X, y, variables, tokens(ROWS[::-1]), constants, y + 1),
        encode(model, X, y, variables, tokens(), constants, y + 2),
    ):
        assert ((base - other).norm(dim=(1, 2)) > 1e-4).all()
    changed = encode(model, X, y, variables, tokens(), constants * 5, y + 1)
    has = torch.tensor(tok.count_constants(tokens().numpy())) > 0
    assert torch.equal((base - changed).norm(dim=(1, 2)) > 1e-4, has)


def test_a_guess_is_told_from_the_law():
    torch.manual_seed(0)
    model = LEE(TINY).eval()
    nn.init.normal_(model.encoder.guess)
    X, y, variables = data()
    constants = torch.zeros(4, tokens().shape[1])
    law, guess = (
        encode(model, X, y, variables, tokens(), constants, y, guess=told) for told in (False, True)
    )
    assert not torch.allclose(law, guess, atol=1e-2)
    nn.init.zeros_(model.encoder.guess)
    assert torch.equal(law, encode(model, X, y, variables, tokens(), constants, y, guess=True))


def test_padding_of_a_candidate_is_not_seen(model):
    X, y, variables = data()
    constants = torch.ones(4, 3)
    wide = torch.nn.functional.pad(tokens(), (0, 5), value=tok.PAD)
    assert torch.allclose(
        encode(model, X, y, variables, tokens(), constants, y),
        encode(model, X, y, variables, wide, constants, y),
        atol=1e-5,
    )


def test_renaming_variables_before_names_are_learnt_permutes_their_tokens(model):
    X, y, _ = data()
    variables = torch.full((4,), 4)
    nameless = copy.deepcopy(model)
    with torch.no_grad():
        nameless.encoder.token.weight.zero_()
    order = [2, 0, 3, 1, *range(4, tok.MAX_VARIABLES)]
    z, renamed = (encode(nameless, data, y, variables) for data in (X, X[..., order]))
    assert torch.allclose(z[:, : TINY.z_tokens], renamed[:, : TINY.z_tokens], atol=1e-4)
    columns = z[:, TINY.z_tokens :]
    assert torch.allclose(columns[:, order], renamed[:, TINY.z_tokens :], atol=1e-4)
    assert not torch.allclose(columns, renamed[:, TINY.z_tokens :], atol=1e-2)


# -- decoders -----------------------------------------------------------------------------------


def some_z(B, seed=0):
    shape = (B, TINY.z_tokens + tok.MAX_VARIABLES, TINY.z_width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_each_logit_depends_on_z_and_earlier_tokens_alone(model):
    variables, target = torch.full((4,), 3), tokens()
    with torch.no_grad():
        logits = model.expression(some_z(4), target, variables)
        other = target.clone()
        other[2, 4:7] = torch.tensor([tok.LOG, tok.SIN, tok.ID["x2"]])
        changed = model.expression(some_z(4), other, variables)
        assert torch.allclose(logits[2, :5], changed[2, :5], atol=1e-5)
        assert not torch.allclose(logits[2, 5:7], changed[2, 5:7], atol=1e-3)
        assert not torch.allclose(
            logits[:, 0], model.expression(some_z(4, 1), target, variables)[:, 0], atol=1e-3
        )


def test_samples_are_valid_short_enough_and_over_variables_that_exist(model):
    variables = torch.arange(1, 11).repeat(30)
    rows, _ = model.expression.sample(
        some_z(300), variables, generator=torch.Generator().manual_seed(0), temperature=2.0
    )
    assert rows.shape == (300, TINY.max_length)
    rows = rows.numpy()
    assert tok.is_valid(rows).all()
    index = np.where(tok.IS_VARIABLE[rows], rows - tok.FIRST_VARIABLE, -1)
    assert (index.max(1) < variables.numpy()).all()
    assert len(np.unique(rows, axis=0)) > 100
    assert tok.lengths(rows).max() > 10


def test_sampling_repeats_for_a_seed_and_scores_as_the_decoder_does(model):
    variables = torch.full((50,), 4)
    z = some_z(50)
    draws = [
        model.expression.sample(z, variables, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    rows, score = draws[0]
    with torch.no_grad():
        logits = model.expression(z, rows, variables)
    chances = logits.log_softmax(-1).gather(2, rows[..., None])[..., 0]
    expected = torch.where(rows != tok.PAD, chances, 0).sum(1)
    assert torch.allclose(score, expected, atol=1e-3)


def test_a_part_is_written_anew_and_all_around_it_kept(model):
    z, variables = some_z(60), torch.full((60,), 3)
    generator = torch.Generator().manual_seed(4)
    rows = model.expression.sample(z, variables, each=5, generator=generator)[0].numpy()
    length, rng = tok.lengths(rows), np.random.default_rng(0)
    assert length.max() == TINY.max_length  # the tightest case is there
    start = (rng.random(len(rows)) * length).astype(np.int64)
    stop = start + tok.subtree_sizes(rows)[np.arange(len(rows)), start]
    part = Part.of(rows, start, torch.device("cpu"))
    new, score = model.expression.sample(
        z, variables, each=5, generator=generator, temperature=2.0, part=part
    )
    new = new.numpy()
    assert tok.is_valid(new).all()
    ends = tok.lengths(new)
    for old, row, i, j, n, m in zip(rows, new, start, stop, length, ends, strict=True):
        assert (row[:i] == old[:i]).all()
        assert (row[m - (n - j) : m] == old[j:n]).all()
    assert (new != rows).any(1).mean() > 0.5
    assert set((stop - start)[start > 0].tolist()) > {1, 2, 3}
    with torch.no_grad():
        z, variables = z.repeat_interleave(5, 0), variables.repeat_interleave(5)
        logits = model.expression(z, torch.from_numpy(new), variables)
    chances = logits.log_softmax(-1).gather(2, torch.from_numpy(new)[..., None])[..., 0].numpy()
    written = [sum(c[i : m - (n - j)]) for c, i, j, n, m in
               zip(chances, start, stop, length, ends, strict=True)]  # fmt: skip
    # Near the longest length what must still fit behind a part rules tokens out that the decoder
    # would allow.
    roomy = ends < TINY.max_length - 8
    assert roomy.sum() > 50
    np.testing.assert_allclose(score.numpy()[roomy], np.array(written)[roomy], atol=2e-3)


def test_several_samples_of_one_z_are_those_of_its_copies(model):
    z, variables = some_z(6), torch.arange(1, 7)
    rows, score = model.expression.sample(
        z, variables, each=5, generator=torch.Generator().manual_seed(3)
    )
    copies, expected = model.expression.sample(
        z.repeat_interleave(5, 0),
        variables.repeat_interleave(5),
        generator=torch.Generator().manual_seed(3),
    )
    assert torch.equal(rows, copies)
    assert torch.allclose(score, expected, atol=1e-4)


def test_greedy_decoding_takes_the_likeliest_token(model):
    variables = torch.full((8,), 4)
    z = some_z(8)
    rows, _ = model.expression.sample(z, variables, temperature=0)
    with torch.no_grad():
        best = model.expression(z, rows, variables).argmax(-1)
    used = rows != tok.PAD
    assert torch.equal(best[used], rows[used])


def test_values_are_differentiable_in_z_and_point_by_point(model):
    X, y, variables = data()
    z = some_z(4).requires_grad_()
    embedding = Embedding(z, variables, features.Scales.of(X, y))
    values = model.values(embedding, X)
    assert values.shape == y.shape
    values.square().sum().backward()
    assert (z.grad.norm(dim=(1, 2)) > 0).all()
    alone = model.values(embedding, X[:, 5:6])
    assert torch.allclose(values[:, 5:6], alone, atol=1e-5)


def test_a_small_model_learns_its_batch():
    torch.manual_seed(0)
    model = LEE(TINY)
    X, y, variables = data()
    target = tokens()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        logits = model.expression(model.embed(X, y, variables).z, target, variables)
        loss = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), target, ignore_index=tok.PAD
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    model.eval()
    with torch.no_grad():
        rows, _ = model.expression.sample(model.embed(X, y, variables).z, variables, temperature=0)
    assert torch.equal(rows[:, : target.shape[1]], target)


def test_sizes():
    small, base = (sum(p.numel() for p in LEE(SIZES[s]).parameters()) for s in ("small", "base"))
    assert 2.5e6 < small < 4.5e6
    assert 10e6 < base < 20e6


# -- grammar ------------------------------------------------------------------------------------


@st.composite
def expressions(draw, most=20):
    row, owed = [], 1
    while owed:
        room = most - len(row) - owed
        names = [n for n in tok.NAMES[3:] if tok.ARITY[tok.ID[n]] <= room]
        row.append(tok.ID[draw(st.sampled_from(names))])
        owed += tok.ARITY[row[-1]] - 1
    return row


def reference_parents(row):
    """Parents by recursive descent."""
    parents, position = [], 0

    def visit(parent):
        nonlocal position
        token = row[position]
        parents.append(parent)
        position += 1
        if tok.ARITY[token] == 2:
            visit(token + tok.SIZE)
        if tok.ARITY[token] >= 1:
            visit(token)

    visit(ROOT)
    return parents


@given(st.lists(expressions(), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_open_arguments_are_those_of_a_recursive_reading(rows):
    batch = torch.tensor(tok.stack(rows))
    owed, parent = frontiers(batch)
    for row, o, p in zip(rows, owed.tolist(), parent.tolist(), strict=True):
        n = len(row)
        assert p[:n] == reference_parents(row)
        assert o[:n] == [1 + sum(tok.ARITY[t] - 1 for t in row[:i]) for i in range(n)]
        assert not any(o[n:])
        assert not any(p[n:])


@given(st.lists(expressions(), min_size=1, max_size=5), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_every_token_of_an_expression_is_legal_where_it_stands(rows, seed):
    batch = torch.tensor(tok.stack(rows))
    owed, _ = frontiers(batch)
    room = 20 - torch.arange(batch.shape[1])
    allowed = legal(owed, room, torch.full((len(batch), 1), tok.MAX_VARIABLES))
    assert allowed.gather(2, batch[..., None])[..., 0][batch != tok.PAD].all()
    assert not allowed[..., [tok.PAD, tok.BOS, tok.EOS]].any()


def test_a_frontier_goes_on_with_some_of_its_rows():
    frontier = Frontier(2, 10, torch.device("cpu"))
    frontier.step(torch.tensor([tok.ADD, tok.SIN]))
    frontier.keep(torch.tensor([True, False]))
    assert frontier.owed.tolist() == [2]
    assert frontier.parent.tolist() == [tok.ADD + tok.SIZE]


# -- candidates ---------------------------------------------------------------------------------


@given(st.lists(expressions(most=16), min_size=2, max_size=8), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_mutations_are_valid_and_keep_to_the_variables(rows, seed):
    batch = tok.stack([tok.encode(tok.decode(np.array(row)), 16) for row in rows])
    variables = np.where(tok.IS_VARIABLE[batch], batch - tok.FIRST_VARIABLE + 1, 1).max(1)
    changed = mutate(batch, variables, np.random.default_rng(seed))
    assert changed.shape == batch.shape
    assert tok.is_valid(changed).all()
    index = np.where(tok.IS_VARIABLE[changed], changed - tok.FIRST_VARIABLE, -1).max(1)
    assert (index < variables).all()


def test_most_mutations_change_something_and_some_change_the_length():
    batch = np.repeat(tokens().numpy(), 50, axis=0)
    changed = mutate(batch, np.full(len(batch), 3), np.random.default_rng(0))
    assert (changed != batch).any(1).mean() > 0.8
    assert (tok.lengths(changed) != tok.lengths(batch)).mean() > 0.2


# -- checkpoints --------------------------------------------------------------------------------


def test_a_saved_model_comes_back(model, tmp_path):
    checkpoint.save(tmp_path, model, TINY, {"steps": 7})
    loaded, facts = checkpoint.load(tmp_path)
    assert facts == {"steps": 7}
    assert loaded.config == TINY
    for name, tensor in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], tensor, atol=2e-3, rtol=1e-3), name


def test_no_file_is_larger_than_allowed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(network_checkpoint, "LARGEST_FILE", 70_000)
    checkpoint.save(tmp_path, model, TINY, {})
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    assert max(file.stat().st_size for file in files) <= 70_000
    checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "There is no"),
        (lambda f: (f / "model-1.safetensors").unlink(), "There is no"),
        (lambda f: (f / "model.json").write_text("{"), "damaged"),
        (lambda f: (f / "model-1.safetensors").write_bytes(b"12345678"), "damaged"),
        (lambda f: edit(f, format=99), "format 99"),
        (lambda f: drop(f, "training"), "damaged"),
        (lambda f: edit(f, method="gensr"), "gensr"),
        (lambda f: edit_config(f, width=64), "do not fit"),
        (lambda f: edit_config(f, vocabulary=["x0"]), "other tokens"),
        (lambda f: edit_config(f, colour="red"), "damaged"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_clear_error(model, tmp_path, spoil, message):
    checkpoint.save(tmp_path, model, TINY, {})
    spoil(tmp_path)
    with pytest.raises(SetupError, match=message) as error:
        checkpoint.load(tmp_path)
    assert error.value.hint


def drop(folder, name):
    card = json.loads((folder / "model.json").read_text())
    del card[name]
    (folder / "model.json").write_text(json.dumps(card))


def edit(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


def edit_config(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    edit(folder, config=card["config"] | changes)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    broken = LEE(TINY)
    with torch.no_grad():
        broken.encoder.latents[0, 0] = torch.inf
    checkpoint.save(tmp_path, broken, TINY, {})
    with pytest.raises(SetupError, match="not finite"):
        checkpoint.load(tmp_path)


def test_a_size_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="heads"):
        replace(TINY, heads=5)
