"""List the recipes that come with the package: names that --config takes, each with its first sentence."""

import argparse

from pcfdsl.recipes import recipes, summaries

__all__ = ["main"]


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "job", nargs="?", choices=sorted({name.split("/")[0] for name in recipes()}), help="list only these"
    )
    args = parser.parse_args()
    return {name: text for name, text in summaries().items() if args.job in (None, name.split("/")[0])}
