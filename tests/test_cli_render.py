"""`tegum render`, run as a user runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from processes import tegum

import tegum as tg
from tegum.cli import app


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    features = tg.FeatureDistribution([tg.Correlated(2, 0.1)] * 2)
    spec = tg.Spec(features=features, hidden=3, training=tg.Sampled(steps=200), snapshots=8, seeds=2)
    tg.save(tg.train(spec), folder / "run.zarr")
    return folder


def test_a_film_beside_the_trajectory(stored):
    code, out, err = tegum("render", "run.zarr", "--seed", "1", "--from", "50", "--width", "320", cwd=stored)
    assert code == 0, err
    assert out == "wrote run.mp4\n"
    assert "started" in err
    # Not by `read_frames`, which leaves its pipes open.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", stored / "run.mp4", "-f", "rawvideo"]
    pixels = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    assert len(pixels) == 7 * 320 * 160 * 3
    (stored / "run.mp4").unlink()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("none.zarr",), "load('none.zarr'): there is nothing at this path; did you mean 'run.zarr'?"),
        (("run.zarr", "--seed", "5"), "render(seed=5): there is no such run; seeds are 0 to 1"),
        (("run.zarr", "--out", "run.webm"), "render('run.webm'): the name of the file must end in .mp4 or .gif"),
    ],
)
def test_bad_input_gets_one_sentence(stored, args, sentence):
    code, out, err = tegum("render", *args, cwd=stored)
    assert code == 2
    assert out == ""
    assert err.splitlines()[-1] == f"tegum: {sentence}"
    assert "Traceback" not in err
    assert [each.name for each in stored.iterdir()] == ["run.zarr"]


@pytest.mark.parametrize("option", ["seed", "spec", "from", "to", "every", "fps", "width"])
def test_whole_numbers_are_not_rounded(capsys, option):
    # cyclopts takes 1.5 for 2.
    with pytest.raises(SystemExit) as ended:
        app(["render", "run.zarr", f"--{option}", "1.5"])
    assert ended.value.code
    told = " ".join(capsys.readouterr().err.split())
    assert f"Invalid value for --{option}: 1.5 must be a whole number" in told
