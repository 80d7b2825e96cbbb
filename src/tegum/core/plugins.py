"""What installed packages declare for tegum, as entry points of a group."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class EntryPoint(Protocol):
    """What a package declares, by the standard library's class or by that of a package which replaces it."""

    @property
    def name(self) -> str:
        """The name of what is declared."""
        ...

    @property
    def value(self) -> str:
        """Where it is, as module:attribute."""
        ...

    @property
    def dist(self) -> Any:
        """The package; None if it is not known."""
        ...

    def load(self) -> Any:
        """Import what is declared."""
        ...


def entry_points(group: str) -> Iterator[EntryPoint]:
    """The entry points of a group, with a warning for each package that cannot be read.

    Args:
        group: the group, such as "tegum.sets".

    """
    try:
        declared: Any = importlib.metadata.entry_points(group=group)
        yield from declared
    except Exception:  # Some package, perhaps one unrelated to tegum, has a broken installation.
        for package in importlib.metadata.distributions():
            try:
                own: Any = package.entry_points
                yield from own.select(group=group)
            except Exception as error:
                where = getattr(package, "_path", "a package")
                warnings.warn(f"the entry points of {where} cannot be read: {error}", stacklevel=3)
