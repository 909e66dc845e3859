"""COCO's average precision of boxes and masks, as pycocotools has it."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.evaluate.processes import Processes
from pcfdsl.samples.coco import CocoPictures

__all__ = ["coco_precision", "evaluate_coco"]


def evaluate_coco(
    model: nn.Module, pictures: CocoPictures, *, group: Processes | None = None
) -> dict[str, float | None]:
    """What a detector of torchvision, in evaluation mode, finds in the pictures; processes of a group share them."""
    group = group or Processes()
    device = next(model.parameters()).device
    own = []
    for row in group.share(len(pictures.file.images)):
        with torch.inference_mode():
            (found,) = model([pictures.picture(row).to(device)])
        own += _results(found, pictures, row)
    return coco_precision(pictures.file.content, [result for part in group.gather(own) for result in part])


def coco_precision(content: dict[str, Any], results: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """AP, AP50 and AP75 of boxes and of masks, 0 to 1; None where there is nothing to be found.

    Args:
        content: A file of annotations.
        results: Detections as COCO's result files have them, with `bbox` and `segmentation`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # From 1 on, as COCO's are: pycocotools takes a match with number 0 for none.
    numbered = [{**annotation, "id": 1 + k} for k, annotation in enumerate(content["annotations"])]
    metrics: dict[str, float | None] = {}
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        precision = [0.0 if any(not a["iscrowd"] for a in content["annotations"]) else -1.0] * 3
        if results:
            with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
                truth: Any = COCO()
                truth.dataset = {**content, "annotations": numbered}
                truth.createIndex()
                judge = COCOeval(truth, truth.loadRes([dict(result) for result in results]), kind)  # type: ignore[arg-type]
                judge.evaluate()
                judge.accumulate()
                judge.summarize()
            precision = judge.stats[:3].tolist()
        for threshold, value in zip(("AP", "AP50", "AP75"), precision, strict=True):
            metrics[f"{name}_{threshold}"] = None if value < 0 else value
    return metrics


def _results(found: dict[str, Tensor], pictures: CocoPictures, row: int) -> list[dict[str, Any]]:
    from pycocotools import mask as coder

    masks = (found["masks"][:, 0] > 0.5).to(torch.uint8).cpu().numpy()
    corners = found["boxes"].cpu().numpy()
    return [
        {
            "image_id": pictures.file.images[row]["id"],
            "category_id": pictures.file.categories[int(label) - 1],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "segmentation": coder.encode(np.asfortranarray(mask)),
            "score": score,
        }
        for (x1, y1, x2, y2), mask, label, score in zip(
            corners.tolist(), masks, found["labels"].tolist(), found["scores"].tolist(), strict=True
        )
    ]
