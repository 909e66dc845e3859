"""Features of clouds by a trained backbone, per point or per cloud, with pictures of them."""

from pcfdsl.command_line import run
from pcfdsl.commands.extract_features import main

if __name__ == "__main__":
    run(main)
