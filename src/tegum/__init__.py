"""tegum, a laboratory for superposition: toy models trained, measured and seen as geometry.

Names are imported when they are first used, so that `import tegum` costs nothing.

A name becomes public by two lines in this file and nowhere else: in `PUBLIC`, which says where it lives and from which
all the rest is made, and beside it, `import … as …`, for type checkers, which run no code. A test compares both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tegum.core.jax_setup  # noqa: F401 (sees when a process is forked)

PUBLIC: Mapping[str, str] = {
    "tegum.analysis.dictionaries.analyse": "analyse",
    "tegum.analysis.dictionaries.recovery": "match_directions",
    "tegum.analysis.dynamics.attribution": "jump_attribution",
    "tegum.analysis.dynamics.drops": "LossDrop find_drops loss_drops",
    "tegum.analysis.dynamics.levels": "Event Jump find_jumps group_jumps late_jumps",
    "tegum.analysis.dynamics.matches": "coincidence share_inside",
    "tegum.analysis.dynamics.motions": "motions",
    "tegum.analysis.dynamics.moves": "largest_moves",
    "tegum.analysis.dynamics.plateaus": "find_plateaus",
    "tegum.analysis.dynamics.rearrangements": "rearrangements",
    "tegum.analysis.dynamics.regimes": "find_regimes motion_shares",
    "tegum.analysis.dynamics.revivals": "dead_outputs find_revivals",
    "tegum.analysis.dynamics.stages": "motion_stages",
    "tegum.analysis.geometry.fourier": "equivariance_defect kept_rotations mode_power mode_variances",
    "tegum.analysis.geometry.measures": "canonical_pose dimensionality dimensions_per_feature gram interference "
    "represented tegum_factors",
    "tegum.analysis.geometry.null_frames": "even_frame random_directions",
    "tegum.analysis.geometry.polytopes": "name_polytope polytope_names",
    "tegum.analysis.landscape.continuation": "Branch follow",
    "tegum.analysis.landscape.critical_points": "CriticalPoint critical_point saddle_index unstable_directions",
    "tegum.analysis.landscape.phases": "Boundary phase_boundary",
    "tegum.analysis.landscape.tracks": "vary",
    "tegum.analysis.linear.escape_order": "escape_order",
    "tegum.analysis.linear.escapes": "mode_strengths predicted_escapes",
    "tegum.analysis.linear.onset": "superposition_onset",
    "tegum.analysis.linear.pca": "LinearOptimum angle_to_pca linear_optimum pca_likeness",
    "tegum.analysis.linear.plateau_ranks": "first_plateaus",
    "tegum.analysis.linear.subspaces": "principal_angles",
    "tegum.analysis.sets.collapse": "collapsed_count collapsed_sets interference_between interference_within",
    "tegum.analysis.sets.local": "captured_variance local_capture local_moments local_pca readout_error",
    "tegum.core.features.activity": "ExactlyK",
    "tegum.core.features.copula": "Copula",
    "tegum.core.features.distribution": "FeatureDistribution",
    "tegum.core.features.empirical": "Empirical",
    "tegum.core.features.hierarchy": "Hierarchy",
    "tegum.core.features.magnitudes": "ConstantMagnitude HalfNormalMagnitude Magnitude UniformMagnitude",
    "tegum.core.features.sets": "Anticorrelated Correlated Equivariant FeatureSet GatedSet Independent "
    "PartiallyCorrelated",
    "tegum.core.features.tables": "MixtureTable",
    "tegum.core.loss.empirical": "empirical_loss",
    "tegum.core.loss.population": "population_gradient population_loss",
    "tegum.core.model": "forward",
    "tegum.data.dictionaries": "load_dictionary",
    "tegum.data.store": "load save",
    "tegum.figures.films.motion": "render",
    "tegum.lab.view": "view",
    "tegum.sweeps.design": "Between",
    "tegum.sweeps.kept": "Kept",
    "tegum.sweeps.sweep": "open_sweep sweep",
    "tegum.training.exact_losses": "population_loss_along",
    "tegum.training.compare": "best loss_error",
    "tegum.training.engine": "Segment TrainingInterrupted iterate train",
    "tegum.training.spec.changes": "Change SetChange",
    "tegum.training.spec.grid": "Grid grid",
    "tegum.training.spec.methods": "Exact Flow Sampled Training",
    "tegum.training.spec.snapshots": "Snapshots",
    "tegum.training.spec.spec": "Spec Start",
    "tegum.training.state": "TrainingState",
}
"""Every public name, by the module in which it lives."""

NAMESPACES = ("plot",)
"""Public modules, whose names are reached as tegum.plot.NAME."""

if TYPE_CHECKING:
    from tegum import plot as plot
    from tegum.analysis.dictionaries.analyse import analyse as analyse
    from tegum.analysis.dictionaries.recovery import match_directions as match_directions
    from tegum.analysis.dynamics.attribution import jump_attribution as jump_attribution
    from tegum.analysis.dynamics.drops import LossDrop as LossDrop
    from tegum.analysis.dynamics.drops import find_drops as find_drops
    from tegum.analysis.dynamics.drops import loss_drops as loss_drops
    from tegum.analysis.dynamics.levels import Event as Event
    from tegum.analysis.dynamics.levels import Jump as Jump
    from tegum.analysis.dynamics.levels import find_jumps as find_jumps
    from tegum.analysis.dynamics.levels import group_jumps as group_jumps
    from tegum.analysis.dynamics.levels import late_jumps as late_jumps
    from tegum.analysis.dynamics.matches import coincidence as coincidence
    from tegum.analysis.dynamics.matches import share_inside as share_inside
    from tegum.analysis.dynamics.motions import motions as motions
    from tegum.analysis.dynamics.moves import largest_moves as largest_moves
    from tegum.analysis.dynamics.plateaus import find_plateaus as find_plateaus
    from tegum.analysis.dynamics.rearrangements import rearrangements as rearrangements
    from tegum.analysis.dynamics.regimes import find_regimes as find_regimes
    from tegum.analysis.dynamics.regimes import motion_shares as motion_shares
    from tegum.analysis.dynamics.revivals import dead_outputs as dead_outputs
    from tegum.analysis.dynamics.revivals import find_revivals as find_revivals
    from tegum.analysis.dynamics.stages import motion_stages as motion_stages
    from tegum.analysis.geometry.fourier import equivariance_defect as equivariance_defect
    from tegum.analysis.geometry.fourier import kept_rotations as kept_rotations
    from tegum.analysis.geometry.fourier import mode_power as mode_power
    from tegum.analysis.geometry.fourier import mode_variances as mode_variances
    from tegum.analysis.geometry.measures import canonical_pose as canonical_pose
    from tegum.analysis.geometry.measures import dimensionality as dimensionality
    from tegum.analysis.geometry.measures import dimensions_per_feature as dimensions_per_feature
    from tegum.analysis.geometry.measures import gram as gram
    from tegum.analysis.geometry.measures import interference as interference
    from tegum.analysis.geometry.measures import represented as represented
    from tegum.analysis.geometry.measures import tegum_factors as tegum_factors
    from tegum.analysis.geometry.null_frames import even_frame as even_frame
    from tegum.analysis.geometry.null_frames import random_directions as random_directions
    from tegum.analysis.geometry.polytopes import name_polytope as name_polytope
    from tegum.analysis.geometry.polytopes import polytope_names as polytope_names
    from tegum.analysis.landscape.continuation import Branch as Branch
    from tegum.analysis.landscape.continuation import follow as follow
    from tegum.analysis.landscape.critical_points import CriticalPoint as CriticalPoint
    from tegum.analysis.landscape.critical_points import critical_point as critical_point
    from tegum.analysis.landscape.critical_points import saddle_index as saddle_index
    from tegum.analysis.landscape.critical_points import unstable_directions as unstable_directions
    from tegum.analysis.landscape.phases import Boundary as Boundary
    from tegum.analysis.landscape.phases import phase_boundary as phase_boundary
    from tegum.analysis.landscape.tracks import vary as vary
    from tegum.analysis.linear.escape_order import escape_order as escape_order
    from tegum.analysis.linear.escapes import mode_strengths as mode_strengths
    from tegum.analysis.linear.escapes import predicted_escapes as predicted_escapes
    from tegum.analysis.linear.onset import superposition_onset as superposition_onset
    from tegum.analysis.linear.pca import LinearOptimum as LinearOptimum
    from tegum.analysis.linear.pca import angle_to_pca as angle_to_pca
    from tegum.analysis.linear.pca import linear_optimum as linear_optimum
    from tegum.analysis.linear.pca import pca_likeness as pca_likeness
    from tegum.analysis.linear.plateau_ranks import first_plateaus as first_plateaus
    from tegum.analysis.linear.subspaces import principal_angles as principal_angles
    from tegum.analysis.sets.collapse import collapsed_count as collapsed_count
    from tegum.analysis.sets.collapse import collapsed_sets as collapsed_sets
    from tegum.analysis.sets.collapse import interference_between as interference_between
    from tegum.analysis.sets.collapse import interference_within as interference_within
    from tegum.analysis.sets.local import captured_variance as captured_variance
    from tegum.analysis.sets.local import local_capture as local_capture
    from tegum.analysis.sets.local import local_moments as local_moments
    from tegum.analysis.sets.local import local_pca as local_pca
    from tegum.analysis.sets.local import readout_error as readout_error
    from tegum.core.features.activity import ExactlyK as ExactlyK
    from tegum.core.features.copula import Copula as Copula
    from tegum.core.features.distribution import FeatureDistribution as FeatureDistribution
    from tegum.core.features.empirical import Empirical as Empirical
    from tegum.core.features.hierarchy import Hierarchy as Hierarchy
    from tegum.core.features.magnitudes import ConstantMagnitude as ConstantMagnitude
    from tegum.core.features.magnitudes import HalfNormalMagnitude as HalfNormalMagnitude
    from tegum.core.features.magnitudes import Magnitude as Magnitude
    from tegum.core.features.magnitudes import UniformMagnitude as UniformMagnitude
    from tegum.core.features.sets import Anticorrelated as Anticorrelated
    from tegum.core.features.sets import Correlated as Correlated
    from tegum.core.features.sets import Equivariant as Equivariant
    from tegum.core.features.sets import FeatureSet as FeatureSet
    from tegum.core.features.sets import GatedSet as GatedSet
    from tegum.core.features.sets import Independent as Independent
    from tegum.core.features.sets import PartiallyCorrelated as PartiallyCorrelated
    from tegum.core.features.tables import MixtureTable as MixtureTable
    from tegum.core.loss.empirical import empirical_loss as empirical_loss
    from tegum.core.loss.population import population_gradient as population_gradient
    from tegum.core.loss.population import population_loss as population_loss
    from tegum.core.model import forward as forward
    from tegum.data.dictionaries import load_dictionary as load_dictionary
    from tegum.data.store import load as load
    from tegum.data.store import save as save
    from tegum.figures.films.motion import render as render
    from tegum.lab.view import view as view
    from tegum.sweeps.design import Between as Between
    from tegum.sweeps.kept import Kept as Kept
    from tegum.sweeps.sweep import open_sweep as open_sweep
    from tegum.sweeps.sweep import sweep as sweep
    from tegum.training.compare import best as best
    from tegum.training.compare import loss_error as loss_error
    from tegum.training.engine import Segment as Segment
    from tegum.training.engine import TrainingInterrupted as TrainingInterrupted
    from tegum.training.engine import iterate as iterate
    from tegum.training.engine import train as train
    from tegum.training.exact_losses import population_loss_along as population_loss_along
    from tegum.training.spec.changes import Change as Change
    from tegum.training.spec.changes import SetChange as SetChange
    from tegum.training.spec.grid import Grid as Grid
    from tegum.training.spec.grid import grid as grid
    from tegum.training.spec.methods import Exact as Exact
    from tegum.training.spec.methods import Flow as Flow
    from tegum.training.spec.methods import Sampled as Sampled
    from tegum.training.spec.methods import Training as Training
    from tegum.training.spec.snapshots import Snapshots as Snapshots
    from tegum.training.spec.spec import Spec as Spec
    from tegum.training.spec.spec import Start as Start
    from tegum.training.state import TrainingState as TrainingState

_MODULE_OF = {name: module for module, names in PUBLIC.items() for name in names.split()}

__all__ = sorted([*_MODULE_OF, *NAMESPACES])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("tegum")
    if name in NAMESPACES:
        return importlib.import_module(f"tegum.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tegum' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
