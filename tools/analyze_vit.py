"""Show what trained image networks learned: filters, position embeddings, attention maps and distances."""

from pcfdsl.command_line import run
from pcfdsl.commands.analyze_vit import main

if __name__ == "__main__":
    run(main)
