"""What is taken away from the page equals what it shows; the Python that reproduces it is run."""

from __future__ import annotations

import base64
import csv
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from browsers import Page, wait
from numpy.testing import assert_allclose

import tegum as tg


def taken(page: Page, kind: str, name: str, downloads: Path) -> bytes:
    """Choose an export, and return the file that comes."""
    (downloads / name).unlink(missing_ok=True)
    page.choose("Export", kind)
    return wait(lambda: (downloads / name).exists() and (downloads / name).read_bytes(), name)


def test_csv_has_the_numbers_of_the_page(small: Page, downloads: Path) -> None:
    text = taken(small, "csv", "run.csv", downloads).decode()
    head, *rows = csv.reader(text.splitlines())
    assert head[:3] == ["step", "loss", "bias[0]"]
    assert head[-1] == "W[4][1]"
    shown = small.ask(
        "store.first.value.frames.map(({ step, loss, bias, weights }) => [step, loss, ...bias, ...weights])"
    )
    assert len(rows) == len(shown) == 41
    for row, frame in zip(rows, shown, strict=True):
        numbers = [float(each) for each in row]
        assert numbers[:7] + numbers[12:] == frame
        assert_allclose(numbers[7:12], tg.dimensionality(np.reshape(numbers[12:], (5, 2))), atol=1e-12)


def test_svg_and_png_are_pictures_of_the_scene(small: Page, downloads: Path) -> None:
    small.ask("store.scrub(200)")
    picture = ElementTree.fromstring(taken(small, "svg", "scene.svg", downloads))
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    assert {each.text for each in picture.iter(f"{space}text")} == set("01234")
    # Five arrows from the middle to where the embeddings are, all at one scale.
    lines = [each for each in picture.iter(f"{space}polyline") if "stroke-dasharray" not in each.attrib]
    ends = [each.get("points", "").split()[-1].split(",") for each in lines]
    rows = small.ask("[0, 1, 2, 3, 4].map((i) => [...store.first.value.posed(40).slice(2 * i, 2 * i + 2)])")
    assert len(ends) == len(rows) == 5
    scale = (float(ends[0][0]) - 320) / rows[0][0]
    for (x, y), row in zip(ends, rows, strict=True):
        assert abs(float(x) - 320 - scale * row[0]) < 0.02
        assert abs(320 - float(y) - scale * row[1]) < 0.02
    png = taken(small, "png", "scene.png", downloads)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1280, 1280)
    assert len(png) > 5000, "and it is not empty"


def test_the_python_that_reproduces_it_trains_the_same_spec(small: Page, downloads: Path, tmp_path: Path) -> None:
    program = taken(small, "python", "run.py", downloads).decode()
    assert "not in bits" in program
    ending = "\nimport json\nprint(run.sizes['seed'])\nprint(json.dumps(spec.to_json()))\n"
    (tmp_path / "run.py").write_text(program + ending, encoding="utf-8")
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    name, seeds, spec = done.stdout.splitlines()
    assert name
    assert seeds == "6"
    features = tg.FeatureDistribution([tg.Independent(5, 0.2)])
    training = tg.Sampled(steps=200, batch=32, evaluation=64, rate=0.01)
    expected = tg.Spec(features=features, hidden=2, training=training, seeds=6, snapshots=40)
    assert tg.Spec.from_json(spec) == expected


def test_a_film_has_every_step_as_a_moving_picture(small: Page, downloads: Path) -> None:
    film = taken(small, "film", "scene.webm", downloads)
    # The name of the format, as every Matroska file begins with it.
    assert film[:4] == b"\x1aE\xdf\xa3"
    (downloads / "scene.webm").unlink()
    # The page itself may load no film.
    small.browser.get("about:blank")
    data = base64.b64encode(film).decode()
    seen = small.browser.execute_async_script(
        """
        const [data, done] = arguments;
        const video = document.createElement("video");
        const canvas = document.createElement("canvas");
        const pixels = [];
        const look = () => {
            [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
            const to = canvas.getContext("2d", { willReadFrequently: true });
            to.drawImage(video, 0, 0);
            const { data } = to.getImageData(0, 0, canvas.width, canvas.height);
            pixels.push(data.reduce((sum, value, at) => (sum * 31 + value * (at % 7)) % 1e9, 0));
        };
        video.muted = true;
        video.onplaying = look;
        video.onended = () => { look(); done([video.videoWidth, video.videoHeight, new Set(pixels).size]); };
        video.onerror = () => done(video.error.message);
        video.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))]));
        video.play();
        """,
        data,
    )
    assert seen == [640, 640, 2]
