"""Detectors at work on batches: what is found in a cloud does not depend on what else is asked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.config import load
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.evaluate.detector import detect_scenes
from pcfdsl.evaluate.pictures import detection_items
from pcfdsl.infer.detector import (
    Detector,
    Unread,
    detect_in_file,
    detect_in_files,
    evaluate_detector,
    look_at_detections,
)
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.detector import build_detector, judged_decoder, shown_decoder
from pcfdsl.samples.detection import scene_samples
from pcfdsl.train.tasks.detection import DetectorConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "votenet"
ALL = DecodeOptions(confidence=0.0, nms="3d", per_class_proposal=False)
# Matrix products of other numbers of rows may round otherwise; nothing else differs.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module", params=["smoke_finetune", "smoke_srunet_finetune", "smoke_transformer_finetune"])
def detector(request) -> Detector:
    """Not trained: it finds much."""
    settings = ["validation.scenes.num_scenes=5", "model.cluster_sampling_eval=random", "model.num_classes=4"]
    config = load(DetectorConfig, CONFIGS / f"{request.param}.yaml", settings)
    classes = open_scenes(config.validation).classes
    config = replace(config, model=replace(config.model, num_classes=len(classes)))
    torch.manual_seed(0)
    model = build_detector(config.model).eval()
    return Detector(model=model, config=config, classes=classes, step=0, path=Path("untrained"))


@pytest.fixture(scope="module")
def clouds(tmp_path_factory) -> list[Path]:
    """Of unequal sizes, two of them with fewer points than the network sees."""
    folder, random = tmp_path_factory.mktemp("clouds"), np.random.default_rng(0)
    paths = [folder / f"{size}.npy" for size in (3000, 100, 1500, 1024, 700)]
    for path in paths:
        np.save(path, random.uniform(0, 3, (int(path.stem), 3)).astype(np.float32))
    return paths


@pytest.mark.parametrize("batch_size", [2, 8])
def test_clouds_of_unequal_sizes_are_searched_together_as_alone(detector, clouds, batch_size):
    together = list(detect_in_files(detector, clouds, confidence=0.0, batch_size=batch_size))
    assert [len(found.points) for found in together] == [3000, 100, 1500, 1024, 700]
    for path, found in zip(clouds, together, strict=True):
        alone = detect_in_file(detector, path, confidence=0.0)
        assert len(alone.boxes) > 0
        assert found.names == alone.names
        np.testing.assert_allclose(found.boxes, alone.boxes, **CLOSE)
        np.testing.assert_allclose(found.scores, alone.scores, **CLOSE)


def test_memory_holds_one_batch(detector, clouds, tmp_path):
    found = detect_in_files(detector, [*clouds[:2], tmp_path / "missing.npy"], batch_size=2)
    assert [len(next(found).points), len(next(found).points)] == [3000, 100]
    missing = next(found)
    assert isinstance(missing, Unread)
    assert isinstance(missing.error, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        detect_in_file(detector, missing.path)


def test_scenes_are_evaluated_together_as_alone(detector):
    samples = scene_samples(open_scenes(detector.config.validation).scenes, detector.config.points, seed=1)
    config = replace(detector.config.evaluation, decode=ALL)
    decode = judged_decoder(detector.config.model, ALL)
    alone, together = (
        detect_scenes(detector.model, decode, samples, config=replace(config, batch_size=size)) for size in (1, 4)
    )
    assert set(alone[0].scene.tolist()) == {0, 1, 2, 3, 4}
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(vars(one), vars(other), **CLOSE)
    done = evaluate_detector(detector, config=replace(config, repeats=2))
    assert (len(done.reports), done.num_scenes) == (2, 10)
    assert done.speed["scenes_per_second"] == pytest.approx(10 / done.seconds, abs=0.01)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near(detector, clouds, precision, monkeypatch):
    monkeypatch.setattr("pcfdsl.models.precision.has_bfloat16", lambda device_type: True)
    exact, near = (
        torch.from_numpy(detect_in_file(detector, clouds[0], confidence=0.0, precision=each).scores)
        for each in ("float32", precision)
    )
    assert near.dtype == torch.float32
    assert 0 < (exact.sort().values[-5:] - near.sort().values[-5:]).abs().max() < 0.05


def test_boxes_of_far_clouds_are_in_the_frame_of_the_file(detector, clouds, tmp_path):
    place = np.array([512_300.0, 5_412_300.0, 0.0])
    near = np.load(clouds[0]).astype(np.float64)
    np.save(tmp_path / "far.npy", near + place)
    far, alone = detect_in_file(detector, tmp_path / "far.npy", confidence=0.0), detect_in_file(detector, clouds[0])
    assert any("far from the origin" in note for note in far.notes)
    assert any("at least 1024" in note for note in detect_in_file(detector, clouds[1], confidence=0.0).notes)
    assert not alone.offset.any()
    centers = np.array([entry["center"] for entry in json.loads(far.to_json())])
    np.testing.assert_allclose(centers, far.boxes[:, :3].astype(np.float64) + far.offset, atol=1e-6)
    assert (np.abs(centers - place) < 50).all()
    np.testing.assert_allclose(far.points.astype(np.float64) + far.offset, near + place, atol=1e-4)


def test_what_is_found_is_shown_beside_the_truth_of_its_scene(detector):
    scenes = open_scenes(detector.config.validation)
    samples = scene_samples(scenes.scenes, detector.config.points, seed=detector.config.evaluation.seed)
    how = {"config": detector.config.evaluation, "confidence": 0.0, "indices": [1, 4]}
    items = detection_items(detector.model, detector.config.model, samples, classes=detector.classes, **how)
    decode = shown_decoder(detector.config.model, confidence=0.0)
    found, _ = detect_scenes(detector.model, decode, samples, scenes=[1, 4], config=detector.config.evaluation)
    for item, i in zip(items, [1, 4], strict=True):
        truth, own = scenes.scenes[i], found.scene == i
        assert own.any()
        np.testing.assert_array_equal(item.points, truth.points)
        np.testing.assert_array_equal(item.truth_boxes, truth.boxes)
        assert list(item.truth_labels) == [detector.classes[k] for k in truth.categories]
        np.testing.assert_allclose(item.boxes, found.boxes[own], **CLOSE)
        assert list(item.box_labels) == [detector.classes[k] for k in found.classes[own].tolist()]
        assert item.box_scores is not None
        np.testing.assert_allclose(item.box_scores, found.scores[own], **CLOSE)
        assert item.caption == f"scene {i}: {int(own.sum())} found"
    captions = [item.caption.split(":")[0] for item in look_at_detections(detector, num_scenes=2)]
    assert captions == ["scene 0", "scene 2"]
