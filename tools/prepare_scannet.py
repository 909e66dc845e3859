"""Make a detection set from ScanNetV2's official download; run again to resume. Recipes: votenet/*scannet*."""

from pcfdsl.command_line import run
from pcfdsl.commands.prepare_scannet import main

if __name__ == "__main__":
    run(main)
