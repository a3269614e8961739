"""Numbers as every table and report writes them."""

from __future__ import annotations

import math

from lee_bench.evidence.pareto import ROUNDING


def panel_name(suite: str, noise: float | str) -> str:
    """What a table or plot of one suite is headed by; `noise` may be `stats.ALL_LEVELS`."""
    return f"{suite}, noise {noise:g}" if isinstance(noise, float) else f"{suite}, {noise}"


def r2_text(value: float) -> str:
    """Four decimals, cut rather than rounded, so that only an exact fit reads 1."""
    if math.isnan(value):
        return "-"
    if value > 1 - ROUNDING:
        return "1"
    if value < 0:
        return f"{value:.2f}" if value > -100 else "< -99"
    return f"{math.floor(value * 1e4) / 1e4:.4f}"


def number(value: float, pattern: str, unit: str = "") -> str:
    """A number in a table; '-' where there is none."""
    return "-" if math.isnan(value) else format(value, pattern) + unit


def p_text(p: float) -> str:
    """A p-value to two digits, none below 0.001."""
    return "< .001" if p < 0.001 else number(p, ".2g")
