"""Arrays in files, whose headers are first checked against the file's length and the memory.

`ArrayFile` is what a file of any kind looks like: arrays by name, each with its shape before it is read. Files of NumPy
are here, since a set of features reads them; other kinds are in `data`.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from tegum.core.inputs.sparse import PARTS, assembled
from tegum.core.limits import beyond_memory
from tegum.core.words import nearest, on_one_line

ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]+):/+")
"""The beginning of a network address; `Path` turns two slashes into one."""

_HEADER_BYTES = 2**16
"""More bytes than NumPy itself reads of a header."""

_PIECE = 2**20


class UnreadableError(ValueError):
    """A file that cannot be used: which of `path` and `key` breaks which rule ("must …")."""

    def __init__(self, field: str, value: str | None, rule: str) -> None:
        """Keep the field, its value, and the rule."""
        super().__init__(field, value, rule)
        self.field: str = field
        self.value: str | None = value
        self.rule: str = rule


def obstacle(path: Path, wanted: str = "file") -> str | None:
    """What is found in place of a file (or a "folder", or "either"), as a clause "and …"; None if it is one.

    Nothing is opened: opening a pipe waits for a writer, and a device may have no end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if address := ADDRESS.match(str(path)):
            return f"and an address ({address[1]}://) is not one: download it to this machine first"
        return "and this symbolic link leads nowhere" if path.is_symlink() else "and there is none"
    except NotADirectoryError:
        return "and there is none"
    except (OSError, ValueError) as error:
        return f"and the system refuses this name ({reason(error)})"
    if stat.S_ISREG(mode):
        found = "file"
    elif stat.S_ISDIR(mode):
        found = "folder"
    else:
        kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
        found = kinds.get(stat.S_IFMT(mode), "special file")
    return None if found == wanted or (wanted == "either" and found in ("file", "folder")) else f"and this is a {found}"


def shown(path: Path) -> str:
    """A path in a sentence: on one line, an address with both its slashes, a very long one without its middle."""
    text = on_one_line(ADDRESS.sub(r"\1://", str(path)))
    return text if len(text) <= 300 else f"{text[:100]}…{text[-100:]}"


def reason(error: BaseException) -> str:
    """The message of the system or a library, on one line and of bounded length."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split())
    return on_one_line(text[:1].lower() + text[1:200]) or type(error).__name__


def damaged(path: Path, what: str, error: BaseException) -> UnreadableError:
    """The error for a file that a library could not read, whatever it raised."""
    return UnreadableError("path", str(path), f"must lead to {what}: {reason(error)}")


def check_matrix(path: Path, dtype: np.dtype, shape: tuple[int, ...], *, mapped: bool = False) -> None:
    """Refuse anything but a matrix of real numbers that fits into memory, before it is read.

    Args:
        path: the file, for the message.
        dtype: the dtype of the numbers.
        shape: the shape that the file states.
        mapped: whether the numbers stay in the file.

    Raises:
        UnreadableError: it is no such matrix.

    """
    if len(shape) != 2 or min(shape) < 1 or dtype.kind not in "fiub" or dtype.itemsize > 16:
        raise UnreadableError(
            "path", str(path), f"must lead to a matrix of real numbers, but this is {dtype} of shape {shape}"
        )
    if not mapped and (too_much := beyond_memory(math.prod(shape) * dtype.itemsize)):
        raise UnreadableError(
            "path", str(path), f"must lead to a matrix that fits into memory: one of shape {shape} {too_much}"
        )


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises at a damaged file into one sentence, `damaged`."""
    try:
        yield
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, NumPy, json, zarr and PyTorch raise all kinds of errors
        raise damaged(path, what, error) from None


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, whose numbers are read when they are asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype
    """That of the numbers once they are read."""
    read: Callable[[tuple[int | slice, ...]], Any]
    """From an index to the numbers there: a NumPy array, or a sparse matrix."""
    mapped: bool = False
    """Whether reading takes no memory for all of the shape: the numbers stay in the file, or most are zero."""


class ArrayFile(ABC):
    """The arrays in a file, by name."""

    def __init__(self, path: Path, names: list[str] | None) -> None:
        """Keep the path, and the names of the arrays; None if there is one array without a name."""
        self.path: Path = path
        self.names: list[str] | None = names

    def chosen(self, key: str | None) -> str:
        """The name of the array to read: `key`, or the only one."""
        if self.names is not None:
            return chosen(key, self.names, self.path)
        if key is not None:
            raise UnreadableError("key", key, f"must be None, as {self.path.name!r} is one array without a name")
        return ""

    @abstractmethod
    def array(self, name: str) -> StoredArray:
        """An array of this file; raises UnreadableError if there is none of that name, or its header lies."""

    def matrix(self, name: str, at: tuple[int | slice, ...] = ()) -> Any:
        """The numbers of an array of two dimensions, or at an index that leaves two of more dimensions.

        Raises:
            UnreadableError: it is no matrix of real numbers that fits into memory.

        """
        stored = self.array(name)
        kept = [length for length, each in zip(stored.shape, at, strict=False) if isinstance(each, slice)]
        shape = (*kept, *stored.shape[len(at) :])
        check_matrix(self.path, stored.dtype, shape, mapped=stored.mapped)
        return stored.read(at)


def numpy_file(path: Path) -> ArrayFile:
    """The array in a .npy file, which is mapped, or those in a .npz file (by `savez`, or `scipy.sparse.save_npz`).

    Raises:
        UnreadableError: there is no such file, or it cannot be read.

    """
    if found := obstacle(path):
        raise UnreadableError("path", str(path), f"must lead to a file, {found}")
    return _NpzFile(path) if path.suffix == ".npz" else _NpyFile(path, None)


def read_matrix(path: Path, key: str | None = None) -> Any:
    """The matrix in a .npy or .npz file; see `numpy_file`.

    Args:
        path: the file.
        key: the name of an array in a .npz file; None if there is only one.

    Returns:
        A two-dimensional array of real numbers, or a sparse matrix whose structure is valid.

    Raises:
        UnreadableError: there is no such file or array, or the file cannot be read.

    """
    file = numpy_file(path)
    return file.matrix(file.chosen(key))


def chosen(key: str | None, keys: list[str], path: Path) -> str:
    """The name of the array to read; raises UnreadableError if there is none of that name, or `key` is needed."""
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None:
        known = ", ".join(on_one_line(each[:60]) for each in sorted(keys)[:8]) + (", …" if len(keys) > 8 else "")
        raise UnreadableError("key", None, f"must be given, as {path.name!r} holds {len(keys)} arrays: {known}")
    if key not in keys:
        raise UnreadableError("key", key, f"must be the name of an array in {path.name!r}; {nearest(key, keys)}")
    return key


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int
    """The position in the file at which the numbers begin."""

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _header(stream: io.BufferedIOBase) -> _Header:
    """The header of an .npy file; raises ValueError if it makes no sense."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"the format's version {version[0]}.{version[1]} is unknown")
    width = 2 if version == (1, 0) else 4
    length = stream.read(width)
    if len(length) < width or int.from_bytes(length, "little") > _HEADER_BYTES:
        raise ValueError("the header is truncated, or implausibly long")
    stream.seek(-width, os.SEEK_CUR)
    # Version 3.0 differs from 2.0 only in the names of fields, which a matrix does not have.
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if any(length < 0 for length in shape):
        raise ValueError(f"the header has the shape {shape}")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    return _Header(tuple(map(int, shape)), fortran, dtype, stream.tell())


_NUMPY = "a readable .npy or .npz file"


@final
class _NpyFile(ArrayFile):
    def array(self, name: str) -> StoredArray:  # noqa: ARG002 (there is only one)
        path = self.path
        with reading(path, _NUMPY), path.open("rb") as stream:
            header = _header(stream)
            _check_length(header, os.fstat(stream.fileno()).st_size - header.start)
        shape, order = header.shape, "F" if header.fortran else "C"
        return StoredArray(
            shape, header.dtype, lambda at: np.memmap(path, header.dtype, "r", header.start, shape, order)[at], True
        )


def _check_length(header: _Header, length: int) -> None:
    if header.bytes != length:
        raise ValueError(f"its header announces {header.bytes} bytes of numbers, but there are {length}")


@final
class _NpzFile(ArrayFile):
    def __init__(self, path: Path) -> None:
        with reading(path, _NUMPY), zipfile.ZipFile(path) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            if len({*names}) < len(names):
                raise ValueError("two arrays in it have the same name")
        self._parts = names
        super().__init__(path, None if {"format", "shape"} <= {*names} else names)

    def array(self, name: str) -> StoredArray:
        path = self.path
        with reading(path, _NUMPY), zipfile.ZipFile(path) as archive:
            if self.names is None:
                matrix = _sparse(archive, self._parts, path)
                return StoredArray(matrix.shape, matrix.dtype, lambda _: matrix, mapped=True)
            with archive.open(f"{name}.npy") as opened:
                header = _header(opened)  # pyright: ignore[reportArgumentType] (it reads and seeks)

        def read(at: tuple[int | slice, ...]) -> np.ndarray:
            with reading(path, _NUMPY), zipfile.ZipFile(path) as again:
                return _member(again, name, path)[at]

        return StoredArray(header.shape, header.dtype, read)


def _sparse(archive: zipfile.ZipFile, names: list[str], path: Path) -> Any:
    form, shape = (_member(archive, name, path) for name in ("format", "shape"))
    form = form.item().decode() if form.dtype.kind == "S" and form.ndim == 0 else str(form)
    if form not in PARTS or shape.dtype.kind not in "iu" or shape.shape != (2,):
        raise ValueError(
            f"it describes a sparse matrix of the format {form[:40]!r} and the shape {shape.tolist()!r:.40}"
        )
    if missing := [name for name in PARTS[form] if name not in names]:
        raise ValueError(f"a sparse matrix of the format {form!r} needs {missing[0]!r}, which this file lacks")
    total = sum(archive.getinfo(f"{name}.npy").file_size for name in PARTS[form])
    if too_much := beyond_memory(total):
        raise UnreadableError("path", str(path), f"must lead to a matrix that fits into memory: this one {too_much}")
    parts = {name: _member(archive, name, path) for name in PARTS[form]}
    try:
        return assembled(form, tuple(map(int, shape)), parts)
    except ValueError as error:
        raise UnreadableError("path", str(path), f"must lead to a valid sparse matrix, which {error}") from None


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """One array of an archive; refused unless it is as long as the archive says, as zipfile reads no further."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as opened:
        stream: Any = opened
        header = _header(stream)
        if too_much := beyond_memory(header.bytes):
            raise UnreadableError(
                "path", str(path), f"must lead to an array that fits into memory: {name!r} {too_much}"
            )
        _check_length(header, info.file_size - header.start)
        numbers = np.empty(header.bytes, np.uint8)
        view, done = memoryview(numbers.data), 0
        while done < len(view):
            if not (count := stream.readinto(view[done : done + _PIECE])):
                raise ValueError(f"the array {name!r} is truncated")
            done += count
        stream.read(1)  # zipfile verifies the checksum at the end
    order = "F" if header.fortran else "C"
    return numbers.view(header.dtype).reshape(header.shape, order=order)
