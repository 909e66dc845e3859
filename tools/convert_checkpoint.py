"""Convert checkpoints of VoteNet, MMDetection3D, PointContrast, CSC and DepthContrast to ours, and ours to theirs."""

from pcfdsl.command_line import run
from pcfdsl.commands.convert_checkpoint import main

if __name__ == "__main__":
    run(main)
