"""Experiments, a package each, found by its name: `energy_levels` is `energy-levels`.

A package here whose `__init__.py` holds one final `Experiment` is an experiment; there is no list to maintain.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegum.experiments.framework import Experiment

__all__ = ["claims", "get", "names"]


def names() -> list[str]:
    """The names of all experiments, in alphabetical order."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.ispkg)


def get(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    """
    if name not in names():
        from tegum.core.description import nearest

        raise ValueError(f"experiment {name!r}: there is none of this name; {nearest(name, names())}")
    from tegum.experiments.framework import Experiment

    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    (kind,) = (each for each in own if issubclass(each, Experiment))
    return kind()


def claims() -> dict[str, str]:
    """The claim of each experiment, in one sentence, by its name."""
    return {name: get(name).claim for name in names()}
