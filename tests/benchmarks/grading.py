"""What grading costs: `python tests/benchmarks/grading.py`.

Prints formulas graded a second, complexity and symbolic verdict together, for one worker and for
all cores, on the formulas of tests/numeric/srbench_verdicts.csv; the time to find 10,000 graded
cells up to date; and to read them, make the table and draw the front.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from lee_bench.equivalence import SymbolicGrader
from lee_bench.evidence import aggregate, plots
from lee_bench.evidence.grade import digest, grade_all, grade_path
from lee_bench.files import write_atomically
from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.runs.store import Store
from lee_bench.tasks.catalog import tasks
from lee_bench.tasks.protocol import PROTOCOL_VERSION, SEEDS
from lee_bench.tasks.sources import DataSource

FORMULAS = Path(__file__).parents[1] / "numeric" / "srbench_verdicts.csv"
KINDS = {"operon": "Operon's", "gplearn": "gplearn's"}


def symbolic(jobs: int) -> None:
    """Formulas a second, by who wrote them."""
    with FORMULAS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    groups = defaultdict(list)
    for row in rows:
        groups[KINDS.get(row["kind"], "rewritten laws")].append(row)
    for name, members in groups.items():
        with SymbolicGrader(jobs) as grader:
            grader.grade("x", "x", ("x",))()  # starting the workers is no formula's cost
            begin = time.perf_counter()
            waits = [
                grader.grade(r["found"], r["truth"], tuple(r["features"].split(";")))
                for r in members
            ]
            answers = [wait() for wait in waits]
            seconds = time.perf_counter() - begin
        given_up = sum("raw count" in a.complexity_note for a in answers)
        print(
            f"{jobs} worker(s), {len(members):4} {name:15}: {len(members) / seconds:6.1f} a second"
            f" ({given_up} too much for sympy)"
        )


def fill(folder: Path, count: int, seeds: int = 10) -> Store:
    """Write graded records: all ground-truth tasks at four noise levels, seed by seed."""
    store = Store(folder)
    source = DataSource("builtin")
    infos = [info for suite in ("feynman", "strogatz") for info in tasks(suite)]
    random = np.random.default_rng(0)
    grade = None
    for number in range(count):
        info = infos[number % len(infos)]
        rest, noise = divmod(number // len(infos), 4)
        method, seed = divmod(rest, seeds)
        key = RunKey(
            info.suite, info.name, "builtin", f"method{method}", "", (0.0, 0.001, 0.01, 0.1)[noise],
            SEEDS[seed], 30.0, 1, PROTOCOL_VERSION,
        )  # fmt: skip
        record = RunRecord(
            key, Status.OK, formula=info.truth, candidates=({"formula": info.truth},) * 20,
            chosen=0, seconds={"search": random.uniform(1.0, 30.0)},
        )  # fmt: skip
        if grade is None:
            data = {"sha256": source.load(info).sha256}
            (cell,), _ = grade_all(store, source, records=[replace(record, data=data)])
            grade = cell.grade
        mine = replace(
            grade, record=digest(record), r2_test=random.uniform(0.5, 1.0), complexity=number % 97
        )
        write_atomically(store.runs / key.path, record.to_json())
        write_atomically(grade_path(store, key), json.dumps(asdict(mine)))
    return store


def reading(folder: Path, count: int) -> None:
    """The commands' work on records that are graded already."""
    store = fill(folder, count)
    source = DataSource("builtin")
    begin = time.perf_counter()
    cells, problems = grade_all(store, source)
    assert len(cells) == count
    assert not problems
    print(f"{count} graded cells found up to date: {time.perf_counter() - begin:.1f} s")
    begin = time.perf_counter()
    table = aggregate.summary(aggregate.cells(grade_all(store, source)[0]))
    print(f"read again and summed up: {time.perf_counter() - begin:.1f} s")
    begin = time.perf_counter()
    plots.pareto(table, folder / "front")
    print(f"front drawn, {len(table)} points: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    for workers in dict.fromkeys((1, os.cpu_count() or 1)):
        symbolic(workers)
    with tempfile.TemporaryDirectory() as temporary:
        reading(Path(temporary), 10_000)
