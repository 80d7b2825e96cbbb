"""Experiments of other packages, found through their entry points in the group `tegum.experiments`.

A package declares each in its pyproject.toml, by a name and a class, or a module that holds one experiment:

    [project.entry-points."tegum.experiments"]
    my-jumps = "mylab.jumps:Jumps"
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, final

from tegum.core.plugins import EntryPoint, entry_points
from tegum.experiments.framework import Experiment, Origin, chosen, ready

GROUP = "tegum.experiments"


@final
@dataclass(frozen=True)
class Installed:
    """An experiment that a package declares; none of its code has been imported yet."""

    name: str
    """The name under which it is listed."""
    package: str
    version: str
    point: EntryPoint = field(repr=False)

    @property
    def qualified(self) -> str:
        """PACKAGE.NAME, by which it can always be found."""
        return f"{self.package}.{_name(self.point)}"

    def __str__(self) -> str:
        return f"package {self.package} {self.version}"

    def load(self) -> Experiment[Any]:
        """Import it.

        Raises:
            ValueError: the import fails, or the entry point does not name an experiment.

        """
        call = f"experiment {self.name!r} of {self}"
        try:
            found = self.point.load()
        except (Exception, SystemExit) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"{call} cannot be imported: {type(error).__name__}{f': {why}' if why else ''}") from error
        if isinstance(found, ModuleType):
            found = chosen(found, None, call)
        source = {"package": self.package, "version": self.version}
        return ready(found, Origin(self.name, source, _root(found)), call)


def installed(own: Collection[str]) -> list[Installed]:
    """The experiments of all packages, by package and name.

    If its name is taken by tegum itself or by another package, an experiment is listed as PACKAGE.NAME.

    Args:
        own: the names of tegum's own experiments.

    """
    points = []
    for point in entry_points(GROUP):
        name = _name(point)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
            warnings.warn(
                f"{_package(point)} calls an experiment {point.name!r}, which is not a valid name", stacklevel=2
            )
        elif point.dist is not None:
            points.append(point)
    taken = Counter([*own, *map(_name, points)])
    found = []
    for point in points:
        name, package = _name(point), point.dist.metadata["Name"]
        listed = name if taken[name] == 1 else f"{package}.{name}"
        found.append(Installed(listed, package, point.dist.version, point))
    return sorted(found, key=lambda each: (each.package, each.name))


def _name(point: EntryPoint) -> str:
    return point.name.replace("_", "-")


def _package(point: EntryPoint) -> str:
    return "a package" if point.dist is None else f"package {point.dist.metadata['Name']}"


def _root(found: object) -> Path:
    """The folder of the package that holds a class, or the file if it is a single module."""
    top = sys.modules[getattr(found, "__module__", "").partition(".")[0] or __name__]
    folders = list(getattr(top, "__path__", ()))
    return Path(folders[0] if folders else getattr(top, "__file__", None) or __file__)
