"""Fixtures that several test folders use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real PMLB files and published facts, which the repository does not carry.

    It lies in ``shared/data`` beside the repository, or where LEE_BENCH_SHARED_DATA says.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LEE_BENCH_SHARED_DATA", beside))
    if not (folder / "pmlb").is_dir():
        pytest.skip(
            "real PMLB files are not here; set LEE_BENCH_SHARED_DATA to the folder that has them"
        )
    return folder
