"""The folder of an experiment's result: it grows inside, in `partial`, and takes its place when it is whole."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from tegum.data import zarr_setup
from tegum.data.atomic import OLD, check_writable, explaining, is_hidden, remove, replacing_file, resolved
from tegum.data.belongings import STORE, foreign_in
from tegum.data.disk_space import ReservedSpace
from tegum.data.keeping import uninterrupted
from tegum.data.results import SUMMARY

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.engine import Segment
    from tegum.training.spec.spec import Spec

PARTIAL = "partial"
"""The folder inside in which an unfinished result is."""

NOTE = "unfinished.json"
"""What in there says which trainings were named on the way, and by which code: for the next call, which goes on."""

_FIGURES, _FIGURES_BYTES = "figures", 2**24
"""What besides trajectories needs room, and bytes that are surely enough for it."""


@final
class Folder:
    """A folder for a result, taken before the work begins; inside a `with` block."""

    def __init__(
        self,
        path: Path,
        files: Sequence[str],
        *,
        overwrite: bool,
        resume: bool,
        call: str,
        specs: Mapping[str, Spec | Sequence[Spec]],
        source: Mapping[str, Any] | None = None,
    ) -> None:
        """Look whether the result can be written there.

        Args:
            path: the folder; made if it is missing.
            files: what the result consists of, its summary last.
            overwrite: whether an earlier result may be replaced.
            resume: whether to go on from what an unfinished run has left.
            call: what errors begin with.
            specs: what is going to be trained, by name; more may follow.
            source: whose code it is, where it is not tegum's own.

        Raises:
            NotADirectoryError: `path` is a file.
            FileExistsError: there is a result, or an unfinished one, that is not to be replaced.
            OSError: nothing can be written there.

        """
        self.path, self._shown = resolved(path, call), path
        self._files, self._call, self._specs = tuple(files), call, specs
        self._overwrite, self._resume = overwrite, resume
        self._source = source
        self._partial = self.path / PARTIAL
        self._noted: Mapping[str, Any] = {}
        self._rooms: dict[str, ReservedSpace] = {}
        self._made: list[Path] = []
        with explaining(f"{call}: looking at {str(path)!r}"):
            self._check_place()

    def _check_place(self) -> None:
        call, path, overwrite, files = self._call, self._shown, self._overwrite, self._files
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{call}: {str(path)!r} is a file; a result is a folder")
        self._noted = self._read_note()
        if foreign := self._foreign():
            raise FileExistsError(
                f"{call}: {str(path / PARTIAL)!r} holds {foreign}, which is no part of an unfinished result of this "
                "experiment; unfinished results go there, so move it, or choose another folder"
            )
        self._finish_publishing()
        self._check_files(files)
        if self._left() and not (overwrite or self._resume):
            raise FileExistsError(
                f"{call}: {str(path / PARTIAL)!r} holds an unfinished result; resume=True (--resume) goes on with it, "
                "and overwrite=True (--overwrite) begins anew"
            )
        zarr_setup.check(call)

    def _check_files(self, files: Sequence[str]) -> None:
        """Refuse names under which something stands that is not to be replaced."""
        from tegum.data.store import check_place

        call, path = self._call, self._shown
        if not self._overwrite and (old := [file for file in files if (self.path / file).exists()]):
            rule = "overwrite=True (on the command line --overwrite) replaces an earlier result"
            raise FileExistsError(f"{call}: {str(path)!r} holds {old[0]} already; {rule}")
        for file in files:
            if (self.path / file).is_dir() != file.endswith(".zarr") and os.path.lexists(self.path / file):
                raise FileExistsError(
                    f"{call}: {str(path / file)!r} is no part of an earlier result, and overwrite=True replaces no "
                    "other thing"
                )
            if file.endswith(".zarr") and self.path.is_dir():
                check_place(self.path / file, overwrite=True, call=f"{call}: {str(path / file)!r}")

    def __enter__(self) -> Folder:
        # Now, and not after an hour of training that then could not be kept.
        try:
            with explaining(f"{self._call}: making the folder {str(self._shown)!r}"):
                for folder in (*reversed(self.path.parents), self.path, self._partial):
                    if not folder.exists():
                        folder.mkdir()
                        self._made.append(folder)
            for file in self._files:
                check_writable(self._partial / file, self._call)
            for name, specs in self._specs.items():
                self._take_room(name, specs)
            self._rooms[_FIGURES] = ReservedSpace(
                self._partial, _FIGURES_BYTES, call=self._call, what=f"the result with its {_FIGURES}"
            )
            if self._resume and self._left() and _code(self._noted.get("source", self._source)) != _code(self._source):
                warnings.warn(
                    f"{self._call}: the code of this experiment has changed since its unfinished result was begun; "
                    "what was trained stands, its Specs being the same; the code as it is now measures and draws it",
                    stacklevel=3,
                )
            if self._source is not None:
                self._write_note()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for room in self._rooms.values():
            room.release()
        with suppress(OSError):
            if not self._left():
                (self._partial / NOTE).unlink()
        # An empty `partial` may also be one that a killed run has left.
        for folder in dict.fromkeys([self._partial, *reversed(self._made)]):
            with suppress(OSError):  # It is not empty: there is something to keep.
                folder.rmdir()
        if error is not None and not hasattr(error, "__notes__") and self._partial.exists():
            where = repr(str(self._shown / PARTIAL))
            error.add_note(f"what was trained is kept in {where}, and resume=True (--resume) goes on with it")

    def _take_room(self, name: str, specs: Spec | Sequence[Spec]) -> None:
        from tegum.training.sizes import trajectory_bytes

        size = trajectory_bytes(_several(specs))
        self._rooms[name] = ReservedSpace(self._partial, size, call=self._call, what=f"the result with its {name}")

    def train(
        self, name: str, specs: Spec | Sequence[Spec], progress: bool | Callable[[Segment], None] | None
    ) -> xr.Dataset:
        """Train and keep a trajectory; or take the one that an unfinished run has trained to its end.

        Raises:
            ValueError: what was left is of another Spec, engine or version of the code.
            FileExistsError: a training that was not foretold has the name of something that is not to be replaced.
            OSError: it cannot be kept there, or the disk has no room for it.

        """
        from tegum.training.checkpoint import finished
        from tegum.training.engine import train

        target = self._partial / f"{name}.zarr"
        if target.name not in self._files:
            self._add(name, specs)
        self._rooms[name].release()  # Training holds its own.
        if self._resume and target.exists():
            return finished(target, specs, call=f"{self._call}: run(resume=True)")
        return train(specs, progress=progress, out=target, overwrite=True, resume=self._resume)

    def _add(self, name: str, specs: Spec | Sequence[Spec]) -> None:
        """Let the result consist of one more trajectory, which was named on the way."""
        file = f"{name}.zarr"
        with explaining(f"{self._call}: looking at {str(self._shown / file)!r}"):
            self._check_files([file])
        check_writable(self._partial / file, self._call)
        self._files = (file, *self._files)
        self._write_note(file)
        self._take_room(name, specs)

    def _write_note(self, *added: str) -> None:
        self._noted = told = {"files": sorted({*added, *self._noted.get("files", ())}), "source": self._source}
        place = self._partial / NOTE
        with replacing_file(place, overwrite=True, call=f"{self._call}: writing {NOTE}") as part:
            part.write_text(json.dumps(told, indent=2), encoding="utf-8")

    def _read_note(self) -> Mapping[str, Any]:
        """What a former call has noted; nothing where it is none of ours."""
        try:
            told = json.loads((self._partial / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        files = told.get("files") if isinstance(told, dict) else None
        if not isinstance(files, list) or not all(isinstance(each, str) and each.endswith(".zarr") for each in files):
            return {}
        return {"files": files, "source": told.get("source")}

    def write(self, file: str, content: bytes) -> None:
        """Write a file of the result.

        Raises:
            OSError: naming the place.

        """
        self._rooms[_FIGURES].release()
        with replacing_file(self._partial / file, overwrite=True, call=f"{self._call}: writing {file}") as part:
            part.write_bytes(content)

    def publish(self, summary: bytes) -> None:
        """Write the summary, with which the result is whole, and let it take its place."""
        with uninterrupted():
            self.write(SUMMARY, summary)
            self._finish_publishing()

    def _foreign(self) -> str | None:
        """The name of something in `partial` that we have not put there."""
        if not os.path.lexists(self._partial):
            return None
        if not self._partial.is_dir():
            return "a file's content"
        files = {*self._files, *self._noted.get("files", ())}
        stores = [file.removesuffix(".zarr") for file in files if file.endswith(".zarr")]
        ours = {*files, *(f"{file}{OLD}" for file in files), *(f"{name}.partial.zarr" for name in stores)}
        if self._noted:
            ours.add(NOTE)
        names = sorted(path.name for path in self._partial.iterdir())
        if other := next((name for name in names if name not in ours and not is_hidden(name)), None):
            return other
        stores = [name for name in names if name.removesuffix(OLD).endswith(".zarr") and not is_hidden(name)]
        inside = ((name, foreign_in(self._partial / name, STORE)) for name in stores)
        return next((f"{name}/{other}" for name, other in inside if other), None)

    def _left(self) -> bool:
        """Whether an unfinished run has left anything: not an empty folder, nor what it had not yet given a name."""
        if not self._partial.is_dir():
            return False
        return any(not is_hidden(path.name) and path.name != NOTE for path in self._partial.iterdir())

    def _finish_publishing(self) -> None:
        """Move a whole result to its place, also one whose run was killed while it did so.

        The summary is moved last: as long as it is in `partial`, what is there is whole and may go on moving.
        """
        if not (self._partial / SUMMARY).is_file():
            return
        with explaining(f"{self._call}: moving the result to {str(self._shown)!r}"):
            files = _files_told(self._partial) or self._files
            names = [name for name in files if os.path.lexists(self._partial / name)]
            # Trajectories that the new result does not have: they would seem to be of it.
            for name in set(_files_told(self.path)) - {*files}:
                if name.endswith(".zarr") and foreign_in(self.path / name, STORE) is None:
                    remove(self.path / name)
            for name in (*(name for name in names if name != SUMMARY), SUMMARY):
                new, old = self._partial / name, self.path / name
                if old.is_dir():
                    old.rename(new.with_name(f"{name}{OLD}"))
                new.replace(old)
            if self._foreign() is None:  # else somebody has put it there in the meantime
                remove(self._partial)


def _files_told(folder: Path) -> tuple[str, ...]:
    """The files of the result in a folder, as its summary tells them; none where there is no such summary."""
    try:
        files = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["files"]
        return tuple(name for name in files if Path(name).name == name)
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _code(source: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What decides whether code is the same, wherever it lies."""
    return {key: value for key, value in (source or {}).items() if key != "file"}


def _several(specs: Spec | Sequence[Spec]) -> Sequence[Spec]:
    return specs if isinstance(specs, Sequence) else [specs]
