"""`lee-bench report`: what a results folder comes to, for people who were not there."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument


class Format(enum.StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"
    LATEX = "latex"


def report(
    results: ResultsArgument = Path("results"),
    output: Annotated[
        Path | None,
        options.output(
            "File to write, or - for the terminal. \\[default: RESULTS/report.html; md and latex "
            "are printed]"
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(help="A page, Markdown for a pull request, or LaTeX tables for a paper."),
    ] = Format.HTML,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
) -> None:
    """Write a report: summary, fronts, tables, every problem with its formulas, failures.

    Grades what is not graded yet. The page is one file that needs no network. Example:

    lee-bench report results/ -o report.html
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError, UsageError
    from lee_bench.evidence.report import content, render
    from lee_bench.files import write_atomically

    printed = str(output) == "-" or (output is None and format is not Format.HTML)
    if output is not None and output.is_dir():
        raise UsageError(f"{output} is a folder.", "Name a file with --output.")
    store, cells = graded.load(results, data.value, pmlb_cache, jobs)
    said = content.gather(cells, store.root.name or store.root.resolve().name)
    for sentence in said.cautions:
        console.warn(sentence)
    write = {Format.HTML: render.page, Format.MD: render.markdown, Format.LATEX: render.latex}
    text = write[format](said)
    if printed:
        typer.echo(text, nl=False)
        return
    path = output or store.root / "report.html"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise SetupError(
            f"Cannot write {path}: {error.strerror}.", "Name another file with --output."
        ) from error
    console.out.print(f"Written: {path}, {len(cells)} cells.", markup=False, soft_wrap=True)
