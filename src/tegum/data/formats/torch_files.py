"""Tensors in files of torch.save: read by PyTorch itself, and as weights only, so that no code in a file runs.

PyTorch is imported only here, when such a file is read.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.files import ArrayFile, StoredArray, UnreadableError, reading
from tegum.core.limits import beyond_memory

TORCH_SUFFIXES = (".pt", ".pth", ".bin")

_LEAST = (2, 6)
"""The first version of PyTorch in which weights_only keeps all code out (CVE-2025-32434)."""

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of a file of torch.save before it wrote zip archives: a pickled number."""

_DEEPEST = 16
"""The most levels of tables within tables; tables in Python may even contain themselves."""

_WHAT = "a file of torch.save that can be read"


@final
class TorchFile(ArrayFile):
    """The tensors of a file; those in tables within the table have names with dots."""

    def __init__(self, path: Path) -> None:
        """Load the file, mapped where it is an archive; raises UnreadableError if it holds more than tensors."""
        held, self._sizes = _loaded(path)
        found = list(_tensors(held, "", 0))
        self._tensors = dict(found)
        if not found:
            raise UnreadableError("path", str(path), "must lead to tensors, but there are none in this file")
        names = [name for name, _ in found]
        if len(self._tensors) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            rule = f"must lead to tensors with names of their own, but two in it are called {twice!r:.80}"
            raise UnreadableError("path", str(path), rule)
        super().__init__(path, None if names == [""] else names)

    def array(self, name: str) -> StoredArray:
        """A tensor of this file."""
        tensor, path = self._tensors[name], self.path
        kind = str(tensor.dtype).removeprefix("torch.")
        narrow = kind == "bfloat16" or kind.startswith("float8_e")
        with reading(path, _WHAT):
            shape, repeats = tuple(tensor.shape), False
            if getattr(tensor, "is_quantized", False):
                raise ValueError(f"the tensor {name!r} of {kind} is quantised; .dequantize() makes plain numbers")
            dtype = np.dtype(np.float32 if narrow else kind)
            if str(tensor.layout) == "torch.strided":
                size = tensor.untyped_storage().nbytes()
                # A tensor may repeat what it holds; but what it addresses must be there, and a table of contents may
                # lie about the length.
                if _addressed(tensor) > size or not (self._sizes is None or size in self._sizes):
                    raise ValueError(f"the tensor {name!r} announces more numbers than there are")
                repeats = tensor.numel() * tensor.element_size() > size

        def read(at: tuple[int | slice, ...]) -> Any:
            with reading(path, _WHAT):
                return numbers_of(tensor[at] if at else tensor)

        return StoredArray(shape, dtype, read, not narrow and not repeats)


def _addressed(tensor: Any) -> int:
    """The bytes of its storage up to the last number that a tensor has."""
    if not tensor.numel():
        return 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((length - 1) * stride for length, stride in steps)
    return (last + 1) * tensor.element_size()


def _loaded(path: Path) -> tuple[Any, set[int] | None]:
    """What a file holds; of an archive that is mapped also the lengths of its entries."""
    try:
        import torch
    except ImportError as error:
        raise UnreadableError(
            "path", str(path), f"can be read only where PyTorch is installed ({error}): pip install torch"
        ) from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < _LEAST:
        raise UnreadableError(
            "path", str(path), f"can be read safely by PyTorch 2.6 or newer, and {torch.__version__} is installed"
        )
    with reading(path, _WHAT):
        sizes = None
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if all(entry.compress_type == zipfile.ZIP_STORED for entry in entries):
                sizes = {entry.file_size for entry in entries}
        else:
            with path.open("rb") as stream:
                if stream.read(len(_LEGACY)) != _LEGACY:
                    raise ValueError("torch.save did not write it, and other pickles are not read")
            total = path.stat().st_size
        if sizes is None and (too_much := beyond_memory(total)):
            raise UnreadableError("path", str(path), f"must lead to tensors that fit into memory: they {too_much}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused, and of sparse tensors
            try:
                held = torch.load(path, map_location="cpu", weights_only=True, mmap=sizes is not None)
            except pickle.UnpicklingError:
                # Its own message recommends to allow code.
                raise ValueError(
                    "it holds Python objects beside tensors, which could run code and are not read; "
                    "torch.save(model.state_dict(), …) writes tensors alone"
                ) from None
        return held, sizes


def _tensors(held: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if hasattr(held, "untyped_storage") or hasattr(held, "detach"):
        yield name, held
    elif isinstance(held, Mapping) and depth < _DEEPEST:
        for key, each in held.items():
            yield from _tensors(each, f"{name}.{key}" if name else str(key), depth + 1)
