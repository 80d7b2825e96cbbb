"""The films of an experiment: the runs that its figures draw, then some runs of every training, in one small page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from tegum.lab.films import PageFilm, film_of, of_spec, specs_in

if TYPE_CHECKING:
    import xarray as xr

_NUMBERS = 2_000_000
"""The most numbers that all films of an experiment hold together: a page of about 4 MB."""
_FILMS = 48
"""The most films."""
_RUNS = 16
"""The most runs of a film, beside those that are drawn."""
_FRAMES = 200
"""The most steps of a film."""


def reels(
    runs: Mapping[str, xr.Dataset], drawn: Mapping[tuple[str, int], Sequence[int]] = MappingProxyType({})
) -> list[PageFilm]:
    """Make films of the trainings of an experiment, small enough for one page.

    Of a training of many Specs some are taken, evenly; of each Spec the drawn runs and the first ones.

    Args:
        runs: the trajectories by the names of their trainings.
        drawn: the numbers of the runs that figures show, by the name of their training and the position of their Spec
            in it; their films come first, and begin with them.

    Returns:
        The films; there may be none.

    """
    shown = {name for name, _ in drawn}
    # As many places for each training as there are, the drawn Specs among them.
    room = max(1, (_FILMS - len(drawn)) // max(len(runs), 1))
    places = dict.fromkeys(drawn)
    for name in sorted(runs, key=lambda name: name not in shown):
        specs = specs_in(runs[name])
        spread = np.unique(np.linspace(0, specs - 1, min(room, specs)).round().astype(int))
        places |= dict.fromkeys((name, at) for at in spread.tolist() if len(places) < _FILMS)
    budget = _NUMBERS // max(len(places), 1)
    found = []
    for name, at in places:
        title, part = of_spec(runs[name], at)
        words = f"{name}: {title}" if title else name
        first = drawn.get((name, at), ())
        seeds = [*first, *(each for each in part["seed"].values.tolist() if each not in first)]
        found.append(_fitting(words, part, seeds, max(len(first), 1), budget))
    return found


def _fitting(title: str, part: xr.Dataset, seeds: Sequence[int], least: int, budget: int) -> PageFilm:
    """A film of as many runs as fit, at least so many, and of fewer steps where even these are too much."""
    steps, size = part.sizes["step"], part.sizes["feature"] * (part.sizes["hidden"] + 1)
    most = min(_FRAMES, max(2, budget // (size * least)))
    every = math.ceil(steps / most)
    count = max(least, min(_RUNS, budget // (size * math.ceil(steps / every))))
    return film_of(title, part, seeds[:count], every)
