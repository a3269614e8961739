"""Records on disk: one JSON file a cell, written atomically, never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lee_bench.errors import LeeBenchError, RecordError, SetupError
from lee_bench.files import try_writing, write_atomically
from lee_bench.runs.record import RunKey, RunRecord


class Store:
    """The records below ``root/runs``; what is derived from them lies beside, in other folders.

    Args:
        root: results folder; made when the first record is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"

    def check_writable(self) -> None:
        """Find out before hours of measuring that records cannot be kept.

        Raises:
            SetupError: the folder cannot be made or written.
        """
        try:
            try_writing(self.runs)
        except OSError as error:
            raise SetupError(
                f"Cannot write results to {self.root}: {error.strerror}.",
                "Name a folder you may write with --results.",
            ) from error

    def finished(self) -> set[str]:
        """Relative paths of all stored records, for the skip test. Reads names only."""
        prefix = len(str(self.runs)) + 1
        return {path[prefix:] for path in _json_files(str(self.runs))}

    def write(self, record: RunRecord) -> None:
        """Store a record under its key, replacing an older one of the same cell.

        Raises:
            SetupError: it cannot be written, as on a full disk.
        """
        path = self.runs / record.key.path
        try:
            write_atomically(path, record.to_json())
        except OSError as error:
            raise SetupError(
                f"Cannot write the record {path}: {error.strerror}.",
                "What was measured before is kept; the same command goes on from there.",
            ) from error

    def read(self, key: RunKey) -> RunRecord:
        """Read the record of a cell.

        Raises:
            RecordError: it is not there, damaged, or newer than this program.
        """
        return self.read_path(self.runs / key.path)

    def find(self, key: RunKey) -> RunRecord | None:
        """The record of a cell; None if there is none that can be read."""
        try:
            return self.read(key)
        except RecordError:
            return None

    def read_path(self, path: Path) -> RunRecord:
        """Read one file; raises as `read` does."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"{path} cannot be read: {error}") from error
        return RunRecord.from_json(text, origin=str(path))

    def records(self) -> tuple[list[RunRecord], list[LeeBenchError]]:
        """All readable records, ordered by path, and what was wrong with the others.

        A record that does not lie where its key says, as in a copied folder, is left out: its cell
        would count twice.
        """
        records: list[RunRecord] = []
        problems: list[LeeBenchError] = []
        for path in map(Path, sorted(_json_files(str(self.runs)))):
            try:
                record = self.read_path(path)
                self._check_place(record, path)
                records.append(record)
            except RecordError as error:
                problems.append(error)
        return records, problems

    def _check_place(self, record: RunRecord, path: Path) -> None:
        if path != self.runs / record.key.path:
            raise RecordError(
                f"{path} was left out: the record of this cell belongs in {record.key.path}.",
                "Keep copies outside the folder of records, or move the file back.",
            )


def _json_files(folder: str) -> Iterator[str]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _json_files(entry.path)
            elif entry.name.endswith(".json") and not entry.name.startswith("."):
                yield entry.path
