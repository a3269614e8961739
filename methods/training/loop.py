"""The training loop that LEE and GenSR share.

A method says what a batch is, what its loss is and how it is judged (`Objective`); this module
drives it: makes batches ahead of time, steps the optimiser, survives bad steps and being stopped,
and shows what goes on.

- **Batches are numbered.** Batch i of a seed is the same on every run, so going on after a stop
  needs no state of any stream: the counter is enough. Nothing drawn is ever stored.
- **Shards.** On a processor every step takes one batch a core, each computed by a thread of its
  own with one kernel thread, and adds the gradients. This beats several threads within each
  kernel by a third and suffers less from other work on the machine. A GPU takes one shard.
- **Bad steps.** A loss or gradient that is not finite skips the step and is counted.
- **Average.** A running average of the weights is what is validated and shipped; the raw weights
  are what training goes on from.
- **Checkpoints** are folders that appear whole, by a rename; the last few are kept, and a damaged
  one is passed over.

Needs torch, safetensors and rich.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lee_bench.errors import SetupError
from methods.training.devices import matmul_rate
from methods.training.feed import Data, Feed
from methods.training.muon import Muon

Terms = dict[str, Tensor]


class Objective(Protocol):
    """What a method gives the loop.

    Attributes:
        data: makes batch number i, `data[i]`, from nothing but i; in a background thread, or in
            other processes, for which it must be picklable.
        module: the network in training, on its device.
        hidden: its weights that Muon is to step: matrices of hidden layers.
        rows: examples a batch.
        dtype: precision of matrix products.
    """

    data: Data
    module: nn.Module
    hidden: list[nn.Parameter]
    rows: int
    dtype: torch.dtype

    def loss(self, batch: Any, index: int, shard: int) -> tuple[Tensor, Terms]:
        """The loss to minimise and its terms, scalars all. Called from one thread a shard."""

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures on frozen held-out samples, for weights like those of `module`."""

    def save(self, folder: Path, module: nn.Module, facts: Mapping[str, Any]) -> None:
        """Write weights and configuration for use without this loop."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        rate, hidden_rate: learning rates at their height, of AdamW and of Muon.
        warmup: first steps, over which the rate rises; past so many it falls as 1/sqrt(step).
        cooldown: last share of a run's time over which the rate falls to nothing.
        weight_decay: in units of the rate.
        betas: of AdamW.
        clip: largest norm of the gradient.
        average: steps over which weights are averaged, at most a tenth of those done.
        shards: batches a step, each in a thread of its own.
        workers: processes that make batches; 0 for a thread of this one.
        ahead: batches made ahead of time, by each of them.
        checkpoint_seconds, validate_seconds, report_seconds: time between such events.
        keep: checkpoints kept.
    """

    rate: float = 3e-3
    hidden_rate: float = 0.03
    warmup: int = 200
    cooldown: float = 0.3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    average: int = 2000
    shards: int = 1
    workers: int = 0
    ahead: int = 4
    checkpoint_seconds: float = 180.0
    validate_seconds: float = 600.0
    report_seconds: float = 20.0
    keep: int = 3


@dataclass
class Progress:
    """Counters that a checkpoint carries."""

    step: int = 0
    batches: int = 0
    examples: int = 0
    skipped: int = 0
    seconds: float = 0.0
    validation: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Runs an objective for some time.

    Args:
        objective: what to train.
        folder: where checkpoints, the log and the finished model go.
        settings: how.
        facts: what the model card should say about the data and the machine.
        show: receives each report: a dict of plain numbers and texts.
    """

    def __init__(
        self,
        objective: Objective,
        folder: Path,
        settings: Settings,
        facts: Mapping[str, Any],
        show: Callable[[dict[str, Any]], None],
    ) -> None:
        self.objective, self.folder, self.settings = objective, folder, settings
        self.facts, self.show = dict(facts), show
        self.progress = Progress()
        self.module = objective.module
        self.average = copy.deepcopy(self.module).requires_grad_(False)
        self.parameters = dict(self.module.named_parameters())
        device = next(iter(self.parameters.values())).device
        hidden = {id(p) for p in objective.hidden}
        others = [p for p in self.parameters.values() if id(p) not in hidden]
        decay = settings.weight_decay
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, settings.rate, settings.betas, weight_decay=decay, fused=True)
        ]
        if objective.hidden:
            self.optimizers.append(
                Muon(
                    objective.hidden,
                    settings.hidden_rate,
                    weight_decay=decay,
                    dtype=objective.dtype,
                )
            )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["height"] = group["lr"]
        self._shards = ThreadPoolExecutor(settings.shards)
        self._begun = 0
        self._stop = False
        self._device = device

    # -- one step ---------------------------------------------------------------------------

    def _gradients(self, shard: int, index: int, batch: Any) -> tuple[list[Tensor | None], Terms]:
        if self.settings.shards > 1:
            torch.set_num_threads(1)
        loss, terms = self.objective.loss(batch, index, shard)
        gradients = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        return list(gradients), {"loss": loss.detach()} | {k: v.detach() for k, v in terms.items()}

    def step(self, batches: list[tuple[int, Any]], rate: float) -> Terms | None:
        """One update from one batch a shard; None where it was skipped.

        Args:
            batches: their numbers and they.
            rate: share of the learning rates' height.
        """
        jobs = [(shard, index, batch) for shard, (index, batch) in enumerate(batches)]
        if len(jobs) == 1:
            results = [self._gradients(*jobs[0])]
        else:
            results = list(self._shards.map(lambda job: self._gradients(*job), jobs))
        for i, parameter in enumerate(self.parameters.values()):
            parts = [gradients[i] for gradients, _ in results if gradients[i] is not None]
            parameter.grad = sum(parts[1:], parts[0]) / len(results) if parts else None
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        # Shards may differ in their terms: after a stop only some may have decodes to read.
        seen = dict.fromkeys(name for _, terms in results for name in terms)
        terms = {
            name: torch.stack([terms[name] for _, terms in results if name in terms]).mean()
            for name in seen
        } | {"gradient": norm}
        progress = self.progress
        progress.batches += len(results)
        progress.examples += len(results) * self.objective.rows
        if not (norm + terms["loss"]).isfinite():
            progress.skipped += 1
            return None
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["height"]
            optimizer.step()
        progress.step += 1
        keep = 1 / min(self.settings.average, 10 + progress.step / 10)
        ours, theirs = list(self.average.parameters()), list(self.parameters.values())
        torch._foreach_lerp_(ours, [p.detach() for p in theirs], keep)
        return terms

    # -- the loop ---------------------------------------------------------------------------

    def run(self, minutes: float) -> Progress:
        """Train for so many minutes, or until SIGTERM or SIGINT; either ends in a checkpoint."""
        settings, progress = self.settings, self.progress
        self.folder.mkdir(parents=True, exist_ok=True)
        data = Feed(self.objective.data, progress.batches, settings.workers, settings.ahead)
        peak = matmul_rate(self._device, self.objective.dtype, settings.shards)
        window = Window(self._cost(), peak)
        begun, before = time.monotonic(), progress.seconds
        due = {
            "report": settings.report_seconds,
            "checkpoint": settings.checkpoint_seconds,
            "validate": settings.validate_seconds,
        }
        with _stopping(self):
            try:
                while True:
                    elapsed = time.monotonic() - begun
                    if self._stop or elapsed >= minutes * 60:
                        break
                    rate = self._rate(progress.step, elapsed / (minutes * 60))
                    terms = self.step([data.next() for _ in range(settings.shards)], rate)
                    window.add(terms, settings.shards * self.objective.rows)
                    elapsed = time.monotonic() - begun
                    progress.seconds = before + elapsed
                    if elapsed >= due["validate"]:
                        progress.validation = self.objective.validate(self.average)
                        self._log({"step": progress.step, "validation": progress.validation})
                        due["validate"] = time.monotonic() - begun + settings.validate_seconds
                        window.restart(data.waited)
                    if elapsed >= due["report"]:
                        self._report(window, data, rate, minutes * 60 - elapsed)
                        due["report"] = elapsed + settings.report_seconds
                    if elapsed >= due["checkpoint"]:
                        self.save()
                        due["checkpoint"] = elapsed + settings.checkpoint_seconds
            finally:
                data.close()
            progress.seconds = before + time.monotonic() - begun
            progress.validation = self.objective.validate(self.average)
            self._log({"step": progress.step, "validation": progress.validation})
            self.save()
        return progress

    def stop(self) -> None:
        """Finish the step under way, write a checkpoint and return from `run`."""
        self._stop = True

    def _cost(self) -> float:
        """Floating-point operations of matrix products that one example takes."""
        at = self.progress.batches
        batch = self.objective.data[at]
        self._gradients(0, at, batch)  # an objective may do more from its second step on
        with FlopCounterMode(display=False) as counter:
            self._gradients(0, at, batch)
        return counter.get_total_flops() / self.objective.rows

    def _rate(self, steps: int, share: float) -> float:
        settings = self.settings
        done, fresh = ((steps + 1 - n) / settings.warmup for n in (0, self._begun))
        rise = min(1.0, fresh) * max(1.0, done) ** -0.5
        fall = 1.0 if settings.cooldown <= 0 else min(1.0, (1 - share) / settings.cooldown)
        return rise * max(fall, 0.01)

    def _report(self, window: Window, data: Feed, rate: float, left: float) -> None:
        report = window.report(data.waited) | {
            "step": self.progress.step,
            "examples": self.progress.examples,
            "skipped": self.progress.skipped,
            "rate": rate,
            "minutes": self.progress.seconds / 60,
            "left": left / 60,
        }
        self._log(report)
        self.show(report | {"validation": self.progress.validation})
        window.restart(data.waited)

    def _log(self, entry: Mapping[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    # -- checkpoints --------------------------------------------------------------------------

    def save(self) -> Path:
        """Write a checkpoint and the model as it would ship; drop the oldest checkpoints."""
        moments = {
            f"{name}:{key}": tensor
            for name, p in self.parameters.items()
            for optimizer in self.optimizers
            for key, tensor in optimizer.state.get(p, {}).items()
        }
        facts = self.facts | asdict(self.progress)

        def write(folder: Path) -> None:
            save_file(_contiguous(self.module.state_dict()), folder / "weights.safetensors")
            save_file(_contiguous(self.average.state_dict()), folder / "average.safetensors")
            save_file(_contiguous(moments), folder / "optimizer.safetensors")
            (folder / "state.json").write_text(json.dumps(asdict(self.progress), indent=1))

        target = self.folder / f"step-{self.progress.step:09d}"
        write_folder(target, write)
        write_folder(
            self.folder / "model", lambda path: self.objective.save(path, self.average, facts)
        )
        for old in self.checkpoints()[self.settings.keep :]:
            shutil.rmtree(old)
        return target

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    def begin(self, done: Mapping[str, Any]) -> None:
        """Count on from what made the weights, which come without a state of the optimiser.

        No batch comes a second time, and the learning rate is what it would be by now, but for
        first steps over which the optimiser gathers its averages.

        Args:
            done: a saved model's facts; a counter that is missing stays.
        """
        counted = {f.name for f in fields(Progress)} & done.keys()
        self.progress = self._counted(
            replace(self.progress, **{name: done[name] for name in counted})
        )
        self._begun = self.progress.step

    def _counted(self, progress: Progress) -> Progress:
        """Progress with batches of this device's size, at least as many as hold all that was seen:
        another device takes larger ones.
        """
        batches = math.ceil(progress.examples / self.objective.rows)
        return replace(progress, batches=max(progress.batches, batches))

    def resume(self) -> bool:
        """Go on from the newest sound checkpoint of the folder.

        Returns:
            Whether there was one.

        Raises:
            SetupError: there are checkpoints, but none can be read.
        """
        found = self.checkpoints()
        reasons = []
        for folder in found:
            try:
                self._load(folder)
                return True
            except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
                reasons.append(f"{folder.name}: {str(error).splitlines()[0]}")
                self.show({"note": f"{folder.name} cannot be read, trying the one before it"})
        if found:
            raise SetupError(
                f"No checkpoint in {self.folder} can be read ({'; '.join(reasons)}).",
                "Move the folder away to start anew, or train the size it was made with.",
            )
        return False

    def _load(self, folder: Path) -> None:
        # Everything is read before anything is changed: a damaged file leaves no half state.
        weights = load_file(folder / "weights.safetensors")
        average = load_file(folder / "average.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        progress = Progress(**json.loads((folder / "state.json").read_text()))
        self.module.load_state_dict(weights, strict=True)
        self.average.load_state_dict(average, strict=True)
        owner = {
            p: optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for key, tensor in moments.items():
            name, _, kind = key.rpartition(":")
            p = self.parameters[name]
            owner[p].state[p][kind] = tensor.to(p.device)
        self.progress, self._begun = self._counted(progress), 0


class Window:
    """Means of loss terms and speeds since the last report.

    Args:
        cost: floating-point operations of an example.
        peak: of the device, a second.
    """

    def __init__(self, cost: float, peak: float) -> None:
        self._cost, self._peak = cost, peak
        self.restart(0.0)

    def restart(self, waited: float) -> None:
        """Begin anew; `waited` is the data's counter by now."""
        self._since, self._waited = time.perf_counter(), waited
        self._terms: dict[str, list[Tensor]] = {}
        self._examples = 0

    def add(self, terms: Terms | None, examples: int) -> None:
        """Note one step."""
        self._examples += examples
        for name, value in (terms or {}).items():
            self._terms.setdefault(name, []).append(value)

    def report(self, waited: float) -> dict[str, Any]:
        """Means, examples a second, and shares: of time spent waiting, of the device's peak."""
        seconds = time.perf_counter() - self._since
        return {
            "terms": {k: float(torch.stack(v).mean()) for k, v in self._terms.items()},
            "speed": self._examples / seconds,
            "mfu": self._examples / seconds * self._cost / self._peak,
            "waiting": (waited - self._waited) / seconds,
        }


@contextmanager
def _stopping(trainer: Trainer) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop in good order; a second SIGINT ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number, _frame) -> None:
        trainer.stop()
        signal.signal(number, previous[number])

    previous = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder, then put it in place of `target` in one move."""
    fresh, old = (target.with_name(f".{kind}-{target.name}") for kind in ("new", "old"))
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    for file in fresh.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
