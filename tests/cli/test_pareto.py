"""`lee-bench pareto`, `grade` and `show`, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace

import pytest
from rich.console import Console

from lee_bench.cli import console, graded
from lee_bench.evidence import aggregate
from lee_bench.evidence.grade import Cell
from lee_bench.runs.record import Status


@pytest.fixture
def results(three_methods):
    return three_methods(Status.UNAVAILABLE)


def no_traceback(done) -> None:
    assert "Traceback" not in done.stderr + done.stdout


def test_the_users_own_line(lee_bench, results):
    done = lee_bench("pareto", "results/")
    assert done.returncode == 0, done.stderr
    figures = results / "figures"
    assert (figures / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (figures / "pareto.svg").read_text()
    for name in ("pareto.png", "pareto.svg", "pareto.csv", "time.png", "solved.svg", "noise.png"):
        assert f"results/figures/{name}" in done.stderr
    with (figures / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    (operon,) = (r for r in rows if r["label"] == "operon" and r["noise"] == "0.1")
    assert float(operon["r2_test"]) == 1.0
    assert (operon["complexity"], operon["rank"]) == ("18.0", "1.0")
    assert len(list((results / "grades").rglob("*.json"))) == 4
    assert "strogatz, noise 0.1" in done.stdout
    assert "● operon" in done.stdout
    assert re.search(r"^  true formulas +18 *$", done.stdout, re.MULTILINE)
    assert "2 cells failed (pysr 2)" in done.stderr


@pytest.mark.parametrize(("width", "shown"), [(100, False), (118, True)])
def test_the_notes_are_true_of_the_table(made, monkeypatch, width, shown):
    records = [made.ok(task=task) for task in (made.task, "strogatz_lv1")]
    table = aggregate.summary(aggregate.cells(Cell(record, None) for record in records))
    table[["seconds", "seconds_low", "seconds_high"]] = 2.0, 1.0, 3.0
    screen = Console(width=width, force_terminal=True, file=io.StringIO())
    monkeypatch.setattr(console, "out", screen)
    console.print_table(graded.summary_table(table))
    said = " ".join(graded.summary_notes(table))
    assert ("1.0..3.0" in screen.file.getvalue()) is shown
    assert ("Beside a number stands its 95 %" in said) is shown
    assert ("A terminal of 118 columns shows" in said) is not shown
    assert "at least as good in R² and in size and better in one of them" in said


def test_json_says_the_same_as_the_table(typed, results, tmp_path):
    done = typed("pareto", "results", "--json", "--output", "elsewhere")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [row["label"] for row in answer["rows"]] == 2 * ["linear", "operon", "pysr"]
    assert answer["rows"][2]["r2_test"] is None
    assert all((tmp_path / path).is_file() for path in answer["files"])
    assert not (results / "figures").exists()


def test_the_runs_folder_inside_will_do(typed, results):
    assert typed("pareto", "results/runs").returncode == 0
    assert (results / "figures" / "pareto.png").exists()


def test_a_folder_that_is_not_there_is_wrong_usage(typed):
    for command in ("pareto", "grade"):
        done = typed(command, "nowhere")
        assert done.returncode == 2
        assert "There is no folder nowhere" in done.stderr
        no_traceback(done)


def test_an_empty_folder_is_said(typed, tmp_path):
    (tmp_path / "results").mkdir()
    for command in (("pareto", "results"), ("grade", "results"), ("show", "lv1")):
        done = typed(*command)
        assert done.returncode == 1, command
        assert "No readable record" in done.stderr
        assert "lee-bench run" in done.stderr
        no_traceback(done)


def test_if_all_failed_the_table_says_so_and_nothing_is_drawn(typed, made, tmp_path):
    made.store(tmp_path / "results", made.failed(), made.failed(Status.CRASH, seed=860))
    done = typed("pareto", "results")
    assert done.returncode == 1
    assert "no cell has a grade" in done.stderr
    assert "operon" in done.stdout
    assert [path.name for path in (tmp_path / "results/figures").iterdir()] == ["pareto.csv"]
    no_traceback(done)


def test_cells_that_not_all_methods_have_are_said(typed, made, tmp_path):
    made.store(tmp_path / "r", made.ok(), made.ok(method="linear"), made.ok(task="strogatz_lv1"))
    done = typed("pareto", "r")
    assert "Not all methods were measured on all cells of strogatz" in done.stderr
    assert "Missing of 2: linear 1" in done.stderr


def test_one_method_alone_is_a_front(typed, made, tmp_path):
    made.store(tmp_path / "results", made.ok())
    done = typed("pareto", "results")
    assert done.returncode == 0
    assert "● operon" in done.stdout


def test_unreadable_records_cost_themselves_only(typed, made, results):
    for seed, text in ((1, "{"), (2, '{"version": 99}'), (3, "")):
        path = results / "runs" / made.ok(seed=seed).key.path
        path.write_text(text)
    done = typed("pareto", "results")
    assert done.returncode == 0
    assert "damaged" in done.stderr
    assert "newer lee-bench" in done.stderr
    assert "operon" in done.stdout
    no_traceback(done)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_one_sentence(typed, results):
    typed("grade", "results")
    results.chmod(0o500)
    done = typed("pareto", "results")
    results.chmod(0o700)
    assert done.returncode == 1
    assert "Cannot write" in done.stderr
    no_traceback(done)


def test_a_file_in_place_of_the_output_folder_is_one_sentence(typed, results):
    (results / "figures").write_text("in the way")
    done = typed("pareto", "results")
    assert done.returncode == 1
    assert "Cannot write" in done.stderr
    no_traceback(done)


def test_grading_again_keeps_grades_unless_forced(typed, results):
    first = typed("grade", "results")
    assert first.returncode == 0
    assert "4 of 6 cells graded; 2 failed and have no formula." in first.stdout
    paths = sorted((results / "grades").rglob("*.json"))
    written = [path.stat().st_mtime_ns for path in paths]
    assert typed("grade", "results").returncode == 0
    assert [path.stat().st_mtime_ns for path in paths] == written
    assert typed("grade", "results", "--force").returncode == 0
    assert all(p.stat().st_mtime_ns > t for p, t in zip(paths, written, strict=True))


def test_show_prints_one_cell_in_full(typed, made, results):
    done = typed("show", "bacres1", "--method", "operon", "--noise", "0")
    assert done.returncode == 0, done.stderr
    for fact in (
        made.truth,
        "test R²",
        "15 nodes as written; the true formula has 18",
        "symbolic solution",
        "yes",
        "candidates (1)",
        "provenance",
        "sha256",
        "300 train, 100 test",
    ):
        assert fact in done.stdout


def test_show_says_why_a_cell_failed(typed, results):
    done = typed("show", "strogatz_bacres1", "--method", "pysr", "--noise", "0.1")
    assert done.returncode == 0
    assert "unavailable" in done.stdout
    assert "it was too slow" in done.stdout


def test_show_reads_losses_that_are_no_numbers(typed, made, tmp_path):
    odd = ({"formula": "x", "loss": "0.5", "complexity": [3]}, {"loss": "[/]"})
    made.store(tmp_path / "results", replace(made.ok("x"), candidates=odd))
    done = typed("show", "bacres1")
    assert done.returncode == 0, done.stderr
    assert "loss 0.5, complexity [3]" in done.stdout


def test_show_lists_cells_where_several_match(typed, results):
    done = typed("show", "bacres1")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 7
    assert "6 cells of strogatz_bacres1 match" in done.stderr


def test_show_takes_the_path_of_a_record(typed, results):
    path = next((results / "runs").rglob("operon/*.json"))
    done = typed("show", path)
    assert done.returncode == 0
    assert "found formula" in done.stdout
    as_json = typed("show", path, "--json")
    (cell,) = json.loads(as_json.stdout)
    assert cell["grade"]["symbolic_solution"] is True
    assert cell["record"]["key"]["method"] == "operon"


def test_show_of_a_copy_elsewhere_keeps_no_grade(typed, made, results, tmp_path):
    typed("grade", "results")
    own = {path: path.read_bytes() for path in (results / "grades").rglob("*.json")}
    place = tmp_path / "runs" / "x.json"  # a folder called so need not be one of ours
    place.parent.mkdir()
    place.write_text(made.ok("x").to_json())  # another answer of a cell that is in results
    before = sorted(tmp_path.rglob("*"))
    for where in ((), ("--results", "nowhere")):
        done = typed("show", place, *where)
        assert done.returncode == 0, done.stderr
        assert "1 nodes as written" in done.stdout
        assert str(place) in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    assert all(path.read_bytes() == content for path, content in own.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bacres",), "Did you mean"),
        (("bacres2",), "No cell with task strogatz_bacres2"),
        (("bacres1", "--method", "lee"), "There are: linear, operon, pysr"),
        (("bacres1", "--noise", "0.5"), "There are: 0.0, 0.1"),
        (("bacres1", "--seed", "5"), "There are: 23654"),
    ],
)
def test_show_offers_what_there_is(typed, results, arguments, words):
    done = typed("show", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    no_traceback(done)


def test_show_of_a_damaged_record_says_so(typed, results):
    path = next((results / "runs").rglob("operon/*.json"))
    path.write_text("{")
    done = typed("show", path)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    no_traceback(done)


def test_one_problem_with_all_candidates(typed, results):
    done = typed("pareto", "results", "--task", "bacres1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 4
    best = {row["label"] for row in rows if row["rank"] == 1 and row["noise"] == 0.1}
    assert best == {"operon", "linear"}
    assert {row["complexity_raw"] for row in rows} == {3, 15}
    done = typed("pareto", "results", "--task", "bacres1")
    assert "● 20 - x" in done.stdout
    for end in ("png", "svg", "csv"):
        assert (results / "figures" / f"strogatz_bacres1.{end}").stat().st_size


def test_one_problem_that_is_not_there_or_has_no_formula_is_said(typed, made, tmp_path, results):
    done = typed("pareto", "results", "--task", "bacres")
    assert done.returncode == 2
    assert "Did you mean" in done.stderr
    made.store(tmp_path / "failed", made.failed())
    done = typed("pareto", "failed", "--task", "bacres1")
    assert done.returncode == 1
    assert "No method has a formula for strogatz_bacres1" in done.stderr


def test_published_results_come_with_their_differences(typed, results):
    done = typed("pareto", "results", "--against", "published")
    assert done.returncode == 0, done.stderr
    assert "○ TPSR λ=0.1" in done.stdout
    assert "not measured here" in done.stderr
    assert typed("pareto", "results", "--against", "papers").returncode == 2
