"""What runs become, trained by the page's science and by tegum: shares of end states over seeds, and their losses.

    python tests/end_states.py 1000 benchmarks/end_states.md        # after `npm ci` in web/; about four minutes

The page has random streams of its own, so that only distributions can agree.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import beta, ks_2samp

import tegum as tg

WEB = Path(__file__).parents[1] / "web"
TRAINING = tg.Sampled(steps=3000, batch=64, rate=0.01, schedule="linear")
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Case:
    """A system, and what to call its end states."""

    what: str
    features: tg.FeatureDistribution
    hidden: int
    states: Callable[[np.ndarray, tg.FeatureDistribution], list[str]]
    shown: str
    """The state whose share is shown."""
    initial_scale: float | None = None

    def spec(self, seeds: int) -> tg.Spec:
        """The Spec of so many runs."""
        return tg.Spec(
            features=self.features,
            hidden=self.hidden,
            training=TRAINING,
            snapshots=1,
            seeds=seeds,
            initial_scale=self.initial_scale,
        )


def polytope(weights: np.ndarray, features: tg.FeatureDistribution) -> list[str]:  # noqa: ARG001 (of all systems alike)
    """The names of the polytopes, without the numbers of what has none."""
    names = tg.polytope_names(weights).tolist()
    return [name if "features in" not in name else "no shape" for name in names]


def collapsed(weights: np.ndarray, features: tg.FeatureDistribution) -> list[str]:
    """How many sets have collapsed."""
    return [f"{count} collapsed" for count in tg.collapsed_count(weights, features).tolist()]


def _pairs(density: float, shown: int) -> Case:
    features = tg.FeatureDistribution([tg.Correlated(2, density)] * 3)
    what = f"three correlated pairs in 2 dimensions, density {density:g}"
    return Case(what, features, 2, collapsed, f"{shown} collapsed")


CASES = (
    Case(
        "5 independent features in 2 dimensions, density 0.2",
        tg.FeatureDistribution([tg.Independent(5, 0.2)]),
        2,
        polytope,
        "pentagon",
    ),
    Case(
        "two correlated sets of three in 3 dimensions, density 0.05, from a start of 0.02",
        tg.FeatureDistribution([tg.Correlated(3, 0.05)] * 2),
        3,
        polytope,
        "octahedron",
        initial_scale=0.02,
    ),
    _pairs(0.05, 1),
    _pairs(0.2, 2),
    _pairs(0.3, 3),
)


@dataclass
class Comparison:
    """The end states of both sides for one case."""

    case: Case
    page: list[str]
    python: list[str]
    losses: tuple[np.ndarray, np.ndarray]
    """The exact losses of the page's runs and of tegum's."""
    misnamed: list[tuple[str, str]] = field(default_factory=list)
    """What the page calls its runs and tegum would not."""

    @property
    def p_states(self) -> float:
        """The probability that states of one origin differ as much."""
        return homogeneity(self.page, self.python)

    @property
    def p_losses(self) -> float:
        """The probability that losses of one origin differ as much (Kolmogorov–Smirnov)."""
        return float(ks_2samp(*self.losses).pvalue)


def homogeneity(one: Sequence[str], other: Sequence[str]) -> float:
    """The probability of counts that differ as much as these if both have one origin, by permuting which is whose.

    The statistic is that of a chi-squared test of homogeneity; small counts do not matter to a permutation.
    """
    states, number = np.unique([*one, *other], return_inverse=True)
    share = len(one) / len(number)
    expected = np.bincount(number) * share

    def statistic(chosen: np.ndarray) -> float:
        counts = np.bincount(chosen, minlength=len(states))
        return float(((counts - expected) ** 2 / expected).sum())

    found, generator = statistic(number[: len(one)]), np.random.default_rng(0)
    beyond = sum(
        statistic(generator.permutation(number)[: len(one)]) >= found * (1 - 1e-9) for _ in range(PERMUTATIONS)
    )
    return (beyond + 1) / (PERMUTATIONS + 1)


def missing() -> str | None:
    """Why the page's science cannot be run, in one sentence."""
    if shutil.which("node") is None:
        return "node is not installed: the page's science needs Node 20, and `npm ci` in web/"
    if not (WEB / "node_modules").is_dir():
        return "web/node_modules is missing: run `npm ci` in web/"
    return None


def build() -> None:
    """Bundle the page's programs for Node."""
    subprocess.run(["node", "build.js"], cwd=WEB, check=True, timeout=120)


def compare(seeds: int, cases: Sequence[Case] = CASES) -> list[Comparison]:
    """Train every case on both sides; the page's programs must have been built."""
    specs = [case.spec(seeds) for case in cases]
    given = json.dumps([spec.to_json() for spec in specs])
    answer = subprocess.run(
        ["node", "build/endstates.js"], cwd=WEB, input=given, capture_output=True, text=True, check=True, timeout=3600
    )
    found = []
    for case, spec, runs in zip(cases, specs, json.loads(answer.stdout), strict=True):
        shape = spec.features.n, spec.hidden
        weights = np.array([run["weights"] for run in runs]).reshape(-1, *shape)
        bias = np.array([run["bias"] for run in runs])
        own = tg.train(spec, threads=1).isel(step=-1)
        names = zip((run["name"] for run in runs), tg.polytope_names(weights).tolist(), strict=True)
        found.append(
            Comparison(
                case,
                case.states(weights, case.features),
                case.states(own.weights.values, case.features),
                (
                    tg.population_loss(weights, bias, case.features),
                    tg.population_loss(own.weights.values.astype(float), own.bias.values.astype(float), case.features),
                ),
                [pair for pair in names if pair[0] != pair[1]],
            )
        )
    return found


def interval(count: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper & Pearson 1934)."""
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    return float(low), float(high)


def table(found: Sequence[Comparison], seeds: int) -> str:
    """The comparison as Markdown."""

    def share(states: Sequence[str], shown: str) -> str:
        count = states.count(shown)
        low, high = interval(count, len(states))
        return f"{count / len(states):.3f} ({low:.3f} to {high:.3f})"

    def mean(values: np.ndarray) -> str:
        return f"{values.mean():.5f} ± {values.std(ddof=1) / np.sqrt(len(values)):.5f}"

    rows = [
        f"| {each.case.what} | {each.case.shown} | {share(each.page, each.case.shown)} | "
        f"{share(each.python, each.case.shown)} | {each.p_states:.3f} | {mean(each.losses[0])} | "
        f"{mean(each.losses[1])} | {each.p_losses:.3f} |"
        for each in found
    ]
    states = []
    for each in found:
        page, python = Counter(each.page), Counter(each.python)
        counts = ", ".join(f"{state} {page[state]} and {python[state]}" for state in sorted(page | python))
        states.append(f"- {each.case.what}: {counts}.")
    return "\n".join(
        [
            "# End states: the page's science and tegum's own training",
            "",
            f"What {seeds} runs become, trained by the page's science (TypeScript, in Node) and by tegum's kernel.",
            "Both sides have random streams of their own, so that shares agree in distribution only. Intervals are",
            "95 % (Clopper & Pearson); *p (states)* is that of a permutation test of homogeneity over all states,",
            f"{PERMUTATIONS:,} permutations; losses are exact population losses at the last step, mean ± standard",
            "error, and *p (losses)* is that of a two-sample Kolmogorov–Smirnov test.",
            "",
            "```sh",
            f"python tests/end_states.py {seeds} benchmarks/end_states.md",
            "```",
            "",
            f"Training: AdamW, rate {TRAINING.rate:g} falling linearly to 0, batch {TRAINING.batch}, "
            f"{TRAINING.steps:,} steps.",
            "",
            "| system | state | share, page | share, tegum | p (states) | loss, page | loss, tegum | p (losses) |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "All states, page and tegum:",
            "",
            *states,
            "",
        ]
    )


def main(arguments: Sequence[str]) -> None:
    """Compare and write the table."""
    seeds, path = int(arguments[0]), Path(arguments[1])
    if why := missing():
        raise SystemExit(why)
    build()
    path.write_text(table(compare(seeds), seeds), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
