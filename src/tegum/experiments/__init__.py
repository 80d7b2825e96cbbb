"""Experiments, one file each, found by its name: `energy_levels.py` is `energy-levels`.

A module here that holds one final `Experiment` is an experiment; there is no list to maintain.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegum.experiments.base import Experiment

__all__ = ["claims", "get", "names"]

_FRAMEWORK = ("base", "folder")
"""With every module whose name begins with an underscore, no experiments."""


def names() -> list[str]:
    """The names of all experiments, in alphabetical order."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if name not in _FRAMEWORK and not name.startswith("_"))


def get(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    """
    if name not in names():
        from tegum.core.description import nearest

        raise ValueError(f"experiment {name!r}: there is none of this name; {nearest(name, names())}")
    from tegum.experiments.base import Experiment

    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    (kind,) = (each for each in own if issubclass(each, Experiment))
    return kind()


def claims() -> dict[str, str]:
    """The claim of each experiment, in one sentence, by its name."""
    return {name: get(name).claim for name in names()}
