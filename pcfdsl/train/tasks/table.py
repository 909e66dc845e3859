"""Everything that can be trained: the settings of each task, and the function that trains."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from pcfdsl.command_line import needs
from pcfdsl.train.seeds import SeedResults
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.csc import CSCConfig, csc_task
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.train.tasks.point_mae import PointMAEConfig, train_point_mae
from pcfdsl.train.tasks.pointcontrast import PointContrastConfig, point_contrast_task
from pcfdsl.train.tasks.pretraining import pretrain
from pcfdsl.train.tasks.random_rooms import RandomRoomsConfig, random_rooms_task
from pcfdsl.train.tasks.segmentation import SegmentationConfig, segmentation_task

__all__ = ["TASKS"]

_Entry = tuple[type[Any], Callable[..., SeedResults]]


def _image() -> _Entry:
    with needs("image"):  # timm, which takes a second to import
        from pcfdsl.train.tasks.image import ImageConfig, train_image
    return ImageConfig, train_image


def _vg_fractal() -> _Entry:
    with needs("image"):
        from pcfdsl.train.tasks.vg_fractal import VGFractalConfig, train_vg_fractal
    return VGFractalConfig, train_vg_fractal


def _warm_up() -> _Entry:
    with needs("image"):
        from pcfdsl.train.tasks.warm_up import WarmUpConfig, train_warm_up
    return WarmUpConfig, train_warm_up


def _self_supervised() -> _Entry:
    with needs("ssl"):  # lightly and faiss
        import faiss  # noqa: F401

        from pcfdsl.train.tasks.self_supervised.settings import SelfSupervisedConfig
        from pcfdsl.train.tasks.self_supervised.task import train_self_supervised
    return SelfSupervisedConfig, train_self_supervised


def _coco() -> _Entry:
    with needs("coco"):
        from pcfdsl.train.tasks.coco import CocoConfig, train_coco
    return CocoConfig, train_coco


TASKS: Mapping[str, Callable[[], _Entry]] = MappingProxyType(
    {
        "detection": lambda: (DetectorConfig, train_detector),
        "pointcontrast": lambda: (PointContrastConfig, partial(pretrain, point_contrast_task)),
        "csc": lambda: (CSCConfig, partial(pretrain, csc_task)),
        "random_rooms": lambda: (RandomRoomsConfig, partial(pretrain, random_rooms_task)),
        "segmentation": lambda: (SegmentationConfig, partial(pretrain, segmentation_task)),
        "classification": lambda: (ClassificationConfig, train_classifier),
        "image": _image,
        "vg_fractal": _vg_fractal,
        "point_mae": lambda: (PointMAEConfig, train_point_mae),
        "self_supervised": _self_supervised,
        "warm_up": _warm_up,
        "coco": _coco,
    }
)
