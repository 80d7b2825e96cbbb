#!/usr/bin/env bash
#SBATCH --job-name=sweep
#SBATCH --array=0-99
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=logs/sweep-%A-%a.out

# A sweep as a job array of SLURM, without any scheduler of Dask:
#
#     source .venv/bin/activate && mkdir -p logs
#     sbatch job_array.sh sweep.toml
#     tegum show sweep.sweep
#
# Each task makes its own slice of the packs, and the one that makes the last pack completes the sweep. If tasks failed,
# or their time was over, submit the same array again: it makes what is missing. The script is tested by running its tasks
# one after the other, but it has not been run on a SLURM cluster.

set -euo pipefail
file=${1:?usage: sbatch job_array.sh SWEEP.toml [options of tegum sweep]}
shift
# Arrays may begin at 1.
slice=$((SLURM_ARRAY_TASK_ID - ${SLURM_ARRAY_TASK_MIN:-0}))/$SLURM_ARRAY_TASK_COUNT
exec tegum sweep "$file" --slice "$slice" --workers "${SLURM_CPUS_PER_TASK:-1}" "$@"
