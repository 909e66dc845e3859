"""Pre-training by segmentation: the category of each point's object, and a vote for where its middle is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pcfdsl.datasets.sources import SceneSet
from pcfdsl.models.segmentation import Segmenter, SegmenterOutput
from pcfdsl.samples.detection import DetectionBatch, collate, scene_samples
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.pretraining import PretrainConfig, new_model

__all__ = ["SegmentationConfig", "point_classes", "segmentation_task"]


BACKGROUND_WEIGHT = 0.1  # of a point beside one of an object


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(PretrainConfig):
    """Segmentation of scenes; the labels of formula-made ones are free."""


def segmentation_task(config: SegmentationConfig, scenes: SceneSet) -> Task:
    """Segmentation as the loop wants it."""
    num_classes = 1 if config.points.class_agnostic else len(scenes.classes)

    def loss(network: Callable, batch: DetectionBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        output: SegmenterOutput = network(batch.points)
        labels = output.described.of_points(point_classes(batch))
        weight = labels.new_ones(1 + num_classes, dtype=torch.float32)
        weight[0] = BACKGROUND_WEIGHT
        category = F.cross_entropy(output.logits, labels, weight=weight)
        on_object = output.described.of_points(batch.vote_mask)
        truth = output.described.xyz[:, None] + output.described.of_points(batch.vote_offsets)
        distance = (output.vote_xyz[:, None] - truth).abs().sum(-1).amin(1)
        vote = (distance * on_object).sum() / (on_object.sum() + 1e-6)
        logits, objects = output.logits.detach(), labels > 0
        right = (logits[:, 1:].argmax(1) + 1 == labels) * objects  # of objects, whatever the background's logit is
        scalars = {
            "category": category.detach(),
            "vote": vote.detach(),
            "accuracy": (logits.argmax(1) == labels).float().mean(),
            "category_accuracy": right.sum() / (objects.sum() + 1e-6),
        }
        return category + vote, scalars

    return Task(
        model=new_model(config, lambda: Segmenter(config.model, num_classes)),
        dataset=scene_samples(scenes.scenes, config.points, seed=config.train.seed, augment=config.augment),
        collate=collate,
        loss=loss,
        config=config,
        classes=("object",) if config.points.class_agnostic else tuple(scenes.classes),
    )


def point_classes(batch: DetectionBatch) -> Tensor:
    """[B, N] int64: 1 + the class of the object a point belongs to; 0 is the background."""
    classes = 1 + batch.classes.gather(1, batch.instance_ids.clamp(min=0))
    return torch.where(batch.instance_ids >= 0, classes, 0)
