"""Films, decoded again: how many frames, how large, what moves and what stands still."""

import subprocess
from inspect import unwrap
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text
from PIL import Image

import tegum as tg
from tegum.figures.films.files import film_bytes, write_gif, write_mp4
from tegum.figures.films.frames import Film
from tegum.figures.films.motion import chosen, render

PAIRS = tg.FeatureDistribution([tg.Correlated(2, 0.1)] * 2)


@pytest.fixture(scope="module")
def run():
    return tg.train(
        tg.Spec(features=PAIRS, hidden=2, training=tg.Sampled(steps=200), snapshots=10, seeds=2, initial_scale=0.1)
    )


@pytest.fixture(scope="module")
def spatial():
    return tg.train(tg.Spec(features=PAIRS, hidden=3, training=tg.Sampled(steps=200), snapshots=5))


def decoded(path, width=480):
    if path.suffix == ".gif":
        with Image.open(path) as film:
            frames = []
            for number in range(film.n_frames):
                film.seek(number)
                frames.append(np.asarray(film.convert("RGB")))
        return np.stack(frames)
    # Not by `read_frames`, which leaves its pipes open.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    return pixels.reshape(-1, width // 2, width, 3)


@pytest.mark.parametrize("name", ["run.mp4", "run.gif"])
def test_a_film_has_a_frame_for_each_snapshot(run, tmp_path, name):
    seen = []
    path = render(run, tmp_path / name, width=480, progress=lambda what, done: seen.append((what, done)))
    frames = decoded(path)
    assert frames.shape == (11, 240, 480, 3)
    assert all(np.abs(one.astype(int) - other).max() > 50 for one, other in pairwise(frames))
    assert seen[0] == ("frames", 0)
    assert seen[-1] == ("frames", 1)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_is_written_is_what_is_drawn(run, tmp_path):
    film = Film(chosen(run), width=480)
    drawn = [film.image(at) for at in range(11)]
    for name, error in (("run.gif", 12), ("run.mp4", 6)):
        frames = decoded(render(run, tmp_path / name, width=480)).astype(int)
        # Colours of a palette, or of a compressed film, and no more than that.
        assert np.abs(frames - drawn).mean((1, 2, 3)).max() < error


@pytest.mark.parametrize("hidden", [2, 3, 5])
def test_a_run_that_only_rotates_stands_still(hidden):
    rng = np.random.default_rng(0)
    still = rng.normal(size=(6, hidden))
    turned = np.stack([still @ np.linalg.qr(rng.normal(size=(hidden, hidden)))[0] for _ in range(8)])
    made = xr.Dataset(
        {"weights": (("step", "feature", "hidden"), turned), "loss": ("step", np.linspace(1, 0.5, 8))},
        coords={"step": np.arange(8), "feature": np.arange(6)},
    )
    film = Film(chosen(made), width=480)
    frames = [film.image(at) for at in range(8)]
    panel = (slice(40, None), slice(0, 240))
    for frame in frames[1:]:
        # One pixel at the edge of a line may be rounded to the other side.
        assert (np.abs(frame[panel].astype(int) - frames[0][panel]).max(-1) > 8).sum() <= 2
        assert (frame != frames[0]).any()


def test_learning_moves_the_points(run):
    film = Film(chosen(run), width=480)
    first, last = (film.image(at)[40:, :240].astype(int) for at in (0, 10))
    assert (np.abs(first - last).max(-1) > 100).sum() > 100


def test_members_of_a_set_share_a_colour(run):
    film = Film(chosen(run), width=480)
    image = film.image(10)[40:, :240].reshape(-1, 3)
    for colour in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)):
        assert (image == colour).all(-1).sum() > 10
    assert not (image == (0x00, 0x9E, 0x73)).all(-1).any()


def test_a_frame_does_not_depend_on_those_before(spatial):
    one, other = (Film(chosen(spatial), width=480) for _ in range(2))
    for at in (4, 0, 2):
        one.image(at)
    np.testing.assert_array_equal(one.image(3), other.image(3))


def test_the_camera_turns_only_if_asked(spatial):
    panel = (slice(40, None), slice(0, 240))
    still = Film(chosen(spatial), width=480)
    np.testing.assert_array_equal(still.image(5, 0.0)[panel], still.image(5, 1.0)[panel])
    turning = Film(chosen(spatial), width=480, turn=40.0)
    assert (turning.image(5, 0.0)[panel] != turning.image(5, 1.0)[panel]).any()


def test_clocks():
    steps = np.array([0, 1, 10, 100, 1000])
    made = xr.Dataset(
        {"weights": (("step", "feature", "hidden"), np.ones((5, 2, 2))), "loss": ("step", np.ones(5))},
        coords={"step": steps, "feature": [0, 1]},
    )
    assert Film(made).schedule().tolist() == [0, 1, 2, 3, 4]
    assert Film(made).schedule(9).tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4]
    assert Film(made, clock="linear").schedule(6).tolist() == [0, 3, 3, 3, 3, 4]
    assert Film(made, clock="logarithmic").schedule(7).tolist() == [0, 1, 2, 2, 3, 3, 4]


def test_seconds_and_pieces(run, tmp_path):
    assert len(decoded(render(run, tmp_path / "a.mp4", width=320, fps=10, seconds=2.0), 320)) == 20
    assert len(decoded(render(run, tmp_path / "b.gif", width=320, seed=1, start=40, stop=160, every=3))) == 3
    assert chosen(run, start=40, stop=160, every=3).step.values.tolist() == [40, 100, 160]
    assert chosen(run, every=4).step.values.tolist() == [0, 80, 160, 200]


def test_a_diverged_run_ends_at_its_last_finite_snapshot(tmp_path):
    spec = tg.Spec(
        features=PAIRS, hidden=2, training=tg.Sampled(steps=100, optimiser="sgd", rate=9.0), snapshots=100, seeds=1
    )
    run = tg.train(spec)
    assert run.result.item() == "diverged"
    finite = int(np.isfinite(run.loss).sum())
    assert 2 <= finite < 101
    assert len(decoded(render(run, tmp_path / "run.mp4", width=320), 320)) == finite


def test_one_of_several_specs(tmp_path):
    spec = tg.Spec(features=PAIRS, hidden=2, training=tg.Sampled(steps=20), snapshots=2)
    both = tg.train([spec, spec.replace(initial_scale=0.01)])
    np.testing.assert_array_equal(chosen(both, spec=1).weights, both.weights.isel(spec=1, seed=0))
    with pytest.raises(ValueError, match=r"render\(spec=None\): there are 2 Specs"):
        render(both, tmp_path / "run.mp4")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 2}, r"render\(seed=2\): there is no such run; seeds are 0 to 1"),
        ({"spec": 0}, "there is only one Spec"),
        ({"fps": 0}, "fps must be an int from 1 to 60"),
        ({"width": 481}, "width must be even"),
        ({"width": 100}, "width must be an int from 320 to 3840"),
        ({"every": 0}, "every must be an int of at least 1"),
        ({"seconds": -1.0}, "seconds must be a positive number, at most 86400"),
        ({"seconds": 1e9}, "seconds must be a positive number, at most 86400"),
        ({"dimensions": 4}, "dimensions must be 2 or 3"),
        ({"turn": 30.0}, "0 in two dimensions"),
        ({"start": 500}, "there is nothing to animate with 0 of 11 snapshots left"),
        ({"stop": 0}, "there is nothing to animate with 1 of 11 snapshots left"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing_behind(run, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        render(run, tmp_path / "run.mp4", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": True}, "seed must be an int"),
        ({"seed": 0.4}, "seed must be an int"),
        ({"spec": "0"}, "spec must be an int"),
        ({"start": "x"}, "start must be an int"),
        ({"stop": 1.5}, "stop must be an int"),
        ({"fps": True}, "fps must be an int from 1 to 60"),
        ({"seconds": "a"}, "seconds must be a positive number"),
        ({"seconds": True}, "seconds must be a positive number"),
    ],
)
def test_other_types_get_one_sentence(run, tmp_path, options, sentence):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=rf"^render\({name}={value!r}\): {sentence}"):
        # Without the tests' own check of types.
        unwrap(render)(run, tmp_path / "run.mp4", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "value"), [("turn", "x"), ("turn", True), ("dimensions", 2.0)])
def test_other_types_of_what_a_film_takes_get_one_sentence(spatial, name, value):
    with pytest.raises(ValueError, match=rf"^render\({name}={value!r}\): {name} must be"):
        unwrap(Film.__init__)(Film.__new__(Film), chosen(spatial), **{name: value})


def test_one_run_is_itself_and_no_other(run, tmp_path):
    np.testing.assert_array_equal(chosen(run).weights, run.weights.sel(seed=0))
    np.testing.assert_array_equal(chosen(run, seed=1).weights, run.weights.sel(seed=1))
    np.testing.assert_array_equal(chosen(run.isel(seed=1)).weights, run.weights.sel(seed=1))
    np.testing.assert_array_equal(chosen(run.isel(seed=1), seed=1).weights, run.weights.sel(seed=1))
    np.testing.assert_array_equal(chosen(run.isel(seed=[1])).weights, run.weights.sel(seed=1))
    with pytest.raises(ValueError, match=r"^render\(seed=7\): there is only one run, of seed 1; leave seed out"):
        render(run.isel(seed=1), tmp_path / "run.mp4", seed=7)


def test_places_that_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.mp4 or \.gif"):
        render(run, tmp_path / "run.avi")
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        render(run, tmp_path / "none" / "run.mp4")
    with pytest.raises(ValueError, match="nothing to animate in a single snapshot"):
        render(run.isel(step=0), tmp_path / "run.mp4")
    (tmp_path / "run.gif").write_text("mine")
    with pytest.raises(FileExistsError, match="something is already there"):
        render(run, tmp_path / "run.gif")
    assert (tmp_path / "run.gif").read_text() == "mine"
    render(run, tmp_path / "run.gif", width=320, overwrite=True)
    assert len(decoded(tmp_path / "run.gif")) == 11
    assert [each.name for each in tmp_path.iterdir()] == ["run.gif"]


@pytest.mark.parametrize("name", ["run.mp4", "run.gif"])
def test_an_interruption_leaves_what_was_there(run, tmp_path, name):
    (tmp_path / name).write_text("mine")

    def interrupt(_, done):
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(run, tmp_path / name, width=320, overwrite=True, progress=interrupt)
    assert (tmp_path / name).read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["run.mp4", "run.gif"])
def test_what_a_killed_writer_left_is_removed_and_what_another_writes_is_not(run, tmp_path, name):
    parts = []

    def meanwhile(_, done):
        if not done:
            parts.extend(tmp_path.iterdir())
            render(run, tmp_path / name, width=320, stop=40)

    render(run, tmp_path / name, width=480, overwrite=True, progress=meanwhile)
    assert len(parts) == 1
    assert parts[0].name.startswith(".run.")
    assert len(decoded(tmp_path / name)) == 11
    parts[0].write_bytes(b"half")
    other = tmp_path / f".other.{'0' * 8}.part{parts[0].suffix}"
    other.touch()
    render(run, tmp_path / name, width=320, overwrite=True)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, other])


def black(count):
    return iter([np.zeros((32, 64, 3), np.uint8)] * count)


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
@pytest.mark.parametrize("options", [{}, {"turn": 90.0, "width": 320}])
def test_a_film_is_at_most_as_large_as_is_said(spatial, tmp_path, name, options):
    path = tg.render(spatial, tmp_path / name, **({"width": 640} | options))
    size, said = path.stat().st_size, film_bytes(len(spatial.step), options.get("width", 640), gif=name.endswith("gif"))
    assert size <= said <= 2**16 + 40 * size


def test_what_ffmpeg_cannot_write_is_told_in_one_sentence(tmp_path):
    # Neither an address in its memory nor a name that nobody gave.
    sentence = r"^here: ffmpeg could not write it: Error opening output the file: No such file or directory$"
    with pytest.raises(OSError, match=sentence):
        write_mp4(tmp_path / "missing" / ".run.01234567.part.mp4", black(3), (64, 32), 25, "here")


def test_a_full_disk_is_told_in_one_sentence(tmp_path):
    for name in ("run.mp4", "run.gif"):
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"^here: ffmpeg could not write it: [^@]*No space left on device$"):
        write_mp4(tmp_path / "run.mp4", black(3), (64, 32), 25, "here")
    with pytest.raises(OSError, match=r"^here: the file could not be written: No space left on device$"):
        write_gif(tmp_path / "run.gif", black(3), next(black(1)), 25, 3, "here")


def test_a_folder_where_nothing_can_be_made_is_told_in_one_sentence(run):
    with pytest.raises(
        OSError, match=r"^render\('/proc/run\.gif'\): nothing can be written in '/proc': No such file or directory$"
    ):
        render(run, "/proc/run.gif", width=320)


def test_no_ffmpeg_is_told_in_one_sentence(run, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with pytest.raises(
        OSError, match=r"^render\('.*run\.mp4'\): '.*none' does not start \(No such file or directory\); "
    ):
        render(run, tmp_path / "run.mp4", width=320)
    # It ends well, and writes nothing.
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/true")
    with pytest.raises(OSError, match=r"ffmpeg could not write it: it stopped without an error message$"):
        render(run, tmp_path / "run.mp4", width=320)

    def none():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(OSError, match=r"^render\('.*run\.mp4'\): no ffmpeg was found; .* IMAGEIO_FFMPEG_EXE$"):
        render(run, tmp_path / "run.mp4", width=320)
    assert not list(tmp_path.iterdir())


def delays(path):
    """Of each frame of a GIF, in seconds."""
    with Image.open(path) as film:
        times = []
        for number in range(film.n_frames):
            film.seek(number)
            times.append(film.info["duration"] / 1000)
    return np.array(times)


@pytest.mark.parametrize("fps", [1, 7, 24, 30, 40, 50])
def test_a_gif_is_as_long_as_asked(tmp_path, fps):
    images = [np.full((4, 8, 3), 250 * (number % 2), np.uint8) for number in range(2 * fps)]
    colours = np.concatenate(images[:2])
    write_gif(tmp_path / "run.gif", iter(images), colours, fps, len(images), "here")
    found = delays(tmp_path / "run.gif")
    assert len(found) == 2 * fps
    assert found.sum() == pytest.approx(2)
    # Viewers slow down what is shorter than two hundredths.
    assert (np.abs(found - 1 / fps) < 0.01).all()
    assert found.min() >= 0.02


def test_a_gif_has_fifty_frames_a_second_at_most(run, tmp_path):
    np.testing.assert_allclose(delays(render(run, tmp_path / "a.gif", width=320, fps=60)), 0.02)
    # Equal neighbours are one frame: the sum counts.
    assert delays(render(run, tmp_path / "b.gif", width=320, fps=60, seconds=0.6)).sum() == pytest.approx(0.6)
    with pytest.raises(
        ValueError, match=r"^render\(seconds=9000\.0\): an image of a GIF must stay for less than 655\.35 s"
    ):
        render(run, tmp_path / "c.gif", width=320, fps=1, seconds=9000.0)
    assert not (tmp_path / "c.gif").exists()


def made(weights, loss=None, steps=None, **coords):
    """One run, by hand; its loss falls."""
    count, features, _ = weights.shape
    given = {
        "weights": (("step", "feature", "hidden"), weights),
        "loss": ("step", np.linspace(1, 0.5, count) if loss is None else loss),
    }
    numbered = {"step": np.arange(count) if steps is None else steps, "feature": np.arange(features)}
    return xr.Dataset(given, coords=numbered | {name: ("feature", each) for name, each in coords.items()})


def test_step_0_has_a_place_of_its_own_on_a_log_axis():
    film = Film(made(np.ones((4, 2, 2)), steps=np.array([0, 100, 200, 300])), clock="logarithmic", width=480)
    # The mark goes from step 0 to the next: beside itself, not downwards only.
    moved = (film.image(0) != film.image(1))[40:, 280:].any((0, 2))
    assert np.ptp(np.flatnonzero(moved)) > 30


def coloured(image):
    """Columns of pixels that have a colour."""
    return np.flatnonzero((np.ptp(image[40:].astype(int), -1) > 60).any(0))


def texts_of(film, at=0):
    """Words of the frame that are shown."""
    film.image(at)
    return [each.get_text() for each in film._figure.findobj(Text) if each.get_visible() and each.get_text()]


@pytest.mark.parametrize("hidden", [2, 3])
def test_a_run_that_explodes_does_not_hide_the_rest(hidden):
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(6, hidden))
    sizes = np.array([0.3, 1, 1, 9, 1500])
    exploding = made(sizes[:, None, None] * shape, 10.0 ** np.arange(5)).assign(result="diverged")
    # Numbers that no axis has.
    names = [f"{number}" for number in range(71, 77)]
    exploding = exploding.assign_coords(feature=np.array(names, int))
    film = Film(exploding, width=480)
    assert np.ptp(coloured(film.image(1))) > 40
    # At the end nothing is left inside the axes, and nothing is drawn outside: neither spokes nor numbers.
    shown = coloured(film.image(4))
    assert shown.min() > 25
    assert 60 < shown.max() < 233
    assert {*names} & {*texts_of(film, 1)}
    assert not {*names} & {*texts_of(film, 4)}
    # What grows and is not diverged has all the room that it needs.
    grown = Film(exploding.assign(result="finished"), width=480)
    assert np.ptp(coloured(grown.image(1))) < 10


def test_weights_without_measure_are_not_finite(tmp_path):
    weights = np.ones((5, 2, 2)) * np.array([1, 1, 1, 1e75, np.inf])[:, None, None]
    huge = made(weights).transpose("hidden", "feature", "step")
    assert chosen(huge).step.values.tolist() == [0, 1, 2]
    assert chosen(huge).result.item() == "diverged"
    assert "result" not in chosen(huge, stop=2)
    assert len(decoded(render(huge, tmp_path / "run.gif", width=320))) == 3
    with pytest.raises(ValueError, match="nothing to animate with 1 of 5 snapshots left"):
        chosen(huge, start=2)


def circle(count):
    """So many embeddings, none near another or near the origin."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.repeat(np.stack([np.cos(angles), np.sin(angles)], -1)[None], 2, 0)


def test_features_of_large_models_can_be_told_apart():
    # Three correlated features and twelve independent ones: more than there are strong colours.
    sets = {"set": np.repeat([0, 1], [3, 12]), "kind": np.repeat(["correlated", "independent"], [3, 12])}
    film = Film(made(circle(15), **sets), width=320)
    assert {"set 0, correlated", "set 1, independent", *map(str, range(15))} <= set(texts_of(film))
    colours = {tuple(each) for each in film.image(0)[30:, :160].reshape(-1, 3).tolist()}
    assert colours >= {(0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)}
    # Forty of one set: numbers tell them apart. Fifty: the frame says that none do.
    assert "39" in texts_of(Film(made(circle(40)), width=320))
    texts = texts_of(Film(made(circle(50)), width=320))
    assert "50 features, too many to number" in texts
    assert "49" not in texts


def test_the_loss_of_a_film_is_exact_where_it_can_be(run):
    one = chosen(run, seed=1)
    exact = float(tg.population_loss(one.weights.values[-1].astype(float), one.bias.values[-1].astype(float), PAIRS))
    assert f"run 1 · step 200 · exact loss {exact:.6g}" in texts_of(Film(one, width=480), 10)
    # A set that is beside samples of a user has no exact loss.
    rows = np.random.default_rng(0).random((20, 2))
    mixed = tg.Spec(features=[tg.Empirical(rows), tg.Correlated(2, 0.1)], hidden=2, training=tg.Sampled(steps=4))
    trained = chosen(tg.train(mixed.replace(snapshots=2)))
    error = float(tg.loss_error(trained)[-1])
    (title,) = (each for each in texts_of(Film(trained, width=480), 2) if each.startswith("run 0"))
    shown, _, off = title.removeprefix("run 0 · step 4 · recorded loss ").partition(" ± ")
    assert abs(float(off) / error - 1) < 0.06
    assert abs(float(shown) - float(trained.loss[-1])) <= 0.06 * error
    # Of one Spec out of several, too; and a run without a Spec still has a film.
    both = tg.train([mixed.replace(features=[tg.Correlated(2, p)]) for p in (0.1, 0.3)])
    assert any("exact loss" in each for each in texts_of(Film(chosen(both, spec=1), width=480)))
    assert any("recorded loss 1" in each for each in texts_of(Film(made(circle(3)), width=480)))
