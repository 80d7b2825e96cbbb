import numpy as np
import pytest
import xarray as xr

from tegum.analysis.dynamics.levels import Event, Jump
from tegum.analysis.dynamics.rearrangements import digons, rearrangements

E = np.eye(3)
STEPS = np.arange(0, 1_001, 100)


def embedded(**at):
    """Six features in three dimensions; those that are not given are absent: a=E[0] is feature 0."""
    rows = np.zeros((6, 3))
    for name, vector in at.items():
        rows["abcdef".index(name)] = vector
    return rows


def change(before, after):
    """The rearrangement of an event in which the weights change from one to the other."""
    values = np.where((STEPS < 500)[:, None, None], before, after)[None]
    weights = xr.DataArray(values, dims=("seed", "step", "feature", "hidden"), coords={"seed": [3], "step": STEPS})
    event = Event((Jump(3, 0, 400, 600, 0.0, 0.5),))
    (found,) = rearrangements([event], weights)
    assert found.event is event
    return found


def test_digons_are_antipodal_pairs_of_comparable_norms():
    assert digons(embedded(a=E[0], c=-E[0], b=E[1], f=-0.9 * E[1], d=E[2])) == ((0, 2), (1, 5))
    assert digons(embedded(a=E[0], b=-0.5 * E[0])) == ()
    assert digons(embedded(a=E[0], b=-E[0] + 0.5 * E[1])) == ()
    assert digons(embedded(a=E[0])) == ()
    assert digons(embedded()) == ()


def test_a_triangle_and_random_embeddings_are_no_digons():
    angles = 2 * np.pi * np.arange(3) / 3
    triangle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    assert digons(triangle) == ()
    rng = np.random.default_rng(0)
    assert not any(digons(rng.normal(size=(4, 20))) for _ in range(100))


def test_a_pair_is_born_of_two_absent_features_and_completed_by_one():
    born = change(embedded(a=E[0], b=-E[0]), embedded(a=E[0], b=-E[0], d=E[1], e=-E[1]))
    assert (born.born, born.ended) == (((3, 4),), ())
    assert born.change((3, 4)) == "birth"
    completed = change(embedded(a=E[0], b=-E[0], d=E[1]), embedded(a=E[0], b=-E[0], d=E[1], e=-E[1]))
    assert completed.change((3, 4)) == "completion"


def test_a_pair_dies_or_exchanges_a_partner():
    died = change(embedded(a=E[0], b=-E[0]), embedded(a=E[0]))
    assert (died.born, died.ended) == ((), ((0, 1),))
    assert died.change((0, 1)) == "death"
    exchanged = change(embedded(a=E[0], b=-E[0]), embedded(a=E[0], c=-E[0]))
    assert exchanged.change((0, 1)) == exchanged.change((0, 2)) == "exchange"


def test_nothing_happens_to_digons_that_turn_or_stay():
    both = embedded(a=E[0], b=-E[0], d=E[1])
    for after in (both, both @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]):
        still = change(both, after)
        assert (still.born, still.ended) == ((), ())
    with pytest.raises(ValueError, match=r"change\(\(0, 1\)\): this pair was neither born nor has it ended"):
        still.change((0, 1))


def test_an_event_of_no_run_is_refused():
    weights = xr.DataArray(np.zeros((1, 11, 6, 3)), dims=("seed", "step", "feature", "hidden"), coords={"step": STEPS})
    weights = weights.assign_coords(seed=[0])
    with pytest.raises(ValueError, match="weights have no run of that seed"):
        rearrangements([Event((Jump(3, 0, 400, 600, 0.0, 0.5),))], weights)
