"""Disk space, reserved for a result before the work until the result is written."""

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
from tegum.data.atomic import explained

_LARGEST_FILE = 2**22
"""The most bytes in a single file of a result: chunks of trajectories are smaller, and so are figures."""

_OVERHEAD = 2**18
"""Bytes that a result takes besides its numbers: metadata, checksums, and partly filled blocks."""


@final
class ReservedSpace:
    """Disk space that no one else can take, until `release` or the end of the process, however it ends.

    Where the file system cannot reserve space (some network disks), this only checks that there is enough.
    """

    def __init__(self, folder: Path, size: int, *, call: str, what: str) -> None:
        """Reserve space.

        Args:
            folder: the folder for the result, which exists.
            size: the largest size of the result, in bytes.
            call: what the message starts with.
            what: the result, as the message names it.

        Raises:
            OSError: there is not enough space, or nothing can be written there.

        """
        self._file: IO[bytes] | None = None
        wanted = size + _OVERHEAD
        try:
            # It has no name, so nothing is left of it if the process is killed.
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it stays open)
            held = self._hold(wanted, call, what)
            enough = held or shutil.disk_usage(folder).free >= wanted
        except OSError as error:
            self.release()
            if error.strerror is None:
                raise
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise explained(error, f"{call}: nothing can be written in {str(folder)!r}") from None
            enough = False
        if not enough:
            self.release()
            free = readable(shutil.disk_usage(folder).free)
            raise OSError(
                f"{call}: {what} may take {readable(wanted)}, but the disk of {str(folder)!r} has {free} free"
            )

    def _hold(self, wanted: int, call: str, what: str) -> bool:
        """Allocate this many bytes to the file; False if that cannot be done, though other files may still fit."""
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
            raise OSError(f"{call}: {what} may take files of up to {readable(largest)}, but {_file_limit()}") from None
        return False  # No single file may be that large, but a result has many files.

    def release(self) -> None:
        """Free the space, for the result to take."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> ReservedSpace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def _file_limit() -> str:
    import resource  # exists wherever there are such limits

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return "the disk takes none that large"
    return f"this process may not write files larger than {readable(limit)} (ulimit -f)"


def _allocate(descriptor: int, size: int) -> bool:
    """Allocate blocks to a file without writing them; False if the system cannot.

    Not `os.posix_fallocate`: if the file system cannot do it, the C library writes to every block instead.
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
