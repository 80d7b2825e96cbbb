"""How the arrays of a sweep lie in zarr: runs of one shape in one group, and the runs of one pack in one shard."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Shaped

from tegum.data import schema, zarr_setup

if TYPE_CHECKING:
    import xarray as xr

CHUNK_BYTES = 2**20
"""The largest chunk inside a shard, in bytes before compression."""

TEXT = "string"

_FILLS: Mapping[str, Any] = {"result": "missing", "diverged_at": -1, "converged_at": -1}
"""What stands where a run has not been made, besides NaN and zero."""

_CODES = {"f": "float", "i": "int", "u": "uint", "b": "bool", "c": "complex"}


@final
@dataclass(frozen=True)
class Array:
    """One variable of every run."""

    name: str
    dims: tuple[str, ...]
    """Its dimensions after `spec` and `seed`."""
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name, or "string"."""
    attrs: Mapping[str, Any]

    @property
    def itemsize(self) -> int:
        """The bytes of a number; of text, about as many as names of polytopes have letters."""
        return 32 if self.dtype == TEXT else np.dtype(self.dtype).itemsize

    @property
    def size(self) -> int:
        """The bytes of a run, before compression."""
        return math.prod(self.shape) * self.itemsize

    @property
    def fill(self) -> Any:
        """What stands where a run has not been made."""
        if self.name in _FILLS:
            return _FILLS[self.name]
        if self.dtype == TEXT:
            return ""
        return np.nan if np.dtype(self.dtype).kind in "fc" else 0

    @classmethod
    def of(cls, name: str, variable: xr.DataArray) -> Array:
        """The variable whose values for some runs are given."""
        own = [str(dim) for dim in variable.dims if dim not in (schema.SPEC, "seed")]
        text = variable.dtype.kind in "OUT"
        attrs = {str(key): each for key, each in variable.attrs.items() if isinstance(each, str | int | float | bool)}
        return cls(
            name, tuple(own), tuple(variable.sizes[dim] for dim in own), TEXT if text else variable.dtype.name, attrs
        )


@final
@dataclass(frozen=True)
class Coordinate:
    """Values along a dimension of some variables, the same for all runs."""

    name: str
    dims: tuple[str, ...]
    values: tuple[Any, ...]
    dtype: str
    attrs: Mapping[str, Any]

    def equals(self, values: Shaped[np.ndarray, " _length"]) -> bool:
        """Whether these are the values."""
        own = np.array(self.values, dtype=object if self.dtype == TEXT else self.dtype)
        return np.array_equal(own, values, equal_nan=own.dtype.kind in "fc" and values.dtype.kind in "fc")


@final
@dataclass(frozen=True)
class Layout:
    """The arrays of one group: of Specs that are trained together, by seeds."""

    path: str
    """The group in the store: empty for its root."""
    specs: int
    seeds: int
    per_pack: tuple[int, int]
    """The Specs and the seeds of a pack, except at the ends."""
    arrays: tuple[Array, ...]
    coordinates: tuple[Coordinate, ...]

    @property
    def packs(self) -> tuple[int, int]:
        """The number of packs along Specs and along seeds."""
        return -(-self.specs // self.per_pack[0]), -(-self.seeds // self.per_pack[1])

    def places(self) -> Iterator[tuple[int, int]]:
        """The place of each pack."""
        along, across = self.packs
        return ((i, j) for i in range(along) for j in range(across))

    def within(self, place: tuple[int, int]) -> tuple[range, range]:
        """The Specs and the seeds of the pack at a place, by their positions."""
        starts = [at * size for at, size in zip(place, self.per_pack, strict=True)]
        ends = [
            min(start + size, n) for start, size, n in zip(starts, self.per_pack, (self.specs, self.seeds), strict=True)
        ]
        return range(starts[0], ends[0]), range(starts[1], ends[1])

    def runs(self, place: tuple[int, int]) -> int:
        """The number of runs of the pack at a place."""
        return math.prod(map(len, self.within(place)))

    @property
    def run_bytes(self) -> int:
        """The bytes of what is kept of a run, before compression."""
        return sum(array.size for array in self.arrays)

    def key(self, array: Array, place: tuple[int, int]) -> str:
        """The path, in the store, of the shard of a variable of a pack."""
        inner = "/0" * len(array.shape)
        return f"{self.path}/{array.name}/c/{place[0]}/{place[1]}{inner}".removeprefix("/")

    def to_json(self) -> dict[str, Any]:
        """The layout in JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Layout:
        """The layout that `to_json` has described."""
        arrays = [
            Array(each["name"], tuple(each["dims"]), tuple(each["shape"]), each["dtype"], each["attrs"])
            for each in given["arrays"]
        ]
        coordinates = [
            Coordinate(each["name"], tuple(each["dims"]), tuple(each["values"]), each["dtype"], each["attrs"])
            for each in given["coordinates"]
        ]
        first, second = given["per_pack"]
        return cls(given["path"], given["specs"], given["seeds"], (first, second), tuple(arrays), tuple(coordinates))


def _dividing(count: int, most: int) -> int:
    """The largest divisor of a number that is at most another one, and at least 1."""
    return next(each for each in range(min(count, max(most, 1)), 0, -1) if count % each == 0)


def _inner(layout: Layout, array: Array) -> tuple[int, int]:
    """The Specs and the seeds of a chunk of a shard."""
    fitting = max(1, CHUNK_BYTES // max(array.size, 1))
    seeds = _dividing(layout.per_pack[1], fitting)
    specs = _dividing(layout.per_pack[0], fitting // layout.per_pack[1]) if seeds == layout.per_pack[1] else 1
    return specs, seeds


def make_array(group: Any, layout: Layout, array: Array, *, whole: bool) -> Any:
    """A zarr array for a variable: of all runs, or in the form of a single shard.

    Args:
        group: the zarr group in which it is made.
        layout: the layout of the group.
        array: the variable.
        whole: whether of all runs.

    """
    from zarr.codecs import Crc32cCodec, ZstdCodec

    runs = (layout.specs, layout.seeds) if whole else layout.per_pack
    own = tuple(max(length, 1) for length in array.shape)
    return group.create_array(
        array.name,
        shape=(*runs, *array.shape),
        shards=(*layout.per_pack, *own),
        chunks=(*_inner(layout, array), *own),
        dtype=array.dtype,
        compressors=(ZstdCodec(), Crc32cCodec()),
        fill_value=array.fill,
        dimension_names=(schema.SPEC, "seed", *array.dims),
        attributes=dict(array.attrs),
        config={"write_empty_chunks": True},
    )


def shard(layout: Layout, array: Array, values: Shaped[np.ndarray, "spec seed *shape"]) -> bytes:
    """The bytes of the shard of a variable, as zarr writes them.

    Args:
        layout: the layout of its group.
        array: the variable.
        values: its values for the runs of a pack, shape (spec, seed, …).

    """
    import zarr
    from zarr.storage import MemoryStore

    store = MemoryStore()
    with zarr_setup.scope():
        made = make_array(zarr.create_group(store, zarr_format=3), layout, array, whole=False)
        made[: values.shape[0], : values.shape[1]] = values
    inner = "/0" * len(array.shape)
    # Of a variable without values zarr writes nothing.
    content = store._store_dict.get(f"{array.name}/c/0/0{inner}")
    return b"" if content is None else content.to_bytes()


def fitted(
    array: Array, variable: xr.DataArray, coordinates: Sequence[Coordinate] = ()
) -> Shaped[np.ndarray, "spec seed *shape"]:
    """The values of a variable for some runs, if they fit what was planned.

    Args:
        array: what was planned.
        variable: the values.
        coordinates: the coordinates of its dimensions, as they were planned.

    Raises:
        ValueError: they have other dimensions, other coordinates, or another kind of numbers.

    """
    ordered = variable if schema.SPEC in variable.dims else variable.expand_dims(schema.SPEC)
    ordered = ordered.transpose(schema.SPEC, "seed", ...)
    if {*ordered.dims[2:]} == {*array.dims}:
        ordered = ordered.transpose(schema.SPEC, "seed", *array.dims)
    found = Array.of(array.name, ordered)
    if (found.dims, found.shape) != (array.dims, array.shape):
        have = dict(zip(found.dims, found.shape, strict=True))
        planned = dict(zip(array.dims, array.shape, strict=True))
        rule = "a measure must have the same for all runs"
        raise ValueError(
            f"the measure {array.name} has the dimensions {have} for some runs, and had {planned} for the first; {rule}"
        )
    for each in coordinates:
        if each.name in array.dims and each.name in ordered.coords and not each.equals(ordered[each.name].values):
            rule = "a measure must have the same for all runs"
            raise ValueError(
                f"the measure {array.name} has other values of the coordinate {each.name} for some runs than for the "
                f"first; {rule}"
            )
    values = ordered.values
    if array.dtype == TEXT and found.dtype == TEXT:
        return values.astype(object)
    if array.dtype == TEXT or found.dtype == TEXT or not np.can_cast(values.dtype, array.dtype, "safe"):
        rule = "a measure must have one kind of values for all runs"
        raise ValueError(
            f"the measure {array.name} has values of dtype {found.dtype} for some runs, and had {array.dtype} for the "
            f"first; {rule}"
        )
    return values.astype(array.dtype)


def described(names: Sequence[str], run: xr.Dataset) -> tuple[tuple[Array, ...], tuple[Coordinate, ...]]:
    """The variables of these names, and the coordinates of their dimensions, as the first runs have them."""
    arrays = tuple(Array.of(name, run[name]) for name in names)
    dims = dict.fromkeys(dim for array in arrays for dim in array.dims)
    coordinates = []
    for name in dims:
        if name in run.coords and run[name].dims == (name,):
            values = run[name].values
            text = values.dtype.kind in "OUT"
            attrs = {str(key): each for key, each in run[name].attrs.items() if isinstance(each, str | int | float)}
            coordinates.append(
                Coordinate(name, (name,), tuple(values.tolist()), TEXT if text else values.dtype.name, attrs)
            )
    return arrays, tuple(coordinates)
