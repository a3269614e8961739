"""Fixtures that several test folders use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.runs.store import Store
from lee_bench.tasks.catalog import find
from lee_bench.tasks.protocol import PROTOCOL_VERSION
from lee_bench.tasks.sources import DataSource

# A gate must not fail at random: `--hypothesis-profile=same` tries the same examples every time.
# Without it every run tries new ones.
settings.register_profile("same", derandomize=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real PMLB files and published facts, which the repository does not carry.

    It lies in ``shared/data`` beside the repository, or where LEE_BENCH_SHARED_DATA says.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LEE_BENCH_SHARED_DATA", beside))
    if not (folder / "pmlb").is_dir():
        pytest.skip(
            "real PMLB files are not here; set LEE_BENCH_SHARED_DATA to the folder that has them"
        )
    return folder


class Maker:
    """Records as the runner would have written them, with answers of our choice."""

    source = DataSource("builtin")
    task = "strogatz_bacres1"
    truth = "20 - x - x*y/(1+0.5*x**2)"

    def ok(self, formula: str = truth, **of) -> RunRecord:
        """The record of a cell that found this formula; see `_record` for what else can be set."""
        return self._record(formula, Status.OK, **of)

    def failed(self, status: Status = Status.TIMEOUT, **of) -> RunRecord:
        """The record of a cell that found nothing."""
        return self._record(None, status, **of)

    def truth_of(self, task: str) -> str:
        """The true formula of a task."""
        return find(task).truth

    def store(self, root: Path, *records: RunRecord) -> Store:
        """A results folder that holds these records."""
        store = Store(root)
        for record in records:
            store.write(record)
        return store

    def _record(
        self,
        formula: str | None,
        status: Status,
        *,
        suite: str = "strogatz",
        task: str = task,
        method: str = "operon",
        settings: str = "",
        noise: float = 0.0,
        seed: int = 23654,
        seconds: float = 10.0,
        search: float = 2.0,
        waited: float = 0.0,
    ) -> RunRecord:
        key = RunKey(
            suite, task, "builtin", method, settings, noise, seed, seconds, 1, PROTOCOL_VERSION
        )
        dataset = self.source.load(find(task, suite))
        return RunRecord(
            key=key,
            status=status,
            reason="" if formula else "it was too slow",
            formula=formula,
            candidates=({"formula": formula, "loss": 0.5, "complexity": 7.0},) if formula else (),
            chosen=0 if formula else None,
            seconds={
                "search": search,
                "cell": search + 1.0,
                "cpu": search - waited,
                "waited": waited,
            },
            data={
                "source": dataset.source,
                "sha256": dataset.sha256,
                "n_train": 300,
                "n_test": 100,
            },
        )


@pytest.fixture(scope="session")
def made() -> Maker:
    """Makes records."""
    return Maker()
