"""The cases, and every call of tegum by the speed benchmark: if tegum's API changes, only this file does.

tegum is imported inside the functions: the reference's processes load this file too and must not load the
engine, and the start-up of tegum is itself measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    import tegum as tg

BATCH = 1024


@dataclass(frozen=True)
class Case:
    """One problem, trained by sampled AdamW at the defaults of the recipe.

    Attributes
    ----------
    features, hidden
        n and m.
    density
        Probability that a set is active.
    set_size
        Features in a correlated set; at 1 all features are independent.
    runs
        Runs trained together.
    target
        The required speed relative to PyTorch in eager mode, on two cores, with whatever vector unit there is.
    target_avx2, target_best_avx2
        The required speed with AVX2, relative to PyTorch in eager mode, and to the fastest of all peers.
    block
        Steps of tegum in one timed block: about half a second on two cores.
    late
        Step at which the late block starts.

    """

    features: int
    hidden: int
    density: float
    set_size: int
    runs: int
    target: float
    target_avx2: float
    target_best_avx2: float
    block: int
    late: int

    def targets(self, unit: str) -> dict[str, float]:
        """The required speeds, by what they are relative to: "eager", or "best" for the fastest of all peers."""
        if unit == "AVX2":
            return {"eager": self.target_avx2, "best": self.target_best_avx2}
        return {"eager": self.target} if unit == "native" else {}

    @property
    def name(self) -> str:
        """The short name that `--case` takes."""
        return f"{self.features}x{self.hidden}"

    @property
    def title(self) -> str:
        """The problem in words."""
        kind = {1: "independent", 2: "correlated pairs"}.get(self.set_size, f"sets of {self.set_size}")
        return f"{self.features}×{self.hidden}, {kind}, density {self.density:g}, {self.runs} runs"

    @property
    def flops(self) -> int:
        """Floating-point operations of one run and step, counted as dense.

        Five products of n × m multiply-adds a sample (h, z, dh, and two for dW), two operations each.
        """
        return 10 * self.features * self.hidden * BATCH


CASES = {
    case.name: case
    for case in (
        Case(6, 2, 0.05, 2, 1000, target=150, target_avx2=200, target_best_avx2=180, block=800, late=10_000),
        Case(20, 5, 0.05, 1, 256, target=12, target_avx2=36, target_best_avx2=25, block=150, late=5_000),
        Case(40, 5, 0.4, 1, 32, target=18, target_avx2=50, target_best_avx2=16, block=500, late=5_000),
        Case(80, 20, 0.05, 1, 16, target=6, target_avx2=13, target_best_avx2=7, block=250, late=3_000),
        Case(400, 30, 0.01, 1, 2, target=5, target_avx2=15, target_best_avx2=6, block=300, late=3_000),
    )
}


def make_spec(case: Case, steps: int, snapshots: int = 1, runs: int | None = None) -> tg.Spec:
    """The case as a Spec: steps in all, snapshots besides the start, and runs (None for the case's own)."""
    import tegum as tg

    if case.set_size > 1:
        kinds = [tg.Correlated(size=case.set_size, density=case.density)] * (case.features // case.set_size)
    else:
        kinds = [tg.Independent(count=case.features, density=case.density)]
    return tg.Spec(
        features=tg.FeatureDistribution(sets=tuple(kinds)),
        hidden=case.hidden,
        training=tg.Sampled(steps=steps, batch=BATCH),
        snapshots=tg.Snapshots(count=snapshots),
        seeds=case.runs if runs is None else runs,
    )


def advance(
    case: Case, state: Any, steps: int, threads: int, runs: int | None = None, engine: Any = "auto"
) -> tuple[Any, float]:
    """Train for `steps` more steps; returns the new state and the seconds taken, wall clock.

    `state` is one that `advance` returned, or None for the start; it must stay unchanged, since timed blocks start
    from the same state repeatedly. `runs` is None for the case's own number. Raises RuntimeError if the engine ends at
    another step.
    """
    import tegum as tg

    end = step_of(state) + steps
    spec = make_spec(case, end, runs=runs)
    new = None
    start = time.perf_counter()
    for segment in tg.iterate(spec, state=state, threads=threads, engine=engine):
        new = segment.state
    seconds = time.perf_counter() - start
    if step_of(new) != end:
        raise RuntimeError(f"{case.name}: training to step {end} ended at step {step_of(new)}")
    return new, seconds


def step_of(state: Any) -> int:
    """The step of a state; 0 for the start."""
    return 0 if state is None else int(state.step)


def parameters_of(state: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights (run, feature, hidden) and bias (run, feature) of a state, float32."""
    import numpy as np

    return np.asarray(state.weights, np.float32), np.asarray(state.bias, np.float32)


def starts(case: Case, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias, float32, from which tegum's first runs start."""
    import numpy as np

    from tegum.core.model import initial_weights

    weights = [initial_weights(0, run, case.features, case.hidden) for run in range(runs)]
    return np.stack(weights).astype(np.float32), np.zeros((runs, case.features), np.float32)


def exact_losses(case: Case, weights: np.ndarray, bias: np.ndarray, threads: int) -> np.ndarray:
    """The exact loss of each run, whoever trained it."""
    import numpy as np

    import tegum as tg

    features = make_spec(case, 1).features
    return tg.population_loss(
        weights.astype(np.float64), bias.astype(np.float64), features, tol=1e-6, threads=threads
    )  # fmt: skip
