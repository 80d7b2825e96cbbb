"""The program: `tegum`, and `python -m tegum`."""

from __future__ import annotations

import gc
import os
import signal

from tegum.core import signals


def main() -> None:
    """Run the command line, ready from the first moment to be stopped by a signal."""
    _open_standard_streams()
    # A program that imports much and ends soon: at its usual pace the collector takes a sixth of the time of
    # `tegum draw`, and finds nothing.
    gc.set_threshold(50_000)
    try:
        signals.listen()
        from tegum.cli import main as run
    except BaseException as error:
        # In the middle of an import an interruption may come out as anything; nothing has been done yet.
        number = signals.asked_by() or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
        if number is None:
            raise
        os.write(2, b"tegum: interrupted\n")
        os._exit(128 + number)
    try:
        run()
    finally:
        # The interpreter would go through everything once more before it ends, which takes half a second.
        gc.freeze()


def _open_standard_streams() -> None:
    """Put the null device where a standard stream is closed: a file opened later would get its number.

    What a library then writes to "standard error" would go into that file.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, mode)


if __name__ == "__main__":
    main()
