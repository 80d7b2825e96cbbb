"""The folder of an experiment's result, which is built up in `partial` and moved into place once it is complete."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from tegum.core.signals import uninterrupted
from tegum.data import zarr_setup
from tegum.data.atomic import OLD, check_writable, explaining, is_hidden, remove, replacing_file, resolved
from tegum.data.disk_space import ReservedSpace
from tegum.data.result_files import STORE, foreign_in
from tegum.data.results import SUMMARY

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.engine import Segment
    from tegum.training.spec.spec import Spec

PARTIAL = "partial"
"""The subfolder that holds an unfinished result."""

NOTE = "unfinished.json"
"""A file in there that lists, for a call that resumes, trainings added on the way and the code that added them."""

SWEEP = ".sweep"
"""The suffix of a folder in there in which a cluster trains."""

_FIGURES, _FIGURES_BYTES = "figures", 2**24
"""What needs disk space besides trajectories, and an ample estimate for it in bytes."""


@final
class Folder:
    """A folder for a result, reserved before the work begins; use it in a `with` block."""

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
        executor: Any = None,
    ) -> None:
        """Check that the result can be written there.

        Args:
            path: the folder; it is created if missing.
            files: the files of the result, its summary last.
            overwrite: whether an earlier result may be replaced.
            resume: whether to continue from what an unfinished run has left.
            call: the beginning of every error message.
            specs: what will be trained, by name; more may follow.
            source: where the code comes from, if it is not tegum's own.
            executor: who trains, as `tegum.sweep` takes it; None is this process.

        Raises:
            NotADirectoryError: `path` is a file.
            FileExistsError: there is a finished or unfinished result that is not to be replaced.
            OSError: nothing can be written there.

        """
        self.path: Path = resolved(path, call)
        self._shown = path
        self._files, self._call, self._specs = tuple(files), call, specs
        self._overwrite, self._resume = overwrite, resume
        self._source, self._executor = source, executor
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
                f"{call}: {str(path / PARTIAL)!r} holds {foreign}, which is not part of an unfinished result of this "
                "experiment; unfinished results go there, so move it, or choose another folder"
            )
        self._finish_publishing()
        self._check_files(files)
        if self._left() and not (overwrite or self._resume):
            raise FileExistsError(
                f"{call}: {str(path / PARTIAL)!r} holds an unfinished result; resume=True (--resume) continues it, "
                "and overwrite=True (--overwrite) starts again"
            )
        zarr_setup.check(call)

    def _check_files(self, files: Sequence[str]) -> None:
        """Refuse names that are taken by something that is not to be replaced."""
        from tegum.data.store import check_place

        call, path = self._call, self._shown
        if not self._overwrite and (old := [file for file in files if (self.path / file).exists()]):
            rule = "overwrite=True (on the command line --overwrite) replaces an earlier result"
            raise FileExistsError(f"{call}: {str(path)!r} holds {old[0]} already; {rule}")
        for file in files:
            if (self.path / file).is_dir() != file.endswith(".zarr") and os.path.lexists(self.path / file):
                raise FileExistsError(
                    f"{call}: {str(path / file)!r} is not part of an earlier result, and overwrite=True "
                    "replaces nothing else"
                )
            if file.endswith(".zarr") and self.path.is_dir():
                check_place(self.path / file, overwrite=True, call=f"{call}: {str(path / file)!r}")

    def __enter__(self) -> Folder:
        # Now, and not after an hour of training whose results then cannot be stored.
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
                    "what was trained is kept, as its Specs are the same, and is measured and drawn by the new code",
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
        # An empty `partial` may also have been left by a run that was killed.
        for folder in dict.fromkeys([self._partial, *reversed(self._made)]):
            with suppress(OSError):  # The folder is not empty: there is something to keep.
                folder.rmdir()
        if error is not None and not hasattr(error, "__notes__") and self._partial.exists():
            where = repr(str(self._shown / PARTIAL))
            error.add_note(f"what was trained is kept in {where}, and resume=True (--resume) continues it")

    def _take_room(self, name: str, specs: Spec | Sequence[Spec]) -> None:
        from tegum.training.sizes import trajectory_bytes

        size = trajectory_bytes(_several(specs))
        self._rooms[name] = ReservedSpace(self._partial, size, call=self._call, what=f"the result with its {name}")

    def train(
        self, name: str, specs: Spec | Sequence[Spec], progress: bool | Callable[[Segment], None] | None
    ) -> xr.Dataset:
        """Train and store a trajectory, or take the one that an unfinished run has already completed.

        Raises:
            ValueError: what was left has another Spec, engine or version of the code.
            FileExistsError: a training that was added on the way has the name of something that is not to be replaced.
            OSError: it cannot be stored there, or the disk has too little space.

        """
        from tegum.training.checkpoint import finished
        from tegum.training.engine import train

        target = self._partial / f"{name}.zarr"
        if target.name not in self._files:
            self._add(name, specs)
        self._rooms[name].release()  # Training reserves its own space.
        if self._resume and target.exists():
            return finished(target, specs, call=f"{self._call}: run(resume=True)")
        if self._executor is None:
            return train(specs, progress=progress, out=target, overwrite=True, resume=self._resume)
        from tegum.experiments.elsewhere import trained

        packs = self._partial / f"{name}{SWEEP}"
        return trained(specs, self._executor, target, packs, resume=self._resume, progress=progress, call=self._call)

    def _add(self, name: str, specs: Spec | Sequence[Spec]) -> None:
        """Add to the result a trajectory that was named only on the way."""
        file = f"{name}.zarr"
        with explaining(f"{self._call}: looking at {str(self._shown / file)!r}"):
            self._check_files([file])
        check_writable(self._partial / file, self._call)
        self._files = (file, *self._files)
        self._write_note(file)
        self._take_room(name, specs)

    def _write_note(self, *added: str) -> None:
        self._noted = note = {"files": sorted({*added, *self._noted.get("files", ())}), "source": self._source}
        place = self._partial / NOTE
        with replacing_file(place, overwrite=True, call=f"{self._call}: writing {NOTE}") as part:
            part.write_text(json.dumps(note, indent=2), encoding="utf-8")

    def _read_note(self) -> Mapping[str, Any]:
        """The note of an earlier call; empty if there is none, or if it is not one of ours."""
        try:
            note = json.loads((self._partial / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        files = note.get("files") if isinstance(note, dict) else None
        if not isinstance(files, list) or not all(isinstance(each, str) and each.endswith(".zarr") for each in files):
            return {}
        return {"files": files, "source": note.get("source")}

    def write(self, file: str, content: bytes) -> None:
        """Write a file of the result.

        Raises:
            OSError: the file cannot be written; the message names it.

        """
        self._rooms[_FIGURES].release()
        with replacing_file(self._partial / file, overwrite=True, call=f"{self._call}: writing {file}") as part:
            part.write_bytes(content)

    def publish(self, summary: bytes) -> None:
        """Write the summary, which completes the result, and move the result into place."""
        with uninterrupted():
            self.write(SUMMARY, summary)
            self._finish_publishing()

    def _foreign(self) -> str | None:
        """The name of something in `partial` that is not ours, or None."""
        if not os.path.lexists(self._partial):
            return None
        if not self._partial.is_dir():
            return "a file's content"
        files = {*self._files, *self._noted.get("files", ())}
        stores = [file.removesuffix(".zarr") for file in files if file.endswith(".zarr")]
        ours = {*files, *(f"{file}{OLD}" for file in files), *(f"{name}.partial.zarr" for name in stores)}
        ours |= {f"{name}{SWEEP}" for name in stores}
        if self._noted:
            ours.add(NOTE)
        names = sorted(path.name for path in self._partial.iterdir())
        if other := next((name for name in names if name not in ours and not is_hidden(name)), None):
            return other
        stores = [name for name in names if name.removesuffix(OLD).endswith(".zarr") and not is_hidden(name)]
        inside = ((name, foreign_in(self._partial / name, STORE)) for name in stores)
        return next((f"{name}/{other}" for name, other in inside if other), None)

    def _left(self) -> bool:
        """Whether an unfinished run has left anything; an empty folder and hidden temporary files do not count."""
        if not self._partial.is_dir():
            return False
        return any(not is_hidden(path.name) and path.name != NOTE for path in self._partial.iterdir())

    def _finish_publishing(self) -> None:
        """Move a complete result into place, including one whose run was killed during the move.

        The summary moves last: while it is in `partial`, the result is complete and the move can be continued.
        """
        if not (self._partial / SUMMARY).is_file():
            return
        with explaining(f"{self._call}: moving the result to {str(self._shown)!r}"):
            files = _files_listed(self._partial) or self._files
            names = [name for name in files if os.path.lexists(self._partial / name)]
            # Trajectories that the new result lacks must go: they would seem to belong to it.
            for name in set(_files_listed(self.path)) - {*files}:
                if name.endswith(".zarr") and foreign_in(self.path / name, STORE) is None:
                    remove(self.path / name)
            for name in (*(name for name in names if name != SUMMARY), SUMMARY):
                new, old = self._partial / name, self.path / name
                if old.is_dir():
                    old.rename(new.with_name(f"{name}{OLD}"))
                new.replace(old)
            if self._foreign() is None:  # Otherwise somebody else has put something there.
                remove(self._partial)


def _files_listed(folder: Path) -> tuple[str, ...]:
    """The files of the result in a folder, as its summary lists them; empty if there is no such summary."""
    try:
        files = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["files"]
        return tuple(name for name in files if Path(name).name == name)
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _code(source: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The part of a source that identifies the code, wherever the file lies."""
    return {key: value for key, value in (source or {}).items() if key != "file"}


def _several(specs: Spec | Sequence[Spec]) -> Sequence[Spec]:
    return specs if isinstance(specs, Sequence) else [specs]
