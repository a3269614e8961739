"""GenSR's network, what it is asked in training, and its training command, at a tiny size."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lee_bench.errors import SetupError, UsageError
from methods.gensr import checkpoint, collapse, validation
from methods.gensr.config import SIZES, ModelConfig, SearchConfig, TaskConfig
from methods.gensr.model import Gaussian, GenSR
from methods.gensr.objective import Objective, read_both, truth
from methods.gensr.train import RECIPE
from methods.gensr.validation import Divergence
from methods.network import held_out
from methods.network.decoder import cross_entropy
from methods.symbolic import programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import with_affine
from methods.symbolic.sampler import SamplerConfig
from methods.training import command

CPU = torch.device("cpu")
TINY = ModelConfig(width=32, heads=2, hidden=48, cell=16, encoders=1, decoders=1, z_width=16)
TASK = TaskConfig(rows=40, anneal=10, divergence=1.0)


@pytest.fixture(scope="module")
def subject():
    torch.manual_seed(0)
    return Objective(GenSR(TINY), TASK, CPU)


@pytest.fixture(scope="module")
def batch(subject):
    return subject.data[0]


def gaussian(mean, deviation):
    mean, deviation = (torch.tensor(v)[None, None] for v in (mean, deviation))
    present = torch.ones(1, 1, dtype=torch.bool)
    return Gaussian(mean, deviation, present, torch.ones(1, dtype=torch.int64))


# -- the network ---------------------------------------------------------------------------------


def test_the_divergence_is_that_of_torchs_normal_distributions():
    q = gaussian([0.5, -1.0, 0.0], [0.3, 1.0, 2.0])
    p = gaussian([0.0, -1.0, 1.0], [0.6, 1.0, 0.5])
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(
        normal(q.mean, q.deviation), normal(p.mean, p.deviation)
    )
    assert torch.allclose(q.divergence(p), wanted, atol=1e-6)
    assert q.divergence(q).abs().max() < 1e-6


def test_variables_that_do_not_exist_have_no_latent_no_noise_and_no_divergence(subject, batch):
    with torch.no_grad():
        prior, posterior = read_both(subject.module, batch, torch.arange(16))
    z = prior.sample(3, torch.Generator().manual_seed(0))
    index = torch.arange(z.shape[2]) - TINY.z_tokens
    absent = index >= batch.variables[:, None]
    assert torch.equal(prior.present, ~absent)
    for tensor in (prior.mean, z.transpose(1, 2), posterior.divergence(prior)):
        assert (tensor[absent] == 0).all()
        assert (tensor[~absent] != 0).any(-1).all()


def test_means_have_a_size_and_deviations_bounds(subject, batch):
    with torch.no_grad():
        prior, _ = read_both(subject.module, batch, torch.arange(16))
    size = prior.mean.square().mean(-1)[prior.present]
    assert torch.allclose(size, torch.ones_like(size), atol=1e-3)
    there = prior.deviation[prior.present]
    assert (there > TINY.narrowest).all()
    assert (there < TINY.widest).all()


def test_fusion_knows_neither_order_nor_number(subject):
    torch.manual_seed(1)
    with torch.no_grad():
        subject.module.narrow.weight.normal_()
        z = torch.randn(2, 3, 14, TINY.z_width)
        fused = subject.module.fuse(z)
        assert torch.allclose(fused, subject.module.fuse(z[:, [2, 0, 1]]), atol=1e-5)
        one = subject.module.fuse(z[:, :1])
        assert torch.allclose(one, subject.module.fuse(z[:, [0, 0, 0]]), atol=1e-5)
        assert not torch.allclose(one, fused, atol=1e-2)
        subject.module.narrow.weight.zero_()


def test_only_the_posterior_knows_the_expression(subject, batch):
    other = replace(batch, tokens=batch.tokens.roll(1, 0), constants=batch.constants.roll(1, 0))
    with torch.no_grad():
        first, second = (read_both(subject.module, b, torch.arange(16)) for b in (batch, other))
    assert torch.equal(first[0].mean, second[0].mean)
    assert not torch.allclose(first[1].mean, second[1].mean)


# -- what is asked -------------------------------------------------------------------------------


def test_the_truth_given_is_the_truth(batch):
    given = truth(batch)
    wide = with_affine(given.tokens.numpy())
    values = programs.evaluate(
        given.tokens.numpy(), batch.X.double().numpy(), given.constants.double().numpy()
    )
    assert wide.shape[1] == given.tokens.shape[1] + 4
    for value, clean in zip(values, batch.clean.double().numpy(), strict=True):
        # The core differs from the function by scale and offset alone.
        assert abs(np.corrcoef(value, clean)[0, 1]) > 0.999


def test_a_loss_is_finite_repeats_and_reaches_every_weight(batch):
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        one = Objective(GenSR(TINY), TASK, CPU)
        loss, terms = one.loss(batch, 5, 0)
        losses.append(float(loss.detach()))
    assert losses[0] == losses[1]
    assert set(terms) == {"prior", "posterior", "kl", "kl weight"}
    assert float(terms["kl weight"]) == 0.5
    torch.nn.init.normal_(one.module.narrow.weight)  # begins at 0, which stops gradients behind it
    loss, _ = one.loss(batch, 5, 0)
    loss.backward()
    for name, parameter in one.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_divergence_is_annealed_and_its_first_nats_are_free(subject, batch):
    def loss(index, **changes):
        subject.task = replace(TASK, **changes)
        value, terms = subject.loss(batch, index, 0)
        subject.task = TASK
        return float(value.detach()), terms

    without = loss(10, divergence=0.0)
    taxed = loss(10, free=0.0)
    free = loss(10, free=1e6)
    tokens = float((batch.tokens != tok.PAD).sum())
    kl = float(taxed[1]["kl"].detach()) * len(batch)
    assert taxed[0] - without[0] == pytest.approx(kl / tokens, rel=1e-3, abs=1e-4)
    present = len(batch) * TINY.z_tokens + float(batch.variables.sum())
    assert free[0] - without[0] == pytest.approx(1e6 * present / tokens, rel=1e-3)
    assert loss(0, free=1e6)[0] == pytest.approx(loss(0, divergence=0.0)[0])


def test_collapse_is_seen(subject, batch):
    with torch.no_grad():
        prior, posterior = read_both(subject.module, batch, torch.arange(16))
    same = Divergence.of(prior, prior)
    assert same.active == 0.0
    shifted = replace(prior, mean=prior.mean.clone())
    shifted.mean[:, 0, :4] += 1.0
    one = Divergence.of(shifted, prior)
    exists = TINY.z_tokens + int(batch.variables.max())
    assert one.active == pytest.approx(4 / (exists * TINY.z_width))
    assert np.argmax(np.nan_to_num(one.tokens)) == 0
    assert Divergence.of(posterior, prior).nats.shape == (TINY.z_tokens + 10, TINY.z_width)


def test_validation_is_on_lees_functions_and_frozen(subject, monkeypatch):
    monkeypatch.setattr(validation, "SAMPLES", 2)
    monkeypatch.setattr(validation, "SAMPLED", 16)
    figures = subject.validate(subject.module)
    wanted = {"none", "none accuracy", "truth", "none sampled", "recovered", "kl", "active"}
    assert wanted <= set(figures)
    assert np.isfinite(list(figures.values())).all()
    other = Objective(subject.module, replace(TASK, seed=1), CPU)
    assert other.validate(subject.module) == figures  # whatever the seed of training
    functions = held_out.functions(30)
    lees = held_out.NumberedFunctions(
        512, SamplerConfig(max_length=30, points=64, query_points=12), 20_251_121
    )[0]
    assert torch.equal(functions.tokens, lees.tokens)
    with torch.no_grad():
        prior, _ = read_both(subject.module, functions, torch.arange(32))
        z = subject.module.fuse(prior.mean[:, None])
        nats, _, count = cross_entropy(
            subject.module.expression, z, functions.tokens, functions.variables
        )
    assert figures["none"] == pytest.approx(float(nats.sum() / count.sum()), rel=2e-2)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (TASK, {"bags": (32, 70)}),
        (TASK, {"free": -1.0}),
        (TINY, {"cloud": 0}),
        (TINY, {"narrowest": 3.0}),
        (SearchConfig(), {"parents": 0.0}),
        (SearchConfig(), {"reencoded": 1.5}),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, change):
    with pytest.raises(ValueError, match=r"\w"):
        replace(config, **change)


# -- the command ---------------------------------------------------------------------------------


def test_training_goes_on_where_it_stopped_and_the_model_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr(held_out, "FUNCTIONS", 64)
    monkeypatch.setattr(validation, "SAMPLES", 2)
    run = partial(command.train, replace(RECIPE, task=TASK), "tiny", 0.02, threads=1)
    first = run(device="cpu", folder=tmp_path)
    assert first.step > 0
    assert first.examples == first.batches * TASK.rows  # counted as LEE's
    with pytest.raises(UsageError, match="already holds"):
        run(device="cpu", folder=tmp_path)
    second = run(device="cpu", folder=tmp_path, resume=True)
    assert second.step > first.step
    model, facts = checkpoint.load(tmp_path / "model")
    assert model.config == TINY
    assert facts["step"] == second.step
    assert facts["validation"]["none"] > 0
    assert collapse.main([str(tmp_path / "model")]) == 0
    assert "variable 9" in capsys.readouterr().out
    card = (tmp_path / "model" / "model.json").read_text()
    (tmp_path / "model" / "model.json").write_text(card.replace('"gensr"', '"lee"'))
    with pytest.raises(SetupError, match="lee"):
        checkpoint.load(tmp_path / "model")
