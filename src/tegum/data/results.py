"""The folder of an analysis: its numbers as zarr, with files that describe them, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tegum.core.signals import uninterrupted
from tegum.data import zarr_setup
from tegum.data.atomic import check_writable, explaining, put_back, replacing, resolved
from tegum.data.disk_space import ReservedSpace
from tegum.data.keeping import keep
from tegum.data.result_files import foreign_in, refusal, with_table

if TYPE_CHECKING:
    import xarray as xr

SUMMARY, TABLE, FIGURE = "summary.json", "measures.zarr", "embeddings"

_OURS = with_table(TABLE, SUMMARY, f"{FIGURE}.png", f"{FIGURE}.svg")

_BYTES, _BYTES_PER_FEATURE, _BYTES_PER_COMPANION = 2**21, 384, 16
"""The most bytes that results take: the figure and measures of the whole, of each feature, and of each companion."""


def check_results_place(path: str | os.PathLike[str], *, overwrite: bool = False, call: str) -> Path:
    """Check that results can be written to the new folder `path`, before long work.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: what is at `path` may not be replaced; only a folder that holds nothing but results may.
        FileNotFoundError: the folder above it does not exist.
        OSError: nothing can be written there, or not under that name; or zarr does not work here.

    """
    call = f"{call} --out {os.fspath(path)}"
    target = resolved(path, call)
    with explaining(f"{call}: looking there"):
        check_writable(target, call)
        put_back(target, call)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{call}: something is already there; --overwrite replaces it")
        if target.exists() and not ((target / SUMMARY).is_file() and (target / TABLE).is_dir()):
            raise FileExistsError(f"{call}: what is there is not an earlier result, and is not replaced")
        if name := _foreign(target):
            raise FileExistsError(f"{call}: an earlier result is there, but {refusal(name)}")
    zarr_setup.check(call)
    return target


def _foreign(target: Path) -> str | None:
    return foreign_in(target, _OURS)


def write_results(
    path: Path, dataset: xr.Dataset, files: Mapping[str, bytes], *, overwrite: bool = False, call: str
) -> None:
    """Write a Dataset as zarr (format 3), and files, to a new folder that appears complete or not at all.

    Args:
        path: the path that `check_results_place` returned.
        dataset: only numbers and booleans.
        files: contents by file name, including `summary.json`.
        overwrite: replace an earlier result.
        call: what errors begin with.

    Raises:
        KeptElsewhereError: it could not be written there, and is in another folder, which the message names.
        OSError: it could not be written anywhere.

    """

    def write(place: Path) -> None:
        with replacing(place, overwrite=overwrite and place == path, call=call, foreign=_foreign) as part:
            with zarr_setup.scope():
                dataset.to_zarr(part / TABLE, mode="w", zarr_format=3, consolidated=False)
            for name, content in files.items():
                (part / name).write_bytes(content)

    with uninterrupted():
        keep(write, path, call=call, what="the result")


def result_bytes(features: int, companions: int) -> int:
    """The largest size in bytes of the results of a matrix with this many features, each with this many companions."""
    return _BYTES + features * (_BYTES_PER_FEATURE + _BYTES_PER_COMPANION * min(companions, features))


def reserve_space(path: Path, matrix: Any, *, companions: int, call: str) -> ReservedSpace:
    """Reserve disk space at `path` for the results of a matrix, whose features may be its rows or its columns.

    Raises:
        OSError: there is not enough space.

    """
    return ReservedSpace(
        path.parent, result_bytes(max(matrix.shape), companions), call=call, what="the result with its figure"
    )
