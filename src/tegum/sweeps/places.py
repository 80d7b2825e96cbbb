"""Where a sweep is kept: a folder, or an object store. Whatever is written appears whole, or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from tegum.core.description import short
from tegum.data.atomic import PART, check_writable, explaining, is_hidden, remove

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MEMORY = re.compile(r"memory://(\w[\w./-]*?)/*")
_REFUSED = re.compile(r"status code: 40[13]\b")

_memories: dict[str, Any] = {}
"""The object stores in the memory of this process, by name."""


@runtime_checkable
class SweepPlace(Protocol):
    """A place for files with paths such as "packs/3f/…". Errors are OSErrors whose text is a whole sentence."""

    address: str
    """The path of the folder, absolute, or the address of the object store."""

    def read(self, path: str) -> bytes:
        """The content of a file; raises FileNotFoundError."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write a file, or replace it; it is on the disk once this returns."""
        ...

    def write_loosely(self, path: str, content: bytes) -> None:
        """As `write`, but a power cut may lose or truncate the file until `flush` has returned."""
        ...

    def flush(self) -> None:
        """Bring everything that was written loosely to the disk."""
        ...

    def create(self, path: str, content: bytes, *, durable: bool = True) -> bool:
        """Write a file unless there is one: False if there is. Of several who try at once, one succeeds."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The sizes in bytes of all files under a folder, by their paths."""
        ...

    def first(self) -> str | None:
        """Something that is there, without looking at all of it; None if there is nothing."""
        ...

    def clear(self, folder: str) -> None:
        """Remove a folder with all in it, if it is there."""
        ...

    def check(self) -> None:
        """Check, by trying, that something can be written, before hours of work; leaves nothing."""
        ...

    def tidy(self) -> None:
        """Remove what killed processes have left half-written."""
        ...

    def zarr(self) -> Any:
        """The store, for zarr, in which this place is the root."""
        ...


def place_at(out: str | os.PathLike[str], call: str) -> SweepPlace:
    """The place at a path or an address.

    Args:
        out: the path of a folder, or the address of an object store: "s3://bucket/folder", "gs://…", "az://…",
            or "memory://name" for one in the memory of this process.
        call: what errors begin with.

    Raises:
        ValueError: the address is of no known kind, or the package for object stores is missing.

    """
    given = os.fspath(out)
    if "\0" in given:
        raise ValueError(f"{call}: {given!r}: a path has no character of code 0")
    if not _ADDRESS.match(given) or given.startswith("file://"):
        return FolderPlace(Path(given.removeprefix("file://")), call)
    try:
        import obstore.store
    except ImportError:
        rule = "object stores need the package obstore: pip install 'tegum[cluster]'"
        raise ValueError(f"{call}: {given}: {rule}") from None
    if given.startswith("memory:"):
        if not (named := _MEMORY.fullmatch(given)):
            raise ValueError(f"{call}: {given}: an object store in memory has a name, as in memory://trial")
        return ObjectPlace(given, _memories.setdefault(named[1], obstore.store.MemoryStore()), call)
    try:
        return ObjectPlace(given, obstore.store.from_url(given), call)
    except Exception as error:  # whatever the library says of an address
        raise ValueError(f"{call}: {given}: {_said(error)}") from None


@final
class FolderPlace:
    """A folder on a disk, or on one that several machines share."""

    def __init__(self, path: Path, call: str) -> None:
        """The folder at a path, which need not be there yet; a file there is refused."""
        self._root = path.absolute()
        with explaining(f"{call}: looking at {str(path)!r}"):
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(f"{call}: {str(path)!r} is a file; a sweep is a folder")
        self._call = call
        self.address: str = str(self._root)

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with self._explaining("reading", path):
            try:
                return (self._root / path).read_bytes()
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                # On a file system of a network the file has just been replaced by another machine.
                return (self._root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """Write a file, and bring it to the disk."""
        self._write(path, content, durable=True)

    def write_loosely(self, path: str, content: bytes) -> None:
        """Write a file, and leave it to the system when it reaches the disk."""
        self._write(path, content, durable=False)

    def flush(self) -> None:
        """Bring to the disk what was written."""
        # One call for all files: a flush of each takes milliseconds, and there may be a million.
        os.sync()

    def _write(self, path: str, content: bytes, *, durable: bool) -> None:
        target = self._root / path
        with self._explaining("writing", path), self._part(target, content, durable=durable) as part:
            part.replace(target)

    def create(self, path: str, content: bytes, *, durable: bool = True) -> bool:
        """Write a file unless there is one."""
        target = self._root / path
        with self._explaining("writing", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                return False
            with self._part(target, content, durable=durable) as part:
                try:
                    os.link(part, target)
                except FileExistsError:
                    return False
                except OSError:  # a file system without links, on which the first to create the file has it
                    return self._created(target, content)
            return True

    @staticmethod
    def _created(target: Path, content: bytes) -> bool:
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fsync(descriptor)
        return True

    @staticmethod
    @contextmanager
    def _part(target: Path, content: bytes, *, durable: bool) -> Iterator[Path]:
        """A hidden file beside a path, with all of the content."""
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PART}")
        try:
            try:
                file = part.open("wb")
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                file = part.open("wb")
            with file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            yield part
        finally:
            with suppress(FileNotFoundError):
                part.unlink()

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with self._explaining("removing", path), suppress(FileNotFoundError):
            (self._root / path).unlink()

    def sizes(self, folder: str) -> dict[str, int]:
        """The sizes of all files under a folder."""
        found, left = {}, [self._root / folder]
        with self._explaining("looking at", folder):
            while left:
                # Others may remove a folder or a file at any time.
                with suppress(FileNotFoundError), os.scandir(left.pop()) as entries:
                    for each in entries:
                        if each.is_dir(follow_symlinks=False):
                            left.append(Path(each.path))
                        elif not is_hidden(each.name):
                            with suppress(FileNotFoundError):
                                found[Path(each.path).relative_to(self._root).as_posix()] = each.stat().st_size
        return found

    def first(self) -> str | None:
        """Something in the folder; what a killed process has left half-written does not count."""
        with self._explaining("looking at", ""), suppress(FileNotFoundError), os.scandir(self._root) as entries:
            return next((each.name for each in entries if not is_hidden(each.name)), None)
        return None

    def clear(self, folder: str) -> None:
        """Remove a folder with all in it."""
        with self._explaining("removing", folder):
            remove(self._root / folder)

    def check(self) -> None:
        """Check that something can be written in the folder, or that it can be made."""
        check_writable(self._root / "trial" if self._root.exists() else self._root, self._call)

    def tidy(self) -> None:
        """Remove hidden files that killed processes have left."""
        for inside, _, files in os.walk(self._root):
            for name in files:
                if is_hidden(name):
                    with suppress(OSError):
                        Path(inside, name).unlink()

    def zarr(self) -> Any:
        """The folder, for zarr."""
        import zarr.storage

        return zarr.storage.LocalStore(self._root)

    @contextmanager
    def _explaining(self, what: str, path: str) -> Iterator[None]:
        with explaining(f"{self._call}: {what} {str(self._root / path)!r}"):
            yield


@final
class ObjectPlace:
    """An object store, in which every write is whole and is kept once it returns."""

    def __init__(self, address: str, store: Any, call: str) -> None:
        """What obstore opened at an address."""
        self.address: str = address.rstrip("/")
        self._store, self._call = store, call

    @cached_property
    def _obstore(self) -> Any:
        import obstore

        return obstore

    def read(self, path: str) -> bytes:
        """The content of an object."""
        with self._explaining("reading", path):
            return bytes(self._obstore.get(self._store, path).bytes())

    def write(self, path: str, content: bytes) -> None:
        """Write an object."""
        with self._explaining("writing", path):
            self._obstore.put(self._store, path, content)

    write_loosely = write

    def flush(self) -> None:
        """Do nothing: what was written is kept."""

    def create(self, path: str, content: bytes, *, durable: bool = True) -> bool:  # noqa: ARG002 (all writes are)
        """Write an object unless there is one."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explaining("writing", path):
            try:
                self._obstore.put(self._store, path, content, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

    def remove(self, path: str) -> None:
        """Remove an object, if it is there."""
        with self._explaining("removing", path), suppress(FileNotFoundError):
            self._obstore.delete(self._store, path)

    def sizes(self, folder: str) -> dict[str, int]:
        """The sizes of all objects under a folder."""
        with self._explaining("looking at", folder):
            batches = self._obstore.list(self._store, prefix=folder)
            return {each["path"]: each["size"] for batch in batches for each in batch}

    def first(self) -> str | None:
        """The path of some object."""
        with self._explaining("looking at", ""):
            return next(
                (each["path"] for batch in self._obstore.list(self._store, chunk_size=1) for each in batch), None
            )

    def clear(self, folder: str) -> None:
        """Remove all objects under a folder."""
        if found := list(self.sizes(folder)):
            with self._explaining("removing", folder):
                self._obstore.delete(self._store, found)

    def check(self) -> None:
        """Check that an object can be written, and that an object that is there is not created again."""
        path = f"trial-{secrets.token_hex(8)}"
        try:
            once, twice = self.create(path, b"trial"), self.create(path, b"again")
        finally:
            self.remove(path)
        if not once or twice:
            rule = "a sweep needs a store that creates an object only if there is none (If-None-Match)"
            raise OSError(f"{self._call}: {self.address} replaces objects where they should be new; {rule}")

    def tidy(self) -> None:
        """Do nothing: no object is ever half-written."""

    def zarr(self) -> Any:
        """The object store, for zarr."""
        import zarr.storage

        return zarr.storage.ObjectStore(self._store)

    @contextmanager
    def _explaining(self, what: str, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        doing = f"{self._call}: {what} {self.address}/{path}"
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{doing}: there is no such object") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(f"{doing}: the object store refuses it ({_said(error)})") from error
        except BaseError as error:
            if _REFUSED.search(str(error)):  # listing has no kind of its own for it
                raise PermissionError(f"{doing}: the object store refuses it ({_said(error)})") from error
            raise OSError(f"{doing}: {_said(error)}") from error


def _said(error: BaseException) -> str:
    """What a library says, in one line, without the page that a server has sent."""
    told = str(error).partition("<?xml")[0].partition("<html")[0].rstrip(" :")
    return short(" ".join(told.split()), 200).strip("'\"") or type(error).__name__


def full(error: BaseException) -> bool:
    """Whether an error says that a disk has no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
