"""Tables of a result file: `python benchmarks/tables.py RESULT.json` prints them as Markdown.

The benchmarks print the same tables at the end of a measurement. Every number comes from the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from team import PEERS

PEER_NAMES = {name: peer.name for name, peer in PEERS.items()}


class Table(NamedTuple):
    """A table as text; columns after the first `words` are numbers."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    words: int = 1


def quantile(values: list[float], q: float) -> float:
    """The q-quantile, linear between the values."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def ratios(block: dict[str, Any], peer: str) -> list[float]:
    """The speed of tegum relative to a peer, for each repetition."""
    return [theirs / ours for theirs, ours in zip(block["times"][peer], block["times"]["tegum"], strict=True)]


def peers_of(block: dict[str, Any]) -> list[str]:
    """The peers in a block, the fastest first."""
    return sorted(set(block["times"]) - {"tegum"}, key=lambda peer: median(block["times"][peer]))


def number(value: float) -> str:
    """A time or a ratio with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    return f"{number(median(values))} ({number(quantile(values, 0.25))}–{number(quantile(values, 0.75))})"


def arranged(tried: dict[str, Any]) -> str:
    """Processes × instances, and the options."""
    options = ", ".join(tried["options"].values())
    return f"{tried['processes']} × {tried['instances']}" + (f", {options}" if options else "")


def machine_line(content: dict[str, Any]) -> str:
    """Where it was measured."""
    m = content["machine"]
    after = m.get("sgemm_gflops_after", m["sgemm_gflops"])
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    return (
        f"{m['cpu']}, {m['cores_used']} of {m['cores_present']} cores, kernels for {m['unit']}; sgemm "
        f"{m['sgemm_gflops']:.0f} GFLOP/s before, {after:.0f} after; {m['date']}; {versions}"
    )


def speed_summary(content: dict[str, Any]) -> Iterator[Table]:
    """One row a case: the fastest peer first, then each peer."""
    results = content["results"]
    names = [name for name in PEER_NAMES if name in results[0]["blocks"][0]["times"]]
    for number_of_block in range(len(results[0]["blocks"])):
        rows = []
        for result in results:
            block = result["blocks"][number_of_block]
            fastest = peers_of(block)[0]
            targets = result["targets"] if block["block"] == "early" else {}
            rows.append(
                [
                    result["title"],
                    PEER_NAMES[fastest],
                    number(median(block["times"]["tegum"])),
                    spread(ratios(block, fastest)),
                    f"{targets['best']:g}" if "best" in targets else "–",
                    *(spread(ratios(block, name)) for name in names),
                    f"{targets['eager']:g}" if "eager" in targets else "–",
                    f"{fmean(block['busy']):.0%}",
                ]
            )
        headings = ["case", "fastest peer", "tegum, µs", "ratio to it", "target"]
        headings += [f"ratio to {PEER_NAMES[name]}" for name in names] + ["target, eager", "others"]
        yield Table(f"{results[0]['blocks'][number_of_block]['block']} block", headings, rows, words=2)


def speed_details(content: dict[str, Any]) -> Iterator[Table]:
    """One row for each case, block and peer."""
    gflops = max(content["machine"]["sgemm_gflops"], content["machine"]["sgemm_gflops_after"])
    rows = []
    for result in content["results"]:
        for block in result["blocks"]:
            tegum = block["times"]["tegum"]
            share = result["flops"] / (median(tegum) * 1e-6) / (gflops * 1e9)
            ends = [f"{number(median(tegum))}", f"{share:.0%}", f"{fmean(block['busy']):.0%}"]
            for place, peer in enumerate(peers_of(block)):
                theirs, tried = block["times"][peer], result["tuned"][peer][0]
                of_block = ratios(block, peer)
                single = [each["us"] for each in result["tuned"][peer] if each["processes"] == 1]
                first = place == 0
                rows.append(
                    [
                        result["title"] if first and block["block"] == "early" else "",
                        f"{block['block']}, {block['step']:,}" if first else "",
                        PEER_NAMES[peer],
                        arranged(tried),
                        number(median(theirs)),
                        spread(of_block),
                        f"{number(min(of_block))}–{number(max(of_block))}",
                        number(min(theirs) / min(tegum)),
                        number(min(single)) if single else "–",
                        f"{tried['first_s']:.1f}",
                        *(ends if first else ["", "", ""]),
                    ]
                )
    headings = ["case", "from step", "peer", "processes × instances", "peer, µs", "ratio", "min–max", "best/best"]
    headings += ["one process, µs", "compile, s", "tegum, µs", "of sgemm", "others"]
    yield Table("µs per run and step, every peer", headings, rows, words=4)


def race_tables(content: dict[str, Any]) -> Iterator[Table]:
    """Seconds until the same exact loss."""
    rows = []
    for result in content["results"]:
        if not (race := result.get("race")):
            continue
        ours = race["reached"]["tegum"]["seconds"]
        for side, reached in sorted(race["reached"].items(), key=lambda item: item[1]["seconds"]):
            rows.append(
                [
                    f"{result['case']}, {race['runs']} runs",
                    PEER_NAMES.get(side, side),
                    f"{race['level']:.5f}",
                    f"{reached['step']:,}",
                    number(reached["seconds"]),
                    number(reached["seconds"] / ours),
                ]
            )
    if rows:
        headings = ["case", "side", "median exact loss", "steps", "seconds", "times tegum's"]
        yield Table("wall time to the same exact loss", headings, rows, words=2)


def start_up_tables(content: dict[str, Any]) -> Iterator[Table]:
    """Seconds of start-up."""
    if start_up := content.get("start_up"):
        cells = [f"{p['import_s']:.2f} + {p['first_call_s']:.2f}" for p in start_up["probes"].values()]
        yield Table(
            "start-up in a fresh process, seconds: import + first call (one step of all runs)",
            ["case", *start_up["probes"]],
            [[start_up["case"], *cells]],
        )


def profile_tables(content: dict[str, Any]) -> Iterator[Table]:
    """Where a step's time goes, and the machine's own rates."""
    rates = content["rates"]
    rows = [[name, f"{rate['value']:,.1f}", rate["unit"]] for name, rate in rates.items()]
    yield Table("rates of one core", ["what", "rate", "unit"], rows)
    for block in ("early", "late"):
        rows = []
        for result in content["results"]:
            of_block = result[block]
            for part, at in of_block["parts"].items():
                rows.append(
                    [
                        f"{result['case']}, step {of_block['step']:,}" if part == "sampling" else "",
                        part,
                        number(at["us"]),
                        f"{at['us'] / of_block['step_us']:.0%}",
                        f"{at['rate']:,.1f} {at['unit']}",
                        f"{at['rate'] / rates[at['bound']]['value']:.0%} of {at['bound']}",
                    ]
                )
            whole = of_block["step_us"]
            share = f"{of_block['sum_us'] / whole:.0%}"
            rows.append(["", "sum of parts", number(of_block["sum_us"]), share, "", ""])
            rows.append(["", "a step, measured whole", number(whole), "100%", "", ""])
            rows.append(["", "snapshot's evaluation", number(of_block["evaluation_us"]), "", "", ""])
        headings = ["case", "part", "µs", "share", "reached", "of the machine's rate"]
        yield Table(f"a training step of one run on one core, {block}", headings, rows, words=2)


def growth_tables(content: dict[str, Any]) -> Iterator[Table]:
    """The measured points of each sweep."""
    for sweep, of_sweep in content["sweeps"].items():
        values = of_sweep["values"]
        rows = []
        for line in of_sweep["lines"]:
            at = dict(zip(line["at"], line["us"], strict=True))
            cells = [number(at[value]) if value in at else "–" for value in values]
            rows.append([line["name"], str(line["cores"]), *cells])
        yield Table(of_sweep["title"], ["side", "cores", *(f"{value:,}" for value in values)], rows)
        rows = [[each["line"], each["above"], each["why"]] for each in of_sweep["left_out"]]
        if rows:
            yield Table(f"{sweep}: left out", ["side", "from", "why"], rows, words=3)


KINDS: dict[str, tuple[Callable[[dict[str, Any]], Iterator[Table]], ...]] = {
    "speed": (speed_summary, speed_details, race_tables, start_up_tables),
    "profile": (profile_tables,),
    "growth": (growth_tables,),
}


def tables(content: dict[str, Any]) -> Iterator[Table]:
    """All tables of a result."""
    for make in KINDS[content["kind"]]:
        yield from make(content)


def markdown(table: Table) -> str:
    """A table as Markdown, under its title."""
    rule = ["---"] * table.words + ["---:"] * (len(table.headings) - table.words)
    lines = [table.headings, rule, *table.rows]
    title = table.title if table.title.startswith("µ") else table.title[:1].upper() + table.title[1:]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{title}:\n\n{body}\n"


def show(content: dict[str, Any]) -> None:
    """Print all tables on the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    if not console.is_terminal:
        # A file or a log has no width to which to fold a table.
        console = Console(width=200)
    console.print(machine_line(content))
    for each in tables(content):
        table = RichTable(title=each.title)
        for place, heading in enumerate(each.headings):
            table.add_column(heading, justify="left" if place < each.words else "right")
        for row in each.rows:
            table.add_row(*row)
        console.print(table)


def main() -> None:
    """Print the tables of a result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="a JSON file that a benchmark has written")
    given = parser.parse_args()
    try:
        content = json.loads(given.result.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"tables.py: {given.result} cannot be read: {error}")
    if not isinstance(content, dict) or content.get("kind") not in KINDS:
        sys.exit(f"tables.py: {given.result} must be a result of one of the benchmarks {', '.join(KINDS)}")
    print(machine_line(content) + ".\n")
    print("\n".join(map(markdown, tables(content))), end="")


if __name__ == "__main__":
    main()
