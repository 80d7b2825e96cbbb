"""The known word that a user probably meant, also where other code has another name for the same thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

_OTHER_WORDS = {
    "density": "sparsity feature_probability feature_prob probability prob p p_active frequency",
    "size": "n_features num_features n_feat features_per_set set_size count",
    "count": "n_features num_features n_feat features_per_set set_size size",
    "hidden": "n_hidden num_hidden d_hidden hidden_dim hidden_dims hidden_size n_dims d_model m bottleneck",
    "seeds": "n_instances instances num_instances n_inst n_seeds num_seeds n_models models runs n_runs",
    "base_seed": "seed random_seed rng_seed",
    "rate": "lr learning_rate step_size",
    "batch": "batch_size bs batchsize n_batch",
    "steps": "n_steps num_steps max_steps total_steps iterations n_iter epochs num_epochs",
    "optimiser": "optimizer opt optim",
    "activation": "act act_fn nonlinearity",
    "schedule": "lr_schedule lr_scheduler scheduler",
    "warmup": "warmup_steps",
    "weight_decay": "wd l2",
    "kind": "type",
}
"""Names that other code in the field uses, by the name that tegum uses."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    known = sorted(known)
    close = closest(word, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most likely meant; upper and lower case only break ties."""
    by_letters: dict[str, list[str]] = {}
    for each in known:
        by_letters.setdefault(_letters(each), []).append(each)
    if _letters(word) not in by_letters:
        for ours, theirs in _OTHER_WORDS.items():
            if ours in by_letters and _letters(word) in theirs.split():
                return by_letters[ours][0]
    close = difflib.get_close_matches(_letters(word), by_letters, n=1, cutoff=0.6)
    # Several known words may differ in case only: take the one closest to the word as it was written.
    return difflib.get_close_matches(word, by_letters[close[0]], n=1, cutoff=0.0)[0] if close else None


def _letters(word: str) -> str:
    return word.casefold().replace("-", "_")


def on_one_line(text: str) -> str:
    """Text with line breaks and unprintable characters escaped as in a Python string."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def hint_for(word: str, value: Any) -> str:
    """How to convert sparsity to density, the one renamed key whose value changes too."""
    if _letters(word) != "sparsity":
        return ""
    here = isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value < 1
    return f"density is 1 − sparsity{f', here {1 - value:.12g}' if here else ''}: "
