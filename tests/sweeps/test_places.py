"""Places: a folder and object stores behave alike, and what goes wrong is one sentence."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tegum.sweeps.places import SweepPlace, full, place_at


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, out) -> SweepPlace:
    return place_at(out(request.param), "sweep")


def test_what_is_written_is_read(place):
    for path, content in (
        ("sweep.json", b"{}"),
        ("packs/3f/3f00", b""),
        ("runs.zarr/a/c/0/0", bytes(range(256)) * 5000),
    ):
        place.write(path, content)
        assert place.read(path) == content
        place.write(path, content[:3] + b"!")
        assert place.read(path) == content[:3] + b"!"
        place.write_loosely(path, content)
        place.flush()
        assert place.read(path) == content


def test_sizes_are_those_of_all_files_under_a_folder(place):
    assert place.sizes("") == place.sizes("packs") == {}
    files = {"packs/aa/1": 3, "packs/ab/2": 0, "packs.json": 5, "packs2/aa/1": 7, "runs.zarr/zarr.json": 11}
    for path, size in files.items():
        place.write(path, bytes(size))
    assert place.sizes("") == files
    assert place.sizes("packs") == {"packs/aa/1": 3, "packs/ab/2": 0}
    assert place.sizes("packs/ab") == {"packs/ab/2": 0}
    assert place.sizes("nowhere/at/all") == {}


def test_a_file_is_created_once(place):
    assert place.create("claims/a", b"one")
    assert not place.create("claims/a", b"two")
    assert place.read("claims/a") == b"one"
    place.remove("claims/a")
    assert place.create("claims/a", b"three", durable=False)
    assert place.read("claims/a") == b"three"


def test_of_eight_who_create_a_file_at_once_one_has_it(place):
    start, names = threading.Barrier(8), [f"claims/{number}" for number in range(5)]

    def create(who: int) -> list[bool]:
        start.wait()
        return [place.create(name, f"{who}".encode() * 100) for name in names]

    with ThreadPoolExecutor(8) as pool:
        found = np.array(list(pool.map(create, range(8))))
    assert (found.sum(axis=0) == 1).all()
    for name, who in zip(names, found.argmax(axis=0), strict=True):
        assert place.read(name) == f"{who}".encode() * 100
    assert set(place.sizes("")) == set(names)


def test_a_file_that_is_replaced_is_read_whole(place):
    contents = [bytes([number]) * 200_000 for number in range(4)]
    place.write("a", contents[0])
    over, seen = threading.Event(), set()

    def read() -> None:
        while not over.is_set():
            seen.add(place.read("a"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(12):
        place.write("a", contents[number % 4])
    over.set()
    reader.join()
    assert seen <= set(contents)


def test_what_is_removed_is_gone_and_may_be_removed_again(place):
    for path in ("a/1", "a/b/2", "ab/3"):
        place.write(path, b"x")
    place.remove("a/1")
    place.remove("a/1")
    place.remove("nowhere/1")
    assert set(place.sizes("")) == {"a/b/2", "ab/3"}
    place.clear("a")
    place.clear("a")
    place.clear("nowhere")
    place.tidy()
    assert set(place.sizes("")) == {"ab/3"}


def test_a_missing_file_is_one_sentence(place):
    with pytest.raises(FileNotFoundError, match=r"^sweep: reading '?.*/?packs/aa/1'?: .+$") as caught:
        place.read("packs/aa/1")
    assert "\n" not in str(caught.value)
    assert place.address.rstrip("/") in str(caught.value)


def test_an_address_leads_to_the_same_place(place):
    place.write("a", b"x")
    assert place_at(place.address, "sweep").read("a") == b"x"
    assert place_at(place.address + "/", "sweep").read("a") == b"x"


def test_zarr_sees_the_files(place):
    import zarr

    place.write("runs.zarr/zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {"a": 1}}')
    assert dict(zarr.open_group(place.zarr(), path="runs.zarr", mode="r").attrs) == {"a": 1}


def test_a_bucket_that_is_not_there_is_one_sentence(out):
    out("s3")
    place = place_at("s3://no-such-bucket/x", "sweep(out='s3://no-such-bucket/x')")
    for call in (lambda: place.write("a", b"x"), lambda: place.sizes(""), lambda: place.create("a", b"x")):
        with pytest.raises(OSError, match=r"^sweep\(out='s3://no-such-bucket/x'\): .*s3://no-such-bucket/x/") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A block in which S3's address is that of a server of this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Forbidden(BaseHTTPRequestHandler):
    """An S3 server that refuses every request."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access\nDenied</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_an_object_store_that_refuses_says_so_in_one_sentence(out, monkeypatch):
    out("s3")
    with serving(Forbidden, monkeypatch):
        place = place_at("s3://sweeps/x", "sweep")
        for call in (lambda: place.read("a"), lambda: place.write("a", b"x"), lambda: place.sizes("")):
            with pytest.raises(
                PermissionError, match=r"^sweep: .* s3://sweeps/x/.*: the object store refuses it"
            ) as caught:
                call()
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400


class Replacing(BaseHTTPRequestHandler):
    """An S3 server that knows no conditions, and replaces whatever there is."""

    def do_PUT(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(b"<DeleteResult><Deleted><Key>trial</Key></Deleted></DeleteResult>")

    def answer(self, body: bytes) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_object_store_that_knows_no_conditions_is_refused(out, monkeypatch):
    out("s3")
    refused = pytest.raises(OSError, match=r"^sweep: s3://sweeps/x replaces objects .*If-None-Match")
    with serving(Replacing, monkeypatch), refused:
        place_at("s3://sweeps/x", "sweep").check()


def test_a_place_can_be_checked_and_nothing_is_left(place):
    place.check()
    assert place.sizes("") == {}


def test_a_file_that_another_machine_has_just_replaced_is_read_again(tmp_path, monkeypatch):
    place = place_at(tmp_path / "s", "sweep")
    place.write("a", b"new")
    reads = []

    read = Path.read_bytes

    def stale_once(path: Path) -> bytes:
        reads.append(path)
        if len(reads) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", stale_once)
    assert place.read("a") == b"new"
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("memory://", r"^sweep: memory://: an object store in memory has a name, as in memory://trial$"),
        ("memory:///x", r"^sweep: memory:///x: an object store in memory has a name"),
        ("gopher://x/y", r"^sweep: gopher://x/y: "),
        ("s3:///x", r"^sweep: s3:///x: "),
        ("a\0b", r"^sweep: "),
    ],
)
def test_an_address_that_is_none_is_refused(address, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        place_at(address, "sweep")
    assert "\n" not in str(caught.value)


def test_a_folder_is_given_in_any_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("inner", Path("inner"), tmp_path / "inner", f"file://{tmp_path}/inner"):
        assert place_at(given, "sweep").address == str(tmp_path / "inner")
    assert not (tmp_path / "inner").exists()


@contextmanager
def as_nobody() -> Iterator[None]:
    """A block without root's right to write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_written(tmp_path):
    place = place_at(tmp_path / "place", "sweep(out='x')")
    place.write("a", b"x")

    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    (tmp_path / "place").chmod(0o555)
    calls = [lambda: place.write("b", b"x"), lambda: place.create("b", b"x"), lambda: place.remove("a")]
    try:
        with as_nobody():
            for call in calls:
                with pytest.raises(
                    PermissionError, match=r"^sweep\(out='x'\): .*ing '.*/place/[ab]': Permission denied$"
                ):
                    call()
    finally:
        (tmp_path / "place").chmod(0o755)
    assert place.sizes("") == {"a": 1}


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    place = place_at(tmp_path / "file" / "place", "sweep")
    for call in (lambda: place.write("a", b"x"), lambda: place.create("a", b"x"), lambda: place.read("a")):
        with pytest.raises(OSError, match=r"^sweep: (writing|reading) '.*/file/place/a': Not a directory$"):
            call()
    with pytest.raises(OSError, match=r"^sweep: looking at '.*': File name too long$"):
        place_at(tmp_path / ("x" * 300), "sweep")
    with pytest.raises(NotADirectoryError, match=r"^sweep: '.*/file' is a file; a sweep is a folder$"):
        place_at(tmp_path / "file", "sweep")


def test_half_written_files_of_killed_processes_are_not_seen_and_go(tmp_path):
    place = place_at(tmp_path / "place", "sweep")
    place.write("packs/aa/1", b"x")
    litter = tmp_path / "place" / "packs" / "aa" / ".1.0123abcd.part"
    litter.write_bytes(b"half")
    assert place.sizes("") == {"packs/aa/1": 1}
    place.tidy()
    assert not litter.exists()
    assert place.read("packs/aa/1") == b"x"


def test_where_links_cannot_be_made_a_file_is_created_once_all_the_same(tmp_path, monkeypatch):
    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    place = place_at(tmp_path / "place", "sweep")
    assert place.create("a", b"one")
    assert not place.create("a", b"two")
    assert place.read("a") == b"one"
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda who: place.create("b", bytes([who]) * 10), range(8))) == 1
    assert set(place.sizes("")) == {"a", "b"}
    assert [each.name for each in (tmp_path / "place").iterdir() if each.name.startswith(".")] == []


def test_a_full_disk_is_told_from_other_errors(tmp_path, monkeypatch):
    place = place_at(tmp_path, "sweep")

    def fsync(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"^sweep: writing '.*/a': No space left on device$") as caught:
        place.write("a", b"x")
    assert full(caught.value)
    assert not full(FileNotFoundError(2, "x"))
    assert list(tmp_path.iterdir()) == []
