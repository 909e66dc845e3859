"""Export a stored PC-FractalDB to the released folder layout, or any stored set to tars or Parquet tables."""

from pcfdsl.command_line import run
from pcfdsl.commands.export_pcfractal import main

if __name__ == "__main__":
    run(main)
