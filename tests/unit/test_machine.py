"""What a record says of its machine."""

from pathlib import Path

import pytest

from lee_bench.runs import machine

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    not CPUINFO.exists() or "cpu family" not in CPUINFO.read_text(),
    reason="this system does not tell generations of processors",
)
def test_generations_of_processors_are_told_apart():
    text = CPUINFO.read_text()
    told = machine.describe()["processor"]
    for field in ("cpu family", "model"):
        (value, *_) = (
            line.split(":")[1].strip() for line in text.splitlines() if line.split("\t")[0] == field
        )
        assert f"{field} {value}" in told
