"""The page of a result: everything is in it, as text of the experiment's own and as films of its runs."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from matplotlib.figure import Figure

import tegum as tg
from tegum.cli import app
from tegum.experiments import result_html
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion, Summary

EVIL = "<script>alert('x')</script> & {braces} \N{LEFT-TO-RIGHT OVERRIDE}"


class Told(Experiment[Any]):
    """Two runs, told in words that are no HTML."""

    claim: ClassVar[str] = f"A claim {EVIL}."
    question: ClassVar[str] = f"Why {EVIL}?"

    def trainings(self, size: str) -> Mapping[str, tg.Spec]:  # noqa: ARG002 (as it is called)
        training = tg.Sampled(steps=20, batch=8, evaluation=8)
        features = [tg.Independent(3, 0.5)]
        return {"run": tg.Spec(features=features, hidden=2, training=training, snapshots=4, seeds=3)}

    def analyse(self, runs: Mapping[str, Any]) -> Findings[Any]:  # noqa: ARG002 (as it is called)
        measures = (
            Measure("fall", f"fall {EVIL}", 0.25, "share", 0.2, 0.3, 3, 0.05, f"what {EVIL}"),
            Measure("none", "never measured", None, ""),
        )
        criteria = (
            Criterion("falls", f"It falls {EVIL}.", True, "falls", "fall"),
            Criterion("flies", "It flies.", False),
        )
        return Findings(measures, criteria, f"Caption {EVIL}.", shown=1, answer=f"Answer {EVIL}.")

    def drawn_runs(self, findings: Findings[Any]) -> Mapping[tuple[str, int], Sequence[int]]:  # noqa: ARG002 (as it is called)
        return {("run", 0): [2]}

    def draw(self, runs: Mapping[str, Any], findings: Findings[Any]) -> Figure:  # noqa: ARG002 (as it is called)
        figure = Figure()
        figure.subplots().plot([1, 2])
        return figure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("told") / "out"
    Told().run(out, size="quick", progress=False)
    return out


def test_the_page_has_all_of_the_result_and_nothing_of_it_is_html(folder: Path) -> None:
    html = (folder / "test-result-page.html").read_text()
    shown = html[: html.index("<tegum-lab")]
    for text in ("Why", "Answer", "A claim", "It falls", "Caption", "fall", "what"):
        assert f"{text} &lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; {{braces}}" in shown, text
    # The scripts are the page's own: the films, and the module.
    kinds = re.findall(r"<script type=\"([^\"]*)\">", html)
    assert kinds == ["text/x-tegum-films", "module"]
    assert "<script>" not in html[: html.index('<script type="module">')]
    assert "holds in part" in shown
    assert "1 of 2 criteria pass" in shown
    # The number that decides, with its interval and its null, as in the first screen.
    assert '<td class="number">25 %</td><td class="number">[20, 30]</td><td class="number">5 %</td>' in shown
    assert "never measured" not in shown
    assert shown.count('<figure><img src="data:image/svg+xml;base64,') == 1
    assert not re.search(r"(?:src|href)=\"(?!data:)", html[: html.index('<script type="module">')])


def test_the_page_can_be_written_again_from_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = (folder / "test-result-page.html").read_text()
    # The experiment lies in this file, from which its findings say which run is drawn.
    assert "source" not in json.loads((folder / "summary.json").read_text())
    again = result_html(folder)
    # Without the experiment's code no run is known to be drawn, and the first one is shown first.
    assert len(again) > 0.9 * len(first)
    assert again[: again.index("<h2>Watch")] == first[: first.index("<h2>Watch")]
    monkeypatch.chdir(folder)
    with pytest.raises(FileExistsError, match=r"report \. --out test-result-page\.html: "):
        app(["report", "."], exit_on_error=False, result_action="return_value")
    app(["report", ".", "--overwrite"], exit_on_error=False, result_action="return_value")
    assert (folder / "test-result-page.html").read_text() == again
    with pytest.raises(ValueError, match="--seeds and --every are for a stored trajectory"):
        app(["report", ".", "--seeds", "1"], exit_on_error=False, result_action="return_value")


def test_a_name_that_leads_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "deep" / "copy"
    shutil.copytree(folder, there)
    told = json.loads((there / "summary.json").read_text()) | {"name": "../../evil"}
    (there / "summary.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"the name in its summary, '../../evil', is no name of a file"):
        app(["report", str(there)], exit_on_error=False, result_action="return_value")
    assert not list(tmp_path.rglob("evil*"))


def test_a_page_that_cannot_be_made_costs_no_result(tmp_path: Path) -> None:
    class Odd(Told):
        def drawn_runs(self, findings: Findings[Any]) -> Mapping[tuple[str, int], Sequence[int]]:  # noqa: ARG002 (as it is called)
            raise ZeroDivisionError("no such run")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        summary = Odd().run(tmp_path / "out", size="quick", progress=False)
    assert "test-result-page.html was not written: no such run" in " ".join(str(each.message) for each in told)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {file.name for file in summary.files}
    assert "test-result-page.html" not in names
    assert Summary.read(tmp_path / "out").verdict == "holds in part"
