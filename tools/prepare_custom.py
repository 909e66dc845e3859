"""Make a detection set from your own scans: clouds and boxes in, one documented folder out."""

from pcfdsl.command_line import run
from pcfdsl.commands.prepare_custom import main

if __name__ == "__main__":
    run(main)
