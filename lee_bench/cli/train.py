"""`lee-bench train`: train a learned method's network."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from lee_bench.errors import unknown

TRAINABLE = ("lee", "gensr")
"""Methods whose package `methods.<name>` has a `train` module. Known by name, loaded when used."""


def train(
    method: Annotated[str, typer.Argument(help="Method to train: lee or gensr.", metavar="METHOD")],
    minutes: Annotated[
        float, typer.Option(help="Wall-clock minutes of this run.", min=0.01)
    ] = 150.0,
    size: Annotated[str, typer.Option(help="Size of the network: small or base.")] = "small",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="For checkpoints, log and model. \\[default: results/training/<method>-<size>]",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A saved model to go on from, with a fresh optimiser.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, data and noise.", min=0)] = 0,
    threads: Annotated[
        int | None,
        typer.Option(help="Processor cores. \\[default: all]", min=1, show_default=False),
    ] = None,
) -> None:
    """Train a network on data that is drawn as it goes.

    Shows loss terms, examples a second, the share of time spent waiting for data and the share of
    the device's speed that is used. Checkpoints are written every three minutes; stopping it with
    Ctrl-C or SIGTERM writes one too, and `--resume` goes on from there.
    """
    if method not in TRAINABLE:
        raise unknown("method", method, TRAINABLE)
    importlib.import_module(f"methods.{method}.train").train(
        size,
        minutes,
        device=device,
        folder=folder,
        resume=resume,
        start=start,
        seed=seed,
        threads=threads,
    )
