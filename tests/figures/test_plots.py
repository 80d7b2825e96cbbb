"""Plots as functions: on Axes given or fresh, under any style, with the numbers that were given."""

from inspect import unwrap

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from legible import complaints
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose

import tegum as tg

ANGLES = 2 * np.pi * np.arange(5) / 5
PENTAGON = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
DIGONS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
DENSITIES = (0.05, 0.1, 0.4)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def run():
    """Runs of three Specs and two seeds, all pentagons, but of the densest two digons and a zero row."""
    W = np.stack([np.stack([PENTAGON, PENTAGON])] * 2 + [np.stack([DIGONS, DIGONS])])
    course = np.stack([0.01 * W, 0.5 * W, W, W], 2)
    loss = np.array([8.0, 4.0, 2.0, 1.0]) * np.array([1, 2, 3])[:, None, None] * np.ones((3, 2, 1))
    return xr.Dataset(
        {"weights": (("spec", "seed", "step", "feature", "hidden"), course), "loss": (("spec", "seed", "step"), loss)},
        {"features.density": ("spec", list(DENSITIES)), "seed": [0, 1], "step": [0, 10, 20, 30],
         "feature": np.arange(5), "set": ("feature", [0] * 5), "kind": ("feature", ["independent"] * 5),
         "density": (("spec", "feature"), np.repeat(DENSITIES, 5).reshape(3, 5))},
    )  # fmt: skip


@pytest.fixture(scope="module")
def grid():
    coords = {"importance": [0.1, 1.0, 10.0], "density": [0.01, 0.03, 0.1, 0.3]}
    return xr.DataArray(np.arange(12.0).reshape(3, 4), dims=list(coords), coords=coords, name="share")


def calls(run, grid):
    one = run.isel(spec=0, seed=0)
    names = xr.where(grid > 5, "digon", "pentagon").rename("polytope")
    return {
        "embeddings": (run, {}), "gram": (one, {}), "dimensionality": (one, {}), "loss": (run, {}),
        "polytopes": (run, {}), "phase": (grid, {}), "dimensions_per_feature": (run, {}),
        "phase of names": (names, {}), "embeddings in space": (np.eye(6, 3), {}), "runs": (run, {"of": "runs"}),
    }  # fmt: skip


FUNCTIONS = {"phase of names": "phase", "embeddings in space": "embeddings", "runs": "polytopes"}
ALL = ["embeddings", "gram", "dimensionality", "loss", "polytopes", "phase", "dimensions_per_feature", *FUNCTIONS]


def plot(name, run, grid, **options):
    given, own = calls(run, grid)[name]
    return getattr(tg.plot, FUNCTIONS.get(name, name))(given, **own, **options)


@pytest.mark.parametrize("name", ALL)
def test_axes_are_fresh_or_those_given_and_the_text_is_readable_on_white_and_black(name, run, grid):
    for background in ("default", "dark_background"):
        with plt.style.context(background):
            before = dict(mpl.rcParams)
            fresh = plot(name, run, grid)
            assert dict(mpl.rcParams) == before
            assert fresh.figure in map(plt.figure, plt.get_fignums())
            assert complaints(fresh.figure, draws=1) == []
            ink = mpl.colors.to_rgb(mpl.rcParams["text.color"])
            shown = [mpl.colors.to_rgb(text.get_color()) for text in fresh.texts] or [ink]
            paper = mpl.colors.to_rgb(mpl.rcParams["axes.facecolor"])
            assert all(np.abs(np.subtract(colour, paper)).sum() > 0.9 for colour in shown)
            given = plt.figure(figsize=(6, 4), layout="constrained").subplots()
            assert plot(name, run, grid, ax=given) is given
            plt.close("all")


@pytest.mark.parametrize("name", ALL)
def test_the_style_can_be_switched_off_and_replaced(name, run, grid):
    with mpl.rc_context({"axes.labelsize": 17.0, "legend.fontsize": 15.0}):
        assert plot(name, run, grid).xaxis.label.get_fontsize() == 9
        assert plot(name, run, grid, style=None).xaxis.label.get_fontsize() == 17
        assert plot(name, run, grid, style="default").xaxis.label.get_fontsize() == 10
        with pytest.raises(ValueError, match=r"\(style='no-such'\): style must be a style of matplotlib's"):
            plot(name, run, grid, style="no-such")
        with pytest.raises(ValueError, match=r"\(ax=Figure\): ax must be matplotlib Axes"):
            plot(name, run, grid, ax=plt.figure())


def test_the_style_sheet_is_one_of_matplotlibs():
    with plt.style.context("tegum.plot"):
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"][:2] == ["#D55E00", "#0072B2"]
        assert not mpl.rcParams["axes.spines.top"]


def test_embeddings_lie_where_they_are_and_runs_side_by_side(run):
    ax = tg.plot.embeddings(run.isel(seed=[0]))
    dots = np.array([line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"])
    assert dots.shape == (15, 2)
    first, second = dots[:5], dots[5:10]
    assert_allclose(first, PENTAGON, atol=1e-9)
    assert_allclose(second - first, np.tile(second[0] - first[0], (5, 1)), atol=1e-9)
    assert (second[0] - first[0])[0] > 2
    assert [text.get_text() for text in ax.texts if "density" in text.get_text()] == [
        f"density = {density}" for density in DENSITIES
    ]
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"][:5]
    assert len(set(colours)) == 5


def test_members_of_a_set_share_a_colour_and_a_scale_of_its_own_has_a_bar():
    W = xr.DataArray(
        np.stack([0.03 * np.eye(6, 3), np.eye(6, 3)]), dims=("seed", "feature", "hidden"),
        coords={"set": ("feature", [0, 0, 0, 1, 1, 1])},
    )  # fmt: skip
    ax = tg.plot.embeddings(W, scale="own", join=True, labels=False)
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert colours[:3] == [colours[0]] * 3 != colours[3:6] == [colours[3]] * 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["set 0", "set 1"]
    lengths = [float(text.get_text()) for text in ax.texts if text.get_text().replace(".", "").isdigit()]
    assert lengths[1] / lengths[0] == pytest.approx(33, rel=0.6)


def test_features_that_coincide_are_numbered_together():
    ax = tg.plot.embeddings(np.vstack([PENTAGON, PENTAGON[:2], 0.1 * PENTAGON[:1]]))
    assert sorted(text.get_text() for text in ax.texts if text.get_text()) == ["0,5", "1,6", "2", "3", "4"]


def test_gram_is_centred_at_zero_and_divided_by_sets():
    W = xr.DataArray(np.diag([2.0, 1.0, 1.0]), dims=("feature", "hidden"), coords={"set": ("feature", [0, 0, 1])})
    ax = tg.plot.gram(W, by_set=True)
    (picture,) = ax.images
    assert_allclose(picture.get_array(), np.diag([4.0, 1.0, 1.0]))
    assert picture.get_clim() == (-4, 4)
    assert sorted({line.get_xdata()[0] for line in ax.lines}) == [0, 1.5]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1"]
    assert tg.plot.gram(W, limit=1.0).images[0].get_clim() == (-1, 1)
    assert tg.plot.gram(np.zeros((2, 2))).images[0].get_clim() == (-1, 1)


def test_dimensionality_has_the_ideal_levels_and_events(run):
    one = run.isel(spec=0, seed=0)
    ax = tg.plot.dimensionality(one)
    lines = [line for line in ax.lines if "feature" in str(line.get_label())]
    assert len(lines) == 5
    assert_allclose(lines[0].get_ydata(), 2 / 5)
    levels = [line.get_ydata()[0] for line in ax.lines if line not in lines]
    assert_allclose(sorted(levels), [3 / 8, 2 / 5, 1 / 2, 2 / 3, 3 / 4])
    event = tg.group_jumps([tg.Jump(0, 2, 10, 20, 0.0, 0.5)])
    marked = tg.plot.dimensionality(one, events=event, x_scale="linear", levels=False)
    (band,) = marked.patches
    assert (band.get_x(), band.get_width()) == (10, 10)
    assert [text.get_text() for text in marked.texts] == ["1"]
    assert [text.get_text() for text in marked.get_legend().get_texts()] == ["feature 2"] if marked.get_legend() else 1


def test_loss_has_a_line_for_each_run_and_the_median_of_each_spec(run):
    ax = tg.plot.loss(run)
    assert len(ax.lines) == 3 * (2 + 1)
    assert_allclose(ax.lines[5].get_ydata(), [16, 8, 4, 2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"density = {each}" for each in DENSITIES]
    assert (ax.get_yscale(), ax.get_xscale()) == ("log", "linear")
    assert tg.plot.loss(run, y_scale="linear", labels=False).get_yscale() == "linear"


def test_the_exact_loss_is_that_of_the_snapshots():
    spec = tg.Spec(features=[tg.Independent(2, 0.5)], hidden=1, training=tg.Sampled(steps=4), snapshots=2, seeds=2)
    run = tg.train(spec, progress=False)
    ax = tg.plot.loss(run, exact=True)
    assert_allclose(ax.lines[0].get_ydata(), tg.population_loss_along(run).isel(seed=0), rtol=1e-12)
    assert ax.get_ylabel() == "population loss, sum over features"


def test_polytopes_count_features_or_runs(run):
    heights = {
        bar.get_label(): [round(patch.get_height(), 9) for patch in bar.patches]
        for bar in tg.plot.polytopes(run).containers
    }
    assert heights == {"pentagon": [1, 1, 0], "digon": [0, 0, 0.8], "not represented": [0, 0, 0.2]}
    whole = tg.plot.polytopes(run, of="runs", over="features.density")
    assert {bar.get_label() for bar in whole.containers} == {"pentagon", "square (2 digons)"}
    assert whole.get_xlabel() == "density"
    few = tg.plot.polytopes(run, most=1)
    assert [bar.get_label() for bar in few.containers] == ["pentagon", "others", "not represented"]


def test_dimensions_per_feature_are_over_the_inverse_density(run):
    ax = tg.plot.dimensions_per_feature(run)
    (dots,) = (line for line in ax.lines if line.get_marker() == "o")
    assert_allclose(sorted(set(dots.get_xdata())), [2.5, 10, 20])
    assert_allclose(dots.get_ydata(), np.repeat([2 / 5, 2 / 5, 2 / 4], 2))
    levels = sorted(
        line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":" or len(line.get_xdata()) == 2
    )
    assert 0.5 in levels
    assert 1.0 in levels


def test_a_phase_diagram_is_over_any_two_parameters(grid):
    ax = tg.plot.phase(grid, x="importance")
    mesh = ax.collections[0]
    assert_allclose(mesh.get_array(), grid.transpose("density", "importance"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("importance (log scale)", "density (log scale)")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert tg.plot.phase(grid, x="importance", y="density", limits=(0.0, 20.0)).collections[0].get_clim() == (0, 20)


def test_a_phase_diagram_takes_seeds_steps_specs_and_datasets(grid):
    seeds = xr.concat([grid, grid + 2], "seed")
    assert_allclose(tg.plot.phase(seeds, x="density").collections[0].get_array(), grid + 1)
    steps = xr.concat([grid * 0, grid], "step")
    data = steps.to_dataset(name="loss")
    assert_allclose(tg.plot.phase(data, x="density").collections[0].get_array(), grid)
    flat = grid.stack(spec=("importance", "density")).reset_index("spec").isel(spec=slice(None, None, -1))
    assert_allclose(tg.plot.phase(flat, x="density", y="importance").collections[0].get_array(), grid)
    named = xr.concat([xr.where(grid > k, "many", "few") for k in (3, 4, 9)], "seed")
    ax = tg.plot.phase(named, x="density", colours={"few": "red", "many": "blue"})
    assert ax.collections[0].get_array().sum() == (grid.values > 4).sum()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["few", "many"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run, _: tg.plot.gram(run), r"gram\(6 runs\): it draws one; choose it"),
        (lambda *_: tg.plot.gram(np.eye(2), by_set=True), "does not say to which set"),
        (lambda run, _: tg.plot.dimensionality(run), r"dimensionality\(6 runs\): it draws one"),
        (lambda run, _: unwrap(tg.plot.dimensionality)(run.isel(spec=0, seed=0), x_scale="cubic"), "x_scale must be"),
        (lambda run, _: tg.plot.embeddings(run, titles=["a"]), r"embeddings\(1 titles for 6 runs\)"),
        (lambda run, _: tg.plot.embeddings(run.drop_vars("weights")), "without weights"),
        (lambda run, _: tg.plot.embeddings(run, dimensions=4), "dimensions must be 2 or 3"),
        (lambda *_: tg.plot.embeddings(np.zeros((99, 2, 2))), "at most 48 are drawn"),
        (lambda run, _: tg.plot.embeddings(run, columns=0), "columns must be at least 1"),
        (lambda run, _: unwrap(tg.plot.embeddings)(run, scale="log"), "scale must be 'shared' or 'own'"),
        (lambda run, _: tg.plot.loss(run["weights"].isel(step=0)), "losses with the dim 'step'"),
        (lambda run, _: unwrap(tg.plot.loss)(run, y_scale="square"), "y_scale must be"),
        (lambda run, _: tg.plot.loss(run["loss"], exact=True), "from the weights of a trajectory"),
        (lambda run, _: unwrap(tg.plot.polytopes)(run, of="sets"), "of must be 'features' or 'runs'"),
        (lambda run, _: tg.plot.polytopes(run, over="hidden"), "over must be a coordinate"),
        (lambda run, _: tg.plot.polytopes(run, most=0), "most must be at least 1"),
        (lambda run, _: tg.plot.dimensions_per_feature(run, over="colour"), "one number for each run"),
        (lambda _, grid: tg.plot.phase(grid, x="density", y="density"), "two parameters"),
        (lambda _, grid: tg.plot.phase(grid, x="size"), "x must be a parameter of the grid; it has"),
        (lambda _, grid: tg.plot.phase(grid.isel(density=0)), "there must be two parameters"),
        (lambda _, grid: tg.plot.phase(grid.expand_dims("size"), x="density", y="importance"), "select along 'size'"),
        (lambda _, grid: tg.plot.phase(grid.astype(str)), r"phase\(12 names\)|at most 12"),
        (lambda run, _: tg.plot.phase(run, "los"), "did you mean 'loss'|loss"),
        (lambda run, _: tg.plot.phase(run), "must differ in two values"),
        (lambda *_: tg.plot.phase(np.eye(2)), "data must be a Dataset or a DataArray|DataArray"),
        (lambda run, _: tg.plot.embeddings(run.isel(seed=slice(0))), "there must be at least one seed"),
        (lambda *_: tg.plot.embeddings(np.zeros((2, 0))), "there must be at least one hidden"),
        (lambda run, _: tg.plot.loss(run.isel(step=slice(0))), "there must be at least one step"),
        (lambda run, _: tg.plot.loss(run * 1j), r"losses of complex128\): they must be real numbers"),
        (lambda run, _: tg.plot.loss(-run, y_scale="log"), "no loss is positive"),
        (lambda run, _: tg.plot.loss(run.isel(step=[0]), x_scale="log"), "no step is positive"),
        (lambda run, _: tg.plot.gram(run.isel(spec=0, seed=0).astype(str)), "they must be real numbers"),
        (lambda run, _: tg.plot.dimensionality(run.isel(spec=0, seed=0), events=3), r"events=3\): events must be True"),
        (lambda run, _: tg.plot.dimensionality(run.isel(spec=0, seed=0, step=[0]), x_scale="log"), "no step is"),
        (lambda run, _: tg.plot.polytopes(run * np.nan), "every run has diverged"),
        (lambda _, grid: tg.plot.phase(grid.isel(density=slice(0))), "there must be at least one density"),
        (lambda _, grid: tg.plot.phase(grid, limits=[1.0, 2.0, 3.0]), "limits must be two numbers"),
        (lambda _, grid: tg.plot.phase(grid, limits=[2.0, 1.0]), "the smaller one first"),
        (lambda _, grid: tg.plot.phase(grid, contours=[2.0, 1.0]), "in ascending order"),
        (lambda _, grid: tg.plot.phase(grid[:1], contours=[2.0]), "at least 2 × 2"),
        (lambda _, grid: tg.plot.phase(grid, colours={"a": "red"}), "must be a colour map"),
        (lambda _, grid: tg.plot.phase(grid > 5, colours="viridis"), "must be a mapping from names to colours"),
        (lambda _, grid: tg.plot.phase(grid > 5, limits=[0.0, 1.0]), "limits must be None, as names have no order"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, sentence, run, grid):
    if "12 names" in sentence:
        grid = xr.concat([grid, grid + 12], "importance").assign_coords(importance=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    with pytest.raises(ValueError, match=sentence) as refused:
        call(run, grid)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("projection", ["polar", "mollweide", "3d"])
@pytest.mark.parametrize("name", ALL)
def test_axes_with_a_projection_are_refused(name, projection, run, grid):
    ax = plt.figure().add_subplot(projection=projection)
    with pytest.raises(ValueError, match=rf"\(ax with the projection '{projection}'\): ax must be Axes without"):
        plot(name, run, grid, ax=ax)


def test_no_figure_is_left_open_by_a_call_that_fails_while_drawing(run, tmp_path):
    with pytest.raises(ValueError, match="at most 12 have colours"):
        tg.plot.phase(xr.DataArray(np.arange(16).reshape(4, 4).astype(str), dims=("a", "b")))
    sheet = tmp_path / "broken.mplstyle"
    sheet.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"broken\.mplstyle'\): style must be a style of matplotlib's"):
        tg.plot.loss(run, style=str(sheet))
    assert plt.get_fignums() == []


def test_cells_lie_at_their_values_in_whatever_order_these_are():
    share = xr.DataArray(
        [[3.0, 1.0, 2.0]], dims=("density", "rate"), coords={"density": [0.1], "rate": [0.1, 1e-3, 1e-2]}
    )
    (cells,) = tg.plot.phase(share, x="rate", y="density").collections[:1]
    assert cells.get_array().ravel().tolist() == [1.0, 2.0, 3.0]
    edges = cells.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, 10.0 ** np.array([-3.5, -2.5, -1.5, -0.5]))
    with pytest.raises(ValueError, match="must be numbers that differ"):
        tg.plot.phase(share.assign_coords(rate=[0.1, 0.1, 0.2]))


def test_nearly_equal_values_have_bars_of_their_own_and_diverged_runs_none():
    digon, nothing = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.full((2, 2), np.nan)
    runs = xr.DataArray([digon, digon, nothing], dims=("p", "feature", "hidden"), coords={"p": [0.10001, 0.10002, 0.5]})
    ax = tg.plot.polytopes(runs)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.10001", "0.10002", "0.5"]
    assert [(bar.get_label(), [patch.get_height() for patch in bar.patches]) for bar in ax.containers] == [
        ("digon", [1, 1, 0])
    ]
