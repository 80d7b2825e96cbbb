"""Which files in a folder belong to a result; anything else in it is foreign, and is never removed with the result."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OF_ZARR = r"(?:[^/]+/)?(?:zarr\.json|c(?:/\d+)*)"
STORE = re.compile(_OF_ZARR)
"""Matches the files of a store, damaged or not (a group of arrays in zarr format 3), by their paths in its folder."""

_OF_SYSTEMS = re.compile(r"\.DS_Store|\._.*|\.nfs.*|Thumbs\.db|desktop\.ini")
"""Files that operating systems put into a folder unasked."""


def with_table(table: str, *files: str) -> re.Pattern[str]:
    """A pattern for the files of a result that is a folder with these files and a store named `table`."""
    return re.compile("|".join([f"{re.escape(table)}/{_OF_ZARR}", *map(re.escape, files)]))


def foreign_in(folder: Path, ours: re.Pattern[str]) -> str | None:
    """The path, in a folder, of the first file that is not ours; None if all are ours, or there is no folder.

    Raises:
        OSError: the folder cannot be read.

    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for inside, folders, files in os.walk(folder, onerror=refuse):
        links = [name for name in folders if Path(inside, name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(inside, name).relative_to(folder).as_posix()
            if not ours.fullmatch(path) and not _OF_SYSTEMS.fullmatch(name):
                return path
        folders.sort()
    return None


def refusal(name: str) -> str:
    """The end of a message about a foreign file that would be removed."""
    return f"{name!r} in it is not part of that and would be removed with it; move it, or choose another place"
