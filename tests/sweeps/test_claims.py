"""Claims: who works on which pack, whatever clocks say, and when somebody is dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tegum.sweeps import claims as module
from tegum.sweeps.claims import Claims
from tegum.sweeps.places import SweepPlace, place_at


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def place(tmp_path: Path) -> SweepPlace:
    return place_at(tmp_path / "sweep", "sweep")


def write_owner(place: SweepPlace, owner: str, **told: object) -> None:
    about = {"count": 1, "machine": "another", "pid": 1, "started": "1"} | told
    place.write(f"claims/owners/{owner}", json.dumps(about).encode())


def test_of_two_owners_one_has_a_pack(place):
    one, other = Claims(place), Claims(place)
    assert one.take("a")
    assert one.take("a")
    assert not other.take("a")
    assert other.take("b")
    assert not one.take("b")
    one.give_back("a")
    assert other.take("a")
    assert one.others() == other.others() == 1


def test_of_many_who_take_a_pack_at_once_one_has_it(place):
    several, start = [Claims(place) for _ in range(8)], threading.Barrier(8)

    def take(claims: Claims) -> list[bool]:
        start.wait()
        return [claims.take(f"pack{number}") for number in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, several))
    assert [sum(each) for each in zip(*found, strict=True)] == [1] * 20


def test_who_leaves_gives_everything_back(place):
    one, other = Claims(place), Claims(place)
    assert all(one.take(name) for name in "abc")
    one.leave()
    assert other.others() == 0
    assert all(other.take(name) for name in "abc")
    assert set(place.sizes("claims")) == {"claims/a", "claims/b", "claims/c", f"claims/owners/{other.owner}"}
    other.leave()
    assert place.sizes("claims") == {}
    other.leave()


KILLED = """
import sys, time
from tegum.sweeps.claims import Claims
from tegum.sweeps.places import place_at

claims = Claims(place_at(sys.argv[1], "sweep"))
print(claims.take("a"), flush=True)
time.sleep(600)
"""


def test_a_killed_process_of_this_machine_is_dead_at_once(place):
    process = subprocess.Popen([sys.executable, "-c", KILLED, place.address], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        watch = Watch()
        claims = Claims(place, watch)
        watch.now += 10**6  # alive, however long it does not count
        assert claims.others() == 1
        assert Claims.alive_at(place) == (2, 0)
        assert not claims.take("a")
        process.send_signal(signal.SIGKILL)
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            time.sleep(0.01)
        # Nobody has waited for it yet: the system still knows its number.
        assert claims.others() == 0
        assert claims.take("a")
    finally:
        process.kill()
        process.communicate()
    assert claims.others() == 0
    assert Claims.alive_at(place) == (1, 0)


def test_a_process_of_another_machine_is_dead_once_its_count_stood_still(place):
    write_owner(place, "far", count=7)
    place.write("claims/a", b"far")
    watch = Watch()
    claims = Claims(place, watch)
    assert not claims.take("a")
    for _ in range(50):  # it counts, and is alive
        watch.now += 0.9 * module._DEAD
        told = json.loads(place.read("claims/owners/far"))
        write_owner(place, "far", count=told["count"] + 1)
        assert not claims.take("a")
    watch.now += 0.9 * module._DEAD
    assert not claims.take("a")
    watch.now += 0.2 * module._DEAD
    assert claims.others() == 0
    assert claims.take("a")
    # Another that has only just come has seen nothing yet, and waits as long itself.
    assert Claims(place, watch).others() == 2
    assert Claims.alive_at(place) == (2, 1)


def test_a_count_that_was_never_seen_to_stand_still_is_alive_however_old(place):
    write_owner(place, "far", count=7)
    place.write("claims/a", b"far")
    os.utime(Path(place.address) / "claims" / "owners" / "far", (0, 0))
    watch = Watch()
    watch.now = 10**9
    assert not Claims(place, watch).take("a")


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumps_changes_nothing(place, monkeypatch, hours):
    watch = Watch()
    one, other = Claims(place, watch), Claims(place, watch)
    write_owner(place, "far")
    place.write("claims/far", b"far")
    assert one.take("a")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    for path in place.sizes("claims"):
        os.utime(Path(place.address) / path, (real() + 3600 * hours,) * 2)
    for _ in range(5):
        watch.now += 0.3 * module._DEAD / 2
        one.beat()
        other.beat()
        assert not other.take("a")
        assert not other.take("far")
    assert other.others() == 2
    watch.now += module._DEAD
    other.beat()
    assert other.take("far")
    assert not other.take("a")


def test_a_number_of_a_process_that_was_given_again_is_another_process(place):
    watch = Watch()
    claims = Claims(place, watch)
    own = json.loads(place.read(f"claims/owners/{claims.owner}"))
    write_owner(place, "before", **own | {"started": str(int(own["started"]) - 1)})
    write_owner(place, "same", **own)
    place.write("claims/a", b"before")
    place.write("claims/b", b"same")
    assert claims.take("a")
    assert not claims.take("b")
    # Numbers of processes of another start of the machine say nothing.
    write_owner(place, "before", **own | {"machine": own["machine"] + "x", "started": "1"})
    place.write("claims/c", b"before")
    assert not claims.take("c")


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"{", b"[]", b"3", b'"x"', b"null", b"\xff\xfe", b"{}"])
def test_a_damaged_file_of_an_owner_stops_nobody(place, content):
    place.write("claims/owners/odd", content)
    place.write("claims/a", b"odd")
    watch = Watch()
    claims = Claims(place, watch)
    claims.take("a")
    watch.now += 2 * module._DEAD
    claims.beat()
    assert claims.take("a")
    assert claims.others() == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"../../x", b"nobody"])
def test_a_damaged_claim_is_taken(place, content):
    place.write("claims/a", content)
    assert Claims(place).take("a")


def test_owners_count_only_now_and_then(place):
    watch = Watch()
    claims = Claims(place, watch)
    path = f"claims/owners/{claims.owner}"
    for wanted in (1, 1, 2, 2, 3):
        claims.beat()
        assert json.loads(place.read(path))["count"] == wanted
        watch.now += module._EVERY * 0.6


def test_who_only_looks_leaves_nothing(place):
    assert Claims.alive_at(place) == (0, 0)
    claims = Claims(place)
    assert Claims.alive_at(place) == (1, 0)
    assert list(place.sizes("claims")) == [f"claims/owners/{claims.owner}"]
