"""Look at clouds, scenes and images, stored or as a recipe: a window, a page (--html), or a contact sheet (--png)."""

import argparse

from pcfdsl.command_line import add_open, open_page, positive, require_page

__all__ = ["main"]


def main() -> dict | None:
    from pcfdsl.generate.two_stage import diversity_of
    from pcfdsl.view.diversity import diversity_section
    from pcfdsl.view.sheet import save_png
    from pcfdsl.view.sources import load_shown, noun_of, render_items, write_items
    from pcfdsl.view.window import show

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="cloud, mesh, array or picture, folder of them, stored set, or recipe (.yaml)")
    parser.add_argument("--html", metavar="FILE", help="write a self-contained page")
    parser.add_argument("--png", metavar="FILE", help="write a contact sheet")
    parser.add_argument("--num-items", type=positive, default=24, help="how many, spread evenly (default 24)")
    parser.add_argument("--columns", type=positive, help="pictures per row of the contact sheet")
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    add_open(parser)
    args = parser.parse_args()
    require_page(parser, args)

    items = load_shown(args.path, num_items=args.num_items, bin_columns=args.bin_columns)
    written = {}
    if args.html:
        figures = diversity_of(args.path)
        below = [diversity_section(figures)] if figures else []
        written["html"] = str(write_items(args.html, items, title=args.path, below=below))
        if args.open:
            open_page(args.html)
    if args.png:
        written["png"] = str(save_png(args.png, render_items(items, columns=args.columns)))
    if not written:
        show(items, title=args.path)
    return {noun_of(items): len(items), **written}
