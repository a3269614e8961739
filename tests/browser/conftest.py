from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from lee_bench.evidence.grade import Cell, Grade
from lee_bench.evidence.report import content, render
from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.tasks.catalog import tasks
from lee_bench.tasks.protocol import PROTOCOL_VERSION

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless browser without a network."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no Chromium or no chromedriver here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(driver, log_output=os.devnull)
    opened = webdriver.Chrome(options=options, service=service)
    opened.execute_cdp_cmd("Network.enable", {})
    opened.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield opened
    opened.quit()


def cells(count: int, seeds: int = 3, most: int | None = None) -> list[Cell]:
    """Graded cells of ground-truth tasks at four noise levels, with long formulas.

    Every fiftieth failed. No two formulas are alike, so that nothing can be made once for many.
    """
    random = np.random.default_rng(0)
    infos = [info for suite in ("strogatz", "feynman") for info in tasks(suite)][:most]
    made = []
    for number in range(count):
        info = infos[number % len(infos)]
        rest, noise = divmod(number // len(infos), 4)
        method, seed = divmod(rest, seeds)
        key = RunKey(info.suite, info.name, "builtin", f"method{method}", "",
                     (0.0, 0.001, 0.01, 0.1)[noise], seed, 10.0, 1, PROTOCOL_VERSION)  # fmt: skip
        x, y = (*info.features, *info.features)[:2]
        a, b, c, d, e = random.normal(size=5)
        formula = f"{a} + {b}*exp(cos({c}/({d}*{x}/({e}*{y}))/(0.6257980465888977*{x})))"
        record = RunRecord(
            key,
            Status.OK,
            formula=formula,
            candidates=tuple({"formula": formula, "loss": 0.1, "complexity": 9} for _ in range(8)),
            chosen=7,
            seconds={"search": float(random.uniform(1, 10)), "cell": 11.0},
            data={"sha256": "0" * 64, "source": "made up", "n_train": 300, "n_test": 100},
            versions={"lee-bench": "0.1.0", "python": "3.11.0"},
        )
        score = float(random.uniform(0.5, 1.0))
        grade = Grade("", score, score, 0.1, number % 97, 20, "", "", number % 3 == 0, "", False)
        if number % 50 == 0:
            record = RunRecord(key, Status.TIMEOUT, reason="was ended", data=record.data)
            grade = None
        made.append(Cell(record, grade))
    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> str:
    """Address of a page of 160 cells: 20 problems, two methods."""
    path = tmp_path_factory.mktemp("small") / "report.html"
    path.write_text(render.page(content.gather(cells(160, seeds=1, most=20), "results")))
    return path.as_uri()


@pytest.fixture(scope="session")
def large(tmp_path_factory) -> str:
    """Address of a page of 10,000 cells."""
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_text(render.page(content.gather(cells(10_000), "results")))
    return path.as_uri()
