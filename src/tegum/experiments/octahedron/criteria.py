"""The criteria of the experiment `octahedron`, fixed before the run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tegum.experiments.framework import Criterion
from tegum.experiments.octahedron.findings import OctahedronFindings
from tegum.experiments.reporting import Measure

LEAST_SHARE = 0.02
"""The least share of runs for a route to count as one."""


def criteria(found: OctahedronFindings, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """The criteria of the protocol; none if no run has a small start."""
    if not found.small.any():
        return ()

    def low(key: str) -> float:
        return _number(measured[key].low if key in measured else None, -np.inf)

    def high(key: str) -> float:
        return _number(measured[key].high if key in measured else None, np.inf)

    index = measured.get("adjusted_rand_index")
    agrees = index is not None and _number(index.value, -np.inf) > _number(index.null, np.inf)
    return (
        Criterion(
            "ends_as_octahedra",
            "From small starts, runs end as octahedra whose antipodal pairs join different sets.",
            low("octahedra_that_join_both_sets") > 0.9,
        ),
        Criterion(
            "regimes_in_order",
            "From small starts, inflation comes before opening, and does so more often than from Xavier starts.",
            low("small.regimes_in_order") > max(0.9, high("xavier.regimes_in_order")),
        ),
        Criterion(
            "one_transformation",
            "Over time, the dominant motion has a larger share than with the same regimes in any order, or with "
            "regimes at random places.",
            all(low(f"ruler_share_over_time_over_{null}") > 0 for null in ("any_order", "random_places")),
        ),
        Criterion(
            "twist_is_fall",
            "In more than half of the straight runs, the twist into the antiprism dominates a fall of the loss.",
            low("straight.falls_ruled_by_twist") > 0.5,
        ),
        Criterion(
            "several_routes",
            "Both routes occur, and clusters of trajectories agree with them.",
            low("route_straight") > LEAST_SHARE and low("route_pairs_first") > LEAST_SHARE and agrees,
        ),
    )


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
