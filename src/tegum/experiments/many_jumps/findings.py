"""What the experiment `many-jumps` finds: the jumps of the runs of each size, and their part in the fall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tegum.analysis.dynamics.attribution import JumpAttribution, jump_attribution
from tegum.analysis.dynamics.own_jumps import FEWEST_RUNS_FOR_P

if TYPE_CHECKING:
    import xarray as xr

HEIGHT, REST, LONGEST = 0.1, 100, 1_000
"""The definition of a jump: its least height, the least plateau before and after it, and its longest duration, both in
steps."""

FLOW = 10
"""The number of steps that correspond to one unit of flow time, judged by how long both take to train."""


def find(runs: Mapping[str, xr.Dataset]) -> dict[str, JumpAttribution]:
    """Attribute the fall of the loss to jumps, by training; those with fewer than two complete runs are left out."""
    found = {}
    for name, run in runs.items():
        rest = rest_of(name.startswith("flow"))
        attribution = jump_attribution(run, rest=rest, longest=rest * LONGEST // REST, height=HEIGHT)
        if attribution is not None:
            found[name] = attribution
    return found


def rest_of(flow: bool) -> int:
    """The least plateau in steps, or in units of flow time."""
    return REST // FLOW if flow else REST


def largest_of(runs: Mapping[str, xr.Dataset]) -> str:
    """The name of the sampled training of the largest models, which the criteria are about."""
    return [name for name in runs if name.startswith("run")][-1]


def tested(largest: JumpAttribution | None) -> JumpAttribution | None:
    """The largest models if enough of them trained to their end for a p-value, otherwise None."""
    return largest if largest is not None and len(largest.courses) >= FEWEST_RUNS_FOR_P else None
