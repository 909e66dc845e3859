"""Write a trained ResNet's weights for the body of torchvision's detectors (Faster R-CNN, Mask R-CNN, RetinaNet).

Trained detectors and classifiers are written by `pcfdsl export-model`.
"""

from pcfdsl.command_line import run
from pcfdsl.commands.export_backbone import main

if __name__ == "__main__":
    run(main)
