"""Which options there are: a new, renamed or removed one shows in the diff of `tests/golden/options.txt`.

The file lists every key of every settings class, and for a group its classes. Rewrite it with
`python tests/test_options.py`.
"""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path

from pcfdsl.config import kinds_of
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.config import FractalScenesConfig
from pcfdsl.studies.demo import DemoConfig
from pcfdsl.studies.images import ImageStudyConfig
from pcfdsl.train.tasks.image import ImageConfig
from pcfdsl.train.tasks.table import TASKS

OPTIONS = Path(__file__).parent / "golden" / "options.txt"
ROOTS = (PCFractalConfig, FractalScenesConfig, ImageSetConfig, ImageConfig, DemoConfig, ImageStudyConfig)


def lines_of(cls: type, listed: set[type]) -> Iterator[str]:
    """The options of a settings class, then those of its groups that are not listed yet."""
    if cls in listed:
        return
    listed.add(cls)
    hints = typing.get_type_hints(cls)
    inner = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        groups = [hint] if dataclasses.is_dataclass(hint) else list(kinds_of(hint).values())
        names = f": {' | '.join(group.__name__ for group in groups)}" if groups else ""
        yield f"{cls.__name__}.{field.name}{names}"
        inner += groups
    for group in inner:
        yield from lines_of(group, listed)


def listing() -> str:
    """Every option that a recipe or a command line can set, one a line."""
    listed: set[type] = set()
    roots = (*ROOTS, *(task()[0] for task in TASKS.values()))
    return "".join(f"{line}\n" for root in roots for line in lines_of(root, listed))


def test_the_options_are_the_recorded_ones():
    assert listing() == OPTIONS.read_text(), "run `python tests/test_options.py` and review the diff"


if __name__ == "__main__":
    OPTIONS.write_text(listing())
