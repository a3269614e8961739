"""`python -m methods.gensr.collapse FOLDER`: whether a trained model uses its latent space.

Prints the validation figures, the distribution of KL over dimensions, and KL of each token of z.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from lee_bench.errors import LeeBenchError
from methods.gensr import checkpoint
from methods.gensr.config import TaskConfig
from methods.gensr.objective import Objective, read_both
from methods.gensr.validation import ACTIVE, Divergence, validate
from methods.network.held_out import POINTS
from methods.network.held_out import functions as held_out


@torch.no_grad()
def report(folder: Path) -> str:
    """The text that is printed.

    Raises:
        SetupError: there is no sound model in the folder.
    """
    model, facts = checkpoint.load(folder)
    objective = Objective(model, TaskConfig(), torch.device("cpu"))
    lines = [f"functions seen: {facts.get('examples', 'unknown')}"]
    lines += [f"{name:18} {value:8.4f}" for name, value in validate(model, objective).items()]
    bag = torch.arange(POINTS // 2)
    prior, posterior = read_both(model, held_out(model.config.max_length), bag)
    divergence = Divergence.of(posterior, prior)
    known = divergence.nats[~divergence.nats.isnan()]
    lines.append(f"KL of {len(known)} dimensions, nats (active above {ACTIVE}):")
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        lines.append(f"  quantile {share:4.2f}  {float(known.quantile(share)):8.4f}")
    lines.append("KL by token of z, nats:")
    own = model.config.z_tokens
    for i, nats in enumerate(divergence.tokens):
        lines.append(f"  {f'function {i}' if i < own else f'variable {i - own}':12} {nats:8.4f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m methods.gensr.collapse")
    parser.add_argument("folder", type=Path, help="of a saved model")
    try:
        print(report(parser.parse_args(arguments).folder))
    except LeeBenchError as error:
        print(f"error: {error}\n{error.hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
