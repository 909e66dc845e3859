"""What the commands share: the settings arguments, argument types, and how a command ends.

A command parses its arguments, calls one library function and prints the result as JSON to stdout; progress goes to
stderr. The exit code is 0 (done), 1 (something could not be read, written or verified) or 2 (usage error).
"""

import argparse
import dataclasses
import json
import sys
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pcfdsl.config import ConfigError, describe, load_one_of, to_yaml
from pcfdsl.recipes import expand_home

__all__ = [
    "Several",
    "add_config",
    "add_open",
    "add_seeds",
    "needs",
    "open_page",
    "parse_shard",
    "positive",
    "refuse_settings",
    "require_page",
    "resolve_config",
    "run",
    "whole",
]


def add_config(parser: argparse.ArgumentParser, *config_classes: type) -> None:
    """Add `--config`, `--print-config` and `key.path=value` overrides, and list the settings in the help."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "settings:\n" + "\nor:\n".join(map(describe, config_classes))
    parser.add_argument("--config", metavar="RECIPE", help="a .yaml file, or a name that `pcfdsl configs` lists")
    parser.add_argument("--print-config", action="store_true", help="print the resolved settings as YAML and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override the file's")


def resolve_config(args: argparse.Namespace, *config_classes: type) -> Any:
    """Settings from the parsed arguments; with `--print-config`, print them and exit with code 0."""
    config = load_one_of(config_classes, args.config, args.overrides)
    if args.print_config:
        print(to_yaml(config), end="")
        raise SystemExit(0)
    return config


def refuse_settings(parser: argparse.ArgumentParser, option: str, values: Iterable[str], config_class: type) -> None:
    """A usage error where an option that takes several values has taken a setting for one of them."""
    names = {field.name for field in dataclasses.fields(config_class)}
    for value in values:
        key, equals, _ = value.partition("=")
        if equals and key.partition(".")[0] in names:
            parser.error(
                f"argument {option}: {value!r} reads as a setting; put settings before options that take several values"
            )


class Several(argparse.Action):
    """Takes one or more values, all different; an option that is given several times takes those of all its uses."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest)
        values = [*([] if before is self.default else before), *values]
        if len(set(values)) < len(values):
            raise argparse.ArgumentError(self, f"{', '.join(map(str, values))} repeat; give each once")
        setattr(namespace, self.dest, values)


def add_seeds(parser: argparse.ArgumentParser, *, what: str, default: Sequence[int] | None = None) -> None:
    """Add `--seeds`; `what` is its help text."""
    parser.add_argument("--seeds", type=whole, nargs="+", action=Several, metavar="N", default=default, help=what)


def add_open(parser: argparse.ArgumentParser) -> None:
    """Add `--open`, for a page that the command writes."""
    parser.add_argument("--open", action="store_true", help="open the page in the browser when it is written")


def require_page(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """A usage error where `--open` was given but no page is written: `--html` is missing."""
    if args.open and not args.html:
        parser.error("--open needs a page: --html FILE")


def open_page(path: str | Path) -> None:
    """Open a page in the browser; where there is none, say so on stderr, for the page is there all the same."""
    if not webbrowser.open(Path(path).resolve().as_uri()):
        print(f"note: no browser could be opened here; open {path} in one", file=sys.stderr)


def whole(text: str) -> int:
    """Argparse type: an integer."""
    try:
        return int(text)
    except ValueError:
        hint = "; put settings before options that take several values" if "=" in text else ""
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}{hint}") from None


def positive(text: str) -> int:
    """Argparse type: a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """Argparse type: `"i/n"` -> (i, n) with 0 <= i < n."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"expected i/n with 0 <= i < n, such as 0/4, got {text!r}")
    return int(index), int(count)


def run(main: Callable[[], dict | None]) -> NoReturn:
    """Run a tool: print its result as JSON, or its error as one message without a traceback.

    Errors in settings and usage exit with code 2, errors in files and data with 1. Anything else is a bug and keeps its
    traceback. A `~` in the command's arguments stands for the home folder.
    """
    sys.argv[1:] = map(_with_home, sys.argv[1:])
    try:
        result = main()
    except ConfigError as error:
        _stop(f"{len(error.problems)} problem(s) with the settings:\n{error}", 2)
    except OSError as error:
        _stop(_sentence(error), 1)
    except ImportError as error:
        if error.name is not None:  # not one of our own messages about an extra
            raise
        _stop(str(error), 1)
    except MemoryError as error:
        _stop(f"out of memory ({str(error) or 'no details'}); reduce the sizes in the settings", 1)
    except ValueError as error:
        _stop(str(error), 1)
    except KeyboardInterrupt:
        _stop("interrupted; run the same command again to resume", 130)
    if result is not None:
        print(json.dumps(result, indent=2, allow_nan=False))
    sys.exit(0)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Wrap imports from one of pcfdsl's extras: if the extra is missing, an ImportError says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("pcfdsl"):
            raise
        message = f"this tool needs {error.name}: pip install 'pcfdsl[{extra}]' (in its repository: '.[{extra}]')"
        raise ImportError(message) from error


def _with_home(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not equals or argument.startswith("~"):
        return expand_home(argument)
    return argument if value == "~" else f"{name}={expand_home(value)}"  # to settings, a bare ~ is null


def _sentence(error: OSError) -> str:
    """A message for the system's errors, such as "[Errno 21] Is a directory: 'x'"; our own are sentences already."""
    if not error.filename:
        return str(error)
    kinds = {FileNotFoundError: "{} does not exist", IsADirectoryError: "{} is a folder; expected a file"}
    return kinds.get(type(error), f"{{}}: {error.strerror}").format(error.filename)


def _stop(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
