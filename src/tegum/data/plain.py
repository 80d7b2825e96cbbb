"""A trajectory that xarray wrote (`run.to_zarr`): all the numbers, without checksums, and with some chunks omitted.

zarr does not write a chunk that holds only the fill value, so that an omitted chunk looks like a lost one. Where the
values follow from elsewhere they are filled in (a single run has the number 0); everything else is refused. All numbers
are read at once: a chunk lost later would go unnoticed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tegum.core.inputs.files import reason
from tegum.core.limits import beyond_memory
from tegum.data import manifest, schema, zarr_setup

if TYPE_CHECKING:
    import xarray as xr

_COUNTED = ("seed", "step", "feature", "hidden")
"""Coordinates that count from 0."""


def is_plain(root: Path) -> bool:
    """Whether a folder is a trajectory in either zarr format that `tegum.save` did not write.

    `tegum.save` ends every chunk with a checksum and does not consolidate metadata; such a store without its manifest
    is damaged.
    """
    try:
        if (root / manifest.GROUP).exists():
            return False
        if not all((root / name).is_file() for name in (manifest.METADATA, ".zattrs") if (root / name).exists()):
            return False
        if (root / ".zgroup").is_file():
            return json.loads((root / ".zattrs").read_bytes())["schema"] == schema.NAME
        group = json.loads((root / manifest.METADATA).read_bytes())
        if group["attributes"]["schema"] != schema.NAME or not isinstance(group["attributes"], dict):
            return False
        arrays = [json.loads(file.read_bytes()) for file in root.glob(f"*/{manifest.METADATA}")]
        sealed = all(array["codecs"][-1]["name"] == "crc32c" for array in arrays)
        return not (sealed and group.get("consolidated_metadata") is None)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False


def read(root: Path, call: str) -> xr.Dataset:
    """Read the trajectory in such a store into memory, with a warning that no checksums protect the numbers.

    Raises:
        ValueError: it has another schema version, a chunk is missing or damaged, or it does not fit into memory.

    """
    import xarray as xr
    import zarr

    from tegum.data.chunks import DamagedChunkError, check

    try:
        with warnings.catch_warnings(), zarr_setup.scope():
            warnings.simplefilter("ignore")  # zarr warns that its format for strings may change
            group: Any = zarr.open_group(root, mode="r")
            arrays = dict(group.arrays())
            if too_much := beyond_memory(sum(array.nbytes for array in arrays.values())):
                raise ValueError(f"{call}: the trajectory {too_much}")
            for name, array in arrays.items():
                try:
                    missing = check(array, may_miss=True)
                except DamagedChunkError as error:
                    raise ValueError(f"{call}: the variable {name!r} is incomplete: {error}") from None
                if missing and not _known(name, array.shape, dict(group.attrs)):
                    raise ValueError(
                        f"{call}: the variable {name!r} is incomplete: {missing} chunks are missing, and zarr would "
                        f"read {array.fill_value!s:.20} in their place; zarr omits chunks that hold nothing else, and "
                        f"if that is so here, tegum.save(xarray.open_zarr({str(root)!r}), …) keeps what it reads"
                    )
            # Not fully decoded: xarray mistakes some attributes for times.
            opened = xr.open_dataset(
                root, engine="zarr", chunks=None, consolidated=False, decode_times=False, decode_timedelta=False
            )
            found = opened.load()
    except (MemoryError, ValueError) as error:
        if str(error).startswith(call):
            raise
        raise ValueError(f"{call}: this zarr store cannot be read ({reason(error)})") from None
    except Exception as error:  # zarr and its codecs raise all kinds of errors at a damaged file
        raise ValueError(f"{call}: this zarr store cannot be read ({reason(error)})") from None
    version = found.attrs.get("schema_version")
    if version != schema.VERSION:
        raise ValueError(manifest.other_version(call, schema.NAME, version))
    for variable in found.variables.values():
        variable.encoding = {}
    found.encoding = {}
    schema.check(found, call=call)
    warnings.warn(
        f"{call}: xarray wrote this store, without checksums; tegum.save adds them",
        stacklevel=5,
    )
    return found


def _known(name: str, shape: tuple[int, ...], attrs: dict[str, Any]) -> bool:
    """Whether a variable that zarr reads as all zeros is known to be all zeros."""
    if name in _COUNTED:
        return shape == (1,)
    if name != "set":
        return False
    try:
        specs = json.loads(attrs["spec"])
        return all(len(spec["features"]) == 1 for spec in (specs if isinstance(specs, list) else [specs]))
    except (ValueError, KeyError, TypeError):
        return False
