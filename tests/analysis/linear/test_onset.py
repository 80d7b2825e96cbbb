import numpy as np
import pytest
import xarray as xr
from linear_findings import onset
from numpy.testing import assert_allclose

import tegum as tg
from tegum.analysis.linear.onset import superposition_onset


def test_onsets_are_those_that_last():
    found = onset(
        [[3, 1, 2, 3, 3], [0, 1, 1, 2, 2]],
        [[0, 0.2, 0.6, 0.95, 1.0], [0, 0.6, 0.4, 0.6, 1.0]],
        total=np.array([[3, 2.1, 2.3, 2.3, 3], [0, 1, 2, 2.1, 2.2]]),
    )
    assert found.represented(2).tolist() == [20, 30]
    assert found.begins("features").tolist() == [30, np.inf]
    assert found.begins("norm").tolist() == [20, np.inf]
    assert found.done(0.5).tolist() == [20, 30]
    assert found.at(found.fallen, found.begins("features")).tolist() == [0.95]
    assert found.linear_interference == pytest.approx(0.6)


def test_two_features_in_one_dimension():
    # Nothing, then one feature, then an antipodal pair. With b = E[x] a feature that is left out costs its variance; a
    # pair costs 2 min(x_0, x_1)² where both are active, whose mean is p²/3.
    p = 0.3
    variance, pair = p / 3 - p**2 / 4, p**2 / 3
    weights = np.array([[[0.0], [0.0]], [[1.0], [0.0]], [[1.0], [-1.0]], [[1.0], [-1.0]]])
    bias = np.array([[p / 2, p / 2], [0.0, p / 2], [0.0, 0.0], [0.0, 0.0]])
    run = xr.Dataset(
        {
            "weights": (("seed", "step", "feature", "hidden"), np.stack([weights, np.full_like(weights, np.nan)])),
            "bias": (("seed", "step", "feature"), np.stack([bias, bias])),
            "loss": (("seed", "step"), np.ones((2, 4))),
            "result": ("seed", ["completed", "diverged"]),
        },
        coords={"seed": [0, 1], "step": [0, 10, 20, 30]},
    )
    found = superposition_onset(run, tg.FeatureDistribution([tg.Independent(2, p)]))
    # The run that diverged is left out.
    assert found.count.tolist() == [[0, 1, 2, 2]]
    assert found.begins("features").tolist() == found.begins("norm").tolist() == [20]
    assert_allclose(found.total, [[0, 1, 2, 2]])
    assert_allclose(found.disturbed, [[0, 0, 1, 1]])
    assert found.linear_interference == pytest.approx(1 / 2)
    assert_allclose(found.fallen, [[0, variance / (2 * variance - pair), 1, 1]], atol=1e-3)
    assert_allclose(found.at(found.fallen, found.represented(1)), variance / (2 * variance - pair), atol=1e-3)
