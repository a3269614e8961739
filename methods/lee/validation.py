"""How good a model is, on held-out samples of the sampler that are the same for ever.

Reported for each way of reading (`none`: data alone; `truth`, `mutant`, `own`: with that candidate;
`best`: with the one of some own decodes that fits best; own decodes that are the truth are passed
over) are the cross-entropy (nats a token) and the share of tokens that are likeliest under the
model; then the error of g_eval and the share of functions whose exact target is among some samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from methods.lee.data import mutants
from methods.lee.model import LEE
from methods.network.candidates import fitted
from methods.network.functions import move
from methods.network.held_out import POINTS, SAMPLED, SAMPLES, SEED, recovered
from methods.network.held_out import functions as held_out

DECODES = 8
"""Expressions written for each function, from which `best` is taken."""

if TYPE_CHECKING:
    from methods.lee.objective import Objective


@torch.no_grad()
def validate(module: LEE, objective: Objective) -> dict[str, float]:
    """Measure weights like those of `objective.module` on the held-out functions.

    Returns:
        `none`, `truth`, `mutant`, `own`, `best`: cross-entropy a token. `<kind> accuracy`: share of
        tokens predicted right. `g_eval`: median over functions of the root mean square error at
        unseen points, in units of the spread of y. `recovered`: share of functions whose exact
        tokens are among the samples from the first estimate; `recovered, refined`: among as many,
        of which all but the first `DECODES` were written after reading the best of those.
    """
    from methods.lee.objective import cross_entropy, evaluation_error, read

    device = objective.device
    drawn = held_out(objective.data.sampler.max_length)
    functions = move(drawn, device)
    generator = torch.Generator(device).manual_seed(SEED)
    half = POINTS // 2
    bags = torch.arange(half, device=device), torch.arange(half, 2 * half, device=device)
    figures: dict[str, float] = {}
    with objective.computing():
        first = read(module, functions, bags[0])
        own, _ = module.expression.sample(
            first.z, functions.variables, each=DECODES, generator=generator
        )
        candidates = {
            "truth": functions.tokens,
            "mutant": mutants(drawn, SEED).to(device),
        }
        fit = {"seed": SEED, "threads": objective.threads}
        given = {
            kind: (functions, fitted(tokens, functions, guess=kind != "truth", **fit))
            for kind, tokens in candidates.items()
        }
        of = torch.arange(len(own), device=device) // DECODES
        decodes = fitted(own, functions[of], guess=True, **fit)
        missed = (own != functions.tokens[of]).any(1).view(-1, DECODES)
        error = decodes.error(functions.y[of]).view(-1, DECODES)
        error = error.where(missed, torch.inf)
        some = missed.any(1).nonzero()[:, 0]
        for kind, chosen in {"own": missed.int().argmax(1), "best": error.argmin(1)}.items():
            given[kind] = functions[some], decodes[(some * DECODES + chosen[some])]
        readings = {"none": first}
        for kind, (asked, candidate) in given.items():
            readings[kind] = read(module, asked, bags[1], candidate)
        for kind, reading in readings.items():
            nats, right, count = (v.sum() for v in cross_entropy(module, reading))
            figures[kind] = float(nats / count)
            figures[f"{kind} accuracy"] = float(right / count)
        figures["g_eval"] = float(evaluation_error(module, first).square().mean(1).sqrt().median())
        z = first.z[:SAMPLED].repeat_interleave(SAMPLES, 0)
        found = recovered(module.expression, z, functions[:SAMPLED], generator)
        figures["recovered"] = float(found.float().mean())
        again = some[some < SAMPLED]
        z = readings["best"].z[: len(again)].repeat_interleave(SAMPLES - DECODES, 0)
        found = ~missed[:SAMPLED].all(1)
        found[again] |= recovered(module.expression, z, functions[again], generator)
        figures["recovered, refined"] = float(found.float().mean())
    return figures
