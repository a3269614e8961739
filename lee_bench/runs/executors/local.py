"""Work through a plan on this machine, several cells at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from lee_bench.runs.record import RunKey, RunRecord

Measure = Callable[[RunKey, threading.Event], RunRecord | None]


def run(
    keys: Sequence[RunKey], measure: Measure, jobs: int, stop: threading.Event
) -> Iterator[RunRecord]:
    """Measure every cell and yield its record as it ends.

    Args:
        keys: cells, in order.
        measure: measures one cell; called from `jobs` threads, each of which only waits for a
            child process. Returns None when stopped.
        jobs: cells at once.
        stop: when set, running cells are ended and no more are started. Set by this function
            itself if the caller stops iterating or is interrupted.

    Raises:
        Exception: whatever `measure` raises, after the other cells were stopped: that is a fault
            of the harness or its surroundings, never of a method.
    """
    waiting: queue.SimpleQueue[RunKey] = queue.SimpleQueue()
    done: queue.SimpleQueue[RunRecord | BaseException | None] = queue.SimpleQueue()
    for key in keys:
        waiting.put(key)

    def work() -> None:
        try:
            while not stop.is_set():
                record = measure(waiting.get_nowait(), stop)
                if record is not None:
                    done.put(record)
        except queue.Empty:
            pass
        except BaseException as error:
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, name=f"cell-{i}") for i in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        running = jobs
        while running:
            result = done.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
