"""The arms of the image study, as data, and what they are compared by.

Unless an arm says otherwise, pictures are drawn at twice the network's size and averaged down, which turns dust into
greys. Averaging would hide sparse points and broken contours, so the arms that vary those, and the arms they are
compared with, are drawn at the network's own size: with as many points per pixel as 10,000, 50,000 and 100,000 make at
512 px, and with contours one pixel wide.
"""

from dataclasses import replace
from typing import Any

from pcfdsl.config import from_dict
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.studies.study import StudyResult

__all__ = ["ARMS", "DEEPCLUSTER", "RANDOM_LABELS", "comparisons_table", "image_set"]

_DOTS = {"style": "dot", "pad": 3}
_SPARSE = {"dataset": "fractaldb", "shrink": 1, "draw": {"style": "dot", "pad": 1}}
_CONTOURS = {
    "dataset": "rcdb",
    "shrink": 1,
    "polygons": (1, 10),
    "vertices": (3, 40),
    "mean_vertices": 15,
    "noise": (0, 1.5),
    "radius": (12, 48),
    "start": 48,
}
_FRACTAL = {"dataset": "fractaldb", "num_points": 4000, "draw": _DOTS}

# The set and its settings, for a network's size of 32 px. `shrink`: how many times larger pictures are drawn.
ARMS: dict[str, dict[str, Any] | None] = {
    "scratch": None,
    "fractaldb": _FRACTAL,
    "random_labels": _FRACTAL,
    "deepcluster": _FRACTAL,
    "bezier": {"dataset": "bezier"},
    "perlin": {"dataset": "perlin"},
    "few_points": _SPARSE | {"num_points": 39},
    "rcdb": {"dataset": "rcdb"},
    "exfractaldb": {"dataset": "exfractaldb", "num_points": 4000},
    "categories_2": _FRACTAL | {"num_categories": 2},
    "categories_10": _FRACTAL | {"num_categories": 10},
    "categories_1000": _FRACTAL | {"num_categories": 1000, "num_instances": 60},
    "instances_1": _FRACTAL | {"num_instances": 1},
    "instances_10": _FRACTAL | {"num_instances": 10},
    "instances_100": _FRACTAL | {"num_instances": 100},
    "fractaldb_color": _FRACTAL | {"draw": _DOTS | {"color": True}},
    "points_50k": _SPARSE | {"num_points": 195},
    "points_100k": _SPARSE | {"num_points": 391},
    "contours_whole": _CONTOURS | {"draw": {"canvas": 128}},
    "contours_broken": _CONTOURS | {"draw": {"canvas": 128, "break_fraction": 0.5}},
}
RANDOM_LABELS = "random_labels"  # the labels of this arm are shuffled among its pictures
DEEPCLUSTER = "deepcluster"  # this arm does not see labels, but makes its own by DeepCluster

COMPARISONS = (
    ("labels: of the formula over random", "fractaldb", RANDOM_LABELS),
    ("labels: of the formula over DeepCluster's", "fractaldb", DEEPCLUSTER),
    ("FractalDB over Bezier", "fractaldb", "bezier"),
    ("FractalDB over Perlin", "fractaldb", "perlin"),
    ("RCDB over FractalDB", "rcdb", "fractaldb"),
    ("ExFractalDB over FractalDB", "exfractaldb", "fractaldb"),
    ("categories: 100 over 2", "fractaldb", "categories_2"),
    ("categories: 100 over 10", "fractaldb", "categories_10"),
    ("categories: 1,000 over 100", "categories_1000", "fractaldb"),
    ("instances: all over 1", "fractaldb", "instances_1"),
    ("instances: all over 10", "fractaldb", "instances_10"),
    ("instances: all over 100", "fractaldb", "instances_100"),
    ("colour over grey", "fractaldb_color", "fractaldb"),
    ("more points: 50k over 10k", "points_50k", "few_points"),
    ("more points: 100k over 10k", "points_100k", "few_points"),
    ("contours: whole over broken", "contours_whole", "contours_broken"),
)


def image_set(arm: str, *, size: int, num_categories: int, num_instances: int) -> ImageSetConfig | None:
    """The image set that an arm pre-trains on; None for scratch.

    Args:
        arm: A key of `ARMS`.
        size: Side of the network's input, pixels; numbers of points grow with its area.
        num_categories: Categories, unless the arm varies them.
        num_instances: Instances of each, unless the arm varies them.
    """
    given = ARMS[arm]
    if given is None:
        return None
    settings = {"num_categories": num_categories, "num_instances": num_instances} | given
    name, shrink = settings.pop("dataset"), settings.pop("shrink", 2)
    settings["image_size"] = shrink * size
    if "num_points" in settings:
        settings["num_points"] = max(10, round(settings["num_points"] * (size / 32) ** 2))
    return from_dict(ImageSetConfig, {"dataset": name, name: settings})


def comparisons_table(result: StudyResult) -> str:
    """Markdown: the papers' comparisons as paired differences in percent, with 95 % intervals."""
    metrics = result.metrics()
    lines = ["| comparison | pairs | " + " | ".join(metrics) + " |", "| --- | ---: |" + " ---: |" * len(metrics)]
    for what, first, second in COMPARISONS:
        if not {first, second} <= result.runs.keys():
            continue
        differences = [replace(result, baseline=second).difference(first, metric) for metric in metrics]
        found = [difference for difference in differences if difference is not None]
        if not found or len(found) < len(differences):
            continue
        cells = " | ".join(difference.gain(100) for difference in found)
        lines.append(f"| {what} | {found[0].num_values} | {cells} |")
    return "\n".join(lines) + "\n"
