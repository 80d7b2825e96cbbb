"""What the documentation shows is what the program does today; building it runs its notebooks (a stage of CI)."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import generate
import pytest
import results

import tegum as tg
from tegum import experiments

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", experiments.names())
def test_stored_results_are_those_of_todays_experiment(name):
    stored, today = results.stored(name), experiments.get(name)
    assert stored["spec_digest"] == results.digest_today(name)
    figures = {each.stem for each in (results.PLACE / name).glob("*.png")}
    assert figures == set(today.figure_names)
    assert set(stored["further_captions"]) == figures - {name}
    page = (ROOT / "docs" / "systems" / f"{name}.md").read_text(encoding="utf-8")
    assert f"generated/results/{name}.md" in page
    assert f"{name.replace('-', '_')}/PROTOCOL.md" in page


def test_every_public_name_has_one_place_in_the_reference():
    pages = "\n".join(generate.own_pages().values())
    named = re.findall(r"auto(?:class|function|data):: tegum\.(\w+)$", pages, re.MULTILINE)
    assert sorted(named) == sorted(name for names in tg.PUBLIC.values() for name in names.split())


def test_versions_are_kept_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (
        re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)[1] == version
    )
    assert tg.__version__ == version


def test_the_page_leads_to_pages_that_there_are():
    module = resources.files("tegum.lab").joinpath("page", "lab.js").read_text(encoding="utf-8")
    pages = set(re.findall(r'page:"([^"]+)\.html"', module))
    # Every experiment is there.
    assert {f"systems/{name}" for name in experiments.names()} - pages == set()
    assert [page for page in pages if not (ROOT / "docs" / f"{page}.md").is_file()] == []
