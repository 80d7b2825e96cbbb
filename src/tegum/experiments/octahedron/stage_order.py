"""The claimed order of stages (inflation in the first fall of the loss, opening in a later one), and places in it."""

from __future__ import annotations

from collections.abc import Sequence

from tegum.analysis.dynamics.stages import MotionStage, Stages, falls

PLACES = (
    "start",
    "first fall",
    "other falls before the opening",
    "plateau before the opening",
    "opening fall",
    "later falls",
    "end",
)


def in_order(run: Stages) -> bool:
    """Whether inflation dominates the first fall, opening dominates a later one, and inflation dominates none after."""
    motions = [each.dominant for each in falls(run)]
    if "opening" not in motions or motions[0] != "inflation":
        return False
    return "inflation" not in motions[motions.index("opening") :]


def by_place(runs: Sequence[Stages]) -> dict[str, list[tuple[int, MotionStage]]]:
    """The stages of all runs in order, by place (one of `PLACES`), as pairs of the run's position and the stage."""
    found: dict[str, list[tuple[int, MotionStage]]] = {place: [] for place in PLACES}
    for at, run in enumerate(runs):
        if not in_order(run):
            continue
        for stage, place in zip(run, places(run), strict=True):
            if place is not None:
                found[place].append((at, stage))
    return found


def places(run: Stages) -> list[str | None]:
    """The place of each stage of a run in order, relative to its first fall and the first fall dominated by opening.

    Plateaus between falls have no place (None), except for the one right before the opening.
    """
    first = next(k for k, stage in enumerate(run) if stage.regime.kind == "fall")
    opening = next(k for k, stage in enumerate(run) if stage.regime.kind == "fall" and stage.dominant == "opening")
    return [_place(k, stage.regime.kind == "plateau", first, opening, len(run) - 1) for k, stage in enumerate(run)]


def _place(k: int, plateau: bool, first: int, opening: int, last: int) -> str | None:
    if k < first:
        return "start"
    if k == first:
        return "first fall"
    if k == opening:
        return "opening fall"
    if not plateau:
        return "other falls before the opening" if k < opening else "later falls"
    if k == opening - 1:
        return "plateau before the opening"
    return "end" if k == last and k > opening else None
