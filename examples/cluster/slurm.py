"""A million runs on a SLURM cluster: dask-jobqueue submits jobs, and a worker in each of them makes packs.

    pip install 'tegum[cluster]' dask-jobqueue
    python slurm.py

It runs on a node from which jobs can be submitted, as long as the sweep takes; if it is killed, call it again. Its job
script and the script as a whole are tested, but it has not been run on a SLURM cluster.
"""

from dask_jobqueue import SLURMCluster
from distributed import Client

import tegum as tg

JOBS = 100
SPEC = tg.Spec(
    features=[tg.Correlated(size=2, density=0.05)] * 3, hidden=2, training=tg.Sampled(steps=10_000), seeds=10_000
)
PARAMETERS = {"density": tg.Between(0.01, 1.0, scale="log", count=25), "rate": [3e-4, 1e-3, 3e-3, 1e-2]}


def cluster() -> SLURMCluster:
    """Jobs of one core and one worker each. Add queue="…" and account="…" as your cluster wants them."""
    return SLURMCluster(
        cores=1,
        processes=1,
        memory="2GB",
        walltime="04:00:00",
        log_directory="logs",
        # A worker leaves before its job's time is up, in which case its pack goes to another one.
        worker_extra_args=["--lifetime", "225m", "--lifetime-stagger", "10m"],
    )


if __name__ == "__main__":
    with cluster() as jobs, Client(jobs) as client:
        # So many jobs at any time: a new one for each that has ended.
        jobs.adapt(minimum_jobs=JOBS, maximum_jobs=JOBS)
        keep = ["loss", "polytope_names", "dimensionality"]
        tg.sweep(SPEC, PARAMETERS, keep=keep, out="pairs.sweep", executor=client)
