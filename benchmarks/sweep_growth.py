"""What it costs to coordinate a sweep, without the training: packs of nothing, by the hundred to the hundred thousand.

    python benchmarks/sweep_growth.py [--packs 100 1000 10000 100000] [--dask] [--folder FOLDER]

Every pack is a single run that is not trained: a worker seals what it would have kept, and puts it in its place. What
is left is the work of whoever hands out packs, the disk, and the gathering of packs in the store. Told are the seconds
of each part, those of the coordinator's own processor among them, the most memory that the coordinator has added after
a warm-up, the files that there are, and the seconds of looking at the sweep and of calling it again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from machine import describe

import tegum as tg
from tegum.sweeps import store
from tegum.sweeps.coordinator import Coordinator
from tegum.sweeps.design import design
from tegum.sweeps.kept import Keeping
from tegum.sweeps.layout import Array, Layout, shard
from tegum.sweeps.packs import Made, PackTask, identity, path_of, sealed
from tegum.sweeps.places import SweepPlace, place_at
from tegum.sweeps.plan import Pack, RunGroup, SweepPlan
from tegum.sweeps.status import status
from tegum.sweeps.workers import crew_of

ARRAYS = (Array("result", (), (), "string", {}), Array("loss", (), (), "float64", {}))


def nothing(task: PackTask) -> Made:
    """A pack whose run was not trained."""
    begin = time.perf_counter()
    values = {"result": np.array([["completed"]], object), "loss": np.zeros((1, 1))}
    layout = task.layout
    shards = {layout.key(each, task.position): shard(layout, each, values[each.name]) for each in layout.arrays}
    content = sealed(task.name, shards, {})
    place_at(task.place, "sweep").write(path_of(task.name), content)
    return Made(task.name, None, time.perf_counter() - begin, len(content), task.identity.unit)


def memory() -> float:
    """Megabytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def plan_of(packs: int) -> SweepPlan:
    """A plan of packs of one run."""
    spec = tg.Spec(features=[tg.Independent(6, 0.1)], hidden=2, training=tg.Sampled(steps=1), seeds=packs)
    keeping = Keeping(["loss"], "sweep")
    layout = Layout("", 1, packs, (1, 1), ARRAYS, ())
    group = RunGroup((0,), layout, ((0.1, 1e-3),), 100.0, least=False)
    keep = tuple(keeping.to_json())
    return SweepPlan(design(spec), keep, {}, "auto", identity(keeping, "auto", [spec]), False, (group,))


def measured(packs: int, executor: object, folder: Path) -> dict[str, float]:
    """The seconds of the parts of a sweep of so many packs of nothing."""
    out = folder / f"{packs}.sweep"
    place = place_at(out, "sweep")
    before, begin = memory(), time.perf_counter()
    plan = plan_of(packs)
    place.create("sweep.json", plan.content)
    _ = plan.packs
    planned = time.perf_counter() - begin
    crew = crew_of(executor, None, "auto", "sweep")
    crew.everyone(abs, 1)
    begin, own_time, gathering = time.perf_counter(), time.process_time(), 0.0
    own = store.consolidate

    def gathered(place: SweepPlace, packs: Sequence[Pack]) -> list[Pack]:
        nonlocal gathering
        start = time.perf_counter()
        found = own(place, packs)
        gathering += time.perf_counter() - start
        return found

    # By the name of this module, which workers can import, and not as part of a script.
    from sweep_growth import nothing as work

    with mock.patch.object(store, "consolidate", gathered):
        done = Coordinator(place, plan, crew, call="sweep", work=work).run()
    whole, own_time = time.perf_counter() - begin, time.process_time() - own_time
    assert done.complete
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    files = sum(len(names) for _, _, names in os.walk(out))
    begin = time.perf_counter()
    assert status(place, "sweep")[1].complete
    looked, begin = time.perf_counter() - begin, time.perf_counter()
    again = Coordinator(place, plan, crew_of(None, 1, "auto", "sweep"), call="sweep", work=nothing).run()
    assert again.complete
    assert again.made == 0
    found = {
        "packs": packs, "planning s": planned, "in all s": whole, "gathering s": gathering,
        "own processor s": own_time, "ms a pack": 1e3 * whole / packs, "own ms": 1e3 * own_time / packs,
        "added MB": peak - before, "files": files, "a look s": looked, "a second call s": time.perf_counter() - begin,
    }  # fmt: skip
    shutil.rmtree(out)
    return found


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--dask", action="store_true", help="through a LocalCluster of two workers")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    print(json.dumps(describe(2)))
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    cluster = client = None
    if args.dask:
        from distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        client = Client(cluster)
        client.run(sys.path.insert, 0, str(Path(__file__).parent))
    try:
        for packs in [20, *args.packs]:  # the first is a warm-up
            found = measured(packs, client, folder)
            if packs != 20:
                print("  ".join(f"{name} {value:,.4g}" for name, value in found.items()), flush=True)
    finally:
        shutil.rmtree(folder)
        if client is not None and cluster is not None:
            client.close()
            cluster.close()


if __name__ == "__main__":
    main()
