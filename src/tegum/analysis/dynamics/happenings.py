"""What happened in recorded runs, as a time axis marks it: found by the detectors, and said in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.dynamics.drops import find_drops
from tegum.analysis.dynamics.levels import FEWEST, Event, find_jumps, group_jumps
from tegum.analysis.dynamics.regimes import find_regimes
from tegum.analysis.geometry.measures import dimensionality
from tegum.analysis.runs import completed

if TYPE_CHECKING:
    import xarray as xr


def happenings(run: xr.Dataset, changed_at: Sequence[int] = ()) -> list[list[dict[str, Any]]]:
    """Find the jumps, the drops of the loss and the regimes of every run, in the order of their steps.

    Jumps and drops need evenly spaced steps, and regimes a loss above zero; where these are missing there are none.
    What a run that did not complete training did is not looked for.

    Args:
        run: a trajectory of one Spec.
        changed_at: the steps at which what the runs are trained on changes, as `Spec.changed_at` has them.

    Returns:
        For each run dictionaries with `step`, `until` (the step at which it ends), `kind` ("jump", "drop", "plateau" or
        "fall") and `words`.

    Example:
        >>> import tegum as tg
        >>> from tegum.analysis.dynamics.happenings import happenings
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=10), snapshots=2)
        >>> happenings(tg.train(spec, progress=False))
        [[]]

    """
    step = run["step"].values
    cuts = [int(np.searchsorted(step, at)) for at in changed_at]
    # What a change does to the loss is no event of learning: between two changes each stretch is looked at by itself.
    ends = [0, *(cut for cut in cuts if 0 < cut < len(step)), len(step)]
    several = [_between(run.isel(step=slice(*each))) for each in itertools.pairwise(ends)]
    return [list(itertools.chain.from_iterable(stretches)) for stretches in zip(*several, strict=True)]


def _between(run: xr.Dataset) -> list[list[dict[str, Any]]]:
    """What happens in every run while nothing is changed."""
    whole = np.flatnonzero(completed(run))
    found: list[list[dict[str, Any]]] = [[] for _ in range(run.sizes["seed"])]
    place = {int(run["seed"].values[at]): at for at in whole}
    own = run.isel(seed=whole)
    step = own["step"].values
    if len(step) > FEWEST and len(whole) and len(np.unique(np.diff(step))) == 1:
        for event in group_jumps(find_jumps(dimensionality(own["weights"]))):
            found[place[event.seed]].append(_happening("jump", event.start, event.end, jumped(event)))
        for drop in find_drops(own["loss"].transpose("seed", "step")):
            words = f"the loss drops by {drop.size:.2g}, {drop.strength:.0f} times its noise"
            found[place[drop.seed]].append(_happening("drop", drop.start, drop.end, words))
    for at in whole:
        loss = run["loss"].isel(seed=at).values
        if len(step) > FEWEST and (loss > 0).all():
            for regime in find_regimes(loss, step):
                words = "a plateau of the loss" if regime.kind == "plateau" else "the loss falls"
                found[at].append(_happening(regime.kind, regime.start, regime.end, words))
    return [sorted(each, key=lambda one: one["step"]) for each in found]


def jumped(event: Event) -> str:
    """Say what the features of an event do: by its name where it has one, and otherwise by their levels.

    Args:
        event: jumps that overlap in time.

    Returns:
        A few words without a full stop.

    Example:
        >>> import tegum as tg
        >>> from tegum.analysis.dynamics.happenings import jumped
        >>> jumped(tg.Event(tuple(tg.Jump(0, i, 4_000, 4_500, before=0.0, after=0.5) for i in (3, 7))))
        'features 3 and 7 appear as a digon'

    """
    parts = [f"features {one} and {other} change places" for one, other in event.swaps]
    parts += [f"features {one} and {other} appear as a digon" for one, other in event.births]
    parts += [f"feature {newcomer} joins feature {partner} in a digon" for newcomer, partner in event.completions]
    parts += [f"{_listed('feature', group)} {'is' if len(group) == 1 else 'are'} lost" for group in event.deaths]
    said = {feature for group in (*event.swaps, *event.births, *event.completions, *event.deaths) for feature in group}
    parts += [
        f"feature {jump.feature} goes from dimensionality {jump.before:.2f} to {jump.after:.2f}"
        for jump in event.jumps
        if jump.feature not in said
    ]
    return "; ".join(parts)


def _listed(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _happening(kind: str, start: int, end: int, words: str) -> dict[str, Any]:
    return {"step": int(start), "until": int(end), "kind": kind, "words": words}
