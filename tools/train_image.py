"""Train or fine-tune a timm image network on generated or stored pictures: short for `train --task image`."""

from pcfdsl.command_line import run
from pcfdsl.commands.train_image import main

if __name__ == "__main__":
    run(main)
