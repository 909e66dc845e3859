"""The recipes that come with the package: settings files by name, such as `votenet/laptop_pretrain`.

They are the YAML files of the repository's `configs`, which a wheel holds as `pcfdsl/configs`.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path

__all__ = ["expand_home", "find_recipe", "recipes", "summaries"]

_JOBS = "cluster"  # job files for Slurm and Kubernetes, which are no settings


def recipes() -> dict[str, Path]:
    """The file of every recipe, by name in alphabetical order."""
    package = Path(__file__).parent
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    files = (path for path in sorted(folder.glob("*/*.yaml")) if path.parent.name != _JOBS)
    return {f"{path.parent.name}/{path.stem}": path for path in files}


def expand_home(text: str) -> str:
    """The path with the user's home folder in place of `~`; any other text is unchanged.

    A shell does this only at the start of a word that is not quoted, and not in `key=~/set`. Every text in settings and
    every argument of a command goes through this function.
    """
    return os.path.expanduser(text) if text.startswith("~") else text


def find_recipe(path: str | Path) -> Path:
    """The file that a path or the name of a recipe stands for; a file goes before a recipe of the same name.

    Raises:
        FileNotFoundError: If there is neither; names like it are in the message.
    """
    file = Path(expand_home(str(path)))
    if file.is_file():
        return file
    known = recipes()
    if str(path) in known:
        return known[str(path)]
    if file.exists():
        return file
    name = str(path).removesuffix(".yaml").removesuffix(".yml")
    alike = [recipe for recipe in known if name in recipe][:8] or get_close_matches(name, known, n=4)
    hint = f"; recipes with a similar name: {', '.join(alike)}" if alike else ""
    raise FileNotFoundError(f"there is no {path}{hint}")


def summaries() -> dict[str, str]:
    """The first sentence of the comment that each recipe begins with, by name."""
    return {name: _first_sentence(path.read_text(encoding="utf-8")) for name, path in recipes().items()}


def _first_sentence(text: str) -> str:
    comment = re.match(r"(?:#.*\n)*", text)
    words = " ".join(re.findall(r"[^#\s]\S*", comment[0])) if comment else ""
    return re.split(r"(?<=[.])\s+(?=[A-Z])", words)[0]
