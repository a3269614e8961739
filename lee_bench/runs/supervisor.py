"""Launch one cell in its own process, watch it, hold its limits, clean up, classify.

A method may hang, fork, fill memory, print without end, or lie. All it can cost is its own row.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lee_bench import __version__
from lee_bench.contract import Budget, Task
from lee_bench.errors import ExpressionError, MethodError
from lee_bench.expression import parse
from lee_bench.runs import machine
from lee_bench.runs.exchange import PARENT, Answer, Request, phase, read_answer, write_request
from lee_bench.runs.record import RunKey, RunRecord, Status

PREPARE_SECONDS = 180.0
"""Time for imports, compilation and weights, and again for printing the answer."""
POLL_SECONDS = 0.05
TREE_SECONDS = 0.5
"""How often children of the worker are looked for; that costs a scan of all processes."""
TAIL_BYTES = 8000
TAG = "LEE_BENCH_CELL"
"""Environment variable by which a cell's processes are found, wherever they have fled to."""
THREAD_CAPS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "JULIA_NUM_THREADS",
    "TBB_NUM_THREADS",
)


def search_limit(seconds: float) -> float:
    """When a search that does not stop by itself is ended: 10 % and one second over its limit."""
    return seconds * 1.1 + 1.0


@dataclass(frozen=True, eq=False)
class Cell:
    """All that is needed to measure one cell.

    Attributes:
        key: its identity.
        target: the method, ``"module:Class"``.
        settings: the method's non-default settings.
        command: interpreter to start the worker with.
        environment: environment variables of the worker, before thread caps are added.
        task: training data.
        budget: what the method may spend.
        data: description of the data for the record.
    """

    key: RunKey
    target: str
    settings: Mapping[str, Any]
    command: str
    environment: Mapping[str, str]
    task: Task
    budget: Budget
    data: Mapping[str, Any]


@dataclass
class _Watch:
    """What the parent saw."""

    peak_bytes: int = 0
    ended_for: Status | None = None
    reason: str = ""
    stopped: bool = False
    waited: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Nanoseconds for which each thread has waited for a processor, when first and last seen."""

    @property
    def waited_seconds(self) -> dict[str, float]:
        """Those of all threads; nothing where the system does not tell, or nobody looked."""
        total = sum(last - first for first, last in self.waited.values())
        return {"waited": total / 1e9} if self.waited else {}


def run_cell(cell: Cell, stop: threading.Event) -> RunRecord | None:
    """Measure one cell.

    Args:
        cell: what to measure.
        stop: set by the caller to end the cell at once.

    Returns:
        The record, whatever happened; None only when stopped.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lee-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_request(
            folder,
            Request(
                cell.target,
                dict(cell.settings),
                cell.key.method_seed,
                cell.budget,
                cell.task,
            ),
        )
        tag = uuid.uuid4().hex
        process = _launch(cell, folder, tag)
        tail = _Tail(process)
        watch = _Watch()
        try:
            _watch(process, cell.budget, folder, stop, watch)
        finally:
            _end_all(process, tag)
            tail.close()
        if watch.stopped:
            return None
        facts = _classify(cell, process.returncode, watch, folder)
    facts["peak_memory_mb"] = max(facts.get("peak_memory_mb", 0.0), watch.peak_bytes / 2**20)
    facts["seconds"] = {
        **facts.get("seconds", {}),
        **watch.waited_seconds,
        "cell": time.monotonic() - begin,
    }
    facts["versions"] = {"lee-bench": __version__, **facts.get("versions", {})}
    failed = facts["status"] is not Status.OK
    return RunRecord(
        key=cell.key,
        data=dict(cell.data),
        machine=machine.describe(),
        stderr=tail.text() if failed else "",
        started=started,
        **facts,
    )


def unavailable(key: RunKey, reason: str, data: Mapping[str, Any]) -> RunRecord:
    """The record of a cell whose method cannot run here."""
    return RunRecord(
        key=key,
        status=Status.UNAVAILABLE,
        reason=reason,
        data=dict(data),
        versions={"lee-bench": __version__},
        machine=machine.describe(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _launch(cell: Cell, folder: Path, tag: str) -> subprocess.Popen:
    caps = dict.fromkeys(THREAD_CAPS, str(cell.budget.threads))
    return subprocess.Popen(
        [cell.command, "-m", "lee_bench.runs.worker", str(folder)],
        cwd=folder,
        env={
            **cell.environment,
            **caps,
            "PYTHONHASHSEED": "0",
            TAG: tag,
            PARENT: str(os.getpid()),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class _Tail:
    """Reads all a process prints and keeps only the end of it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._pipe = process.stdout
        self._kept: collections.deque[bytes] = collections.deque(maxlen=64)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while block := os.read(self._pipe.fileno(), 1 << 16):
                self._kept.append(block[-TAIL_BYTES:])

    def close(self) -> None:
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._pipe.close()

    def text(self) -> str:
        text = b"".join(list(self._kept))[-TAIL_BYTES:].decode(errors="replace")
        return "\n".join(text.splitlines()[-20:])


def _watch(
    process: subprocess.Popen,
    budget: Budget,
    folder: Path,
    stop: threading.Event,
    watch: _Watch,
) -> None:
    """Wait until the worker ends, or note why it must be ended."""
    seen, phase_begin, next_tree = "", time.monotonic(), 0.0
    children = 0
    limits = {"search": search_limit(budget.seconds)}
    leader = psutil.Process(process.pid)  # there until it is waited for, be it as a zombie
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return
        if stop.is_set():
            watch.stopped = True
            return
        now = time.monotonic()
        begun = (current := phase(folder)) != seen
        if begun:
            seen, phase_begin = current, now
        if seen == "search":
            _note_waiting(process.pid, watch.waited, begun)
        limit = limits.get(seen, PREPARE_SECONDS)
        if now - phase_begin > limit:
            watch.ended_for = Status.TIMEOUT
            allowed = f"{budget.seconds:g} s" if seen == "search" else f"{limit:g} s"
            watch.reason = (
                f"still in '{seen or 'start'}' after {now - phase_begin:.1f} s ({allowed} allowed)"
            )
            return
        most = budget.memory_mb * 2**20
        if now >= next_tree or _resident(leader) + children > most:
            # Looked at anew before anything is ended: a child may have handed its memory on.
            children = sum(_resident(child) for child in _children(leader))
            next_tree = now + TREE_SECONDS
        watch.peak_bytes = max(watch.peak_bytes, _resident(leader) + children)
        if watch.peak_bytes > most:
            watch.ended_for = Status.MEMORY
            used = watch.peak_bytes / 2**20
            watch.reason = f"used {used:.0f} MiB ({budget.memory_mb} MiB allowed)"
            return


def _note_waiting(pid: int, waited: dict[str, tuple[int, int]], begun: bool) -> None:
    """Note for how long each thread has waited so far; those that have ended stay as last seen.

    Linux tells. A search may do all its work in threads that are gone when it returns, so the
    worker itself could not know.
    """
    with contextlib.suppress(OSError):
        for thread in os.scandir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):  # it has just ended
                now = int(Path(thread.path, "schedstat").read_text(encoding="ascii").split()[1])
                first, _ = waited.get(thread.name, (now if begun else 0, 0))
                waited[thread.name] = first, now


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _belongs(process: psutil.Process, leader: int, tag: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if os.getpgid(process.pid) == leader:
            return True
        return process.environ().get(TAG) == tag
    return False


def _end_all(process: subprocess.Popen, tag: str) -> None:
    """End every process of the cell: ask first, then force, until none is left.

    A process is found by its process group, or, if it left that, by the tag in its environment.
    """

    def left() -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if _belongs(p, process.pid, tag)]

    victims = left()
    for victim in victims:
        with contextlib.suppress(psutil.Error):
            victim.terminate()
    if victims:
        psutil.wait_procs(victims, timeout=1.0)
    for _ in range(50):
        victims = left()
        if not victims:
            break
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.wait()


def _classify(cell: Cell, exit_code: int, watch: _Watch, folder: Path) -> dict[str, Any]:
    """Turn what was seen and what was left behind into the fields of a record."""
    if watch.ended_for is not None:
        return {"status": watch.ended_for, "reason": watch.reason}
    try:
        answer = read_answer(folder)
        if answer is None:
            return {"status": Status.CRASH, "reason": _describe_exit(exit_code)}
        facts: dict[str, Any] = {
            "seconds": answer.seconds,
            "peak_memory_mb": float(answer.peak_memory_mb),
            "versions": answer.versions,
        }
        if answer.error:
            status = {
                "method": Status.INVALID,
                "setup": Status.UNAVAILABLE,
                "memory": Status.MEMORY,
            }.get(answer.fault, Status.CRASH)
            return {**facts, "status": status, "reason": answer.error}
        return {**facts, **_accept(cell.task, answer)}
    except MethodError as error:
        return {"status": Status.INVALID, "reason": str(error)}


def _describe_exit(code: int) -> str:
    if code < 0:
        import signal

        with contextlib.suppress(ValueError):
            return f"ended by signal {signal.Signals(-code).name}"
    return f"ended with exit code {code} and no answer"


def _accept(task: Task, answer: Answer) -> dict[str, Any]:
    """Check the formulas of an answer; keep the readable ones.

    Raises:
        MethodError: the chosen formula cannot be read, or has no finite value on a training row.
    """
    formula = answer.candidates[answer.chosen]["formula"]
    values = parse(formula, task.features).evaluate(task.X, task.features)
    undefined = int(np.count_nonzero(~np.isfinite(values)))
    if undefined:
        raise MethodError(
            f"not finite on {undefined} of {len(values)} training rows: {formula[:200]}"
        )
    kept, chosen = [], 0
    for i, candidate in enumerate(answer.candidates):
        with contextlib.suppress(ExpressionError):
            parse(candidate["formula"], task.features)
            if i == answer.chosen:
                chosen = len(kept)
            kept.append(candidate)
    details = dict(answer.details)
    if len(kept) < len(answer.candidates):
        details["unreadable_candidates"] = len(answer.candidates) - len(kept)
    gap = None
    if answer.predictions is not None:
        claimed = np.asarray(answer.predictions, dtype=np.float64)[: len(values)]
        scale = float(np.sqrt(np.mean(np.square(task.y)))) or 1.0
        gap = float(np.max(np.abs(claimed - values[: len(claimed)]), initial=0.0)) / scale
    return {
        "status": Status.OK,
        "formula": formula,
        "candidates": tuple(kept),
        "chosen": chosen,
        "stop_reason": answer.stop_reason,
        "details": details,
        "prediction_gap": gap,
    }
