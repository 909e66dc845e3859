"""The papers' claims, run again at laptop size: one page with a verdict for each. Run again to resume."""

from pcfdsl.command_line import run
from pcfdsl.commands.reproduce_claims import main

if __name__ == "__main__":
    run(main)
