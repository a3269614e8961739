"""Numbered batches, made ahead of time so that training does not wait for them."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader


class Data(Protocol):
    """Numbered batches."""

    def __getitem__(self, index: int) -> Any: ...


class Feed:
    """Numbered batches, made ahead of time.

    Args:
        data: makes them.
        start: first number.
        workers, ahead: see `Settings`.

    Attributes:
        waited: seconds for which `next` had nothing to give.
    """

    def __init__(self, data: Data, start: int, workers: int, ahead: int) -> None:
        self.waited = 0.0
        self._numbers = itertools.count(start)
        self._close: Callable[[], None] = lambda: None
        if workers:
            loader = DataLoader(
                data,
                batch_size=None,
                sampler=_From(start),
                num_workers=workers,
                prefetch_factor=ahead,
                multiprocessing_context="spawn",
            )
            self._items = iter(loader)
        else:
            self._items = self._from_thread(data, start, ahead)

    def next(self) -> tuple[int, Any]:
        """The next number and its batch; raises what making it raised."""
        start = time.perf_counter()
        batch = next(self._items)
        self.waited += time.perf_counter() - start
        return next(self._numbers), batch

    def close(self) -> None:
        """Stop making batches."""
        self._close()
        del self._items

    def _from_thread(self, data: Data, start: int, ahead: int) -> Iterator[Any]:
        ready: queue.Queue = queue.Queue(ahead)
        closed = threading.Event()

        def put(batch: Any, error: Exception | None) -> None:
            while not closed.is_set():
                try:
                    ready.put((batch, error), timeout=0.2)
                    break
                except queue.Full:
                    continue

        def fill() -> None:
            torch.set_num_threads(1)
            for index in itertools.count(start):
                if closed.is_set():
                    break
                try:
                    put(data[index], None)
                except Exception as error:
                    put(None, error)
                    break

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        self._close = lambda: (closed.set(), thread.join())
        return self._take(ready)

    @staticmethod
    def _take(ready: queue.Queue) -> Iterator[Any]:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            yield batch


class _From:
    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)
