"""Make a detection set from S3DIS's official download (aligned version); run again to resume."""

from pcfdsl.command_line import run
from pcfdsl.commands.prepare_s3dis import main

if __name__ == "__main__":
    run(main)
