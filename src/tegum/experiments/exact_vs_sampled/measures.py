"""The findings of the experiment `exact-vs-sampled` as measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.exact_vs_sampled.findings import RELATIVE_REACH, TwinnedRuns
from tegum.experiments.reporting import Measure, average, mean, share

ALIKE_WITHIN = 0.01
"""Two runs end alike if their final losses differ by less than this fraction."""


def measures(found: Sequence[TwinnedRuns]) -> list[Measure]:
    """All measures, system by system."""
    return [each for system in found for each in _of_system(system)]


def _of_system(pairs: TwinnedRuns) -> list[Measure]:
    name, escaped = pairs.name, [each for each in pairs.seen if each.plateau.escaped]
    last = [each for each in pairs.seen if not each.plateau.escaped]
    null = [each.fast_is_near for each in escaped if each.fast_is_near is not None]
    runs = len({each.seed for each in escaped})
    sampled, twin = np.log(pairs.sampled), np.log(pairs.twin)
    # Snapshots are evenly spaced in log step, so this mean over snapshots is one over log step.
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
            "runs",
            n=len(pairs.seeds),
            meaning="runs trained to their end both on mini-batches and without noise",
        ),
        average(
            f"{name}.escaped_plateaus_per_run",
            f"{name}: escaped plateaus per run",
            np.array([sum(each.seed == seed for each in escaped) for seed in pairs.seeds]),
            "plateaus",
            "plateaus of the noiseless twin after which the loss falls by a tenth or more, mean over runs",
        ),
        share(
            f"{name}.escaped_plateaus_at_saddles",
            f"{name}: escaped plateaus at saddles",
            sum(each.near for each in escaped),
            len(escaped),
            f"plateaus with a saddle within {100 * RELATIVE_REACH:g} % of the length of the final parameters; null: "
            "the same for snapshots where the loss falls fastest",
            runs=runs,
            null=mean([float(near) for near in null]),
        ),
        Measure(
            f"{name}.highest_index",
            f"{name}: highest saddle index",
            max(indices, default=None),
            "",
            n=runs,
            meaning="number of negative eigenvalues of the Hessian, the largest over saddles at escaped plateaus",
        ),
        Measure(
            f"{name}.lowest_index",
            f"{name}: lowest saddle index",
            min(indices, default=None),
            "",
            n=runs,
            meaning="number of negative eigenvalues of the Hessian, the smallest over saddles at escaped plateaus",
        ),
        share(
            f"{name}.ends_at_minima",
            f"{name}: twins that end at a minimum",
            sum(each.near and each.point.index == 0 for each in last),
            len(last),
            "of the twins that end on a plateau, those whose nearby critical point is a minimum",
        ),
        average(
            f"{name}.distance_to_twin",
            f"{name}: distance to the twin",
            own,
            "",
            "mean over log step of |ln loss − ln loss of the twin|; null: twins of other starts",
            null=mean([float(each) for each in others]),
        ),
        share(
            f"{name}.runs_that_end_as_their_twin",
            f"{name}: runs that end like their twin",
            int(alike.sum()),
            len(alike),
            f"final losses within {100 * ALIKE_WITHIN:g} % of each other; null: twins of other starts",
            null=mean([float(each) for each in chance if np.isfinite(each)]),
        ),
    ]
