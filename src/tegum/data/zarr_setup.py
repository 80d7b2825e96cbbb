"""zarr with the settings that our stores were written for, whatever the environment and the user's own code say.

zarr takes settings from environment variables, from files in a user's folders, and from other code in the process. With
some of them it raises, with others it waits for ever, and only when something is written, after the work. Inside
`scope` they are zarr's own defaults; outside they stay as they were.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_inside = 0
_setting: Any = None


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """Give zarr its own defaults, in all threads, as it computes in threads of its own.

    Scopes of several threads may overlap: the first to enter sets the defaults, and the last to leave restores.
    """
    global _inside, _setting
    import zarr

    with _lock:
        if not _inside:
            # Whole tables rather than key by key: the environment may have replaced one of them with a string.
            _setting = zarr.config.set(copy.deepcopy(zarr.config.defaults[0]))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _setting.__exit__(None, None, None)


def check(call: str) -> None:
    """Write an array to memory and read it back, as stores are written: worth a few milliseconds before hours of work.

    Args:
        call: what the message starts with.

    Raises:
        OSError: zarr cannot be used here, and why.

    """
    imported(call, "nothing could be stored")
    import zarr

    try:
        with scope():
            from zarr.codecs import Crc32cCodec, ZstdCodec

            array: Any = zarr.create_array(
                {}, shape=(2,), dtype="int8", compressors=(ZstdCodec(), Crc32cCodec()), filters=(), zarr_format=3
            )
            array[:] = 1
            if array[:].tolist() != [1, 1]:
                raise ValueError("it returns other numbers than were written")
    except Exception as error:  # from any codec that somebody has registered
        raise _unusable(call, "nothing could be stored", error) from error


def imported(call: str, what: str = "this cannot be read") -> None:
    """Import zarr, which reads its settings then.

    Raises:
        OSError: it cannot be imported; the sentence says why, after `call` and `what`.

    """
    try:
        import zarr  # noqa: F401
    except Exception as error:  # a user's settings may cause any kind of error
        raise _unusable(call, what, error) from error


def _unusable(call: str, what: str, error: Exception) -> OSError:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return OSError(f"{call}: {what}, as zarr does not work here ({said})")
