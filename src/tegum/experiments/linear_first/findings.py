"""What is found out: plateaus of alike sets, the order of unlike ones, and the onset of superposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.analysis.linear.onset import SuperpositionOnset, superposition_onset
from tegum.experiments.linear_first.escape_order import Order
from tegum.experiments.linear_first.plateau_ranks import System
from tegum.training.dataset import spec_of, specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec


@final
@dataclass(frozen=True, eq=False)
class OnsetEnsemble:
    """When superposition begins in the runs of one density, start scale and kind of training."""

    density: float
    scale: float
    """Standard deviation of the start; NaN for Xavier's."""
    onset: SuperpositionOnset


@final
@dataclass(frozen=True, eq=False)
class Found:
    """Everything that was measured."""

    systems: tuple[System, ...]
    orders: Mapping[tuple[str, str], Order]
    """By the way in which sets differ, and the training."""
    onsets: Mapping[str, tuple[OnsetEnsemble, ...]]
    """By the training: "adamw", "sgd" (not in the quick form), and "linear", which is AdamW in a linear model."""

    @property
    def fewest(self) -> int:
        """The runs that trained to their end in the ensemble that has the fewest."""
        sizes = [len(runs.seeds) for system in self.systems for runs in system.runs]
        sizes += [len(each.measured) for each in self.orders.values()]
        sizes += [len(each.onset.count) for group in self.onsets.values() for each in group]
        return min(sizes, default=0)


def found_in(runs: Mapping[str, xr.Dataset]) -> Found:
    """Everything that is measured, of trajectories by the names of their trainings."""
    from tegum.experiments.linear_first.escape_order import order
    from tegum.experiments.linear_first.plateau_ranks import system

    systems, orders, began = [], {}, {}
    for name, run in runs.items():
        match name.split("-"):
            case ["sets", *_]:
                systems.append(system(run, specs_of(run)))
            case ["order", group, way, training]:
                orders[f"{group}-{way}", training] = order(run, spec_of(run))
            case ["onset", training]:
                # Of one Spec a trajectory has no dim for it.
                several = "spec" in run.dims
                own = specs_of(run) if several else [spec_of(run)]
                each = [run.isel(spec=number) for number in range(len(own))] if several else [run]
                began[training] = tuple(_onset(*pair) for pair in zip(each, own, strict=True))
            case _:
                raise ValueError(f"linear-first, trajectory {name!r}: its name must begin with sets, order or onset")
    return Found(tuple(systems), orders, began)


def _onset(run: xr.Dataset, spec: Spec) -> OnsetEnsemble:
    return OnsetEnsemble(
        density=float(spec.features.density[0]),
        scale=np.nan if spec.initial_scale is None else spec.initial_scale,
        onset=superposition_onset(run, spec.features, spec.activation),
    )
