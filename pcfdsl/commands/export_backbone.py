"""Write a trained ResNet's weights for the body of torchvision's detectors (Faster R-CNN, Mask R-CNN, RetinaNet).

Trained detectors and classifiers are written by `pcfdsl export-model`.
"""

import argparse

from pcfdsl.command_line import needs

__all__ = ["main"]


def main() -> dict:
    with needs("image"):
        from pcfdsl.infer.image import export_torchvision_backbone

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="a run's folder, or one of its .safetensors files")
    parser.add_argument("--out", metavar="FILE.safetensors", required=True, help="names are backbone.body.*")
    args = parser.parse_args()
    return {"weights": str(export_torchvision_backbone(args.checkpoint, args.out))}
