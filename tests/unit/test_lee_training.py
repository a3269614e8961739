"""What LEE is asked in training, and its training command, at a size that takes seconds."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from lee_bench.errors import UsageError
from methods.lee import checkpoint, validation
from methods.lee.config import SIZES, ModelConfig, TaskConfig
from methods.lee.model import LEE
from methods.lee.objective import Objective, by_rank, cross_entropy, read
from methods.lee.train import RECIPE
from methods.network import held_out
from methods.network.candidates import Candidates, fitted
from methods.network.functions import NumberedFunctions
from methods.symbolic import vocabulary as tok
from methods.symbolic.sampler import SamplerConfig
from methods.training import command

CPU = torch.device("cpu")
TINY = ModelConfig(width=32, heads=2, hidden=48, encoders=1, decoders=1, latents=6, z_width=16)
TASK = TaskConfig(rows=40, alone=0.5, twice=0.2, own=0.5, own_from=0)


def objective(task=TASK):
    torch.manual_seed(0)
    return Objective(LEE(TINY), task, CPU)


def test_numbered_functions_repeat_and_differ():
    config = SamplerConfig(points=20)
    one, two = (NumberedFunctions(300, config, 5) for _ in range(2))
    far = one.together + 1
    late = two[far]
    assert torch.equal(one[far].tokens, late.tokens)
    assert torch.equal(one[far].y, late.y)
    assert len(one[0]) == 300
    for other in (one[far - 1], NumberedFunctions(300, config, 6)[far]):
        assert not torch.equal(other.tokens, late.tokens)


def test_a_batch_gives_some_functions_the_truth_and_others_something_wrong():
    task = replace(TASK, own_from=4)
    batch = objective(task).data[3]
    assert len(batch.functions) == task.rows
    assert batch.alone == 20
    assert batch.first == 12
    rest = batch.functions[batch.first :]
    assert len(batch.candidates.tokens) == len(rest)
    right = (batch.candidates.tokens == rest.tokens).all(1)
    assert 4 <= right.sum() <= 12
    assert right[~batch.candidates.guess].all()
    assert (~batch.candidates.guess).sum() == 4
    assert tok.is_valid(batch.candidates.tokens.numpy()).all()
    assert batch.candidates.prediction.shape == rest.y.shape


def test_with_own_decodes_there_are_no_mutations():
    batch = objective().data[3]
    assert batch.alone == len(batch.functions) == TASK.rows
    assert torch.equal(batch.candidates.tokens, batch.functions.tokens[batch.first :])
    assert len(batch.candidates.tokens) == int(TASK.truth * TASK.rows)
    assert not batch.candidates.guess.any()


def test_the_truth_with_fitted_constants_fits():
    functions = NumberedFunctions(200, SamplerConfig(points=40, noiseless=1.0), 0)[0]
    given = fitted(functions.tokens, functions, seed=0, guess=False)
    error = (given.prediction - functions.y).square().mean(1) / functions.y.var(1)
    assert (error < 1e-6).float().mean() > 0.85


def test_nothing_need_be_read_twice():
    o = objective(replace(TASK, twice=0.0, own_from=9))
    loss, terms = o.loss(o.data[0], 0, 0)
    assert loss.isfinite()
    assert terms["close"] == 0


def test_a_loss_is_finite_repeats_and_reaches_every_weight():
    batch, first, second = objective().data[0], objective(), objective()
    for step in range(2):  # own decodes come with the second
        loss, terms = first.loss(batch, step, 0)
        again, _ = second.loss(batch, step, 0)
    assert torch.equal(loss, again)
    assert set(terms) == {"g_eval", "none", "given", "own", "close"}
    assert all(value.isfinite() for value in terms.values())
    loss.backward()
    for name, parameter in first.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_own_decodes_are_read_with_the_functions_they_came_from():
    subject = objective()
    batch = subject.data[0]
    subject.loss(batch, 0, shard=0)
    carried = subject._carried[0]
    functions, candidates = carried.functions, carried.candidates
    assert len(functions) == len(candidates.tokens) == 3 * 7
    known = {tuple(row) for row in batch.functions.tokens.tolist()}
    assert all(tuple(row) in known for row in functions.tokens.tolist())
    assert tok.is_valid(candidates.tokens.numpy()).all()
    # The prediction is the candidate's at those functions' points.
    again = fitted(candidates.tokens, functions, seed=0, guess=False)
    same = torch.isclose(again.prediction, candidates.prediction, rtol=1e-2, equal_nan=True)
    assert same.all(1).float().mean() > 0.8
    subject.loss(subject.data[1], 1, shard=0)
    assert len(subject._carried[0].functions) == 2 * 3 * 4
    assert 1 not in subject._carried  # each shard keeps its own


def test_an_own_decode_that_is_the_truth_is_not_read():
    batch = objective().data[0]

    def written(functions):
        subject = objective()
        subject.loss(replace(batch, functions=functions), 0, 0)
        return subject._carried[0]

    # The same decodes again, of functions whose truth one of them now is.
    before, functions = written(batch.functions), batch.functions
    of = (before.functions.y[:, None] == functions.y).all(2).int().argmax(1)
    tokens = functions.tokens.clone()
    tokens[of] = before.candidates.tokens
    after = written(replace(functions, tokens=tokens))
    assert (after.candidates.tokens != after.functions.tokens).any(1).all()
    assert after.candidates.guess.all()
    assert len(set(of.tolist())) < len(after.functions)  # others take the place of most


def test_draws_by_rank_prefer_small_errors_and_repeat_none():
    error = torch.tensor([[3.0, torch.inf, 1.0, 2.0]]).repeat(4000, 1)
    chosen = by_rank(error, 2, torch.Generator().manual_seed(0))
    assert (chosen[:, 0] != chosen[:, 1]).all()
    share = chosen[:, 0].bincount() / 4000  # the first of two: one over the rank
    wanted = torch.tensor([1 / 3, 1 / 4, 1, 1 / 2])
    assert torch.allclose(share, wanted / wanted.sum(), atol=0.03)


def test_own_decodes_come_from_the_batch_they_are_told_to():
    subject = objective(replace(TASK, own_from=2))
    for index in range(2):
        subject.loss(subject.data[index], index, 0)
        assert not subject._carried
    subject.loss(subject.data[2], 2, 0)
    assert subject._carried


def test_the_better_of_two_candidates_is_told_by_their_errors():
    functions = NumberedFunctions(30, SamplerConfig(points=40, noiseless=1.0), 0)[0]
    right = fitted(functions.tokens, functions, seed=0, guess=False)
    wrong = fitted(functions.tokens.roll(1, 0), functions, seed=0, guess=True)
    assert (right.error(functions.y) <= wrong.error(functions.y)).float().mean() > 0.9
    undefined = replace(wrong, prediction=torch.full_like(wrong.prediction, torch.nan))
    assert undefined.error(functions.y).isinf().all()
    chosen = torch.arange(30) % 2 == 0
    mixed = right.where(chosen, wrong)
    assert torch.equal(mixed.tokens[0], right.tokens[0])
    assert torch.equal(mixed.constants[1], wrong.constants[1])
    assert torch.equal(mixed.guess, ~chosen)
    assert len(Candidates.join([right, wrong]).tokens) == 60


def test_cross_entropy_does_not_depend_on_how_rows_are_ordered():
    subject = objective()
    functions = subject.data.functions[0]
    with torch.no_grad():
        reading = read(subject.module, functions, torch.arange(24))
        nats, right, count = cross_entropy(subject.module, reading)
        order = torch.randperm(len(functions))
        shuffled, _, _ = cross_entropy(subject.module, reading[order])
    assert torch.allclose(nats[order], shuffled, rtol=1e-3, atol=1e-3)
    assert torch.equal(count, (functions.tokens != tok.PAD).sum(1).float())
    assert (right <= count).all()


def test_validation_figures_are_frozen(monkeypatch):
    monkeypatch.setattr(validation, "SAMPLES", 4)
    monkeypatch.setattr(validation, "DECODES", 2)
    subject = objective()
    figures = subject.validate(subject.module)
    wanted = {"none", "truth", "mutant", "own", "best", "none accuracy", "g_eval"}
    wanted |= {"recovered", "recovered, refined"}
    assert wanted <= set(figures)
    other = Objective(subject.module, replace(TASK, seed=1), CPU)
    assert other.validate(subject.module) == figures  # whatever the seed of training


@pytest.mark.parametrize(
    "change",
    [
        {"alone": 0.1, "twice": 0.2},
        {"bags": (32, 70)},
        {"alone": 1.5, "twice": 0.0},
        {"rows": 5, "truth": 0.1},
    ],
)
def test_a_task_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match=r"function|points"):
        replace(TASK, **change)


def test_training_goes_on_where_it_stopped_and_the_model_loads(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr(held_out, "FUNCTIONS", 64)
    monkeypatch.setattr(validation, "SAMPLES", 2)
    monkeypatch.setattr(validation, "DECODES", 1)
    run = partial(command.train, replace(RECIPE, task=replace(TASK, own_from=1)), "tiny", 0.05)
    first = run(device="cpu", folder=tmp_path, threads=2)
    assert first.step > 0
    with pytest.raises(UsageError, match="already holds"):
        run(device="cpu", folder=tmp_path)
    second = run(device="cpu", folder=tmp_path, resume=True, threads=2)
    assert second.step > first.step
    assert second.batches > first.batches
    model, facts = checkpoint.load(tmp_path / "model")
    assert model.config == TINY
    assert facts["step"] == second.step
    assert facts["size"] == "tiny"
    assert facts["validation"]["none"] > 0
    third = run(device="cpu", folder=tmp_path / "b", start=tmp_path / "model")
    assert third.step > 0
    with pytest.raises(UsageError, match="no model of size small"):
        command.train(RECIPE, "small", 1, folder=tmp_path / "c", start=tmp_path / "model")
    subnormal = torch.full((1,), 1e-310, dtype=torch.float64)
    assert (subnormal * 1.0).item() > 0, "training left its rounding mode behind"
