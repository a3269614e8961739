"""`lee-bench show`: one cell in full."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options

if TYPE_CHECKING:
    from lee_bench.evidence.grade import Cell
    from lee_bench.runs.record import RunRecord
    from lee_bench.runs.store import Store
    from lee_bench.tasks.sources import DataSource


def show(
    what: Annotated[
        str, typer.Argument(help="Name of a task, or path of a record.", metavar="TASK|RECORD")
    ],
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="Only this method.", show_default=False)
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Only this noise level.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.", show_default=False)] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", "-s", help="Only this suite.", show_default=False)
    ] = None,
    results: options.Results = Path("results"),
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    json_output: options.Json = False,
) -> None:
    """Show one cell in full: true formula, found formula, candidates, scores, provenance.

    Where several cells match, they are listed; say more to see one. Example:

    lee-bench show strogatz_bacres1 --method operon --noise 0
    """
    import json
    from dataclasses import asdict

    from lee_bench.cli import graded
    from lee_bench.tasks.sources import DataSource

    store, records = find_records(what, results, method, noise, seed, suite)
    source = DataSource(data.value, pmlb_cache)
    place = Path(what)
    if place.suffix == ".json":
        cells = [_aside(store, source, records[0])]
    else:
        place = store.runs / records[0].key.path
        cells = graded.grade(store, source, jobs=1, records=records)
    if json_output:
        shown = [{"record": asdict(c.record), "grade": c.grade and asdict(c.grade)} for c in cells]
        typer.echo(json.dumps(shown, indent=1))
    elif len(cells) == 1:
        _print_cell(cells[0], place)
    else:
        _print_list(cells)


def find_records(
    what: str,
    results: Path,
    method: str | None = None,
    noise: float | None = None,
    seed: int | None = None,
    suite: str | None = None,
) -> tuple[Store, list[RunRecord]]:
    """The records of a task, or one by its path; at least one.

    Raises:
        UsageError: there is no such folder or task, or nothing matches.
        SetupError: there is no readable record.
    """
    from lee_bench.cli import graded
    from lee_bench.errors import UsageError
    from lee_bench.runs.store import Store
    from lee_bench.tasks.catalog import find

    path = Path(what)
    if path.suffix == ".json":
        folders = [parent for parent in path.resolve().parents if parent.name == "runs"]
        root = folders[0].parent if folders else results
        return Store(root), [Store(root).read_path(path)]
    store = graded.open_store(results)
    records, problems = store.records()
    graded.say(problems)
    if not records:
        raise graded.nothing_there(store)
    if what not in {record.key.task for record in records}:
        what = find(what, suite).name
    wanted = {"task": what, "method": method, "noise": noise, "seed": seed, "suite": suite}
    for field, value in wanted.items():
        if value is None:
            continue
        left = [record for record in records if getattr(record.key, field) == value]
        if not left:
            there = sorted({getattr(record.key, field) for record in records})
            listed = ", ".join(map(str, there[:12])) + (", ..." if len(there) > 12 else "")
            of = "" if field == "task" else f" of {what}"
            raise UsageError(
                f"No cell{of} with {field} {value} in {store.root}.", f"There are: {listed}."
            )
        records = left
    return store, records


def _aside(store: Store, source: DataSource, record: RunRecord) -> Cell:
    """The cell of a record that was named by its path; its grade is not kept.

    The file may be a copy, or another's, and lie where nothing may be written: a grade kept could
    take the place of that of another record of the same cell.
    """
    from lee_bench.cli import graded
    from lee_bench.evidence.grade import Cell, read_grade
    from lee_bench.runs.store import Store

    known = read_grade(store, record)
    if known:
        return Cell(record, known)
    with tempfile.TemporaryDirectory() as folder:
        return graded.grade(Store(Path(folder)), source, jobs=1, records=[record])[0]


def _print_list(cells: list[Cell]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.cli import console
    from lee_bench.evidence.words import r2_text
    from lee_bench.runs.record import method_words

    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in ("suite", "method", "noise", "seed", "limit", "status", "R²", "size"):
        right = name in ("noise", "seed", "limit", "R²", "size")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("formula, or why it failed", overflow="ellipsis", no_wrap=True)
    for cell in cells:
        key, record, grade = cell.record.key, cell.record, cell.grade
        style = console.STATUS_STYLE[record.status.value]
        r2 = grade.r2_test if grade and grade.r2_test is not None else float("nan")
        table.add_row(
            key.suite,
            escape(method_words(key.method, key.settings)),
            f"{key.noise:g}",
            str(key.seed),
            f"{key.seconds:g} s",
            f"[{style}]{record.status.value}[/]",
            r2_text(r2),
            str(grade.complexity) if grade else "-",
            escape(record.formula or record.reason),
        )
    console.print_table(table)
    console.note(
        f"{len(cells)} cells of {cells[0].record.key.task} match; --method, --noise, --seed, "
        "--suite or the path of a record choose one."
    )


def _print_cell(cell: Cell, place: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    from lee_bench.cli import console
    from lee_bench.runs.record import settings_words
    from lee_bench.tasks.catalog import of_record

    key, record = cell.record.key, cell.record
    style = console.STATUS_STYLE[record.status.value]
    console.out.print(f"[bold]{escape(str(key))}[/]  [{style}]{record.status.value}[/]")

    view = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    view.add_column(style="dim", no_wrap=True)
    view.add_column(overflow="fold")

    def line(name: str, text: object) -> None:
        if text not in (None, ""):
            view.add_row(name, escape(str(text)))

    def title(text: str) -> None:
        view.add_row()
        view.add_row(f"[bold not dim]{text}[/]", "")

    known = of_record(key.task, key.suite)
    line("true formula", (known.truth or "not known") if known else "not known to this version")
    line("found formula", record.formula or "none")
    if cell.grade:
        line("simplified", cell.grade.simplified)
    if record.reason:
        line("why it failed", record.reason)
    line("stopped because", record.stop_reason)

    if cell.grade:
        title("scores")
        for name, text in _scores(cell, known and known.complexity):
            line(name, text)
    if record.candidates:
        title(f"candidates ({len(record.candidates)})")
        for number, candidate in enumerate(record.candidates):
            facts = [
                f"{name} {value:.6g}" if isinstance(value, int | float) else f"{name} {value}"
                for name in ("loss", "complexity")
                if (value := candidate.get(name)) is not None
            ]
            mark = "●" if number == record.chosen else " "
            line(escape(f"{mark} {', '.join(facts)}"), candidate.get("formula"))
    title("provenance")
    line("record", place)
    line("suite", key.suite)
    line("data", record.data.get("source"))
    line("data sha256", record.data.get("sha256"))
    line("rows", f"{record.data.get('n_train', '?')} train, {record.data.get('n_test', '?')} test")
    line("settings", settings_words(key.settings) or "defaults")
    line("limits", f"{key.seconds:g} s of search, {key.threads} thread(s)")
    line("seconds", ", ".join(f"{k} {v:.2f}" for k, v in record.seconds.items()))
    if record.peak_memory_mb is not None:
        line("peak memory", f"{record.peak_memory_mb:.0f} MiB")
    line("protocol", key.protocol)
    line("versions", ", ".join(f"{k} {v}" for k, v in record.versions.items()))
    line("machine", ", ".join(f"{k} {v}" for k, v in record.machine.items()))
    line("details", ", ".join(f"{k} {v}" for k, v in record.details.items()))
    line("started", record.started)
    console.print_table(view)
    if record.stderr:
        console.out.print("\n[bold]end of stderr[/]")
        console.out.print(record.stderr, markup=False)


def _scores(cell: Cell, true_size: int | None) -> list[tuple[str, str]]:
    grade, record = cell.grade, cell.record
    undefined = "not finite: a miss"

    def number(value: float | None) -> str:
        return undefined if value is None else f"{value:.10g}"

    def verdict(value: bool | None, note: str) -> str:
        word = {True: "yes", False: "no", None: "no true formula to compare with"}[value]
        return f"{word} ({note})" if note else word

    raw = f"{grade.complexity_raw} nodes as written"
    true = f"the true formula has {true_size}" if true_size else ""
    gap = record.prediction_gap
    return [
        ("test R²", number(grade.r2_test)),
        ("training R²", number(grade.r2_train)),
        ("test RMSE", number(grade.rmse_test)),
        (
            "complexity",
            "; ".join(filter(None, [str(grade.complexity), raw, true, grade.complexity_note])),
        ),
        ("symbolic solution", verdict(grade.symbolic_solution, grade.symbolic_note)),
        ("R² > 0.999", "yes" if grade.accuracy_solution else "no"),
        (
            "own prediction",
            "" if gap is None else f"differs from the formula by at most {gap:.2g} of the RMS",
        ),
    ]
