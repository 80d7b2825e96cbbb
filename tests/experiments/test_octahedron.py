import json

import numpy as np
import pytest
from result_files import beside_runs
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from triangles import triangles

import tegum as tg
from tegum import experiments
from tegum.analysis.dynamics.regimes import Regime
from tegum.analysis.dynamics.stages import MotionStage
from tegum.experiments.octahedron import routes as along
from tegum.experiments.octahedron.findings import associations, kinds_of
from tegum.experiments.octahedron.stage_order import by_place, in_order
from tegum.experiments.reporting import by_key
from tegum.experiments.varied import ANY

EXPERIMENT = experiments.get("octahedron")
SETS = tg.FeatureDistribution([tg.Correlated(3, density=0.05)] * 2)


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


@pytest.fixture(scope="module")
def measured(quick):
    return by_key(quick[0].measures)


def bent():
    """Two nearly collapsed sets at a right angle."""
    sets = np.eye(3)[[0, 0, 0, 1, 1, 1]] + 0.02 * np.arange(6)[:, None] * np.eye(3)[2]
    return sets / np.linalg.norm(sets, axis=1, keepdims=True)


def early():
    """Features 0 and 3 are antipodal while the others of their sets are collapsed still."""
    sets = bent()
    sets[0], sets[3] = [0, 0, 1], [0, 0, -1]
    return sets


OCTAHEDRON = triangles(3**-0.5, np.pi)


def test_it_writes_its_files_and_holds_in_part(quick, measured):
    summary, out, _ = quick
    stores = {f"{name}.zarr" for name in ("run", "dense", "turned", "continued", "dense-continued", "twins")}
    files = {*stores, *beside_runs(EXPERIMENT)}
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    passed = {criterion.key: criterion.passed for criterion in summary.criteria}
    third = passed.pop("one_transformation")
    assert passed == {
        "ends_as_octahedra": True,
        "regimes_in_order": True,
        "twist_is_fall": False,
        "several_routes": True,
    }
    # The third lies so near to its bound that rounding may decide it; at the default size it does not pass.
    edges = [measured[f"ruler_share_over_time_over_{null}"].low for null in ("any_order", "random_places")]
    assert third == (min(edges) > 0)


def test_where_all_runs_diverge_nothing_is_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(type(EXPERIMENT), "varies", {"training.rate": ANY})
    summary = EXPERIMENT.run(tmp_path / "new", size="quick", changes=["training.rate=1000"])
    assert summary.verdict == "not tested"
    assert summary.criteria == ()


def test_ends_are_what_their_weights_say(quick, measured):
    _, out, found = quick
    end = tg.load(out / "run.zarr").isel(step=-1)
    W = end.weights.transpose("spec", "seed", ...).values.reshape(-1, 6, 3).astype(float)
    cosines = W @ W.swapaxes(1, 2)
    cosines /= np.sqrt(np.einsum("rii,rjj->rij", cosines, cosines))
    between, partners = cosines[:, :3, 3:], cosines[:, :3, 3:].argmin(2)
    octahedra = (np.sort(between, 2)[:, :, 0] < -0.9).all(1) & (np.sort(partners) == np.arange(3)).all(1)
    octahedra &= (np.abs(cosines[:, [0, 0, 1, 3, 3, 4], [1, 2, 2, 4, 5, 5]]) < 0.1).all(1)
    said = np.array([name == "octahedron" for name in found.ends])
    assert said.sum() > 150
    # The name asks for a little more: every cosine within 0.1.
    assert (octahedra | ~said).all()
    assert (octahedra & ~said).sum() <= 0.2 * said.sum()
    assert measured["grid.octahedra"].value == pytest.approx(said.mean())
    # The closed form of the octahedron's loss is p².
    assert measured["loss_of_octahedra"].value == pytest.approx(1, abs=0.02)
    for p in (0.02, 0.1):
        features = tg.FeatureDistribution([tg.Correlated(3, density=p)] * 2)
        assert tg.population_loss(OCTAHEDRON, np.zeros(6), features, tol=1e-10) == pytest.approx(p**2, rel=1e-6)


def test_inflation_comes_before_opening_and_from_xavier_it_does_not(quick, measured):
    assert measured["small.regimes_in_order"].value > 0.95
    assert measured["xavier.regimes_in_order"].high < 0.5
    for place, name in (("first_fall", "inflation"), ("opening_fall", "opening")):
        one = measured[f"{place}.{name}"]
        assert one.low > 0.8
        assert one.null < 0.3
    # The first regime grows from the origin, whose loss is that of six variances, to collapsed sets: p/3 if not bent.
    run = quick[2].stages[4 * 20]
    assert run[0].regime.before == pytest.approx(6 * (0.05 / 3 - 0.05**2 / 4), rel=0.05)


def test_boundaries_of_regimes_are_hardly_better_than_the_same_regimes_in_any_order(measured):
    # At random places regimes have other lengths, which alone makes their rulers weaker over time.
    order, places = (measured[f"ruler_share_over_time_over_{null}"] for null in ("any_order", "random_places"))
    assert places.low > 0
    assert abs(order.value) < 0.02
    assert order.high < places.low
    # What moves changes where a fall ends, not where it begins.
    assert measured["ruler_changes_at_end_of_fall"].low > measured["ruler_changes_at_start_of_fall"].high


def test_saddles_are_where_they_must_be(quick, measured):
    _, _, found = quick
    # The kind depends on what the few runs are; all begin at the same saddle and end at the same minimum.
    ((_, _, passed),) = found.saddles
    assert passed[0].point.index == 18  # of 18 weights; biases are at their best
    assert passed[0].point.loss == pytest.approx(6 * (0.05 / 3 - 0.05**2 / 4), rel=1e-5)
    near = [each for each in passed if each.near]
    assert len(near) >= 3
    assert all(each.point.unstable for each in near[:-1])
    # Two collapsed sets without interference leave p/6 each, and somewhat more where they stand opposite.
    assert 0.999 * 0.05 / 3 < near[1].point.loss < 1.3 * 0.05 / 3
    assert near[-1].point.loss == pytest.approx(0.05**2, rel=0.01)
    # In order of their steps, and with a null: from where the loss falls fastest no saddle is found so near.
    assert [each.start for each in passed] == sorted(each.start for each in passed)
    slow = measured["slow_places_near_saddle"]
    fast = [each.fast_is_saddle for each in passed if each.fast_is_saddle is not None]
    assert fast
    assert slow.null == np.mean(fast) < slow.value
    assert slow.value == np.mean([each.near and each.point.unstable for each in passed])


def test_the_sign_of_the_centroids_goes_with_how_they_stand_and_nothing_else_with_the_route(quick, measured):
    _, _, found = quick
    strongest = found.predictors["opposite sets (initial weights)"][0]
    assert strongest.feature in ("coordinates of opposite sign", "cosine of centroids")
    assert strongest.strength > strongest.limit
    assert measured["start_0_01.centroids_along_diagonals"].low > 0.95
    # Adam knows the axes of hidden space: permuting them changes nothing, and a rotation does.
    rotated, flipped = (measured[f"{start}.routes_kept"].value for start in ("rotated", "axes_permuted_and_flipped"))
    assert flipped > 0.8 > rotated


def test_rotations_are_orthogonal_and_uniform():
    free, flips = along.rotations(4_000, np.random.default_rng(0))
    for each in (free, flips):
        np.testing.assert_allclose(each @ each.swapaxes(1, 2), np.broadcast_to(np.eye(3), each.shape), atol=1e-12)
    # Entries of a uniform rotation have mean 0 and variance 1/3; those of a signed permutation are 0, 1 or −1.
    np.testing.assert_allclose(free.mean(0), 0, atol=0.04)
    np.testing.assert_allclose((free**2).mean(0), 1 / 3, atol=0.03)
    assert set(np.unique(flips)) == {-1.0, 0.0, 1.0}


def test_antipodal_pairs_are_no_collapsed_sets():
    def pairs(weights):
        return int(along.course(weights[None, None], SETS).pairs[0, 0])

    assert pairs(OCTAHEDRON) == 3
    assert pairs(triangles(0.99, 0.3)) == 0  # collapsed and opposite: every cosine is near −1
    assert pairs(triangles(3**-0.5, 0.0)) == 0  # the prism
    assert pairs(bent()) == 0
    assert pairs(early()) == 1
    spoilt = OCTAHEDRON.copy()
    spoilt[0] *= 0.3
    assert pairs(spoilt) == 0
    assert along.ending(spoilt, SETS).startswith("dropped")
    assert along.ending(OCTAHEDRON, SETS) == "octahedron"
    # An octahedron whose pairs stand within the sets, as far as they can.
    assert along.ending(OCTAHEDRON[[0, 3, 1, 4, 2, 5]], SETS).startswith("other")
    assert along.ending(triangles(3**-0.5, 0.5), SETS).startswith("still turning")


def test_routes_of_made_up_courses():
    opposite = [triangles(0.99, 0.2), triangles(0.8, 0.2), triangles(0.58, 0.2), triangles(0.58, 0.9), OCTAHEDRON]
    first = [bent(), early(), early(), OCTAHEDRON, OCTAHEDRON]
    still = [bent()] * 5
    course = along.course(np.array([opposite, first, still]), SETS)
    assert course.routes() == ["straight", "pairs first", "other"]
    assert course.configurations() == ["opposite", "bent", "bent"]
    assert course.whole.tolist() == [3, 3, 5]
    kinds = kinds_of(tuple(course.configurations()), tuple(course.routes()))
    assert kinds == [
        "opposite",
        "bent, pairs first",
        "other",
    ]


def test_a_figure_needs_no_run_and_its_pose_no_gauge():
    from tegum.figures.experiments import octahedron

    first, second = octahedron.octahedron([], None, [], {})
    assert [text.get_text() for text in first.texts] == ["no run from a small start to draw"]
    assert [text.get_text() for text in second.axes[0].texts] == ["no runs from small starts"]
    rng = np.random.default_rng(0)
    course = np.stack([triangles(0.9, 0.2), triangles(0.6, 0.6), OCTAHEDRON]) + 0.01 * rng.normal(size=(3, 6, 3))
    spun = np.stack([each @ np.linalg.qr(rng.normal(size=(3, 3)))[0] for each in course])
    np.testing.assert_allclose(octahedron.posed(spun), octahedron.posed(course), atol=1e-6)


def test_lasting_is_for_good():
    mask = np.array([[0, 1, 0, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool)
    assert along.lasting(mask).tolist() == [3, 0, 5]


def test_agreement_and_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    one, other = rng.integers(3, size=60), rng.integers(4, size=60)
    assert along.adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one, other))
    assert along.adjusted_rand(one, one + 5) == 1
    values, hits = rng.integers(8, size=60).astype(float), rng.random(60) < 0.4
    assert along.area_under_curve(values, hits) == pytest.approx(roc_auc_score(hits, values))
    assert np.isnan(along.area_under_curve(values, np.zeros(60, bool)))
    # The error is that of the spread over many samples.
    many = [(rng.normal(size=80), rng.random(80)) for _ in range(400)]
    areas = [float(along.area_under_curve(x, x + 2 * y > 1)) for x, y in many]
    errors = [along.area_error(x, x + 2 * y > 1) for x, y in many]
    assert np.std(areas) == pytest.approx(np.mean(errors), rel=0.15)


def test_what_goes_with_the_cell_alone_goes_with_no_route():
    rng = np.random.default_rng(0)
    cell = np.repeat([0, 1, 2], 100)
    # Cells differ in the outcome and in the feature, which have nothing to do with one another within them.
    hits, values = rng.random(300) < np.array([0.1, 0.5, 0.9])[cell], cell + 0.1 * rng.normal(size=300)
    (one,) = associations({"of the cell": values}, hits, cell)
    assert along.area_under_curve(values, hits) > 0.75
    assert one.low < 0.5 < one.high
    assert one.strength < one.limit
    (one,) = associations({"of the run": values + 0.2 * hits}, hits, cell)
    assert one.strength > max(one.limit, 0.3)
    # By brute force: of all pairs within cells.
    pairs = [(i, j) for i in np.flatnonzero(hits) for j in np.flatnonzero(~hits) if cell[i] == cell[j]]
    above = np.mean([values[i] > values[j] for i, j in pairs])
    assert along.area_within(values, hits, cell) == pytest.approx(above)
    # Error: that of the spread over many samples; labels stay in their cells.
    many = [(rng.normal(size=300), rng.random(300) < 0.4) for _ in range(200)]
    areas = [float(along.area_within(x, h, cell)) for x, h in many]
    assert np.std(areas) == pytest.approx(np.mean([along.error_within(x, h, cell) for x, h in many]), rel=0.2)
    permuted = along.permuted_within(hits, cell, 50, rng)
    assert (permuted.reshape(50, 3, 100).sum(2) == hits.reshape(3, 100).sum(1)).all()
    assert not (permuted == hits).all(1).any()
    # A cell in which fewer than two have the outcome tells nothing.
    assert along.mixed(np.array([1, 1, 0, 0, 1, 0, 0], bool), np.array([0, 0, 0, 0, 1, 1, 1])).sum() == 4


def stage(kind, dominant, first=0):
    shares: dict[str, float] = dict.fromkeys(("inflation", "opening", "twist"), 0.1)
    shares[dominant] = 0.8
    return MotionStage(Regime(kind, first, first + 1, 10**first, 10 ** (first + 1), 1.0, 0.5), shares)


def test_order_of_regimes():
    good = (stage("fall", "inflation"), stage("plateau", "opening", 1), stage("fall", "opening", 2))
    assert in_order(good)
    assert not in_order((*good, stage("fall", "inflation", 3)))
    assert not in_order(good[::-1])
    assert not in_order(())


def test_places_in_the_order_of_stages():
    kinds = ("plateau", "fall", "plateau", "fall", "plateau", "fall", "plateau", "fall", "plateau")
    motions = ("twist", "inflation", "twist", "twist", "twist", "opening", "twist", "twist", "opening")
    run = tuple(stage(kind, motion, at) for at, (kind, motion) in enumerate(zip(kinds, motions, strict=True)))
    # Plateaus between falls have no place, but for the one before the opening; runs that are not in order have none.
    found = by_place([run[::-1][:1], run])
    assert {place: [each.regime.first for _, each in stages] for place, stages in found.items()} == {
        "start": [0],
        "first fall": [1],
        "other falls before the opening": [3],
        "plateau before the opening": [4],
        "opening fall": [5],
        "later falls": [7],
        "end": [8],
    }
    assert {at for stages in found.values() for at, _ in stages} == {1}
