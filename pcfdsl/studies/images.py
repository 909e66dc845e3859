"""The papers' comparisons of image sets on a laptop: formulas, numbers of points and categories, frozen stages.

Every arm pre-trains the same small network for the same number of steps on one image set, then fine-tunes it on a few
Fashion-MNIST pictures and on furniture icons. In all arms, seed s means the same initial weights, pictures and fold, so
gains are paired. Numbers of pictures and points are scaled to 32 px as `pretraining_sets` describes.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcfdsl.config import digest, from_dict, option, to_dict, validate
from pcfdsl.datasets.images import ArrayPictures, Subset, few_per_class
from pcfdsl.image.sets import ImageSetConfig, open_labelled_images
from pcfdsl.readers.arrays import read_arrays
from pcfdsl.rng import stream
from pcfdsl.store.atomic import write_file
from pcfdsl.studies.study import Arm, Case, StudyResult, run_study
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.image import ImageConfig, image_task

__all__ = ["ImageStudyConfig", "comparisons_table", "pretraining_sets", "run_image_study"]


@dataclass(frozen=True, kw_only=True)
class ImageStudyConfig:
    """Settings of the image study."""

    fashion: str = option("", "file fashion_mnist_20k.npz: x_train, y_train, x_test, y_test")
    icons: str = option("", "file furniture_icons.npz: icons [N, 64, 64, 4]")
    furniture: str = option("", "file furniture.npz: label and fold of each icon")
    per_class: int = option(20, "Fashion-MNIST pictures per class to fine-tune on", minimum=1)
    num_test: int = option(2000, "Fashion-MNIST pictures to test on", minimum=1, maximum=10_000_000)
    num_categories: int = option(
        100, "categories of a pre-training set, unless the arm varies them", maximum=10_000_000
    )
    num_instances: int = option(50, "instances per category, unless the arm varies them", maximum=10_000_000)
    size: int = option(32, "side length of all pictures, pixels", minimum=8, maximum=4_096)
    pretrain: ImageConfig = option(ImageConfig(), "pre-training, on the arm's data")
    finetune: ImageConfig = option(ImageConfig(), "fine-tuning, on the downstream data")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        for name in ("fashion", "icons", "furniture"):
            if not Path(getattr(self, name)).is_file():
                yield (
                    name,
                    f"{getattr(self, name) or '(none)'} is not a file; give the folder of the downstream data (--data)",
                )
        for name in ("pretrain", "finetune"):
            if getattr(self, name).view.size != self.size:
                yield f"{name}.view.size", f"is {getattr(self, name).view.size}; expected the study's size, {self.size}"


def pretraining_sets(config: ImageStudyConfig) -> dict[str, ImageSetConfig]:
    """The image set of every arm.

    The papers' sets are drawn at the papers' sizes and averaged down. Averaging would hide sparse points and broken
    contours, so arms that vary those, and the arms they are compared with, are drawn at the network's own size: with as
    many points per pixel as 10,000, 50,000 and 100,000 make at 512 px, and with contours one pixel wide.
    """
    size, instances, categories = config.size, config.num_instances, config.num_categories
    fractal = {"num_categories": categories, "num_instances": instances}
    at_512 = (size / 512) ** 2

    def points(count: int) -> dict:
        draw = {"style": "dot", "pad": 1}
        return {"fractaldb": fractal | {"image_size": size, "num_points": round(count * at_512), "draw": draw}}

    def contours(broken: float) -> dict:
        shape = {"polygons": (1, 10), "vertices": (3, 40), "mean_vertices": 15, "noise": (0, 1.5)}
        place = {"radius": (12, 48), "start": 48, "image_size": size}
        return {"rcdb": fractal | shape | place | {"draw": {"canvas": 128, "break_fraction": broken}}}

    sets = {
        "fractaldb": {"fractaldb": fractal},
        "exfractaldb": {"exfractaldb": fractal},
        "rcdb": {"rcdb": fractal},
        "bezier": {"bezier": fractal | {"image_size": size, "supersample": 2}},
        "perlin": {"perlin": fractal | {"image_size": size}},
        "points_10k": points(10_000),
        "points_50k": points(50_000),
        "points_100k": points(100_000),
        "contours_whole": contours(0.0),
        "contours_broken": contours(0.5),
        "fractaldb_color": {"fractaldb": fractal | {"draw": {"color": True}}},
        "categories_10": {"fractaldb": fractal | {"num_categories": 10}},
        "categories_30": {"fractaldb": fractal | {"num_categories": 30}},
        "instances_1": {"fractaldb": fractal | {"num_instances": 1}},
        "instances_10": {"fractaldb": fractal | {"num_instances": 10}},
    }
    return {name: from_dict(ImageSetConfig, {"dataset": next(iter(group)), **group}) for name, group in sets.items()}


SHUFFLED = "fractaldb_random_labels"
FROZEN = tuple(f"frozen_{k}" for k in range(1, 6))


def run_image_study(
    config: ImageStudyConfig,
    out: str | Path,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    arms: Iterable[str] = (),
    progress: Callable[[str], object] = print,
) -> StudyResult:
    """Run what is not finished yet; `out/study.md` and `out/comparisons.md` hold the tables.

    Args:
        config: Settings of the study.
        out: Folder of the study; image sets and pre-trained weights are kept in `sets` and `pretrained`.
        seeds: One case per seed.
        arms: Run only these arms, in this order; by default all. Scratch, the baseline, is always run.
        progress: Called with lines of progress.

    Raises:
        OSError, ValueError: If an arm is unknown, the downstream data cannot be used, or the folder holds a study with
            different settings.
    """
    out = Path(out)
    every = {"scratch": None, **pretraining_sets(config)}
    every |= {SHUFFLED: every["fractaldb"], **dict.fromkeys(FROZEN, every["fractaldb"])}
    chosen = tuple(arms) or tuple(every)
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise ValueError(f"unknown arms {', '.join(unknown)}; expected some of {', '.join(every)}")
    data = _Downstream(config)
    made = {
        name: Arm(
            run=partial(_run, config, data, out, name, every[name]), about=partial(_about, config, name, every[name])
        )
        for name in dict.fromkeys(("scratch", *chosen))
    }
    cases = [Case(name=f"seed{seed}", settings={"seed": seed}) for seed in seeds]
    result = run_study(made, cases, out, baseline="scratch", progress=progress)
    write_file(out / "comparisons.md", comparisons_table(result).encode())
    return result


COMPARISONS = (
    ("more points: 100k over 10k", "points_100k", "points_10k"),
    ("more points: 50k over 10k", "points_50k", "points_10k"),
    ("contours: whole over broken", "contours_whole", "contours_broken"),
    ("colour over grey", "fractaldb_color", "fractaldb"),
    ("categories: all over 10", "fractaldb", "categories_10"),
    ("categories: all over 30", "fractaldb", "categories_30"),
    ("instances: all over 1", "fractaldb", "instances_1"),
    ("instances: all over 10", "fractaldb", "instances_10"),
    ("labels: of the formula over random", "fractaldb", SHUFFLED),
    ("FractalDB over Bezier", "fractaldb", "bezier"),
    ("FractalDB over Perlin", "fractaldb", "perlin"),
    ("RCDB over FractalDB", "rcdb", "fractaldb"),
    ("ExFractalDB over FractalDB", "exfractaldb", "fractaldb"),
    *((f"all trained over {k} frozen", "fractaldb", f"frozen_{k}") for k in range(1, 6)),
)


def comparisons_table(result: StudyResult) -> str:
    """Markdown: the papers' comparisons as paired differences in percent, with 95 % intervals."""
    metrics = result.metrics()
    lines = ["| comparison | pairs | " + " | ".join(metrics) + " |", "| --- | ---: |" + " ---: |" * len(metrics)]
    for what, first, second in COMPARISONS:
        if not {first, second} <= result.runs.keys():
            continue
        differences = [replace(result, baseline=second).difference(first, metric) for metric in metrics]
        if not differences or any(difference is None for difference in differences):
            continue
        cells = [
            f"{100 * d.mean:+.1f}"
            + ("" if d.low is None or d.high is None else f" ({100 * d.low:+.1f} to {100 * d.high:+.1f})")
            for d in differences
            if d is not None
        ]
        count = next(d.num_values for d in differences if d is not None)
        lines.append(f"| {what} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


class _Downstream:
    """Fashion-MNIST and the icons, on white, at the study's size."""

    def __init__(self, config: ImageStudyConfig):
        fashion = read_arrays(config.fashion, ("x_train", "y_train", "x_test", "y_test"))
        test = _spread(fashion["y_test"], config.num_test)
        classes = tuple(map(str, range(10)))
        self.fashion_train = ArrayPictures(_resized(fashion["x_train"], config.size), fashion["y_train"], classes)
        self.fashion_test = ArrayPictures(
            _resized(fashion["x_test"][test], config.size), fashion["y_test"][test], classes
        )
        icons = read_arrays(config.icons, ("icons",))["icons"].astype(np.float32)
        furniture = read_arrays(config.furniture, ("label", "fold", "class_names"))
        label, fold, labelled = furniture["label"], furniture["fold"], furniture["label"] >= 0
        classes = tuple(map(str, furniture["class_names"]))
        opaque = icons[..., 3:] / 255
        white = (icons[..., :3] * opaque + 255 * (1 - opaque)).round().astype(np.uint8)
        self.icons = ArrayPictures(_resized(white[labelled], config.size), label[labelled], classes)
        self.fold = fold[labelled]


def _run(
    config: ImageStudyConfig,
    data: _Downstream,
    out: Path,
    name: str,
    images: ImageSetConfig | None,
    case: Case,
    folder: Path,
) -> Mapping[str, float]:
    seed = case.settings["seed"]
    checkpoint = None if images is None else _pretrained(config, out, name, images, seed)
    fashion = Subset(
        data.fashion_train, few_per_class(data.fashion_train.labels, per_class=config.per_class, seed=seed)
    )
    fold = seed % int(data.fold.max() + 1)
    icons = [Subset(data.icons, np.flatnonzero(rows)) for rows in (data.fold != fold, data.fold == fold)]
    metrics = {}
    for what, training, test in (("fashion", fashion, data.fashion_test), ("icons", *icons)):
        run = replace(
            config.finetune,
            init=replace(config.finetune.init, checkpoint=checkpoint),
            freeze_stages=int(name.removeprefix("frozen_")) if name in FROZEN else 0,
            train=replace(config.finetune.train, seed=seed),
        )
        result = train(image_task(run, training, test), run.train, folder / what)
        metrics[what] = result.metrics["accuracy"]
        shutil.rmtree(folder / what)
    return metrics


def _pretrained(config: ImageStudyConfig, out: Path, name: str, images: ImageSetConfig, seed: int) -> str:
    """Folder of the weights pre-trained on an arm's images; arms that share a pre-training share the folder."""
    name = "fractaldb" if name in FROZEN else name
    folder = out / "pretrained" / f"{name}_seed{seed}"
    run = replace(config.pretrain, train=replace(config.pretrain.train, seed=seed))
    pictures = _pictures(out, images, config.size)
    if name == SHUFFLED:
        order = stream(seed, "random labels").permutation(len(pictures.labels))
        pictures = ArrayPictures(pictures.images, pictures.labels[order], pictures.classes)
    train(image_task(run, pictures), run.train, folder)
    return str(folder)


def _pictures(out: Path, images: ImageSetConfig, size: int) -> ArrayPictures:
    """An image set at the study's size; drawn on first use, then read from its file."""
    path = out / "sets" / f"{images.dataset}_{digest(images)[:12]}_{size}.npz"
    if not path.is_file():
        drawn, labels = [], []
        for item in open_labelled_images(images):
            drawn.append(_resized(item.image[None], size)[0])
            labels.append(item.category)
        write_file(path, lambda file: np.savez(file, images=np.stack(drawn), labels=np.array(labels)))
    arrays = read_arrays(path)
    return ArrayPictures(arrays["images"], arrays["labels"])


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    """Averaged down, or interpolated up, to `size` pixels."""
    filtering = Image.Resampling.BOX if size < images.shape[1] else Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), filtering)) for image in images])


def _about(config: ImageStudyConfig, name: str, images: ImageSetConfig | None, case: Case) -> Any:
    settings = to_dict(config)
    used = {key: settings[key] for key in ("per_class", "num_test", "size", "finetune")}
    if images is not None:
        used |= {"images": to_dict(images)[images.dataset], "pretrain": settings["pretrain"]}
    return json.loads(json.dumps(used | {"arm": name, "seed": case.settings["seed"]}))


def _spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` labels, with each class in proportion."""
    order = np.argsort(labels, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
