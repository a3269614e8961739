"""The Typer app. Registering a command here is all it takes to add one."""

from __future__ import annotations

from typing import Annotated

import typer

from lee_bench import __version__
from lee_bench.cli.check import baseline, check
from lee_bench.cli.compare import compare
from lee_bench.cli.export import export
from lee_bench.cli.fit import fit
from lee_bench.cli.grade import grade
from lee_bench.cli.latent import latent
from lee_bench.cli.methods import methods_app
from lee_bench.cli.pareto import pareto
from lee_bench.cli.report import report
from lee_bench.cli.run import run
from lee_bench.cli.show import show
from lee_bench.cli.tasks import tasks
from lee_bench.cli.train import train

app = typer.Typer(
    name="lee-bench",
    help="Benchmark symbolic regression: same data, same clock, same grader.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lee-bench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    """Options that need no command."""


app.command()(run)
app.command()(pareto)
app.command()(compare)
app.command()(check)
app.command()(baseline)
app.command()(report)
app.command()(export)
app.command()(show)
app.command()(grade)
app.command()(tasks)
app.command()(train)
app.command()(latent)
app.command()(fit)
app.add_typer(methods_app, name="methods")
