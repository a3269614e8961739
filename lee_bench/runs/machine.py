"""What a cell was measured on."""

from __future__ import annotations

import contextlib
import functools
import platform
from pathlib import Path
from typing import Any


@functools.cache
def describe() -> dict[str, Any]:
    """Processor, cores, memory (GiB) and operating system; no names of hosts or people."""
    import psutil

    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def available_cores() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    import joblib

    return joblib.cpu_count()


def available_memory_mb() -> int:
    """Memory this process may use, MiB, which in a container can be less than the machine has."""
    import psutil

    most = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroups, version 2 and 1
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most = min(most, int(Path("/sys/fs/cgroup", name).read_text()))
    return most // 2**20


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    first = {key.strip(): value.strip() for key, value in pairs}
    name = first.get("model name") or platform.machine()
    # Virtual machines hide the generation in the name, though generations round differently.
    kind = [f"{key} {first[key]}" for key in ("cpu family", "model") if key in first]
    return f"{name} ({', '.join(kind)})" if kind else name
