"""The child process of one cell: load one method, let it search, leave its answer.

Run as ``python -m lee_bench.runs.worker FOLDER``. Not covered: limits and clean-up, which are the
parent's (`lee_bench.runs.supervisor`), because a method may ignore anything done in here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from lee_bench.contract import Outcome
from lee_bench.errors import MethodError, SetupError
from lee_bench.runs.exchange import (
    CHECKED_ROWS,
    PARENT,
    Answer,
    Request,
    enter_phase,
    read_request,
    write_answer,
)
from lee_bench.runs.registry import load_class, versions


def measure(folder: Path, request: Request) -> Answer:
    """Run the three phases of a method and time each apart."""
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(name: str):
        enter_phase(folder, name)
        begin = time.monotonic()
        yield
        seconds[name] = time.monotonic() - begin

    with phase("prepare"):
        method = load_class(request.target)(**request.settings)
        method.prepare(request.task, request.budget, request.seed)
    with phase("search"):
        cpu = time.process_time()
        method.search(request.task, request.budget, request.seed)
        seconds["cpu"] = time.process_time() - cpu
    with phase("answer"):
        outcome = method.answer()
        if not isinstance(outcome, Outcome):
            raise MethodError(f"answer() returned {type(outcome).__name__}, not an Outcome")
        predictions = _predictions(outcome, request)
    return Answer(
        candidates=[asdict(candidate) for candidate in outcome.candidates],
        chosen=outcome.chosen,
        predictions=predictions,
        stop_reason=outcome.stop_reason,
        details=dict(outcome.details),
        seconds=seconds,
        versions=versions(type(method)),
    )


def _predictions(outcome: Outcome, request: Request) -> list[float] | None:
    if outcome.predict is None:
        return None
    rows = request.task.X[:CHECKED_ROWS]
    values = np.asarray(outcome.predict(rows), dtype=np.float64)
    if values.shape != (len(rows),):
        raise MethodError(f"predict gave shape {values.shape} for {len(rows)} rows")
    return values.tolist()


def _peak_memory_mb() -> float:
    """Highest resident memory of this process.

    Linux's ru_maxrss would do, but it starts from the size of the process that launched this one.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _die_with_parent() -> None:
    """End when the parent is killed, count all descendants as one's own, and be the kernel's first
    choice when memory runs out. Linux only; elsewhere the parent's clean-up has to do.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    pr_set_pdeathsig, pr_set_child_subreaper = 1, 36
    prctl = ctypes.CDLL(None).prctl
    prctl(pr_set_pdeathsig, signal.SIGKILL)
    prctl(pr_set_child_subreaper, 1)  # the memory of a child's child, whose parent left, counts
    if str(os.getppid()) != os.environ.get(PARENT, str(os.getppid())):
        os._exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main(folder: Path) -> None:
    """Answer the request in `folder`, whatever happens short of a hard crash."""
    _die_with_parent()
    request = read_request(folder)
    fault = {MethodError: "method", SetupError: "setup", MemoryError: "memory"}
    try:
        answer = measure(folder, request)
        write_answer(folder, replace(answer, peak_memory_mb=_peak_memory_mb()))
    except BaseException as error:
        traceback.print_exc()
        blame = next((f for kind, f in fault.items() if isinstance(error, kind)), "crash")
        reason = f"{type(error).__name__}: {error}"[:2000]
        write_answer(folder, Answer(error=reason, fault=blame, peak_memory_mb=_peak_memory_mb()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads and exit handlers of a method must not hold up the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
