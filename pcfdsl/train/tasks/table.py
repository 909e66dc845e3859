"""Every task that VoteNet or its backbone can be trained on: its settings, and the function that trains."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pcfdsl.train.seeds import SeedResults
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.csc import CSCConfig, train_csc
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.train.tasks.pointcontrast import PointContrastConfig, train_point_contrast
from pcfdsl.train.tasks.random_rooms import RandomRoomsConfig, train_random_rooms
from pcfdsl.train.tasks.segmentation import SegmentationConfig, train_segmentation

__all__ = ["TASKS"]

TASKS: Mapping[str, tuple[type[Any], Callable[..., SeedResults]]] = MappingProxyType(
    {
        "detection": (DetectorConfig, train_detector),
        "pointcontrast": (PointContrastConfig, train_point_contrast),
        "csc": (CSCConfig, train_csc),
        "random_rooms": (RandomRoomsConfig, train_random_rooms),
        "segmentation": (SegmentationConfig, train_segmentation),
        "classification": (ClassificationConfig, train_classifier),
    }
)
