"""A folder, or a file, that appears at its path complete or not at all.

The folder is written under a hidden name next to its path and is renamed once it is complete. If the process is killed
in between, the next one that writes to the same path removes the hidden folder, and puts back a former result that was
moved aside but not yet replaced. Errors of the operating system say what was being done and where: a bare "No space
left on device" helps nobody.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part"
OLD = ".old"


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Make errors of the operating system inside the block say what was being done; our own messages pass unchanged.

    Args:
        doing: the beginning of the message, with the place: "save(run, 'a.zarr'): writing 'a.zarr'".

    Raises:
        OSError: of the same kind and with the same `errno`.

    """
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # It is a message of our own.
            raise
        raise explained(error, doing) from error


def explained(error: OSError, doing: str) -> OSError:
    """An error of the same kind and with the same `errno`, whose text says what was being done."""
    kind = type(OSError(error.errno, "")) if error.errno else OSError
    sentence = kind(f"{doing}: {error.strerror or error}")
    sentence.errno = error.errno
    return sentence


@contextmanager
def reading(call: str) -> Iterator[None]:
    """Make errors of the operating system inside the block say what could not be read; our own messages pass unchanged.

    Raises:
        OSError: of the same kind and with the same `errno`.

    """
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        where = "" if error.filename is None else f" {os.fsdecode(error.filename)!r}"
        raise explained(error, f"{call}: reading{where}") from None


def resolved(path: str | os.PathLike[str], call: str) -> Path:
    """The absolute path without symbolic links.

    Raises:
        OSError: its links form a loop, or a folder on the way cannot be entered.

    """
    try:
        return Path(path).resolve()
    except RuntimeError:  # before Python 3.13
        raise OSError(f"{call}: the symbolic links of this path form a loop") from None
    except OSError as error:
        raise explained(error, call) from None


def check_writable(target: Path, call: str) -> None:
    """Check, by trying, that something can be created next to `target`, under names as long as its hidden ones.

    Args:
        target: an absolute path.
        call: what the message starts with.

    Raises:
        FileNotFoundError: the folder above it does not exist.
        OSError: nothing can be created there, or the name is too long.

    """
    folder = target.parent
    if not os.path.lexists(folder):
        raise FileNotFoundError(f"{call}: the folder {str(folder)!r} does not exist; create it first")
    if not folder.is_dir():
        raise NotADirectoryError(f"{call}: {str(folder)!r} is not a folder")
    trial = _hidden(target, PART)
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            longest = 255 - len(os.fsencode(trial.name)) + len(os.fsencode(target.name))
            rule = f"the name is too long: it may have {longest} bytes, as temporary names next to it are longer"
            raise OSError(f"{call}: {rule}") from None
        raise explained(error, f"{call}: nothing can be written in {str(folder)!r}") from None


@contextmanager
def replacing(
    target: Path, *, overwrite: bool, call: str, foreign: Callable[[Path], str | None] = lambda _: None
) -> Iterator[Path]:
    """An empty hidden folder next to `target` that becomes `target` when the block ends without an exception.

    Args:
        target: an absolute path whose parent exists.
        overwrite: whether what is at `target` may be replaced; it stays until the new folder is complete.
        call: what the message starts with.
        foreign: returns the name of something in the folder at `target` that must not be removed with it, or None.

    Raises:
        FileExistsError: something has appeared at `target`, or in it, in the meantime and must not be replaced.

    """
    with explaining(f"{call}: creating a folder in {str(target.parent)!r}"):
        _remove_abandoned(target)
        part, lock = _made(target)
    try:
        with explaining(f"{call}: writing in {str(target.parent)!r}"):
            yield part
            _flush(part)
            _publish(part, target, overwrite, call, foreign)
    finally:
        # Now this is an incomplete result, or the one that was replaced, or nothing.
        _discard(part)
        if lock is not None:
            os.close(lock)


@contextmanager
def replacing_file(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """The path for a hidden file next to `target` that becomes `target` when the block ends without an exception.

    It has the suffix of `target`, for programs that look at it.

    Args:
        target: a path whose parent exists.
        overwrite: whether a file that is there may be replaced; it stays until the new one is complete.
        call: what the message starts with.

    Raises:
        FileExistsError: something is, or has appeared, at `target` and must not be replaced.

    """
    with explaining(f"{call}: looking at {str(target)!r}"):
        _check_free(target, overwrite, call)
    part = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{PART}{target.suffix}")
    try:
        with explaining(f"{call}: writing in {str(target.parent)!r}"):
            yield part
            _sync(part, os.O_RDWR)
            _check_free(target, overwrite, call)
            part.replace(target)
            with suppress(OSError):  # Windows cannot open a folder, and some network disks cannot flush one.
                _sync(target.parent, os.O_RDONLY)
    finally:
        part.unlink(missing_ok=True)


def _check_free(target: Path, overwrite: bool, call: str) -> None:
    if target.is_dir():
        raise FileExistsError(f"{call}: a folder is at this path")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{call}: something is already there; overwrite=True (--overwrite) replaces it")


def remove(folder: Path) -> None:
    """Remove a folder, if it exists, so that it is never seen half empty."""
    aside = _hidden(folder, PART)
    with suppress(FileNotFoundError):
        folder.rename(aside)
    _discard(aside)


def set_aside(target: Path) -> Path | None:
    """Where a replacement interrupted between its renames has left what was at `target`; None if there is none."""
    return next(target.parent.glob(_pattern(target, OLD)), None)


def put_back(target: Path, call: str) -> None:
    """Put back what a replacement interrupted between its renames has set aside, with a warning, if `target` is free.

    Raises:
        OSError: it cannot be renamed.

    """
    old = set_aside(target)
    if old is None or os.path.lexists(target) or _is_written(target):
        return
    with explaining(f"{call}: putting {str(old)!r} back"):
        old.rename(target)
    warnings.warn(
        f"{call}: an interrupted replacement had left the former result at {str(old)!r}; it is back in its place",
        stacklevel=2,
    )


def is_hidden(name: str) -> bool:
    """Whether it is a hidden name under which results are written or set aside."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}(?:\.part|\.old)(?:\.[^.]+)?", name) is not None


def _hidden(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{ending}")


def _pattern(target: Path, ending: str) -> str:
    return f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}{ending}"


def _flush(part: Path) -> None:
    """Flush everything to the disk before the rename: a power cut must not leave a folder of empty files."""
    for folder, _, files in os.walk(part):
        for file in files:
            _sync(Path(folder, file), os.O_RDWR)
        with suppress(OSError):  # Windows cannot open a folder, and some network disks cannot flush one.
            _sync(Path(folder), os.O_RDONLY)


def _sync(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(part: Path, target: Path, overwrite: bool, call: str, foreign: Callable[[Path], str | None]) -> None:
    if not (overwrite and target.exists()):
        try:
            part.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise FileExistsError(f"{call}: something has appeared at this path in the meantime") from error
        return
    if name := foreign(target):
        raise FileExistsError(
            f"{call}: {name!r} has appeared in the folder to be replaced, and is not part of the result"
        )
    # No portable call swaps two folders. A kill between these renames leaves both folders complete and none at the
    # target; `put_back` then finds the old one.
    aside = _hidden(target, OLD)
    target.rename(aside)
    try:
        part.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    # Named like an incomplete folder: if it is not removed now, the next writer removes it.
    aside.rename(part)


def _made(target: Path) -> tuple[Path, int | None]:
    """A new hidden folder next to `target`, and the descriptor that holds its lock."""
    while True:
        part = _hidden(target, PART)
        part.mkdir()
        lock = _lock(part, wait=True)
        # Before it was locked, another writer may have taken it for abandoned and removed it.
        with suppress(FileNotFoundError):
            if lock is None or os.path.samestat(os.fstat(lock), part.stat()):
                return part, lock
        if lock is not None:
            os.close(lock)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed writers to this path have left behind; what is still being written is locked."""
    if os.path.lexists(target) and not _is_written(target):
        # A writer was killed after the new folder was in place and before the old one was removed.
        for old in target.parent.glob(_pattern(target, OLD)):
            _discard(old)
    for part in target.parent.glob(_pattern(target, PART)):
        lock = _lock(part, wait=False)
        if lock is None:
            continue
        _discard(part)
        os.close(lock)


def _is_written(target: Path) -> bool:
    """Whether another process is writing to this path, or may be."""
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows: there are no locks to look for.
        return True
    for part in target.parent.glob(_pattern(target, PART)):
        lock = _lock(part, wait=False)
        if lock is not None:
            os.close(lock)
        elif part.exists():
            return True
    return False


def _discard(folder: Path) -> None:
    """Remove a folder, even if folders in it are write-protected; warn if it cannot be removed."""
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        return
    with suppress(OSError):
        folder.chmod(0o700)
    for inside, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(inside, name)
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        warnings.warn(f"the remains of a former result could not be removed, and are at {str(folder)!r}", stacklevel=2)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock until closed; None if another process holds it, or nobody can."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing can be locked, so nothing counts as abandoned.
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
