"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and on the disk.

    Args:
        path: final place of the file, in a folder that exists. An older file there is replaced.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # results and caches are shared; temporary files are private
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def try_writing(folder: Path) -> None:
    """Find out before long work that its results cannot be kept; the folder is made if need be.

    Raises:
        OSError: it cannot be made or written.
    """
    probe = folder / f".probe-{os.getpid()}"
    write_atomically(probe, b"")
    probe.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a `new_file` in one go; its folder is made if need be.

    Args:
        path: final place of the file.
        content: text (stored as UTF-8) or bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
