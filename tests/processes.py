"""The command line as processes of its own, for tests that look at it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A shell that starts jobs in the background makes them ignore Ctrl-C: undo that.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tegum.cli import main
main()
"""


@contextmanager
def started(*args: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A running `tegum` with pipes for what it prints; it is killed where the test leaves it running."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        env=os.environ | {"COLUMNS": "160"},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], text: str) -> list[str]:
    """The lines of standard error up to the next one that holds this text; on a busy machine others may come before."""
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while text not in lines[-1]:
        assert lines[-1], f"ended without {text!r}: {lines}"
        lines.append(process.stderr.readline())
    return lines


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """What a running process has used until now; unlike wall time, it does not tell how busy the machine is."""
    if sys.platform == "darwin":
        command = ["ps", "-o", "time=", "-p", str(process.pid)]
        minutes, _, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(":")
        return 60 * int(minutes) + float(seconds)
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tegum(*args: str, cwd: Path) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of `tegum` with these arguments."""
    with started(*args, cwd=cwd) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def has_listened(process: subprocess.Popen[str]) -> bool:
    """Whether a process has a handler for SIGTERM by now (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (15 - 1) & 1)
