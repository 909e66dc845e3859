"""Every task that VoteNet or its backbone can be trained on: its settings, and the function that trains."""

from types import MappingProxyType

from pcfdsl.train.contrast import PointContrastConfig, train_point_contrast
from pcfdsl.train.detector import DetectorConfig, train_detector
from pcfdsl.train.random_rooms import RandomRoomsConfig, train_random_rooms
from pcfdsl.train.segmentation import SegmentationConfig, train_segmentation

__all__ = ["TASKS"]

TASKS = MappingProxyType(
    {
        "detection": (DetectorConfig, train_detector),
        "pointcontrast": (PointContrastConfig, train_point_contrast),
        "random_rooms": (RandomRoomsConfig, train_random_rooms),
        "segmentation": (SegmentationConfig, train_segmentation),
    }
)
