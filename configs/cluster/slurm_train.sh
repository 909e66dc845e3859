#!/bin/bash
# Training on all GPUs of several nodes. From the repository's folder:
#
#   sbatch --nodes=4 configs/cluster/slurm_train.sh \
#       tools/train_votenet.py --config configs/votenet/paper_pretrain.yaml --out /shared/paper train.batch_size=64
#
# train.batch_size is that of all processes together. --out must be seen by all nodes. Two minutes before its time is over
# the job is told to stop: it leaves a checkpoint, and submitted again it goes on from there. After a crash torchrun
# starts all processes again from the last checkpoint, up to three times.
#SBATCH --job-name=pcfdsl-train
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=%x-%j.log
set -euo pipefail

# Else torchrun leaves the addresses of crashed processes where their successors may look, and wait for ever.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
exec srun --kill-on-bad-exit=1 "${TORCHRUN:-torchrun}" \
    --nnodes "$SLURM_JOB_NUM_NODES" \
    --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d \
    --rdzv-endpoint "${nodes%%$'\n'*}:${PORT:-29500}" \
    "$@"
