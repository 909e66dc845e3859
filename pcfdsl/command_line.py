"""The words every tool shares: `--config --out --seed --shard --workers --overwrite --dry-run --print-config`.

A tool parses, calls one library function and prints what was written: progress goes to stderr, the result as JSON to
stdout, and the exit code is 0 (done), 1 (failed: something could not be read, written or verified) or 2 (asked for
wrongly).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from pcfdsl.config import ConfigError, describe, load, to_yaml

__all__ = ["add_config", "needs", "parse_shard", "positive", "resolve_config", "run", "whole"]


def add_config(parser: argparse.ArgumentParser, config_class: type) -> None:
    """Add `--config`, `--print-config` and `key.path=value` overrides, and the settings' own docs to the help."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "settings:\n" + describe(config_class)
    parser.add_argument("--config", metavar="FILE.yaml", help="settings that differ from the defaults")
    parser.add_argument("--print-config", action="store_true", help="print the resolved settings as YAML and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override the file's")


def resolve_config(args: argparse.Namespace, config_class: type) -> Any:
    """Settings from the parsed arguments; stops here, with exit code 0, where `--print-config` was given."""
    config = load(config_class, args.config, args.overrides)
    if args.print_config:
        print(to_yaml(config), end="")
        raise SystemExit(0)
    return config


def whole(text: str) -> int:
    """A whole number; an argparse type."""
    try:
        return int(text)
    except ValueError:
        hint = "; settings stand before options that take several values" if "=" in text else ""
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}{hint}") from None


def positive(text: str) -> int:
    """A whole number from 1; an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """`"i/n"` -> (i, n) with 0 <= i < n; an argparse type."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"expected i/n with 0 <= i < n, such as 0/4, got {text!r}")
    return int(index), int(count)


def run(main: Callable[[], dict | None]) -> NoReturn:
    """Run a tool: print its result as JSON, or its error in one message without a traceback.

    Errors of settings and usage exit with 2, of files and data with 1; anything else is a bug and keeps its traceback.
    """
    try:
        result = main()
    except ConfigError as error:
        _stop(f"{len(error.problems)} problem(s) with the settings:\n{error}", 2)
    except OSError as error:
        _stop(_sentence(error), 1)
    except ImportError as error:
        if error.name is not None:  # not one of our sentences about an extra
            raise
        _stop(str(error), 1)
    except MemoryError as error:
        _stop(f"there is not memory enough ({str(error) or 'none is left'}); make the sizes in the settings smaller", 1)
    except ValueError as error:
        _stop(str(error), 1)
    except KeyboardInterrupt:
        _stop("interrupted; run the same command again to go on", 130)
    if result is not None:
        print(json.dumps(result, indent=2, allow_nan=False))
    sys.exit(0)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports of a tool that needs one of pcfdsl's extras: where it is missing, say so and stop."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("pcfdsl"):
            raise
        _stop(f"this tool needs {error.name}: pip install 'pcfdsl[{extra}]' (in its repository: '.[{extra}]')", 1)


def _sentence(error: OSError) -> str:
    """What to say of the system's errors, such as "[Errno 21] Is a directory: 'x'"; ours are sentences already."""
    if not error.filename:
        return str(error)
    kinds = {FileNotFoundError: "there is no {}", IsADirectoryError: "{} is a folder; expected a file"}
    return kinds.get(type(error), f"{{}}: {error.strerror}").format(error.filename)


def _stop(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
