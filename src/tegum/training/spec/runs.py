"""Which runs of a Spec: numbers of some of them, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tegum.core.arguments import is_integer
from tegum.core.description import short


def chosen_runs(runs: Any, known: Sequence[int], call: str) -> Sequence[int]:
    """Numbers of some runs, as a range where they are one.

    Raises:
        ValueError: naming `call`: `runs` is no list of ints, is empty, has a number twice or one that is not known.

    """
    given = runs if isinstance(runs, range) else runs.tolist() if isinstance(runs, np.ndarray) else runs
    rule = "runs must be numbers of runs, ints in a list or a range"
    if not isinstance(given, range | Sequence) or isinstance(given, str | bytes):
        raise ValueError(f"{call}(runs={short(runs)}): {rule}")
    if not isinstance(given, range):
        if odd := [each for each in given if not is_integer(each)]:
            raise ValueError(f"{call}(runs={short(runs)}): {rule}, and {short(odd[0])} is none")
        given = tuple(map(int, given))
    if not len(given):
        raise ValueError(f"{call}(runs={short(runs)}): there must be at least one run")
    if len({*given}) < len(given):
        twice = next(each for each in given if given.count(each) > 1)
        raise ValueError(f"{call}(runs={short(runs)}): every run must be named once, and {twice} is named twice")
    if unknown := [each for each in given if each not in known]:
        have = f"0 to {len(known) - 1}, as seeds is {len(known)}" if known == range(len(known)) else short(list(known))
        raise ValueError(f"{call}(runs={short(runs)}): there is no run {unknown[0]}; runs are {have}")
    return given
