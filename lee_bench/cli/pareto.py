"""`lee-bench pareto`: accuracy against complexity, as a picture, a table and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument

if TYPE_CHECKING:
    import pandas as pd


def pareto(
    results: ResultsArgument = Path("results"),
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files. \\[default: RESULTS/figures]",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
    json_output: options.Json = False,
) -> None:
    """Draw the accuracy-complexity front of each suite and noise level.

    Grades what is not graded yet, prints the table, and writes it as CSV beside the picture (PNG
    and SVG). Example:

    lee-bench pareto results/
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError
    from lee_bench.evidence import aggregate

    store, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    table = aggregate.summary(cells)
    has_points = table["r2_test"].notna().any()
    files = _write(table, output or store.root / "figures", has_points)
    if json_output:
        typer.echo(json.dumps(_as_json(table, files), indent=1))
    else:
        console.print_table(graded.summary_table(table))
        for text in graded.summary_notes(table):
            console.note(text)
    for path in files:
        console.note(f"written: {path}")
    if not has_points:
        raise SetupError(
            "There is no front to draw: no cell has a grade.",
            "`lee-bench show TASK` says why cells failed; `lee-bench methods` what can run here.",
        )


def _write(table: pd.DataFrame, folder: Path, draw: bool) -> list[Path]:
    from lee_bench.errors import SetupError
    from lee_bench.evidence import plots
    from lee_bench.files import write_atomically

    try:
        numbers = folder / "pareto.csv"
        write_atomically(numbers, table.to_csv(index=False))
        return [numbers, *(plots.pareto(table, folder / "pareto") if draw else ())]
    except OSError as error:
        raise SetupError(
            f"Cannot write to {folder}: {error.strerror}.",
            "Name a folder you may write with --output.",
        ) from error


def _as_json(table: pd.DataFrame, files: list[Path]) -> dict:
    rows = json.loads(table.to_json(orient="records"))  # NaN becomes null
    return {"rows": rows, "files": [str(path) for path in files]}
