"""Generate an image set: search its categories, draw its images. Run again to resume, check or repair."""

from pcfdsl.command_line import run
from pcfdsl.commands.generate_images import main

if __name__ == "__main__":
    run(main)
