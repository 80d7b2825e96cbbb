"""Figures are made on the Agg canvas and look the same, whatever is set of matplotlib outside."""

import ast
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import tegum
from tegum.figures import style
from tegum.figures.directions import embeddings
from tegum.figures.drawn import new_figure
from tegum.figures.experiments.exact_vs_sampled import TwinPanel, twins
from tegum.figures.films.frames import Film

ODD = {
    "text.usetex": True,
    "font.family": ["No Such Font"],
    "axes.facecolor": "black",
    "savefig.facecolor": "black",
    "savefig.bbox": "tight",
    "figure.dpi": 33,
    "interactive": True,
    "lines.linewidth": 9,
}


def digests():
    """Of a figure as PNG and SVG, of what its own `savefig` writes, and of a frame of a film in space."""
    steps = np.arange(1, 100)
    figure = twins([TwinPanel("a", steps, 1 / steps, 1.1 / steps, ((10, 20, "1"),))])
    own = io.BytesIO()
    figure.savefig(own, format="png")
    weights = np.random.default_rng(0).normal(size=(3, 4, 3))
    run = xr.Dataset(
        {"weights": (("step", "feature", "hidden"), weights), "loss": ("step", [3.0, 2.0, 1.0])},
        coords={"step": [0, 1, 2], "feature": range(4)},
    )
    words = "A caption of -1 and 5 %."
    files = [style.rendered(figure, "png"), style.rendered(figure, "svg", words), own.getvalue()]
    files.append(Film(run).image(1).tobytes())
    return [hashlib.sha256(file).hexdigest()[:16] for file in files]


@pytest.fixture(scope="module")
def usual():
    return digests()


def fresh(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment, cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_a_process_with_another_backend_and_a_matplotlibrc_makes_the_same_bytes(tmp_path, usual, backend):
    told = {key: ", ".join(value) if isinstance(value, list) else value for key, value in ODD.items()}
    (tmp_path / "matplotlibrc").write_text("".join(f"{key}: {value}\n" for key, value in told.items()))
    code = "import test_canvas; print(*test_canvas.digests())"
    done = fresh(
        # The module imports matplotlib itself, and that must not be what helps.
        f"import sys; from tegum.figures import style; style.matplotlib(); {code}",
        MPLBACKEND=backend,
        MATPLOTLIBRC=str(tmp_path),
    )
    assert done.stdout.split() == usual, done.stderr


def test_the_asked_backend_is_left_to_others():
    code = (
        "import os; from tegum.figures import style; print(style.matplotlib().get_backend(), os.environ['MPLBACKEND'])"
    )
    assert fresh(code, MPLBACKEND="svg").stdout.split() == ["svg", "svg"]


def test_what_cannot_be_imported_is_told_in_a_sentence(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    done = fresh("from tegum.figures import style; style.matplotlib()", MATPLOTLIBRC=str(tmp_path))
    last = done.stderr.splitlines()[-1]
    assert last.startswith("OSError: figures need matplotlib, which cannot be imported: 'utf-8' codec")


@pytest.mark.parametrize("settings", [ODD, {"axes.prop_cycle": "cycler('color', ['w'])", "text.color": "white"}])
def test_settings_and_styles_change_nothing_and_are_left_alone(usual, settings):
    with mpl.rc_context(settings):
        before = dict(mpl.rcParams)
        assert digests() == usual
        assert dict(mpl.rcParams) == before


def test_on_a_dark_style_ink_stays_on_white():
    from matplotlib import style as styles

    with styles.context("dark_background"):
        figure = twins([TwinPanel("a", np.arange(1, 5), np.ones(4), np.ones(4), ())])
        content = io.BytesIO()
        figure.savefig(content, format="raw")
    pixels = np.frombuffer(content.getvalue(), np.uint8).reshape(-1, 4)
    light = pixels[:, :3].mean(1)
    assert (light > 250).mean() > 0.8
    assert 0 < (light < 60).mean() < 0.1


def test_no_figure_is_made_past_the_style():
    """Only `style` imports matplotlib and changes its settings; only plots without `ax` use pyplot."""
    for file in Path(tegum.__file__).parent.rglob("*.py"):
        words = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        imported = {
            name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (f"{getattr(node, 'module', '')}.{alias.name}" for alias in node.names)
        }
        if file.name == "axes.py":
            assert words & {"pyplot"} <= {"pyplot"}
            continue
        assert not [name for name in imported if "pyplot" in name], file
        if file.name != "style.py":
            assert not words & {"rc_context", "rcParams", "pyplot"}, file
            assert ".matplotlib" not in imported, file


@pytest.mark.parametrize("title", [r"a$\nonsense$.npy", "$", "日本.npy", "a\nb", "\u202ename"])
def test_a_name_of_a_user_is_a_title_whatever_it_holds(title):
    W = np.eye(3, 2)
    figure = embeddings(tegum.analyse(W), title)
    (shown,) = (text for text in figure.texts if text.get_text() == style.printable(title))
    style.rendered(figure, "png")
    assert "\n" not in shown.get_text()
    assert style.printable("ρ → m = 3, |W|² ≥ 1/2") == "ρ → m = 3, |W|² ≥ 1/2"


def test_a_caption_stands_below_a_figure_and_leaves_it_as_it_was():
    """Pixels above the caption are those of the file without one, and the page is higher by its lines."""
    from matplotlib.image import imread

    with style.drawing():
        figure = new_figure(2.0, layout="constrained")
        figure.subplots().plot([0, 1], label="line")
        figure.legend(loc="outside lower center")

    def picture(caption):
        return imread(io.BytesIO(style.rendered(figure, "png", caption)))

    plain, one, three = picture(""), picture("word " * 10), picture("word " * 60)
    assert plain.shape == (400, 1440, 4)
    assert one.shape[1] == three.shape[1] == 1440
    assert np.array_equal(one[:400], plain)
    assert np.array_equal(three[:400], plain)
    # 8 points and a third between lines, at 200 pixels an inch.
    line = 8 * 1.35 / 72 * 200
    assert (three.shape[0] - one.shape[0]) / line == pytest.approx(2, abs=0.3)
    below = three[400:, :, :3].mean(2)
    assert (below < 0.5).any()
    # Nothing touches the edges.
    assert (below[:, -8:] > 0.95).all()
    assert (below[-8:] > 0.95).all()
    assert np.array_equal(picture(""), plain)
    assert len(figure.texts) == 0


def test_a_look_of_the_users_is_obeyed_and_kept_by_its_figures():
    """Theirs on top of ours, and a style on top of both; the files of `tegum run` know neither."""
    with mpl.rc_context({"axes.titlesize": 13.0, "lines.linewidth": 4.0}):
        mine = style.users_look(3.4, "dark_background", "draw x")
        plain = style.users_look(3.4, None, "draw x")
        none = style.users_look(7.2, "default", "draw x")
    assert plain.settings == {"axes.titlesize": 13.0, "lines.linewidth": 4.0}
    with style.looking(mine), style.drawing():
        assert mpl.rcParams["axes.titlesize"] == 13.0
        assert mpl.rcParams["xtick.labelsize"] == 7.0
        assert style.ink() == (1.0, 1.0, 1.0)
        assert style.paper() == (0.0, 0.0, 0.0)
        figure = new_figure(1.0)
        figure.subplots().plot([0, 1])
    assert figure.get_size_inches().tolist() == [3.4, 1.0]
    content = io.BytesIO()
    figure.savefig(content, format="raw")
    pixels = np.frombuffer(content.getvalue(), np.uint8).reshape(-1, 4)[:, :3].mean(1)
    assert (pixels < 5).mean() > 0.5
    with style.looking(none), style.drawing():
        assert mpl.rcParams["axes.spines.top"] is True
        assert mpl.rcParams["axes.titlesize"] == "large"


def test_a_look_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"draw x --width 40: width must lie in \[2.5, 20\], in inches"):
        style.users_look(40.0, None, "draw x")
    with pytest.raises(ValueError, match=r"draw x --style dark_backgroun: .*did you mean 'dark_background'"):
        style.users_look(3.4, "dark_backgroun", "draw x")


def test_the_first_plot_leaves_a_notebook_showing_figures(tmp_path: Path):
    """The backend of notebooks makes matplotlib interactive as it is loaded, with the first figure."""
    (tmp_path / "shown_at_once.py").write_text(
        "import matplotlib\nfrom matplotlib.backends.backend_agg import *\nmatplotlib.interactive(True)\n"
    )
    code = "import numpy, tegum, matplotlib; tegum.plot.gram(numpy.eye(3)); print(matplotlib.is_interactive())"
    environment = {"MPLBACKEND": "module://shown_at_once", "PYTHONPATH": str(tmp_path)}
    assert fresh(code, **environment).stdout == "True\n"
