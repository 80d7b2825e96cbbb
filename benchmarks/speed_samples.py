"""How many batches of samples `tegum.torch.Samples` yields a second, on one core.

    python benchmarks/speed_samples.py          a minute; needs PyTorch

Batches have 1,024 samples of 32 features, and come through a DataLoader without workers. The target is 1,000 a second.
"""

from __future__ import annotations

import time

import torch

import tegum as tg
import tegum.torch

BATCHES, REPETITIONS, TARGET = 300, 7, 1_000

CORRELATION = [[0.5 ** abs(i - j) for j in range(32)] for i in range(32)]

KINDS = {
    "32 independent features": [tg.Independent(32, 0.05)],
    "16 correlated pairs": [tg.Correlated(2, 0.05)] * 16,
    "16 partially correlated pairs": [tg.PartiallyCorrelated(2, 0.05, 0.5)] * 16,
    "4 anticorrelated sets of 8": [tg.Anticorrelated(8, 0.3)] * 4,
    "exactly 3 of 32": [tg.ExactlyK(32, 3)],
    "a hierarchy of 32": [tg.Hierarchy([-1, *(k // 2 for k in range(31))], 0.4)],
    "a copula with 1 factor": [tg.Copula(0.05, factors=[[0.7]] * 32)],
    "a copula with 4 factors": [tg.Copula(0.05, factors=[[0.4, 0.4, 0.4, 0.4]] * 32)],
    "a copula with 32 correlated variables": [tg.Copula(0.05, CORRELATION)],
    "8 equivariant features of 4": [tg.Equivariant(4, 0.05, 0.5)] * 8,
    "16 pairs with half-normal magnitudes": [tg.Correlated(2, 0.05, magnitude=tg.HalfNormalMagnitude())] * 16,
}


def rate(sets: list[tg.FeatureSet], seed: int) -> float:
    """Batches a second."""
    samples = tegum.torch.Samples(sets, 1024, seed=seed, batches=BATCHES)
    begin = time.perf_counter()
    count = sum(1 for _ in torch.utils.data.DataLoader(samples, batch_size=None))
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure every kind in turn, several times, and print the medians and the range."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {name: [] for name in KINDS}
    for repetition in range(REPETITIONS):
        for name, sets in KINDS.items():
            found[name].append(rate(sets, repetition))
    print("| features | batches/s, median | range |\n|---|---|---|")
    for name, rates in found.items():
        middle, low, high = sorted(rates)[REPETITIONS // 2], min(rates), max(rates)
        print(f"| {name} | {middle:,.0f}{'' if middle >= TARGET else ' (target missed)'} | {low:,.0f}–{high:,.0f} |")


if __name__ == "__main__":
    main()
