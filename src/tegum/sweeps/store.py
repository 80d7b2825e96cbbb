"""The store of a sweep: packs, each a shard of every variable, in a zarr store that any reader opens at any time.

All files are written whole. The metadata and the coordinates are there from the beginning, so that the store can be
opened while the sweep runs: runs that are not there yet have the result "missing". Shards follow as packs are made. At
the end a manifest lists the length and the SHA-256 of every file, and only what has been sealed so is complete.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import warnings
from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tegum.data import schema, zarr_setup
from tegum.sweeps.layout import TEXT, make_array
from tegum.sweeps.packs import SCHEMA, VERSION, DamagedPackError, digest_of, opened, path_of
from tegum.sweeps.places import SweepPlace
from tegum.sweeps.plan import Pack, RunGroup, SweepPlan
from tegum.training.spec.labels import one_type

if TYPE_CHECKING:
    import xarray as xr

STORE = "runs.zarr"
MANIFEST = "manifest.json"
DONE = "done"

_quiet = threading.Lock()


def begin(place: SweepPlace, plan: SweepPlan, *, everything: bool = False) -> list[str]:
    """Write the metadata and the coordinates of a store, unless they are there.

    Args:
        place: the place of the sweep.
        plan: its plan.
        everything: whether to compare what is there, and not only its length.

    Returns:
        The paths of the files that were written.

    """
    files, written = _skeleton(plan), list[str]()
    there = place.sizes(STORE)
    # The root comes last: where it is, everything else is.
    for path, content in sorted(files.items(), key=lambda item: item[0] == f"{STORE}/zarr.json"):
        if there.get(path) != len(content) or (everything and place.read(path) != content):
            place.write(path, content)
            written.append(path)
    return written


def _skeleton(plan: SweepPlan) -> dict[str, bytes]:
    """The files of a store without any runs."""
    import zarr
    from zarr.storage import MemoryStore

    memory = MemoryStore()
    about = plan.attributes()
    with zarr_setup.scope():
        root = zarr.create_group(memory, zarr_format=3, attributes=about)
        for group in plan.groups:
            layout = group.layout
            own = root if not layout.path else root.create_group(layout.path, attributes=about)
            names = _coordinates(own, plan, group)
            own.attrs["coordinates"] = " ".join(names)
            for array in layout.arrays:
                make_array(own, layout, array, whole=True)
        # xarray asks for all metadata in one file, that of the root, and says so where there is none.
        # One thread at a time: what `catch_warnings` restores belongs to all of them.
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in dict.fromkeys([*(group.layout.path for group in plan.groups), ""]):
                zarr.consolidate_metadata(memory, path=path or None)
    return {f"{STORE}/{key}": content.to_bytes() for key, content in memory._store_dict.items()}


def _coordinates(own: Any, plan: SweepPlan, group: RunGroup) -> list[str]:
    """Write what tells runs apart, and the coordinates of measures; returns their names."""
    layout = group.layout
    # A dimension has no coordinate but its own: where weights have hidden dimensions, their number is another name.
    taken = {dim for array in layout.arrays for dim in array.dims}
    labels = {name: [values[at] for at in group.members] for name, values in plan.design.coordinates.items()}
    labels = {f"spec_{name}" if name in taken else name: one_type(values) for name, values in labels.items()}
    along_specs = {name: np.array(values) for name, values in labels.items()}
    along_specs[schema.SPEC_HASH] = np.array([plan.design.specs[at].hash for at in group.members])
    for name, values in along_specs.items():
        _plain_array(own, name, (schema.SPEC,), values, {})
    _plain_array(own, "seed", ("seed",), np.arange(layout.seeds), schema.FIELDS["seed"].attrs)
    for each in layout.coordinates:
        values = np.array(each.values, dtype=object if each.dtype == TEXT else each.dtype)
        _plain_array(own, each.name, each.dims, values, dict(each.attrs))
    return [*along_specs, "seed", *(each.name for each in layout.coordinates)]


def _plain_array(own: Any, name: str, dims: tuple[str, ...], values: np.ndarray, attrs: dict[str, Any]) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    text = values.dtype.kind in "OUT"
    array = own.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(length, 1) for length in values.shape),
        dtype=TEXT if text else values.dtype,
        compressors=(ZstdCodec(), Crc32cCodec()),
        fill_value="" if text else np.nan if values.dtype.kind == "f" else 0,
        dimension_names=dims,
        attributes=attrs,
        config={"write_empty_chunks": True},
    )
    array[...] = values.astype(object) if text else values


def consolidate(place: SweepPlace, packs: Sequence[Pack]) -> list[Pack]:
    """Move packs into the store.

    Args:
        place: the place of the sweep.
        packs: packs that have been made.

    Returns:
        Those that were damaged, which are removed and have to be made again.

    """
    damaged, receipt = list[Pack](), dict[str, Any]()
    for pack in packs:
        try:
            shards, _ = opened(place.read(path_of(pack.name)), pack.name)
            if {*shards} != {*pack.keys}:
                raise DamagedPackError(f"the pack {pack.name} is damaged: it holds other variables")
        except (DamagedPackError, FileNotFoundError):
            place.remove(path_of(pack.name))
            damaged.append(pack)
            continue
        # The results come last: where they are not "missing", everything else is there.
        for key, content in sorted(shards.items(), key=lambda shard: "/result/c/" in f"/{shard[0]}"):
            place.write_loosely(f"{STORE}/{key}", content)
        receipt[pack.name] = {key: [len(content), digest_of(content)] for key, content in shards.items()}
    if receipt:
        # Only once the shards are on the disk may a pack go.
        place.flush()
        place.write(f"{DONE}/{secrets.token_hex(8)}.json", json.dumps(receipt).encode())
        for name in receipt:
            place.remove(path_of(name))
    return damaged


@final
class Receipts:
    """The names of the packs that are in a store; each file is read once, as there may be a hundred thousand packs."""

    def __init__(self, place: SweepPlace) -> None:
        """Of the store at a place."""
        self._place = place
        self._read: set[str] = set()
        self._found: set[str] = set()

    def known(self) -> Set[str]:
        """The packs that are there now."""
        for told in _unread(self._place, self._read):
            self._found |= told.keys()
        return self._found


def receipts(place: SweepPlace) -> dict[str, dict[str, list[Any]]]:
    """The packs that are in the store, with the length and the digest of each of their shards."""
    found: dict[str, dict[str, list[Any]]] = {}
    for told in _unread(place, set()):
        found |= told
    return found


def _unread(place: SweepPlace, read: set[str]) -> Iterator[dict[str, dict[str, list[Any]]]]:
    """What the receipts say that have not been read yet, which are noted; at last the manifest."""
    for path in sorted({*place.sizes(DONE)} - read):
        try:
            told = json.loads(place.read(path))
        except (FileNotFoundError, ValueError):  # removed by another process that has sealed the store; or damaged
            continue
        read.add(path)
        if _is_receipt(told):
            yield told
    if MANIFEST not in read and (sealed := sealed_packs(place)) is not None:
        read.add(MANIFEST)
        yield sealed


def _is_receipt(told: Any) -> bool:
    return isinstance(told, dict) and all(
        isinstance(shards, dict) and all(isinstance(each, list) and len(each) == 2 for each in shards.values())
        for shards in told.values()
    )


def sealed_packs(place: SweepPlace) -> dict[str, dict[str, list[Any]]] | None:
    """The packs of a sweep that is complete; None if it is not.

    Raises:
        ValueError: the manifest is damaged.

    """
    try:
        text = place.read(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        told = json.loads(text)
        packs = told["packs"]
        whole = told["sha256"] == _digest_of_packs(packs)
    except (ValueError, KeyError, TypeError):
        whole, packs = False, {}
    if not whole:
        rule = "remove it, and what is missing is made again"
        raise ValueError(f"sweep {place.address}: the file {MANIFEST!r} is damaged; {rule}")
    return packs


def _digest_of_packs(packs: Any) -> str:
    return hashlib.sha256(json.dumps(packs, sort_keys=True).encode()).hexdigest()


def seal(place: SweepPlace, *, alone: bool) -> None:
    """Write the manifest of a store that is complete, and remove what only an unfinished sweep needs.

    Args:
        place: the place of the sweep.
        alone: whether nobody else works on it, whose half-written files would be taken for abandoned.

    """
    # As text from the beginning, which takes a fraction of the memory: there may be a hundred thousand packs.
    told = (each for part in _unread(place, set()) for each in part.items())
    listed = {name: f'"{name}": {json.dumps(shards, sort_keys=True)}'.encode() for name, shards in told}
    packs = b"{" + b", ".join(listed.pop(name) for name in sorted(listed)) + b"}"
    about = json.dumps({"schema": SCHEMA, "version": VERSION, "sha256": hashlib.sha256(packs).hexdigest()})
    place.write(MANIFEST, b"".join((about[:-1].encode(), b', "packs": ', packs, b"}")))
    clear_rest(place)
    if alone:
        place.tidy()


def clear_rest(place: SweepPlace) -> None:
    """Remove what only an unfinished sweep needs.

    Workers of a coordinator that was killed may bring a pack after the store was sealed without them.
    """
    for folder in ("packs", DONE, "claims", "failed"):
        place.clear(folder)


def wrong_in(place: SweepPlace, *, everything: bool) -> Iterator[tuple[str, str]]:
    """Packs of the store that are damaged, each with what is wrong.

    Args:
        place: the place of the sweep.
        everything: whether to compare digests, and not only lengths.

    Yields:
        The name of a pack, and a file of it with what is wrong.

    """
    # In this order: what others put into the store meanwhile is in the list, and not among these packs.
    known = receipts(place)
    there = place.sizes(STORE)
    for name, shards in known.items():
        for key, (size, digest) in shards.items():
            path = f"{STORE}/{key}"
            if path not in there:
                yield name, f"{path} is missing"
            elif there[path] != size:
                yield name, f"{path} has {there[path]} bytes instead of {size}"
            elif everything and digest_of(place.read(path)) != digest:
                yield name, f"{path} is not as it was written"
            else:
                continue
            break


def forget(place: SweepPlace, names: Sequence[str]) -> None:
    """Forget that packs are in the store, so that they are made again."""
    former = list(place.sizes(DONE))
    known = receipts(place)
    for name in names:
        known.pop(name, None)
    # What is still known is written before anything is removed, and nobody else's receipts are touched.
    if known:
        place.write(f"{DONE}/{secrets.token_hex(8)}.json", json.dumps(known).encode())
    place.remove(MANIFEST)
    for path in former:
        place.remove(path)


def datatree(place: SweepPlace, plan: SweepPlan) -> xr.DataTree:
    """The store as it is now, with numbers that are read when they are used.

    Returns:
        A tree with a Dataset for each shape of models; if there is one shape, the root is that Dataset.

    """
    import xarray as xr

    nodes = {}
    for group in plan.groups:
        path = "/".join(part for part in (STORE, group.layout.path) if part)
        with zarr_setup.scope():
            found = xr.open_zarr(place.zarr(), group=path, consolidated=False, chunks=None)
        names = [*found.coords, *(array.name for array in group.layout.arrays)]
        nodes[f"/{group.layout.path}"] = _indexed(found[names], plan)
    return xr.DataTree.from_dict(nodes)


def _indexed(found: xr.Dataset, plan: SweepPlan) -> xr.Dataset:
    """With an index of the parameters along `spec`, by which runs are selected by value."""
    given = [name for each in plan.design.coordinates for name in (each, f"spec_{each}")]
    names = [name for name in given if name in found.coords and found[name].dims == (schema.SPEC,)]
    if names and not {*names} & {*found.dims}:
        found = found.set_xindex(names[0]) if len(names) == 1 else found.set_index({schema.SPEC: names})
    return found
