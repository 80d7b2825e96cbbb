"""zarr with the settings that our stores were written for, whatever the environment and the user's own code say.

zarr takes settings from variables of the environment, from files in a user's folders, and from whoever shares the
process: with some of them it raises, with others it waits for ever, and always only when something is written, after
the work. Inside `scope` they are zarr's own defaults; outside they stay what they were.
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
    """Give zarr its own defaults, in all threads: it computes in threads of its own.

    Scopes of several threads may overlap: the first sets, and the last gives back.
    """
    global _inside, _setting
    import zarr

    with _lock:
        if not _inside:
            # Whole tables, and not key by key: in the environment one of them may be a text.
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
        call: what the sentence starts with.

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
                raise ValueError("it gives back other numbers than it was given")
    except Exception as error:  # of whatever codecs somebody has registered
        raise _unusable(call, "nothing could be stored", error) from error


def imported(call: str, what: str = "this cannot be read") -> None:
    """Import zarr, which reads its settings then.

    Raises:
        OSError: it cannot be imported; the sentence says why, after `call` and `what`.

    """
    try:
        import zarr  # noqa: F401
    except Exception as error:  # what it meets in a user's settings is raised as anything
        raise _unusable(call, what, error) from error


def _unusable(call: str, what: str, error: Exception) -> OSError:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return OSError(f"{call}: {what}, as zarr does not work here ({said})")
