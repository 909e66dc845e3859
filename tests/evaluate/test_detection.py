import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.evaluate.detection import average_precision, average_precision_plain
from pcfdsl.ops.detections import Detections, GroundTruth

CASES = {"scannet_like": 18, "missing_pred_class": 6}


@pytest.fixture(params=CASES)
def case(request, golden, boxes_of_camera_corners):
    """Name, number of classes, detections, ground truth, and all that was measured."""
    measured = golden("votenet_eval.npz")

    def tensor(name):
        return torch.from_numpy(measured[f"{request.param}/{name}"])

    predictions = Detections(
        scene=tensor("pred_scene"),
        boxes=boxes_of_camera_corners(tensor("pred_corners")),
        scores=tensor("pred_score"),
        classes=tensor("pred_cls"),
    )
    truth = GroundTruth(
        scene=tensor("gt_scene"), boxes=boxes_of_camera_corners(tensor("gt_corners")), classes=tensor("gt_cls")
    )
    return request.param, CASES[request.param], predictions, truth, measured


@pytest.mark.parametrize("method", ["area", "voc07"])
def test_results_are_those_of_the_published_code(case, method, pytestconfig):
    name, num_classes, predictions, truth, _ = case
    published = json.loads((pytestconfig.rootpath / "tests/golden/votenet_eval.json").read_text())[name]
    report = average_precision(predictions, truth, num_classes=num_classes, method=method)
    for t, threshold in enumerate(("0.25", "0.50")):
        expected = published[f"iou{threshold}_{method}"]
        assert report.mean_ap[t] == pytest.approx(expected["mAP"], abs=1e-12)
        assert report.mean_recall[t] == pytest.approx(expected["AR"], abs=1e-12)
        for c in range(num_classes):
            assert report.ap[t, c] == pytest.approx(expected["AP"][str(c)], abs=1e-12)
            assert report.recall[t, c] == pytest.approx(expected["last_recall"][str(c)], abs=1e-12)
    assert report.metrics()["mAP@0.25"] == report.mean_ap[0]


def test_curves_are_those_of_the_published_code(case):
    name, num_classes, predictions, truth, measured = case
    report = average_precision(predictions, truth, num_classes=num_classes)
    keys = [key for key in measured.files if key.startswith(f"{name}/iou") and "/rec_cls" in key]
    assert len(keys) >= 10
    for key in keys:
        _, threshold, c = key.split("/")
        curve = report.curves[["iou0.25", "iou0.50"].index(threshold)][int(c.removeprefix("rec_cls"))]
        np.testing.assert_allclose(curve.recall, measured[key], atol=1e-12)
        np.testing.assert_allclose(curve.precision, measured[key.replace("rec_", "prec_")], atol=1e-12)


def random_problem(seed, num_predictions, num_truth, num_classes, num_scenes):
    generator = torch.Generator().manual_seed(seed)

    def integers(high, *shape):
        return torch.randint(high, shape, generator=generator)

    def labelled(num_boxes):
        # On a coarse grid: equal boxes, equal overlaps and overlaps equal to a threshold occur.
        boxes = torch.cat([integers(3, num_boxes, 3) / 2, (1 + integers(2, num_boxes, 3)) / 2], 1)
        yaw = integers(4, num_boxes, 1) * torch.pi / 4
        return {
            "scene": integers(num_scenes, num_boxes),
            "boxes": torch.cat([boxes, yaw], 1),
            "classes": integers(num_classes, num_boxes),
        }

    return (
        Detections(scores=integers(5, num_predictions) / 5, **labelled(num_predictions)),
        GroundTruth(**labelled(num_truth)),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(0, 25),
    st.integers(0, 15),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["area", "voc07"]),
)
def test_equal_to_the_published_loops(seed, num_predictions, num_truth, num_classes, num_scenes, method):
    predictions, truth = random_problem(seed, num_predictions, num_truth, num_classes, num_scenes)
    options = {"num_classes": num_classes, "iou_thresholds": (0.1501, 0.2501, 0.4999), "method": method}
    # Boxes a detection overlaps equally but for rounding could be claimed in either order: move each a little, off the
    # grid and differently.
    places = truth.boxes[:, :3].double() + 0.0123 + 1e-6 * torch.arange(len(truth))[:, None]
    truth = GroundTruth(
        scene=truth.scene, boxes=torch.cat([places, truth.boxes[:, 3:].double()], 1), classes=truth.classes
    )
    report = average_precision(predictions, truth, **options)
    np.testing.assert_allclose(report.ap, average_precision_plain(predictions, truth, **options), atol=1e-12)
    assert np.isfinite(report.ap).all()
    if len(truth):
        assert (report.mean_ap >= 0).all()
        assert (report.mean_ap <= 1).all()


def test_scenes_and_boxes_have_no_order():
    predictions, truth = random_problem(3, 60, 30, 3, 4)
    predictions = Detections(
        scene=predictions.scene, boxes=predictions.boxes, classes=predictions.classes, scores=torch.rand(60)
    )
    shuffled = torch.randperm(60)
    again = Detections(
        scene=3 - predictions.scene[shuffled],
        boxes=predictions.boxes[shuffled],
        classes=predictions.classes[shuffled],
        scores=predictions.scores[shuffled],
    )
    moved = GroundTruth(scene=3 - truth.scene, boxes=truth.boxes, classes=truth.classes)
    expected = average_precision(predictions, truth, num_classes=3)
    np.testing.assert_array_equal(average_precision(again, moved, num_classes=3).ap, expected.ap)
    assert expected.ap.max() > 0


def boxes_at(*places):
    return torch.tensor([[x, 0, 0, 1, 1, 1, 0] for x in places], dtype=torch.float32)


def one_scene(places, scores, classes=None):
    classes = torch.zeros(len(places)) if classes is None else torch.tensor(classes)
    return Detections.from_scenes([(boxes_at(*places), torch.tensor(scores), classes)])


def test_a_box_is_claimed_once_and_by_its_best_only():
    truth = GroundTruth.from_scenes([(boxes_at(0.0, 0.4), torch.zeros(2))])
    # Both overlap the first box most. The second fits the other box as well, yet is a false alarm.
    report = average_precision(one_scene([0.0, 0.1], [0.9, 0.8]), truth, num_classes=1, iou_thresholds=(0.25,))
    curve = report.curves[0][0]
    assert curve.recall.tolist() == [0.5, 0.5]
    assert curve.precision.tolist() == [1.0, 0.5]
    assert report.ap.tolist() == [[0.5]]


def test_the_threshold_itself_is_no_hit():
    truth = GroundTruth.from_scenes([(torch.tensor([[0.0, 0, 0, 2, 1, 1, 0]]), torch.zeros(1))])
    halves = one_scene([0.5], [0.9])
    assert average_precision(halves, truth, num_classes=1, iou_thresholds=(0.49, 0.5)).ap[:, 0].tolist() == [1, 0]


def test_equal_scores_keep_their_order():
    truth = GroundTruth.from_scenes([(boxes_at(0.0), torch.zeros(1))])
    first, second = (
        average_precision(one_scene(places, [0.5, 0.5]), truth, num_classes=1).ap[0, 0]
        for places in ([0.0, 9.0], [9.0, 0.0])
    )
    assert (first, second) == (1.0, 0.5)


def test_perfect_detections():
    _, truth = random_problem(1, 0, 12, 2, 20)
    perfect = Detections(scene=truth.scene, boxes=truth.boxes, classes=truth.classes, scores=torch.ones(12))
    for method in ("area", "voc07"):
        report = average_precision(perfect, truth, num_classes=2, method=method)
        np.testing.assert_allclose(report.recall[:, report.present_classes], 1)
        np.testing.assert_allclose(report.mean_ap, 1)


def test_classes_out_of_the_truth_are_reported_and_not_counted():
    truth = GroundTruth.from_scenes([(boxes_at(0.0), torch.tensor([1]))])
    report = average_precision(one_scene([0.0, 5.0], [0.9, 0.95], [1, 3]), truth, num_classes=5)
    assert report.absent_classes == [3]
    assert report.present_classes == [1]
    assert report.mean_ap.tolist() == [1.0, 1.0]
    assert report.num_predictions.tolist() == [0, 1, 0, 1, 0]


def test_nothing_on_either_side():
    truth = GroundTruth.from_scenes([(boxes_at(0.0), torch.zeros(1))])
    nothing, some = Detections.from_scenes([]), one_scene([0.0], [0.5])
    assert average_precision(nothing, truth, num_classes=2).mean_ap.tolist() == [0, 0]
    for predictions in (nothing, some):
        report = average_precision(predictions, GroundTruth.from_scenes([]), num_classes=2)
        assert np.isnan([report.mean_ap, report.mean_recall]).all()
        assert report.metrics() == dict.fromkeys(("mAP@0.25", "mAP@0.5", "AR@0.25", "AR@0.5"))
        assert report.present_classes == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, r"predictions.classes holds 3; expected 0 to 0"),
        ({"num_classes": 0}, "at least 1"),
        ({"num_scenes": 0}, "predictions.scene holds 0"),
        ({"method": "coco"}, "'area' or 'voc07'"),
        ({"iou_thresholds": ()}, "one or more"),
        ({"iou_thresholds": (25,)}, "numbers in 0..1"),
    ],
)
def test_bad_input_is_named(options, message):
    truth = GroundTruth.from_scenes([(boxes_at(0.0), torch.zeros(1))])
    with pytest.raises(ValueError, match=message):
        average_precision(one_scene([0.0], [0.5], [3]), truth, **{"num_classes": 4} | options)
