"""Every task that VoteNet or its backbone can be trained on: its settings, and the function that trains.

Image networks have a door of their own, `pcfdsl.train.tasks.image`, since they need timm.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from pcfdsl.train.seeds import SeedResults
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.csc import CSCConfig, csc_task
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.train.tasks.pointcontrast import PointContrastConfig, point_contrast_task
from pcfdsl.train.tasks.pretraining import pretrain
from pcfdsl.train.tasks.random_rooms import RandomRoomsConfig, random_rooms_task
from pcfdsl.train.tasks.segmentation import SegmentationConfig, segmentation_task

__all__ = ["TASKS"]

TASKS: Mapping[str, tuple[type[Any], Callable[..., SeedResults]]] = MappingProxyType(
    {
        "detection": (DetectorConfig, train_detector),
        "pointcontrast": (PointContrastConfig, partial(pretrain, point_contrast_task)),
        "csc": (CSCConfig, partial(pretrain, csc_task)),
        "random_rooms": (RandomRoomsConfig, partial(pretrain, random_rooms_task)),
        "segmentation": (SegmentationConfig, partial(pretrain, segmentation_task)),
        "classification": (ClassificationConfig, train_classifier),
    }
)
