"""What in a folder is of a result, and what somebody else has put there: that is never removed with it."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OF_ZARR = r"(?:[^/]+/)?(?:zarr\.json|c(?:/\d+)*)"
STORE = re.compile(_OF_ZARR)
"""Files of a store, damaged or not: of a group of arrays in zarr's format 3, by their paths in its folder."""

_OF_SYSTEMS = re.compile(r"\.DS_Store|\._.*|\.nfs.*|Thumbs\.db|desktop\.ini")
"""What operating systems put into a folder unasked."""


def with_table(table: str, *files: str) -> re.Pattern[str]:
    """Files of a result that is a folder with a store named `table`, and with these files."""
    return re.compile("|".join([f"{re.escape(table)}/{_OF_ZARR}", *map(re.escape, files)]))


def foreign_in(folder: Path, ours: re.Pattern[str]) -> str | None:
    """The first thing in a folder that is none of ours, by its path in there; None if all is, or there is no folder.

    Raises:
        OSError: it cannot be looked at.

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
    """The end of a sentence about something that would be removed."""
    return f"{name!r} in it is no part of that and would be removed with it; move it, or choose another place"
