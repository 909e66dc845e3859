"""Compare starting points of a detector's or classifier's training on paired seeds and folds. Run again to resume."""

from pcfdsl.command_line import run
from pcfdsl.commands.compare_pretraining import main

if __name__ == "__main__":
    run(main)
