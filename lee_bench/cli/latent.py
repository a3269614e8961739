"""`lee-bench latent`: the latent space of a learned method."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_bench.cli import options
from lee_bench.errors import SetupError, unknown

if TYPE_CHECKING:
    import pandas as pd

MAPPED = ("lee", "gensr")
"""Methods whose package `methods.<name>` has a `latent` module. Known by name, loaded when used."""


def latent(
    method: Annotated[str, typer.Argument(help="Method: lee or gensr.", metavar="METHOD")],
    weights: Annotated[
        str, typer.Option(help="A size that ships, or a folder with weights.")
    ] = "small",
    count: Annotated[int, typer.Option(help="Functions of each family and dimension.", min=2)] = 40,
    first: Annotated[
        str, typer.Option("--from", help="Formula to go from.", metavar="FORMULA")
    ] = "a*exp(-b)",
    second: Annotated[
        str, typer.Option("--to", help="Formula to go to.", metavar="FORMULA")
    ] = "sin(a)/b",
    steps: Annotated[int, typer.Option(help="Points between them, ends included.", min=2)] = 9,
    seed: Annotated[int, typer.Option(help="Of functions, points and picture.", min=0)] = 0,
    output: Annotated[
        Path, options.output("Folder for the picture. \\[default: results/figures]", "DIR")
    ] = Path("results/figures"),
    json_output: options.Json = False,
) -> None:
    """Map a latent space, and walk between two formulas in it.

    Reads functions of three families (exp, trig, log) in 2 and in 5 variables,
    draws their t-SNE, and prints silhouette scores, by which the spaces of two
    methods can be compared: 1 where groups lie apart, 0 where they mix. Then
    decodes points on the line between two formulas. Example:

    lee-bench latent lee --from 'a*exp(-b)' --to 'sin(a)/b'
    """
    if method not in MAPPED:
        raise unknown("method", method, MAPPED)
    from lee_bench.cli import console
    from lee_bench.evidence import plots_latent
    from lee_bench.evidence.latent import plane, silhouettes, terciles

    spaces = importlib.import_module("methods.network.latent")
    coder = importlib.import_module(f"methods.{method}.latent").coder(weights)
    walk = spaces.between(coder, first, second, steps, seed)
    found = spaces.survey(coder, count, seed)
    flat = plane(found.z, seed)
    both = [f"{f}, {d}" for f, d in zip(found.family, found.dimension, strict=True)]
    table = silhouettes(
        found.z,
        flat,
        {
            "family": found.family,
            "dimension": found.dimension,
            "family and dimension": both,
            "third of mean y": terciles(found.mean_y),
        },
    )
    called = "/".join(Path(weights).parts[-2:])
    title = f"{method}, {called}: {len(flat)} functions, t-SNE"
    stem = output / f"latent-{method}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        files = plots_latent.latent(flat, found.family, found.dimension, found.mean_y, title, stem)
    except OSError as error:
        raise SetupError(
            f"Cannot write to {output}: {error.strerror}.", "Name another folder with --output."
        ) from error
    if json_output:
        told = {"silhouettes": table.to_dict("records"), "walk": [asdict(step) for step in walk]}
        typer.echo(json.dumps(told | {"files": [str(path) for path in files]}, indent=1))
    else:
        _show(table, walk, first, second)
    for path in files:
        console.note(f"written: {path}")


def _show(table: pd.DataFrame, walk: list[Any], first: str, second: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.cli import console

    scores = Table("silhouette by", "in the latent space", "in the picture", box=None)
    for row in table.itertuples():
        scores.add_row(row.grouping, f"{row.latent:.3f}", f"{row.plane:.3f}")
    console.print_table(scores)
    console.out.print()
    steps = Table(
        "share", escape(f"R² to {first}"), escape(f"R² to {second}"), "formula decoded", box=None
    )
    for step in walk:
        numbers = (f"{step.share:.3f}", f"{step.first:.3f}", f"{step.second:.3f}")
        steps.add_row(*numbers, escape(step.formula))
    console.print_table(steps)
