"""Make a detection set from SUN RGB-D's official downloads; run again to resume. Recipes: votenet/*sunrgbd*."""

from pcfdsl.command_line import run
from pcfdsl.commands.prepare_sunrgbd import main

if __name__ == "__main__":
    run(main)
