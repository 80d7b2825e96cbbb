from collections import Counter

import numpy as np
import pytest
import xarray as xr
from legible import complaints
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose

from tegum.analysis.dynamics.drops import Drop
from tegum.analysis.dynamics.levels import Event, Jump
from tegum.figures import style
from tegum.figures.experiments.energy_levels import energy_levels
from tegum.figures.experiments.energy_levels_panels import Share
from tegum.figures.style import ACCENTS, calm_colours, rendered

KINDS = [(0.3, 0.0), (0.0, 0.5), (0.72, 0.5), (0.5, 0.0), (0.75, 0.5), (0.667, 0.3), (0.5, 0.75)]
COUNTS = [12, 30, 100, 3, 2, 1, 1]
JUMPS = [Jump(0, 1, 0, 500, *kind) for kind, count in zip(KINDS, COUNTS, strict=True) for _ in range(count)]
SHARES = [
    Share("events with a\ndrop found alone", 1.0, 0.8, 1.0, 0.03),
    Share("drops found alone\nwith an event", 0.7, 0.4, 0.9, 0.02),
    Share("late decrease\ninside events", None, None, None, None),
]
STEPS = np.arange(0, 20_001, 100)
EVENTS = [
    Event((Jump(0, 2, 6_000, 6_500, 0.3, 0.0),)),
    Event((Jump(0, 4, 12_000, 12_600, 0.0, 0.5), Jump(0, 1, 12_100, 12_500, 0.72, 0.5))),
]
DROPS = [Drop(event, size, np.linspace(-1e-4, 1e-4, 50)) for event, size in zip(EVENTS, (0.002, 0.035), strict=True)]


@pytest.fixture(scope="module")
def data():
    D = np.full((len(STEPS), 6), 0.5)
    D[:, 0] = 0.0
    D[:, 2] = np.where(STEPS < 6_250, 0.3, 0.0)
    D[:, 4] = np.where(STEPS < 12_300, 0.0, 0.5)
    loss = 3 + np.exp(-STEPS / 300) - 0.002 * (STEPS >= 6_250) - 0.035 * (STEPS >= 12_300)
    coords = {"step": STEPS, "feature": np.arange(6)}
    return (
        xr.DataArray(D, dims=("step", "feature"), coords=coords),
        xr.DataArray(loss, dims="step", coords={"step": STEPS}),
    )


@pytest.fixture(scope="module")
def figure(data):
    return energy_levels(*data, DROPS)[0]


def bands(panel):
    return [
        (patch.get_x(), patch.get_x() + patch.get_width()) for patch in panel.patches if isinstance(patch, Rectangle)
    ]


def features(panel):
    return [line for line in panel.lines if "feature" in str(line.get_label())]


def test_two_panels_share_the_step_and_say_their_units(figure):
    upper, lower = figure.axes
    figure.draw_without_rendering()
    assert upper.get_position().y0 > lower.get_position().y1
    assert upper.get_ylabel() == "feature dimensionality"
    assert lower.get_xlabel().startswith("training step")
    assert lower.get_ylabel() == "loss, sum over features"
    assert lower.get_xlim() == upper.get_xlim() == (0, 20_000)


def test_every_feature_is_a_line_of_its_own_colour_and_those_that_jump_stand_out(figure, data):
    lines = features(figure.axes[0])
    assert len(lines) == 6
    for number, line in enumerate(lines):
        assert_allclose(line.get_ydata(), data[0].isel(feature=number))
        assert_allclose(line.get_xdata(), STEPS)
    assert len({str(line.get_color()) for line in lines}) == 6
    with style.drawing():
        strong = [style.accent(number) for number in range(len(ACCENTS))]
    assert [number for number, line in enumerate(lines) if line.get_color() in strong] == [1, 2, 4]
    assert min(lines[i].get_linewidth() for i in (1, 2, 4)) > max(lines[i].get_linewidth() for i in (0, 3, 5))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["feature 1", "2", "4"]


def test_ideal_levels_are_lines_with_names_that_do_not_overlap(figure):
    upper = figure.axes[0]
    levels = {line.get_ydata()[0] for line in upper.lines if len(line.get_ydata()) == 2}
    assert_allclose(sorted(levels), [3 / 8, 2 / 5, 1 / 2, 2 / 3, 3 / 4])
    named = {text.get_text(): text.xyann[1] for text in upper.texts if text.get_text()[:2] in ("1/", "2/", "3/")}
    assert set(named) == {"3/8 square antiprism", "2/5 pentagon", "1/2 digon", "2/3 triangle", "3/4 tetrahedron"}
    assert np.diff(sorted(named.values())).min() > 0.05
    assert abs(named["1/2 digon"] - 0.5) < 0.02


def test_events_are_the_same_numbered_bands_in_both_panels(figure):
    upper, lower = figure.axes
    assert bands(upper) == bands(lower) == [(6_000, 6_500), (12_000, 12_600)]
    numbers = {text.get_text(): text.xy[0] for text in upper.texts if text.get_text() in ("1", "2")}
    assert numbers == {"1": 6_250, "2": 12_300}


def test_the_drops_can_be_seen_and_are_told(figure, data):
    lower = figure.axes[1]
    (line,) = (line for line in lower.lines if len(line.get_xdata()) == len(STEPS))
    assert_allclose(line.get_ydata(), data[1])
    low, high = lower.get_ylim()
    assert low < float(data[1].min())
    assert 0.035 / (high - low) > 0.3
    assert {text.get_text() for text in lower.texts} >= {"−0.0350", "−0.0020"}


def test_the_second_axis_is_the_mean_over_features(figure):
    (mean,) = figure.axes[1].child_axes
    figure.draw_without_rendering()
    assert mean.get_ylabel() == "loss, mean over features"
    assert_allclose(mean.get_ylim(), np.array(figure.axes[1].get_ylim()) / 6)


@pytest.mark.parametrize("width", [7.2, 3.4])
def test_nothing_is_cut_off_and_nothing_overlaps(data, width):
    with style.looking(style.Look(width)):
        for each in energy_levels(*data, DROPS, JUMPS, SHARES):
            assert complaints(each) == []


def test_files_are_the_same_bytes_each_time_and_text_stays_text(data):
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (rendered(energy_levels(*data, DROPS)[0], kind, "A caption.") for _ in range(2))
        assert first == second
        assert first.startswith(start)
    assert b">A caption.</text>" in rendered(energy_levels(*data, DROPS)[0], "svg", "A caption.")


def test_a_run_in_which_nothing_happens_can_be_drawn(data):
    flat = xr.zeros_like(data[1]) + 3.0
    upper, lower = energy_levels(data[0], flat, [])[0].axes
    assert bands(upper) == []
    assert upper.get_legend() is None
    assert lower.get_ylim()[0] < 3 < lower.get_ylim()[1]


def test_a_diverged_run_can_be_drawn(data):
    upper, lower = energy_levels(data[0] * np.nan, data[1] * np.nan, [])[0].axes
    assert len(features(upper)) == 6
    assert lower.get_ylabel() == "loss, sum over features"


def test_a_drop_that_could_not_be_measured_is_marked_and_not_told(data):
    unknown = [Drop(EVENTS[0], np.nan, np.zeros(0))]
    upper, lower = energy_levels(*data, unknown)[0].axes
    assert bands(upper) == [(6_000, 6_500)]
    assert not any("nan" in text.get_text() for text in lower.texts)


def test_jumps_are_arrows_sorted_and_counted_by_the_levels_at_both_ends(data):
    whole = energy_levels(*data, DROPS, JUMPS, SHARES)[1]
    whole.draw_without_rendering()
    moves, shares = whole.axes
    # One arrow for each jump, from where to where it leads; of a crowd one arrow, and a line for each.
    arrows = Counter((text.xyann[1], text.xy[1]) for text in moves.texts)
    assert [arrows[kind] for kind in KINDS] == [12, 1, 1, 3, 2, 1, 1]
    lines = Counter(tuple(line.get_ydata()) for line in moves.lines if line.get_xdata()[0] == line.get_xdata()[1])
    assert [lines[kind] for kind in KINDS] == [0, 30, 100, 0, 0, 0, 0]
    names = [label.get_text() for label in moves.get_xticklabels()]
    assert names[:3] == ["0.72\n→ 1/2\n100×", "0\n→ 1/2\n30×", "0.3\n→ 0\n12×"]
    assert len(names) == len(KINDS)
    # Names of shares do not run into the panel beside them.
    assert min(label.get_window_extent().x0 for label in shares.get_yticklabels()) > moves.get_window_extent().x1


def test_shares_are_points_with_intervals_and_the_null_beside_them(data):
    shares = energy_levels(*data, DROPS, [], SHARES)[1].axes[1]
    points = {tuple(line.get_xdata()) for line in shares.lines}
    assert points == {(1.0,), (0.8, 1.0), (0.03,), (0.7,), (0.4, 0.9), (0.02,)}
    assert [text.get_text() for text in shares.texts] == ["not measured"]


def test_an_ensemble_without_jumps_says_so(data):
    moves = energy_levels(*data, [], [], SHARES)[1].axes[0]
    assert [text.get_text() for text in moves.texts] == ["none"]


def test_other_dims_are_refused(data):
    with pytest.raises(ValueError, match=r"energy_levels\(loss with dims \('seed', 'step'\)"):
        energy_levels(data[0], data[1].expand_dims("seed"), [])


def test_another_kind_of_file_is_refused(figure):
    with pytest.raises(ValueError, match=r"rendered\(kind='gif'\): kind must be 'png', 'svg' or 'pdf'"):
        rendered(figure, "gif")


def test_calm_colours_are_all_different_and_pale():
    colours = calm_colours(40)
    assert len(set(colours)) == 40
    assert min(max(colour) for colour in colours) > 0.6
