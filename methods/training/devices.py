"""What a device is called, which precision it is fast in, and how fast."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from lee_bench.errors import UsageError


def pick_device(name: str) -> torch.device:
    """`auto` (a GPU if there is one), or a device's name.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"No device is called '{name}'.", "Use auto, cpu or cuda.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no CUDA device here.", "Use --device cpu.")
    return device


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    flags = Path("/proc/cpuinfo")
    has = flags.exists() and "bf16" in flags.read_text()
    return torch.bfloat16 if has else torch.float32


def computing(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Context in which matrix products are computed in a precision."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def matmul_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """This device's own best rate in matrix products, FLOP/s, sought for a second.

    Many short products, of which the fastest counts: other work on the machine hits some of them.
    On a processor `threads` products run side by side, as shards do.
    """
    on_cpu = device.type == "cpu"
    n = 512 if on_cpu else 8192
    a = torch.randn(n, n, device=device).to(dtype)

    def once(_: int) -> None:
        if on_cpu:
            torch.set_num_threads(1)
        a @ a
        if not on_cpu:
            torch.cuda.synchronize()

    best = math.inf
    end = time.perf_counter() + 1
    with ThreadPoolExecutor(threads) as pool:
        while time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(once, range(threads)))
            best = min(best, time.perf_counter() - start)
    return threads * 2 * n**3 / best
