import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tegum as tg
from tegum import experiments
from tegum.experiments._onset import Onset
from tegum.experiments._plateau_ranks import energy_inside, first_plateau, linear_rank
from tegum.experiments._rank_order import Order, chance

EXPERIMENT = experiments.get("linear-first")


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def measured(summary):
    return {measure.name: measure for measure in summary.measures}


def test_it_holds_in_part(quick):
    summary, out, _ = quick
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    assert [criterion.passed for criterion in summary.criteria] == [True, False, True, True, True, False]
    assert {"linear-first.png", "linear-first.svg", "sets-4-8.zarr", "order-size-sgd.zarr"} <= {
        path.name for path in out.iterdir()
    }


def test_from_a_small_start_the_first_plateau_has_a_direction_for_each_set(quick):
    summary, _, found = quick
    for name in ("2 sets, m = 3", "4 sets, m = 8"):
        measure = measured(summary)[f"{name}: first plateau at rank {name[0]}"]
        assert measure.low is not None
        assert measure.low > 0.5
        assert measure.null == 0
    # One direction for each set of three of density p is kept, and two of variance p/12 each are lost.
    system = next(each for each in found.systems if (each.sets, each.hidden) == (4, 8))
    assert_allclose(system.losses[4], 4 * 2 * 0.05 / 12, rtol=1e-9)
    small = system.runs[0]
    on = [plateau.loss for plateau, rank in zip(small.first, small.ranks, strict=True) if rank == 4]
    assert_allclose(on, 4 * 2 * 0.05 / 12, rtol=0.05)
    # The better nonlinear solution follows.
    assert (small.loss[:, -1] < system.losses[-1]).all()


def test_from_xavier_starts_no_run_rests_there(quick):
    _, _, found = quick
    for system in found.systems:
        assert not system.on_rank(system.runs[-1]).any()


def test_directions_come_in_order_by_descent_and_not_by_adamw(quick):
    summary, _, found = quick
    measures = measured(summary)
    assert measures["densities, gradient flow: in the predicted order"].value == 1
    for way in ("densities", "importances", "sizes"):
        assert measures[f"{way}, SGD: in the predicted order"].low > 0.5
        assert measures[f"{way}, SGD: in the predicted order"].null == pytest.approx(1 / 24)
        assert measures[f"{way}, SGD: error of predicted times"].high < 0.05
    assert measures["densities, AdamW: in the predicted order"].high < 0.5
    # Of a set of three of density p: p/12 + 3 p (1 − p)/4.
    flow = found.orders["density", "flow"]
    densities = np.array([0.1, 0.07, 0.05, 0.035])
    assert_allclose(flow.eigenvalues, densities / 12 + 3 * densities * (1 - densities) / 4, rtol=1e-9)


def test_superposition_begins_as_soon_as_there_are_as_many_features_as_dimensions(quick):
    _, _, found = quick
    for onset in found.onsets["adamw"]:
        assert np.isfinite(onset.more).all()
        if not np.isnan(onset.scale):
            assert (onset.more >= onset.full).all()
            assert (onset.more / onset.full).mean() < 1.2
            assert (onset.more < onset.done(0.9)).all()
    # The null: a linear model never represents more than it has dimensions.
    for onset in found.onsets["linear"]:
        assert np.isinf(onset.more).all()
        assert_allclose(onset.total[:, -1], onset.hidden, rtol=0.05)


def test_first_plateaus_of_made_up_losses():
    steps = np.unique(np.geomspace(1, 10_000, 300).astype(int))
    time = np.log(steps)

    def falling(levels, places):
        fall = sum(
            (a - b) / (1 + np.exp((time - at) * 8)) for a, b, at in zip(levels, levels[1:], places, strict=False)
        )
        return fall + levels[-1]

    rests = falling([1.0, 0.3, 0.1], [4.0, 7.0])
    plateau = first_plateau(rests, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    # The origin is a plateau as well, left behind or not, and does not count.
    assert first_plateau(np.full(len(steps), 1.0), steps, 1.0, 0.6) is None
    late = falling([1.2, 1.0, 0.3, 0.1], [1.0, 4.0, 7.0])
    plateau = first_plateau(late, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    steady = np.geomspace(1.0, 0.01, len(steps))
    assert first_plateau(steady, steps, 1.0, 0.6) is None


def test_the_rank_of_a_plateau():
    losses = np.array([1.0, 0.6, 0.2, 0.19])
    assert linear_rank(0.61, 0.99, losses) == 1
    assert linear_rank(0.201, 0.99, losses) == 2
    assert linear_rank(0.192, 0.99, losses) == 3
    assert linear_rank(0.201, 0.90, losses) == -1
    assert linear_rank(0.4, 0.99, losses) == -1
    assert linear_rank(1.0, 0.99, losses) == -1


def test_energy_inside_a_subspace():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    assert energy_inside(axes @ rng.normal(size=(3, 4)), axes) == pytest.approx(1)
    assert energy_inside(np.zeros((12, 4)), axes) == 0
    assert energy_inside(rng.normal(size=(4000, 12, 4)), axes).mean() == pytest.approx(3 / 12, abs=0.005)


def ordered(measured):
    modes = measured.shape[1]
    time = np.linspace(0, 10, 101)
    return Order(
        time=time,
        strengths=np.zeros((len(measured), 101, modes)),
        loss=np.ones((len(measured), 101)),
        measured=measured,
        predicted=np.tile(np.array([1.0, 2.0, 4.0])[:modes], (len(measured), 1)),
        eigenvalues=np.ones(modes),
        losses=np.ones(modes + 1),
    )


def test_orders_of_made_up_times():
    found = ordered(np.array([[1.0, 2.0, 4.0], [2.0, 1.0, 4.0], [1.0, 2.0, np.inf]]))
    assert found.in_order.tolist() == [True, False, False]
    assert_allclose(found.error, [0, 2 / 3 * np.log(2)])
    # Random times: a sixth is in order.
    times = np.random.default_rng(1).exponential(size=(6000, 3))
    assert ordered(times).in_order.mean() == pytest.approx(chance(3), abs=0.015)


def test_onsets_are_those_that_last():
    count = np.array([[3, 1, 2, 3, 3], [0, 1, 1, 2, 2]])
    onset = Onset(
        density=0.1,
        scale=0.01,
        hidden=2,
        steps=np.array([0, 10, 20, 30, 40]),
        count=count,
        total=count.astype(float),
        disturbed=np.zeros((2, 5)),
        fallen=np.array([[0, 0.2, 0.6, 0.95, 1.0], [0, 0.6, 0.4, 0.6, 1.0]]),
    )
    assert onset.full.tolist() == [20, 30]
    assert onset.more.tolist() == [30, np.inf]
    assert onset.done(0.5).tolist() == [20, 30]
    assert onset.at(onset.fallen, onset.more).tolist() == [0.95]


@pytest.mark.parametrize("change", ["features.density=0.1", "hidden=5", "training.kind=exact", "initial_scale=0.1"])
def test_changes_that_break_the_grid_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match="are the grid, and must stay"):
        EXPERIMENT.run(tmp_path / "new", size="quick", changes=[change])
    assert not (tmp_path / "new").exists()


def test_diverged_runs_are_left_out():
    from tegum.experiments._rank_order import order

    spec = tg.Spec(
        features=[tg.Correlated(2, 0.3)], hidden=1, training=tg.Sampled(steps=20, optimiser="sgd", rate=1e6), seeds=2
    )
    assert len(order(tg.train(spec), spec).measured) == 0
