"""Whether recorded losses rank the seeds of a Spec: 64 runs of six sparse features, compared with their exact losses.

For each density: Spearman's correlation of the exact loss with the loss on a separate sample for each run, and on
shared samples, small and large. Also the excess exact loss of the run with the lowest recorded one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import tegum as tg
from tegum.core.loss.empirical import empirical_loss

SEEDS, STEPS, RATE, EVALUATION = 64, 4_000, 3e-3, 4_096
MANY = 2**18


def measured(density: float, seeds: int, steps: int, often: int) -> dict[str, float]:
    """The results for one density."""
    features = tg.FeatureDistribution([tg.Independent(6, density=density)])
    training = tg.Sampled(steps=steps, rate=RATE, evaluation=EVALUATION)
    run = tg.train(tg.Spec(features=features, hidden=2, training=training, snapshots=1, seeds=seeds)).isel(step=-1)
    weights, bias, recorded = (run[name].values.astype(float) for name in ("weights", "bias", "loss"))
    exact = tg.population_loss_along(run, tol=1e-10).values
    own, shared = [], []
    for number in range(often):
        x = features.sample([number, 0], seeds * EVALUATION).reshape(seeds, EVALUATION, -1)
        losses = [empirical_loss(w, b, mine) for w, b, mine in zip(weights, bias, x, strict=True)]
        own.append(_correlation(losses, exact))
        shared.append(_correlation(empirical_loss(weights, bias, x[0]), exact))
    large = (features.sample([number, 1], MANY) for number in range(max(2, often // 8)))
    many = [_correlation(empirical_loss(weights, bias, x), exact) for x in large]
    taken = int(recorded.argmin())
    return {
        "density": density,
        "spread of the exact loss": float(exact.std() / exact.mean()),
        "standard error of the recorded": float((tg.loss_error(run) / exact).mean()),
        "recorded / exact, least": float((recorded / exact).min()),
        "recorded / exact, largest": float((recorded / exact).max()),
        "correlation, own samples": float(np.mean(own)),
        "correlation, one sample": float(np.mean(shared)),
        "correlation, one sample of 2^18": float(np.mean(many)),
        "correlation, as recorded": _correlation(recorded, exact),
        "exact rank of the least recorded": int((exact < exact[taken]).sum()) + 1,
        "and its excess over the best": float(exact[taken] / exact.min() - 1),
        "exact rank of tg.best": int((exact < exact[int(tg.best(run).seed)]).sum()) + 1,
    }


def _correlation(losses: object, exact: np.ndarray) -> float:
    values = np.asarray(losses)
    return float(spearmanr(values, exact)[0]) if np.ptp(values) else 0.0


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--densities", type=float, nargs="+", default=[0.05, 0.01, 1e-4])
    parser.add_argument("--quick", action="store_true", help="fewer seeds, steps and samples")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    size = (12, 400, 4) if given.quick else (SEEDS, STEPS, 24)
    found = [measured(density, *size) for density in given.densities]
    for name in found[0]:
        print(f"{name:34}", *(f"{each[name]:12.4g}" for each in found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
