"""`lee-bench baseline` and `lee-bench check`, as a CI job types them."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

TASKS = [
    f"strogatz_{name}{i}"
    for name in ("bacres", "barmag", "glider", "lv", "predprey", "shearflow", "vdp")
    for i in (1, 2)
]


@pytest.fixture
def grid(made, tmp_path):
    """Write results of two methods on fourteen tasks; says what operon found."""

    def write(name: str, found: str = "", **of) -> None:
        records = []
        for task in TASKS:
            records.append(made.ok(found or made.truth_of(task), task=task, method="operon", **of))
            records.append(made.ok("x", task=task, method="linear", **of))
        made.store(tmp_path / name, *records)

    return write


@pytest.fixture
def baseline(grid, typed):
    grid("results/ci")
    done = typed("baseline", "results/ci", "-o", "ci.json", "--exact", "linear")
    assert done.returncode == 0, done.stderr
    assert "Written: ci.json, 28 cells, linear held to equality." in done.stdout
    return "ci.json"


def test_the_same_results_pass(typed, baseline, tmp_path):
    done = typed("check", "results/ci", "--baseline", baseline)
    assert done.returncode == 0, done.stderr
    assert "passed: 2 same" in done.stderr


def test_a_regression_fails_and_every_format_says_so(lee_bench, grid, baseline, tmp_path):
    grid("now", found="20 - x")
    done = lee_bench("check", "now", "--baseline", baseline, "--junit", "out/junit.xml",
                     "--markdown", "out/comment.md")  # fmt: skip
    assert done.returncode == 1
    assert "failed: 1 worse, 1 same" in done.stderr
    assert "Traceback" not in done.stderr
    assert "solved" in done.stdout
    assert "most on strogatz_" in done.stdout
    suites = ElementTree.parse(tmp_path / "out/junit.xml").getroot()
    (suite,) = suites
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    (failure,) = suites.iter("failure")
    assert failure.get("message") == "worse"
    comment = (tmp_path / "out/comment.md").read_text()
    assert "check failed: 1 worse, 1 same" in comment
    rows = [row for row in comment.splitlines() if row.startswith("| strogatz")]
    assert all(row.count("|") - row.count("\\|") == 10 for row in rows)


def test_json_says_the_same(typed, grid, baseline):
    grid("now", found="20 - x")
    done = typed("check", "now", "--baseline", baseline, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["passed"] is False
    operon = next(group for group in answer["groups"] if group["method"] == "operon")
    assert operon["verdict"] == "worse"
    solved = next(line for line in operon["lines"] if line["score"] == "solved")
    assert (solved["before"], solved["now"], solved["change"]) == (1.0, 0.0, -1.0)


def test_another_time_limit_is_refused(typed, grid, baseline):
    grid("now", seconds=60.0)
    done = typed("check", "now", "--baseline", baseline)
    assert done.returncode == 1
    assert "time limit was 10.0, is 60.0" in done.stdout
    assert "2 not comparable" in done.stderr


def test_all_cells_of_a_method_are_judged_together_too(typed, grid, tmp_path):
    for noise in (0.0, 0.01):
        grid("before", noise=noise)
        grid("now", found="20 - x", noise=noise)
    typed("baseline", "before", "-o", "ci.json", "--exact", "linear")
    done = typed("check", "now", "--baseline", "ci.json", "--junit", "junit.xml",
                 "--markdown", "comment.md", "--json")  # fmt: skip
    assert done.returncode == 1
    groups = json.loads(done.stdout)["groups"]
    everywhere = [(g["method"], g["noise"], g["fails"]) for g in groups if g["suite"] == "all"]
    assert everywhere == [("operon", None, True)]
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == [
        "strogatz, noise 0", "strogatz, noise 0.01", "all",
    ]  # fmt: skip
    assert "| all | `operon` | solved |" in (tmp_path / "comment.md").read_text()


def test_times_of_a_shared_machine_are_left_out_on_demand(typed, grid, baseline):
    grid("now", search=9.0)
    assert typed("check", "now", "--baseline", baseline).returncode == 1
    assert typed("check", "now", "--baseline", baseline, "--no-times").returncode == 0


def test_renewing_shows_what_changed_and_keeps_equality(typed, grid, baseline, tmp_path):
    grid("now", found="20 - x")
    done = typed("baseline", "now", "--output", baseline)
    assert done.returncode == 0, done.stderr
    assert "worse" in done.stdout
    assert "Renewed: ci.json, 28 cells, linear held to equality." in done.stdout
    assert typed("check", "now", "--baseline", baseline).returncode == 0
    back = typed("check", "results/ci", "--baseline", baseline)  # solved again, but larger
    assert back.returncode == 1
    assert "a trade; if it is meant, renew the baseline" in back.stdout


def test_mistakes_are_answered_in_words(typed, made, grid, baseline, tmp_path):
    (tmp_path / "empty").mkdir()
    made.store(tmp_path / "failed", made.failed())
    for arguments, code, words in (
        (("check", "empty", "--baseline", baseline), 1, "No readable record"),
        (("check", "nowhere", "--baseline", baseline), 2, "There is no folder"),
        (("check", "results/ci", "--baseline", "none.json"), 1, "Cannot read the baseline"),
        (("baseline", "empty", "-o", "b.json"), 1, "No readable record"),
        (("baseline", "failed", "-o", "b.json"), 1, "no cell has a grade"),
        (("baseline", "results/ci", "-o", "b.json", "--exact", "opern"), 2, "operon"),
        (("baseline", "results/ci", "-o", "/proc/b.json"), 1, "Cannot write"),
        (("check", "failed", "--baseline", baseline), 1, "2 not comparable"),
    ):
        done = typed(*arguments)
        assert done.returncode == code, arguments
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_one_cell_alone_can_be_held_to_equality_only(typed, made, tmp_path):
    made.store(tmp_path / "one", made.ok())
    made.store(tmp_path / "other", made.ok("20 - x"))
    for exact, code in (((), 0), (("--exact", "operon"), 1)):
        typed("baseline", "one", "-o", "one.json", *exact)
        assert typed("check", "other", "--baseline", "one.json").returncode == code
