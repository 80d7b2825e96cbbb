"""The example with SAELens: what it finds of a model that has not collapsed, and of one that has."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib as mpl
import torch

import tegum as tg

SCRIPT = Path(__file__).parents[2] / "examples" / "sparse_autoencoder.py"


def test_features_are_found_and_the_directions_of_collapsed_pairs(tmp_path, monkeypatch):
    matches = []

    def match(found, truth):
        matches.append((truth, measured := original(found, truth)))
        return measured

    original = tg.match_directions
    monkeypatch.setattr(tg, "match_directions", match)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    runpy.run_path(str(SCRIPT))
    mpl.pyplot.close("all")
    assert (tmp_path / "sparse_autoencoder.png").read_bytes().startswith(b"\x89PNG")
    (_, sparse), (weights, dense) = matches
    # Antipodal pairs: most features have a direction of their own, which is found.
    assert sparse.matched_cosine > sparse.matched_cosine_null + 5 * sparse.matched_cosine_null_std
    assert (sparse.cosine > 0.9).sum() >= 9
    # Collapsed: both members of a pair have one direction. It is found, and by some runs twice.
    directions = weights.values / (weights.values**2).sum(1, keepdims=True) ** 0.5
    assert ((directions[::2] * directions[1::2]).sum(1) > 0.99).all()
    assert (dense.nearest_cosine > 0.95).all()
    assert (dense.cosine > 0.9).sum() >= 6
