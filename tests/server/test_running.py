"""The command, and the lab while it runs: an end by Ctrl-C, sentences for what cannot be, and nothing left behind."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_client import Client
from processes import processor_seconds, started

from tegum.cli import app
from tegum.server.running import Lab
from tegum.server.trainings import THREADS

pytestmark = pytest.mark.quick_form

ENDLESS: dict[str, Any] = {
    "features": [{"kind": "independent", "count": 5, "density": 0.05}],
    "hidden": 2,
    "training": {"kind": "sampled", "steps": 10_000_000, "batch": 256},
}


def until(happens: Callable[[], bool]) -> None:
    """Wait for what must happen; the limit is against hanging alone."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    """With a page at work; the address names the loopback alone, and the token."""
    with started("lab", "--no-browser", cwd=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"the lab is at (http://127\.0\.0\.1:\d+/\?token=[\w-]{32})\n", line)
        assert found, line
        client = Client(found[1])
        with client.page() as page:
            page.say({"type": "train", "id": 1, "spec": ENDLESS, "run": 0, "changes": []})
            page.hear()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "tegum: interrupted\n")
    with pytest.raises(ConnectionRefusedError):
        client.ask("GET", "/api/folder")
    assert not [*tmp_path.iterdir()]


@pytest.mark.quick_form
def test_a_page_that_is_closed_costs_nothing(tmp_path: Path) -> None:
    with started("lab", "--no-browser", cwd=tmp_path) as process:
        assert process.stdout is not None
        client = Client(process.stdout.readline().rpartition(" ")[2].strip())
        with client.page() as page:
            page.say({"type": "train", "id": 1, "spec": ENDLESS, "run": 0, "changes": []})
            page.hear()
            before = processor_seconds(process)
            until(lambda: processor_seconds(process) > before + 0.5)
        client.ask("GET", "/api/folder")

        def quiet() -> bool:
            used = processor_seconds(process)
            time.sleep(0.5)
            return processor_seconds(process) - used < 0.15

        until(quiet)


def test_only_the_loopback_listens(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        assert lab._socket.getsockname()[0] == "127.0.0.1"
        with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError, match=r"refused|unreachable|assign"):
            other.connect(("::1", Client(lab.address).port))


def test_the_port_is_the_one_asked_for(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        port = Client(lab.address).port
        with pytest.raises(OSError, match=rf"^lab --port {port}: .*[Aa]ddress already in use"), Lab(tmp_path, port):
            pass
        first = lab.token
    with Lab(tmp_path, port) as lab:
        assert Client(lab.address).port == port
        assert lab.token != first


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("none",), "lab none: must be a store, a folder with stores, or a Spec in a TOML file; it does not exist"),
        (("text.txt",), "lab text.txt: must be a store, a folder with stores, or a Spec in a TOML file; it is a file"),
        (("bad.toml",), "bad.toml: Spec(hiden=3): there is no key 'hiden'"),
        (("--port", "70000"), "lab --port 70000: a port is a number from 0, for any free one, to 65535"),
        (("--port", "-1"), "lab --port -1: a port is a number"),
        (("--out", "x.html"), "lab --out x.html: only --static writes a file"),
        (("--overwrite",), "lab --overwrite: only --static writes a file"),
        (("--static", "--port", "1"), "lab --static --port 1: a page that is a file has no port"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "bad.toml").write_text("hiden = 3")
    with pytest.raises((ValueError, OSError)) as refused:
        app(["lab", "--no-browser", *args])
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_without_what_it_needs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("starlette", "uvicorn"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, name, None)
            with pytest.raises(ValueError, match=r"^lab: .*: pip install 'tegum\[lab\]'; --static needs neither$"):
                Lab(tmp_path)


def test_the_browser_is_opened_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address))
    monkeypatch.setattr(Lab, "wait", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        app(["lab", "--no-browser"])
    assert (not ended.value.code, opened) == (True, [])
    with pytest.raises(SystemExit):
        app(["lab"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=.+", opened[0])


def test_twenty_pages_leave_nothing_behind(tmp_path: Path) -> None:
    """No thread, no descriptor, no training, and no memory of them."""
    with Lab(tmp_path) as lab:
        client = Client(lab.address)

        def visit(number: int) -> None:
            with client.page(f"page-{number:04}") as page:
                page.say({"type": "train", "id": 1, "spec": ENDLESS, "run": 0, "changes": []})
                page.say(
                    {"type": "ensemble", "id": 2, "spec": ENDLESS, "changes": [], "first": 0, "every": 1, "runs": 1}
                )
                page.hear()

        def left() -> tuple[int, int, int]:
            until(lambda: not [each for each in threading.enumerate() if each.name.startswith((THREADS, "tegum_"))])
            until(lambda: not lab._running.server_state.connections)
            files = len([*Path("/proc/self/fd").iterdir()]) if sys.platform == "linux" else 0
            return threading.active_count(), files, len(lab._pages._open)

        visit(0)
        client.ask("POST", "/api/describe", {"spec": ENDLESS})
        before = left()
        visitors = [threading.Thread(target=visit, args=(number,)) for number in range(10)]
        for each in visitors:
            each.start()
        for each in visitors:
            each.join()
        for number in range(10, 20):
            visit(number)
        assert left() == before


def test_only_so_many_pages_may_be_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tegum.server.pages.MOST_PAGES", 2)
    with client.page("page-number-1"), client.page("page-number-2"):
        status, sentence = client.told("GET", "/api/hear?page=page-number-3")
        assert (status, "2 pages are open" in sentence) == (429, True)


def test_a_stream_says_that_it_is_there(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tegum.server.app.ALIVE_SECONDS", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    connection.request("GET", "/api/hear?page=page-alive", headers={"X-Tegum-Token": client.token})
    answer = connection.getresponse()
    assert [answer.readline() for _ in range(6)] == [b'data: {"type":"hello"}\n', b"\n", b":\n", b"\n", b":\n", b"\n"]
    connection.close()
    answer.close()
