"""What GenSR is asked in training: both branches write the expression, and they agree.

Each function of a batch is read twice, from one bag of points: beside its expression (posterior)
and alone (prior). From each reading some samples of z are fused and decoded. The loss, in nats a
token, is

    cross-entropy (prior) + cross-entropy (posterior) + w KL(posterior || prior),

w rising from 0 to `TaskConfig.divergence` over the first batches, so that z is put to use before it
is taxed. KL is counted in each token of z, as a mean over the batch, and what lies below
`TaskConfig.free` costs nothing, so that no token is driven to say nothing (free bits, Kingma et al.
2016). The number of samples fused is drawn for each batch: a search decodes single points.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.gensr import checkpoint
from methods.gensr.config import TaskConfig
from methods.gensr.model import Gaussian, GenSR
from methods.network.blocks import hidden
from methods.network.candidates import Candidates
from methods.network.decoder import cross_entropy
from methods.network.functions import NumberedFunctions, move
from methods.symbolic.sampler import Batch as Functions
from methods.symbolic.sampler import SamplerConfig
from methods.training import computing, fast_dtype


def truth(functions: Functions) -> Candidates:
    """The functions' own expressions as the encoder reads them: nothing is fitted."""
    guess = torch.zeros(len(functions.y), dtype=torch.bool, device=functions.y.device)
    return Candidates(functions.tokens, functions.constants, functions.clean, guess)


def read_both(module: GenSR, functions: Functions, bag: Tensor) -> tuple[Gaussian, Gaussian]:
    """Prior and posterior of functions, from the points of a bag (indices)."""
    X, y = functions.X[:, bag], functions.y[:, bag]
    prior = module.read(X, y, functions.variables)
    posterior = module.read(X, y, functions.variables, truth(functions).at(bag))
    return prior, posterior


class Objective:
    """GenSR as `methods.training` sees it.

    Args:
        model: the network to train.
        task: what is asked.
        device: where to train.
    """

    def __init__(self, model: GenSR, task: TaskConfig, device: torch.device) -> None:
        self.task, self.device = task, device
        self.dtype = fast_dtype(device)
        self.module = model.to(device)
        self.hidden = hidden(self.module)
        self.rows = task.rows
        self.sampler = SamplerConfig(max_length=model.config.max_length, points=task.points)
        self.data = NumberedFunctions(task.rows, self.sampler, task.seed)

    def computing(self):
        """Context in which products are computed in the device's fast precision."""
        return computing(self.device, self.dtype)

    def loss(self, batch: Functions, index: int, shard: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its terms: cross-entropy a token by branch, KL a function, its weight."""
        task, module = self.task, self.module
        functions = move(batch, self.device)
        generator = torch.Generator(self.device).manual_seed(task.seed * 1_000_003 + index)
        weight = task.divergence * min(1.0, index / task.anneal if task.anneal else 1.0)
        with self.computing():
            prior, posterior = read_both(module, functions, self._bag(generator))
            cloud = 1 + self._draw(module.config.cloud, generator)
            both = Gaussian.join([prior, posterior])
            nats, _, count = cross_entropy(
                module.expression,
                module.fuse(both.sample(cloud, generator)),
                functions.tokens.repeat(2, 1),
                both.variables,
            )
        nats_prior, nats_posterior = nats.chunk(2)
        tokens = count.chunk(2)[0].sum()
        divergence = posterior.divergence(prior).sum(2)
        # Tokens of variables are there in some rows only: their mean is over these.
        there = posterior.present.sum(0)
        mean = divergence.sum(0) / there.clamp_min(1)
        taxed = (mean.clamp_min(task.free) * there).sum()
        loss = (nats_prior.sum() + nats_posterior.sum() + weight * taxed) / tokens
        terms = {
            "prior": nats_prior.sum() / tokens,
            "posterior": nats_posterior.sum() / tokens,
            "kl": divergence.sum() / len(functions),
            "kl weight": torch.tensor(weight),
        }
        return loss, terms

    def _draw(self, below: int, generator: torch.Generator) -> int:
        return int(torch.randint(below, (1,), generator=generator, device=self.device))

    def _bag(self, generator: torch.Generator) -> Tensor:
        size = self.task.bags[self._draw(len(self.task.bags), generator)]
        return torch.randperm(self.task.points, generator=generator, device=self.device)[:size]

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures on frozen held-out samples; see `methods.gensr.validation`."""
        from methods.gensr.validation import validate

        return validate(module, self)

    def save(self, folder: Path, module: nn.Module, facts: Mapping[str, Any]) -> None:
        """Write the model as it would ship."""
        checkpoint.save(folder, module, self.module.config, facts)
