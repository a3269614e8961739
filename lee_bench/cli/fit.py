"""`lee-bench fit`: a formula for a table of one's own."""

from __future__ import annotations

import csv
import importlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_bench.cli import options

if TYPE_CHECKING:
    import numpy as np

    from lee_bench.cli.columns import Data
    from lee_bench.cli.fitted import Fitted

_DATA, _SEARCH = "Data", "Search"
_FEWEST_FOR_A_TEST, _FEWEST_TO_FIT = 20, 10  # rows
_POOR_R2, _WIDE_GAP = 0.1, 0.2
_MOST_NAMES = 12


def fit(
    file: Annotated[
        Path, typer.Argument(help="Table: CSV, TSV or Parquet.", metavar="FILE", show_default=False)
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="Column to find a formula for. \\[default: the last]",
            metavar="NAME",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Columns the formula may use, separated by commas. \\[default: all of numbers]",
            metavar="A,B,...",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Column of weights of the rows.",
            metavar="NAME",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    test_share: Annotated[
        float,
        typer.Option(
            help="Share of rows kept apart to test the formulas on; 0 fits all rows.",
            min=0.0,
            max=0.9,
            rich_help_panel=_DATA,
        ),
    ] = 0.25,
    seconds: Annotated[
        float,
        typer.Option("--time", help="Most seconds to search.", min=0.1, rich_help_panel=_SEARCH),
    ] = 30.0,
    patience: Annotated[
        float | None,
        typer.Option(
            help="Give up when so many times as many formulas as until the last gain brought "
            "none; 0 uses all of the time. \\[default: 4]",
            min=0.0,
            show_default=False,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="Formula to start from, e.g. '2*a*exp(-b)'; repeat for several. Names that are "
            "no identifiers stand in backticks.",
            metavar="FORMULA",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="LEE's size (small ships), or a folder with weights of your own.",
            rich_help_panel=_SEARCH,
        ),
    ] = "small",
    seed: Annotated[
        int, typer.Option(help="Of split and search.", min=0, rich_help_panel=_SEARCH)
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Processor cores. \\[default: all]",
            min=1,
            show_default=False,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        options.output(
            "Folder for formula, table and plots. \\[default: results/fit/<name of the file>]",
            "DIR",
        ),
    ] = None,
    json_output: options.Json = False,
) -> None:
    """Find a formula for a column of your own table, with LEE.

    Prints the front, from the simplest formula to the most accurate, with the
    one it would choose, and writes both beside plots of fit and residuals.
    Ctrl-C ends the search and keeps what was found. Example:

    lee-bench fit data.csv --target y
    """
    from lee_bench.cli import columns, console, tables
    from lee_bench.cli.fitted import Fitted

    data = columns.select(tables.read(file), target, _named(features), weights)
    folder = output or Path("results") / "fit" / tables.bare_name(file)
    _check_writable(folder)
    held_out = _split(len(data.y), test_share, seed)
    _tell(file, data, held_out)
    estimator = _search(data, held_out, seconds, patience, start, model, seed, threads)
    fitted = Fitted(data, held_out, estimator)
    _tell_after(fitted)
    try:
        _print(fitted, json_output)
    finally:  # a full disk costs the files alone, and a pipe that closed the printed text alone
        files = _write(fitted, folder)
    for path in files:
        console.note(f"written: {path}")


def _named(features: str | None) -> list[str] | None:
    """Names from a list with commas; one that holds a comma stands in double quotes."""
    if features is None:
        return None
    return [name.strip() for name in next(csv.reader([features], skipinitialspace=True), ())]


def _check_writable(folder: Path) -> None:
    """Find out before the search, not after, that its results cannot be kept."""
    from lee_bench.errors import UsageError
    from lee_bench.files import try_writing

    try:
        try_writing(folder)
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror}.",
            "Name a folder you may write with --output.",
        ) from None


def _split(rows: int, share: float, seed: int) -> np.ndarray:
    """Which rows are held out, bool (rows,)."""
    import numpy as np

    held_out = np.zeros(rows, dtype=bool)
    if rows >= _FEWEST_FOR_A_TEST:
        order = np.random.default_rng(seed).permutation(rows)
        held_out[order[: min(round(share * rows), rows - _FEWEST_TO_FIT)]] = True
    return held_out


def _tell(file: Path, data: Data, held_out: np.ndarray) -> None:
    from lee_bench.cli import console

    for text in data.notes:
        console.warn(text)
    fitted, tested = int((~held_out).sum()), int(held_out.sum())
    few = len(data.names) <= _MOST_NAMES
    console.note(
        f"{file.name}: {data.target} from "
        f"{', '.join(data.names) if few else f'{len(data.names)} columns'}; {fitted} rows to fit"
        + (f", {tested} to test" if tested else "")
    )
    if not tested and len(data.y) < _FEWEST_FOR_A_TEST:
        console.warn(
            f"{fitted} rows are too few to test a formula on rows it was not fitted to; "
            "many formulas will fit them"
        )


def _search(
    data: Data,
    held_out: np.ndarray,
    seconds: float,
    patience: float | None,
    start: list[str] | None,
    model: str,
    seed: int,
    threads: int | None,
) -> Any:
    """The estimator, fitted."""
    import warnings

    import numpy as np
    import pandas as pd

    from lee_bench.errors import ExpressionError, UsageError
    from lee_bench.runs.machine import available_cores

    # By name, as everywhere in the harness.
    regressor = importlib.import_module("methods.lee.regressor")
    with _watching(seconds) as watch:
        estimator = regressor.LEERegressor(
            time_limit=seconds,
            model=model,
            start=start,
            threads=threads or available_cores(),
            random_state=seed,
            callback=watch,
        )
        if patience is not None:
            estimator.set_params(patience=patience)
        weights = None if data.weights is None else data.weights[~held_out]
        X = pd.DataFrame(data.X[~held_out], columns=list(data.names))
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", UserWarning)  # features left out are told later
                return estimator.fit(X, data.y[~held_out], sample_weight=weights)
        except ExpressionError as error:
            raise UsageError(f"--start: {error}", error.hint) from None
        except ValueError as error:
            raise UsageError(f"These data cannot be fitted: {error}.") from error


@contextmanager
def _watching(seconds: float) -> Iterator[Callable[[Any, str], bool]]:
    """Show progress; the first Ctrl-C asks the search to end, the second ends the program."""
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    from lee_bench.cli import console
    from lee_bench.evidence.words import r2_text

    asked, best, begin = False, "", 0.0
    bar = Progress(
        TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        TextColumn(
            "{task.fields[found]}",
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        expand=True,
        console=console.err,
        disable=not console.err.is_terminal,
        transient=True,
        refresh_per_second=4,
    )
    job = bar.add_task("getting ready", total=None, found="")

    def stop(*_: object) -> None:
        # It may come in the middle of a line being written, so it writes none itself.
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        bar.update(job, description="stopping after this round; Ctrl-C again gives up")

    def watch(done: Any, formula: str) -> bool:
        nonlocal best, begin
        begin = begin or time.perf_counter() - done.seconds
        gone = time.perf_counter() - begin
        found = f"R² {r2_text(done.r2)}  {formula}"
        bar.update(
            job,
            description=f"{gone:3.0f} s of {seconds:g} s",
            completed=min(gone, seconds),
            total=seconds,
            found=escape(found),
        )
        if bar.disable and found != best:
            console.note(f"{gone:5.1f} s  {found}")
        best = found
        return asked

    before = signal.signal(signal.SIGINT, stop)
    try:
        with bar:
            yield watch
    finally:
        signal.signal(signal.SIGINT, before)


def _tell_after(fitted: Fitted) -> None:
    """How the search ended, and where the chosen formula fails on rows it was not fitted to."""
    import numpy as np

    from lee_bench.cli import console

    estimator, names = fitted.estimator, fitted.data.names
    rounds = len(estimator.refine_history_)
    console.note(f"ended after {rounds} round{'s' * (rounds != 1)}: {estimator.stop_reason_}")
    if len(estimator.selected_features_) < len(names):
        used = estimator.selected_features_
        console.warn(
            f"of {len(names)} columns, the search used the {len(used)} most relevant: "
            + ", ".join(used)
        )
    if not fitted.tested:
        return
    gaps = int((~np.isfinite(fitted.predictions[fitted.chosen][fitted.held_out])).sum())
    chosen = fitted.front[fitted.chosen]
    if gaps:
        console.warn(f"the chosen formula has no value at {gaps} of the rows held out")
    elif chosen["r2_test"] is None or chosen["r2_test"] < chosen["r2_fit"] - _WIDE_GAP:
        console.warn("the chosen formula is much worse on the rows held out; do not rely on it")
    elif chosen["r2_test"] < _POOR_R2:
        console.warn("the chosen formula says next to nothing about the rows held out")


def _print(fitted: Fitted, json_output: bool) -> None:
    from lee_bench.cli import console

    if json_output:
        typer.echo(json.dumps(fitted.summary, indent=1))
        return
    console.print_table(fitted.table())
    console.out.print()
    formula, latex = fitted.summary["formula"], fitted.summary["latex"]
    for text in (f"{fitted.data.target} = {formula}", f"LaTeX: {latex}"):
        console.out.print(text, markup=False, soft_wrap=True)


def _write(fitted: Fitted, folder: Path) -> list[Path]:
    from lee_bench.errors import SetupError

    try:
        return fitted.write(folder)
    except OSError as error:
        raise SetupError(
            f"Cannot write to {folder}: {error.strerror}.", "Name another folder with --output."
        ) from error
