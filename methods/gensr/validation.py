"""How good a model is, on the held-out functions that LEE is measured on, and whether it collapsed.

A conditional variational autoencoder collapses when the posterior says no more than the prior: then
z holds what the points tell and nothing of the expression, KL is 0, and the space was never shaped
by expressions. A dimension is *active* where KL is above `ACTIVE` nats on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.gensr.model import Gaussian, GenSR
from methods.network.decoder import cross_entropy
from methods.network.functions import move
from methods.network.held_out import POINTS, SAMPLED, SAMPLES, SEED, recovered
from methods.network.held_out import functions as held_out

if TYPE_CHECKING:
    from methods.gensr.objective import Objective

ACTIVE = 0.01


@dataclass(frozen=True)
class Divergence:
    """KL(posterior || prior) over some functions.

    Attributes:
        nats: float32 (z_tokens + MAX_VARIABLES, z_width), mean of each dimension over the functions
            in which it exists; NaN where it does in none.
    """

    nats: Tensor

    @classmethod
    def of(cls, posterior: Gaussian, prior: Gaussian) -> Divergence:
        """Measure it."""
        there = posterior.present.sum(0)[:, None]
        return cls(posterior.divergence(prior).sum(0) / there)

    @property
    def active(self) -> float:
        """Share of the dimensions that are active."""
        known = self.nats[~self.nats.isnan()]
        return float((known > ACTIVE).float().mean())

    @property
    def tokens(self) -> list[float]:
        """Nats of each token of z; NaN where it is in no function."""
        return self.nats.sum(1).tolist()


@torch.no_grad()
def validate(module: GenSR, objective: Objective) -> dict[str, float]:
    """Measure weights like those of `objective.module` on the held-out functions.

    Returns:
        `none`, `truth`: cross-entropy a token from the mean of prior and posterior, and `<kind>
        accuracy`, the share of tokens predicted right, as LEE's figures of these names; `<kind>
        sampled`: cross-entropy from one sample of z instead. `recovered`: share of functions whose
        exact tokens are among the decodes of some samples of z from the prior, each decoded once;
        `recovered at mean`: as many decodes from its mean, as LEE does. `kl`: nats a function;
        `kl least`, `kl most`: of a token of z; `active`: share of active dimensions.
    """
    from methods.gensr.objective import read_both

    device, decoder = objective.device, module.expression
    functions = move(held_out(module.config.max_length), device)
    generator = torch.Generator(device).manual_seed(SEED)
    bag = torch.arange(POINTS // 2, device=device)
    figures: dict[str, float] = {}
    with objective.computing():
        prior, posterior = read_both(module, functions, bag)
        for kind, branch in {"none": prior, "truth": posterior}.items():
            for name, z in {
                kind: branch.mean[:, None],
                f"{kind} sampled": branch.sample(1, generator),
            }.items():
                nats, right, count = (
                    v.sum()
                    for v in cross_entropy(
                        decoder, module.fuse(z), functions.tokens, functions.variables
                    )
                )
                figures[name] = float(nats / count)
                if name == kind:
                    figures[f"{kind} accuracy"] = float(right / count)
        some, targets = prior[:SAMPLED], functions[:SAMPLED]
        clouds = some.sample(SAMPLES, generator).flatten(0, 1)[:, None]
        found = recovered(decoder, module.fuse(clouds), targets, generator)
        figures["recovered"] = float(found.float().mean())
        z = module.fuse(some.mean[:, None]).repeat_interleave(SAMPLES, 0)
        found = recovered(decoder, z, targets, generator)
        figures["recovered at mean"] = float(found.float().mean())
    divergence = Divergence.of(posterior, prior)
    tokens = [nats for nats in divergence.tokens if nats == nats]
    total = posterior.divergence(prior).sum((1, 2)).mean()
    figures |= {"kl": float(total), "kl least": min(tokens), "kl most": max(tokens)}
    return figures | {"active": divergence.active}
