"""The recipes for the benchmarks say what the benchmarks and the published recipes say."""

from pathlib import Path

import numpy as np
import pytest

from pcfdsl.config import ConfigError, load
from pcfdsl.datasets.sources import SceneSet
from pcfdsl.datasets.spec import S3DIS, SPECS
from pcfdsl.scene.boxes import Scene
from pcfdsl.train.optim import bn_momentum, learning_rate_factor
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "votenet"
PUBLISHED = [spec for spec in SPECS if spec.mean_sizes]


def rate(config: DetectorConfig, epoch: int) -> float:
    schedule, peak = config.train.schedule, config.train.optimizer.learning_rate
    steps = {"step": epoch * 1000 + 1000, "num_steps": 181_000} if epoch else {"step": 0, "num_steps": 181_000}
    return peak * learning_rate_factor(schedule, epoch=epoch, **steps)


@pytest.mark.parametrize("spec", PUBLISHED, ids=lambda spec: spec.key)
@pytest.mark.parametrize("kind", ["paper", "modern", "modern_cosine"])
def test_every_recipe_keeps_to_the_benchmark(spec, kind):
    config = load(DetectorConfig, CONFIGS / f"{kind}_finetune_{spec.key}.yaml")
    assert config.points.num_points == spec.num_points
    assert config.points.votes == spec.votes
    assert config.augment == spec.augment
    assert config.model.num_heading_bins == spec.num_heading_bins
    assert config.evaluation.iou_thresholds == spec.iou_thresholds
    assert (config.sizes, config.train.epochs, config.model.num_proposals) == ("published", 180, 256)
    assert (config.data.split, config.validation.split) == ("train", "val")
    wider = load(DetectorConfig, CONFIGS / f"{kind}_finetune_{spec.key}.yaml", ["model.backbone.width=2"])
    assert wider.model.num_features == 2 * config.model.num_features


@pytest.mark.parametrize("spec", PUBLISHED, ids=lambda spec: spec.key)
def test_the_published_schedule(spec):
    config = load(DetectorConfig, CONFIGS / f"paper_finetune_{spec.key}.yaml")
    expected = {0: 1e-3, 79: 1e-3, 80: 1e-4, 119: 1e-4, 120: 1e-5, 160: 1e-6, 179: 1e-6}
    assert {epoch: rate(config, epoch) for epoch in expected} == pytest.approx(expected)
    momenta = {0: 0.5, 19: 0.5, 20: 0.25, 100: 0.5**6, 179: 0.5**9}
    assert {epoch: bn_momentum(config.train.schedule, epoch=epoch) for epoch in momenta} == pytest.approx(momenta)
    assert (config.train.batch_size, config.train.optimizer.weight_decay) == (8, 0)
    assert config.points.draws == spec.key


@pytest.mark.parametrize("spec", PUBLISHED, ids=lambda spec: spec.key)
def test_the_modern_schedules(spec):
    step, cosine = (
        load(DetectorConfig, CONFIGS / f"{kind}_finetune_{spec.key}.yaml") for kind in ("modern", "modern_cosine")
    )
    expected = {0: 8e-3, 119: 8e-3, 120: 8e-4, 159: 8e-4, 160: 8e-5}
    assert {epoch: rate(step, epoch) for epoch in expected} == pytest.approx(expected)
    assert [rate(cosine, epoch) for epoch in (0, 90, 180)] == pytest.approx([8e-3 / 500, 4e-3, 0], abs=1e-4)
    for config in (step, cosine):
        optimizer = config.train.optimizer
        assert (optimizer.name, optimizer.weight_decay, optimizer.clip) == ("adamw", 0.01, 10)
        assert config.train.batch_size == {"scannet": 64, "sunrgbd": 128}[spec.key]


def test_published_sizes_are_the_benchmarks():
    scene = Scene(points=np.zeros((9, 3)), boxes=np.zeros((0, 7)), categories=np.zeros(0), instance_ids=-np.ones(9))
    spec = PUBLISHED[1]
    config = load(DetectorConfig, CONFIGS / f"paper_finetune_{spec.key}.yaml", ["train.device=cpu"])
    task = detection_task(config, SceneSet([scene], spec.classes))
    assert task.settings["model"]["mean_sizes"] == [list(sizes) for sizes in spec.mean_sizes]
    with pytest.raises(ConfigError, match=r"sizes: is published, but the classes are neither those of ScanNetV2 nor"):
        detection_task(config, SceneSet([scene], ("chair",)))
    with pytest.raises(
        ConfigError, match=r"sizes: is published, but the classes are neither those of ScanNetV2 nor SUN"
    ):
        detection_task(config, SceneSet([scene], S3DIS.classes))
