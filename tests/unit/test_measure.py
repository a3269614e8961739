"""From a key to its record, where another run works on the same folder."""

from __future__ import annotations

import threading

import pytest

from lee_bench.runs import measure
from lee_bench.runs.measure import Bench
from lee_bench.runs.registry import Probe
from lee_bench.runs.store import Store

NOWHERE = Probe("operon", "nowhere:Nothing", "test", "python", available=False)


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """Measure a cell again or not, with `meanwhile` happening while it runs."""

    def run(again: bool, meanwhile=lambda store: None):
        store = Store(tmp_path)
        record = made.failed(search=1.0)

        def cell(key, reason, data):
            meanwhile(store)
            return record

        monkeypatch.setattr(measure, "unavailable", cell)
        bench = Bench(made.source, store, {"operon": NOWHERE}, 1024, again)
        returned = bench.measure(record.key, threading.Event())
        assert store.read(record.key) == returned
        return returned

    return run


def test_of_two_runs_the_first_record_stays(made, work, tmp_path):
    first, second = made.failed(search=5.0), made.failed(search=1.0)
    assert work(False, lambda store: store.write(first)) == first

    def never(store):
        raise AssertionError("measured a cell that has a record")

    assert work(False, never) == first
    assert work(True) == second


def test_a_damaged_record_is_no_record(made, work, tmp_path):
    path = tmp_path / "runs" / made.failed().key.path
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert work(False) == made.failed(search=1.0)
