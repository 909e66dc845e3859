"""The demo: pre-train on fractals, fine-tune on furniture, compare with training from scratch. Run again to resume."""

from pcfdsl.command_line import run
from pcfdsl.commands.demo import main

if __name__ == "__main__":
    run(main)
