"""Data that do not fit are told before anything takes long: other classes, searches that find nothing."""

import re
from functools import partial
from pathlib import Path

import pytest

import pcfdsl as pf
from pcfdsl.config import ConfigError, load
from pcfdsl.datasets.sources import FurnitureSource, NoSource, known_classes, open_scenes
from pcfdsl.generate.one_stage import generate_set
from pcfdsl.pointcloud.objects import ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalDB
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.train.tasks.image import ImageConfig, train_image
from pcfdsl.train.tasks.point_mae import PointMAEConfig, train_point_mae
from pcfdsl.train.tasks.pointcontrast import PointContrastConfig, point_contrast_task
from pcfdsl.train.tasks.pretraining import pretrain
from pcfdsl.train.tasks.validation import check_same_classes

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
HOPELESS = "search: {variance_threshold: 0.9, max_draws: 50}"
FRACTALS = f"{{kind: fractals, fractals: {{num_categories: 2, {HOPELESS}}}}}"
OBJECTS = f"{{kind: objects, objects: [{{formula: superquadrics}}, {{formula: ifs, num_categories: 2, {HOPELESS}}}]}}"


def detector(*overrides: str) -> DetectorConfig:
    return load(DetectorConfig, CONFIGS / "votenet" / "smoke_finetune.yaml", ("train.device=cpu", *overrides))


@pytest.mark.parametrize("kind", ["objects", "fractals", "released, fractals: {variant: released}"])
def test_classes_are_compared_before_categories_are_searched(kind, tmp_path, monkeypatch):
    def no_search(database):
        raise AssertionError("searched")

    monkeypatch.setattr(PCFractalDB, "prepare", no_search)
    words = (
        r"^validation: has 10 classes, the training set 1000 \(number 0: bed, not 000000; [^;]*; [^;]*; \.\.\.\); "
        "set validation to the same kind with the same classes, or 'validation={kind: none}'$"
    )
    with pytest.raises(ConfigError, match=words):
        train_detector(detector(f"data={{kind: {kind}}}"), tmp_path / "run")
    with pytest.raises(AssertionError, match="searched"):  # boxes of one class fit any others
        train_detector(detector(f"data={{kind: {kind}}}", "points.class_agnostic=true"), tmp_path / "run")


def test_known_classes_are_those_of_the_opened_source():
    sources = [detector(f"data={text}").data for text in (OBJECTS.replace("0.9", "0.01"), FRACTALS.replace("0.9", "0"))]
    for source in (*sources, FurnitureSource()):
        assert known_classes(source) == open_scenes(source).classes
    assert known_classes(NoSource()) is None


def test_the_first_classes_that_differ_are_listed():
    check_same_classes(("a", "b"), ["a", "b"])
    for own, words in (
        (("b", "a"), r"has 2 classes, the training set 2 \(number 0: b, not a; number 1: a, not b\); "),
        (("a", "b", "c"), r"has 3 classes, the training set 2 \(number 2: c, not none\); "),
    ):
        with pytest.raises(ConfigError, match=f"^validation: {words}"):
            check_same_classes(("a", "b"), own)
    many = tuple(f"{k:06d}" for k in range(1000))
    with pytest.raises(ConfigError) as caught:
        check_same_classes(many, many[::-1])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("group", "data", "key"),
    [
        ("data", OBJECTS, "data.objects.1"),
        ("data", FRACTALS, "data.fractals"),
        ("validation", OBJECTS, "validation.obj"),
    ],
)
def test_a_search_that_finds_nothing_names_its_setting_in_full(group, data, key, tmp_path):
    others = {"data": "validation={kind: none}", "validation": "points.class_agnostic=true"}
    with pytest.raises(ConfigError, match=rf"^{key}\S*\.search\.variance_threshold: category 0: none of 50 systems"):
        train_detector(detector(f"{group}={data}", others[group]), tmp_path / "run")


@pytest.mark.parametrize("data", [OBJECTS, FRACTALS])
@pytest.mark.parametrize(
    ("config_class", "recipe", "train"),
    [
        (ClassificationConfig, "classifier/smoke", train_classifier),
        (PointMAEConfig, "point_mae/smoke", train_point_mae),
        (PointContrastConfig, "pretrain/smoke_pointcontrast", partial(pretrain, point_contrast_task)),
    ],
)
def test_so_it_does_in_other_trainings(config_class, recipe, train, data, tmp_path):
    config = load(config_class, recipe, (f"data={data}", "train.device=cpu"))
    with pytest.raises(ConfigError, match=r"^data\.(objects\.1|fractals)\.search\.variance_threshold: category 0"):
        train(config, tmp_path / "run")


PICTURES = "{{kind: recipe, recipe: {{dataset: {name}, {name}: {{{settings}}}}}}}"
NO_FRACTALS = "image_size: 64, num_categories: 2, search: {max_draws: 1, filling_threshold: 0.38}"
NO_PICTURES = {
    "fractaldb": (f"num_instances: 4, {NO_FRACTALS}", "search.filling_threshold"),
    "exfractaldb": (f"image_size: 64, num_categories: 2, num_instances: 4, {HOPELESS}", "search.variance_threshold"),
    "multi_fractal": (
        f"num_images: 4, objects: [1, 2], fractals: {{{NO_FRACTALS}}}",
        "fractals.search.filling_threshold",
    ),
}


@pytest.mark.parametrize(
    ("group", "name", "num_workers"),
    [*(("data", name, num_workers) for name in NO_PICTURES for num_workers in (0, 1)), ("validation", "fractaldb", 0)],
)
def test_so_it_does_in_pictures_whoever_loads_them(group, name, num_workers, tmp_path):
    settings, key = NO_PICTURES[name]
    sources = {"data": PICTURES.format(name="bezier", settings="num_categories: 2, num_instances: 4, image_size: 64")}
    sources[group] = PICTURES.format(name=name, settings=settings)
    how = ["model.name=test_resnet", "view.size=32", "train.batch_size=2", "train.num_steps=1", "train.device=cpu"]
    how += [f"{place}={text}" for place, text in sources.items()]
    config = load(ImageConfig, None, (*how, f"train.num_workers={num_workers}"))
    with pytest.raises(ConfigError, match=rf"^{group}\.recipe\.{name}\.{re.escape(key)}: category \d: none of"):
        train_image(config, tmp_path / "run")


@pytest.mark.parametrize("group", ["data", "validation"])
def test_problems_of_sources_of_pictures_have_their_place(group, tmp_path):
    config = load(ImageConfig, None, (f"{group}={{kind: torchvision, dataset: NoSuchSet, path: nowhere}}",))
    with pytest.raises(ConfigError, match=rf"^{group}\.dataset: torchvision has no set 'NoSuchSet'$"):
        train_image(config, tmp_path / "run")


def test_so_it_does_in_sets(tmp_path):
    config = load(ObjectsConfig, "objects/smoke", (f"objects=[{{formula: ifs, num_categories: 2, {HOPELESS}}}]",))
    with pytest.raises(ConfigError, match=r"^objects\.0\.search\.variance_threshold: category 0"):
        generate_set(config, tmp_path / "set")
    fractals = load(pf.PCFractalConfig, "pcfractal/smoke", ("search={variance_threshold: 0.9, max_draws: 50}",))
    with pytest.raises(ConfigError, match=r"^search\.variance_threshold: category 1"):
        pf.open_pcfractal(fractals).category(1)
