"""What LEE is asked in training: batches, readings of functions, and losses.

Each function of a batch is read in one or two ways, from bags of points drawn anew each time:

- from data alone (the first estimate);
- with a candidate: the truth itself, said to be it; or a guess, said to be one, which is a mutation
  of the truth or one of the better expressions that the network wrote when it read that function
  one step earlier, constants fitted, as inference will feed it back. Own decodes that are the truth
  are left out: a search has what it reads, and wants to know what else there may be.

Asked of each reading are the true expression (cross-entropy over legal tokens), y without noise at
points that were in no bag (Huber loss, in units of the bag's spread), and that readings of one
function, with and without the truth or a mutation of it, lie close. Noise on z before decoding
keeps its neighbourhood meaningful.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.lee import checkpoint
from methods.lee.config import TaskConfig
from methods.lee.data import Batch, Data
from methods.lee.model import LEE, Embedding
from methods.network import decoder, features
from methods.network.blocks import hidden
from methods.network.candidates import Candidates, fitted
from methods.symbolic.sampler import Batch as Functions
from methods.training import computing, fast_dtype


@dataclass(frozen=True)
class Carried:
    """Functions to be read again with what the network wrote when it read them last.

    Attributes:
        functions: rows of some batches.
        candidates: an expression written for each, constants fitted.
    """

    functions: Functions
    candidates: Candidates


@dataclass(frozen=True)
class Reading:
    """Some functions as the encoder read them, each from one bag."""

    functions: Functions
    embedding: Embedding

    @property
    def z(self) -> Tensor:
        return self.embedding.z

    def __getitem__(self, rows) -> Reading:
        return Reading(self.functions[rows], self.embedding[rows])

    @classmethod
    def join(cls, readings: Sequence[Reading]) -> Reading:
        """All rows of some readings."""
        return cls(
            Functions.join([r.functions for r in readings]),
            Embedding.join([r.embedding for r in readings]),
        )


def read(
    module: LEE, functions: Functions, bag: Tensor, candidates: Candidates | None = None
) -> Reading:
    """Encode functions from the points of a bag (indices), with candidates if there are any."""
    if candidates is not None:
        candidates = candidates.at(bag)
    X, y = functions.X[:, bag], functions.y[:, bag]
    return Reading(functions, module.embed(X, y, functions.variables, candidates))


def cross_entropy(module: LEE, reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    """How well the expression decoder writes the truth.

    Returns:
        Summed cross-entropy in nats, tokens that were likeliest, and tokens; each (B,).
    """
    functions = reading.functions
    return decoder.cross_entropy(
        module.expression, reading.z, functions.tokens, functions.variables
    )


def evaluation_error(module: LEE, reading: Reading) -> Tensor:
    """Differences (B, Q) of g_eval from the clean target, in units of the bag's spread."""
    functions, embedding = reading.functions, reading.embedding
    target = features.placed(functions.y_query, embedding.scales.y)
    return module.values(embedding, functions.X_query) - target


def by_rank(error: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places of some of each row's errors (B, K), drawn with chances of one over the rank.

    Returns:
        int64 (B, count), without repetition (Gumbel top-k).
    """
    rank = error.argsort(1).argsort(1)
    chance = torch.rand(error.shape, generator=generator, device=error.device)
    return ((-chance.log()).log() + rank.add(1).log()).topk(count, 1, largest=False).indices


class Objective:
    """LEE as `methods.training` sees it.

    Args:
        model: the network to train.
        task: what is asked.
        device: where to train.
        threads: processor cores for fitting the constants of decodes, in each shard.
    """

    def __init__(
        self, model: LEE, task: TaskConfig, device: torch.device, threads: int = 1
    ) -> None:
        self.task, self.device, self.threads = task, device, threads
        self.dtype = fast_dtype(device)
        self.module = model.to(device)
        self.hidden = hidden(self.module)
        self.rows = task.rows
        self.data = Data(task, model.config.max_length)
        self._carried: dict[int, Carried | None] = {}

    def computing(self):
        """Context in which products are computed in the device's fast precision."""
        return computing(self.device, self.dtype)

    def loss(self, batch: Batch, index: int, shard: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its terms: cross-entropy by kind of reading, g_eval, closeness."""
        task, module = self.task, self.module
        batch = batch.to(self.device)
        generator = torch.Generator(self.device).manual_seed(task.seed * 1_000_003 + index)
        with self.computing():
            alone = read(module, batch.functions[: batch.alone], self._bag(generator))
            given = read(
                module, batch.functions[batch.first :], self._bag(generator), batch.candidates
            )
            readings = {"none": alone, "given": given}
            close = alone.z[batch.first :] - given.z[: batch.alone - batch.first]
            carried = self._carried.get(shard)
            if carried is not None:
                bag = self._bag(generator)
                readings["own"] = read(module, carried.functions, bag, carried.candidates)
            terms = self._ask(Reading.join(list(readings.values())), generator)
            cross, count = terms.pop("cross"), terms.pop("count")
            loss = cross.sum() / count.sum()
            sizes = [len(r.z) for r in readings.values()]
            for kind, nats, tokens in zip(
                readings, cross.split(sizes), count.split(sizes), strict=True
            ):
                terms[kind] = nats.sum() / tokens.sum()
            terms["close"] = close.square().sum() / max(1, close.numel())  # none may be read twice
            loss = loss + task.evaluation * terms["g_eval"] + task.closeness * terms["close"]
            if task.own > 0 and index >= task.own_from:
                self._carried[shard] = self._carry(readings, carried, index, generator)
        return loss, terms

    def _bag(self, generator: torch.Generator) -> Tensor:
        draw = {"generator": generator, "device": self.device}
        size = self.task.bags[int(torch.randint(len(self.task.bags), (1,), **draw))]
        return torch.randperm(self.task.points, **draw)[:size]

    def _ask(self, reading: Reading, generator: torch.Generator) -> dict[str, Tensor]:
        z = reading.z
        draw = {"generator": generator, "device": z.device}
        spread = self.task.z_noise * torch.rand((len(z), 1, 1), **draw)
        noise = spread * torch.randn(z.shape, **draw)
        noisy = Reading(reading.functions, replace(reading.embedding, z=z + noise))
        cross, _, count = cross_entropy(self.module, noisy)
        error = evaluation_error(self.module, noisy)
        g_eval = functional.smooth_l1_loss(error, torch.zeros_like(error))
        return {"cross": cross, "count": count, "g_eval": g_eval}

    @torch.no_grad()
    def _carry(
        self,
        readings: Mapping[str, Reading],
        carried: Carried | None,
        index: int,
        generator: torch.Generator,
    ) -> Carried | None:
        """Decode some of this step's readings, to be read again in the next step.

        Half come from first estimates and half from readings that had a decode of their own, so
        candidates of every round of refinement occur. Several expressions are written for each and
        some of them read, by rank of error, as a search reads its finds: it knows which of them
        fit, and a network that was shown any decode takes those for nearly true. Of functions that
        are read once more, half keep the better of the old and the new candidate. None where every
        decode is the truth.
        """
        task, draw = self.task, {"generator": generator, "device": self.device}
        sources = [readings[kind] for kind in ("none", "own") if kind in readings]
        share = math.ceil(task.own * task.rows / task.kept / len(sources))
        orders = [torch.randperm(len(r.z), **draw)[:share] for r in sources]
        taken = Reading.join([r[order] for r, order in zip(sources, orders, strict=True)])
        count, functions = len(taken.z), taken.functions
        tokens, _ = self.module.expression.sample(
            taken.z.detach(), functions.variables, each=task.decodes, generator=generator
        )
        rows = torch.arange(count, device=self.device)
        many = functions[rows.repeat_interleave(task.decodes)]
        decodes = fitted(tokens, many, seed=index, guess=True, threads=self.threads)
        missed = (tokens != many.tokens).any(1)
        error = decodes.error(many.y).where(missed, torch.inf).view(count, task.decodes)
        chosen = by_rank(error, task.kept, generator) + task.decodes * rows[:, None]
        decodes, rows = decodes[chosen.flatten()], rows.repeat_interleave(task.kept)
        functions = functions[rows]
        if carried is not None:
            again = len(orders[0]) * task.kept
            old, new = carried.candidates[orders[1].repeat_interleave(task.kept)], decodes[again:]
            y = functions.y[again:]
            better = (old.error(y) < new.error(y)) & (torch.rand(len(y), **draw) < 0.5)
            decodes = Candidates.join([decodes[:again], old.where(better, new)])
        missed = (decodes.tokens != functions.tokens).any(1)
        return Carried(functions[missed], decodes[missed]) if missed.any() else None

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures on frozen held-out samples; see `methods.lee.validation`."""
        from methods.lee.validation import validate

        return validate(module, self)

    def save(self, folder: Path, module: nn.Module, facts: Mapping[str, Any]) -> None:
        """Write the model as it would ship."""
        checkpoint.save(folder, module, self.module.config, facts)
