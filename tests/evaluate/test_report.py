import json

import pytest
import torch

from pcfdsl.datasets.spec import SCANNET200
from pcfdsl.evaluate.detection import average_precision
from pcfdsl.evaluate.detector import mean_metrics, write_reports
from pcfdsl.evaluate.report import class_table, group_table, report_dict, runs_dict, runs_table
from pcfdsl.ops.detections import Detections, GroundTruth

NAMES = ["bed", "night|stand", "sofa"]


@pytest.fixture
def report():
    boxes = torch.tensor([[float(x), 0, 0, 1, 1, 1, 0] for x in (0, 3, 6)])
    truth = GroundTruth.from_scenes([(boxes[:2], torch.tensor([0, 1]))])
    predictions = Detections.from_scenes([(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 2]))])
    return average_precision(predictions, truth, num_classes=3)


def test_class_table(report):
    lines = class_table(report, NAMES).splitlines()
    assert lines[0] == "| class | boxes | detections | AP@0.25 | recall@0.25 | AP@0.5 | recall@0.5 |"
    assert lines[2] == "| bed | 1 | 2 | 100.0 | 100.0 | 100.0 | 100.0 |"
    assert lines[3] == "| night\\|stand | 1 | 0 | 0.0 | 0.0 | 0.0 | 0.0 |"
    assert lines[4] == "| **mean** | 2 | 3 | 50.0 | 50.0 | 50.0 | 50.0 |"
    assert lines[-1].endswith("in no mean: sofa.")
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        class_table(report, NAMES[:2])


def test_groups_and_many_classes(report):
    groups = {"head": ("bed", "night|stand"), "tail": ("sofa",)}
    lines = group_table(report, NAMES, groups).splitlines()
    assert lines[0] == "| group | classes | boxes | detections | AP@0.25 | recall@0.25 | AP@0.5 | recall@0.5 |"
    assert lines[2] == "| head | 2 of 2 | 2 | 2 | 50.0 | 50.0 | 50.0 | 50.0 |"
    assert lines[3] == "| tail | 0 of 1 | 0 | 1 | – | – | – | – |"
    result = report_dict(report, NAMES, groups)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {group: means["mAP@0.25"] for group, means in result["groups"].items()} == {"head": 0.5, "tail": None}
    assert "groups" not in report_dict(report, NAMES)

    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]).repeat(198, 1)
    every = Detections.from_scenes([(boxes, torch.ones(198), torch.arange(198))])
    truth = GroundTruth.from_scenes([(boxes[:1], torch.tensor([7]))])
    wide = average_precision(every, truth, num_classes=198)
    lines = class_table(wide, SCANNET200.classes).splitlines()
    assert len(lines) == 6  # two of the header, bed, mean, blank, the others
    assert lines[2].startswith(f"| {SCANNET200.classes[7]} | 1 | 1 | 100.0 |")
    assert lines[-1].count(",") == 21  # two of the sentence, 19 between 20 names
    assert lines[-1].endswith("and 177 more.")


def test_reports_of_a_benchmark_with_groups_begin_with_them(report, tmp_path):
    boxes = torch.tensor([[float(x), 0, 0, 1, 1, 1, 0] for x in range(0, 9, 3)])
    truth = GroundTruth.from_scenes([(boxes, torch.tensor([0, 100, 100]))])
    found = Detections.from_scenes([(boxes[:2], torch.tensor([0.9, 0.8]), torch.tensor([0, 100]))])
    one = average_precision(found, truth, num_classes=198)
    content = write_reports([one], SCANNET200.classes, tmp_path / "evaluation")
    assert {group: means["mAP@0.25"] for group, means in content["repeats"][0]["groups"].items()} == {
        "head": 1.0,
        "common": None,
        "tail": 0.5,
    }
    table = (tmp_path / "evaluation.md").read_text().splitlines()
    assert table[0].startswith("| group | classes | boxes |")
    assert table[2].startswith("| head | 1 of 64 | 1 | 1 | 100.0 |")
    assert table[6].startswith("| class | boxes |")
    write_reports([report], NAMES, tmp_path / "plain")
    assert (tmp_path / "plain.md").read_text().startswith("| class | boxes |")


def test_dictionary_survives_json(report):
    result = report_dict(report, NAMES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["metrics"] == {"mAP@0.25": 0.5, "mAP@0.5": 0.5, "AR@0.25": 0.5, "AR@0.5": 0.5}
    assert [entry["name"] for entry in result["classes"]] == NAMES[:2]
    assert result["absent_classes"] == ["sofa"]


def test_where_nothing_is_to_find_no_number_is_made_up(report):
    nothing = average_precision(one_found(), GroundTruth.from_scenes([]), num_classes=3)
    table = class_table(nothing, NAMES)
    assert "| **mean** | 0 | 1 | – | – | – | – |" in table
    assert "\nNo box is labelled in the scenes that are evaluated on: nothing to find" in table
    assert json.loads(json.dumps(report_dict(nothing, NAMES), allow_nan=False))["metrics"]["mAP@0.25"] is None
    assert mean_metrics([nothing, nothing]) == nothing.metrics()
    runs = {"empty": [nothing.metrics()], "some": [report.metrics()]}
    assert runs_dict(runs)["empty"]["mAP@0.5"]["mean"] is None
    assert runs_dict(runs)["empty"]["mAP@0.5"]["num_values"] == 0
    assert "| empty | 1 | – | – | – | – |" in runs_table(runs)


def one_found():
    box = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
    return Detections.from_scenes([(box, torch.tensor([0.9]), torch.tensor([2]))])


def test_runs():
    runs = {"scratch": [{"mAP@0.25": 0.2}], "pre-trained": [{"mAP@0.25": 0.5}, {"mAP@0.25": 0.52}, {"mAP@0.25": 0.54}]}
    lines = runs_table(runs).splitlines()
    assert lines[0] == "| arm | runs | mAP@0.25 |"
    assert lines[2:] == ["| scratch | 1 | 20.0 |", "| pre-trained | 3 | 52.0 ± 2.0 |"]
    result = runs_dict(runs)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["pre-trained"]["mAP@0.25"]["num_values"] == 3
    assert result["scratch"]["mAP@0.25"]["deviation"] is None


def test_bad_runs_are_named():
    with pytest.raises(ValueError, match="no runs of scratch"):
        runs_table({"scratch": [], "other": [{"mAP": 1.0}]})
    with pytest.raises(ValueError, match="differ in their metrics"):
        runs_table({"scratch": [{"mAP": 1.0}, {"AR": 1.0}]})
