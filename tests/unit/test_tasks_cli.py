"""`lee-bench tasks`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9022\n"


@pytest.fixture
def lee_bench(tmp_path):
    """Run the real command with an empty cache, away from a terminal."""
    environment = {
        **os.environ,
        "LEE_BENCH_PMLB_CACHE": str(tmp_path / "cache"),
        "LEE_BENCH_PMLB_URL": "http://127.0.0.1:9",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from lee_bench.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "tasks", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )

    return run


def test_the_overview_names_every_suite_with_size_truth_and_state(lee_bench):
    done = lee_bench()
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["feynman"][1:] == ["119", "100,000", "1", "-", "9", "known", "generated"]
    assert rows["strogatz"][1:] == ["14", "400", "2", "known", "generated"]
    assert rows["blackbox"][1] == "122"
    assert "121 to download" in done.stdout
    assert rows["blackbox57"][1] == "57"
    assert "3 known" in " ".join(rows["sklearn"])


def test_a_suite_is_listed_with_one_line_a_task(lee_bench):
    done = lee_bench("--suite", "feynman")
    lines = [line for line in done.stdout.splitlines() if line.strip().startswith("feynman_")]
    assert len(lines) == 119
    assert "f = exp(-(theta/sigma)**2/2)/(sqrt(2*pi)*sigma)" in lines[0]


def test_json_has_all_that_is_known(lee_bench):
    tasks = json.loads(lee_bench("--suite", "blackbox57", "--suite", "sklearn", "--json").stdout)
    assert len(tasks) == 63
    vineyard = next(task for task in tasks if task["name"] == "192_vineyard")
    assert vineyard["n_rows"] == 52
    assert vineyard["features"] == ["lugs_1989", "lugs_1990"]
    assert vineyard["data"] == "to download"
    assert vineyard["truth"] is None


def test_a_bad_file_is_named_with_what_to_do(lee_bench, tmp_path):
    folder = tmp_path / "[my cache]" / "strogatz_lv1"
    folder.mkdir(parents=True)
    (folder / "strogatz_lv1.tsv.gz").write_text(POINTER)
    done = lee_bench("--suite", "strogatz", "--pmlb-cache", str(folder.parent))
    assert done.returncode == 0
    assert "bad file" in done.stdout
    said = done.stderr.replace("\n", "")
    assert "strogatz_lv1.tsv.gz is a Git LFS pointer" in said.replace(" ", " ")
    assert "git lfs pull" in said
    assert "[my cache]" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "feyman"], "No suite is called 'feyman'.*Did you mean feynman"),
        (["--pmlb-cache", __file__], "is not a folder"),
        (["--data", "web"], "web"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(lee_bench, arguments, said):
    import re

    done = lee_bench(*arguments)
    assert done.returncode == 2
    assert re.search(said, done.stderr, re.DOTALL)
    assert "Traceback" not in done.stderr
