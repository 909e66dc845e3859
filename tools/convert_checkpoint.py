"""Convert checkpoints of VoteNet, TR3D, MMDetection3D, PointContrast, CSC and DepthContrast to ours, and back."""

from pcfdsl.command_line import run
from pcfdsl.commands.convert_checkpoint import main

if __name__ == "__main__":
    run(main)
