"""Where progress is shown and where it is not, and that showing it never costs a result."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.text import Text

import tegum as tg
from tegum.core import lapack
from tegum.progress import displays, showing
from tegum.progress.compiling import compiling, watch
from tegum.progress.displays import Display, Lines, Notebook, Terminal, choose_display
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts, Phases, Stage, Status, Steps

SPEC = tg.Spec(
    features=tg.FeatureDistribution([tg.Independent(3, density=0.2)]),
    hidden=2, seeds=2, training=tg.Sampled(steps=40, batch=16, evaluation=16), snapshots=[0, 40],
)  # fmt: skip


class Recorder(Display):
    """Keeps what is said, at once and often."""

    delay = 0.0
    every = 0.001

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ends: list[tuple[str, bool]] = []

    def show(self, said: Status) -> None:
        self.said.append(said.text())

    def finished(self, said: Status) -> None:
        self.said.append(said.text())

    def end(self, title: str, seconds: float, whole: bool) -> None:  # noqa: ARG002
        self.ends.append((title, whole))


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    display = Recorder()
    monkeypatch.setattr(showing, "choose_display", lambda **_: display)
    return display


def until(said: list[str], text: str) -> None:
    """Wait until something like this has been said."""
    end = time.monotonic() + 20
    while not any(re.search(text, each) for each in list(said)):
        assert time.monotonic() < end, said
        time.sleep(0.001)


def test_a_large_decomposition_is_named_as_what_cannot_be_stopped(recorder):
    with shown(True, Stage("measuring"), "measure"), lapack.noted("eigenvalues", (4000, 4000)):
        wait_until = time.monotonic() + 5
        while not any("eigenvalues" in said for said in recorder.said) and time.monotonic() < wait_until:
            time.sleep(0.01)
    assert "measuring: eigenvalues of a 4,000 × 4,000 matrix (cannot be stopped), 0 s" in recorder.said


def test_training_is_shown_by_default_and_not_when_it_is_switched_off_or_a_function_is_told(recorder):
    loud = tg.train(SPEC)
    assert recorder.said[-1].startswith("training 2 runs: 100 %, step 40 of 40")
    assert recorder.ends == [("training 2 runs", True)]
    recorder.said.clear()
    segments: list[tg.Segment] = []
    for run in (tg.train(SPEC, progress=False), tg.train(SPEC, progress=segments.append)):
        np.testing.assert_array_equal(run.weights, loud.weights)
    assert recorder.said == []
    assert segments[-1].state.step == 40


def test_analyses_are_shown_by_default(recorder):
    tg.analyse(np.eye(5, 4) + 0.1)
    assert recorder.ends == [("analysing 5 × 4", True)]
    tg.analyse(np.eye(5, 4) + 0.1, progress=False)
    assert len(recorder.ends) == 1


def test_what_is_inside_is_told_in_the_line_of_what_is_around_it_and_is_silent_in_silence(recorder):
    with shown(True, Stage("around"), "call"):
        until(recorder.said, r"^around: \d+ s$")
        with shown(None, Stage("around"), "call"), shown(True, Phases("inside"), "call") as told:
            told("frames", 0.25)
            until(recorder.said, "^around: inside: 25 %, frames$")
            with shown(False, Stage("silent"), "call"), shown(True, Stage("within silence"), "call"):
                time.sleep(0.01)
            with shown(lambda *_: None, Stage("silent"), "call"), shown(True, Stage("within silence"), "call"):
                time.sleep(0.01)
        recorder.said.clear()
        until(recorder.said, r"^around: \d+ s$")
    assert not any("silen" in each or "training" in each for each in recorder.said)
    assert recorder.ends == [("around", True)]


def test_the_line_ends_with_whatever_ends_the_work(recorder):
    for raised in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(raised), shown(True, Stage("work"), "call"):
            raise raised
        assert recorder.ends.pop() == ("work", False)
    # A run that is interrupted is returned as before, and the next call has a line of its own.
    with shown(True, Stage("next"), "call"):
        until(recorder.said, r"^next: \d+ s$")
    assert threading.active_count() == len([t for t in threading.enumerate() if t.name != "tegum progress"])


@pytest.mark.parametrize("given", ["yes", 1, 0.5, []])
def test_what_is_no_progress_is_refused(given):
    sentence = r"^train\(progress=.*\): progress must be True, False, or a function"
    with pytest.raises(ValueError, match=sentence), shown(given, Stage("work"), "train"):
        pytest.fail("it worked")


@pytest.mark.parametrize(
    "error", [BrokenPipeError, OSError(5, "EIO"), ValueError, UnicodeEncodeError("a", "b", 0, 1, "c")]
)
@pytest.mark.parametrize("where", ["begin", "show", "finished", "end", "update"])
def test_a_display_that_fails_ends_the_showing_and_not_the_work(recorder, monkeypatch, where, error):
    def fail(*_: object) -> None:
        calls.append(where)
        raise error

    calls: list[str] = []
    monkeypatch.setattr(Steps if where == "update" else recorder, where, fail)
    with shown(True, Stage("work"), "call"):
        time.sleep(0.005)
        result = tg.train(SPEC)
    assert calls == [where]
    assert (result.result == "completed").all()


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_end(recorder, monkeypatch):
    stuck, entered = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        entered.set()
        stuck.wait(30)

    monkeypatch.setattr(recorder, "show", wait)
    monkeypatch.setattr(showing, "_PATIENCE", 0.05)
    begin = time.monotonic()
    with shown(True, Stage("work"), "call"):
        assert entered.wait(20)
    assert time.monotonic() - begin < 20
    stuck.set()


def test_compiling_is_a_phase_of_its_own(recorder):
    import jax
    import numba as nb

    watch()
    before = compiling.seconds()
    with shown(True, Stage("work"), "call"):
        nb.njit(lambda x: x + 1)(3)
        by_numba = compiling.seconds()
        jax.jit(lambda x: x * 5 - 2)(3.0).block_until_ready()
        by_jax = compiling.seconds()
        assert before < by_numba < by_jax
        assert compiling.running() is None
        compiling.begin()
        try:
            until(recorder.said, "^work: compiling, ")
        finally:
            compiling.end()
        recorder.said.clear()
        until(recorder.said, r"^work: \d+ s$")


def drawn(said: Status, columns: int, encoding: str = "utf-8", **environment: str) -> str:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in ({"COLUMNS": str(columns), "TERM": "xterm-256color"} | environment).items():
            patched.setenv(name, value)
        return Terminal(-1, encoding)._drawn(said)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 20, 59, 60, 80, 200])
@pytest.mark.parametrize("part", [None, 0.0, 0.5, 1.0])
def test_a_line_fits_its_terminal_and_is_never_empty(columns, part):
    said = Status("一つの名前 [bold]with[/bold] 😀" * 3, part, ("3 min left", "step 9,000 of 20,000"))
    text = Text.from_ansi(drawn(said, columns)).plain
    assert 0 < cell_len(text) <= max(columns - 1, 1)
    assert "\n" not in text
    if columns >= 80:
        assert "[bold]with" in text
        assert "3 min left" in text


def test_colour_is_left_out_where_it_is_not_wanted_and_what_cannot_be_encoded_is_replaced():
    said = Status("films/ü.mp4", 0.5, ("frames",))
    assert "\x1b[" in drawn(said, 80)
    assert drawn(said, 80, NO_COLOR="1").count("\x1b[3") == 0
    assert "━━━" in drawn(said, 80)
    assert "##########----------" in Text.from_ansi(drawn(said, 80, "ascii")).plain
    primary, secondary = pty.openpty()
    Terminal(secondary, "ascii").show(said)
    assert b"films/?.mp4" in os.read(primary, 4096)
    os.close(primary)
    os.close(secondary)


@pytest.mark.parametrize("columns", ["0", "-3", "", "wide", "9" * 5000, "²"])
def test_a_width_that_is_none_is_asked_of_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    primary, secondary = pty.openpty()
    assert displays._columns(secondary) == 80
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 47, 0, 0))
    assert displays._columns(secondary) == 47
    os.close(primary)
    os.close(secondary)


def test_plain_lines_are_rare_and_do_not_repeat_themselves():
    stream = io.StringIO()
    lines = Lines(stream, announced=True)
    assert (lines.delay, lines.every) == (5, 5)
    said = Status("work", 0.5, ("step 1",))
    lines.begin("work")
    for _ in range(40):
        lines.show(said)
    assert stream.getvalue() == "work: started\nwork: 50 %, step 1\n"
    for number in range(40):
        lines.show(Status("work", None, (str(number),)))
    assert lines.every == 60


def test_a_notebook_has_one_output_which_is_replaced(monkeypatch):
    outputs: list[dict[str, str]] = []

    class Handle:
        def update(self, data, **_):
            outputs[-1] = data

    def display(data, **_):
        outputs.append(data)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr(Notebook, "delay", 0.0)
    monkeypatch.setattr(Notebook, "every", 0.001)
    monkeypatch.setattr(displays, "is_worker", lambda: False)
    assert isinstance(choose_display(plain_lines=False), Notebook)
    with shown(True, Stage("<i>work"), "call"), shown(True, Counts("inside", "frames"), "call") as told:
        told(1, 4)
        end = time.monotonic() + 20
        while not (outputs and "25 %" in outputs[0]["text/plain"]):
            assert time.monotonic() < end
        assert '&lt;i&gt;work: inside</bdi> <progress value="0.250"' in outputs[0]["text/html"]
    (left,) = outputs
    assert re.fullmatch(r"<i>work: done in \d+ s", left["text/plain"])


def in_terminal(program: str, *, columns: int = 100, **environment: str) -> tuple[str, bytes]:
    """Standard output of a program, and what its standard error, a terminal, has been sent."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", displays.OFF)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=secondary, text=True,
        env=plain | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(secondary)
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while chunk := os.read(primary, 4096):
            seen += chunk
    os.close(primary)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, (out, seen)
    return out, seen


SHOWN = """
import multiprocessing, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from tegum.progress.displays import choose_display
from tegum.progress.showing import shown
from tegum.progress.tasks import Phases

def kind(**changes):
    os.environ.update(changes)
    return type(choose_display(plain_lines=False)).__name__

with shown(True, Phases("short"), "call") as told:
    told("work", 0.5)
assert not {"rich", "jax", "numba", "IPython", "xarray"} & set(sys.modules)
with shown(True, Phases("long [red]"), "call") as told:
    told("work", 0.5)
    print("result", flush=True)
    time.sleep(1.5)
with ThreadPoolExecutor(1) as pool:
    print("thread", pool.submit(kind).result())
for method in ("fork", "spawn"):
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(method, pool.apply(choose_display, (), {"plain_lines": True}))
if (child := os.fork()) == 0:
    print("os.fork", kind(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(kind(), kind(TERM="dumb"), kind(TEGUM_PROGRESS="0"), kind(TEGUM_PROGRESS=""), kind(TERM="xterm"))
os.close(2)
print("closed", kind())
sys.stderr.close()
print("closed", kind())
sys.stderr = None
print("none", kind())
"""


def test_a_terminal_has_one_line_which_is_gone_in_the_end_and_workers_have_none():
    out, seen = in_terminal(SHOWN)
    assert out.splitlines() == [
        "result", "thread NoneType", "fork None", "spawn None", "os.fork NoneType",
        "Terminal Lines NoneType Lines Terminal", "closed NoneType", "closed NoneType", "none NoneType",
    ]  # fmt: skip
    assert seen.startswith(b"\r")
    assert seen.endswith(b"\r\x1b[K")
    text = Text.from_ansi(seen.decode().replace("\r", "").replace("\x1b[K", "")).plain
    assert text == "long [red] ━━━━━━━━━━────────── 50 %, work"


AWAY = """
import sys, time
from tegum.progress.showing import shown
from tegum.progress.tasks import Stage
sys.stdin.readline()
with shown(True, Stage("work"), "call", plain_lines=True):
    time.sleep(1.3)
    print("result", flush=True)
"""


@pytest.mark.parametrize("stderr", ["terminal that goes away", "pipe without a reader", "full"])
def test_a_standard_error_that_takes_nothing_costs_no_result(stderr):
    if stderr == "full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    if stderr == "full":
        target, reader = os.open("/dev/full", os.O_WRONLY), None
    else:
        reader, target = pty.openpty() if "terminal" in stderr else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", AWAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=target, text=True
    )
    os.close(target)
    if reader is not None:
        os.close(reader)
    assert process.communicate("go\n", timeout=60) == ("result\n", None)
    assert process.returncode == 0


def test_a_file_or_a_pipe_is_told_nothing_from_python_and_plain_lines_on_the_command_line():
    program = (
        "from tegum.progress.displays import choose_display; from tegum.progress.showing import shown;"
        "from tegum.progress.tasks import Stage; print(choose_display(plain_lines=False))\n"
        "with shown(True, Stage('\\u00fc\\nx'), 'call', plain_lines=True): print('result')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("None\nresult\n", "? x: started\n")
