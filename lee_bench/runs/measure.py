"""From a `RunKey` to its stored record: fetch the data, split, run the cell, write."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from lee_bench.contract import Budget, Task
from lee_bench.runs import environments
from lee_bench.runs.record import RunKey, RunRecord
from lee_bench.runs.registry import Probe
from lee_bench.runs.store import Store
from lee_bench.runs.supervisor import Cell, run_cell, unavailable
from lee_bench.tasks.catalog import find
from lee_bench.tasks.protocol import split
from lee_bench.tasks.sources import DataSource


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything the cells of one run share.

    Attributes:
        source: where data come from.
        store: where records go.
        probes: what is known about each method of the plan.
        memory_mb: memory limit of a cell, MiB.
        again: whether cells that have a record are measured anew.
    """

    source: DataSource
    store: Store
    probes: Mapping[str, Probe]
    memory_mb: int
    again: bool = False

    def measure(self, key: RunKey, stop: threading.Event) -> RunRecord | None:
        """Measure one cell and store its record; None when stopped.

        Another run may work on the same folder: the record that is there first stays, and is
        returned, unless cells are measured again.

        Raises:
            DataError: the data set vanished or changed since the plan was made.
            SetupError: the record cannot be written.
        """
        if (earlier := self._earlier(key)) is not None:
            return earlier
        record = self._run(key, stop)
        if record is None:
            return None
        if (earlier := self._earlier(key)) is not None:
            return earlier
        self.store.write(record)
        return record

    def _earlier(self, key: RunKey) -> RunRecord | None:
        return None if self.again else self.store.find(key)

    def _run(self, key: RunKey, stop: threading.Event) -> RunRecord | None:
        dataset = self.source.load(find(key.task, key.suite))
        parts = split(dataset, key.noise, key.seed)
        data = {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "n_train": len(parts.y_train),
            "n_test": len(parts.y_test),
        }
        probe = self.probes[key.method]
        if not probe.available:
            return unavailable(key, f"{probe.reason}. {probe.remedy}".strip(), data)
        return run_cell(
            Cell(
                key=key,
                target=probe.target,
                settings=json.loads(key.settings or "{}"),
                command=probe.interpreter,
                environment=_environment(probe),
                task=Task(parts.X_train, parts.y_train, dataset.info.features),
                budget=Budget(key.seconds, key.threads, self.memory_mb),
                data=data,
            ),
            stop,
        )


def _environment(probe: Probe) -> Mapping[str, str]:
    if probe.interpreter == sys.executable:
        return os.environ
    return environments.child_environment(probe.name)
