"""`lee-bench check` and `lee-bench baseline`: a gate for continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument


def check(
    results: ResultsArgument,
    baseline: Annotated[
        Path, typer.Option(help="What `lee-bench baseline` wrote.", metavar="FILE")
    ],
    junit: Annotated[
        Path | None,
        typer.Option(help="Also write JUnit XML.", metavar="FILE", show_default=False),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Also write Markdown, for a pull request.", metavar="FILE", show_default=False
        ),
    ] = None,
    times: Annotated[
        bool,
        typer.Option(
            "--times/--no-times", help="Compare times; leave them out on a machine that is shared."
        ),
    ] = True,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
    json_output: options.Json = False,
) -> None:
    """Fail, with exit code 1, if a method got worse than in the baseline.

    Worse needs both: a change of a certain size, and evidence that it is not chance. What was
    measured with other data, tasks, seeds, limits or rules is refused, and fails too. Example:

    lee-bench check results/ci --baseline results/baselines/ci.json
    """
    from lee_bench.cli import console, graded, verdicts
    from lee_bench.errors import SetupError
    from lee_bench.evidence.baseline import Baseline
    from lee_bench.evidence.regress import check as hold
    from lee_bench.files import write_atomically

    before = Baseline.read(baseline)
    _, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    now = Baseline.of(cells)
    groups = hold(before, now, times=times)
    for path, text in ((junit, verdicts.junit), (markdown, verdicts.markdown)):
        if path:
            try:
                write_atomically(path, text(groups))
            except OSError as error:
                raise SetupError(f"Cannot write {path}: {error.strerror}.") from error
    if json_output:
        typer.echo(verdicts.as_json(groups))
    else:
        console.print_table(verdicts.table(groups))
        for text in verdicts.notes(before, now, groups):
            console.note(text)
    if any(group.fails for group in groups):
        raise typer.Exit(1)


def baseline(
    results: ResultsArgument,
    output: Annotated[Path, options.output("File to write or renew.")],
    exact: Annotated[
        list[str] | None,
        typer.Option(
            help="Hold this method to equality, because it is deterministic; may be repeated. "
            "\\[default: as in the file]",
            metavar="METHOD",
            show_default=False,
        ),
    ] = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
) -> None:
    """Write what later runs are held against; where there is one, show what changes.

    Example:

    lee-bench baseline results/ci -o results/baselines/ci.json --exact linear
    """
    from lee_bench.cli import console, graded, verdicts
    from lee_bench.errors import SetupError, unknown
    from lee_bench.evidence.baseline import Baseline
    from lee_bench.evidence.regress import check as hold

    old = Baseline.read(output) if output.exists() else None
    _, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    graded.some_grade(cells)
    names = sorted(set(cells["method"]))
    for name in exact or ():
        if name not in names:
            raise unknown("measured method", name, names)
    held = tuple(exact) if exact else old.exact if old else ()
    new = Baseline.of(cells, held)
    if old:
        groups = hold(old, new)
        console.print_table(verdicts.table(groups))
        counts = verdicts.summary(groups).partition(": ")[2]
        console.note(f"Against the old baseline: {counts}.")
    try:
        new.write(output)
    except OSError as error:
        raise SetupError(f"Cannot write {output}: {error.strerror}.") from error
    kept = f", {', '.join(held)} held to equality" if held else ""
    console.out.print(
        f"{'Renewed' if old else 'Written'}: {output}, {len(cells)} cells{kept}.",
        markup=False,
        soft_wrap=True,
    )
