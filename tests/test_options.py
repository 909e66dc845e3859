"""Which options there are: a new, renamed or removed one shows in the diff of `tests/golden/options.txt`.

The file lists every key of every settings class, and for a group its classes. Rewrite it with
`python tests/test_options.py`. An option that no recipe sets has to be worth a sentence in `KEPT`.
"""

import ast
import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import pcfdsl
from pcfdsl.config import kinds_of
from pcfdsl.config.values import items_of
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.pointcloud.objects import ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig
from pcfdsl.studies.demo import DemoConfig
from pcfdsl.studies.images import ImageStudyConfig
from pcfdsl.train.tasks.image import ImageConfig
from pcfdsl.train.tasks.table import TASKS

PACKAGE = Path(pcfdsl.__file__).parent
CONFIGS = Path(__file__).parents[1] / "configs"
OPTIONS = Path(__file__).parent / "golden" / "options.txt"
ROOTS = (
    PCFractalConfig,
    ObjectsConfig,
    FractalScenesConfig,
    ObjectScenesConfig,
    ImageSetConfig,
    ImageConfig,
    DemoConfig,
    ImageStudyConfig,
)

KEPT = {
    "The formula itself is what is studied, and stored sets record its parameters": (
        "augmentation max_draws parameter_steps num_views field_of_view "
        "distance point_size shade_by_depth step oval waves noise_kind noise_cells controls_min curves_min "
        "frequency_min octaves gain least_ink"
    ),
    "How pictures look is part of the papers' ablations": "color ink keep_aspect background",
    "Sets that the command line chooses": "visualatom segrcdb",
    "Rooms and scanners differ from ours": (
        "boxes coverage max_room_aspect ceiling height roughness resolution tolerance camera"
    ),
    "The released scripts' shell wrapper passes another value": "num_objects",
    "Files of others have other names, axes and columns": "images_key labels_key up bin_columns",
    "Given on the command line, or by the tool that is run": "checkpoint device freeze_stages num_per_class",
    "Runs on shares of the data are compared on several shares": "subset_seed shots",
    "Fine-tuning of foreign networks by their own recipes": "layer_decay freeze average",
    "Machines differ": "sync_batch_norm compile backend tf32",
    "VoteNet's batch-norm schedule, for batches of another size": "bn_factor bn_epochs bn_floor",
    "Bugs and choices of released code, which decide whether its figures come out": (
        "padded_truth_bug skip_near_origin candidate_overlap"
    ),
    "Widths, read off the weights of others when they are converted": (
        "num_classes mean_sizes class_levels width input_channels in_channels first_kernel block_region "
        "block_bn_momentum"
    ),
    "Objects and scenes of another size than furniture in rooms": "cluster_radius level_side max_locations",
    "Benchmarks differ in what they judge": "nms_threshold iou_thresholds monitor",
    "Parameters of the papers' losses": "num_azimuths num_elevations",
    "Shapes that have no upright pose": "any_orientation",
}


def lines_of(cls: type, listed: set[type]) -> Iterator[str]:
    """The options of a settings class, then those of its groups that are not listed yet."""
    if cls in listed:
        return
    listed.add(cls)
    hints = typing.get_type_hints(cls)
    inner = []
    for field in dataclasses.fields(cls):
        hint = items_of(hints[field.name]) or hints[field.name]
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


def keys_of(settings: Any) -> set[str]:
    """Every key of nested settings."""
    if isinstance(settings, list):
        return set().union(*map(keys_of, settings))
    if not isinstance(settings, dict):
        return set()
    return set(settings).union(*map(keys_of, settings.values()))


def test_every_option_is_set_by_a_recipe_or_has_a_reason():
    named = set().union(*(keys_of(yaml.safe_load(path.read_text())) for path in recipes()))
    unset = {line.partition(":")[0].split(".")[1].strip() for line in OPTIONS.read_text().splitlines()} - named
    kept = [name for names in KEPT.values() for name in names.split()]
    assert sorted(unset) == sorted(kept)


def docs() -> Iterator[tuple[str, str]]:
    """Name and help text of every option, and of every argument of a command."""
    classes: set[type] = set()
    for root in ROOTS + tuple(task()[0] for task in TASKS.values()):
        list(lines_of(root, classes))
    for cls in classes:
        yield from ((f"{cls.__name__}.{field.name}", field.metadata["doc"]) for field in dataclasses.fields(cls))
    for path in [*PACKAGE.glob("commands/*.py"), PACKAGE / "command_line.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
                yield f"{path.name}:{node.value.lineno}", str(node.value.value)


def test_help_texts_speak_one_dialect():
    """They start with a small letter unless by a name, have no full stop, and separate parts by semicolons."""
    for name, doc in docs():
        first = re.split(r"[ ,:;]", doc)[0]
        is_name = first in ("Bezier", "Perlin") or any(letter.isupper() or letter.isdigit() for letter in first[1:])
        assert doc[0] == doc[0].lower() or is_name, name
        assert not doc.endswith("."), name
        assert ". " not in doc, name


def recipes() -> Iterator[Path]:
    return (path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "cluster")


if __name__ == "__main__":
    OPTIONS.write_text(listing())
