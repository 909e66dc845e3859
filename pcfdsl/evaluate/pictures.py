"""What a detector finds in labelled scenes, beside what is there: items of a page or of a sheet of pictures."""

from collections.abc import Sequence

from torch import nn

from pcfdsl.evaluate.detector import EvaluationConfig, detect_scenes
from pcfdsl.models.detector import DetectorModel, shown_decoder
from pcfdsl.samples.detection import DetectionDataset
from pcfdsl.view.page import PageItem
from pcfdsl.view.scenes import detection_item

__all__ = ["SHOWN", "detection_items"]

SHOWN = 0.3  # least probability of a box in pictures


def detection_items(
    network: nn.Module,
    model: DetectorModel,
    samples: DetectionDataset,
    *,
    classes: Sequence[str],
    config: EvaluationConfig,
    indices: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
    confidence: float = SHOWN,
) -> list[PageItem]:
    """One item per scene, with the boxes that were found and the true ones.

    Args:
        network: In evaluation mode, on any device.
        model: Its configuration.
        samples: Labelled scenes, not augmented.
        classes: Names of the network's classes.
        config: How detections are made.
        indices: Which of the scenes; None for all.
        captions: One text per scene; by default numbers.
        confidence: Least probability of a box, exclusive.
    """
    indices = range(len(samples)) if indices is None else indices
    decode = shown_decoder(model, confidence=confidence)
    found, _ = detect_scenes(network, decode, samples, scenes=indices, config=config)
    items = []
    for place, i in enumerate(indices):
        scene = samples.scenes[i]
        own = found.scene == i
        names: list[str] = [classes[int(k)] for k in found.classes[own]]
        items.append(
            detection_item(
                scene.points,
                boxes=found.boxes[own].numpy(),
                names=names,
                scores=found.scores[own].numpy(),
                classes=classes,
                truth=scene,
                caption=f"{captions[place] if captions else f'scene {i}'}: {int(own.sum())} found",
            )
        )
    return items
