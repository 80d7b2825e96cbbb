"""A zarr store in which damage is always noticed: every file is compared with the manifest whenever it is read.

Importing this imports xarray and zarr.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import xarray as xr
import zarr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing
from zarr.abc.store import Store

from tegum.data import manifest, zarr_setup

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


# Not derived from zarr's LocalStore: there must be no way to the bytes that bypasses the comparison.
@final
class SealedStore(Store):
    """The files of a manifest, to be read whole; files that the manifest does not name do not exist.

    Reading raises ValueError, naming the file, if it is missing or is not what the manifest says.
    """

    def __init__(self, root: Path, files: manifest.Files) -> None:
        super().__init__(read_only=True)
        self.root = root
        self.files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedStore) and (self.root, self.files) == (other.root, other.files)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """One whole file, or None if the manifest has none of this name."""
        if byte_range is not None:
            raise NotImplementedError("part of a file cannot be compared with the digest of the whole")
        if key not in self.files:
            return None
        data = await asyncio.to_thread(manifest.content, self.root, key, self.files[key][1])
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several whole files."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether the manifest names the file."""
        return key in self.files

    async def list(self) -> AsyncIterator[str]:
        """Every file."""
        for file in self.files:
            yield file

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every file whose path starts with the prefix."""
        for file in self.files:
            if file.startswith(prefix):
                yield file

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The entries of one folder."""
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        inside = (file.removeprefix(start) for file in self.files if file.startswith(start))
        for entry in dict.fromkeys(file.split("/")[0] for file in inside):
            yield entry

    async def set(self, key: str, value: Buffer) -> None:
        """Refused: a loaded store is only read."""
        del value
        raise ValueError(f"writing {key!r} to {str(self.root)!r}: a loaded store is only read; use tegum.save")

    async def delete(self, key: str) -> None:
        """Refused: a loaded store is only read."""
        raise ValueError(f"deleting {key!r} in {str(self.root)!r}: a loaded store is only read")

    # The first zarr 3.1 wants these two.
    async def set_partial_values(self, key_start_values: Any) -> None:
        """Refused: a loaded store is only read."""
        raise ValueError(f"writing {key_start_values!r} to {str(self.root)!r}: a loaded store is only read")

    @property
    def supports_partial_writes(self) -> Literal[False]:
        """False."""
        return False

    @property
    def supports_writes(self) -> bool:
        """False."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False."""
        return False

    @property
    def supports_listing(self) -> bool:
        """True."""
        return True


@final
class _LazyArray(BackendArray):
    """A variable of such a store, whose numbers are read when they are used, and with zarr's default settings."""

    def __init__(self, array: zarr.Array) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        plain = all(isinstance(part, int | slice) for part in key)
        with zarr_setup.scope():
            return self._array[key] if plain else self._array.oindex[key]


@final
class SealedBackend(BackendEntrypoint):
    """How xarray opens a sealed store: nothing is decoded, since xarray takes some attributes as instructions.

    (Units "days" would turn numbers into durations.)
    """

    open_dataset_parameters: ClassVar[tuple[Any, ...] | None] = ("filename_or_obj", "drop_variables")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None) -> xr.Dataset:
        """All arrays of the store."""
        del drop_variables
        group = zarr.open_group(filename_or_obj, mode="r", zarr_format=3)
        variables = {name: _variable(array) for name, array in group.arrays()}
        return xr.Dataset(variables, attrs=dict(group.attrs))


def _variable(array: zarr.Array) -> xr.Variable:
    dims: Any = getattr(array.metadata, "dimension_names", None) or ()
    return xr.Variable(dims, indexing.LazilyIndexedArray(_LazyArray(array)), dict(array.attrs))
