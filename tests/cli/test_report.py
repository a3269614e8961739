"""`lee-bench report`, as a user types it, and what its files hold."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lee_bench.evidence.grade import Cell
from lee_bench.evidence.report.content import gather
from lee_bench.runs.record import Status

EVIL = '</script><script>document.title="hit"</script><img src=x onerror=alert(1)>'


@pytest.fixture
def results(three_methods):
    return three_methods(Status.CRASH)


class Elements(HTMLParser):
    """Every tag with its attributes, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_says_all_and_loads_nothing(typed, made, results, tmp_path):
    done = typed("report", "results/", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    assert "Written: report.html, 6 cells." in done.stdout
    page = (tmp_path / "report.html").read_text()
    elements = Elements(page)
    tags = [tag for tag, _ in elements.tags]
    for name in ("style", "svg", "table", "math", "mfrac", "details"):
        assert name in tags
    text = " ".join(elements.text)
    sha256 = made.ok().data["sha256"]
    for fact in ("operon", "it was too slow", "crash", sha256, "--noise 0.1", "protocol"):
        assert fact in text
    assert re.search(r"failed, counted as misses\s+2\b", text)
    assert "at least as good in R² and in size and better in one of them" in text

    for tag, attributes in elements.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page
    assert tags.count("script") == 1

    typed("report", "results", "-o", "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_markdown_is_printed_and_its_tables_are_tables(typed, results):
    done = typed("report", "results", "--format", "md")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    scores = [row for row in rows if "front" in row or "strogatz, noise" in row]
    assert {row.count("|") for row in scores} == {11}
    assert "**2** failed, counted as misses" in done.stdout
    assert "operon 1 of 1 (100 %)" in done.stdout
    assert "lee-bench run --suite strogatz" in done.stdout


def test_shares_in_markdown_have_their_intervals(typed, made, tmp_path):
    names = ("bacres1", "bacres2", "barmag1", "lv1")
    tasks = [f"strogatz_{name}" for name in names]
    found = [made.truth_of(task) for task in tasks[:2]] + ["1", "1"]
    made.store(tmp_path / "r", *(made.ok(f, task=t) for f, t in zip(found, tasks, strict=True)))
    printed = typed("report", "r", "--format", "md").stdout
    (row,) = [line for line in printed.splitlines() if "strogatz, noise 0" in line and "|" in line]
    assert row.split(" | ")[7:9] == ["50% (0 to 100)"] * 2


def test_latex_is_balanced_and_compiles_where_there_is_a_latex(typed, made, tmp_path):
    made.store(
        tmp_path / "results",
        made.ok(),
        made.ok("x", method="my_method", settings='{"rate":"50%"}'),
        made.ok("y", method="my_method", settings='{"rate":"#1 ~^\\\\λ中"}'),
    )
    done = typed("report", "results", "--format", "latex", "-o", "-")
    assert done.returncode == 0, done.stderr
    tex = done.stdout
    for name in ("table", "tabular"):
        assert tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}") == 1
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]
    rows = [row for row in body.splitlines() if row.endswith(r"\\") and "multicolumn" not in row]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}
    assert r"my\_method" in tex
    assert r"50\%" in tex
    assert "[U+4E2D" in tex.replace("{[}", "[")
    assert not re.search(r"(?<!\\)[#%]", body)
    if not (latex := shutil.which("pdflatex")):
        pytest.skip("balanced, but not compiled: no pdflatex here")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
        f"\\begin{{document}}\n{tex}\\end{{document}}\n"
    )
    built = subprocess.run(
        [latex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace",
    )  # fmt: skip
    assert built.returncode == 0, built.stdout[-2000:]


def test_hostile_text_stays_text(typed, made, tmp_path):
    bad = made.failed(Status.CRASH, method="linear")
    object.__setattr__(bad, "reason", EVIL)
    good = made.ok(method="operon")
    object.__setattr__(good, "candidates", ({"formula": EVIL}, {"formula": None}))
    object.__setattr__(good, "stop_reason", EVIL)
    object.__setattr__(good, "versions", {"python": EVIL, "<b>": EVIL})
    object.__setattr__(good, "machine", {"processor": EVIL})
    odd = made.ok(method="<i>$\\frac$", settings=json.dumps({"a": "$x_{$"}))
    made.store(tmp_path / "results", good, bad, odd)
    done = typed("report", "results", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    elements = Elements((tmp_path / "report.html").read_text())
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert any(EVIL in text for text in elements.text)
    words = typed("report", "results", "--format", "md").stdout
    assert "<script" not in words
    assert "<img" not in words


@pytest.mark.parametrize("folder", ["results", "it's here"])
def test_the_commands_measure_exactly_these_cells(typed, made, tmp_path, folder):
    cells = [
        *(made.ok(method=m, noise=n) for m in ("operon", "linear") for n in (0.0, 0.1)),
        *(made.ok(task="strogatz_lv1", noise=0.0, seed=seed) for seed in (23654, 5390)),
        made.ok(seconds=60.0, method="gplearn", settings='{"population_size":50}'),
        made.ok(noise=1 / 30, seconds=10 / 3),
    ]
    made.store(tmp_path / folder, *cells)
    printed = typed("report", folder, "--format", "md").stdout
    assert "--noise 0.1 " in printed
    assert "--time-limit 60 " in printed
    lines = [line.strip() for line in printed.splitlines() if "lee-bench run" in line]
    planned = []
    for line in lines:
        _, *arguments = shlex.split(line)
        done = typed(*arguments, "--dry-run", "--json")
        assert done.returncode == 0, (line, done.stderr)
        planned += json.loads(done.stdout)["cells"]
    assert sorted(cell["path"] for cell in planned) == sorted(str(r.key.path) for r in cells)
    assert not any(cell["to_do"] for cell in planned)  # they find the folder


def test_bad_input_is_answered_in_words(typed, made, results, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, code, words in (
        (("nowhere",), 2, "There is no folder nowhere"),
        (("empty",), 1, "No readable record"),
        (("results", "-o", "/proc/report.html"), 1, "Cannot write /proc/report.html"),
        (("results", "-o", "results"), 2, "is a folder"),
        (("results", "--format", "pdf"), 2, "latex"),
    ):
        done = typed("report", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert words in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format", ["html", "md", "latex"])
def test_little_or_mixed_evidence_is_said(typed, made, tmp_path, format):
    made.store(tmp_path / "one", made.ok())
    made.store(tmp_path / "failed", made.failed(), made.failed(method="linear"))
    made.store(tmp_path / "mixed", made.ok(), made.ok("x", method="linear", seconds=60.0))
    for folder, sentences in (
        ("one", ("one method only", "one cell only")),
        ("failed", ("Every cell failed",)),
        ("mixed", ("different time limits (10.0; 60.0 s)",)),
    ):
        done = typed("report", folder, "--format", format, "-o", "-")
        assert done.returncode == 0, done.stderr
        for sentence in sentences:
            assert sentence in done.stderr
            if format != "latex":
                assert sentence in done.stdout


@pytest.mark.parametrize("format", ["html", "md", "latex"])
def test_a_problem_without_a_true_formula_stands_beside_one_that_has(typed, made, tmp_path, format):
    diabetes = made.ok("age", suite="sklearn", task="diabetes")
    made.store(tmp_path / "r", made.ok(), diabetes, made.failed(method="linear"))
    done = typed("report", "r", "--format", format, "-o", "-")
    assert done.returncode == 0, done.stderr
    assert "sklearn" in done.stdout
    if format == "html":
        assert "true formula not known" in done.stdout
        assert "0 of 1 above .999" in done.stdout


def test_what_is_not_graded_is_not_called_a_failure(typed, made, tmp_path):
    other = {**made.ok().data, "sha256": "of other data"}
    lost = replace(made.ok(seed=15795), data=other)
    made.store(tmp_path / "r", made.ok(), lost, replace(made.ok(method="linear"), data=other))
    page = typed("report", "r", "-o", "-").stdout
    text = " ".join(" ".join(Elements(page).text).split())
    assert "◐ 1, 1 of 2 not graded" in text
    assert "1 of 3 solved, 2 not graded" in text
    assert "but cells that are not graded are left out of all" in text
    assert re.search("failed, counted as misses 0\\b", text)
    assert "of 2 failed" not in text


def test_cells_that_not_all_methods_have_are_said(typed, made, tmp_path):
    made.store(tmp_path / "r", made.ok(), made.ok(method="linear"), made.ok(task="strogatz_lv1"))
    done = typed("report", "r", "--format", "md")
    assert "Missing of 2: linear 1" in done.stderr


def test_where_data_come_from_is_said_suite_by_suite(made):
    feynman = made.ok(suite="feynman", task="feynman_I_6_2")
    real = replace(made.ok(), key=replace(made.ok().key, data="pmlb"))

    def said(*records) -> str:
        return gather([Cell(record, None) for record in records], "r").facts_by_name["data"]

    assert said(feynman, made.ok()) == "builtin"
    assert said(feynman, real) == "builtin (feynman), pmlb (strogatz)"
