"""PMLB's files: found in a local cache, checked, or downloaded into it.

A file counts only if its checksum is one PMLB has published, or, where the pmlb package has
packed it anew, if the values in it are. Everything else that lies or arrives in its place is told
apart (a Git LFS pointer, a web page, a file cut short, other data) and never read as data.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lee_bench.errors import DataError, UsageError
from lee_bench.expression import parse
from lee_bench.files import new_file
from lee_bench.tasks.catalog import TaskInfo, find

CACHE_VARIABLE = "LEE_BENCH_PMLB_CACHE"
URL_VARIABLE = "LEE_BENCH_PMLB_URL"
URL = "https://github.com/EpistasisLab/pmlb/raw/master/datasets"
PROBE_SECONDS = 5.0  # longest time to find out that PMLB online cannot be had
STALL_SECONDS = 20.0  # longest silence of a download
DOWNLOAD_SECONDS = 900.0  # longest download; the largest file has 89 MB
_RETRY = "Try again later, or name a folder that has PMLB's files with --pmlb-cache."
_PROBE_TASK = "192_vineyard"  # 273 bytes: the whole way, checksum included, for almost nothing


class BadFileError(DataError):
    """A file that holds no data: it may be replaced by a download."""


class _NoAnswerError(Exception):
    """A request failed; the text goes on from "PMLB online"."""

    def __init__(self, problem: str, only_this_file: bool = False) -> None:
        super().__init__(problem)
        self.only_this_file = only_this_file


class PmlbFiles:
    """A folder in PMLB's layout (``NAME/NAME.tsv.gz``) and the place to fill it from.

    Args:
        root: the folder, or a clone of PMLB's repository; None takes the environment variable
            `CACHE_VARIABLE`, else the user's cache folder. It need not exist.
        url: where ``NAME/NAME.tsv.gz`` is served; None takes `URL_VARIABLE`, else PMLB's own.
    """

    def __init__(self, root: Path | None = None, url: str | None = None) -> None:
        given = root or os.environ.get(CACHE_VARIABLE)
        if given:
            root = Path(given).expanduser()
        else:
            import platformdirs

            root = platformdirs.user_cache_path("lee-bench") / "pmlb"
        if root.exists() and not root.is_dir():
            raise UsageError(f"The PMLB cache {root} is not a folder.", "Name a folder.")
        is_clone = (root / "datasets").is_dir()
        self.root = root / "datasets" if is_clone else root
        self._broken = ""
        self.url = (url or os.environ.get(URL_VARIABLE) or URL).rstrip("/")

    def path(self, info: TaskInfo) -> Path | None:
        """The file of a task in the folder; None if there is none."""
        for name in (info.name, info.pmlb_name):
            path = self.root / name / f"{name}.tsv.gz"
            if path.is_file():
                return path
        return None

    def check(self, info: TaskInfo) -> None:
        """Make sure that the task's file in the folder holds its data.

        Raises:
            BadFileError: the file holds no data at all.
            DataError: it cannot be read, or holds other data.
        """
        path = self.path(info)
        if _digest(path) not in info.sha256:
            self._repacked(info, path)

    def read(self, info: TaskInfo) -> tuple[np.ndarray, np.ndarray, str]:
        """Read the task's file from the folder.

        Returns:
            X float64 (n, d) in the order of `TaskInfo.columns`, y float64 (n,), and where they
            are from, in words.

        Raises:
            DataError: as for `check`, or the file is of a version that does not fit the task.
        """
        path = self.path(info)
        if path is None:
            raise DataError(f"The file of {info.name} has vanished from {self.root}.", _RETRY)
        digest = _digest(path)
        if digest in info.sha256:
            X, y = _parse(info, path)
            return X, y, f"PMLB file {path.name}, sha256 {digest[:12]} as published"
        X, y = self._repacked(info, path)
        return X, y, f"PMLB file {path.name}, packed anew, values as published to 7 digits"

    def _repacked(self, info: TaskInfo, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Read a file whose checksum is unknown, if its values prove it to be the data set."""
        _must_be_gzip(path)
        X, y = _parse(info, path)
        if info.values:
            same = fingerprint(info.features, X, y) == info.values
        elif info.truth:
            truth = parse(info.truth, info.features).evaluate(X, info.features)
            same = np.abs(y - truth).max() <= 1e-6 * np.sqrt(np.mean(truth**2))
        else:
            same = False
        if not same:
            raise DataError(
                f"{path} is not the {info.name} that PMLB publishes: its checksum and its values "
                "are unknown.",
                "Move it out of the cache, and it is fetched anew.",
            )
        return X, y

    def unreachable(self) -> str:
        """Why PMLB online cannot be used; '' if it can. Asked once, until a download fails."""
        return self._broken or _unreachable(self.url)

    def download(self, info: TaskInfo) -> None:
        """Fetch the task's file into the folder: whole and with the right checksum, or not at all.

        Raises:
            DataError: PMLB did not give the file, or it cannot be stored.
        """
        from filelock import FileLock

        if self._broken:  # found out once; waiting again for every task would take hours
            raise DataError(f"PMLB online {self._broken}: no {info.name}.", _RETRY)
        folder = self.root / info.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock", timeout=DOWNLOAD_SECONDS):
                if self._arrived_meanwhile(info):
                    return
                with new_file(folder / f"{info.name}.tsv.gz") as file:
                    digest = hashlib.sha256()
                    for chunk in _stream(self.url, info.pmlb_name, DOWNLOAD_SECONDS):
                        file.write(chunk)
                        digest.update(chunk)
                    if digest.hexdigest() not in info.sha256:
                        file.flush()
                        raise self._wrong_download(info, Path(file.name))
        except _NoAnswerError as error:
            if not error.only_this_file:
                self._broken = str(error)
            raise DataError(f"PMLB online {error}: no {info.name}.", _RETRY) from error
        except OSError as error:  # filelock's Timeout is one too
            raise DataError(
                f"Cannot store PMLB's {info.name} in {folder}: {error.strerror or error}",
                "Name a folder that can be written with --pmlb-cache.",
            ) from error

    def _arrived_meanwhile(self, info: TaskInfo) -> bool:
        try:
            return self.path(info) is not None and self.check(info) is None
        except BadFileError:
            return False

    def _wrong_download(self, info: TaskInfo, path: Path) -> DataError:
        try:
            _must_be_gzip(path)
            what = "is not the file it has published before"
        except BadFileError as error:
            what = str(error).removeprefix(f"{path} ").rstrip(".")
            self._broken = f"gave a file that {what}"
        return DataError(
            f"PMLB online gave no usable {info.name}: what came {what}.",
            _RETRY,
        )


def fingerprint(features: tuple[str, ...], X: np.ndarray, y: np.ndarray) -> str:
    """SHA-256 of names, order and values, rounded to float32, wherever they come from.

    The last digits are no part of a data set's identity: processors differ in the last one of a
    sine or an exponential, so that data made on two of them do; and before version 3.1, pandas
    reads a tenth of all decimal numbers one unit in the last place off, and writes them so when the
    pmlb package packs a file anew.
    """
    digest = hashlib.sha256(",".join(features).encode() + b"\n")
    for values in (X, y):
        digest.update(np.ascontiguousarray(values.astype(np.float32), "<f8"))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "Check the file.") from error


def _must_be_gzip(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise BadFileError(
            f"{path} is a Git LFS pointer, not the data.",
            "Run `git lfs pull` in that clone of PMLB, or delete the file.",
        )
    if not head.startswith(b"\x1f\x8b"):
        raise BadFileError(f"{path} is no gzip file.", "Delete it, and it is fetched anew.")
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadFileError(
            f"{path} is cut short or damaged.", "Delete it, and it is fetched anew."
        ) from error


def _parse(info: TaskInfo, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read values exactly and make sure that they fit the task in shape."""
    from pyarrow import ArrowException, csv

    columns = [*info.columns, "target"]
    try:
        # Not by pmlb.fetch_data: it drops rows, and pandas' numbers depend on its version.
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter="\t"),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, "float64")),
        )
    except (ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no table of numbers: {error}", "Move it out of the cache."
        ) from error
    if sorted(table.column_names) != sorted(columns) or table.num_rows != info.n_rows:
        raise DataError(
            f"{path} has {table.num_rows} rows and {table.num_columns - 1} features, and is not "
            f"the {info.name} of SRBench ({info.n_rows} rows, {info.n_features} features).",
            "PMLB has replaced some data sets since SRBench 2021 used them; its git history "
            "has that version. Put it in the cache, or leave the task out.",
        )
    X, y = np.column_stack([table[name] for name in info.columns]), table["target"].to_numpy()
    missing = int((~np.isfinite(X).all(axis=1) | ~np.isfinite(y)).sum())
    if missing:
        raise DataError(f"{path} lacks values in {missing} rows.", "Move it out of the cache.")
    return X, y


@functools.cache
def _unreachable(url: str) -> str:
    """Fetch one tiny file, in a thread of its own because looking up a name knows no time limit."""
    info = find(_PROBE_TASK, "blackbox")
    answer: list[str] = []

    def probe() -> None:
        try:
            content = b"".join(_stream(url, info.name, PROBE_SECONDS))
        except _NoAnswerError as error:
            answer.append(str(error))
            return
        known = hashlib.sha256(content).hexdigest() in info.sha256
        pointer = content.startswith(b"version https://git-lfs")
        wrong = "gives Git LFS pointers instead of files (its quota may be used up)"
        answer.append("" if known else wrong if pointer else "gives something that is not its data")

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0] if answer else f"did not answer within {PROBE_SECONDS:g} s"


def _stream(url: str, name: str, seconds: float) -> Iterator[bytes]:
    """Chunks of a file of PMLB online.

    Raises:
        _NoAnswerError: the file cannot be had.
    """
    import requests
    import urllib3

    end = time.monotonic() + seconds
    failed = "cannot be reached"
    try:
        with requests.get(
            f"{url}/{name}/{name}.tsv.gz",
            stream=True,
            timeout=(PROBE_SECONDS, min(seconds, STALL_SECONDS)),
            headers={"Accept-Encoding": "identity"},
        ) as response:
            if response.status_code != 200:
                answer = f"answers {response.status_code} {response.reason}".rstrip()
                raise _NoAnswerError(answer, only_this_file=response.status_code == 404)
            failed = "broke off"
            # read1 takes what has come; a trickle that fills no chunk would outlast the limit.
            while chunk := response.raw.read1(1 << 16):
                yield chunk
                if time.monotonic() > end:
                    raise _NoAnswerError(f"took longer than {seconds:g} s")
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise _NoAnswerError("stopped answering") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _NoAnswerError(failed) from error
