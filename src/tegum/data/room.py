"""Room on a disk, held for a result from before the work until it is written."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, final

from tegum.core.limits import readable
from tegum.data.atomic import told

_LARGEST_FILE = 2**22
"""Bytes that a single file of a result may have: chunks of trajectories are smaller, and so are figures."""

_BESIDES = 2**18
"""Bytes that a result takes besides its numbers: metadata, checksums, and parts of blocks."""


@final
class Room:
    """So much of a disk that no one else can take, until `release`, or the end of the process however it ends.

    Where the file system holds no room for a file (some network disks), it is only seen whether there is enough.
    """

    def __init__(self, folder: Path, size: int, *, call: str, what: str) -> None:
        """Hold room.

        Args:
            folder: where the result is to go; it exists.
            size: of the result, in bytes, at most.
            call: what the sentence starts with.
            what: the result, as the sentence names it.

        Raises:
            OSError: there is not enough room, or nothing can be written there.

        """
        self._file: IO[bytes] | None = None
        wanted = size + _BESIDES
        try:
            # It has no name: nothing is left of it where the process is killed.
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it stays open)
            held = self._hold(wanted, call, what)
            enough = held or shutil.disk_usage(folder).free >= wanted
        except OSError as error:
            self.release()
            if error.strerror is None:
                raise
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise told(error, f"{call}: nothing can be written in {str(folder)!r}") from None
            enough = False
        if not enough:
            self.release()
            free = readable(shutil.disk_usage(folder).free)
            raise OSError(
                f"{call}: {what} may take {readable(wanted)}, and the disk of {str(folder)!r} has {free} free"
            )

    def _hold(self, wanted: int, call: str, what: str) -> bool:
        """Give the file so many bytes; False where that cannot be done and other files may have them all the same."""
        assert self._file is not None
        try:
            return _allocate(self._file.fileno(), wanted)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
        largest = min(wanted, _LARGEST_FILE)
        try:
            _allocate(self._file.fileno(), largest)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise OSError(f"{call}: {what} may take files of up to {readable(largest)}, and {_file_limit()}") from None
        return False  # One file may not be so large, but a result is many.

    def release(self) -> None:
        """Give the room free, for the result to take."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Room:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def _file_limit() -> str:
    import resource  # where there are limits, there is this

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return "the disk takes none as large"
    return f"this process may write none larger than {readable(limit)} (ulimit -f)"


def _allocate(descriptor: int, size: int) -> bool:
    """Give a file blocks without writing them; False where the system cannot.

    Not `os.posix_fallocate`: where the file system cannot, the C library writes to every block instead.
    """
    if not sys.platform.startswith("linux"):
        return False
    allocate = ctypes.CDLL(None, use_errno=True).fallocate
    allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while allocate(descriptor, 0, 0, size):
        number = ctypes.get_errno()
        if number == errno.EINTR:
            continue
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise OSError(number, os.strerror(number))
    return True
