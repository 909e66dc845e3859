"""Every way of pre-training learns what it is shown by heart, and hands its backbone on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from pcfdsl.checkpoints.files import load_weights
from pcfdsl.config import ConfigError, load
from pcfdsl.datasets.detection_set import write_info, write_scene, write_split
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.samples.detection import scene_samples
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.csc import csc_task
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task
from pcfdsl.train.tasks.pointcontrast import point_contrast_task
from pcfdsl.train.tasks.random_rooms import random_rooms_task
from pcfdsl.train.tasks.segmentation import point_classes, segmentation_task
from pcfdsl.train.tasks.table import TASKS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
MAKE = {
    "pointcontrast": point_contrast_task,
    "csc": csc_task,
    "random_rooms": random_rooms_task,
    "segmentation": segmentation_task,
}
QUICK = ("train.sinks=[]", "train.device=cpu", "train.log_every=1", "train.batch_size=2")
SRUNET = (
    "points.use_height=false",
    "model.backbone_type=srunet",
    "model.srunet={voxel_size: 0.2, num_seeds: 64, net: {stem_planes: 8, planes: [8, 16, 16, 16, 16, 16, 16, 16], "
    "layers: [1, 1, 1, 1, 1, 1, 1, 1], out_channels: 32}}",
)
TRANSFORMER = (
    "points.use_height=false",
    "model.backbone_type=point_transformer",
    "model.transformer={embed_dim: 48, depth: 2, num_heads: 2, num_seeds: 128, "
    "tokens: {num_groups: 128, group_size: 8}}",
)
BACKBONES = {"pointnet2": (), "srunet": SRUNET, "transformer": TRANSFORMER}


def smoke(task: str, *overrides: str) -> Any:
    return load(TASKS[task]()[0], CONFIGS / "pretrain" / f"smoke_{task}.yaml", [*QUICK, *overrides])


@pytest.mark.parametrize("path", sorted((CONFIGS / "pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_sound(path):
    load(TASKS[path.stem.removeprefix("laptop_srunet_").split("_", 1)[-1]]()[0], path)


def test_laptop_backbones_fit_the_laptop_detectors():
    for path in sorted((CONFIGS / "pretrain").glob("laptop_*.yaml")):
        srunet = "srunet" in path.stem
        task = path.stem.removeprefix("laptop_srunet_").removeprefix("laptop_")
        detector = load(DetectorConfig, CONFIGS / "votenet" / f"laptop{'_srunet' * srunet}_finetune.yaml")
        own = load(TASKS[task]()[0], path)
        for name in ("backbone_type", "backbone", "srunet"):
            assert getattr(own.model, name) == getattr(detector.model, name)
        assert own.points.use_height == detector.points.use_height


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        *((name, "pointnet2") for name in MAKE),
        ("csc", "srunet"),
        ("random_rooms", "transformer"),
        *(pytest.param(name, "srunet", marks=pytest.mark.slow) for name in MAKE if name != "csc"),
    ],
)
def test_one_batch_is_learned_by_heart(name, backbone):
    few = ("num_pairs=150",) if name in ("pointcontrast", "csc") else ()
    config = smoke(name, *BACKBONES[backbone], *few)
    task = MAKE[name](config, open_scenes(config.data))
    batch = task.collate([task.dataset[0, i] for i in range(2)])
    optimizer = torch.optim.Adam(task.model.parameters(), lr=0.01)
    task.model.train()
    losses, scalars = [], {}
    for _ in range(60):
        loss, scalars = task.loss(task.model, batch, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert float(scalars["accuracy"]) > 0.95
    assert float(scalars.get("pairs", 100)) > 30
    assert float(scalars.get("objects", 4)) >= 4
    assert float(scalars.get("category_accuracy", 1)) > 0.95
    assert float(scalars.get("vote", 0)) < 0.3


@pytest.mark.parametrize("name", ["pointcontrast", "segmentation"])
def test_the_backbone_is_handed_to_the_detector_and_the_classifier(name, tmp_path, capsys):
    _, train = TASKS[name]()
    train(smoke(name, "train.num_steps=2", "data.scenes.num_scenes=4"), tmp_path / "run")
    state, _ = load_weights(tmp_path / "run" / "last.safetensors")
    parts = ("backbone_net.", "vgen.") if name == "segmentation" else ("backbone_net.",)

    detector = load(
        DetectorConfig, CONFIGS / "votenet" / "smoke_finetune.yaml", [*QUICK, f"init.checkpoint={tmp_path / 'run'}"]
    )
    model = detection_task(detector, open_scenes(detector.data)).model
    own = {key: value for key, value in model.state_dict().items() if key.startswith(parts)}
    assert len(own) > 50
    assert all(torch.equal(value, state[key]) for key, value in own.items())
    assert f"{len(own)} tensors loaded" in capsys.readouterr().err

    again = smoke(name, f"init.checkpoint={tmp_path / 'run'}", "train.seed=5")
    taken = MAKE[name](again, open_scenes(again.data)).model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in taken.items() if key.startswith("backbone_net."))


def test_srunet_is_handed_to_the_detector(tmp_path):
    _, train = TASKS["pointcontrast"]()
    train(smoke("pointcontrast", *SRUNET, "train.num_steps=2", "data.scenes.num_scenes=4"), tmp_path)
    state, _ = load_weights(tmp_path / "last.safetensors")
    detector = load(
        DetectorConfig, CONFIGS / "votenet" / "smoke_srunet_finetune.yaml", [*QUICK, f"init.checkpoint={tmp_path}"]
    )
    model = detection_task(detector, open_scenes(detector.data)).model.state_dict()
    own = [key for key in model if key.startswith("backbone_net.net.")]
    assert len(own) == sum(key.startswith("backbone_net.") for key in state) > 100
    assert all(torch.equal(model[key], state[key]) for key in own)


def test_a_finished_run_is_not_trained_again_and_the_settings_stay_with_it(tmp_path):
    config = smoke("random_rooms", "train.num_steps=2", "data.scenes.num_scenes=4")
    _, train = TASKS["random_rooms"]()
    first = train(config, tmp_path).runs[0]
    again = train(config, tmp_path).runs[0]
    assert (first.skipped, again.skipped) == (False, True)
    assert len(read_log(tmp_path, kind="train")) == 2
    about = json.loads((tmp_path / "last.json").read_text())
    assert about["settings"]["temperature"] == config.temperature
    assert set(train(config, tmp_path / "seeds", seeds=(0, 1)).runs) == {0, 1}


def test_rooms_of_the_meshes_in_a_folder(tmp_path):
    for name, shape in (("ball", trimesh.creation.icosphere(2)), ("brick", trimesh.creation.box((2, 1, 1)))):
        (tmp_path / name).mkdir()
        shape.export(tmp_path / name / "one.ply")
    config = smoke(
        "random_rooms", f"data={{kind: meshes, folder: {tmp_path}, scenes: {{num_points: 2048, objects: [4, 4]}}}}"
    )
    task = random_rooms_task(config, open_scenes(config.data))
    batch = task.collate([task.dataset[0, i] for i in range(2)])
    assert set(batch.object_ids.unique().tolist()) >= {-1, 0, 1, 2}
    loss, scalars = task.loss(task.model, batch, np.random.default_rng(0))
    loss.backward()
    assert np.isfinite(loss.item())
    assert scalars["objects"] >= 4


def test_stored_scenes_are_seen_twice(tmp_path):
    made = open_scenes(smoke("pointcontrast").data)
    write_info(tmp_path, made.classes)
    for i in range(2):
        write_scene(tmp_path, f"room{i}", made.scenes[i])
    write_split(tmp_path, "train", ["room0", "room1"])
    config = smoke("pointcontrast", f"data={{kind: detection_set, folder: {tmp_path}}}")
    stored = point_contrast_task(config, open_scenes(config.data)).dataset
    made_pair, stored_pair = point_contrast_task(config, made).dataset[0, 1], stored[0, 1]
    assert len(stored) == 2
    np.testing.assert_array_equal(made_pair.points, stored_pair.points)


def test_points_have_the_class_of_their_object():
    config = smoke("segmentation")
    scenes = open_scenes(config.data)
    samples = scene_samples(scenes.scenes, config.points, seed=0)
    task = segmentation_task(config, scenes)
    labels = point_classes(task.collate([samples[0, i] for i in range(3)]))
    for i in range(3):
        by_place = {
            point.tobytes(): category
            for point, category in zip(scenes.scenes[i].points, scenes.scenes[i].point_categories, strict=True)
        }
        expected = [1 + by_place[point[:3].tobytes()] for point in samples[0, i].points]
        assert labels[i].tolist() == expected


def test_what_cannot_be_trained_is_said(tmp_path):
    with pytest.raises(ConfigError, match="input_channels: is 1, but points have 0"):
        smoke("pointcontrast", "points.use_height=false")
    with pytest.raises(ConfigError, match=r"model.srunet.features: is ones, which needs points.use_height=false"):
        smoke("segmentation", "model.backbone_type=srunet")
    with pytest.raises(ConfigError, match="shells"):
        smoke("csc", "shells=[1.0, 0.5]")
    config = smoke("random_rooms")
    scenes = open_scenes(config.data)
    stored = replace(scenes, scenes=list(scenes.scenes[:2]))
    with pytest.raises(ConfigError, match="objects come from fractals, furniture or meshes"):
        random_rooms_task(config, stored)
    for setting in ("points.votes=extent", "points.class_agnostic=true", "points.draws=scannet", "augment.hull=true"):
        for task in ("pointcontrast", "csc", "random_rooms"):
            key = setting.split("=")[0]
            with pytest.raises(ConfigError, match=f"{key}: is .*, but views are contrasted without boxes and votes"):
                smoke(task, setting)


def test_a_segmentation_of_objects_alone_names_one_class():
    config = smoke("segmentation", "points.class_agnostic=true")
    assert segmentation_task(config, open_scenes(config.data)).classes == ("object",)
