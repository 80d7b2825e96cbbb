"""The folder that the lab shows: its stores and results, and nothing outside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from tegum.data import manifest
from tegum.data.results import SUMMARY
from tegum.data.schema import MEASURES, NAME
from tegum.data.store import load
from tegum.server.reading import RefusedError
from tegum.sweeps.packs import PLAN
from tegum.sweeps.places import place_at
from tegum.sweeps.status import status

if TYPE_CHECKING:
    import xarray as xr

DEPTH, MOST_ENTRIES, MOST_FOLDERS = 6, 500, 5_000
"""How deep below the folder one looks, how many stores and results are listed, and into how many folders one looks."""

_MOST_METADATA = 2**24
"""The most bytes of a description that are read for a list."""
_RUN_DIMS = ("seed", "step", "feature", "hidden")


@final
class LabFolder:
    """A folder with stores and results, or one store alone."""

    def __init__(self, root: Path, only: str | None = None, activations: Sequence[Path] = ()) -> None:
        """Show a folder.

        Args:
            root: the folder.
            only: the name of the one store or sweep that is shown; None for all there are.
            activations: files elsewhere that Specs may name.

        """
        self.root: Path = root.resolve()
        self.readable: Sequence[Path] = (self.root, *(each.resolve() for each in activations))
        """Files and folders from which activations may be read."""
        self.opens: str | None = None if only is None or _is_sweep(self.root / only) else only
        """The store that the page opens."""
        self._only = None if only is None else [only]

    def listed(self) -> dict[str, Any]:
        """The stores and results, by what their descriptions say.

        Returns:
            `name` of the folder, its `entries`, the path of the one that the page `opens`, and a sentence
            `left_out` where there are more than were looked at.

        """
        found: list[dict[str, Any]] = []
        left_out = None
        for place in self._places():
            entry = None if place is None else self._entry(place)
            if place is None or (entry is not None and len(found) >= MOST_ENTRIES):
                left_out = (
                    f"there may be more: listed are at most {MOST_ENTRIES} stores and results, of at most "
                    f"{MOST_FOLDERS:,} folders, {DEPTH} levels deep"
                )
            if entry is not None and len(found) >= MOST_ENTRIES:
                break
            if entry is not None:
                found.append(entry)
        return {"name": self.root.name or str(self.root), "entries": found, "opens": self.opens, "left_out": left_out}

    def place(self, given: str) -> Path:
        """The place of a store or a result in the folder.

        Args:
            given: its path from the folder on.

        Raises:
            RefusedError: it is none, leads out of the folder, or there is nothing.

        """
        parts = Path(given).parts if given and given.isprintable() else ()
        if not parts or Path(given).is_absolute() or ".." in parts or "\\" in given:
            raise RefusedError(403, f"path={given[:200]!r}: must be a path inside the folder of the lab")
        if self._only is not None and given not in self._only:
            raise RefusedError(403, f"path={given[:200]!r}: the lab was opened with {' and '.join(self._only)} alone")
        try:
            place = (self.root / given).resolve()
            there = place.exists()
        except (OSError, RuntimeError, ValueError):
            place, there = self.root, False
        if not place.is_relative_to(self.root):
            raise RefusedError(403, f"path={given[:200]!r}: leads out of the folder of the lab")
        if not there:
            raise RefusedError(404, f"path={given[:200]!r}: there is nothing at this path in the folder of the lab")
        return place

    def loaded(self, given: str) -> xr.Dataset:
        """The trajectory in a store.

        Raises:
            RefusedError: as for `place`.
            ValueError: there is none.
            OSError: it cannot be read.

        """
        place = self.place(given)
        self._check_inside(place, given)
        try:
            return load(place)
        except (RecursionError, KeyError, TypeError, AttributeError, IndexError):
            raise ValueError(f"load({given}): its metadata are not those of a trajectory") from None

    def result(self, given: str) -> str:
        """The page of a result as HTML; of one that is not of tegum's own experiments without running their code.

        Raises:
            RefusedError: as for `place`, or a file of the result lies elsewhere.
            ValueError: it is no result.
            OSError: it cannot be read.

        """
        from tegum.experiments import result_html
        from tegum.experiments.result_page import page_of_folder
        from tegum.experiments.summary import Summary

        place = self.place(given)
        self._check_inside(place, given)
        summary = Summary.read(place)
        for file in summary.files:
            if not file.resolve().is_relative_to(self.root):
                raise RefusedError(403, f"path={given[:200]!r}: {file.name!r} leads out of the folder of the lab")
        return result_html(place) if summary.source is None else page_of_folder(place)

    def sweep(self, given: str) -> dict[str, Any]:
        """How far a sweep is, and what is known of its Specs.

        Raises:
            RefusedError: as for `place`, or a file of the sweep lies elsewhere.
            ValueError: it is no sweep.
            OSError: it cannot be read.

        """
        from tegum.sweeps.status import overview

        place = self.place(given)
        self._check_inside(place, given)
        return overview(place_at(place, f"sweep({given})"), f"sweep({given})")

    def _check_inside(self, place: Path, given: str) -> None:
        """Refuse a store or a result of which a part lies elsewhere, or is no file that can be read."""
        for inside, folders, files in os.walk(place):
            for name in (*folders, *files):
                part = Path(inside) / name
                if part.is_symlink() and not part.resolve().is_relative_to(self.root):
                    raise RefusedError(403, f"path={given[:200]!r}: {name!r} leads out of the folder of the lab")
                if not (part.is_file() or part.is_dir()):
                    raise RefusedError(403, f"path={given[:200]!r}: {name!r} is neither a file nor a folder")
                if name.endswith(".json") and part.stat().st_size > _MOST_METADATA:
                    raise RefusedError(403, f"path={given[:200]!r}: {name!r} is too large for a description")

    def free(self, name: str) -> Path:
        """The place for a new store.

        Raises:
            FileExistsError: something is there.

        """
        if os.path.lexists(self.root / name):
            raise FileExistsError(f"keep({name}): something of this name is in the folder, and is not replaced")
        return self.root / name

    def show(self, name: str) -> None:
        """List a new store."""
        if self._only is not None:
            self._only.append(name)

    def _places(self) -> Iterator[Path | None]:
        """The folders that may be stores or results; None where some are left out."""
        if self._only is not None:
            yield from (self.root / each for each in self._only)
            return
        for looked, (inside, folders, _) in enumerate(os.walk(self.root)):
            if looked >= MOST_FOLDERS:
                yield None
                return
            here = Path(inside)
            if here != self.root:
                yield here
            links = [name for name in folders if (here / name).is_symlink() and not name.startswith(".")]
            yield from (here / name for name in sorted(links))
            deep = len(here.relative_to(self.root).parts) >= DEPTH
            if deep and folders and not (_is_store(here) or _is_sweep(here)):
                yield None
            shut = deep or (here != self.root and (_is_store(here) or _is_sweep(here)))
            folders[:] = [] if shut else sorted(name for name in folders if not name.startswith("."))

    def _entry(self, place: Path) -> dict[str, Any] | None:
        """How a folder is listed; None if it is neither a store nor a sweep nor a result."""
        path = place.relative_to(self.root).as_posix()
        if not place.resolve().is_relative_to(self.root):
            return {"path": path, "kind": "run", "title": place.name, "why": "it leads out of the folder of the lab"}
        if _is_store(place):
            return {"path": path, "kind": "run", "title": place.name.removesuffix(".zarr"), **_run(place)}
        if _is_sweep(place):
            return {"path": path, "kind": "sweep", "title": place.name.removesuffix(".sweep"), **_sweep(place)}
        if (place / SUMMARY).is_file():
            return {"path": path, "kind": "result", "title": place.name, **_result(place)}
        return None


def _is_store(place: Path) -> bool:
    return (place / manifest.METADATA).is_file() or (place / ".zgroup").is_file()


def _is_sweep(place: Path) -> bool:
    return (place / PLAN).is_file()


def _sweep(place: Path) -> dict[str, Any]:
    """How far a sweep is; a reason `why` where that cannot be seen."""
    try:
        if (place / PLAN).stat().st_size > _MOST_METADATA:
            raise ValueError(f"{PLAN} is too large")
        _, told = status(place_at(place, "lab"), "lab")
    except (OSError, ValueError) as error:
        return {"why": f"its plan cannot be read: {' '.join(str(error).split())[:200]}"}
    return {"runs": told.runs, "runs_there": told.runs_there, "complete": told.complete, "specs": told.specs}


def _run(place: Path) -> dict[str, Any]:
    """What the metadata of a store say; a reason `why` where they cannot be read."""
    try:
        return _described(place)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        text = " ".join(str(error).split())[:200] if isinstance(error, OSError | ValueError) else ""
        return {"why": f"its metadata cannot be read{f': {text}' if text else ''}"}


def _described(place: Path) -> dict[str, Any]:
    if (place / manifest.METADATA).is_file():
        attrs = _json(place / manifest.METADATA)["attributes"]
        array = _json(place / "weights" / manifest.METADATA) if attrs.get("schema") == NAME else {}
        dims = array.get("dimension_names", ())
    else:
        attrs = _json(place / ".zattrs")
        array = _json(place / "weights" / ".zarray") if attrs.get("schema") == NAME else {}
        dims = _json(place / "weights" / ".zattrs")["_ARRAY_DIMENSIONS"] if array else ()
    if attrs.get("schema") == MEASURES:
        return {"why": "it holds measures of runs, and no states"}
    if attrs.get("schema") != NAME:
        return {"why": "it is no trajectory of tegum"}
    sizes: dict[str, int] = dict(zip(dims, array["shape"], strict=True))
    specs = 1
    for name, size in sizes.items():
        specs *= 1 if name in _RUN_DIMS else int(size)
    spec = json.loads(attrs["spec"])
    first = spec[0] if isinstance(spec, list) else spec
    training = first.get("training", {})
    return {
        "n": int(sizes["feature"]),
        "m": int(sizes["hidden"]),
        "runs": int(sizes["seed"]),
        "specs": specs,
        "steps": int(training["steps"]),
        "training": str(training["kind"]),
    }


def _result(place: Path) -> dict[str, Any]:
    """What the summary of a result says; a reason `why` where it is none of an experiment."""
    from tegum.experiments.summary import Summary

    try:
        if (place / SUMMARY).stat().st_size > _MOST_METADATA:
            raise ValueError(f"{SUMMARY} is too large")
        summary = Summary.read(place)
    except (ValueError, OSError):
        return {"why": "its summary.json is not that of an experiment", "page": False}
    title = summary.question or summary.name
    return {"title": title, "name": summary.name, "verdict": summary.verdict, "size": summary.size, "page": True}


def _json(path: Path) -> Any:
    if path.stat().st_size > _MOST_METADATA:
        raise ValueError(f"{path.name} is too large")
    return json.loads(path.read_bytes())
