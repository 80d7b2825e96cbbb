"""A folder, or a file, that appears at its path complete or not at all.

The folder grows under a hidden name beside its path and is renamed when it is complete. A process killed in
between leaves the hidden folder to the next one that writes to the same path, which removes it.
"""

from __future__ import annotations

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
def replacing(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """An empty hidden folder beside `target` that becomes `target` when the block ends without an exception.

    Args:
        target: an absolute path whose parent exists.
        overwrite: whether what is at `target` may be replaced; it stays until the new folder is complete.
        call: what the sentence starts with.

    Raises:
        FileExistsError: something has appeared at `target` in the meantime and is not to be replaced.

    """
    _remove_abandoned(target)
    part = _hidden(target, PART)
    part.mkdir()
    lock = _lock(part, wait=True)
    try:
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
        yield part
        _sync(part, os.O_RDWR)
        _check_free(target, overwrite, call)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _check_free(target: Path, overwrite: bool, call: str) -> None:
    if target.is_dir():
        raise FileExistsError(f"{call}: a folder is at this path")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{call}: there is something already; overwrite=True (--overwrite) replaces it")


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
        with suppress(PermissionError):  # Windows opens no folder.
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


def _remove_abandoned(target: Path) -> None:
    """Remove what killed writers to this path have left; what is still being written is locked."""
    for part in target.parent.glob(_pattern(target, PART)):
        lock = _lock(part, wait=False)
        if lock is None:
            continue
        # An empty one was made this moment, and its owner is about to lock it.
        with suppress(FileNotFoundError):
            if any(part.iterdir()):
                shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock until closed; None if another holds it or nobody can."""
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
