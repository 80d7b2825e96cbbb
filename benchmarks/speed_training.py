"""Training speed of tegum compared with the field's reference recipe, both in one session on the same cores.

Each repetition times a block of steps of the reference and a block of steps of tegum, one right after the
other, and takes their ratio: the load of a shared machine then falls on both. See README.md for the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import machine
from cases import BATCH, CASES, Case, advance, parameters_of, step_of
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from reference import Team

# Steps before the early block: enough to have every kernel compiled and every cache warm.
WARM_UP = 10
# Targets are set for this many cores, and a reference in one process; nothing else is judged.
JUDGED_THREADS = 2
# Share of the cores that others may keep busy. Threads of the reference that wait for each other on a busy
# machine become several times slower, and no ratio measured then says anything.
BUSY = 0.1


def report(case: Case, doing: str) -> None:
    """Report progress on stderr."""
    print(f"{case.title}: {doing} …", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure.

    Attributes
    ----------
    threads
        Threads of either side, and cores they share.
    repetitions
        Alternations of the two sides.
    reference_processes
        Processes among which the reference splits its threads.
    reference_block
        Length of the reference's timed block, seconds.
    quick
        Shorter blocks and an earlier late block: a check that all works, not a measurement.

    """

    threads: int
    repetitions: int
    reference_processes: int
    reference_block: float
    quick: bool

    def block(self, case: Case) -> int:
        """Steps of tegum in a timed block."""
        return max(case.block // 8, 20) if self.quick else case.block

    def late(self, case: Case) -> int:
        """Step at which the late block starts."""
        return case.late // 10 if self.quick else case.late


@dataclass(frozen=True)
class Series:
    """Times of one block, repetition by repetition, in microseconds per run and step.

    `busy` is the share of the cores that others used just before each repetition.
    """

    block: str
    step: int
    reference: list[float]
    tegum: list[float]
    busy: list[float]

    @property
    def ratios(self) -> list[float]:
        """The speed of tegum relative to the reference, for each repetition."""
        return [r / t for r, t in zip(self.reference, self.tegum, strict=True)]


def quantile(values: list[float], q: float) -> float:
    """The q-quantile, linear between the values."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def best_instances(team: Team, case: Case) -> dict[int, float]:
    """Try the reference with all the runs in one call, half of them, a quarter, … down to one.

    Returns microseconds per run and step for each number of instances per call and process, the fastest
    first. One such call stands for all of a case's: they are alike, and a reference that keeps its one part
    in cache loses nothing by it.
    """
    instances = -(-case.runs // team.processes)
    tried = {}
    while True:
        build(team, case, instances)
        team.train(2)
        # Steps for a tenth of a second, then the best of three, as other load only adds time.
        steps = max(2, round(0.1 / (team.train(2) / 2)))
        seconds = min(team.train(steps) for _ in range(3))
        tried[instances] = per_run_step(seconds, instances * team.processes, steps)
        if instances == 1:
            break
        instances = -(-instances // 2)
    return dict(sorted(tried.items(), key=lambda item: item[1]))


def build(team: Team, case: Case, instances: int) -> None:
    """Give the team fresh models of a case."""
    team.build(instances, features=case.features, hidden=case.hidden, density=case.density, set_size=case.set_size)


def per_run_step(seconds: float, runs: int, steps: int) -> float:
    """Microseconds per run and step."""
    return seconds / (runs * steps) * 1e6


def alternate(team: Team, case: Case, state: Any, settings: Settings, block: str, reference_steps: int) -> Series:
    """Time the two sides in turn, tegum from the same state each time."""
    team.load(*parameters_of(state))
    steps = settings.block(case)
    start = step_of(state)
    series = Series(block, start, [], [], [])

    def time_reference() -> None:
        seconds = team.train(reference_steps)
        series.reference.append(per_run_step(seconds, team.instances * team.processes, reference_steps))

    def time_tegum() -> None:
        _, seconds = advance(case, state, steps, settings.threads)
        series.tegum.append(per_run_step(seconds, case.runs, steps))

    # Alternate, so that what one side leaves behind (clock rate, caches) does not always affect the other.
    order = [time_reference, time_tegum]
    for _ in range(settings.repetitions):
        series.busy.append(machine.busy_share())
        for side in order:
            side()
        order.reverse()
    if step_of(state) != start:
        raise RuntimeError(f"{case.name}: the engine changed the state it was given")
    return series


def measure(case: Case, settings: Settings) -> dict[str, Any]:
    """All times of one case."""
    # Imported here: the start-up probes run this file too, and time the loading of PyTorch.
    from reference import Team

    team = Team(settings.reference_processes, settings.threads // settings.reference_processes)
    try:
        report(case, "how many instances suit the reference")
        tried = best_instances(team, case)
        instances, reference_time = next(iter(tried.items()))
        build(team, case, instances)
        call = reference_time * instances * team.processes / 1e6
        reference_steps = max(2, round(settings.reference_block / call))
        team.train(2)

        report(case, "early block")
        early, _ = advance(case, None, WARM_UP, settings.threads)
        advance(case, early, settings.block(case), settings.threads)
        series = [alternate(team, case, early, settings, "early", reference_steps)]

        report(case, f"training to step {settings.late(case)}, late block")
        late, _ = advance(case, early, settings.late(case) - WARM_UP, settings.threads)
        series.append(alternate(team, case, late, settings, "late", reference_steps))
    finally:
        team.close()
    return {
        "case": case.name,
        "title": case.title,
        **asdict(case),
        "reference_instances": instances,
        "reference_instances_tried_us": tried,
        "blocks": [asdict(s) | {"ratio": s.ratios} for s in series],
        "start_up": start_up(case, settings),
    }


def start_up(case: Case, settings: Settings) -> dict[str, Any]:
    """Seconds to import and to make the first call, each in a fresh process.

    tegum twice with a compilation cache of its own: empty at first ("cold"), then as that left it ("warm").
    """
    report(case, "start-up")
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        probes = {name: probe("tegum", case, settings, environment) for name in ("cold", "warm")}
    return probes | {"reference": probe("reference", case, settings, os.environ)}


def probe(side: str, case: Case, settings: Settings, environment: Any) -> dict[str, float]:
    """Start-up of one side, measured by running this file in a separate process."""
    command = [
        sys.executable,
        __file__,
        "--case",
        case.name,
        "--threads",
        str(settings.threads),
        "--probe",
        side,
    ]
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
        import reference
        import torch

        torch.set_num_threads(threads)
        imported = time.perf_counter()
        model = reference.Model(case.runs, case.features, case.hidden, density=case.density, set_size=case.set_size)
        reference.train(model, reference.make_optimiser(model), 1)
    return {"import_s": imported - start, "first_call_s": time.perf_counter() - imported}


def judge(result: dict[str, Any], settings: Settings) -> str:
    """Whether the early block's median ratio reaches the target: "pass" or "fail".

    "busy" where others used the machine meanwhile, "not judged" where the target is not for these settings.
    """
    if settings.threads != JUDGED_THREADS or settings.reference_processes != 1:
        return "not judged"
    early = result["blocks"][0]
    if fmean(early["busy"]) > BUSY:
        return "busy"
    return "pass" if median(early["ratio"]) >= result["target"] else "fail"


COLOURS = {"pass": "green", "fail": "red", "busy": "yellow"}


def speed_table(results: list[dict[str, Any]], settings: Settings, gflops: float) -> Table:
    """The table of times and ratios."""
    processes = settings.reference_processes
    each = settings.threads // processes
    table = Table(
        title=f"µs per run and step, batch {BATCH}, {settings.threads} threads (reference: "
        f"{processes} × {each}), {settings.repetitions} repetitions",
    )
    table.add_column("case")
    table.add_column("from step", justify="right")
    for heading in ("reference", "per call", "tegum", "ratio", "quartiles", "min–max", "best/best", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.add_column("of sgemm", justify="right")
    table.add_column("others", justify="right")
    for result in results:
        verdict = judge(result, settings)
        verdict = f"[{COLOURS.get(verdict, 'default')}]{verdict}[/]"
        for block in result["blocks"]:
            ratios, tegum_times = block["ratio"], block["tegum"]
            tegum = median(tegum_times)
            judged = block["block"] == "early"
            share = CASES[result["case"]].flops / (tegum * 1e-6) / (gflops * 1e9)
            table.add_row(
                result["title"] if judged else "",
                f"{block['step']:,}",
                f"{median(block['reference']):,.1f}",
                str(result["reference_instances"]),
                f"{tegum:,.2f}",
                f"{median(ratios):.1f}",
                f"{quantile(ratios, 0.25):.1f}–{quantile(ratios, 0.75):.1f}",
                f"{min(ratios):.1f}–{max(ratios):.1f}",
                f"{min(block['reference']) / min(tegum_times):.1f}",
                f"{result['target']:g}" if judged else "",
                verdict if judged else "",
                f"{share:.0%}",
                f"{fmean(block['busy']):.0%}",
                end_section=not judged,
            )
    return table


def start_up_table(results: list[dict[str, Any]]) -> Table:
    """The table of start-up times."""
    table = Table(title="start-up in a fresh process, seconds: import + first call (one step of all runs)")
    for heading in ("case", "tegum, empty cache", "tegum, warm cache", "reference"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for result in results:
        cells = [f"{p['import_s']:.2f} + {p['first_call_s']:.2f}" for p in result["start_up"].values()]
        table.add_row(result["case"], *cells)
    return table


def show(results: list[dict[str, Any]], settings: Settings, before: dict[str, Any], gflops_after: float) -> None:
    """Print the machine and both tables; shares are of the larger of the two sgemm rates."""
    console = Console()
    if not console.is_terminal:
        # A file or a log has no width to which to fold a table.
        console = Console(width=180)
    gflops = before["sgemm_gflops"]
    console.print(f"{before['cpu']}, {before['cores_used']} of {before['cores_present']} cores")
    console.print(f"sgemm {machine.SIZE}³: {gflops:.0f} GFLOP/s before, {gflops_after:.0f} after")
    console.print(", ".join(f"{name} {version}" for name, version in before["versions"].items()))
    console.print(speed_table(results, settings, max(gflops, gflops_after)))
    console.print(start_up_table(results))


def main() -> int:
    """Measure, print, and return 1 if a target was missed, or could not be judged on a busy machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be given again")
    parser.add_argument("--repetitions", type=int, default=None, help="alternations (7; with --quick 3)")
    parser.add_argument("--threads", type=int, default=JUDGED_THREADS, help="threads of either side (2)")
    parser.add_argument(
        "--reference-processes",
        type=int,
        default=1,
        help="processes among which the reference splits its threads (1)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run to check that everything works; the numbers mean little"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument("--probe", choices=("tegum", "reference"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads % arguments.reference_processes:
        parser.error("--reference-processes must divide --threads")

    try:
        machine.confine(arguments.threads)
    except ValueError as error:
        parser.error(str(error))
    chosen = [CASES[name] for name in arguments.case or CASES]
    if arguments.probe:
        print(json.dumps(probe_here(arguments.probe, chosen[0], arguments.threads)))
        return 0

    settings = Settings(
        threads=arguments.threads,
        repetitions=arguments.repetitions or (3 if arguments.quick else 7),
        reference_processes=arguments.reference_processes,
        reference_block=0.1 if arguments.quick else 0.5,
        quick=arguments.quick,
    )
    before = machine.describe(settings.threads)
    results = [measure(case, settings) for case in chosen]
    # Once more at the end: the difference between the two shows how quiet the machine was.
    gflops_after = machine.sgemm_gflops(settings.threads)
    show(results, settings, before, gflops_after)
    verdicts = [judge(result, settings) for result in results]
    if arguments.json:
        content = {
            "machine": before | {"sgemm_gflops_after": gflops_after},
            "settings": asdict(settings),
            "flops_convention": "10 n m per sample: five dense products, two operations a multiply-add",
            "results": [result | {"verdict": verdict} for result, verdict in zip(results, verdicts, strict=True)],
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    return int("fail" in verdicts or "busy" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
