"""What a model keeps of a feature that occurs in different rotations: Fourier modes, polygons, or single orientations.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure, in_key
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY
from tegum.solutions.solution import Solution, density_of, lowest
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.equivariant.findings import Change, Map, State
    from tegum.training.spec.spec import Spec

WIDTHS = tuple(np.round(np.geomspace(0.15, 2.5, 17), 3).tolist())
"""Of one family's tuning, in radians."""

PAIR_WIDTHS = (0.3, 0.5, 0.6, 0.7, 1.0, 1.5)
"""Of two families."""

WIDE, MIDDLE, NARROW = 1.5, (0.4, 0.85), 0.25
"""From where on PCA, where polygons, and up to where uneven solutions are expected."""

PLANES, DENSE, SPARSE = (0.5, 0.7), 0.7, 0.03
"""Widths and density at which two families should have planes of their own, and a density at which they should not."""

HALF, AWAY, NEAR = 0.5, 0.2, 0.02
"""A part of the loss of the best linear model, a distance from equivariance, and a difference of shares of |W|²."""

MUCH = 1e-3
"""A part of the loss of the best linear model."""

PICTURES = (0.15, 0.25, 0.4, 0.7, 1.5)
"""Embeddings are shown at the widths nearest to these."""

ALONG = 0.6
"""The width at which changes of two families along density are looked for."""


@final
@dataclass(frozen=True, eq=False)
class Found:
    """Everything that was measured."""

    one: tuple[Map, ...]
    """One family, for each m."""
    two: tuple[Map, ...]
    """Two families, for each m."""
    changes: tuple[Change, ...]
    """Of one family along width, at the first density."""
    halves: tuple[Change, ...]
    """From where on the loss is half that of the best linear model."""
    family_changes: tuple[Change, ...]
    """Of two families along density."""
    null: tuple[State, ...]
    """Best solutions of independent features."""
    sampled: tuple[tuple[float, int, int, float], ...]
    """Width, how many of so many runs on mini-batches come to the best solution, and the share of exact starts."""


@final
class Equivariant(Experiment["Found"]):
    """The claim about features in different rotations."""

    claim: ClassVar[str] = (
        "A feature in many orientations is kept as its leading Fourier modes, as in PCA, where the tuning is wide, as "
        "a regular polygon of all orientations where it is narrower, and unevenly where it is narrowest; two such "
        "features take planes of their own only when dense."
    )

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """The lowest of fewer starts is often not the best; fresh ones have a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """The null for one family and for two, from the starts of the maps, and runs on mini-batches."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.experiments.equivariant.findings import rotating
        from tegum.training.spec.methods import Exact, Sampled
        from tegum.training.spec.spec import Spec

        hidden, seeds, densities = {
            "quick": ((2,), 16, (0.1, 1.0)),
            "default": ((2, 3, 4), 64, (0.1, 0.01, 1.0)),
            "full": ((2, 3, 4, 5), 256, (0.1, 0.01, 0.4, 1.0)),
        }[size]
        pair_hidden, pair_seeds, pair_densities = {
            "quick": ((4,), 4, (0.03, 0.7)),
            "default": ((2, 3, 4), 24, (0.03, 0.1, 0.3, 0.7, 1.0)),
            "full": ((2, 3, 4), 96, (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)),
        }[size]
        widths, runs, steps = {
            "quick": ((0.6, 1.5), 4, 1_000),
            "default": ((0.2, 0.6, 1.5), 16, 10_000),
            "full": ((0.2, 0.3, 0.6, 1.0, 1.5), 64, 10_000),
        }[size]

        def independent(count: int, density: float, m: int, starts: int) -> Spec:
            features = FeatureDistribution([Independent(count, density)])
            exact = Exact(gradient_tolerance=1e-6)
            return Spec(features=features, hidden=m, training=exact, snapshots=1, seeds=starts, base_seed=5)

        return {
            **{f"null-{m}": [independent(8, p, m, seeds) for p in densities] for m in hidden},
            **{f"null-two-{m}": [independent(12, p, m, pair_seeds) for p in pair_densities] for m in pair_hidden},
            "sampled": [
                Spec(
                    features=rotating(8, 0.1, width), hidden=2, training=Sampled(steps=steps), snapshots=1, seeds=runs,
                    base_seed=5,
                )
                for width in widths
            ],
        }  # fmt: skip

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Found]:
        """Best solutions, what they keep, and where that changes; `shown` is what was `Found`."""
        found = _found(runs)
        measures = _measures(found)
        return Findings(tuple(measures), _criteria(found), _caption(found), found)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Found]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """Embeddings along width, shares of |W|² in the Fourier modes, the loss, and two families over density."""
        from tegum.figures.equivariant import Family, Pair, Picture, equivariant

        found = findings.shown
        plane = found.one[0]
        chosen = [
            int(np.argmin(np.abs(np.log(np.array(plane.widths) / width)))) for width in (0.15, 0.25, 0.4, 0.7, 1.5)
        ]
        return equivariant(
            [Picture(plane.widths[k], plane.states[0][k].name, plane.best[0][k].weights) for k in chosen],
            [
                Family(
                    each.hidden,
                    np.array(each.widths),
                    np.array([state.power for state in each.states[0]]),
                    np.array([state.ratio for state in each.states[0]]),
                    [(change.there.value, change.name) for change in found.changes if change.hidden == each.hidden],
                )
                for each in found.one
            ],
            [
                Pair(each.hidden, each.widths, each.densities, [[one.name for one in row] for row in each.together])
                for each in found.two
            ],
            findings.caption,
        )


def _found(runs: Mapping[str, xr.Dataset]) -> Found:
    from tegum.experiments.equivariant.findings import changes, family_changes, half, mapped, sampled_ends, state_of

    one: list[Map] = []
    two: list[Map] = []
    null: list[State] = []
    changed, halves, along = [], [], []
    for name, run in runs.items():
        if not name.startswith("null"):
            continue
        specs = specs_of(run)
        first, densities = specs[0], [density_of(spec) for spec in specs]
        families = 2 if name.startswith("null-two") else 1
        size, count = first.features.n // families, first.seeds
        widths = PAIR_WIDTHS if families == 2 else WIDTHS
        found = mapped(size, first.hidden, densities, widths, first.base_seed, count, families)
        null += [state_of(best, spec.features) for best, spec in zip(lowest(run, densities), specs, strict=True)]
        if families == 1:
            one.append(found)
            changed += changes(found, count)
            halves += [each for each in [half(found, count)] if each is not None]
        else:
            two.append(found)
            along += family_changes(found, ALONG, count)
    sampled = sampled_ends(runs["sampled"], one[0])
    return Found(tuple(one), tuple(two), tuple(changed), tuple(halves), tuple(along), tuple(null), tuple(sampled))


def _measures(found: Found) -> list[Measure]:
    from tegum.experiments.reporting import share

    plane, starts = found.one[0], found.one[0].best[0][0].starts
    middle = [state for row in plane.states for state, w in zip(row, plane.widths, strict=True) if _middle(w)]
    measures = [
        Measure(
            "widths", "widths", len(plane.widths), "width", n=starts, meaning=f"with {starts} starts each, for every m"
        ),
        Measure(
            "largest_error_of_loss",
            "largest error of a loss",
            _missed(found),
            "1",
            n=1,
            meaning="of best solutions, relative to E|x|²",
        ),
        Measure(
            "polygons.least_share_of_one_mode",
            "share of one mode in polygons",
            min(float(state.power.max()) for state in middle),
            "1",
            n=len(middle),
            null=2 / (plane.size - 1),
            meaning=f"the least at widths {MIDDLE[0]:g} to {MIDDLE[1]:g}, m = 2; null: a random order of orientations",
        ),
        Measure(
            "null.largest_share_of_one_mode",
            "largest share of one mode without rotation",
            max(float(state.power.max()) for state in found.null),
            "1",
            n=len(found.null),
            meaning="in best solutions of independent features",
        ),
        Measure(
            "null.least_distance_from_equivariance",
            "least distance from equivariance without rotation",
            min(state.defect for state in found.null),
            "1",
            n=len(found.null),
            meaning="in best solutions of independent features",
        ),
    ]
    measures += [
        _change(key, f"m = {each.hidden}: {each.name}", each, "rad", starts)
        for key, each in zip(_keys(found.changes), found.changes, strict=True)
    ]
    measures += [
        _change(f"m{each.hidden}.half_linear_loss", f"m = {each.hidden}: half the linear loss", each, "rad", starts)
        for each in found.halves
    ]
    for each in found.one:
        for width in (WIDTHS[0], *(w for w in WIDTHS if _middle(w)), WIDTHS[-1]):
            state = each.states[0][each.widths.index(width)]
            kept = [f"{r}: {part:.2f}" for r, part in enumerate(state.power.tolist()) if part >= NEAR / 2]
            told = f"{state.name}, {state.kept} of {each.size} rotations kept; |W|² by mode {', '.join(kept)}"
            key = f"m{each.hidden}.width_{in_key(width)}.relative_loss"
            name = f"m = {each.hidden}: relative loss at width {width:g}"
            measures.append(Measure(key, name, state.ratio, "1", n=starts, meaning=told))
        if (spread := _spread(each)) is not None:
            meaning = "of loss over density, between densities, where no bias of the best solution is above 0"
            key = f"m{each.hidden}.largest_spread"
            measures.append(Measure(key, f"m = {each.hidden}: largest spread", spread, "1", n=starts, meaning=meaning))
    for each in found.two:
        for density, row in zip(each.densities, each.together, strict=True):
            names = [state.name for state in row]
            told = ", ".join(f"{width:g} {name}" for width, name in zip(each.widths, names, strict=True))
            key = f"two_families.m{each.hidden}.density_{in_key(density)}.own_dimensions"
            name = f"two families, m = {each.hidden}: own dimensions at density {density:g}"
            count = names.count("own dimensions")
            measures.append(
                Measure(key, name, count, "width", n=each.best[0][0].starts, meaning=f"of {len(names)}; {told}")
            )
    measures += [
        _change(
            f"two_families.{key}",
            f"two families, m = {each.hidden}: {each.name}",
            each,
            "density",
            found.two[0].best[0][0].starts,
        )
        for key, each in zip(_keys(found.family_changes), found.family_changes, strict=True)
    ]
    measures += [
        share(
            f"width_{in_key(width)}.mini_batches_find_best",
            f"mini-batches find the best at {width:g}",
            hits,
            total,
            "null: exact starts",
            null=exact,
        )
        for width, hits, total, exact in found.sampled
    ]
    return measures


def _middle(width: float) -> bool:
    return MIDDLE[0] <= width <= MIDDLE[1]


def _keys(changes: Sequence[Change]) -> list[str]:
    """Of changes: "m2.uneven_to_regular"; with a number if the same change came before."""
    names = [f"m{each.hidden}.{each.before}_to_{each.after}".lower().replace(" ", "_") for each in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"{name}_{k}" if k > 1 else name for name, k in zip(names, times, strict=True)]


def _change(key: str, name: str, change: Change, unit: str, starts: int) -> Measure:
    there = change.there
    told = f"{'at once' if change.jump else 'gradual'}{'' if there.confirmed else ', not confirmed'}"
    return Measure(
        key, f"{name} at {there.value:.3g}",
        there.value, unit, there.value - there.error, there.value + there.error, starts, meaning=told,
    )  # fmt: skip


def _missed(found: Found) -> float:
    """By how much more nodes change the loss of the best solutions, at most, over that of nothing represented."""
    from tegum.experiments.equivariant.findings import rotating
    from tegum.experiments.equivariant.rotated_descent import FINE, exact_loss

    missed = 0.0
    for each, families in [*((each, 1) for each in found.one), *((each, 2) for each in found.two)]:
        for density, row in zip(each.densities, each.best, strict=True):
            # Two families take a second each: the middle of the row stands for it.
            for best in row if families == 1 else row[len(row) // 2 :][:1]:
                features = rotating(each.size, density, best.value, families)
                whole = float(np.trace(features.second_moment()))
                missed = max(missed, abs(exact_loss(best, features, FINE) - best.loss) / whole)
    return missed


def _spread(each: Map) -> float | None:
    """How much loss over density differs between densities, relative, where no bias is above 0."""
    if len(each.densities) < 2:
        return None
    columns: list[list[Solution]] = [list(column) for column in zip(*each.best, strict=True)]
    spreads = []
    for column, state in zip(columns, each.states[0], strict=True):
        # Where nearly nothing is left, differences are those of descents that have not ended.
        if state.ratio < MUCH:
            continue
        losses = [best.loss / p for best, p in zip(column, each.densities, strict=True) if best.bias.max() <= 0]
        if len(losses) == len(each.densities):
            spreads.append(max(losses) / min(losses) - 1)
    return max(spreads) if spreads else None


def _criteria(found: Found) -> tuple[Criterion, ...]:
    from tegum.experiments.equivariant.findings import leading_modes

    plane = next(each for each in found.one if each.hidden == 2)
    wide = [
        state.name == "PCA" and np.abs(state.power - leading_modes(each.size, p, width, each.hidden)).max() <= NEAR
        for each in found.one
        for p, row in zip(each.densities, each.states, strict=True)
        for width, state in zip(each.widths, row, strict=True)
        if width >= WIDE
    ]
    flat = [(width, state) for row in plane.states for width, state in zip(plane.widths, row, strict=True)]
    middle = [state.polygon and state.ratio <= HALF for width, state in flat if _middle(width)]
    narrow = [state.name == "uneven" and state.defect > AWAY for width, state in flat if width <= NARROW]
    four = next(each for each in found.two if each.hidden == 4)
    planes = {
        density: [state for width, state in zip(four.widths, row, strict=True) if PLANES[0] <= width <= PLANES[1]]
        for density, row in zip(four.densities, four.together, strict=True)
    }
    own = all(state.polygons for state in planes[DENSE])
    none = all(state.name != "own dimensions" for state in planes[SPARSE])
    return (
        Criterion(
            "pca_when_wide",
            f"From width {WIDE:g} on the best solution is PCA, of the leading Fourier modes.",
            all(wide),
        ),
        Criterion(
            "polygons_when_narrower",
            f"At m = 2 and widths {MIDDLE[0]:g} to {MIDDLE[1]:g} it is a regular polygon of all orientations.",
            all(middle),
        ),
        Criterion("uneven_when_narrowest", f"At m = 2 and widths up to {NARROW:g} it is uneven.", all(narrow)),
        Criterion(
            "no_polygons_without_rotation",
            "Without rotation no best solution is a regular polygon.",
            not any(s.polygon for s in found.null),
        ),
        Criterion(
            "two_families_in_own_planes_only_when_dense",
            f"Two families at m = 4 are polygons in planes of their own at density {DENSE:g}, and not at {SPARSE:g}.",
            own and none,
        ),
    )


def _caption(found: Found) -> str:
    told = [
        f"m = {each.hidden}: {each.name} at {each.there.value:.3f} ({'at once' if each.jump else 'gradual'})"
        for each in found.changes
    ]
    first = found.one[0]
    return (
        f"One family of {first.size} orientations, density {first.densities[0]:g}, best of "
        f"{first.best[0][0].starts} starts. Top: embeddings for m = 2, coloured by orientation and joined in their "
        "order. Below, for each m: shares of |W|² in the Fourier modes (stacked), and loss over that of the best "
        f"linear model (line); {'; '.join(told)}. Bottom: two families of {found.two[0].size} orientations each, over "
        "width and density: who has which of the m hidden dimensions."
    )
