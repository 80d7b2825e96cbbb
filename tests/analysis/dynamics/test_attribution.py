import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.analysis.dynamics.attribution import jump_attribution, progress
from tegum.analysis.dynamics.levels import Jump
from tegum.analysis.statistics import bootstrap_mean

STEP = np.arange(0, 4001, 20)


def rise(times, length=200.0):
    """Smooth steps from 0 to 1 around some times, of shape (time, step)."""
    return 1 / (1 + np.exp(-(STEP - np.asarray(times)[:, None]) / (length / 10)))


def planted(owed, runs=10, pairs=6, key=0):
    """Runs of digons, each in a dimension of its own, whose second feature comes at a random time.

    The loss is a course that is common to all runs, and `owed` for each feature that has come.
    """
    rng = np.random.default_rng(key)
    weights = np.zeros((runs, len(STEP), 2 * pairs, pairs))
    loss = np.zeros((runs, len(STEP)))
    for run in range(runs):
        times = rng.uniform(500, 3500, pairs)
        # A digon of lengths 1 and r has the dimensionalities 1/(1 + r²) and r²/(1 + r²).
        lengths = np.sqrt(rise(times))
        for pair in range(pairs):
            weights[run, :, 2 * pair, pair] = 1
            weights[run, :, 2 * pair + 1, pair] = -lengths[pair]
        loss[run] = 1 + np.exp(-STEP / 1500) + owed * (1 - rise(times)).sum(0)
    return xr.Dataset(
        {
            "weights": (("seed", "step", "feature", "hidden"), weights),
            "loss": (("seed", "step"), loss + 1e-5 * rng.standard_normal(loss.shape)),
            "result": ("seed", np.full(runs, "completed")),
        },
        coords={"seed": np.arange(runs), "step": STEP, "feature": np.arange(2 * pairs)},
    )


def test_planted_jumps_explain_what_is_their_own():
    found = jump_attribution(planted(0.1), rest=100, longest=1_000, height=0.1)
    assert found is not None
    # Each pair has one feature that rises, and one that falls with it.
    assert found.counts.mean() > 8
    assert found.inside.p < 0.01
    owned = found.measures
    for compared, least in ((owned.share, 0.1), (owned.sums, 0.2), (owned.apart, 0.5), (owned.removed, 0.4)):
        assert bootstrap_mean(compared.excess)[0] > least
        assert compared.p < 0.001
    assert found.change.p < 0.001
    assert owned.removed.own.mean() > 0.25
    assert owned.removed.others.mean() < 0.1


@pytest.mark.parametrize("key", [0, 1])
def test_a_weak_part_of_jumps_in_the_loss_is_found(key):
    # Of the decrease from step 100 on, 0.87 is the course's and 0.12 that of six features: an eighth.
    found = jump_attribution(planted(0.02, key=key), rest=100, longest=1_000, height=0.1)
    assert found is not None
    for compared in (found.measures.share, found.measures.sums, found.measures.apart, found.change):
        assert compared.p < 0.01
    assert bootstrap_mean(found.measures.share.excess)[0] > 0
    assert found.made is not None
    part = found.made.part("share", found.measures.share)
    assert part is not None
    assert 0 < part.mean() < 0.5


def test_jumps_without_a_part_in_the_loss_explain_nothing():
    found = jump_attribution(planted(0.0), rest=100, longest=1_000, height=0.1)
    assert found is not None
    assert found.counts.mean() > 8
    assert found.inside.p > 0.05
    assert found.measures.course.mean() > 0.8
    for compared in (
        found.measures.share,
        found.change,
        found.measures.sums,
        found.measures.apart,
        found.measures.removed,
    ):
        assert compared.p > 0.01
    # Of a loss that is made of these jumps they would hold so much that a quarter of it is seen not to be there.
    low, high = bootstrap_mean(found.measures.share.excess)
    assert low < 0 < high
    assert found.made is not None
    assert high < found.made.excess["share"].mean() / 4


def test_the_loss_is_looked_at_from_the_rest_on_exactly():
    # 100 / 1,060 · 1,060 is rounded to a little more than 100.
    steps = 1_060
    assert 100 / steps * steps > 100
    run = planted(0.1).isel(step=slice(0, 54))
    run = run.assign_coords(step=np.arange(0, steps + 1, 20))
    found = jump_attribution(run, rest=100, longest=400, height=0.1)
    assert found is not None
    np.testing.assert_allclose(found.inside.total, [course.fall.sum() for course in found.courses])


def test_runs_that_end_early_or_do_not_learn_are_left_out():
    run = planted(0.1, runs=3)
    run["result"].values[0] = "diverged"
    found = jump_attribution(run, rest=100, longest=1_000, height=0.1)
    assert found is not None
    assert len(found.courses) == 2
    run["loss"].values[1] = 1.0
    assert jump_attribution(run, rest=100, longest=1_000, height=0.1) is None


def test_the_progress_of_a_jump():
    step = np.arange(0, 100, 10)
    jump = Jump(0, 0, 20, 60, 0.2, 0.6)
    values = np.array([0.2, 0.21, 0.2, 0.3, 0.5, 0.4, 0.6, 0.61, 0.6, 0.5])
    # A step back on the way does not count.
    np.testing.assert_allclose(progress(values, step, jump), [0, 0, 0.25, 0.5, 0, 0.25, 0, 0, 0], atol=1e-12)
    falling = Jump(0, 0, 20, 60, 0.6, 0.2)
    np.testing.assert_allclose(progress(0.8 - values, step, falling), progress(values, step, jump), atol=1e-12)


EVEN = np.arange(0, 8193, 64)


def jumping(at, slope=1 / 4096):
    """Runs of one feature that appears at a step, with a loss that falls by 1 then and along a line before and after.

    All numbers are sums of few powers of two, so that a fall is the same in every interval, to the last bit.
    """
    there = (np.asarray(at)[:, None] <= EVEN).astype(float)
    dims, runs = ("seed", "step", "feature", "hidden"), len(at)
    return xr.Dataset(
        {
            "weights": (dims, there[..., None, None]),
            "loss": (dims[:2], 4 - slope * EVEN - there),
            "result": (dims[:1], ["completed"] * runs),
        },
        {"seed": np.arange(runs), "step": EVEN},
    )


def test_what_lies_inside_a_jump_is_the_fall_of_one_interval():
    found = tg.jump_attribution(jumping([4096, 6016, 2048]), rest=1024)
    assert found is not None
    assert [[(jump.start, jump.end) for jump in each.jumps] for each in found.courses] == [
        [(4032, 4096)],
        [(5952, 6016)],
        [(1984, 2048)],
    ]
    # From step 1,024 on it falls by 7 · 1,024/4,096 along the line, and by 1.
    inside, line = 1 + 64 / 4096, 7 * 1024 / 4096
    np.testing.assert_allclose(found.measures.share.own, inside / (1 + line))
    # In the same interval others fall along the line alone.
    np.testing.assert_allclose(found.measures.share.others, 64 / 4096 / (1 + line))
    np.testing.assert_allclose(found.measures.share.excess, 1 / (1 + line))
    assert found.measures.share.p == pytest.approx(1 / 6)
    np.testing.assert_allclose([each.part for each in found.courses], (1 + line) / (1 + 2))


def test_a_loss_that_falls_evenly_owes_nothing_to_jumps():
    run = jumping([4096, 6016, 2048])
    found = tg.jump_attribution(run.assign(loss=0 * run.loss + 4 - run.step / 4096), rest=1024)
    assert found is not None
    np.testing.assert_allclose(found.measures.share.own, 1 / 112)
    np.testing.assert_allclose(found.measures.share.excess, 0, atol=1e-12)
    # It has no variance that a sum of jumps, or another run, could explain.
    for undefined in (
        found.measures.sums.pairs,
        found.measures.course,
        found.measures.sums.p,
        found.measures.sums.shifted,
    ):
        assert np.isnan(undefined).all()
    assert found.measures.share.p == 1
    assert found.change.p == 1


def test_runs_without_jumps_have_nothing_to_attribute():
    run = jumping([4096, 6016, 2048])
    for still in (np.ones_like, np.zeros_like):
        found = tg.jump_attribution(run.assign(weights=(run.weights.dims, still(run.weights.values))), rest=1024)
        assert found is not None
        assert found.counts.tolist() == [0, 0, 0]
        assert found.overlap.tolist() == found.measures.share.own.tolist() == [0, 0, 0]
        assert found.made is None
    assert tg.jump_attribution(run, rest=1024, height=2.0).counts.tolist() == [0, 0, 0]
    # One interval is too long for a jump of at most 32 steps.
    assert tg.jump_attribution(run, rest=1024, longest=32).counts.tolist() == [0, 0, 0]


def test_two_runs_have_measures_and_no_excess():
    found = tg.jump_attribution(jumping([4096, 6016]), rest=1024)
    assert found is not None
    assert (found.measures.share.own > found.measures.share.others).all()
    assert np.isnan(found.measures.share.excess).all()
    assert np.isnan(found.measures.share.p)
    assert tg.jump_attribution(jumping([4096]), rest=1024) is None
    assert tg.jump_attribution(jumping([4096, 6016]).assign(result=("seed", ["diverged"] * 2)), rest=1024) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run": None}, r"\(run=None\): run must be a Dataset"),
        ({"run": xr.Dataset()}, r"\(run\): weights is missing; the dataset has nothing"),
        ({"run": jumping([4096, 6016]).drop_vars("loss")}, r"\(run\): loss is missing"),
        (
            {"run": jumping([4096, 6016]).expand_dims(spec=3)},
            r"\(run of 3 Specs\): its runs must be of one Spec; select",
        ),
        ({"run": jumping([4096, 6016]).isel(seed=0)}, r"\(run\): weights has the dimensions \(step, feature, hidden\)"),
        (
            {"run": jumping([4096, 6016]).isel(step=[0, 1, 2, 4, 8, 16, 32, 64])},
            r"\(run\): the snapshots must be evenly spaced; these lie 64 to 2048 steps apart",
        ),
        (
            {"run": jumping([4096, 6016]).assign(loss=np.inf * jumping([4096, 6016]).loss)},
            r"\(run with loss up to inf\): the loss of a completed run must be finite",
        ),
        ({"rest": 63}, r"\(rest=63\): rest must be at least the distance of two snapshots, 64 steps"),
        ({"rest": 2112}, r"\(rest=2112\): rest must leave 3 stretches of its length from step 2112 on, to step 8192"),
        ({"rest": 10**6}, r"\(rest=1000000\): rest must leave 3 stretches"),
        ({"run": jumping([4096, 6016]).isel(step=[0])}, r"\(rest=1000\): rest must leave 3 stretches of its length"),
        ({"rest": 0}, r"\(rest=0\): rest must be above 0"),
        ({"rest": 64.0}, r"\(rest=64.0\): rest must be an int"),
        ({"longest": -1}, r"\(longest=-1\): longest must be above 0"),
        ({"height": 0.0}, r"\(height=0.0\): height must be above 0"),
        ({"height": np.nan}, r"\(height=nan\): height must be above 0"),
        ({"height": True}, r"\(height=True\): height must be a number"),
    ],
)
def test_refuses_in_one_sentence_what_cannot_be_attributed(change, sentence):
    with pytest.raises(ValueError, match=rf"^jump_attribution({sentence})") as caught:
        tg.jump_attribution(**{"run": jumping([4096, 6016]), **change})
    assert "\n" not in str(caught.value)
