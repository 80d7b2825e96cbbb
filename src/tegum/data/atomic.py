"""A folder, or a file, that appears at its path complete or not at all.

The folder grows under a hidden name beside its path and is renamed when it is complete. A process killed in
between leaves the hidden folder to the next one that writes to the same path, which removes it. Errors of the operating
system say what was being done and where: a bare "No space left on device" helps nobody.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part"
OLD = ".old"


@contextmanager
def telling(doing: str) -> Iterator[None]:
    """Let errors of the operating system inside the block say what was being done; sentences of our own pass.

    Args:
        doing: the beginning of the sentence, with the place: "save(run, 'a.zarr'): writing 'a.zarr'".

    Raises:
        OSError: of the same kind and with the same `errno`.

    """
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # It is a sentence already.
            raise
        raise told(error, doing) from error


def told(error: OSError, doing: str) -> OSError:
    """An error of the same kind and with the same `errno`, whose text says what was being done."""
    kind = type(OSError(error.errno, "")) if error.errno else OSError
    sentence = kind(f"{doing}: {error.strerror or error}")
    sentence.errno = error.errno
    return sentence


def resolved(path: str | os.PathLike[str], call: str) -> Path:
    """The absolute path without symbolic links.

    Raises:
        OSError: its links lead in a circle, or a folder on the way cannot be entered.

    """
    try:
        return Path(path).resolve()
    except RuntimeError:  # before Python 3.13
        raise OSError(f"{call}: the symbolic links of this path lead in a circle") from None
    except OSError as error:
        raise told(error, call) from None


def check_writable(target: Path, call: str) -> None:
    """Whether something new can be made beside `target`, under names as long as its hidden ones: it is tried.

    Args:
        target: an absolute path.
        call: what the sentence starts with.

    Raises:
        FileNotFoundError: the folder above it does not exist.
        OSError: nothing can be made there, or the name is too long.

    """
    folder = target.parent
    if not os.path.lexists(folder):
        raise FileNotFoundError(f"{call}: the folder {str(folder)!r} does not exist; make it first")
    if not folder.is_dir():
        raise NotADirectoryError(f"{call}: {str(folder)!r} is no folder")
    trial = _hidden(target, PART)
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            longest = 255 - len(os.fsencode(trial.name)) + len(os.fsencode(target.name))
            rule = f"the name is too long: at most {longest} bytes leave room for what stands beside it meanwhile"
            raise OSError(f"{call}: {rule}") from None
        raise told(error, f"{call}: nothing can be written in {str(folder)!r}") from None


@contextmanager
def replacing(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """An empty hidden folder beside `target` that becomes `target` when the block ends without an exception.

    Args:
        target: an absolute path whose parent exists.
        overwrite: whether what is at `target` may be replaced; it stays until the new folder is complete.
        call: what the sentence starts with.

    Raises:
        FileExistsError: something has appeared at `target` in the meantime and is not to be replaced.

    """
    with telling(f"{call}: making a folder in {str(target.parent)!r}"):
        _remove_abandoned(target)
        part, lock = _made(target)
    try:
        with telling(f"{call}: writing in {str(target.parent)!r}"):
            yield part
            _flush(part)
            _publish(part, target, overwrite, call)
    finally:
        # By now this is what was not completed, or what was replaced, or nothing.
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def replacing_file(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """The path for a hidden file beside `target` that becomes `target` when the block ends without an exception.

    It has the ending of `target`, for programs that go by it.

    Args:
        target: a path whose parent exists.
        overwrite: whether a file that is there may be replaced; it stays until the new one is complete.
        call: what the sentence starts with.

    Raises:
        FileExistsError: something is, or has appeared, at `target` and is not to be replaced.

    """
    _check_free(target, overwrite, call)
    part = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{PART}{target.suffix}")
    try:
        with telling(f"{call}: writing in {str(target.parent)!r}"):
            yield part
            _sync(part, os.O_RDWR)
            _check_free(target, overwrite, call)
            part.replace(target)
            with suppress(OSError):  # Windows opens no folder, and some network disks flush none.
                _sync(target.parent, os.O_RDONLY)
    finally:
        part.unlink(missing_ok=True)


def _check_free(target: Path, overwrite: bool, call: str) -> None:
    if target.is_dir():
        raise FileExistsError(f"{call}: a folder is at this path")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{call}: there is something already; overwrite=True (--overwrite) replaces it")


def remove(folder: Path) -> None:
    """Remove a folder so that it is never seen with a part of what it holds; nothing where there is none."""
    aside = _hidden(folder, PART)
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(target: Path) -> Path | None:
    """Where a replacement cut short between its renames has left what was at `target`; None if none was."""
    return next(target.parent.glob(_pattern(target, OLD)), None)


def _hidden(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{ending}")


def _pattern(target: Path, ending: str) -> str:
    return f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}{ending}"


def _flush(part: Path) -> None:
    """Have everything on the disk before the rename: a power cut must not leave a name for empty files."""
    for folder, _, files in os.walk(part):
        for file in files:
            _sync(Path(folder, file), os.O_RDWR)
        with suppress(OSError):  # Windows opens no folder, and some network disks flush none.
            _sync(Path(folder), os.O_RDONLY)


def _sync(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(part: Path, target: Path, overwrite: bool, call: str) -> None:
    if not (overwrite and target.exists()):
        try:
            part.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise FileExistsError(f"{call}: something has appeared at this path in the meantime") from error
        return
    # No portable call exchanges two folders. A kill between these renames leaves both folders complete and
    # none at the target; `set_aside` then finds the old one.
    aside = _hidden(target, OLD)
    target.rename(aside)
    try:
        part.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    # Under the name of a part: what is not removed now, the next writer removes.
    aside.rename(part)


def _made(target: Path) -> tuple[Path, int | None]:
    """A new hidden folder beside `target`, and what holds its lock."""
    while True:
        part = _hidden(target, PART)
        part.mkdir()
        lock = _lock(part, wait=True)
        # Before it was locked another writer may have taken it for abandoned.
        with suppress(FileNotFoundError):
            if lock is None or os.path.samestat(os.fstat(lock), part.stat()):
                return part, lock
        if lock is not None:
            os.close(lock)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed writers to this path have left; what is still being written is locked."""
    for part in target.parent.glob(_pattern(target, PART)):
        lock = _lock(part, wait=False)
        if lock is None:
            continue
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock until closed; None if another holds it, or nobody can."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is ever locked, so nothing is taken for abandoned.
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
