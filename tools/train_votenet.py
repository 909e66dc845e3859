"""Train a detector, pre-train its backbone, or train a classifier of point clouds or of pictures.

Scenes, clouds and pictures are generated on the fly or read from a folder. The same command resumes an interrupted run.
"""

from pcfdsl.command_line import run
from pcfdsl.commands.train import main

if __name__ == "__main__":
    run(main)
