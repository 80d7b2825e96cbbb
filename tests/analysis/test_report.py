"""A trajectory in rows of text."""

from __future__ import annotations

import numpy as np
import pytest

import tegum as tg
from tegum.analysis.report import describe, endings, polytopes_found

DIGONS = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
TRIANGLE = np.array([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)], [0, 0]])


@pytest.fixture
def run():
    starts = np.stack([DIGONS, DIGONS, TRIANGLE])
    spec = tg.Spec(features=[tg.Independent(4, 0.1)], hidden=2, start=starts, seeds=3, training=tg.Sampled(steps=0))
    return tg.train(spec)


def test_polytopes_are_counted_by_name(run):
    assert polytopes_found(run) == [("square", "2", "67%"), ("triangle", "1", "33%")]
    assert polytopes_found(run, most=1) == [("square", "2", "67%"), ("1 others", "1", "33%")]


def test_endings_ignore_what_is_not_finite(run):
    run["loss"][:] = [[1.0], [3.0], [np.nan]]
    run["result"][:] = ["completed", "completed", "diverged"]
    run["diverged_at"][:] = [-1, -1, 0]
    (first, second) = endings(run)
    assert first == ("completed", "2", 2.0, 1.0, 3.0)
    assert second[:2] == ("diverged", "1")
    assert np.isnan(second[2:]).all()


def test_description_tells_what_was_trained(run):
    rows = dict(describe(run))
    assert rows["features, n"] == "4"
    assert rows["kinds of set"] == "1 × independent"
    assert rows["density of a feature"] == "0.1"
    assert rows["runs"] == "3"


def test_runs_that_converged_are_counted_by_themselves(run):
    run["loss"][:] = [[1.0], [3.0], [2.0]]
    run["result"][:] = ["converged", "completed", "converged"]
    assert "steps to convergence" not in dict(describe(run))
    run["converged_at"] = run["diverged_at"].copy(data=[40, -1, 7])
    assert endings(run) == [("converged", "2", 1.5, 1.0, 2.0), ("completed", "1", 3.0, 3.0, 3.0)]
    assert dict(describe(run))["steps to convergence"] == "7 … 40"


def test_description_tells_the_time_of_a_flow(run):
    assert "time at the end" not in dict(describe(run))
    timed = run.assign_coords(time=(("seed", "step"), np.full((3, 1), 2500.0)))
    assert dict(describe(timed))["time at the end"] == "2500"


def test_description_of_several_specs_tells_what_differs():
    specs = [tg.Spec(features=[tg.Correlated(2, p)], hidden=1, seeds=2, training={"steps": 0}) for p in (0.1, 0.2)]
    rows = dict(describe(tg.train(specs)))
    assert rows["runs"] == "2 × 2"
    assert rows["differs: features.density"] == "0.1 … 0.2"
    assert rows["density of a feature"] == "0.1 … 0.2"


def test_what_is_no_trajectory_is_refused(run):
    with pytest.raises(ValueError, match="loss is missing"):
        endings(run.drop_vars("loss"))
