"""tegum, a laboratory for superposition: toy models trained, measured and seen as geometry.

Names are imported when they are first used, so that `import tegum` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import tegum.core.jax_setup  # noqa: F401 (sees when a process is forked)

if TYPE_CHECKING:
    from tegum.analysis.dictionaries.analyse import analyse
    from tegum.analysis.dynamics.drops import LossDrop, find_drops, loss_drops
    from tegum.analysis.dynamics.levels import Event, Jump, find_jumps, group_jumps, late_jumps
    from tegum.analysis.dynamics.matches import coincidence, share_inside
    from tegum.analysis.dynamics.motions import motions
    from tegum.analysis.dynamics.moves import largest_moves
    from tegum.analysis.dynamics.plateaus import find_plateaus
    from tegum.analysis.dynamics.rearrangements import rearrangements
    from tegum.analysis.dynamics.regimes import find_regimes, motion_shares
    from tegum.analysis.dynamics.revivals import dead_outputs, find_revivals
    from tegum.analysis.geometry.fourier import equivariance_defect, kept_rotations, mode_power, mode_variances
    from tegum.analysis.geometry.measures import (
        canonical_pose,
        dimensionality,
        dimensions_per_feature,
        gram,
        interference,
        represented,
        tegum_factors,
    )
    from tegum.analysis.geometry.polytopes import name_polytope, polytope_names
    from tegum.analysis.landscape.continuation import Branch, follow
    from tegum.analysis.landscape.critical_points import (
        CriticalPoint,
        critical_point,
        saddle_index,
        unstable_directions,
    )
    from tegum.analysis.landscape.phases import Boundary, phase_boundary
    from tegum.analysis.landscape.tracks import vary
    from tegum.analysis.linear.escapes import mode_strengths, predicted_escapes
    from tegum.analysis.linear.pca import LinearOptimum, angle_to_pca, linear_optimum, pca_likeness
    from tegum.analysis.linear.subspaces import principal_angles
    from tegum.analysis.sets.collapse import collapsed_count, collapsed_sets, interference_between, interference_within
    from tegum.analysis.sets.local import captured_variance, local_capture, local_moments, local_pca, readout_error
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.empirical import Empirical
    from tegum.core.features.sets import (
        Anticorrelated,
        Correlated,
        Equivariant,
        FeatureSet,
        GatedSet,
        Independent,
        PartiallyCorrelated,
    )
    from tegum.core.features.tables import MixtureTable
    from tegum.core.loss.empirical import empirical_loss
    from tegum.core.loss.population import population_gradient, population_loss
    from tegum.core.model import forward
    from tegum.data.store import load, save
    from tegum.figures.motion import render
    from tegum.training.along import population_loss_along
    from tegum.training.compare import best, loss_error
    from tegum.training.engine import Segment, TrainingInterrupted, iterate, train
    from tegum.training.spec.methods import Exact, Flow, Sampled, Training
    from tegum.training.spec.snapshots import Snapshots
    from tegum.training.spec.spec import Spec, Start
    from tegum.training.state import TrainingState

__all__ = [
    "Anticorrelated",
    "Boundary",
    "Branch",
    "Correlated",
    "CriticalPoint",
    "Empirical",
    "Equivariant",
    "Event",
    "Exact",
    "FeatureDistribution",
    "FeatureSet",
    "Flow",
    "GatedSet",
    "Independent",
    "Jump",
    "LinearOptimum",
    "LossDrop",
    "MixtureTable",
    "PartiallyCorrelated",
    "Sampled",
    "Segment",
    "Snapshots",
    "Spec",
    "Start",
    "Training",
    "TrainingInterrupted",
    "TrainingState",
    "analyse",
    "angle_to_pca",
    "best",
    "canonical_pose",
    "captured_variance",
    "coincidence",
    "collapsed_count",
    "collapsed_sets",
    "critical_point",
    "dead_outputs",
    "dimensionality",
    "dimensions_per_feature",
    "empirical_loss",
    "equivariance_defect",
    "find_drops",
    "find_jumps",
    "find_plateaus",
    "find_regimes",
    "find_revivals",
    "follow",
    "forward",
    "gram",
    "group_jumps",
    "interference",
    "interference_between",
    "interference_within",
    "iterate",
    "kept_rotations",
    "largest_moves",
    "late_jumps",
    "linear_optimum",
    "load",
    "local_capture",
    "local_moments",
    "local_pca",
    "loss_drops",
    "loss_error",
    "mode_power",
    "mode_strengths",
    "mode_variances",
    "motion_shares",
    "motions",
    "name_polytope",
    "pca_likeness",
    "phase_boundary",
    "polytope_names",
    "population_gradient",
    "population_loss",
    "population_loss_along",
    "predicted_escapes",
    "principal_angles",
    "readout_error",
    "rearrangements",
    "render",
    "represented",
    "saddle_index",
    "save",
    "share_inside",
    "tegum_factors",
    "train",
    "unstable_directions",
    "vary",
]

_ROOMS = {
    "tegum.analysis.dictionaries.analyse": "analyse",
    "tegum.analysis.sets.collapse": "collapsed_count collapsed_sets interference_between interference_within",
    "tegum.analysis.landscape.continuation": "Branch follow",
    "tegum.analysis.dynamics.drops": "LossDrop find_drops loss_drops",
    "tegum.analysis.linear.escapes": "mode_strengths predicted_escapes",
    "tegum.analysis.geometry.fourier": "equivariance_defect kept_rotations mode_power mode_variances",
    "tegum.analysis.geometry.measures": "canonical_pose dimensionality dimensions_per_feature gram interference "
    "represented tegum_factors",
    "tegum.analysis.landscape.critical_points": "CriticalPoint critical_point saddle_index unstable_directions",
    "tegum.analysis.dynamics.levels": "Event Jump find_jumps group_jumps late_jumps",
    "tegum.analysis.sets.local": "captured_variance local_capture local_moments local_pca readout_error",
    "tegum.analysis.dynamics.matches": "coincidence share_inside",
    "tegum.analysis.dynamics.motions": "motions",
    "tegum.analysis.dynamics.moves": "largest_moves",
    "tegum.analysis.linear.pca": "LinearOptimum angle_to_pca linear_optimum pca_likeness",
    "tegum.analysis.landscape.phases": "Boundary phase_boundary",
    "tegum.analysis.dynamics.plateaus": "find_plateaus",
    "tegum.analysis.geometry.polytopes": "name_polytope polytope_names",
    "tegum.analysis.dynamics.rearrangements": "rearrangements",
    "tegum.analysis.dynamics.regimes": "find_regimes motion_shares",
    "tegum.analysis.dynamics.revivals": "dead_outputs find_revivals",
    "tegum.analysis.linear.subspaces": "principal_angles",
    "tegum.analysis.landscape.tracks": "vary",
    "tegum.core.features.distribution": "FeatureDistribution",
    "tegum.core.features.empirical": "Empirical",
    "tegum.core.features.sets": "Anticorrelated Correlated Equivariant FeatureSet GatedSet Independent MixtureTable "
    "PartiallyCorrelated",
    "tegum.core.loss.empirical": "empirical_loss",
    "tegum.core.loss.population": "population_gradient population_loss",
    "tegum.core.model": "forward",
    "tegum.data.store": "load save",
    "tegum.figures.motion": "render",
    "tegum.training.along": "population_loss_along",
    "tegum.training.compare": "best loss_error",
    "tegum.training.engine": "Segment TrainingInterrupted iterate train",
    "tegum.training.spec.spec": "Exact Flow Sampled Snapshots Spec Start Training",
    "tegum.training.state": "TrainingState",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("tegum")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'tegum' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
