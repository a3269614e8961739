"""How the numba kernels of this package are compiled.

They are cached on disk, so that the minute of compiling is spent once for an installation. numba
looks only at the file a kernel stands in; here the cache also knows the files that it calls into.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from numba import njit

_FILES = ("kernels", "programs_math", "programs_numba", "constants_parts", "constants_numba")
_STAMP = hashlib.sha256(
    b"".join(
        Path(__file__).with_name(f"{name}.py").read_bytes() for name in (*_FILES, "vocabulary")
    )
).hexdigest()

# NaN and infinity keep their meaning; only the order of sums and fused multiply-add are free. Test
# `x < inf`, not isfinite: numba writes that as x - x, which free order folds to zero.
_OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
    # Without reference counts, which cost more than arithmetic on 128 points. So kernels must not
    # allocate; their callers bring all memory.
    "_nrt": False,
}


def kernel(function: Callable) -> Callable:
    """Compile a function of arrays and numbers that allocates nothing; cached on disk."""
    compiled = njit(cache=True, **_OPTIONS)(function)
    compiled._cache._cache_file._source_stamp = _STAMP
    return compiled


def inlined(function: Callable) -> Callable:
    """A `kernel` that becomes part of its caller.

    For the upper half of a call tree, each level of which would compile all below it once more.
    """
    return njit(inline="always", **_OPTIONS)(function)


def exact(function: Callable) -> Callable:
    """A scalar function in which the order of operations is kept, for use inside kernels."""
    return njit(forceinline=True, error_model="numpy", fastmath={"contract", "nsz"})(function)
