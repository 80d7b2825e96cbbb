"""Every verb, broken in every way: what is kept, what is said, the exit code, and no litter.

A verb that makes something is broken while an earlier result is at its place and may be replaced: whatever happens, the
place then holds the earlier result to the byte, or the new one whole. Disks are small ones in memory, which only root
can mount; a read-only one keeps root out as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import has_listened

import tegum as tg

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full and /proc are Linux's")

SPEC = """
hidden = 2
seeds = 2
snapshots = 4

[training]
steps = 40

[[features]]
kind = "independent"
count = 3
density = 0.3
"""

SWEEP = """
spec = "spec.toml"
keep = ["loss"]

[parameters]
density = [0.2, 0.4]
"""

# `run` with an experiment of seconds in place of minutes, with the command line as it is.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tegum import experiments
from tegum.experiments.varied import Range
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.summary import Criterion
from tegum.experiments.reporting import Measure

class Tiny(Experiment):
    claim = "Losses fall."
    varies = {"training.steps": Range()}
    name = "tiny"

    def trainings(self, size):
        import tegum as tg
        from tegum.training import engine

        engine.train.__wrapped__.__kwdefaults__["checkpoint_seconds"] = 0.1
        features = [tg.Independent(3, 0.3)]
        return {"run": tg.Spec(features=features, hidden=2, training=tg.Sampled(steps=40), seeds=2, snapshots=4)}

    def analyse(self, runs):
        fall = float((runs["run"].loss[:, 0] - runs["run"].loss[:, -1]).mean())
        return Findings((Measure("fall", "fall", fall, "1"),), (Criterion("falls", "It falls.", fall > 0),), "Nothing.")

    def draw(self, runs, findings):
        from matplotlib.figure import Figure

        return Figure()

def find(name, get=experiments.get):
    return Tiny() if name == "tiny" else get(name)

experiments.get = find
from tegum.__main__ import main
main()
"""

LONG = 500_000_000


@dataclass(frozen=True)
class Verb:
    """A verb, and how it is called here."""

    args: tuple[str, ...]
    makes: str | None = None
    """What it makes, by name; None where it only shows."""
    long: tuple[str, ...] = ()
    """Options with which it takes minutes."""
    begun: str | None = None
    """A pattern of what is there once it works."""
    partial: str | None = None
    """Where it keeps what it has done, seen from the folder."""


VERBS = {
    "train": Verb(
        ("train", "spec.toml", "--out", "out/made.zarr"), "made.zarr",
        ("--set", f"training.steps={LONG}", "--set", "snapshots=1000", "--checkpoint", "0.1"),
        "made.partial.zarr", "made.partial.zarr",
    ),
    "run": Verb(
        ("run", "tiny", "--out", "out/result"), "result",
        ("--set", f"training.steps={LONG}"), "result/partial/run.partial.zarr", "result/partial/run.partial.zarr",
    ),
    "render": Verb(
        ("render", "run.zarr", "--out", "out/made.gif", "--width", "320"), "made.gif",
        ("--seconds", "600"), ".made.????????.part.gif",
    ),
    "analyse": Verb(
        ("analyse", "W.npy", "--out", "out/measured"), "measured", ("--features", "0"), None,
    ),
    # What it makes is never replaced whole, but grows: `test_sweeps.py` breaks it in its own ways.
    "sweep": Verb(
        ("sweep", "sweep.toml", "--out", "swept", "--workers", "1"), None, ("--set", f"training.steps={LONG}"),
    ),
    "show": Verb(("show", "run.zarr")),
    "list": Verb(("list",)),
}  # fmt: skip
MAKERS = [name for name, verb in VERBS.items() if verb.makes]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verbs read, and in `earlier` what they make."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "spec.toml").write_text(SPEC)
    (folder / "sweep.toml").write_text(SWEEP)
    np.save(folder / "W.npy", np.random.default_rng(0).normal(size=(30, 4)))
    tg.save(tg.train(tg.Spec.from_toml(folder / "spec.toml")), folder / "run.zarr")
    (folder / "out").mkdir()
    running = [start(VERBS[name].args, folder, stdout=subprocess.DEVNULL) for name in MAKERS]
    for process in running:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    (folder / "out").rename(folder / "earlier")
    return folder


@pytest.fixture
def place(inputs: Path, tmp_path: Path) -> Path:
    """A folder with the inputs and an empty folder `out`."""
    for path in inputs.iterdir():
        if path.name != "earlier":
            subprocess.run(["cp", "-r", path, tmp_path], check=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    return tmp_path


def start(args: tuple[str, ...], cwd: Path, *, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE,
          preexec_fn: Callable[[], None] | None = None, **environment: str) -> subprocess.Popen[str]:  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True,
        errors="replace", cwd=cwd,
        env=os.environ | {"COLUMNS": "100"} | environment, preexec_fn=preexec_fn,
    )  # fmt: skip


def call(args: tuple[str, ...], cwd: Path, **options: Any) -> tuple[int, str, str]:
    process = start(args, cwd, **options)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in (err or ""), err
    return process.returncode, out or "", err or ""


def put_earlier(inputs: Path, place: Path, verb: Verb) -> dict[str, str]:
    """Put an earlier result at its place; gives its digests."""
    subprocess.run(["cp", "-r", inputs / "earlier" / str(verb.makes), place / "out"], check=True)
    return digests(place / "out" / str(verb.makes))


def digests(path: Path, without: str = "partial") -> dict[str, str]:
    files = [path] if path.is_file() else [
        file for file in sorted(path.rglob("*")) if file.is_file() and without not in file.relative_to(path).parts
    ]  # fmt: skip
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check_whole(path: Path) -> None:
    """That a result is there and whole, as a reader sees it."""
    if path.suffix == ".zarr":
        assert (tg.load(path).result == "completed").all()
    elif path.suffix == ".gif":
        from PIL import Image

        with Image.open(path) as film:
            assert getattr(film, "n_frames", 1) >= 2
    elif (path / "run.zarr").exists():
        assert json.loads((path / "summary.json").read_text())["name"] == "tiny"
        assert (tg.load(path / "run.zarr").result == "completed").all()
        assert (path / "tiny.png").read_bytes().startswith(b"\x89PNG")
        assert (path / "tiny.svg").read_text().startswith("<?xml")
    else:
        assert "measures" in json.loads((path / "summary.json").read_text())
        assert (path / "measures.zarr").is_dir()
        assert (path / "embeddings.png").read_bytes().startswith(b"\x89PNG")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def broken(way: str) -> Iterator[dict[str, Any]]:
    """What a process is started with to have standard output or error closed, or full."""
    stream, _, how = way.partition(" ")
    if how == "closed":
        yield {"preexec_fn": lambda: os.close(1 if stream == "stdout" else 2)}
    else:
        with Path("/dev/full").open("w") as full:
            yield {stream: full}


@pytest.mark.parametrize("way", ["stdout full", "stdout closed", "stderr full", "stderr closed", "head", "ascii"])
@pytest.mark.parametrize("name", VERBS)
def test_what_cannot_be_shown_is_kept(place: Path, name: str, way: str) -> None:
    verb = VERBS[name]
    match way:
        case "head":
            # As `| head -1`, where `head` is gone before the first line; and standard error with it.
            read, write = os.pipe()
            os.close(read)
            code, _, _ = call(verb.args, place, stdout=write, stderr=write)
            os.close(write)
            assert code == 0
        case "ascii":
            code, out, err = call(
                verb.args, place, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii", PYTHONCOERCECLOCALE="0"
            )
            assert code == 0, err
            assert out
            assert out.isascii()
        case "stderr full" | "stderr closed":
            with broken(way) as options:
                code, out, _ = call(verb.args, place, **options)
            assert code == 0
            assert out
        case _:
            with broken(way) as options:
                code, out, err = call(verb.args, place, **options)
            assert (code, out) == (1, "")
            why = "No space left on device" if way == "stdout full" else "standard output is closed"
            assert err.splitlines()[-1] == f"tegum: not everything could be printed: {why}"
    if verb.makes:
        check_whole(place / "out" / verb.makes)
    assert names(place / "out") == ({verb.makes} if verb.makes else set())


def interrupt(process: subprocess.Popen[str], place: Path, verb: Verb, number: int) -> None:
    """Send a signal in the middle of the work."""
    end = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < end:
        if list((place / "out").glob(verb.begun)) if verb.begun else has_listened(process):
            break
        time.sleep(0.01)
    process.send_signal(number)


STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", VERBS)
def test_what_is_stopped_keeps_what_is_done_and_what_was_there(
    inputs: Path, place: Path, name: str, number: signal.Signals
) -> None:
    verb = VERBS[name]
    earlier = put_earlier(inputs, place, verb) if verb.makes else {}
    process = start((*verb.args, *verb.long, *(["--overwrite"] if verb.makes else [])), place)
    interrupt(process, place, verb, number)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("tegum: interrupted")
    if not verb.makes:
        return
    assert digests(place / "out" / verb.makes) == earlier
    assert names(place / "out") == {verb.makes} | (
        {verb.partial} if verb.partial and "/" not in verb.partial else set()
    )
    if verb.partial:
        part = tg.load(place / "out" / verb.partial)
        assert (part.result == "interrupted").all()
        assert re.search(r"what was done \(step [\d,]+ of 500,000,000\) is kept in '.*(made|result)", err)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_killed_leaves_what_was_there_and_nothing_for_ever(inputs: Path, place: Path, name: str) -> None:
    verb = VERBS[name]
    earlier = put_earlier(inputs, place, verb)
    process = start((*verb.args, *verb.long, "--overwrite"), place)
    interrupt(process, place, verb, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert digests(place / "out" / str(verb.makes)) == earlier
    # The next call removes what the killed one has left.
    code, _, err = call((*verb.args, "--overwrite"), place)
    assert code == 0, err
    check_whole(place / "out" / str(verb.makes))
    assert names(place / "out") == {verb.makes}


@pytest.mark.parametrize("name", MAKERS)
def test_a_finished_result_is_refused_before_the_work(inputs: Path, place: Path, name: str) -> None:
    verb = VERBS[name]
    earlier = put_earlier(inputs, place, verb)
    code, out, err = call((*verb.args, *verb.long), place)
    assert (code, out) == (2, "")
    assert "--overwrite" in err.splitlines()[-1]
    assert digests(place / "out" / str(verb.makes)) == earlier
    assert names(place / "out") == {verb.makes}


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk to fill or to make read-only")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no disk can be mounted in this container")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("name", MAKERS)
def test_a_full_disk_is_met_before_the_work(place: Path, name: str) -> None:
    verb = VERBS[name]
    with disk(place / "out", "size=64k"):
        (place / "out" / "filler").write_bytes(bytes(60 * 1024))
        code, out, err = call(verb.args, place)
        assert (code, out) == (2, "")
        said = err.splitlines()[-1]
        assert said.startswith("tegum: ")
        assert "'" in said  # It names the place.
        assert "No space left on device" in said or "free" in said
        assert names(place / "out") == {"filler"}


@pytest.mark.parametrize("name", MAKERS)
def test_a_disk_that_cannot_be_written_is_met_before_the_work(place: Path, name: str) -> None:
    verb = VERBS[name]
    with disk(place / "out", "ro"):
        code, out, err = call((*verb.args, *verb.long), place)
        assert (code, out) == (2, "")
        said = err.splitlines()[-1]
        assert "Read-only file system" in said
        assert "out" in said
        assert names(place / "out") == set()


# The disk fills up while it is trained, including the space that was reserved: as if others were allowed more than we.
FILLED = """
import os, sys
from pathlib import Path
import tegum as tg
from tegum.data import disk_space

disk_space.ReservedSpace.__init__ = lambda self, *args, **options: setattr(self, "_file", None)

def fill(segment):
    with (Path("out") / "filler").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass

spec = tg.Spec.from_toml("spec.toml")
try:
    tg.train(spec, out="out/made.zarr", progress=fill, checkpoint_seconds=1000)
except OSError as error:
    print(type(error).__name__, error)
"""


def test_where_the_disk_fills_up_what_was_trained_is_kept_elsewhere(place: Path) -> None:
    with disk(place / "out", "size=256k"):
        done = subprocess.run(
            [sys.executable, "-c", FILLED], cwd=place, env=os.environ | {"TMPDIR": str(place)},
            capture_output=True, text=True, timeout=200, check=True,
        )  # fmt: skip
        assert names(place / "out") == {"filler"}
    found = re.fullmatch(
        r"KeptElsewhereError train\(out='out/made.zarr'\): writing in '.*/out': No space left on device; "
        r"the trajectory is kept in '(.*/made-[0-9a-f]{8}\.zarr)' instead\n",
        done.stdout,
    )
    assert found, done.stdout
    assert Path(found[1]).parent == place
    check_whole(Path(found[1]))
