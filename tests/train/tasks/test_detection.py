"""A detector learns what it is shown, takes weights over, and says what does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.files import save_weights
from pcfdsl.checkpoints.run_folder import load_checkpoint, note_unfinished, save_checkpoint
from pcfdsl.config import ConfigError, load, to_dict
from pcfdsl.datasets.detection_set import write_info, write_scene, write_split
from pcfdsl.datasets.sources import DetectionSetSource, FractalSource, mean_box_sizes, open_scenes
from pcfdsl.evaluate.detector import mean_metrics, write_reports
from pcfdsl.infer.detector import detect_in_file, evaluate_detector, load_detector
from pcfdsl.pointcloud.pcfractal import PCFractalDB
from pcfdsl.scene.boxes import Scene
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, train_detector

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "votenet"
QUICK = ("train.sinks=[]", "train.device=cpu", "data.scenes.num_scenes=8", "validation.scenes.num_scenes=2")
FEW = (*QUICK, "train.num_steps=3", "train.batch_size=2", "train.log_every=1", "train.evaluations=1")


def finetuning(*overrides: str) -> DetectorConfig:
    return load(DetectorConfig, CONFIGS / "smoke_finetune.yaml", overrides)


def pretraining(*overrides: str) -> DetectorConfig:
    return load(DetectorConfig, CONFIGS / "smoke_pretrain.yaml", overrides)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    train_detector(pretraining(*(setting for setting in FEW if not setting.startswith("validation"))), folder)
    return folder


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetuned")
    train_detector(finetuning(*FEW), folder)
    return folder


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_sound(path):
    config = load(DetectorConfig, path)
    assert path.stem.endswith("pretrain") == (config.data.kind == "fractals")


def test_the_published_optimisation():
    for name in ("paper_finetune_scannet", "paper_finetune_sunrgbd"):
        config = load(DetectorConfig, CONFIGS / f"{name}.yaml")
        train, schedule = config.train, config.train.schedule
        assert (train.epochs, train.batch_size, train.evaluations) == (180, 8, 18)
        assert (train.optimizer.name, train.optimizer.learning_rate, train.optimizer.weight_decay) == ("adam", 1e-3, 0)
        assert (schedule.kind, schedule.milestones, schedule.factor) == ("step", (80, 120, 160), 0.1)
        assert (schedule.bn_momentum, schedule.bn_factor, schedule.bn_epochs, schedule.bn_floor) == (0.5, 0.5, 20, 1e-3)
        assert (config.model.num_proposals, config.model.backbone.num_centers) == (256, (2048, 1024, 512, 256))
        assert config.points.num_points == {"scannet": 40_000, "sunrgbd": 20_000}[name.split("_")[-1]]


def test_one_batch_is_learned_by_heart(tmp_path):
    scenes = """{num_scenes: 2, num_points: 1024, objects: [3, 3], sizes: {shape: metres},
        layout: {yaw: axis_aligned, stacking: 0, gap: 0.4}, cameras: {number: [0, 0]},
        room: {share: 0.2, walls: 0, clutter: [0, 0]}}"""
    config = finetuning(
        "train.sinks=[]",
        "train.device=cpu",
        "train.num_steps=250",
        "train.batch_size=2",
        "train.evaluations=1",
        "train.optimizer.learning_rate=0.004",
        "train.schedule.bn_momentum=0.2",
        "train.schedule.bn_epochs=1000",
        f"data.scenes={scenes}",
        f"validation={{kind: furniture, scenes: {scenes}}}",
        "augment={flip_x: 0, flip_y: 0, rotation: 0}",
        "model.num_heading_bins=1",
        "model.num_proposals=64",
        "model.backbone.num_centers=[256, 128, 64, 32]",
        "model.backbone.width=2",
    )
    result = train_detector(config, tmp_path).runs[0]
    assert result.metrics["mAP@0.25"] == 1.0
    records = read_log(tmp_path, kind="train")
    assert records[-1]["loss"] < records[0]["loss"] / 5


def test_an_evaluation_shows_rooms_with_what_was_found(tmp_path):
    config = finetuning(*FEW, "train.num_steps=1", "train.evaluations=1", "train.sinks=[tensorboard]")
    train_detector(config, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    rooms = board.Images("rooms")[0]
    assert rooms.step == 1
    assert rooms.width > 960, "two rooms in a row"
    assert len(rooms.encoded_image_string) > 10_000, "there is something in the picture"
    assert "evaluation/mAP@0.25" in board.Tags()["scalars"]
    assert any(name.startswith("weights/backbone_net.") for name in board.Tags()["histograms"])


def test_a_stopped_detector_goes_on_bit_for_bit(tmp_path, train_until_step_4):
    config = finetuning(*FEW, "train.num_steps=6", "train.checkpoint_every=2", "model.cluster_sampling=random")
    train_detector(config, tmp_path / "whole")
    train_until_step_4(config, tmp_path / "parts")
    train_detector(config, tmp_path / "parts")
    names = ("step", "loss", "vote", "objectness_accuracy", "gradient_norm")
    whole, parts = (
        [[record[name] for name in names] for record in read_log(tmp_path / run, kind="train")]
        for run in ("whole", "parts")
    )
    assert whole == parts
    states = [load_checkpoint(tmp_path / run / "last.safetensors").state for run in ("whole", "parts")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_backbone_and_voting_are_taken_over(tmp_path, pretrained, capsys):
    config = finetuning(*FEW, f"init.checkpoint={pretrained}")
    task = detection_task(config, open_scenes(config.data))
    before, after = load_checkpoint(pretrained).state, task.model.state_dict()
    taken = [name for name in after if name.startswith(("backbone_net.", "vgen."))]
    assert taken
    assert all(torch.equal(before[name], after[name]) for name in taken)
    assert any(name.startswith("pnet.") and before[name].shape != after[name].shape for name in after)
    assert f"{len(taken)} tensors loaded" in capsys.readouterr().err


def test_several_seeds_have_a_mean_and_a_deviation(tmp_path):
    results = train_detector(finetuning(*FEW), tmp_path, seeds=(0, 1, 2))
    values = [run.metrics["mAP@0.25"] for run in results.runs.values()]
    summary = json.loads(json.dumps(results.to_dict()))
    assert summary["over_seeds"]["mAP@0.25"]["mean"] == pytest.approx(np.mean(values))
    assert summary["over_seeds"]["mAP@0.25"]["deviation"] == pytest.approx(np.std(values, ddof=1))
    losses = [read_log(tmp_path / f"seed{seed}", kind="train")[0]["loss"] for seed in (0, 1, 2)]
    assert len(set(losses)) == 3


def test_smaller_shares_of_the_training_set_are_parts_of_larger_ones():
    chosen = {}
    for fraction in (0.25, 0.5, 1.0):
        config = finetuning(*FEW, f"train_fraction={fraction}")
        scenes = detection_task(config, open_scenes(config.data)).dataset.scenes
        chosen[fraction] = {scenes[i].points.tobytes() for i in range(len(scenes))}
    assert [len(scenes) for scenes in chosen.values()] == [2, 4, 8]
    assert chosen[0.25] < chosen[0.5] < chosen[1.0]


def test_a_trained_detector_evaluates_as_in_its_training(finetuned):
    detector = load_detector(finetuned, device="cpu")
    assert detector.step == 3
    assert detector.classes == open_scenes(detector.config.data).classes
    reports = evaluate_detector(detector).reports
    again = evaluate_detector(detector).reports
    logged = read_log(finetuned, kind="evaluation")[-1]
    assert reports[0].metrics() == again[0].metrics()
    assert {name: logged[name] for name in reports[0].metrics()} == reports[0].metrics()


def test_a_file_is_searched(tmp_path, finetuned):
    detector = load_detector(finetuned, device="cpu")
    points = open_scenes(detector.config.validation).scenes[0].points
    np.save(tmp_path / "room.npy", points)
    found = detect_in_file(detector, tmp_path / "room.npy", confidence=0.0)
    assert len(found.boxes) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.names) <= set(detector.classes)
    entries = json.loads(found.to_json())
    assert [entry["class"] for entry in entries] == list(found.names)
    np.testing.assert_allclose([entry["size"] for entry in entries], found.boxes[:, 3:6])


def test_mean_sizes_are_those_of_the_boxes():
    scenes = open_scenes(finetuning(*FEW).data)
    boxes = np.concatenate([scene.boxes for scene in scenes.scenes])
    categories = np.concatenate([scene.categories for scene in scenes.scenes])
    (one,) = mean_box_sizes(scenes.scenes, len(scenes.classes), per_class=False)
    np.testing.assert_allclose(one, boxes[:, 3:6].mean(0), atol=1e-3)
    each = mean_box_sizes(scenes.scenes, len(scenes.classes), per_class=True)
    for without in ([], [Scene.unlabelled(np.zeros((5, 3)))]):
        with pytest.raises(ValueError, match=f"none of {len(without)} training scenes has a box"):
            mean_box_sizes(without, 3, per_class=True)
    for k, size in enumerate(each):
        expected = boxes[categories == k, 3:6].mean(0) if (categories == k).any() else one
        np.testing.assert_allclose(size, expected, atol=1e-3)


def test_what_does_not_fit_is_named(tmp_path, finetuned, pretrained):
    with pytest.raises(ConfigError, match="input_channels: is 1, but points have 0"):
        finetuning("points.use_height=false")
    with pytest.raises(ConfigError) as problems:
        finetuning("model.proposals=3", "train.optimizer.lr=1", "sizes=many")
    assert [key for key, _ in problems.value.problems] == ["model.proposals", "sizes", "train.optimizer.lr"]
    with pytest.raises(ConfigError, match=r"model.num_classes: is 1, but the data have \d+ classes"):
        train_detector(finetuning(*FEW, "sizes=given"), tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        train_detector(finetuning(*FEW, "init.checkpoint=nowhere"), tmp_path)
    with pytest.raises(ConfigError, match="stored is now called detection_set"):
        finetuning("data.kind=stored")
    with pytest.raises(
        ConfigError, match=r"data.scenes: belongs to kind fractals, objects, released, furniture or meshes, but kind is"
    ):
        finetuning("data.kind=detection_set", "data.folder=a")
    with pytest.raises(FileNotFoundError, match="is not a detection set"):
        train_detector(finetuning(*FEW[:-1], f"data={{kind: detection_set, folder: {tmp_path}}}"), tmp_path)
    with pytest.raises(ValueError, match="without validation scenes; name a set of scenes"):
        evaluate_detector(load_detector(pretrained, device="cpu"))


def test_weights_of_a_run_that_stands_still_are_noted(tmp_path, pretrained, capsys):
    run = shutil.copytree(pretrained, tmp_path / "run")
    note_unfinished(run)
    assert capsys.readouterr().err == ""
    about = json.loads((run / "last.json").read_text())
    (run / "last.json").write_text(json.dumps(about | {"step": 1}))
    note_unfinished(run)
    assert f"{run} is unfinished, at step 1 of {about['num_steps']}" in capsys.readouterr().err


def test_a_seed_given_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="seeds 1, 1 repeat"):
        train_detector(finetuning(*FEW), tmp_path, seeds=(1, 1))


def test_validation_without_truth_gives_no_number(tmp_path, capsys):
    config = finetuning(*FEW, "data.scenes.num_scenes=2")
    scenes = open_scenes(config.data)
    write_info(tmp_path / "set", scenes.classes)
    empty = scenes.scenes[0]
    empty = replace(
        empty,
        boxes=empty.boxes[:0],
        categories=empty.categories[:0],
        instance_ids=np.full_like(empty.instance_ids, -1),
    )
    write_scene(tmp_path / "set", "empty", empty)
    write_split(tmp_path / "set", "val", ["empty"])
    write_split(tmp_path / "set", "none", [])
    source = DetectionSetSource(folder=str(tmp_path / "set"), split="val")
    result = train_detector(replace(config, validation=source), tmp_path / "run").runs[0]
    assert result.metrics == dict.fromkeys(("mAP@0.25", "mAP@0.5", "AR@0.25", "AR@0.5"))
    assert result.best is None
    assert "nothing to find, so there is no precision (1 scenes)" in capsys.readouterr().err
    assert read_log(tmp_path / "run", kind="evaluation")[0]["mAP@0.25"] is None
    done = evaluate_detector(load_detector(tmp_path / "run", device="cpu"))
    assert mean_metrics(done.reports) == result.metrics
    write_reports(done.reports, scenes.classes, tmp_path / "report")
    assert "nothing to find" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["over_repeats"]["mAP@0.25"]["mean"] is None
    with pytest.raises(ConfigError, match="validation: the detection_set to evaluate on has no scenes"):
        train_detector(replace(config, validation=replace(source, split="none")), tmp_path / "other")


def test_a_set_with_other_classes_is_refused(tmp_path, finetuned):
    write_info(tmp_path, ["chair", "zebra"])
    write_split(tmp_path, "val", [])
    source = DetectionSetSource(folder=str(tmp_path), split="val")
    with pytest.raises(ValueError, match=r"the set has 2 classes, but .*best.safetensors detects 10 \(number 0: "):
        evaluate_detector(load_detector(finetuned, device="cpu"), source=source)


def test_classes_are_compared_before_a_search(finetuned, monkeypatch):
    monkeypatch.setattr(PCFractalDB, "prepare", lambda database: pytest.fail("searched"))
    with pytest.raises(
        ValueError, match=r"the set has 1000 classes, but .* detects 10 .*; \.\.\.\); evaluate on a set"
    ):
        evaluate_detector(load_detector(finetuned, device="cpu"), source=FractalSource())


def test_checkpoints_of_something_else_are_refused(tmp_path):
    module = torch.nn.Linear(2, 2)
    save_checkpoint(tmp_path, "last", model=module, settings={"what": "toy"}, step=1, metrics={})
    with pytest.raises(ValueError, match=r"(?s)is not a detector's checkpoint: it has what: unknown key"):
        load_detector(tmp_path)
    save_weights(tmp_path / "bare.safetensors", module)
    with pytest.raises(ValueError, match="holds weights without settings"):
        load_detector(tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="match no known layout; the first are bias, weight"):
        train_detector(finetuning(*FEW, f"init.checkpoint={tmp_path / 'bare.safetensors'}"), tmp_path / "run")


def test_stored_scenes_train_as_the_generated_ones_they_hold(tmp_path):
    config = finetuning(*FEW, "train.evaluations=0")
    scenes = open_scenes(config.data)
    write_info(tmp_path / "set", scenes.classes)
    names = [f"room{i}" for i in range(len(scenes.scenes))]
    for name, scene in zip(names, scenes.scenes, strict=True):
        write_scene(tmp_path / "set", name, scene)
    write_split(tmp_path / "set", "train", names)
    stored = replace(config, data=DetectionSetSource(folder=str(tmp_path / "set")))
    train_detector(config, tmp_path / "generated")
    train_detector(stored, tmp_path / "stored")
    losses = [[r["loss"] for r in read_log(tmp_path / run, kind="train")] for run in ("generated", "stored")]
    assert losses[0] == losses[1]


def test_settings_come_back_from_the_checkpoint(finetuned):
    detector = load_detector(finetuned, device="cpu")
    assert detector.config.model.num_classes == len(detector.classes)
    given = to_dict(finetuning(*FEW))
    kept = to_dict(detector.config)
    assert {key: value for key, value in kept.items() if key != "model"} == {
        key: value for key, value in given.items() if key != "model"
    }
