import numpy as np
import pytest

from pcfdsl.evaluate.classification import classification_report, confusion_table


def test_counts_by_hand():
    report = classification_report(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 2]), num_classes=4)
    assert report.confusion[:3, :3].tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 1]]
    assert report.accuracy == 3 / 5
    np.testing.assert_allclose(report.class_accuracy, [1, 1 / 3, 1, np.nan])
    assert report.mean_class_accuracy == pytest.approx(7 / 9)  # the class without samples does not count
    table = confusion_table(report, ["a", "b", "c", "d"])
    assert "| b | 3 | 33.3 | a 1, c 1 |" in table
    assert "| d |" not in table
    assert "| **all** | 5 | 60.0 | |" in table


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([0], [0, 1], "expected one of each a sample"),
        ([], [], "expected one of each a sample"),
        ([0, 3], [0, 1], "predicted has classes 0 to 3; expected 0 to 2"),
        ([0, 1], [0, -1], "labels has classes -1 to 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(predicted, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_report(np.array(predicted, int), np.array(labels, int), num_classes=3)


def test_names_must_fit():
    report = classification_report(np.array([0]), np.array([0]), num_classes=2)
    with pytest.raises(ValueError, match="3 class names for 2 classes"):
        confusion_table(report, ["a", "b", "c"])
