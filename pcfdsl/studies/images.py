"""The papers' comparisons of image sets on a laptop: formulas, labels, numbers of points and categories, frozen stages.

Every arm pre-trains the same small network for the same number of steps on one image set, once for each seed. The
weights are then measured on real pictures by several protocols (`image_protocols`), as can be any other weights of that
network. In all arms seed s means the same real pictures, and in those with as many categories the same initial weights,
so gains are paired. The image sets are the same for all seeds.

    out/sets                   pictures of each set, drawn once
    out/pretrained/ARM_seedS   weights, a run's folder
    out/ARM/seedS/METRIC.json  accuracy, and the rate that was chosen
    out/comparisons.md         the papers' comparisons, beside study.md and study.json
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pcfdsl.checkpoints.run_folder import find_weights
from pcfdsl.config import digest, option, to_dict, validate
from pcfdsl.datasets.images import FurniturePictures, NoPictures, RecipePictures, open_pictures, pictures_in
from pcfdsl.datasets.pictures import ArrayPictures, Pictures
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.readers.arrays import read_arrays
from pcfdsl.rng import stream
from pcfdsl.samples.picture_views import ViewsConfig
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.studies.image_arms import ARMS, DEEPCLUSTER, RANDOM_LABELS, comparisons_table, image_set
from pcfdsl.studies.image_protocols import (
    DownstreamParts,
    Protocol,
    at_size,
    own_statistics,
    parse_protocol,
    split_pictures,
    transfer,
)
from pcfdsl.studies.starts import own_path, weights_digest
from pcfdsl.studies.study import Arm, Case, StudyResult, differences, run_study
from pcfdsl.train.loop import train
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.image import ImageConfig, image_task
from pcfdsl.train.tasks.image_model import ImageInitConfig, create_network, start_image_model

__all__ = ["ImageStudyConfig", "run_image_study"]

_PICTURES = ("data", "validation", "train_fraction", "per_class", "subset_seed")


@dataclass(frozen=True, kw_only=True)
class ImageStudyConfig:
    """Settings of the image study."""

    data: tuple[str, ...] = option(
        (), "folders of real pictures: idx files, CIFAR's batches, or train/CLASS and test/CLASS; none: drawn furniture"
    )
    protocols: tuple[str, ...] = option(
        ("fine20", "frozen20", "fine100", "frozen100"),
        "fineN: fine-tuning on N pictures a class; frozenN: a linear classifier on the features; fineN_stemK: "
        "fine-tuning with the stem and K stages frozen",
    )
    rates: tuple[float, ...] = option(
        (0.001, 0.003, 0.008), "learning rates; every run takes the best on validation pictures", minimum=0.0
    )
    num_validation: int = option(1000, "training pictures that rates are chosen on", minimum=1, maximum=10_000_000)
    num_test: int = option(2000, "test pictures", minimum=1, maximum=10_000_000)
    num_categories: int = option(
        100, "categories of a pre-training set, unless the arm varies them", maximum=10_000_000
    )
    num_instances: int = option(600, "instances per category, unless the arm varies them", maximum=10_000_000)
    pretrain: ImageConfig = option(ImageConfig(), "pre-training, on the arm's data")
    finetune: ImageConfig = option(ImageConfig(), "fine-tuning, on the real pictures")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        for name in self.protocols:
            try:
                parse_protocol(name)
            except ValueError as error:
                yield "protocols", str(error)
        for name in ("protocols", "rates"):
            if not getattr(self, name):
                yield name, "is empty; give at least one"
        for name in ("model", "view"):
            if getattr(self.pretrain, name) != getattr(self.finetune, name):
                yield f"finetune.{name}", f"differs from pretrain.{name}; the weights need equal ones"
        defaults = ImageConfig()
        for part, names in (("pretrain", _PICTURES), ("finetune", (*_PICTURES, "init", "freeze_stages"))):
            own = getattr(self, part)
            for name in names:
                if getattr(own, name) != getattr(defaults, name) and getattr(own, name) != NoPictures():
                    yield f"{part}.{name}", "is not used: arms and protocols decide that; leave it out"

    @property
    def size(self) -> int:
        """Side of all pictures, pixels."""
        return self.pretrain.view.size


def run_image_study(
    config: ImageStudyConfig,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    arms: Sequence[str] = (),
    weights: Mapping[str, str] = MappingProxyType({}),
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[str], object] = print,
) -> StudyResult:
    """Run what is not finished yet; `out/study.md` and `out/comparisons.md` hold the tables.

    Metrics are named after the protocols; with several data sets, after these too: `fashion-mnist_fine20`.

    Args:
        config: Settings of the study.
        out: Folder of the study.
        seeds: One case per seed.
        arms: Run only these arms, in this order; by default all, or none beside `weights`. Scratch, the baseline, is
            always run.
        weights: More arms: name -> a run's folder, a file or shipped weights of the recipe's network. `{seed}` in a
            path stands for the seed.
        shard: (i, n): run only seeds i, i + n, ... of those given; n processes can share a folder this way.
        progress: Called with lines of progress.

    Raises:
        OSError, ValueError: If an arm is unknown, weights or real pictures cannot be used, or the folder holds a study
            with different settings.
    """
    out = Path(out)
    chosen = (*(arms or (() if weights else ARMS)), *weights)
    unknown = [name for name in chosen if name not in {**ARMS, **weights}]
    if unknown:
        raise ValueError(f"unknown arms {', '.join(unknown)}; expected some of {', '.join(ARMS)}")
    taken = [name for name in weights if name in ARMS]
    if taken:
        raise ValueError(f"the weights named {', '.join(taken)} would replace arms of the study; give other names")
    view = config.pretrain.view
    for path in {own_path(path, seed): None for path in weights.values() for seed in seeds}:
        # Weights that do not fit are refused here, not when scratch has been trained.
        network = create_network(config.pretrain.model, size=view.size, channels=view.channels, num_classes=0)
        start_image_model(ImageInitConfig(checkpoint=path), network)
    study = _Study(config, out, weights)
    made = {
        name: Arm(run=partial(study.run, name), about=partial(study.about, name))
        for name in dict.fromkeys(("scratch", *chosen))
    }
    cases = [Case(name=f"seed{seed}", settings={"seed": seed}) for seed in seeds]
    result = run_study(made, cases, out, baseline="scratch", shard=shard, progress=progress)
    write_file(out / "comparisons.md", comparisons_table(result).encode())
    return result


class _Study:
    """What runs share: the real pictures, opened once, and those of the last seed."""

    def __init__(self, config: ImageStudyConfig, out: Path, weights: Mapping[str, str]):
        self.config, self.out, self.weights = config, out, weights
        self.digest_of = cache(weights_digest)  # of files that do not change during a study
        self.protocols = {name: parse_protocol(name) for name in config.protocols}
        self.real = _real_pictures(config)
        self.parts: tuple[int, dict[str, DownstreamParts]] = (-1, {})

    def about(self, arm: str, case: Case) -> Any:
        """All that a run's metrics depend on."""
        settings = to_dict(self.config)
        used = {key: settings[key] for key in ("data", "protocols", "rates", "num_validation", "num_test", "finetune")}
        seed = case.settings["seed"]
        images = self._images(arm)
        if arm in self.weights:
            used |= {"weights": self.digest_of(find_weights(own_path(self.weights[arm], seed)))}
        elif images is not None:
            used |= {"images": to_dict(images)[images.dataset], "pretrain": settings["pretrain"]}
        return json.loads(json.dumps(used | {"arm": arm, "seed": seed}))

    def run(self, arm: str, case: Case, folder: Path) -> Mapping[str, float]:
        """All metrics of an arm and seed; those measured before are read."""
        seed = case.settings["seed"]
        checkpoint = self._pretrained(arm, seed)
        config = self.config.finetune
        config = replace(
            config,
            init=replace(config.init, checkpoint=checkpoint),
            train=replace(config.train, seed=seed),
        )
        about = {key: value for key, value in self.about(arm, case).items() if key != "protocols"}
        metrics = {}
        for data, parts in self._parts(seed).items():
            for name, protocol in self.protocols.items():
                metric = f"{data}_{name}" if len(self.real) > 1 else name
                metrics[metric] = self._measured(protocol, parts, config, make_folder(folder), metric, about)
        return metrics

    def _measured(
        self, protocol: Protocol, parts: DownstreamParts, config: ImageConfig, folder: Path, metric: str, about: Any
    ) -> float:
        path = folder / f"{metric}.json"
        if path.is_file():
            content = json.loads(path.read_text())
            if not differences(content["about"], about):
                return content["accuracy"]
        found = transfer(protocol, parts, config, folder, rates=self.config.rates)
        write_file(path, json.dumps(found | {"about": about}, indent=1).encode())
        return found["accuracy"]

    def _images(self, arm: str) -> ImageSetConfig | None:
        if arm in self.weights:
            return None
        config = self.config
        return image_set(
            arm, size=config.size, num_categories=config.num_categories, num_instances=config.num_instances
        )

    def _pretrained(self, arm: str, seed: int) -> str | None:
        """The weights that an arm starts from; trained now if they are the study's own."""
        if arm in self.weights:
            return own_path(self.weights[arm], seed)
        images = self._images(arm)
        if images is None:
            return None
        folder = self.out / "pretrained" / f"{arm}_seed{seed}"
        pictures = _drawn(self.out, images, self.config.size)
        run = self.config.pretrain
        run = replace(run, view=own_statistics(run.view, pictures), train=replace(run.train, seed=seed))
        if arm == RANDOM_LABELS:
            order = stream(seed, "random labels").permutation(len(pictures.labels))
            pictures = ArrayPictures(pictures.images, pictures.labels[order], pictures.classes)
        task = _clustering(run, pictures) if arm == DEEPCLUSTER else image_task(run, pictures)
        train(task, run.train, folder)
        return str(folder)

    def _parts(self, seed: int) -> dict[str, DownstreamParts]:
        if self.parts[0] != seed:
            config = self.config
            counts = sorted({protocol.per_class for protocol in self.protocols.values()})
            how = {"counts": counts, "num_validation": config.num_validation, "size": config.size, "seed": seed}
            self.parts = (
                seed,
                {name: split_pictures(pictures, test, **how) for name, (pictures, test) in self.real.items()},
            )
        return self.parts[1]


def _real_pictures(config: ImageStudyConfig) -> dict[str, tuple[Pictures, ArrayPictures]]:
    """Name -> training pictures, and test pictures at the study's size."""
    per_class = max(parse_protocol(name).per_class for name in config.protocols)
    drawn = per_class + -(-config.num_validation // 10)
    sources = {Path(folder).resolve().name: pictures_in(folder) for folder in config.data} or {
        "furniture": (
            FurniturePictures(size=config.size, num_per_class=drawn),
            FurniturePictures(split="val", size=config.size, num_per_class=-(-config.num_test // 10)),
        )
    }
    if len(sources) < len(config.data):
        raise ValueError(f"data has folders of equal names: {', '.join(config.data)}; rename one")
    real = {}
    for name, (source, test_source) in sources.items():
        pictures, test = open_pictures(source), open_pictures(test_source)
        if pictures.classes != test.classes:
            raise ValueError(f"{name}: training and test pictures have different classes; give both the same folders")
        real[name] = pictures, at_size(test, _spread(test.labels, config.num_test), config.size)
    return real


def _clustering(config: ImageConfig, pictures: ArrayPictures) -> Task:
    """DeepCluster of the same network on the same pictures, for as many steps, with ten clusters a category."""
    # Here, since other arms do without the extra [ssl].
    from pcfdsl.train.tasks.self_supervised.settings import DeepCluster, SelfSupervisedConfig
    from pcfdsl.train.tasks.self_supervised.task import self_supervised_task

    run = SelfSupervisedConfig(
        method=DeepCluster(clusters=min(10 * len(pictures.classes), len(pictures.labels) // 2)),
        view=config.view,
        augment=ViewsConfig(min_scale=0.5, recolor=0.0, grey=0.0, blur=0.0),
        model=config.model,
        optimizer=config.optimizer,
        train=config.train,
    )
    return self_supervised_task(run, pictures)


def _drawn(out: Path, images: ImageSetConfig, size: int) -> ArrayPictures:
    """An image set at the study's size; drawn on first use, then read from its file."""
    path = out / "sets" / f"{images.dataset}_{digest(images)[:12]}_{size}.npz"
    if not path.is_file():
        pictures = open_pictures(RecipePictures(recipe=images))
        small = at_size(pictures, np.arange(len(pictures.labels)), size)
        write_file(path, lambda file: np.savez(file, images=small.images, labels=small.labels))
    arrays = read_arrays(path)
    return ArrayPictures(arrays["images"], arrays["labels"])


def _spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` labels, with each class in proportion."""
    order = np.argsort(labels, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
