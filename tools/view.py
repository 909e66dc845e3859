"""Look at clouds, scenes and images, stored or as a recipe: a window, a page (--html), or a contact sheet (--png)."""

from pcfdsl.command_line import run
from pcfdsl.commands.view import main

if __name__ == "__main__":
    run(main)
