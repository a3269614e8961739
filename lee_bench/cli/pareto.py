"""`lee-bench pareto`: accuracy against complexity, as a picture, a table and numbers."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from lee_bench.errors import LeeBenchError


class Against(enum.StrEnum):
    """What is laid over our own results."""

    PUBLISHED = "published"


def pareto(
    results: ResultsArgument = Path("results"),
    task: Annotated[
        str | None,
        typer.Option(
            help="Draw one problem instead: all candidates of all methods.", show_default=False
        ),
    ] = None,
    against: Annotated[
        Against | None,
        typer.Option(
            help="Lay published results over ours: SRBench 2021, TPSR, SNIP.", show_default=False
        ),
    ] = None,
    output: options.Figures = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
    json_output: options.Json = False,
) -> None:
    """Draw the accuracy-complexity front of each suite and noise level.

    Grades what is not graded yet, prints the table, and writes it as CSV beside the pictures (PNG
    and SVG): accuracy against complexity and against time, scores over noise, and the share solved
    over time. Example:

    lee-bench pareto results/
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError, UsageError
    from lee_bench.evidence import aggregate

    if task and against:
        raise UsageError("Nobody published results of single problems.", "Leave out --against.")
    if task:
        _one_task(task, results, output, data.value, pmlb_cache, json_output)
        return
    store, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    table = aggregate.summary(cells)
    files = _write(table, cells, output or store.root / "figures", against is not None)
    if json_output:
        typer.echo(json.dumps(_as_json(table, files), indent=1))
    else:
        console.print_table(graded.summary_table(table))
        for text in graded.summary_notes(table):
            console.note(text)
        if against:
            console.print_table(graded.published_table(table))
            console.note(aggregate.PUBLISHED_DIFFERS)
    for path in files:
        console.note(f"written: {path}")
    if table["r2_test"].isna().all():
        raise SetupError(
            "There is no front to draw: no cell has a grade.",
            "`lee-bench show TASK` says why cells failed; `lee-bench methods` what can run here.",
        )


def _write(table: pd.DataFrame, cells: pd.DataFrame, folder: Path, published: bool) -> list[Path]:
    from lee_bench.evidence import aggregate, plots, plots_curves
    from lee_bench.files import write_atomically

    beside = aggregate.published() if published else None
    try:
        files = [folder / "pareto.csv"]
        write_atomically(files[0], table.to_csv(index=False))
        if table["r2_test"].notna().any():
            files += plots.pareto(table, folder / "pareto", plots.SIZE, beside)
            files += plots.pareto(table, folder / "time", plots.TIME, beside)
            files += plots_curves.over_time(cells, folder / "solved")
            if table["noise"].nunique() > 1:
                files += plots_curves.noise(table, folder / "noise")
        return files
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> LeeBenchError:
    from lee_bench.errors import SetupError

    return SetupError(
        f"Cannot write to {folder}: {error.strerror}.",
        "Name a folder you may write with --output.",
    )


def _as_json(table: pd.DataFrame, files: list[Path]) -> dict:
    rows = json.loads(table.to_json(orient="records"))  # NaN becomes null
    return {"rows": rows, "files": [str(path) for path in files]}


def _one_task(
    task: str,
    results: Path,
    output: Path | None,
    data: str,
    pmlb_cache: Path | None,
    json_output: bool,
) -> None:
    from lee_bench.cli import console, graded
    from lee_bench.cli.show import find_records
    from lee_bench.errors import SetupError
    from lee_bench.evidence import candidates, plots_task
    from lee_bench.files import write_atomically
    from lee_bench.tasks.sources import DataSource

    store, records = find_records(task, results)
    table, problems = candidates.of_task(records, DataSource(data, pmlb_cache))
    graded.say(problems)
    folder = output or store.root / "figures"
    name = records[0].key.task
    if table.empty:
        raise SetupError(
            f"No method has a formula for {name}.", f"`lee-bench show {name}` says why."
        )
    try:
        files = [folder / f"{name}.csv"]
        write_atomically(files[0], table.to_csv(index=False))
        files += plots_task.pareto(table, name, folder / name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if json_output:
        typer.echo(json.dumps(_as_json(table, files), indent=1))
    else:
        console.print_table(_candidates_table(table))
        console.note(
            "Fronts of the candidates of all methods and seeds; size is nodes as written. A method "
            "chose by training data alone; this picture has seen the test data."
        )
    for path in files:
        console.note(f"written: {path}")


def _candidates_table(table: pd.DataFrame) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.evidence.words import r2_text

    view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("noise", "method", "seed", "R²", "size"):
        right = name in ("R²", "size", "noise")
        view.add_column(name, justify="right" if right else "left", no_wrap=True)
    view.add_column("formula (● chosen)", overflow="ellipsis", no_wrap=True)
    front = table[table["rank"] == 1].drop_duplicates(["noise", "complexity_raw", "r2_test"])
    for row in front.sort_values(["noise", "complexity_raw"]).itertuples():
        mark = "●" if row.chosen else " "
        view.add_row(f"{row.noise:g}", escape(row.label), str(row.seed), r2_text(row.r2_test),
                     str(row.complexity_raw), f"{mark} {escape(row.formula)}")  # fmt: skip
    return view
