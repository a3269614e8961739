"""`lee-bench grade`: score what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lee_bench.cli import options

ResultsArgument = Annotated[
    Path, typer.Argument(help="Results folder of one or more runs.", metavar="RESULTS")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Processes for sympy. \\[default: cores]", show_default=False
    ),
]


def grade(
    results: ResultsArgument = Path("results"),
    force: Annotated[
        bool, typer.Option("--force", help="Grade anew what is graded already.")
    ] = False,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
) -> None:
    """Grade the records that have no grade yet; `run` and `pareto` do so by themselves.

    A grade is made from the stored formula and the task's data only. Grades lie in the folder
    'grades' beside 'runs' and may be deleted at any time.
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError
    from lee_bench.evidence.grade import is_gradable
    from lee_bench.tasks.sources import DataSource

    store = graded.open_store(results)
    cells = graded.grade(store, DataSource(data.value, pmlb_cache), jobs, force=force)
    if not cells:
        raise graded.nothing_there(store)
    done = sum(cell.grade is not None for cell in cells)
    failed = sum(not is_gradable(cell.record) for cell in cells)
    left = len(cells) - done - failed
    console.out.print(
        f"{done} of {len(cells)} cells graded"
        + (f"; {failed} failed and have no formula" if failed else "")
        + (f"; {left} could not be graded" if left else "")
        + "."
    )
    if left and not done:
        raise SetupError("Nothing could be graded.")
