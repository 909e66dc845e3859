"""Show what trained image networks learned: filters, position embeddings, attention maps and distances."""

import argparse

from pcfdsl.command_line import add_open, needs, open_page

__all__ = ["main"]


def main() -> dict:
    with needs("image"):
        from pcfdsl.studies.attention import analyze_networks

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=CKPT", help="a name, and a run's folder or weights file")
    parser.add_argument("--images", nargs="*", default=[], metavar="FILE", help="pictures to show attention on")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the pictures and report.html")
    add_open(parser)
    args = parser.parse_args()
    pairs = [text.partition("=") for text in args.runs]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        parser.error(f"expected NAME=CKPT, got {', '.join(wrong)}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        parser.error("duplicate name; give each network its own")
    files = analyze_networks({name: path for name, _, path in pairs}, args.images, args.out)
    if args.open:
        open_page(files[-1])
    return {"files": [str(file) for file in files]}
