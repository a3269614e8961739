"""The loop LEE and GenSR share, driven with a small real problem: a line fitted by descent."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lee_bench.errors import SetupError, UsageError
from methods.training import Muon, Settings, Trainer, matmul_rate, pick_device

# torch warns where there are fewer cores than workers, and on rare occasions one of its workers
# aborts when it is told to end, which is told as an exception nobody can catch.
with_workers = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create",
    "ignore:Exception ignored in.*DataLoaderIter:pytest.PytestUnraisableExceptionWarning",
)

STEADY = Settings(rate=1e-2, warmup=1, cooldown=0.0, average=50)


class Points:
    """Points of the line y = 3x - 1."""

    def __init__(self, rows, broken_from=None):
        self.rows, self.broken_from = rows, broken_from

    def __getitem__(self, index):
        if index == self.broken_from:
            raise ZeroDivisionError
        x = torch.randn(self.rows, 1, generator=torch.Generator().manual_seed(index))
        return x, 3 * x - 1


class Line:
    """Learns a line; stops its trainer after a given number of batches."""

    rows = 16
    dtype = torch.float32

    def __init__(self, stop_after, spoil=(), broken_from=None):
        self.data = Points(self.rows, broken_from)
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.hidden = []
        self.stop_after, self.spoil, self.trainer = stop_after, spoil, None
        self.on_stop = lambda: self.trainer.stop()

    def loss(self, batch, index, shard):
        if index + 1 >= self.stop_after and self.trainer:
            self.on_stop()
        x, y = batch
        loss = (self.module(x) - y).square().mean()
        if index in self.spoil:
            loss = loss * torch.nan
        return loss, {"error": loss}

    def validate(self, module):
        return {"slope": float(module.weight)}

    def save(self, folder, module, facts):
        (folder / "model.json").write_text(json.dumps({"slope": float(module.weight)} | facts))


def trainer(folder, stop_after, settings=STEADY, reports=None, **kwargs):
    line = Line(stop_after, **kwargs)
    show = (lambda report: reports.append(report)) if reports is not None else (lambda report: None)
    line.trainer = Trainer(line, folder, settings, {"size": "line"}, show)
    return line.trainer


def weights(folder):
    return load_file(folder / "weights.safetensors")


def test_it_learns_and_reports_and_saves(tmp_path):
    reports = []
    run = trainer(tmp_path, 800, Settings(rate=2e-2, warmup=100, report_seconds=0), reports)
    progress = run.run(minutes=5)
    assert progress.step == 800
    assert progress.examples == 800 * Line.rows
    assert progress.validation["slope"] == pytest.approx(3, abs=0.05)
    assert reports[-1]["terms"]["error"] < 0.01 < reports[0]["terms"]["error"]
    assert reports[-1]["speed"] > 0
    assert 0 <= reports[-1]["waiting"] <= 1
    assert reports[-1]["mfu"] > 0
    saved = json.loads((tmp_path / "model" / "model.json").read_text())
    assert saved["slope"] == pytest.approx(3, abs=0.05)
    assert saved["step"] == 800


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    trainer(tmp_path / "whole", 60).run(minutes=5)
    trainer(tmp_path / "parts", 25).run(minutes=5)
    second = trainer(tmp_path / "parts", 60)
    assert second.resume()
    assert second.progress.step == 25
    second.run(minutes=5)
    for file in ("weights", "average", "optimizer"):
        whole = load_file(tmp_path / "whole" / "step-000000060" / f"{file}.safetensors")
        parts = load_file(tmp_path / "parts" / "step-000000060" / f"{file}.safetensors")
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole), file


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
    run = trainer(tmp_path, 40, spoil={7, 8, 20})
    progress = run.run(minutes=5)
    assert progress.skipped == 3
    assert progress.step == 37
    assert all(t.isfinite().all() for t in weights(run.checkpoints()[0]).values())


def test_two_shards_step_as_one_batch_of_both(tmp_path):
    two = trainer(tmp_path, 10**9, Settings(rate=1e-2, shards=2))
    batches = [(i, two.objective.data[i]) for i in range(2)]
    two.step(batches, rate=1.0)
    one = trainer(tmp_path, 10**9)
    both = zip(batches[0][1], batches[1][1], strict=True)
    one.step([(0, tuple(torch.cat(pair) for pair in both))], rate=1.0)
    assert torch.allclose(two.module.weight, one.module.weight)
    assert two.progress.examples == 2 * Line.rows


def test_only_the_last_checkpoints_are_kept(tmp_path):
    settings = Settings(checkpoint_seconds=0, keep=2)
    run = trainer(tmp_path, 12, settings)
    run.run(minutes=5)
    assert [p.name for p in run.checkpoints()] == ["step-000000012", "step-000000011"]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    trainer(tmp_path, 12, Settings(checkpoint_seconds=0, keep=2)).run(minutes=5)
    (tmp_path / "step-000000012" / "optimizer.safetensors").write_bytes(b"half a fi")
    notes = []
    run = trainer(tmp_path, 20, reports=notes)
    assert run.resume()
    assert run.progress.step == 11
    assert "step-000000012" in notes[0]["note"]


def test_no_sound_checkpoint_is_one_clear_error(tmp_path):
    trainer(tmp_path, 3).run(minutes=5)
    (tmp_path / "step-000000003" / "state.json").write_text("{")
    with pytest.raises(SetupError, match="No checkpoint"):
        trainer(tmp_path, 20).resume()
    assert trainer(tmp_path / "empty", 20).resume() is False


def test_sigterm_ends_in_a_checkpoint(tmp_path):
    run = trainer(tmp_path, 15)
    run.objective.on_stop = lambda: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    run.run(minutes=5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "step-000000015" / "weights.safetensors").exists()


def test_time_ends_a_run(tmp_path):
    progress = trainer(tmp_path, 10**9).run(minutes=0.005)
    assert progress.step > 0
    assert (tmp_path / f"step-{progress.step:09d}").is_dir()


@with_workers
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_the_data_is_not_swallowed(tmp_path, workers):
    run = trainer(tmp_path, 10, Settings(workers=workers), broken_from=4)
    with pytest.raises(ZeroDivisionError):
        run.run(minutes=5)


@with_workers
def test_worker_processes_make_the_same_batches(tmp_path):
    trainer(tmp_path / "thread", 20).run(minutes=5)
    trainer(tmp_path / "workers", 20, replace(STEADY, workers=2)).run(minutes=5)
    one, two = (weights(tmp_path / kind / "step-000000020") for kind in ("thread", "workers"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_rate_rises_and_falls_slowly_then_fast(tmp_path):
    run = trainer(tmp_path, 1, Settings(warmup=10, cooldown=0.2))
    assert run._rate(0, 0.0) == pytest.approx(0.1)
    assert run._rate(9, 0.5) == pytest.approx(1.0)
    assert run._rate(39, 0.5) == pytest.approx(0.5)
    assert run._rate(39, 0.9) == pytest.approx(0.25)
    assert 0 < run._rate(50, 1.0) < 0.05


def test_a_saved_model_counts_on(tmp_path):
    run = trainer(tmp_path, 930, Settings(warmup=10, cooldown=0.0))
    due = run._rate(900, 0.0)
    run.begin({"step": 900, "batches": 900, "examples": 7000, "skipped": 2, "size": "line"})
    assert run._rate(900, 0.0) == pytest.approx(due / 10)  # the optimiser starts from nothing
    assert run._rate(909, 0.0) == pytest.approx(due, rel=0.01)
    progress = run.run(minutes=5)
    assert (progress.step, progress.batches, progress.skipped) == (930, 930, 2)
    assert progress.examples == 7000 + 30 * Line.rows
    later = trainer(tmp_path, 940, Settings(warmup=10, cooldown=0.0))
    later.begin({"step": 900})
    assert later.resume()
    assert later._rate(930, 0.0) == pytest.approx(due, rel=0.02)


def test_batches_are_counted_as_this_device_makes_them(tmp_path):
    """A GPU takes large ones; what it has seen must not come again."""
    run = trainer(tmp_path, 1)
    run.begin({"step": 50, "batches": 50, "examples": 50 * 4096})
    assert run.progress.batches == 50 * 4096 / Line.rows


def test_muon_moves_all_directions_alike():
    torch.manual_seed(0)
    for shape in ((6, 6), (4, 10), (10, 4)):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape) * torch.logspace(0, -1.5, shape[1])
        Muon([weight], lr=0.1, weight_decay=0.0).step()
        moved = torch.linalg.svdvals(weight.detach()) / (0.1 * max(1, shape[0] / shape[1]) ** 0.5)
        assert (moved > 0.3).all()
        assert (moved < 1.3).all()
        assert (weight.detach() * weight.grad).sum() < 0  # downhill


def test_devices():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(UsageError):
        pick_device("abacus")
    assert matmul_rate(torch.device("cpu"), torch.float32, 1) > 1e8
