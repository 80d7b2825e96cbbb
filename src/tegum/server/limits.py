"""What a live page may ask for: beyond these sizes nobody watches, and the machine is not the page's alone."""

from __future__ import annotations

from tegum.core.limits import duration
from tegum.core.threads import available_cores
from tegum.training.sizes import check_training, engine_name, snapshot_count, training_seconds
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec

MOST_FEATURES, MOST_PARAMETERS, MOST_RUNS, MOST_STEPS = 2_000, 250_000, 1_000_000, 10_000_000
MOST_DRAWN = 2**26
"""The most numbers in a batch, or in the evaluation sample."""
MOST_RECORDED = 2**24
"""The most numbers in the frames of a run: 128 MB in a page."""
MOST_SECONDS = 86_400.0
"""The longest that a training may be predicted to take."""


def check_live(spec: Spec, runs: int = 1) -> None:
    """Refuse what is too large to be trained while a page watches.

    Args:
        spec: what is to be trained.
        runs: how many of its runs, together.

    Raises:
        ValueError: one sentence says what is too large, and how large it may be.

    """
    n, m, training = spec.features.n, spec.hidden, spec.training
    _check(f"features of {n:,} features", n, MOST_FEATURES, "features")
    _check(f"hidden={m}", n * (m + 1), MOST_PARAMETERS, f"parameters; with {n:,} features there are {n * (m + 1):,}")
    _check(f"seeds={spec.seeds}", spec.seeds, MOST_RUNS, "runs")
    _check(f"training.steps={training.steps}", training.steps, MOST_STEPS, "steps")
    if isinstance(training, Sampled):
        for key, samples in (("batch", training.batch), ("evaluation", training.evaluation)):
            _check(f"training.{key}={samples}", samples, MOST_DRAWN // n, f"samples of {n:,} features")
    if spec.base_seed >= 2**53:
        raise ValueError(f"Spec(base_seed={spec.base_seed}): a page holds whole numbers below 2**53 = {2**53}")
    recorded = snapshot_count(spec)
    most = MOST_RECORDED // (n * (m + 1))
    rule = f"recorded steps of a run with {n * (m + 1):,} parameters; fewer snapshots fit"
    _check(f"snapshots={recorded - 1}", recorded, most, rule)
    chunk = spec.some_runs(range(runs))
    check_training([chunk], "lab", "auto", runs, kept=False)
    engine = engine_name([chunk])
    estimate = None if engine == "jax" else training_seconds([chunk], engine, min(runs, available_cores()))
    if estimate is not None and estimate.seconds > MOST_SECONDS:
        rule = f"a live page trains for a day at most, and this would take {duration(estimate.seconds)}"
        raise ValueError(f"Spec(training.steps={training.steps}): {rule}; tegum train has no such limit")


def _check(given: str, value: int, most: int, what: str) -> None:
    if value > most:
        raise ValueError(f"Spec({given}): a live page trains at most {most:,} {what}")
