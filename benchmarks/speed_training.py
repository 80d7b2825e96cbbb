"""Training speed of tegum compared with its best peers, all in one session on the same cores.

Each repetition times a block of steps of every side, one right after the other, and takes the ratios: the load of a
shared machine then falls on all. See README.md for the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import fmean, median
from typing import Any

import machine
from cases import BATCH, CASES, Case, advance, parameters_of, step_of
from race import RUNS, STEPS, race
from tables import peers_of, ratios, show
from team import PEERS, Arrangement, Team, Teams, Tried, per_run_step, tune
from units import CAPS, choose

# Steps before the early block: enough to have every kernel compiled and every cache warm.
WARM_UP = 10
# Targets are set for this many cores; nothing else is judged.
JUDGED_THREADS = 2
# Share of the cores that others may keep busy. Threads of a peer that wait for each other on a busy machine become
# several times slower, and no ratio measured then says anything.
BUSY = 0.1
# Seconds for the threads of one side to stop waiting for more work, before the next side begins.
PAUSE = 0.02


def report(case: Case, doing: str) -> None:
    """Report progress on stderr."""
    print(f"{case.title}: {doing} …", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure.

    Attributes
    ----------
    threads
        Threads of every side, and cores they share.
    unit
        The vector unit that every side is held to.
    peers
        Names of the peers.
    repetitions
        Alternations of the sides.
    peer_block
        Length of a peer's timed block, seconds.
    quick
        Shorter blocks and an earlier late block: a check that all works, not a measurement.

    """

    threads: int
    unit: str
    peers: tuple[str, ...]
    repetitions: int
    peer_block: float
    quick: bool

    def block(self, case: Case) -> int:
        """Steps of tegum in a timed block."""
        return max(case.block // 8, 20) if self.quick else case.block

    def late(self, case: Case) -> int:
        """Step at which the late block starts."""
        return case.late // 10 if self.quick else case.late


@dataclass(frozen=True)
class Series:
    """Times of one block, repetition by repetition, in microseconds per run and step, by side.

    `busy` is the share of the cores that others used just before each repetition.
    """

    block: str
    step: int
    times: dict[str, list[float]]
    busy: list[float]


def alternate(case: Case, state: Any, settings: Settings, block: str, teams: dict[str, tuple[Team, int]]) -> Series:
    """Time all sides in turn, tegum from the same state each time; each peer with a number of steps."""
    steps = settings.block(case)
    start = step_of(state)
    series = Series(block, start, {name: [] for name in ("tegum", *teams)}, [])

    def time_peer(name: str, team: Team, peer_steps: int) -> None:
        seconds = team.train(peer_steps)
        series.times[name].append(per_run_step(seconds, team.instances * team.processes, peer_steps))

    def time_tegum() -> None:
        _, seconds = advance(case, state, steps, settings.threads)
        series.times["tegum"].append(per_run_step(seconds, case.runs, steps))

    order: list[Callable[[], None]] = [time_tegum]
    for name, (team, peer_steps) in teams.items():
        team.load(*parameters_of(state))
        team.train(2)
        order.append(partial(time_peer, name, team, peer_steps))
    # Alternate, so that what one side leaves behind (clock rate, caches) does not always affect the same other.
    for _ in range(settings.repetitions):
        series.busy.append(machine.busy_share())
        for side in order:
            side()
            time.sleep(PAUSE)
        order.reverse()
    if step_of(state) != start:
        raise RuntimeError(f"{case.name}: the engine changed the state it was given")
    return series


def tuned_teams(
    case: Case, tuned: dict[str, list[Tried]], teams: Teams, settings: Settings
) -> dict[str, tuple[Team, int]]:
    """The team of each peer in its best arrangement, and the steps of its timed block."""
    made = {}
    for name, tried in tuned.items():
        best = tried[0].arrangement
        call = tried[0].us * best.instances * best.processes / 1e6
        made[name] = teams.ready(PEERS[name], best, case), max(2, round(settings.peer_block / call))
    return made


def measure(case: Case, settings: Settings, teams: Teams) -> dict[str, Any]:
    """All times of one case."""
    tuned = {}
    for name in settings.peers:
        report(case, f"how {PEERS[name].name} is fastest")
        tuned[name] = tune(teams, PEERS[name], case)

    report(case, "early block")
    made = tuned_teams(case, tuned, teams, settings)
    early, _ = advance(case, None, WARM_UP, settings.threads)
    advance(case, early, settings.block(case), settings.threads)
    series = [alternate(case, early, settings, "early", made)]

    report(case, f"training to step {settings.late(case)}, late block")
    late, _ = advance(case, early, settings.late(case) - WARM_UP, settings.threads)
    series.append(alternate(case, late, settings, "late", made))
    result = {
        "case": case.name,
        "title": case.title,
        "flops": case.flops,
        "targets": case.targets(settings.unit),
        **asdict(case),
        "tuned": {name: [each.as_json() for each in tried] for name, tried in tuned.items()},
        "blocks": [asdict(each) for each in series],
    }
    if case.name in RUNS:
        report(case, "time to the same exact loss")
        best: dict[str, Arrangement] = {name: tried[0].arrangement for name, tried in tuned.items()}
        result["race"] = race(case, teams, best, STEPS // 10 if settings.quick else STEPS)
    return result


def start_up(case: Case, settings: Settings) -> dict[str, Any]:
    """Seconds to import and to make the first call, each in a fresh process.

    tegum twice with a compilation cache of its own: empty at first, then as that left it. One case stands for all.
    """
    report(case, "start-up")
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        probes = {f"tegum, {name} cache": probe("tegum", case, settings, environment) for name in ("empty", "warm")}
    return {"case": case.name, "probes": probes | {"PyTorch eager": probe("eager", case, settings, os.environ)}}


def probe(side: str, case: Case, settings: Settings, environment: Any) -> dict[str, float]:
    """Start-up of one side, measured by running this file in a separate process."""
    command = [sys.executable, __file__, "--case", case.name, "--threads", str(settings.threads), "--probe", side]
    answer = subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def probe_here(side: str, case: Case, threads: int) -> dict[str, float]:
    """Time import and first call, one step, in this process; seconds."""
    start = time.perf_counter()
    if side == "tegum":
        # The names, not just the package, which loads a module when one of its names is first used.
        from tegum import FeatureDistribution, Spec, iterate  # noqa: F401

        imported = time.perf_counter()
        advance(case, None, 1, threads)
    else:
        from reference import TorchRecipe

        recipe = TorchRecipe(threads, seed=0)
        imported = time.perf_counter()
        recipe.build(
            case.runs, features=case.features, hidden=case.hidden, density=case.density, set_size=case.set_size
        )  # fmt: skip
        recipe.train(1)
    return {"import_s": imported - start, "first_call_s": time.perf_counter() - imported}


def judge(result: dict[str, Any], settings: Settings) -> dict[str, str]:
    """Whether the early block's median ratios reach their targets: "pass" or "fail".

    "busy" where others used the machine meanwhile. Without a target, or a peer that it needs, nothing is judged.
    """
    early = result["blocks"][0]
    fastest = {"eager": "eager", "best": peers_of(early)[0]}
    needed = {"eager": {"eager"}, "best": set(PEERS)}
    verdicts = {}
    for relative_to, target in result["targets"].items():
        if settings.threads != JUDGED_THREADS or not needed[relative_to] <= set(settings.peers):
            continue
        reached = median(ratios(early, fastest[relative_to])) >= target
        verdicts[relative_to] = "busy" if fmean(early["busy"]) > BUSY else "pass" if reached else "fail"
    return verdicts


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be given again")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this peer; may be given again")
    parser.add_argument("--unit", choices=CAPS, default="native", help="the vector unit every side is held to (native)")
    parser.add_argument("--repetitions", type=int, default=None, help="alternations (7; with --quick 3)")
    parser.add_argument("--threads", type=int, default=JUDGED_THREADS, help="threads of every side (2)")
    parser.add_argument(
        "--quick", action="store_true", help="a short run to check that everything works; the numbers mean little"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument("--probe", choices=("tegum", "eager"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    kinds = {PEERS[name].kind for name in arguments.peer or PEERS}
    if kinds & {"eager", "compile"} and find_spec("torch") is None:
        parser.error("PyTorch is not installed: pip install -e '.[bench]', or choose peers without it by --peer")
    if "compile" in kinds and which(os.environ.get("CXX", "g++")) is None:
        parser.error("torch.compile needs a C++ compiler, g++ or what CXX names; or choose other peers by --peer")
    try:
        machine.confine(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main() -> int:
    """Measure, print, and return 1 if a target was missed, or could not be judged on a busy machine."""
    arguments = parsed()
    # Before anything loads a library that computes.
    choose(arguments.unit)
    chosen = [CASES[name] for name in arguments.case or CASES]
    if arguments.probe:
        print(json.dumps(probe_here(arguments.probe, chosen[0], arguments.threads)))
        return 0

    settings = Settings(
        threads=arguments.threads,
        unit=arguments.unit,
        peers=tuple(arguments.peer or PEERS),
        repetitions=arguments.repetitions or (3 if arguments.quick else 7),
        peer_block=0.1 if arguments.quick else 0.5,
        quick=arguments.quick,
    )
    before = machine.describe(settings.threads)
    # A cache of its own, so that compilation is timed as on a new machine.
    with tempfile.TemporaryDirectory() as cache, Teams(settings.threads) as teams:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        results = [measure(case, settings, teams) for case in chosen]
    # Once more at the end: the difference between the two shows how quiet the machine was.
    content = {
        "kind": "speed",
        "machine": before | {"sgemm_gflops_after": machine.sgemm_gflops(settings.threads)},
        "settings": asdict(settings) | {"batch": BATCH},
        "flops_convention": "10 n m per sample: five dense products, two operations a multiply-add",
        "results": [result | {"verdicts": judge(result, settings)} for result in results],
        "start_up": start_up(chosen[0], settings),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    show(content)
    return verdict(content["results"])


def verdict(results: list[dict[str, Any]]) -> int:
    """Print a sentence for each target; 1 if one was missed or could not be judged."""
    bad = 0
    for result in results:
        for relative_to, found in result["verdicts"].items():
            peer = "PyTorch eager" if relative_to == "eager" else "the fastest peer"
            said = {
                "pass": "reached",
                "fail": "missed",
                "busy": f"not judged: others kept more than {BUSY:.0%} of the cores busy",
            }[found]
            print(f"{result['title']}: {result['targets'][relative_to]:g} times as fast as {peer}: {said}")
            bad += found != "pass"
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
