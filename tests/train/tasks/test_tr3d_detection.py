"""TR3D is trained, resumed, judged, used and compared through the same interface and settings as VoteNet."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.run_folder import load_checkpoint, load_resume, save_resume
from pcfdsl.config import ConfigError, from_dict, load, to_dict
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.datasets.spec import SPECS, SUNRGBD
from pcfdsl.infer.detector import detect_in_file, evaluate_detector, load_detector
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.votenet import VoteNetConfig
from pcfdsl.studies.comparison import compare_pretraining
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, train_detector

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "tr3d"
QUICK = ("train.sinks=[]", "train.device=cpu", "data.scenes.num_scenes=8", "train.batch_size=2")
FEW = (*QUICK, "validation.scenes.num_scenes=2", "train.num_steps=3", "train.log_every=1", "train.evaluations=1")


def finetuning(*overrides: str) -> DetectorConfig:
    return load(DetectorConfig, CONFIGS / "smoke_finetune.yaml", overrides)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    train_detector(load(DetectorConfig, CONFIGS / "smoke_pretrain.yaml", [*QUICK, "train.num_steps=3"]), folder)
    return folder


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetuned")
    train_detector(finetuning(*FEW), folder)
    return folder


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_sound(path):
    config = load(DetectorConfig, path)
    assert isinstance(config.model, TR3DConfig)
    assert path.stem.endswith("pretrain") == (config.data.kind == "fractals")


def test_a_trained_one_is_loaded_judged_and_used(tmp_path, finetuned):
    detector = load_detector(finetuned, device="cpu")
    assert detector.config.model.num_classes == len(detector.classes)
    logged = read_log(finetuned, kind="evaluation")[-1]
    metrics = evaluate_detector(detector).reports[0].metrics()
    assert {name: logged[name] for name in metrics} == metrics
    np.save(tmp_path / "room.npy", np.random.default_rng(0).uniform(0, 3, (1500, 3)).astype(np.float32))
    found, sure = (detect_in_file(detector, tmp_path / "room.npy", confidence=least) for least in (0.001, 0.9999))
    assert len(found.boxes) > len(sure.boxes) == 0
    assert set(found.names) <= set(detector.classes)
    assert (np.diff(found.scores) <= 0).all()


def test_people_are_shown_one_box_an_object():
    from pcfdsl.models.detector import judged_decoder, shown_decoder
    from pcfdsl.models.tr3d.network import TR3DOutput

    config = TR3DConfig(num_classes=2, oriented=False)
    output = TR3DOutput(
        locations=torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [5, 0, 0]]),
        scene=torch.zeros(3, dtype=torch.long),
        level=torch.zeros(3, dtype=torch.long),
        regression=torch.zeros(3, 6),
        class_logits=torch.tensor([[2.0, 0.5], [-9.0, 1.0], [-9.0, -0.5]]),
    )
    points = torch.zeros(1, 1, 3)
    judged = judged_decoder(config, finetuning().evaluation.decode)(output, points)
    assert sorted(zip(judged.boxes[:, 0].tolist(), judged.classes.tolist(), strict=True)) == [
        (0, 0),
        (pytest.approx(0.1), 1),
        (5, 1),
    ]
    shown = shown_decoder(config, confidence=0.4)(output, points)
    assert sorted(zip(shown.boxes[:, 0].tolist(), shown.classes.tolist(), strict=True)) == [(0, 0)]


def test_a_stopped_one_goes_on_bit_for_bit(tmp_path, train_until_step_4):
    config = finetuning(*FEW, "train.num_steps=6", "train.checkpoint_every=2")
    train_detector(config, tmp_path / "whole")
    train_until_step_4(config, tmp_path / "parts")
    train_detector(config, tmp_path / "parts")
    logs = [read_log(tmp_path / run, kind="train") for run in ("whole", "parts")]
    names = ("step", "loss", "classes", "boxes", "gradient_norm")
    whole, parts = ([[record[name] for name in names] for record in log] for log in logs)
    assert len(whole) == 6
    assert whole == parts
    states = [load_checkpoint(tmp_path / run / "last.safetensors").state for run in ("whole", "parts")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_backbone_and_neck_are_taken_over(pretrained, capsys):
    config = finetuning(*FEW, f"init.checkpoint={pretrained}")
    after = detection_task(config, open_scenes(config.data)).model.state_dict()
    before = load_checkpoint(pretrained).state
    taken = [name for name in after if name.startswith(("backbone.", "neck."))]
    assert len(taken) == len(after) - 4
    assert all(torch.equal(before[name], after[name]) for name in taken)
    assert before["bbox_head.conv_cls.kernel"].shape != after["bbox_head.conv_cls.kernel"].shape
    assert f"{len(taken)} tensors loaded" in capsys.readouterr().err


def test_starting_points_are_compared(tmp_path, pretrained):
    starts = {"scratch": None, "fractals": str(pretrained)}
    study = compare_pretraining(finetuning(*FEW), starts, tmp_path, seeds=(0, 1), progress=lambda line: None)
    assert {arm: len(runs) for arm, runs in study.runs.items()} == {"scratch": 2, "fractals": 2}


def test_levels_are_resolved_as_sizes_says():
    def levels(*overrides: str) -> tuple[int, ...]:
        config = finetuning(*FEW, *overrides)
        return tuple(detection_task(config, open_scenes(config.data)).settings["model"]["class_levels"])

    scenes = open_scenes(finetuning(*FEW).data)
    boxes = np.concatenate([scene.boxes for scene in scenes.scenes])
    classes = np.concatenate([scene.categories for scene in scenes.scenes])
    assert levels() == ()
    means = [boxes[classes == k, 3:6].mean(0) if (classes == k).any() else boxes[:, 3:6].mean(0) for k in range(10)]
    assert levels("sizes=per_class") == tuple(int(mean.max() >= 0.8) for mean in means)
    assert levels("sizes=per_class", "points.class_agnostic=true") == ()
    given = (0, 1) * 5
    assert levels("sizes=given", "model.num_classes=10", f"model.class_levels={list(given)}") == given


@pytest.mark.parametrize(
    ("overrides", "num_classes", "num_levels"),
    [
        (("points.class_agnostic=true",), 1, 0),
        (("points.class_agnostic=false",), 4, 0),
        (("points.class_agnostic=false", "sizes=per_class"), 4, 4),
    ],
    ids=["one class", "categories", "categories with levels"],
)
def test_fractal_rooms_are_learned_with_categories_or_without(overrides, num_classes, num_levels, tmp_path):
    config = load(DetectorConfig, CONFIGS / "smoke_pretrain.yaml", [*QUICK, "train.num_steps=2", *overrides])
    train_detector(config, tmp_path)
    model = load_detector(tmp_path, device="cpu").config.model
    assert (model.num_classes, len(model.class_levels)) == (num_classes, num_levels)


def test_the_published_optimisation_and_levels():
    for spec in (spec for spec in SPECS if spec.class_levels):
        config = load(DetectorConfig, CONFIGS / f"paper_{spec.key}.yaml")
        optimizer, schedule = config.train.optimizer, config.train.schedule
        repeats = {"scannet": 15, "sunrgbd": 5, "s3dis": 13}[spec.key]
        assert (config.train.epochs, schedule.milestones) == (12 * repeats, (8 * repeats, 11 * repeats))
        assert (optimizer.name, optimizer.learning_rate, optimizer.weight_decay) == ("adamw", 1e-3, 1e-4)
        assert (optimizer.clip, config.train.batch_size, config.model.oriented) == (10, 16, spec is SUNRGBD)
        assert (config.points.use_color, config.augment.translation, config.sizes) == (True, 0.1, "published")
        assert len(spec.class_levels) == len(spec.classes)


def test_a_run_of_the_other_detector_is_refused_in_few_words(tmp_path):
    votenet, tr3d = (to_dict(load(DetectorConfig, f"{name}/smoke_pretrain")) for name in ("votenet", "tr3d"))
    save_resume(tmp_path, {"settings": votenet, "step": 1})
    with pytest.raises(ValueError, match=r"\n  model.detector: was 'votenet', is 'tr3d'\n") as error:
        load_resume(tmp_path, settings=tr3d, config_class=DetectorConfig)
    assert str(error.value).count("model.") == 1


def test_settings_of_the_other_detector_are_refused():
    for override in ("padded_truth_bug=true", "points.votes=extent", "evaluation.decode.confidence=0.1"):
        with pytest.raises(ConfigError, match=r"belongs to VoteNet, but model.detector is tr3d"):
            finetuning(override)
    with pytest.raises(ConfigError, match=r"is ones, which needs points.use_height=false points.use_color=false"):
        finetuning("points.use_height=true")
    with pytest.raises(ConfigError, match=r"model.mean_sizes: belongs to detector votenet, but detector is tr3d"):
        finetuning("model.mean_sizes=[[1, 1, 1]]")
    with pytest.raises(ConfigError) as error:
        finetuning("model.mean_sizes=[[1, 1, 1]]", "model.num_proposals=64")
    assert [message.count("which takes") for _, message in error.value.problems] == [1, 0]
    with pytest.raises(ConfigError, match=r"model.detector: expected one of votenet, tr3d, got 'detr'"):
        finetuning("model.detector=detr")


def test_settings_from_before_there_were_two_detectors_are_those_of_votenet():
    settings = to_dict(DetectorConfig())
    old = json.loads(json.dumps(settings))
    del old["model"]["detector"], old["augment"]["translation"]
    assert current_settings(old) == settings
    assert isinstance(from_dict(DetectorConfig, old).model, VoteNetConfig)


@pytest.mark.parametrize(
    ("yaw", "upsampling"),
    [
        ("axis_aligned", "encoder"),
        ("free", "encoder"),
        pytest.param("axis_aligned", "generated", marks=pytest.mark.slow),
        pytest.param("free", "generated", marks=pytest.mark.slow),
    ],
)
def test_rooms_are_learned_by_heart(tmp_path, yaw, upsampling):
    scenes = f"""{{num_scenes: 2, num_points: 2048, objects: [3, 3], sizes: {{shape: metres}},
        layout: {{yaw: {yaw}, stacking: 0, gap: 0.4}}, cameras: {{number: [0, 0]}},
        room: {{share: 0.2, walls: 0, clutter: [0, 0]}}}}"""
    config = finetuning(
        *QUICK[:2],
        "train.num_steps=200",
        "train.batch_size=2",
        "train.evaluations=1",
        "train.optimizer.learning_rate=0.01",
        f"data.scenes={scenes}",
        f"validation={{kind: furniture, scenes: {scenes}}}",
        "points.num_points=2048",
        "augment={flip_x: 0, flip_y: 0, rotation: 0}",
        f"model.oriented={str(yaw != 'axis_aligned').lower()}",
        f"model.upsampling={upsampling}",
        "model.planes=[32, 32, 32]",
        "model.neck_channels=32",
    )
    result = train_detector(config, tmp_path).runs[0]
    assert result.metrics["mAP@0.25"] == 1.0
    records = read_log(tmp_path, kind="train")
    assert records[-1]["loss"] < records[0]["loss"] / 5
