"""The folder of an analysis: its numbers as zarr beside files that tell of them, all of it complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tegum.data import zarr_setup
from tegum.data.atomic import check_writable, put_back, replacing, resolved, telling
from tegum.data.belongings import foreign_in, refusal, with_table
from tegum.data.keeping import keep, uninterrupted
from tegum.data.room import Room

if TYPE_CHECKING:
    import xarray as xr

SUMMARY, TABLE, FIGURE = "summary.json", "measures.zarr", "embeddings"

_OURS = with_table(TABLE, SUMMARY, f"{FIGURE}.png", f"{FIGURE}.svg")

_BYTES, _BYTES_PER_FEATURE, _BYTES_PER_COMPANION = 2**21, 384, 16
"""What results take at most: the figure and measures of the whole, those of each feature, and of each companion."""


def check_results_place(path: str | os.PathLike[str], *, overwrite: bool = False, call: str) -> Path:
    """Whether results can be written to the new folder `path`: worth asking before long work.

    Returns:
        The absolute path.

    Raises:
        FileExistsError: what is at `path` is not to be replaced; only a folder of results ever is, with nothing else in
            it.
        FileNotFoundError: the folder above it does not exist.
        OSError: nothing can be written there, or under such a name; or zarr does not work here.

    """
    call = f"{call} --out {os.fspath(path)}"
    target = resolved(path, call)
    with telling(f"{call}: looking there"):
        check_writable(target, call)
        put_back(target, call)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{call}: there is something already; --overwrite replaces it")
        if target.exists() and not ((target / SUMMARY).is_file() and (target / TABLE).is_dir()):
            raise FileExistsError(f"{call}: what is there is no earlier result, and is not replaced")
        if name := _foreign(target):
            raise FileExistsError(f"{call}: an earlier result is there, but {refusal(name)}")
    zarr_setup.check(call)
    return target


def _foreign(target: Path) -> str | None:
    return foreign_in(target, _OURS)


def write_results(
    path: Path, dataset: xr.Dataset, files: Mapping[str, bytes], *, overwrite: bool = False, call: str
) -> None:
    """Write a Dataset as zarr (format 3) and files beside it, to a new folder that appears complete or not at all.

    Args:
        path: as `check_results_place` gave it.
        dataset: numbers and truth values alone.
        files: contents by their names, `summary.json` among them.
        overwrite: replace an earlier result.
        call: what errors begin with.

    Raises:
        KeptElsewhereError: it could not be written there, and is in another folder, which the sentence names.
        OSError: it could be written nowhere.

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
    """How large the results of a matrix of so many features are at most, each with so many companions."""
    return _BYTES + features * (_BYTES_PER_FEATURE + _BYTES_PER_COMPANION * min(companions, features))


def room(path: Path, matrix: Any, *, companions: int, call: str) -> Room:
    """Room for the results of a matrix beside `path`, held until it is released; either side may be its features.

    Raises:
        OSError: there is not enough.

    """
    return Room(path.parent, result_bytes(max(matrix.shape), companions), call=call, what="the result with its figure")
