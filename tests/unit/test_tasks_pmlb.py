"""PMLB's files, whole and broken, in a folder and from a real server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lee_bench.errors import DataError, UsageError
from lee_bench.tasks import catalog, feynman, pmlb_files
from lee_bench.tasks.pmlb_files import PmlbFiles
from lee_bench.tasks.sources import DataSource

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9022\n"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens
ROWS = 2000
I_8_14 = replace(catalog.find("feynman_I_8_14"), n_rows=ROWS)


def packed(task, X, y, order=None) -> bytes:
    """A file as the pmlb package writes it."""
    columns = {**dict(zip(task.columns, X.T, strict=True)), "target": y}
    order = order or list(columns)
    lines = ["\t".join(order)]
    lines += [
        "\t".join(map(repr, row)) for row in zip(*(columns[c].tolist() for c in order), strict=True)
    ]
    return gzip.compress("\n".join(lines).encode() + b"\n", mtime=0)


@pytest.fixture(scope="module")
def content() -> bytes:
    return packed(I_8_14, *feynman.generate(I_8_14))


@pytest.fixture(scope="module")
def task(content):
    """A task whose published file is `content`."""
    return replace(I_8_14, sha256=(hashlib.sha256(content).hexdigest(),))


def put(root, name: str, content: bytes):
    (root / name).mkdir(parents=True)
    path = root / name / f"{name}.tsv.gz"
    path.write_bytes(content)
    return path


class Server(ThreadingHTTPServer):
    """Answers each name with the bytes, or the behaviour, it was given."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/datasets"
        self.answers: dict = {}
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.split("/")[2]
        self.server.asked[name] += 1
        answer = self.server.answers.get(name, 404)
        if callable(answer):
            answer(self)
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            self.give(answer, len(answer))

    def give(self, content: bytes, announced: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def hang(handler: Handler) -> None:
    handler.server.over.wait(20)


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.1):
        handler.wfile.write(b"\x1f")


# --- files in a folder ---------------------------------------------------------------------


def test_a_published_file_is_read_by_name_whatever_its_column_order(tmp_path):
    X, y = feynman.generate(I_8_14)
    content = packed(I_8_14, X, y, order=["target", "y1", "x2", "y2", "x1"])
    task = replace(I_8_14, sha256=(hashlib.sha256(content).hexdigest(),))
    put(tmp_path, task.name, content)
    source = DataSource("auto", tmp_path, NOWHERE)
    assert source.kind(task) == "pmlb"
    data = source.load(task)
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)
    assert "as published" in data.source
    # Equal values are equal, wherever they come from.
    assert data.sha256 == DataSource("builtin").load(I_8_14).sha256


def test_the_last_digit_is_no_part_of_a_data_set_and_the_seventh_is():
    data = DataSource("builtin").load(I_8_14)
    digest = partial(pmlb_files.fingerprint, I_8_14.features, data.X)
    assert digest(np.nextafter(data.y, np.inf)) == data.sha256
    changed = data.y.copy()
    changed[0] *= 1 + 1e-6
    assert digest(changed) != data.sha256


def test_all_real_files_load_and_match_their_table(shared_data):
    source = DataSource("pmlb", shared_data / "pmlb", NOWHERE)
    loaded = 0
    for suite in ("strogatz", "blackbox"):
        for task in catalog.tasks(suite):
            if source.files.path(task):
                data = source.load(task)
                assert data.X.shape == (task.n_rows, task.n_features)
                assert data.sha256 == task.values
                loaded += 1
    assert loaded == 133


def test_a_file_packed_anew_counts_if_its_values_are_right(tmp_path, shared_data):
    import pandas as pd

    for name in ("192_vineyard", "strogatz_vdp1", "195_auto_price"):
        real = pd.read_csv(shared_data / "pmlb" / name / f"{name}.tsv.gz", sep="\t")
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"{name}.tsv.gz"
        real.to_csv(path, sep="\t", index=False)
        task = catalog.find(name)
        assert "packed anew" in DataSource("pmlb", tmp_path, NOWHERE).load(task).source
        real.iloc[3, 0] += 0.01
        real.to_csv(path, sep="\t", index=False)
        with pytest.raises(DataError, match=r"is not the .* that PMLB publishes"):
            DataSource("pmlb", tmp_path, NOWHERE).load(task)


def test_a_feynman_file_packed_anew_must_obey_its_law(tmp_path, content):
    path = put(tmp_path, I_8_14.name, content)
    assert "packed anew" in DataSource("auto", tmp_path, NOWHERE).load(I_8_14).source
    X, y = feynman.generate(I_8_14)
    y = y.copy()
    y[17] *= 1.001
    path.write_bytes(packed(I_8_14, X, y))
    with pytest.raises(DataError, match="is not the feynman_I_8_14 that PMLB publishes"):
        DataSource("auto", tmp_path, NOWHERE).kind(I_8_14)
    assert path.exists()


def test_a_clone_of_pmlb_is_a_cache(tmp_path, task, content):
    put(tmp_path / "datasets", task.name, content)
    assert DataSource("pmlb", tmp_path, NOWHERE).kind(task) == "pmlb"


def test_a_renamed_data_set_is_found_under_its_new_name(tmp_path, content):
    old = replace(I_8_14, pmlb_name="_deprecated_x", sha256=(hashlib.sha256(content).hexdigest(),))
    put(tmp_path, "_deprecated_x", content)
    assert DataSource("pmlb", tmp_path, NOWHERE).load(old).X.shape == (ROWS, 4)


BROKEN = {
    "pointer": (lambda content: POINTER, "is a Git LFS pointer", "git lfs pull"),
    "page": (lambda content: b"<!DOCTYPE html><html>", "is no gzip file", "Delete it"),
    "cut short": (lambda content: content[: len(content) // 2], "is cut short", "Delete it"),
    "empty": (lambda content: b"", "is no gzip file", "Delete it"),
    "flipped": (
        lambda content: content[:5000] + bytes([content[5000] ^ 255]) + content[5001:],
        "is cut short or damaged",
        "Delete it",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_told_apart_and_never_read(tmp_path, how, task, content):
    spoil, what, remedy = BROKEN[how]
    path = put(tmp_path, task.name, spoil(content))
    with pytest.raises(DataError, match=what) as caught:
        DataSource("pmlb", tmp_path, NOWHERE).load(task)
    assert remedy in caught.value.hint
    assert str(path) in str(caught.value)
    # Where the data can be made instead, they are, and the file is named.
    source = DataSource("auto", tmp_path, NOWHERE)
    assert source.kind(task) == "builtin"
    assert any(what in note and remedy in note for note in source.notes)
    assert source.status(task)[0] == "bad file"
    assert path.read_bytes() == spoil(content)


def test_tables_that_are_not_the_task_are_refused(tmp_path):
    task = replace(I_8_14, n_rows=3)
    wrong = {
        "rows": b"x1\tx2\ty1\ty2\ttarget\n1\t2\t3\t4\t5\n",
        "features": b"x1\tx2\ty1\ttarget\n" + b"1\t2\t3\t4\n" * 3,
        "text": b"x1\tx2\ty1\ty2\ttarget\n" + b"1\t2\t3\t4\tfive\n" * 3,
        "missing": b"x1\tx2\ty1\ty2\ttarget\n" + b"1\t\t3\t4\t5\n" * 3,
        "infinite": b"x1\tx2\ty1\ty2\ttarget\n" + b"1\tinf\t3\t4\t5\n" * 3,
    }
    said = {
        "rows": "has 1 rows",
        "features": "and 3 features",
        "text": "is no table of numbers",
        "missing": "lacks values in 3 rows",
        "infinite": "lacks values in 3 rows",
    }
    for name, text in wrong.items():
        content = gzip.compress(text)
        known = replace(task, sha256=(hashlib.sha256(content).hexdigest(),))
        put(tmp_path / name, task.name, content)
        with pytest.raises(DataError, match=said[name]):
            DataSource("pmlb", tmp_path / name, NOWHERE).load(known)


def test_titanic_of_today_is_not_srbenchs_titanic(tmp_path):
    task = catalog.find("titanic")
    put(tmp_path, "titanic", gzip.compress(b"gender\tage\ttarget\n1\t2\t0\n"))
    with pytest.raises(DataError, match="is not the titanic of SRBench") as caught:
        DataSource("auto", tmp_path, NOWHERE).kind(task)
    assert "git history" in caught.value.hint
    with pytest.raises(DataError, match="has replaced it"):
        DataSource("auto", tmp_path / "empty", NOWHERE).kind(task)


def test_a_cache_that_is_no_folder_is_a_wrong_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        DataSource("auto", tmp_path / "file")


def test_the_environment_names_the_cache(tmp_path, monkeypatch, task, content):
    put(tmp_path, task.name, content)
    monkeypatch.setenv("LEE_BENCH_PMLB_CACHE", str(tmp_path))
    monkeypatch.setenv("LEE_BENCH_PMLB_URL", NOWHERE)
    source = DataSource("pmlb")
    assert source.files.root == tmp_path
    assert source.kind(task) == "pmlb"


# --- deciding ------------------------------------------------------------------------------


def test_offline_is_found_out_once_and_what_can_be_made_is_made(tmp_path, monkeypatch):
    asked = []
    stream = pmlb_files._stream
    monkeypatch.setattr(pmlb_files, "_stream", lambda *args: asked.append(args) or stream(*args))
    source = DataSource("auto", tmp_path, f"{NOWHERE}/{tmp_path.name}")
    begin = time.monotonic()
    for suite in ("feynman", "strogatz"):
        for task in catalog.tasks(suite):
            assert source.kind(task) == "builtin"
    for task in catalog.tasks("blackbox"):
        with pytest.raises(DataError, match="PMLB online"):
            source.kind(task)
    assert time.monotonic() - begin < 5
    assert len(asked) == 1
    assert len(source.notes) == 2
    assert source.notes[0].startswith("feynman: 119 tasks, generated")
    assert "PMLB online cannot be reached" in source.notes[0]


def test_what_cannot_be_had_says_what_to_do(tmp_path):
    esl, law, diabetes = (catalog.find(name) for name in ("1027_ESL", "I_6_2", "diabetes"))
    cases = [
        ("auto", esl, "no file in .*PMLB online", "--pmlb-cache.*suite 'sklearn'"),
        ("pmlb", law, "no file in .*PMLB online", "--pmlb-cache.*--data builtin"),
        ("builtin", esl, "cannot be generated", "--data auto.*suite 'sklearn'"),
        ("pmlb", diabetes, "is not in PMLB", "--data auto or --data builtin"),
    ]
    for mode, task, what, remedy in cases:
        with pytest.raises(DataError, match=what) as caught:
            DataSource(mode, tmp_path, NOWHERE).kind(task)
        assert re.search(remedy, caught.value.hint), caught.value.hint


def test_builtin_never_looks_at_the_cache(tmp_path, task, content):
    put(tmp_path, task.name, content)
    assert DataSource("builtin", tmp_path).load(task).source.startswith("generated")


def test_an_unknown_source_is_a_wrong_option():
    with pytest.raises(UsageError, match="No data source is called 'plmb'"):
        DataSource("plmb")


def test_loaded_rows_are_shared_and_cannot_be_changed(tmp_path):
    source = DataSource("builtin", tmp_path)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(source.load, [catalog.find("I_6_2")] * 16))
    assert all(data is loaded[0] for data in loaded)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0].X[0, 0] = 1.0


def test_memory_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr("lee_bench.tasks.sources._KEPT_BYTES", 5_000_000)
    source = DataSource("builtin", tmp_path)
    for task in catalog.tasks("feynman")[:6]:
        source.load(task)
        assert len(source._kept) <= 3


# --- from a server -------------------------------------------------------------------------


def test_a_download_is_checked_stored_and_not_repeated(tmp_path, server, task, content):
    server.answers[task.name] = content
    files = PmlbFiles(tmp_path, server.url)
    files.download(task)
    assert files.path(task).read_bytes() == content
    files.download(task)
    assert server.asked[task.name] == 1
    assert sorted(p.name for p in (tmp_path / task.name).iterdir()) == [
        ".lock",
        f"{task.name}.tsv.gz",
    ]


def test_the_whole_way_from_the_server(tmp_path, server, shared_data, task, content):
    real = shared_data / "pmlb" / "192_vineyard" / "192_vineyard.tsv.gz"
    server.answers = {"192_vineyard": real.read_bytes(), task.name: content}
    source = DataSource("auto", tmp_path, server.url)
    assert source.kind(task) == source.kind(catalog.find("192_vineyard")) == "pmlb"
    assert server.asked == {"192_vineyard": 1}  # to find out, before anything is loaded
    assert source.load(task).X.shape == (ROWS, 4)
    assert source.load(catalog.find("192_vineyard")).X.shape == (52, 2)
    assert "PMLB online" in source.notes[0]
    # A file that the server lacks is one task's loss; the next run takes the rest from the cache.
    with pytest.raises(DataError, match="PMLB online answers 404"):
        source.load(catalog.find("I_6_2"))
    again = DataSource("auto", tmp_path, server.url)
    again.load(task)
    assert server.asked[task.name] == 1
    # The pmlb package reads what was stored.
    import pmlb

    frame = pmlb.fetch_data("192_vineyard", local_cache_dir=str(tmp_path), dropna=False)
    assert frame.shape == (52, 3)


def test_downloads_at_the_same_time_are_one_download(tmp_path, server, task, content):
    server.answers[task.name] = lambda handler: (
        time.sleep(0.2),
        handler.give(content, len(content)),
    )
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: PmlbFiles(tmp_path, server.url).download(task), range(6)))
    assert server.asked[task.name] == 1


def test_a_broken_file_in_the_cache_is_replaced_from_the_server(tmp_path, server, task, content):
    put(tmp_path, task.name, POINTER)
    server.answers[task.name] = content
    files = PmlbFiles(tmp_path, server.url)
    files.download(task)
    files.check(task)


def test_other_data_in_the_cache_are_never_overwritten(tmp_path, server, task, content):
    X, y = feynman.generate(I_8_14)
    path = put(tmp_path, task.name, packed(task, X, y + 1.0))
    mine = path.read_bytes()
    server.answers[task.name] = content
    with pytest.raises(DataError, match="is not the"):
        PmlbFiles(tmp_path, server.url).download(task)
    assert path.read_bytes() == mine


BAD_ANSWERS = {
    "missing": (404, "answers 404"),
    "quota": (403, "answers 403"),
    "down": (503, "answers 503"),
    "pointer": (POINTER, "is a Git LFS pointer"),
    "page": (b"<html>log in</html>", "is no gzip file"),
    "other": (gzip.compress(b"a\tb\n1\t2\n"), "is not the file it has published before"),
    "half": (lambda handler: handler.give(b"\x1f\x8b" * 500, 5000), "broke off"),
    "cut": (gzip.compress(b"1\t2\n" * 999)[:20], "is cut short"),
    "slow": (drip, "took longer than"),
    "hang": (hang, "cannot be reached|stopped answering"),
}


@pytest.mark.parametrize("how", BAD_ANSWERS)
def test_a_bad_download_leaves_nothing_behind(tmp_path, server, task, how, monkeypatch):
    monkeypatch.setattr(pmlb_files, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(pmlb_files, "DOWNLOAD_SECONDS", 0.5)
    server.answers[task.name], said = BAD_ANSWERS[how]
    files = PmlbFiles(tmp_path, server.url)
    begin = time.monotonic()
    with pytest.raises(DataError, match=said) as caught:
        files.download(task)
    assert time.monotonic() - begin < 3
    assert "--pmlb-cache" in caught.value.hint
    assert "feynman_I_8_14" in str(caught.value)
    assert files.path(task) is None
    assert [p.name for p in (tmp_path / task.name).iterdir()] == [".lock"]


def test_after_a_failed_download_nobody_waits_again(tmp_path, server, task, monkeypatch):
    monkeypatch.setattr(pmlb_files, "STALL_SECONDS", 0.3)
    server.answers = {task.name: hang, "feynman_I_6_2": hang}
    files = PmlbFiles(tmp_path, server.url)
    with pytest.raises(DataError):
        files.download(task)
    with pytest.raises(DataError, match="stopped answering"):
        files.download(catalog.find("I_6_2"))
    assert files.unreachable() == "stopped answering"
    assert server.asked["feynman_I_6_2"] == 0


PROBES = {
    "hang": (hang, "did not answer|stopped answering"),
    "slow": (drip, "did not answer|took longer"),
    "pointer": (POINTER, "gives Git LFS pointers"),
    "page": (b"<html>log in</html>", "gives something that is not its data"),
    "quota": (403, "answers 403"),
}


@pytest.mark.parametrize("how", PROBES)
def test_a_useless_server_is_found_out_in_time(tmp_path, server, how, monkeypatch):
    monkeypatch.setattr(pmlb_files, "PROBE_SECONDS", 0.5)
    server.answers["192_vineyard"], said = PROBES[how]
    begin = time.monotonic()
    source = DataSource("auto", tmp_path, server.url)
    for task in catalog.tasks("strogatz"):
        assert source.kind(task) == "builtin"
    assert time.monotonic() - begin < 2
    assert server.asked["192_vineyard"] == 1
    assert re.search(said, source.notes[0]), source.notes
    with pytest.raises(DataError, match=said):
        source.kind(catalog.find("1027_ESL"))


def test_a_cache_that_cannot_be_written_is_said(tmp_path, server, task, content):
    server.answers[task.name] = content
    (tmp_path / task.name).write_text("a file where a folder should be")
    with pytest.raises(DataError, match="Cannot store") as caught:
        PmlbFiles(tmp_path, server.url).download(task)
    assert "--pmlb-cache" in caught.value.hint
