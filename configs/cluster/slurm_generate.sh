#!/bin/bash
# A set in parts, one array task each; the same set as from one process, byte for byte. From the repository's folder:
#
#   sbatch --array=0-63 configs/cluster/slurm_generate.sh \
#       tools/generate_pcfractal.py --config configs/pcfractal/paper.yaml --out /shared/pcfractal
#
# Any generating tool will do. A task that was requeued, or the whole array submitted again, makes only what is missing.
#SBATCH --job-name=pcfdsl-generate
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

# Arrays may begin at any number, parts begin at 0. Failed tasks alone cannot be submitted: the parts would be others.
if ((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1 != SLURM_ARRAY_TASK_COUNT)); then
    echo "error: the array has gaps; submit the whole one again, which makes only what is missing" >&2
    exit 2
fi
part=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))
exec "${PYTHON:-python}" "$@" --shard "$part/$SLURM_ARRAY_TASK_COUNT" --workers "${SLURM_CPUS_PER_TASK:-1}"
