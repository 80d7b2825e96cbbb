"""The optimisers of each kind of training: one table, which everything that depends on an optimiser reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SampledOptimiser = Literal["adamw", "sgd"]
ExactOptimiser = Literal["lbfgs", "adam", "gd"]
"""The names for type checkers, which cannot read `OPTIMISERS`; that table decides."""

Rule = Literal["adam", "momentum", "lbfgs"]
"""What a step is made of. "adam": bias-corrected moments with decoupled weight decay, which is AdamW, and Adam without
decay. "momentum": a momentum, with the decay added to the gradient. "lbfgs": a line search along a quasi-Newton
direction. An engine has one piece of code for each rule that it knows."""


@dataclass(frozen=True, slots=True)
class Optimiser:
    """An optimiser, under the name that one kind of training gives it."""

    name: str
    rule: Rule
    options: tuple[str, ...]
    """The fields of the training that matter to this optimiser, but not to all others."""
    memory: int
    """The numbers it keeps per parameter; L-BFGS has a memory of its own."""
    decay: float = 0.0
    """The weight decay if none is given (PyTorch's defaults)."""
    twin: str | None = None
    """The optimiser of exact training that takes the same steps without noise; None if there is none."""


def _table(*optimisers: Optimiser) -> dict[str, Optimiser]:
    return {each.name: each for each in optimisers}


_RATED = ("rate", "schedule", "warmup", "weight_decay")

OPTIMISERS: dict[str, dict[str, Optimiser]] = {
    "sampled": _table(
        Optimiser("adamw", "adam", ("betas", "eps"), memory=2, decay=0.01, twin="adam"),
        Optimiser("sgd", "momentum", ("momentum",), memory=1, twin="gd"),
    ),
    "exact": _table(
        Optimiser("lbfgs", "lbfgs", ("gradient_tolerance",), memory=0),
        Optimiser("adam", "adam", (*_RATED, "betas", "eps"), memory=2),
        Optimiser("gd", "momentum", (*_RATED, "momentum"), memory=1),
    ),
}
"""By the kind of training and the name. A new one with a rule that is there needs nothing else but its name in the
`Literal` above; an engine that does not know its rule refuses it."""
