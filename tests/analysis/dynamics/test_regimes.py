"""Regimes of a loss and parts of a motion, on courses that were made with known answers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tegum as tg
from tegum.analysis.dynamics.motions import ORDER, Parts, motions, moved, shares
from tegum.analysis.dynamics.regimes import find_regimes, motion_shares

SETS = tg.FeatureDistribution([tg.Correlated(3, density=0.1)] * 2)
STEPS = np.unique(np.geomspace(1, 10_000, 300).astype(int))
ANGLES = 2 * np.pi * np.arange(3) / 3
TRIANGLE = np.stack([np.cos(ANGLES), np.sin(ANGLES), np.zeros(3)], 1)


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """The rotation about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def two(height=0.6, width=0.8, twist=0.3, tilt=0.0, growth=(1.0, 1.0), stretch=1.0):
    """Two triangles that stand opposite, one of them twisted against the other."""
    up, flat = np.array([0, 0, 1.0]), TRIANGLE * [stretch, 1, 1] * width
    turn = about(np.array([1.0, 0.2, 0]), tilt)
    upper = flat @ about(up, twist).T + growth[0] * height * up
    lower = (flat - growth[1] * height * up) @ turn.T
    return np.concatenate([upper, lower])


def part(*weights, **options):
    """Shares in the motion through these snapshots, by name."""
    found = motions(np.stack(weights), SETS, **options)
    total = np.where(np.isnan(found.squares).all(0), np.nan, np.nansum(found.squares, 0))
    return dict(zip(found.names, shares(total), strict=True))


def turned(rng):
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def test_pure_motions_have_their_name():
    base, little = two(), 1e-3
    assert part(base, two(growth=(1 + little, 1 + 3 * little)))["inflation"] == pytest.approx(1, abs=1e-5)
    assert part(base, two(twist=0.3 + little))["twist"] == pytest.approx(1, abs=1e-5)
    assert part(base, two(width=0.8 + little))["opening"] == pytest.approx(1, abs=1e-5)
    # One axis of a triangle that is wider along it already.
    assert part(two(stretch=1.3), two(stretch=1.3 + little))["opening"] == pytest.approx(1, abs=1e-3)


def test_centroids_that_change_their_angle_separate():
    collapsed = np.array([[1.0, 0, 0]] * 3 + [[0, 1.0, 0]] * 3) + 1e-4 * np.random.default_rng(0).normal(size=(6, 3))
    later = collapsed.copy()
    later[3:] = later[3:] @ about(np.array([0, 0, 1.0]), 1e-3).T
    assert part(collapsed, later)["separation"] == pytest.approx(1, abs=1e-5)
    # A set that turns away as a whole, or half a turn of each against the other: centroids have the moment 3 · height²,
    # triangles 3/2 · width².
    found = part(two(), two(tilt=1e-3))
    assert found["separation"] == pytest.approx(1.08 / (1.08 + 0.96), abs=1e-4)
    assert found["turn"] == pytest.approx(0.96 / (1.08 + 0.96), abs=1e-4)


@pytest.mark.parametrize("base", [two(), two(stretch=1.2), two(tilt=0.2), two(tilt=1.0)])
def test_a_common_tilt_at_fixed_centroids_has_no_separation(base):
    centroids = np.repeat([base[:3].mean(0), base[3:].mean(0)], 3, 0)
    rotation = about(np.array([1.0, 0.3, 0]), 1e-4).T
    # The same motion, but for a rotation of all, is that of the centroids as one, at fixed deviations.
    for later in (centroids + (base - centroids) @ rotation, centroids @ rotation + base - centroids):
        found = part(base, later)
        assert found["separation"] == pytest.approx(0, abs=1e-6)
        assert found["turn"] == pytest.approx(1, abs=1e-6)
        # Where turn is not asked for it is rest, and no separation either.
        assert part(base, later, order=("separation",))["rest"] == pytest.approx(1, abs=1e-6)


def test_shares_of_a_mixture_are_those_of_its_parts():
    # Inflation and opening are orthogonal, and to rotations: lengths 2 · 3 · a² and 2 · 3 · b².
    a, b = 2e-4, 3e-4
    found = part(two(), two(height=0.6 + a, width=0.8 + b))
    assert found["inflation"] == pytest.approx(a**2 / (a**2 + b**2), rel=1e-3)
    assert found["opening"] == pytest.approx(b**2 / (a**2 + b**2), rel=1e-3)
    assert found["rest"] == pytest.approx(0, abs=1e-9)


def test_a_rotation_of_hidden_space_is_no_motion():
    base = two()
    turn = base @ about(np.array([1.0, 2, 3]), 0.4)
    np.testing.assert_allclose(moved(np.stack([base, turn])), 0, atol=1e-12)
    found = motions(np.stack([base, turn]), SETS)
    assert np.nansum(found.squares) < 1e-24
    # Nothing but rotation moves, and what is left of it is rounding; nothing at all has no shares.
    assert np.isnan(shares(motions(np.stack([base, base]), SETS).squares)).all()


def test_scaling_and_stretch_of_the_whole_are_told_alone():
    base = two()
    for order in (("scaling",), ("stretch",), ("scaling", "inflation")):
        assert part(base, base * 1.001, order=order)[order[0]] == pytest.approx(1, abs=1e-6)
    stretched = base * [1.0, 1.0, 1.001]
    assert part(base, stretched, order=("stretch",))["stretch"] == pytest.approx(1, abs=1e-6)
    assert part(base, stretched, order=("scaling",))["scaling"] < 0.6
    # By its parts: the axis through both centroids is that of inflation.
    assert part(base, stretched)["inflation"] == pytest.approx(1, abs=1e-6)


def test_a_twist_is_undefined_where_planes_are_not_parallel():
    assert np.isnan(part(two(tilt=0.6), two(tilt=0.6, twist=0.301))["twist"])
    found = part(two(tilt=0.6), two(tilt=0.6, twist=0.301))
    assert found["turn"] + found["separation"] == pytest.approx(1, abs=1e-4)
    assert np.isfinite(part(two(tilt=0.2), two(tilt=0.2, twist=0.301))["twist"])
    # A fan has no plane.
    fan = two()
    fan[:3] = [[0.1, 0, 1], [0, 0, 1], [-0.1, 0, 1]]
    assert np.isnan(part(fan, fan + 1e-4 * np.random.default_rng(1).normal(size=fan.shape))["twist"])


def test_random_directions_have_shares_by_dimension():
    rng = np.random.default_rng(3)
    base = two(stretch=1.2) + 0.01 * rng.normal(size=(6, 3))
    steps = base + 1e-5 * rng.normal(size=(2_000, 6, 3))
    found = motions(np.stack([np.broadcast_to(base, steps.shape), steps], 1), SETS)
    dimensions = found.dimensions[0, 0]
    # 18 numbers, less three rotations. Centroids have one angle; turns: six of two sets, less the twist.
    np.testing.assert_array_equal(dimensions, [2, 1, 4, 1, 5, 2])
    np.testing.assert_allclose(found.share()[:, 0].mean(0), dimensions / 15, atol=0.02)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_shares_know_neither_gauge_nor_order(seed):
    rng = np.random.default_rng(seed)
    course = rng.normal(size=(4, 6, 3)).cumsum(0)
    # A twist is defined only for parallel planes.
    course[:] += two() * 5
    before = motions(course, SETS)
    spun = np.stack([each @ turned(rng) for each in course])
    order = np.concatenate([rng.permutation(3), 3 + rng.permutation(3)])
    for other in (spun, course[:, order], course[:, [3, 4, 5, 0, 1, 2]]):
        after = motions(other, SETS)
        np.testing.assert_allclose(after.squares, before.squares, atol=1e-7 * np.nansum(before.squares))
    np.testing.assert_allclose(np.nansum(before.share(), -1), 1, rtol=1e-9)


def test_the_parts_are_an_orthogonal_decomposition_by_least_squares():
    rng = np.random.default_rng(5)
    base, step = two(stretch=1.3, tilt=0.5), 1e-6 * rng.normal(size=(6, 3))
    found = motions(np.stack([base, base + step]), SETS)
    # Independently: the part of centroid growth is a projection on two vectors, rotations removed from both.
    spins = np.stack([(base @ (np.eye(3)[:, [a]] @ np.eye(3)[[b]] - np.eye(3)[:, [b]] @ np.eye(3)[[a]])).ravel()
                      for a, b in ((0, 1), (0, 2), (1, 2))], 1)  # fmt: skip

    def free(vectors):
        return vectors - spins @ np.linalg.lstsq(spins, vectors, rcond=None)[0]

    growth = np.zeros((18, 2))
    for number in range(2):
        centroid = base[3 * number : 3 * number + 3].mean(0)
        rows = np.zeros((6, 3))
        rows[3 * number : 3 * number + 3] = centroid
        growth[:, number] = rows.ravel()
    growth, motion = free(growth), free(step.ravel()[:, None])
    fitted = growth @ np.linalg.lstsq(growth, motion, rcond=None)[0]
    assert found.squares[0, 0] == pytest.approx(float((fitted**2).sum()), rel=1e-4)
    assert np.nansum(found.squares) == pytest.approx(float((motion**2).sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "m", "dimensions"),
    [
        # Three centroids have three angles; the one set with deviations turns in three ways and opens in two.
        ((1, 1, 3), 3, [3, 3, 2, 0, 3, 1]),
        # On a line there is no direction; lengths of six features: two means, and two widths.
        ((3, 3), 1, [2, 0, 2, 0, 0, 2]),
        ((1,), 1, [1, 0, 0, 0, 0, 0]),
        # Two lengths and the angle between them.
        ((1, 1), 2, [2, 1, 0, 0, 0, 0]),
    ],
)
def test_sets_of_one_member_and_one_dimension_move_too(sizes, m, dimensions):
    features = tg.FeatureDistribution([tg.Correlated(size, density=0.1) for size in sizes])
    found = motions(np.random.default_rng(0).normal(size=(2, 4, sum(sizes), m)), features)
    np.testing.assert_array_equal(found.dimensions, np.broadcast_to(dimensions, (2, 3, 6)))
    np.testing.assert_allclose(np.nansum(found.share(), -1), 1)


def test_no_runs_have_no_motions():
    assert motions(np.zeros((0, 4, 6, 3)), SETS).squares.shape == (0, 3, 6)
    assert motions(np.zeros((0, 4, 6, 3)), SETS).dimensions.shape == (0, 3, 6)


def test_what_has_diverged_is_nan():
    course = np.stack([two(), two(twist=0.31), np.full((6, 3), np.nan), two()])
    found = motions(course, SETS)
    assert np.isfinite(found.squares[0]).all()
    assert np.isnan(found.squares[1:]).all()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"order": ("growth",)}, "each must be one of"),
        ({"order": ("twist", "twist")}, "once"),
        ({"parallel": 2.0}, "angle"),
    ],
)
def test_motions_refuse(options, rule):
    with pytest.raises(ValueError, match=rule):
        motions(np.stack([two(), two()]), SETS, **options)
    with pytest.raises(ValueError, match="two snapshots"):
        motions(two()[None], SETS)


def loss_of(*falls: tuple[float, float, float]) -> np.ndarray:
    """A loss whose logarithm falls at given steps by given amounts, each over a given width of ln step."""
    height = np.zeros(len(STEPS))
    for at, amount, width in falls:
        height -= amount / (1 + np.exp(-(np.log(STEPS) - np.log(at)) / width))
    return np.exp(height)


def test_plateaus_and_falls_follow_one_another():
    found = find_regimes(loss_of((30, 2.0, 0.1), (1_000, 1.0, 0.1)), STEPS)
    assert [each.kind for each in found] == ["plateau", "fall", "plateau", "fall", "plateau"]
    assert (found[0].start, found[-1].end) == (1, 10_000)
    assert all(one.last == other.first for one, other in pairwise(found))
    assert found[1].start < 30 < found[1].end < found[3].start < 1_000 < found[3].end
    assert found[2].before == pytest.approx(np.exp(-2), rel=0.05)


def test_a_fall_with_a_dip_is_two_and_one_without_is_not():
    # Twenty times as far apart as they are wide, yet never slow enough for a plateau.
    slope = STEPS**-0.2
    found = find_regimes(slope * loss_of((30, 2.0, 0.1), (300, 2.0, 0.1)), STEPS)
    assert [each.kind for each in found] == ["fall", "fall"]
    assert 40 < found[0].end < 250
    assert [each.kind for each in find_regimes(slope * loss_of((100, 2.0, 0.6)), STEPS)] == ["fall"]


def test_nothing_is_found_where_nothing_happens():
    rng = np.random.default_rng(0)
    for loss in (np.ones(len(STEPS)), np.exp(0.005 * rng.normal(size=len(STEPS)))):
        found = find_regimes(loss, STEPS)
        assert [each.kind for each in found] == ["plateau"]
        assert (found[0].start, found[0].end) == (1, 10_000)
    assert find_regimes(np.full(len(STEPS), np.nan), STEPS) == []
    assert find_regimes(np.ones(1), np.array([5])) == []


def test_shares_of_a_regime_are_those_of_its_own_time():
    steps = np.array([1, 10, 100, 1000])
    course = np.stack([two(height=0.3), two(height=0.6), two(height=0.6, width=0.9), two(height=0.6, width=1.0)])
    loss = np.array([1.0, 0.1, 0.01, 0.001])
    (regime,) = find_regimes(loss, steps)
    parts = motions(course, SETS)
    found = motion_shares(parts, steps, regime.first, regime.last)
    # 3 · 0.3² for each set against twice 3 · 0.1².
    assert found["inflation"] == pytest.approx(0.09 / 0.11, rel=1e-6)
    assert sum(found[name] for name in (*ORDER, "rest") if np.isfinite(found[name])) == pytest.approx(1)
    still = Parts(parts.names, np.zeros_like(parts.squares), parts.dimensions)
    assert all(np.isnan(value) for value in motion_shares(still, steps, 0, 3).values())
    with pytest.raises(ValueError, match="first must come before last"):
        motion_shares(parts, steps, 2, 2)
