"""Evaluate a trained detector: average precision per class, averaged over several samplings of the points."""

from pcfdsl.command_line import run
from pcfdsl.commands.evaluate import main

if __name__ == "__main__":
    run(main)
