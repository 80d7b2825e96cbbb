"""Trajectories on disk: zarr format 3, written completely or not at all, never read unchecked.

A store is a folder with one zarr array per variable. Its chunks are compressed (zstd) and end in a crc32c, so that
any zarr reader notices an altered chunk. What zarr cannot notice (a missing chunk reads as the fill value, and one
copied over another reads as the other) is caught here, by a manifest of the length and the sha256 of every file:

- `load` compares all lengths, and the digests of everything that describes the data; if the store takes at most
  EAGER_BYTES, also the digests of the data.
- Whatever the size, a chunk is compared when it is read: lazy loading cannot return wrong numbers.
- `verify` compares everything.

zarr 3 has no stable format for text: text is stored as integer codes, with the words in the array's attributes.

Appending along `seed` would belong here: new chunks next to the old ones, with the metadata and the manifest replaced
last. Files that the manifest does not name are never read.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int32

from tegum.core.arguments import refusing
from tegum.core.inputs.files import obstacle
from tegum.data import manifest, plain, schema, zarr_setup
from tegum.data.atomic import check_writable, explaining, put_back, reading, replacing, resolved
from tegum.data.result_files import STORE, foreign_in, refusal
from tegum.data.schema import brief

if TYPE_CHECKING:
    import xarray as xr

EAGER_BYTES = 256 * 2**20
"""Up to this size on disk, in bytes, `load` compares every file; beyond it, a chunk is compared when it is read."""

CHUNK_BYTES = 2**20
"""The size of the largest chunk before compression, in bytes."""

_RUN_DIMS = (schema.SPEC, "seed", "step")
_COORDINATES = "coordinates"
_TEXT = "tegum_text"
_NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


@refusing
def save(dataset: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Save a trajectory as a new store at `path`, which appears complete or not at all.

    The store is a folder in zarr format 3, with checksums. If the process is killed meanwhile, a hidden folder stays
    beside `path`, which the next `save` to `path` removes.

    Args:
        dataset: a trajectory (see `tegum.data.schema`), or the measures that `train(keep=…)` gives; further variables
            may hold numbers, booleans or text.
        path: the folder to create, in a folder that exists.
        overwrite: whether to replace a tegum store at `path`, which stays until the new one is complete. Nothing but
            a store is ever replaced.

    Raises:
        ValueError: the dataset is not a trajectory of this schema version, or could not be read back exactly
            (because of an unsupported dtype, an attribute that is not JSON, a name that cannot name a file, or a
            MultiIndex).
        FileExistsError: what is at `path` may not be replaced, or contains something that is not part of a store.
        FileNotFoundError: the folder above `path` does not exist.
        OSError: the disk is full, or nothing can be written there; the sentence names the place.

    Example:
        >>> import tempfile
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=5), seeds=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tg.save(tg.train(spec), f"{folder}/run.zarr")
        ...     tg.load(f"{folder}/run.zarr").sizes["seed"]
        2

    """
    write(dataset, path, overwrite=overwrite, call=f"save(dataset, {os.fspath(path)!r})")


def write(dataset: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool, call: str) -> None:
    """As `save`, with `call` at the beginning of errors."""
    # Everything that can be refused is refused before anything is written.
    schema.check_stored(dataset, call=call)
    name, version = dataset.attrs.get("schema"), dataset.attrs.get("schema_version")
    if name not in (schema.NAME, schema.MEASURES) or version != schema.VERSION:
        raise ValueError(
            f"{call}: the dataset's attributes say schema={name!r}, schema_version={version!r}; a store "
            f"holds schema={schema.NAME!r}, schema_version={schema.VERSION}"
        )
    attrs = _json_attrs(dataset.attrs, "the dataset", (_COORDINATES,), call)
    check_storable(dataset, call)
    target = check_place(path, overwrite=overwrite, call=call)
    with replacing(target, overwrite=overwrite, call=call, foreign=foreign) as part, zarr_setup.scope():
        _write(dataset, attrs, part, call)
        manifest.write(part, map(str, dataset.variables))


def check_place(path: str | os.PathLike[str], *, overwrite: bool = False, call: str | None = None) -> Path:
    """Check that a trajectory can be saved at `path`, before a long training.

    Args:
        path: the folder to create.
        overwrite: whether a store at `path` may be replaced.
        call: what errors begin with; None means a call of `save`.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: what is at `path` may not be replaced, or contains something that is not part of a store.
        FileNotFoundError: the folder above `path` does not exist.
        OSError: nothing can be written there, or not under that name; or zarr does not work here.

    """
    call = call or f"save(dataset, {os.fspath(path)!r})"
    target = resolved(path, call)
    with explaining(f"{call}: looking at {str(target)!r}"):
        check_writable(target, call)
        put_back(target, call)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{call}: something is at this path; overwrite=True replaces a tegum store")
        if target.exists() and not (target / manifest.FILE).is_file():
            rule = "overwrite=True replaces nothing else"
            raise FileExistsError(f"{call}: what is at this path is not a tegum store; {rule}")
        if name := foreign(target):
            raise FileExistsError(f"{call}: a tegum store is at {str(target)!r}, but {refusal(name)}")
    zarr_setup.check(call)
    return target


def foreign(root: Path) -> str | None:
    """Something in the folder of a store that is not part of it; None if there is nothing."""
    return foreign_in(root, STORE)


@refusing
def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Load the trajectory at `path`, exactly as it was saved.

    Numbers are read when they are used, and text at once. If the store is damaged or replaced after this, using the
    numbers raises ValueError. A store written by `Dataset.to_zarr` has no checksums: it is read at once if no chunk
    is missing, with a warning.

    Args:
        path: the folder of the store.

    Returns:
        The trajectory.

    Raises:
        ValueError: there is no tegum store, or it has another schema version, or it is damaged; the sentence names
            the file.
        FileNotFoundError: there is nothing at `path`.
        OSError: the store cannot be read; the sentence names the file.

    Example:
        >>> import tempfile
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=5), seeds=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = tg.train(spec, out=f"{folder}/run.zarr")
        ...     tg.load(f"{folder}/run.zarr").identical(run)
        True

    """
    return read(path, call=f"load({os.fspath(path)!r})")


def read(path: str | os.PathLike[str], *, call: str) -> xr.Dataset:
    """As `load`, with `call` at the beginning of errors."""
    with reading(call):
        return _read(_place(path), call)


def _read(root: Path, call: str) -> xr.Dataset:
    import xarray as xr

    zarr_setup.imported(call)

    from tegum.data.checked_store import SealedBackend, SealedStore

    if plain.is_plain(root):
        return plain.read(root, call)
    files = manifest.read(root, call)
    manifest.compare(root, files, call, everything=sum(size for size, _ in files.values()) <= EAGER_BYTES)
    with zarr_setup.scope():
        store: Any = SealedStore(root, files)
        raw = xr.open_dataset(store, engine=SealedBackend, chunks=None)
    attrs = dict(raw.attrs)
    coordinates = attrs.pop(_COORDINATES).split()
    # The manifest keeps the order in which variables were saved; a folder has none.
    names = dict.fromkeys(file.split("/")[0] for file in files if "/" in file)
    variables = {name: _decoded(raw.variables[name]) for name in names}
    dataset = xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in coordinates},
        {name: variables[name] for name in coordinates},
        attrs,
    )
    schema.check_stored(dataset, call=call)
    return dataset


def verify(path: str | os.PathLike[str]) -> None:
    """Compare every file of the store at `path` with its manifest, however large the store is.

    Args:
        path: the folder of the store.

    Raises:
        ValueError: as from `load`, for any file of the store.
        FileNotFoundError: there is nothing at `path`.

    """
    call = f"verify({os.fspath(path)!r})"
    with reading(call):
        root = _place(path)
        if plain.is_plain(root):
            raise ValueError(f"{call}: xarray wrote this store, without checksums; tegum.save adds them")
        manifest.compare(root, manifest.read(root, call), call, everything=True)


def _place(path: str | os.PathLike[str]) -> Path:
    """The absolute path, valid after a change of folder; as given if nothing can be there, which `read` reports."""
    place = Path(path)
    return place if obstacle(place, "either") else place.resolve()


def check_storable(dataset: xr.Dataset, call: str) -> None:
    """Check that a store can hold the variables of a Dataset; errors begin with `call`.

    Raises:
        ValueError: a name, a dtype or an attribute could not be read back.

    """
    for name in dataset.variables:
        check_name(name, call)
        _check_variable(dataset, str(name), call)


def check_name(name: Any, call: str) -> None:
    """Check that a variable of this name can be stored; errors begin with `call`.

    Raises:
        ValueError: it cannot.

    """
    if not isinstance(name, str) or name == manifest.GROUP or not re.fullmatch(r"(?!\.|__)[^\s/\\:*?\"<>|\0]+", name):
        raise ValueError(
            f"{call}: {name!r} cannot name a stored variable; a name is text without blanks that could name a "
            f"file, and not {manifest.GROUP!r}"
        )


def _check_variable(dataset: xr.Dataset, name: str, call: str) -> None:
    variable = dataset.variables[name]
    if any(not isinstance(dim, str) for dim in variable.dims):
        raise ValueError(f"{call}: {name} has the dimensions {variable.dims}; names of stored dimensions are text")
    if name in dataset.indexes and dataset.indexes[name].nlevels > 1:
        raise ValueError(f"{call}: {name} is a MultiIndex; dataset.reset_index({name!r}) can be stored")
    dtype = variable.dtype
    if dtype.kind == "O":
        if strange := [value for value in variable.values.flat if type(value) is not str]:
            raise ValueError(f"{call}: {name} holds the object {strange[0]!r}; stored objects are all text")
    elif dtype.kind != "U" and not (dtype.name in _NUMBERS and dtype.isnative):
        raise ValueError(
            f"{call}: {name} has the dtype {dtype}; a store holds text, booleans and numbers, of at most 64 bits "
            "(or twice 64 if complex) and in this machine's byte order"
        )
    _json_attrs(variable.attrs, name, (_TEXT, "_FillValue"), call)


def _json_attrs(attrs: Mapping[Any, Any], owner: str, reserved: tuple[str, ...], call: str) -> dict[str, Any]:
    """Attributes in JSON's types: NumPy scalars become Python numbers of the same value, tuples become lists."""

    def plain(value: Any, name: str) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):  # JSON has no others.
            return value
        if isinstance(value, list | tuple):
            return [plain(item, name) for item in value]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: plain(item, name) for key, item in value.items()}
        raise ValueError(
            f"{call}: the attribute {name!r} of {owner} holds {brief(value)}; an attribute is text, a "
            "finite number, a boolean, None, or lists and text-keyed dicts of these"
        )

    for name in attrs:
        if not isinstance(name, str) or name in reserved:
            raise ValueError(f"{call}: {owner} has the attribute {name!r}; names are text other than {reserved}")
    return {name: plain(value, name) for name, value in attrs.items()}


def _write(dataset: xr.Dataset, attrs: Mapping[str, Any], part: Path, call: str) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    # This attribute is xarray's own convention: a plain xarray.open_zarr finds the coordinates, too.
    coordinates = " ".join(map(str, dataset.coords))
    group = zarr.create_group(part, zarr_format=3, attributes={**attrs, _COORDINATES: coordinates})
    for name, variable in dataset.variables.items():
        own = _json_attrs(variable.attrs, str(name), (), call)
        source = variable
        if variable.dtype.kind in "OU":
            source, own[_TEXT] = _coded(variable)
        chunks = _chunks(variable.shape, source.dtype.itemsize, variable.dims, schema.leading(dataset))
        array = group.create_array(
            str(name),
            shape=variable.shape,
            dtype=source.dtype,
            chunks=chunks,
            compressors=(ZstdCodec(), Crc32cCodec()),
            filters=(),
            # A reader that ignores a missing chunk, as zarr does, must not see plausible zeros.
            fill_value=np.nan if source.dtype.kind in "fc" else 0,
            dimension_names=[str(dim) for dim in variable.dims],
            attributes=own,
            # Every chunk gets a file, so that none may be missing.
            config={"write_empty_chunks": True},
        )
        for block in _blocks(variable.shape, chunks):
            # In blocks, since a lazily loaded trajectory may be larger than the memory.
            array[block] = np.asarray(source[block])


def _coded(variable: xr.Variable) -> tuple[Int32[np.ndarray, "*shape"], dict[str, Any]]:
    """Text as codes, with the words and the dtype needed to decode them."""
    values = variable.values
    words = sorted({str(value) for value in values.flat})
    codes = {word: code for code, word in enumerate(words)}
    coded = np.fromiter((codes[str(value)] for value in values.flat), np.int32, values.size)
    return coded.reshape(values.shape), {"words": words, "dtype": values.dtype.str}


def _decoded(variable: xr.Variable) -> xr.Variable:
    """The variable as it was saved: numbers still unread, text from its codes."""
    import xarray as xr

    attrs = dict(variable.attrs)
    if (text := attrs.pop(_TEXT, None)) is None:
        variable.encoding = {}  # In place, as drop_encoding of some xarray versions reads the numbers.
        return variable
    words = np.empty(len(text["words"]), dtype=text["dtype"])
    words[:] = text["words"]
    return xr.Variable(variable.dims, words[variable.values], attrs)


def _chunks(
    shape: tuple[int, ...], itemsize: int, dims: tuple[Any, ...], grid: Collection[str] = ()
) -> tuple[int, ...]:
    """The shape of a chunk: halved along the run dimensions, the least divided first, until it is small enough.

    Those of a grid are among them. One run, or one step of all runs, then lies in about the square root of the number
    of chunks. A snapshot is divided only if it is too large by itself.
    """
    chunks = [max(1, length) for length in shape]
    runs = [axis for axis, dim in enumerate(dims) if dim in _RUN_DIMS or dim in grid]
    others = [axis for axis, dim in enumerate(dims) if axis not in runs]
    while math.prod(chunks) * itemsize > CHUNK_BYTES:
        divisible = [axis for axis in runs if chunks[axis] > 1] or [axis for axis in others if chunks[axis] > 1]
        if not divisible:
            break
        axis = min(divisible, key=lambda axis: shape[axis] / chunks[axis])
        chunks[axis] = math.ceil(chunks[axis] / 2)
    return tuple(chunks)


def _blocks(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The parts of an array that are one chunk each."""
    corners = (range(0, length, chunk) for length, chunk in zip(shape, chunks, strict=True))
    for corner in itertools.product(*corners):
        yield tuple(slice(start, start + chunk) for start, chunk in zip(corner, chunks, strict=True))
