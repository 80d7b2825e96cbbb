"""Films, decoded again: how many frames, how large, what moves and what stands still."""

import subprocess
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pytest
import xarray as xr
from PIL import Image

import tegum as tg
from tegum.figures.films import write_mp4
from tegum.figures.motion import Film, chosen, render

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


def whole(run, **options):
    return chosen(run, start=None, stop=None, every=1, **options)


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
    film = Film(whole(run), width=480)
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
    film = Film(whole(made), width=480)
    frames = [film.image(at) for at in range(8)]
    panel = (slice(40, None), slice(0, 240))
    for frame in frames[1:]:
        # One pixel at the edge of a line may be rounded to the other side.
        assert (np.abs(frame[panel].astype(int) - frames[0][panel]).max(-1) > 8).sum() <= 2
        assert (frame != frames[0]).any()


def test_learning_moves_the_points(run):
    film = Film(whole(run), width=480)
    first, last = (film.image(at)[40:, :240].astype(int) for at in (0, 10))
    assert (np.abs(first - last).max(-1) > 100).sum() > 100


def test_members_of_a_set_share_a_colour(run):
    film = Film(whole(run), width=480)
    image = film.image(10)[40:, :240].reshape(-1, 3)
    for colour in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)):
        assert (image == colour).all(-1).sum() > 10
    assert not (image == (0x00, 0x9E, 0x73)).all(-1).any()


def test_a_frame_does_not_depend_on_those_before(spatial):
    one, other = (Film(whole(spatial), width=480) for _ in range(2))
    for at in (4, 0, 2):
        one.image(at)
    np.testing.assert_array_equal(one.image(3), other.image(3))


def test_the_camera_turns_only_if_asked(spatial):
    panel = (slice(40, None), slice(0, 240))
    still = Film(whole(spatial), width=480)
    np.testing.assert_array_equal(still.image(5, 0.0)[panel], still.image(5, 1.0)[panel])
    turning = Film(whole(spatial), width=480, turn=40.0)
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
    assert chosen(run, start=None, stop=None, every=4).step.values.tolist() == [0, 80, 160, 200]


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
    np.testing.assert_array_equal(whole(both, spec=1).weights, both.weights.isel(spec=1, seed=0))
    with pytest.raises(ValueError, match=r"render\(spec=None\): there are 2 Specs"):
        render(both, tmp_path / "run.mp4")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 2}, r"render\(seed=2\): there is no such run; seeds are 0 to 1"),
        ({"spec": 0}, "there is one Spec only"),
        ({"fps": 0}, "fps must be an int from 1 to 60"),
        ({"width": 481}, "width must be even"),
        ({"width": 100}, "width must be an int from 320 to 3840"),
        ({"every": 0}, "every must be an int of at least 1"),
        ({"seconds": -1.0}, "seconds must be a positive finite number"),
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


def test_places_that_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.mp4 or \.gif"):
        render(run, tmp_path / "run.avi")
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        render(run, tmp_path / "none" / "run.mp4")
    with pytest.raises(ValueError, match="nothing to animate in one snapshot"):
        render(run.isel(step=0), tmp_path / "run.mp4")
    (tmp_path / "run.gif").write_text("mine")
    with pytest.raises(FileExistsError, match="there is something already"):
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


def test_what_ffmpeg_cannot_write_is_told_in_one_sentence(tmp_path):
    images = iter([np.zeros((32, 64, 3), np.uint8)] * 3)
    with pytest.raises(OSError, match=r"^here: ffmpeg could not write it: .*No such file or directory"):
        write_mp4(tmp_path / "missing" / "run.mp4", images, (64, 32), 25, "here")
