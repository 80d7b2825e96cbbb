"""Features that share a colour: those of one set, or each on its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from tegum.figures import style
from tegum.figures.style import Colour


class Groups(NamedTuple):
    """Groups of features, with the name and the colour of each."""

    members: list[Int[np.ndarray, " member"]]
    names: list[str]
    colours: list[Colour]


def feature_groups(
    count: int,
    number: Shaped[np.ndarray, " feature"] | None = None,
    kind: Shaped[np.ndarray, " feature"] | None = None,
) -> Groups:
    """Group features by colour, in the order of their first features.

    The members of a set share a colour, and each independent feature has its own. If that takes more than the strong
    colours available, independent features share the colour of their set. If there are still too many groups, each has
    a pale colour, which is enough to follow it by eye.

    Args:
        count: the number of features.
        number: the number of each feature's set; without it all are in one.
        kind: the kind of each feature's set; without it features are told apart by set alone, and on their own where
            there is one set.

    """
    numbers = np.zeros(count, int) if number is None else number
    alone = "independent" if len(np.unique(numbers)) == 1 else ""
    kinds = [alone] * count if kind is None else kind.tolist()
    keys = [
        (int(own), feature if word == "independent" else -1)
        for feature, (own, word) in enumerate(zip(numbers, kinds, strict=True))
    ]
    strong = len(style.ACCENTS)
    if len(set(keys)) > strong and 1 < len({own for own, _ in keys}) <= strong:
        keys = [(own, -1) for own, _ in keys]
    members = {key: np.flatnonzero([other == key for other in keys]) for key in dict.fromkeys(keys)}
    names = [
        f"feature {feature}"
        if feature >= 0
        else ", ".join(filter(None, (f"set {own}", kinds[members[own, feature][0]])))
        for own, feature in members
    ]
    few = len(members) <= strong
    colours = [style.accent(k) for k in range(len(members))] if few else style.calm_colours(len(members))
    return Groups(list(members.values()), names, colours)
