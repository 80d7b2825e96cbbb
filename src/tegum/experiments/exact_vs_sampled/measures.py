"""The findings of the experiment `exact-vs-sampled` as measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.exact_vs_sampled.findings import RELATIVE_REACH, TwinnedRuns
from tegum.experiments.reporting import Measure, average, mean, share

ALIKE_WITHIN = 0.01
"""Two runs end alike if their final losses differ by less than this part."""


def measures(found: Sequence[TwinnedRuns]) -> list[Measure]:
    """Everything that is reported, system by system."""
    return [each for system in found for each in _of_system(system)]


def _of_system(pairs: TwinnedRuns) -> list[Measure]:
    name, escaped = pairs.name, [each for each in pairs.seen if each.plateau.escaped]
    last = [each for each in pairs.seen if not each.plateau.escaped]
    null = [each.fast_is_near for each in escaped if each.fast_is_near is not None]
    runs = len({each.seed for each in escaped})
    sampled, twin = np.log(pairs.sampled), np.log(pairs.twin)
    # Snapshots are evenly spread over the logarithm of the step, and so is this mean.
    own = np.abs(sampled - twin).mean(1)
    others = [np.abs(sampled[k] - np.delete(twin, k, 0)).mean() for k in range(len(twin))] if len(twin) > 1 else []
    alike = np.abs(np.expm1(sampled[:, -1] - twin[:, -1])) < ALIKE_WITHIN
    chance = [
        np.mean(np.abs(np.expm1(sampled[k, -1] - np.delete(twin[:, -1], k))) < ALIKE_WITHIN) for k in range(len(twin))
    ]
    indices = [each.point.index for each in escaped if each.near and each.point.index is not None]
    return [
        Measure(
            f"{name}.runs",
            f"{name}: runs",
            len(pairs.seeds),
            "run",
            n=len(pairs.seeds),
            meaning="trained to their end in both ways",
        ),
        average(
            f"{name}.escaped_plateaus_per_run",
            f"{name}: escaped plateaus per run",
            np.array([sum(each.seed == seed for each in escaped) for seed in pairs.seeds]),
            "plateau",
            "of the noiseless twin",
        ),
        share(
            f"{name}.escaped_plateaus_at_saddles",
            f"{name}: escaped plateaus at saddles",
            sum(each.near for each in escaped),
            len(escaped),
            f"a saddle within {RELATIVE_REACH:.0%} of the final parameters; null: where the loss falls fastest",
            runs=runs,
            null=mean([float(near) for near in null]),
        ),
        Measure(
            f"{name}.highest_index",
            f"{name}: highest index",
            max(indices, default=None),
            "1",
            n=runs,
            meaning="of saddles at escaped plateaus",
        ),
        Measure(
            f"{name}.lowest_index",
            f"{name}: lowest index",
            min(indices, default=None),
            "1",
            n=runs,
            meaning="of saddles at escaped plateaus",
        ),
        share(
            f"{name}.ends_at_minima",
            f"{name}: ends at minima",
            sum(each.near and each.point.index == 0 for each in last),
            len(last),
            "of the twins that end on a plateau",
        ),
        average(
            f"{name}.distance_to_twin",
            f"{name}: distance to the twin",
            own,
            "1",
            "mean |ln loss − ln loss of the twin| over the logarithm of the step; null: twins of other starts",
            null=mean([float(each) for each in others]),
        ),
        share(
            f"{name}.runs_that_end_as_their_twin",
            f"{name}: runs that end as their twin",
            int(alike.sum()),
            len(alike),
            f"final losses within {ALIKE_WITHIN:.0%}; null: twins of other starts",
            null=mean([float(each) for each in chance if np.isfinite(each)]),
        ),
    ]
