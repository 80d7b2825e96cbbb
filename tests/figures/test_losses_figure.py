"""The figure of an experiment that draws none of its own."""

import numpy as np
import pytest
import xarray as xr

from tegum.experiments.reporting import Measure
from tegum.figures.losses import losses
from tegum.figures.style import rendered


def trajectory(specs, loss, x="step"):
    """Losses (spec, seed, step), as a trajectory has them."""
    dims = ("spec", "seed", "step") if specs else ("seed", "step")
    run = xr.Dataset({"loss": (dims, loss)}, coords={"step": np.arange(loss.shape[-1]) * 10})
    return (
        run if x == "step" else run.assign_coords(time=(dims, np.broadcast_to(np.arange(loss.shape[-1]), loss.shape)))
    )


def test_every_run_is_drawn_and_the_median_of_those_that_are_left():
    falling = np.array([8.0, 4.0, 2.0, 1.0])
    loss = np.stack([falling, 2 * falling, 4 * falling])
    loss[2, 2:] = np.nan
    (place,) = losses({"run": trajectory(False, loss)}, ["fall: 0.5"]).axes
    *runs, median = place.lines
    assert len(runs) == 3
    np.testing.assert_array_equal(median.get_ydata(), [16.0, 8.0, 3.0, 1.5])
    np.testing.assert_array_equal(median.get_xdata(), [0, 10, 20, 30])
    assert (place.get_yscale(), place.get_xscale()) == ("log", "linear")
    assert (place.get_title(), place.get_xlabel()) == ("run: 3 runs", "training step")


def test_axes_fit_what_is_drawn():
    even, spread = np.linspace(1.0, 0.5, 12), np.geomspace(1e-3, 1, 12)
    rising = trajectory(False, np.stack([spread - 0.5] * 2)).assign_coords(step=np.geomspace(1, 1e4, 12).round())
    figure = losses(
        {"flat": trajectory(True, np.stack([[even], [2 * even]])), "signs": rising,
         "flow": trajectory(True, np.stack([[spread]] * 9), "time")},
        [],
    )  # fmt: skip
    flat, signs, flow = figure.axes
    assert (flat.get_yscale(), signs.get_yscale(), flow.get_yscale()) == ("linear", "linear", "log")
    assert (signs.get_xscale(), flow.get_xscale()) == ("log", "linear")
    assert flow.get_xlabel() == "time"
    # As many Specs as there are colours are told apart.
    assert [each.get_text() for each in flat.get_legend().get_texts()] == ["Spec 0", "Spec 1"]
    assert flow.get_legend() is None
    assert len({line.get_color() for line in flow.lines}) == 1


def test_measures_stand_below_as_text():
    measure = Measure("fall", "fall of the loss", 0.25, "loss", 0.125, 0.5, 12, 0.0625)
    assert measure.line() == "fall of the loss: 0.25 [0.125, 0.5], null 0.0625 (loss), n = 12"
    assert Measure("a", "share", 3, "1").line() == "share: 3"
    assert Measure("a", "share", None, "loss", n=0).line() == "share: not measured, n = 0"
    figure = losses({"run": trajectory(False, np.ones((1, 3)))}, [measure.line(), "second\nline"])
    (text,) = figure.texts
    assert text.get_text().splitlines() == [measure.line(), "second\\nline"]
    assert b"fall of the loss" in rendered(figure, "svg")


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_nothing_overlaps(count):
    figure = losses({f"training-{k}": trajectory(False, np.ones((2, 5))) for k in range(count)}, ["measure"] * 9)
    figure.canvas.draw()
    shown = [place for place in figure.axes if place.get_visible()]
    assert len(shown) == count
    boxes = [place.get_tightbbox() for place in shown]
    below = figure.texts[0].get_window_extent()
    assert all(box.y0 > below.y1 for box in boxes)
    assert below.y0 > 0
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
