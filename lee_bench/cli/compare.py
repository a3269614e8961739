"""`lee-bench compare`: who is better, by how much, and how sure that is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def compare(
    results: ResultsArgument = Path("results"),
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="Only comparisons of this method.", show_default=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Only comparisons with this method; may be repeated.", show_default=False
        ),
    ] = None,
    over_noise: Annotated[
        bool, typer.Option("--over-noise", help="One comparison a suite, over its noise levels.")
    ] = False,
    output: options.Figures = None,
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
    json_output: options.Json = False,
) -> None:
    """Compare methods, paired by task and seed: win/tie/loss, effect size, Wilcoxon with Holm.

    Prints the comparisons, writes them and the average ranks as CSV, and draws the ranks with
    their critical difference. Example:

    lee-bench compare results/ --method lee --against operon
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError
    from lee_bench.evidence import metrics, plots_curves, stats
    from lee_bench.files import write_atomically

    store, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    graded.some_grade(cells)
    pairs = _pairs(cells, method, against or [])
    for sentence in _apart(cells, pairs):
        console.warn(sentence)
    scores = (metrics.R2_TEST, metrics.COMPLEXITY, metrics.ACCURATE, metrics.SOLVED)
    table = stats.paired_table(cells, (*scores, metrics.SECONDS), pairs, over_noise)
    ranks = stats.rank_table(cells, scores[:2], over_noise)
    folder = output or store.root / "figures"
    try:
        files = [folder / "compare.csv", folder / "ranks.csv"]
        write_atomically(files[0], table.to_csv(index=False))
        write_atomically(files[1], ranks.to_csv(index=False))
        files += plots_curves.ranks(ranks, folder / "ranks") if len(ranks) else []
    except OSError as error:
        raise SetupError(
            f"Cannot write to {folder}: {error.strerror}.",
            "Name a folder you may write with --output.",
        ) from error
    if json_output:
        rows = {"comparisons": table, "ranks": ranks}
        answer = {name: json.loads(part.to_json(orient="records")) for name, part in rows.items()}
        typer.echo(json.dumps({**answer, "files": [str(path) for path in files]}, indent=1))
    else:
        console.print_table(_table(table))
        for text in _notes(table, over_noise):
            console.note(text)
    for path in files:
        console.note(f"written: {path}")


def _pairs(
    cells: pd.DataFrame, method: str | None, against: list[str]
) -> list[tuple[str, str]] | None:
    from lee_bench.errors import UsageError, unknown

    labels = list(dict.fromkeys(cells["label"]))
    if len(labels) == 1:
        raise UsageError(
            f"There is one method only, {labels[0]}: nothing to compare it with.",
            "Measure another one, e.g. `lee-bench run --method operon`.",
        )

    def of(name: str) -> list[str]:
        found = list(dict.fromkeys(cells.loc[cells["method"] == name, "label"]))
        if not found and name not in labels:
            raise unknown("measured method", name, labels)
        return found or [name]

    if method is None and not against:
        return None
    ones = of(method) if method else labels
    others = [label for name in against for label in of(name)] or labels
    pairs = {}  # a pair and its mirror image would be two tests of one question
    for one, other in itertools.product(ones, others):
        if one != other:
            pairs.setdefault(frozenset((one, other)), (one, other))
    if not pairs:
        raise UsageError(
            f"{ones[0]} cannot be compared with itself.", f"Measured: {', '.join(labels)}."
        )
    return list(pairs.values())


def _apart(cells: pd.DataFrame, pairs: list[tuple[str, str]] | None) -> list[str]:
    """Which of the pairs have nothing in common, as a sentence."""
    places = {
        label: set(zip(own["suite"], own["task"], own["noise"], own["seed"], strict=True))
        for label, own in cells.groupby("label")
    }
    apart = [
        f"{one} and {other}"
        for one, other in (itertools.combinations(places, 2) if pairs is None else pairs)
        if places[one].isdisjoint(places[other])
    ]
    if not apart:
        return []
    listed = "; ".join(apart[:3]) + (f"; and {len(apart) - 3} more pairs" if apart[3:] else "")
    return [f"No cell in common, so nothing to compare: {listed}."]


def _table(table: pd.DataFrame) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.evidence.metrics import LABELS
    from lee_bench.evidence.words import number, p_text, panel_name

    view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    view.add_column("method against another", overflow="fold")
    view.add_column("score", no_wrap=True)
    for name in ("tasks", "win/tie/loss", "difference", "effect", "p"):
        view.add_column(name, justify="right", no_wrap=True)
    paired = table[table["tasks"] > 0]
    in_order = paired.sort_values(["suite", "noise", "method", "against"], kind="stable")
    for (suite, noise), panel in in_order.groupby(["suite", "noise"], sort=False):
        if view.row_count:
            view.add_row()
        view.add_row(f"[bold]{escape(panel_name(suite, noise))}[/]")
        last = None
        for row in panel.itertuples():
            pair = f"{row.method} against {row.against}"
            view.add_row(
                "" if pair == last else escape(pair),
                LABELS[row.metric],
                str(row.tasks),
                f"{row.wins}/{row.ties}/{row.losses}",
                f"{number(row.difference, '.3g')} "
                f"[dim]{number(row.low, '.3g')}..{number(row.high, '.3g')}[/]",
                number(row.effect, "+.2f"),
                p_text(row.p_holm),
                style="bold" if row.p_holm < 0.05 else None,
            )
            last = pair
    return view


def _notes(table: pd.DataFrame, over_noise: bool) -> list[str]:
    notes = [
        (
            "Paired by task, noise level and seed, one number a task "
            f"{'in each suite' if over_noise else 'and noise level'}; a failed cell is worse than "
            "every other. "
            "difference: first minus second, the median over tasks (of the shares R² > 0.999 and "
            "symbolic solution: the mean), with its 95 % bootstrap interval."
        ),
        (
            "effect: matched-pairs rank-biserial correlation, +1 if better on every task, -1 if "
            "worse. p: Wilcoxon's signed-rank test, Holm-corrected over all rows of the same "
            "score; below .05 in bold. R² within 0.001 and times within 0.1 s tie."
        ),
    ]
    unpaired = table.loc[table["unpaired"] > 0]
    if len(unpaired):
        most = unpaired.loc[unpaired["unpaired"].idxmax()]
        notes.append(
            f"Cells without a partner are left out: up to {most['unpaired']}, "
            f"{most['method']} against {most['against']} in {most['suite']}."
        )
    return notes
