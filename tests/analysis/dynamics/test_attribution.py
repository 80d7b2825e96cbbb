import numpy as np
import pytest
import xarray as xr

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
    found = jump_attribution(planted(0.1), 100, 1_000, 0.1)
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
    found = jump_attribution(planted(0.02, key=key), 100, 1_000, 0.1)
    assert found is not None
    for compared in (found.measures.share, found.measures.sums, found.measures.apart, found.change):
        assert compared.p < 0.01
    assert bootstrap_mean(found.measures.share.excess)[0] > 0
    assert found.made is not None
    part = found.made.part("share", found.measures.share)
    assert part is not None
    assert 0 < part.mean() < 0.5


def test_jumps_without_a_part_in_the_loss_explain_nothing():
    found = jump_attribution(planted(0.0), 100, 1_000, 0.1)
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
    found = jump_attribution(run, 100, 400, 0.1)
    assert found is not None
    np.testing.assert_allclose(found.inside.total, [course.fall.sum() for course in found.courses])


def test_runs_that_end_early_or_do_not_learn_are_left_out():
    run = planted(0.1, runs=3)
    run["result"].values[0] = "diverged"
    found = jump_attribution(run, 100, 1_000, 0.1)
    assert found is not None
    assert len(found.courses) == 2
    run["loss"].values[1] = 1.0
    assert jump_attribution(run, 100, 1_000, 0.1) is None


def test_the_progress_of_a_jump():
    step = np.arange(0, 100, 10)
    jump = Jump(0, 0, 20, 60, 0.2, 0.6)
    values = np.array([0.2, 0.21, 0.2, 0.3, 0.5, 0.4, 0.6, 0.61, 0.6, 0.5])
    # A step back on the way does not count.
    np.testing.assert_allclose(progress(values, step, jump), [0, 0, 0.25, 0.5, 0, 0.25, 0, 0, 0], atol=1e-12)
    falling = Jump(0, 0, 20, 60, 0.6, 0.2)
    np.testing.assert_allclose(progress(0.8 - values, step, falling), progress(values, step, jump), atol=1e-12)
