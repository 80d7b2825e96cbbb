"""Keep results whatever happens: a full disk does not lose one, nor does a folder that has gone."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from tegum.data.atomic import explained


@final
class KeptElsewhereError(OSError):
    """A result could not be written where it was asked for, and is at `path` instead."""

    def __init__(self, sentence: str, path: Path) -> None:
        super().__init__(sentence)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, including attributes added later: a process of a pool passes its errors on."""
        return type(self), (self.args[0], self.path), vars(self)


def keep(write: Callable[[Path], object], target: Path, *, call: str, what: str) -> None:
    """Write a result that took work to its place, or to another folder if that fails for any reason.

    Args:
        write: writes the result to a path, where it appears complete or not at all.
        target: the place for the result, an absolute path.
        call: what the message starts with.
        what: the result, as the message names it: "the trajectory".

    Raises:
        KeptElsewhereError: the result is in another folder; the message says why.
        OSError: the result could not be written anywhere; the message says why.

    """
    try:
        write(target)
        return
    except Exception as error:
        # Not only errors of the operating system: the work must survive whatever a library raises.
        refused, cause = _refusal(error, f"{call}: writing {str(target)!r}"), error
    tried = []
    for folder in _others(target.parent):
        place = folder / f"{target.stem}-{secrets.token_hex(4)}{target.suffix}"
        try:
            write(place)
        except Exception:  # as above
            tried.append(str(folder))
            continue
        raise KeptElsewhereError(f"{refused}; {what} is kept in {str(place)!r} instead", place) from cause
    also = f" (nor in {', '.join(map(repr, tried))})" if tried else ""
    raise OSError(f"{refused}; it could not be kept elsewhere{also}: {what} is on no disk") from cause


def _refusal(error: Exception, doing: str) -> str:
    """Why something could not be written, in one sentence."""
    if isinstance(error, OSError):
        return str(error if error.strerror is None else explained(error, doing))
    said = " ".join(str(error).split())
    return f"{doing}: {type(error).__name__}{f' ({said})' if said else ''}"


def _others(folder: Path) -> Iterator[Path]:
    """Folders in which a result might be found again."""
    seen = {folder}
    for find in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        with suppress(OSError, RuntimeError):  # There may be no such folder.
            other = find().resolve()
            if other not in seen:
                seen.add(other)
                yield other
