"""Sweeps in TOML files: every key, and a sentence that names the file for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import tegum as tg
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping
from tegum.sweeps.toml import read_sweep

SPEC = """
[spec]
hidden = 1
seeds = 4
snapshots = 3

[spec.training]
steps = 20

[[spec.features]]
kind = "independent"
count = 3
density = 0.1
"""

WHOLE = f"""
way = "sobol"
count = 8
seed = 3
keep = ["loss", "lab/mine.py:height", {{measure = "dimensionality", every = 2, named = "levels"}}, "events"]
engine = "kernel"
pack = 5
allow_mixed = true

[parameters]
rate = [0.01, 0.02]
density = {{low = 0.1, high = 0.4, scale = "log"}}
size = {{"features.0.count" = [3, 4], hidden = [1, 2]}}
{SPEC}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "mine.py").write_text("def height(run): return run['loss']\n")
    return tmp_path


def read(folder: Path, text: str, changes=()):
    (folder / "sweep.toml").write_text(text)
    return read_sweep(folder / "sweep.toml", changes)


BASE = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4, snapshots=3)


def test_a_file_with_every_key(folder):
    found = read(folder, WHOLE)
    wanted = design(
        BASE,
        {
            "rate": [0.01, 0.02], "density": tg.Between(0.1, 0.4, scale="log"),
            "size": {"features.0.count": [3, 4], "hidden": [1, 2]},
        },
        way="sobol", count=8, seed=3,
    )  # fmt: skip
    assert found.design.specs == wanted.specs
    assert found.design.to_json() == wanted.to_json()
    assert (found.engine, found.pack, found.mixed) == ("kernel", 5, True)
    keep = ["loss", f"{folder}/lab/mine.py:height", tg.Kept("dimensionality", every=2, named="levels"), "events"]
    assert found.keeping.digest == Keeping(keep, "sweep").digest


def test_a_file_with_nothing_but_a_spec(folder):
    found = read(folder, SPEC)
    assert found.design.specs == (BASE,)
    assert (found.engine, found.pack, found.mixed) == ("auto", None, False)
    assert [each.measure for each in found.keeping.entries] == ["states"]


def test_evenly_spaced_values_and_a_zip(folder):
    found = read(folder, f"[parameters]\ndensity = {{low = 0.1, high = 0.3, count = 3}}\n{SPEC}")
    assert [spec.features.sets[0].density for spec in found.design.specs] == pytest.approx([0.1, 0.2, 0.3])
    found = read(folder, f'way = "zip"\n[parameters]\ndensity = [0.1, 0.2]\nrate = [0.01, 0.02]\n{SPEC}')
    assert len(found.design.specs) == 2


def test_paths_are_those_from_the_folder_of_the_file(folder, monkeypatch, tmp_path_factory):
    (folder / "lab" / "spec.toml").write_text(SPEC.replace("[spec]", "").replace("spec.", ""))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = read(folder, 'spec = "lab/spec.toml"\nkeep = [{measure = "lab/mine.py:height", at = "all"}]\n')
    assert found.design.specs == (BASE,)
    assert found.keeping.entries[0].measure == f"{folder}/lab/mine.py:height"


def test_set_changes_the_spec(folder):
    found = read(folder, SPEC, {"hidden": 2, "training.rate": 0.5})
    assert found.design.specs == (BASE.override({"hidden": 2, "training.rate": 0.5}),)
    with pytest.raises(ValueError, match=r"there is no key 'hiden'; did you mean 'hidden'\?"):
        read(folder, SPEC, {"hiden": 2})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"spec is missing: a table \[spec\] with the keys of a Spec, or the path of its file$"),
        (f"keeep = []\n{SPEC}", r"there is no key 'keeep'; did you mean 'keep'\?$"),
        (f"workers = 3\n{SPEC}", r"there is no key 'workers'; known are "),
        ("spec = 3\n", r"spec=3: must be a table of the keys of a Spec, or the path of its file$"),
        (SPEC.replace("hidden", "hiden"), r"there is no key 'hiden'; did you mean 'hidden'\?$"),
        (f"engine = 3\n{SPEC}", r"engine=3: engine must be 'auto', 'kernel' or 'jax'$"),
        (f'pack = "3"\n{SPEC}', r"pack='3': pack must be a whole number of at least 1$"),
        (f"pack = true\n{SPEC}", r"pack=True: pack must be a whole number of at least 1$"),
        (f"pack = 0\n{SPEC}", r"pack=0: pack must be a whole number of at least 1$"),
        (f'engine = "fast"\n{SPEC}', r"engine='fast': engine must be 'auto', 'kernel' or 'jax'$"),
        (f"allow_mixed = 1\n{SPEC}", r"allow_mixed=1: allow_mixed must be true or false$"),
        (f'way = "grid"\n{SPEC}', r"sweep\(way='grid'\): way must be one of product, zip, random, sobol"),
        (f"way = 3\n{SPEC}", r"sweep\(way=3\): way must be one of"),
        (f"seed = 1.5\n{SPEC}", r"sweep\(seed=1.5\): seed must be an int"),
        (f'way = "random"\ncount = "8"\n[parameters]\ndensity = [0.1]\n{SPEC}', r"sweep\(count='8'\): count must be"),
        (f'keep = "loss"\n{SPEC}', r"sweep\(keep='loss'\): keep must be a list of measures$"),
        (f"keep = []\n{SPEC}", r"sweep\(keep=\[\]\): there must be at least one measure"),
        (f"keep = [3]\n{SPEC}", r"sweep\(keep=…\): Kept\(3\): must be the name of a measure"),
        (
            f'keep = ["lab/mien.py:height"]\n{SPEC}',
            r"sweep\(keep=\['.*/lab/mien.py:height'\]\): there is no such file$",
        ),
        (f'keep = [{{measure = "loss", evry = 2}}]\n{SPEC}', r"sweep\(keep=…\): Kept.*'?evry"),
        (f"[parameters]\ndensty = [0.1]\n{SPEC}", r"sweep\(densty=\[0.1\]\): there is no key 'densty'; did you mean"),
        (f"[parameters]\ndensity = 0.1\n{SPEC}", r"sweep\(density=0.1\): density must be a list of values$"),
        (f"[parameters]\ndensity = {{low = 0.1}}\n{SPEC}", r"sweep\(density=\{'low': 0.1\}\): there is no key 'low'"),
        (f"[parameters]\ndensity = {{low = 0.1, high = 0.2}}\n{SPEC}", r"must have a count, the number of values"),
        (f"parameters = [1]\n{SPEC}", r"sweep\(parameters=\[1\]\): parameters must be a dictionary of values by key$"),
        (f"parameters = 3\n{SPEC}", r"sweep\(parameters=3\): parameters must be a dictionary of values by key$"),
        ("way = \n", r"sweep.toml.*"),
        ('spec = "nowhere.toml"\n', r"nowhere.toml"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_file(folder, text, sentence):
    with pytest.raises((ValueError, OSError), match=sentence) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    assert ".toml" in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises((OSError, ValueError), match=r"nowhere.toml: there is no such file$") as caught:
        read_sweep(tmp_path / "nowhere.toml")
    assert "\n" not in str(caught.value)
