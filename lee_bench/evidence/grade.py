"""From what a method answered to what the answer is worth.

A grade comes from the stored formula and the task's data alone, never from a method's claims. It
lies beside the records, under ``grades/`` in place of ``runs/``, and can be made again at any
time: a change here never needs a new measurement.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from lee_bench.equivalence import SymbolicGrade, SymbolicGrader
from lee_bench.errors import DataError, ExpressionError, LeeBenchError
from lee_bench.evidence.metrics import is_accurate, r2, rmse
from lee_bench.expression import parse
from lee_bench.files import write_atomically
from lee_bench.runs.record import RunKey, RunRecord, Status
from lee_bench.runs.store import Store
from lee_bench.tasks.catalog import TaskInfo, find
from lee_bench.tasks.protocol import Split, split
from lee_bench.tasks.sources import Dataset, DataSource

GRADE_VERSION = 1
"""1: first format. Raised whenever a grade would come out otherwise; older ones are made anew."""
SYMPY = metadata.version("sympy")


@dataclass(frozen=True)
class Grade:
    """What one formula is worth. Stored as JSON.

    Attributes:
        record: `digest` of the graded record.
        r2_test: R² on clean test data in original units, float64; None if a prediction is not
            finite, which counts as a miss.
        r2_train: R² on the training rows, noise included; None as above.
        rmse_test: in units of the target; None as above.
        complexity: SRBench's; None only if the formula cannot be read.
        complexity_raw: nodes of the formula as the method wrote it.
        complexity_note: why `complexity` is the raw count, or what is odd about it.
        simplified: sympy's simplified form, the one that was counted; '' if there is none.
        symbolic_solution: SRBench's verdict; None where no true formula is known.
        symbolic_note: the reason for the verdict.
        accuracy_solution: whether `r2_test` is above 0.999.
        sympy: version of sympy, which decides how far a formula simplifies.
        version: format and rules of this grade.
    """

    record: str
    r2_test: float | None
    r2_train: float | None
    rmse_test: float | None
    complexity: int | None
    complexity_raw: int | None
    complexity_note: str
    simplified: str
    symbolic_solution: bool | None
    symbolic_note: str
    accuracy_solution: bool
    sympy: str = SYMPY
    version: int = GRADE_VERSION


@dataclass(frozen=True)
class Cell:
    """A record and its grade; None if it failed or is not graded."""

    record: RunRecord
    grade: Grade | None


def is_gradable(record: RunRecord) -> bool:
    """Whether there is a formula to grade; what failed is a miss without one."""
    return record.status is Status.OK and record.formula is not None


def grade_path(store: Store, key: RunKey) -> Path:
    """Where the grade of a cell lies."""
    return store.root / "grades" / key.path


def digest(record: RunRecord) -> str:
    """What a grade depends on: the cell, its formula and the data, as one SHA-256."""
    what = (record.key.digest, record.formula, record.data.get("sha256"))
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def read_grade(store: Store, record: RunRecord) -> Grade | None:
    """The grade of this very record; None if there is none, or it is damaged or out of date."""
    try:
        raw = json.loads(grade_path(store, record.key).read_text(encoding="utf-8"))
        wanted = (GRADE_VERSION, SYMPY, digest(record))
        return Grade(**raw) if (raw["version"], raw["sympy"], raw["record"]) == wanted else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def grade_all(
    store: Store,
    source: DataSource,
    jobs: int = 1,
    *,
    records: Iterable[RunRecord] | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Cell], list[LeeBenchError]]:
    """Grade what is not graded yet; each grade is on disk as soon as it is known.

    Args:
        store: where records are and grades go.
        source: where data come from. A record measured on the other kind of data is graded on
            that kind.
        jobs: processes for sympy.
        records: only these; None takes all of the store.
        force: grade anew what is graded.
        progress: called with the numbers of graded cells and of all that need it.

    Returns:
        All cells with their grades, and one error for each kind of trouble met: unreadable
        records, tasks whose data cannot be had or are not those that were measured on.
    """
    problems: list[LeeBenchError] = []
    if records is None:
        records, problems = store.records()
    records = list(records)
    grades = {} if force else {r.key: read_grade(store, r) for r in records if is_gradable(r)}
    todo = [r for r in records if is_gradable(r) and grades.get(r.key) is None]
    todo.sort(key=lambda r: (r.key.data, r.key.suite, r.key.task, r.key.seed, r.key.noise))
    if todo:
        fresh, troubles = _grade(todo, store, source, jobs, progress)
        grades |= fresh
        problems = problems + troubles
    return [Cell(record, grades.get(record.key)) for record in records], problems


def _grade(
    todo: list[RunRecord],
    store: Store,
    source: DataSource,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[RunKey, Grade], list[LeeBenchError]]:
    grades: dict[RunKey, Grade] = {}
    troubles: dict[str, LeeBenchError] = {}
    data = MeasuredOn(source)
    waiting: deque[tuple[RunRecord, Callable[[], Grade]]] = deque()

    def finish_oldest() -> None:
        record, wait = waiting.popleft()
        grade = grades[record.key] = wait()
        write_atomically(grade_path(store, record.key), json.dumps(asdict(grade), indent=1))
        if progress:
            progress(len(grades), len(todo))

    with SymbolicGrader(jobs) as grader:
        for record in todo:
            try:
                info, parts = data.of(record)
                waiting.append((record, _begin(record, info, parts, grader)))
            except LeeBenchError as error:
                troubles.setdefault(str(error), error)
            while len(waiting) > 8 * jobs:
                finish_oldest()
        while waiting:
            finish_oldest()
    return grades, list(troubles.values())


class MeasuredOn:
    """The data each record was measured on; the last split is kept, since cells come in order.

    Args:
        source: where data come from; for records of the other kind of data, that kind.
    """

    def __init__(self, source: DataSource) -> None:
        self.source = source
        self._others: dict[str, DataSource] = {}
        self._split: tuple[tuple, Split] | None = None

    def of(self, record: RunRecord) -> tuple[TaskInfo, Split]:
        """The task and its data, split and noisy as the method saw them.

        Raises:
            DataError: the data cannot be had, or are others now.
        """
        key = record.key
        info = find(key.task, key.suite)
        dataset = self._load(info, key.data)
        if dataset.sha256 != record.data.get("sha256"):
            raise DataError(
                f"The data of {info.name} are not those it was measured on; not graded.",
                "Get the same data back (`lee-bench show` names their source), or measure again "
                "with --force.",
            )
        wanted = (info, dataset.sha256, key.noise, key.seed)
        if self._split is None or self._split[0] != wanted:
            self._split = (wanted, split(dataset, key.noise, key.seed))
        return info, self._split[1]

    def _load(self, info: TaskInfo, kind: str) -> Dataset:
        if self.source.mode == kind:
            return self.source.load(info)
        if kind not in self._others:
            files = self.source.files
            self._others[kind] = DataSource(kind, files.root, files.url)
        return self._others[kind].load(info)


def _begin(
    record: RunRecord, info: TaskInfo, parts: Split, grader: SymbolicGrader
) -> Callable[[], Grade]:
    """Compute what numbers can tell, put the rest to sympy; the result waits for its answer."""
    try:
        expression = parse(record.formula, info.features)
    except ExpressionError as error:
        unreadable = Grade(
            digest(record), None, None, None, None, None, str(error), "", None, "", False
        )
        return lambda: unreadable
    symbolic = grader.grade(record.formula, info.truth, info.features)
    test = expression.evaluate(parts.X_test, info.features)
    train = expression.evaluate(parts.X_train, info.features)
    r2_test = _stored(r2(parts.y_test, test))

    def wait() -> Grade:
        answer: SymbolicGrade = symbolic()
        return Grade(
            record=digest(record),
            r2_test=r2_test,
            r2_train=_stored(r2(parts.y_train, train)),
            rmse_test=_stored(rmse(parts.y_test, test)),
            complexity=answer.complexity,
            complexity_raw=len(expression),
            complexity_note=answer.complexity_note,
            simplified=answer.simplified,
            symbolic_solution=answer.solution,
            symbolic_note=answer.solution_note,
            accuracy_solution=is_accurate(r2_test),
        )

    return wait


def _stored(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
