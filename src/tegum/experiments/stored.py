"""Findings as a file, and back: what an experiment draws besides its trajectories, without pickle.

The file is an .npz. Its entry `structure` is JSON: plain values stand there as they are, everything else as an object
with one key that says what it is. All numbers of one dtype lie in one array, into which the structure points, since
thousands of small entries would take long to read. Reading runs no code but that of the experiment: a class is looked
up by its name in tegum or in the experiment's own modules, and must be a dataclass or a named tuple.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any, final

import numpy as np

from tegum.core.limits import check_memory

FILE = "findings.npz"
"""The name of the file in the folder of a result."""

VERSION = 1
"""Increased by one whenever a reader of the previous version would misread the new one."""

_STRUCTURE = "structure"
_KINDS = "biufcUS"
"""NumPy's letters for the kinds of dtype that are stored."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<dtype>[<>|][" + _KINDS.encode() + rb"]\d{1,9})', "
    rb"'fortran_order': False, 'shape': \((?P<size>\d{1,18}),\), \} *\n",
    re.DOTALL,
)
"""How the content of an .npy file with one axis begins; NumPy's own reader evaluates the header as Python."""

_DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, OSError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading a damaged file may raise, in zipfile, json, or whatever class it names by mistake."""


def dump(value: Any, home: str) -> bytes:
    """The content of a file that holds a value: None, numbers, text, arrays, and what is made of them.

    Tuples, named tuples, lists, sets and mappings, dataclasses, Specs and feature distributions, xarray's Datasets and
    DataArrays may hold these and each other. An OrderedDict and a mapping proxy come back as a dict. Of other kinds
    derived from these, such as a masked array or a defaultdict, something would be lost, and they are refused.

    Args:
        value: the value.
        home: the module of the experiment, whose own classes are stored without its name.

    Raises:
        TypeError: it holds something else, or text or a number that cannot be written; the message says where.

    """
    writer = _Writer(home)
    try:
        structure = {"version": VERSION, "value": writer.write(value, "findings")}
        text = json.dumps(structure, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise TypeError("findings: they cannot be stored, as they are nested too deeply or hold themselves") from None
    except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # Such as half a character, a number of thousands of digits, or a field that was never set.
        why = " ".join(str(error).split())
        raise TypeError(f"findings: they cannot be stored ({why or type(error).__name__})") from error
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in {_STRUCTURE: np.frombuffer(text, np.uint8), **writer.joined()}.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, array, allow_pickle=False)
            # A fixed time, so that the same findings give the same bytes.
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def load(content: bytes, home: str, call: str) -> Any:
    """The value that `dump` has stored.

    Args:
        content: the content of the file.
        home: the module of the experiment.
        call: the beginning of every error message.

    Raises:
        ValueError: it is not such a file, is damaged or of a later version, would take more memory than there is, or
            was stored by an experiment whose classes were others.

    """
    damaged = ValueError(f"{call}: {FILE} is damaged, or was made by another version of the experiment")
    try:
        file = zipfile.ZipFile(io.BytesIO(content))
        parts = file.infolist()
    except _DAMAGE:
        raise damaged from None
    # Arrays are copied out of what is read; JSON takes up to 25 times its size as Python's objects.
    json_size = sum(part.file_size for part in parts if part.filename == f"{_STRUCTURE}.npy")
    check_memory(call, FILE, 2 * sum(part.file_size for part in parts) + 25 * json_size)
    try:
        held = {part.filename.removesuffix(".npy"): _held(file, part) for part in parts}
        structure = json.loads(held.pop(_STRUCTURE).tobytes())
        version = structure["version"]
        if type(version) is not int or version < 1:
            raise damaged
        found = _Reader(home, held).read(structure["value"]) if version <= VERSION else None
    except _DAMAGE:
        raise damaged from None
    if version > VERSION:
        raise ValueError(f"{call}: {FILE} has version {version}; this version of tegum reads up to {VERSION}")
    return found


def _held(file: zipfile.ZipFile, part: zipfile.ZipInfo) -> np.ndarray:
    """One array of the file, as `dump` has written it, without allocating more than its declared size."""
    if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile
    with file.open(part) as opened:
        content = opened.read(part.file_size)
    header = _HEADER.match(content)
    if header is None:
        raise zipfile.BadZipFile
    dtype, size = np.dtype(header["dtype"].decode()), int(header["size"])
    begin = 10 + int.from_bytes(header["length"], "little")
    if not dtype.itemsize or begin < header.end() or len(content) != begin + size * dtype.itemsize:
        raise zipfile.BadZipFile
    return np.frombuffer(content, dtype, offset=begin) if size else np.empty(0, dtype)


@final
class _Writer:
    """Turns values into JSON, and collects their arrays."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._arrays: dict[str, list[np.ndarray]] = {}
        self._sizes: dict[str, int] = {}

    def joined(self) -> dict[str, np.ndarray]:
        """All arrays of each dtype as one."""
        return {name: np.concatenate(parts) for name, parts in self._arrays.items()}

    def write(self, value: Any, at: str) -> Any:
        """The value as JSON; `at` says where it is, for errors."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.training.spec.spec import Spec

        if hasattr(value, "to_zarr"):  # a Dataset is a mapping as well
            return self._other(value, at)
        match value:
            case None | bool():
                return value
            case str() if type(value) is str:
                return value
            case int() if type(value) is int:
                return value
            case float() if type(value) is float:
                return value if math.isfinite(value) else {"float": repr(value)}
            case np.ndarray() | np.generic() if type(value) is np.ndarray or isinstance(value, np.generic):
                return {"array" if isinstance(value, np.ndarray) else "scalar": self._array(np.asarray(value), at)}
            case Spec():
                return {"Spec": value.to_json()}
            case FeatureDistribution():
                return {"FeatureDistribution": value.to_json()}
            case tuple() if hasattr(value, "_fields"):
                own = value._asdict()  # type: ignore[attr-defined]
                _check_whole(value, own, at)
                return {"class": self._class(type(value)), "fields": self._named(own, at)}
            case list() if type(value) is list:
                return [self.write(each, f"{at}[{k}]") for k, each in enumerate(value)]
            case tuple() | set() | frozenset() if type(value) in (tuple, set, frozenset):
                return {type(value).__name__: [self.write(each, f"{at}[{k}]") for k, each in enumerate(value)]}
            case Mapping() if type(value) in (dict, OrderedDict, MappingProxyType):
                pairs = [(self.write(key, f"{at}: a key"), self.write(each, f"{at}[{key!r}]"))
                         for key, each in value.items()]  # fmt: skip
                return {"mapping": pairs}
            case _:
                return self._other(value, at)

    def _other(self, value: Any, at: str) -> Any:
        import xarray as xr

        if isinstance(value, xr.DataArray):
            name = "__this__"
            return {"DataArray": self._dataset(value.to_dataset(name=name), at), "name": self.write(value.name, at)}
        if isinstance(value, xr.Dataset):
            return {"Dataset": self._dataset(value, at)}
        plain = isinstance(value, (Enum, str, int, float, list, tuple, set, frozenset, dict, np.ndarray))
        if is_dataclass(value) and not plain and not isinstance(value, type):
            own = {each.name: getattr(value, each.name) for each in fields(value)}
            _check_whole(value, own, at)
            return {"class": self._class(type(value)), "fields": self._named(own, at)}
        kind = type(value).__name__
        rule = "only numbers, text, arrays, xarray objects, and tuples, lists, mappings and dataclasses of them can be"
        raise TypeError(f"{at}: a {kind} cannot be stored; {rule}")

    def _named(self, own: Mapping[str, Any], at: str) -> dict[str, Any]:
        return {name: self.write(each, f"{at}.{name}") for name, each in own.items()}

    def _class(self, kind: type) -> str:
        module = "" if kind.__module__ == self._home else kind.__module__
        return f"{module}:{kind.__qualname__}"

    def _array(self, array: np.ndarray, at: str) -> list[Any]:
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"{at}: an array of dtype {array.dtype} cannot be stored; numbers, booleans and text can")
        if array.dtype.itemsize == 0:
            array = array.astype(f"{array.dtype.kind}1")
        name = array.dtype.newbyteorder("<").str.replace("<", "").replace("|", "")
        begin = self._sizes.get(name, 0)
        self._arrays.setdefault(name, []).append(np.ascontiguousarray(array).ravel())
        self._sizes[name] = begin + array.size
        return [name, begin, list(array.shape)]

    def _dataset(self, data: Any, at: str) -> list[Any]:
        return [
            [
                [self.write(name, at), list(each.dims), self._array(each.values, f"{at}[{name!r}]"),
                 self.write(dict(each.attrs), at), name in data.coords]
                for name, each in data.variables.items()
            ],
            self.write(dict(data.attrs), at),
        ]  # fmt: skip


def _check_whole(value: Any, own: Mapping[str, Any], at: str) -> None:
    """Refuse an object with attributes besides its fields, and one whose class cannot be found by its name."""
    kind = type(value)
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{at}: a {kind.__name__} cannot be stored; its class is defined inside a function")
    for name in getattr(value, "__dict__", {}):
        # What was computed once and kept is computed again.
        if name not in own and not isinstance(getattr(kind, name, None), cached_property):
            rule = f"its attribute {name!r} is none of its fields and would be lost"
            raise TypeError(f"{at}: a {kind.__name__} cannot be stored; {rule}")


@final
class _Reader:
    """Turns what `_Writer` has written into values again."""

    def __init__(self, home: str, arrays: Mapping[str, np.ndarray]) -> None:
        self._home, self._arrays = home, arrays
        self._left = {name: array.size for name, array in arrays.items()}

    def read(self, given: Any) -> Any:
        """The value."""
        match given:
            case None | bool() | int() | float() | str():
                return given
            case list():
                return [self.read(each) for each in given]
            case {"float": text}:
                return float(text)
            case {"array": place}:
                return self._array(place)
            case {"scalar": place}:
                return self._array(place).reshape(())[()]
            case {"Spec": described}:
                from tegum.training.spec.spec import Spec

                return Spec.from_json(described)
            case {"FeatureDistribution": described}:
                from tegum.core.features.distribution import FeatureDistribution

                return FeatureDistribution(described)
            case {"tuple": each}:
                return tuple(self.read(one) for one in each)
            case {"set": each}:
                return {self.read(one) for one in each}
            case {"frozenset": each}:
                return frozenset(self.read(one) for one in each)
            case {"mapping": pairs}:
                return {self.read(key): self.read(value) for key, value in pairs}
            case {"DataArray": parts, "name": name}:
                return self._dataset(parts)["__this__"].rename(self.read(name))
            case {"Dataset": parts}:
                return self._dataset(parts)
            case {"class": name, "fields": own}:
                return self._object(name, {key: self.read(value) for key, value in own.items()})
            case _:
                raise TypeError(given)

    def _array(self, place: Any) -> np.ndarray:
        name, begin, shape = place
        if not all(type(each) is int and each >= 0 for each in (begin, *shape)):
            raise TypeError(place)
        size = math.prod(shape)
        # No number is part of two values: otherwise a small file could take any amount of memory.
        self._left[name] -= size
        if begin + size > len(self._arrays[name]) or self._left[name] < 0:
            raise IndexError(place)
        # A copy, because another value may be changed in place.
        return self._arrays[name][begin : begin + size].reshape(shape).copy()

    def _dataset(self, parts: Any) -> Any:
        import xarray as xr

        listed, attrs = parts
        read = [
            (self.read(name), (dims, self._array(place), self.read(own)), coordinate)
            for name, dims, place, own, coordinate in listed
        ]
        return xr.Dataset(
            {name: each for name, each, coordinate in read if not coordinate},
            {name: each for name, each, coordinate in read if coordinate},
            self.read(attrs),
        )

    def _object(self, name: str, own: dict[str, Any]) -> Any:
        kind = self._class(name)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return kind(**own)
        if not is_dataclass(kind) or {each.name for each in fields(kind)} != set(own):
            raise TypeError(name)
        # Not by __init__, which may compute and check what is already there.
        made = object.__new__(kind)
        for key, value in own.items():
            object.__setattr__(made, key, value)
        return made

    def _class(self, name: str) -> Any:
        module, _, path = name.partition(":")
        module = module or self._home
        tops = ("tegum", self._home.partition(".")[0])
        if module not in sys.modules and module.partition(".")[0] not in tops:
            raise TypeError(name)
        try:
            found: Any = sys.modules.get(module) or importlib.import_module(module)
        except ImportError:
            raise TypeError(name) from None
        for part in path.split("."):
            found = getattr(found, part)
        if not isinstance(found, type):
            raise TypeError(name)
        return found
