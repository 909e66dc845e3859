"""What the papers claim, and the differences that each claim predicts.

The figures are the authors' own, in percent. 3D: mAP@0.25 / mAP@0.5 of VoteNet (PC-FractalDB, CVPR 2022). Images:
accuracy after fine-tuning (FractalDB, IJCV 2022; FractalDB for ViT, AAAI 2022; contours, CVPR 2022).
"""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["CLAIMS", "Claim", "Contrast", "Run"]


class Run(NamedTuple):
    """An arm of a study of the plan."""

    study: str
    arm: str


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A difference per seed: the sum of the metric over `plus` less that over `minus`.

    Attributes:
        what: In words.
        metric: A metric of the study's runs.
        plus: Runs that the claim says are better.
        minus: As many that it says are worse.
        within: The claim is that both are equal up to this; None: that the difference is positive.
    """

    what: str
    metric: str
    plus: tuple[Run, ...]
    minus: tuple[Run, ...]
    within: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        key: Short name on the page.
        says: The claim.
        paper: The authors' figures for it.
        contrasts: What it predicts here; all must hold.
        needs: Where there are none: what it would take.
    """

    key: str
    says: str
    paper: str
    contrasts: tuple[Contrast, ...] = ()
    needs: str = ""


LOOSE, STRICT = "mAP@0.25", "mAP@0.5"
FINE = "fine20", "fine100"  # what the papers report is accuracy after fine-tuning
FROZEN = "frozen20", "frozen100"
EARLY = "fine20_stem3"


def _better(study: str, better: str, worse: str, *metrics: str) -> tuple[Contrast, ...]:
    return tuple(
        Contrast(
            what=f"{study}: {better} over {worse}, {metric}",
            metric=metric,
            plus=(Run(study, better),),
            minus=(Run(study, worse),),
        )
        for metric in metrics
    )


def _equal(study: str, one: str, other: str, metric: str, within: float) -> Contrast:
    return Contrast(
        what=f"{study}: {one} as {other} within {100 * within:g}, {metric}",
        metric=metric,
        plus=(Run(study, one),),
        minus=(Run(study, other),),
        within=within,
    )


def _gain(less: str, more: str, metric: str) -> Contrast:
    return Contrast(
        what=f"gain in {less} over gain in {more}, {metric}",
        metric=metric,
        plus=(Run(less, "detection"), Run(more, "scratch")),
        minus=(Run(less, "scratch"), Run(more, "detection")),
    )


CLAIMS = (
    Claim(
        key="T1",
        says="Pre-training by detection in rooms of fractals beats training from scratch (PointNet++)",
        paper="ScanNetV2 57.9 / 32.1 → 61.9 / 38.3; SUN RGB-D 57.4 / 32.8 → 59.4 / 33.9",
        contrasts=_better("rooms", "detection", "scratch", LOOSE, STRICT),
    ),
    Claim(
        key="T1 SR-UNet",
        says="Pre-training by detection in rooms of fractals beats training from scratch (SR-UNet)",
        paper="ScanNetV2 57.0 / 35.8 → 59.4 / 37.0; SUN RGB-D 56.1 / 34.2 → 57.1 / 35.9",
        contrasts=_better("srunet", "detection", "scratch", LOOSE, STRICT),
    ),
    Claim(
        key="T1 x2",
        says="Pre-trained on fractals, a network of twice the width is better",
        paper="ScanNetV2 61.9 / 38.3 → 63.4 / 39.9; SUN RGB-D 59.4 / 33.9 → 60.2 / 35.2",
        contrasts=tuple(
            Contrast(
                what=f"pre-trained: twice the width over once, {metric}",
                metric=metric,
                plus=(Run("wide", "detection"),),
                minus=(Run("rooms", "detection"),),
            )
            for metric in (LOOSE, STRICT)
        ),
    ),
    Claim(
        key="T2",
        says="Pre-training by detection is worth more than by classification of single fractals",
        paper="compared, with detection as the method of choice",
        contrasts=_better("rooms", "detection", "classification", LOOSE, STRICT),
    ),
    Claim(
        key="T3",
        says="On the same fractals, the label of the formula is worth more than that of PointContrast",
        paper="SR-UNet: ScanNetV2 59.4 against 57.6, SUN RGB-D 57.1 against 54.3",
        contrasts=_better("rooms", "detection", "pointcontrast", LOOSE, STRICT),
    ),
    Claim(
        key="CSC",
        says="On the same fractals, the label of the formula is worth more than that of CSC",
        paper="mAP@0.5, SR-UNet: ScanNetV2 39.3 for CSC pre-trained on scans, 37.0 for fractals",
        contrasts=_better("rooms", "detection", "csc", LOOSE, STRICT),
    ),
    Claim(
        key="RandomRooms",
        says="Detection in rooms of fractals is worth more than RandomRooms of them",
        paper="ScanNetV2 61.3 / 36.2 (of CAD models) against 61.9 / 38.3",
        contrasts=_better("rooms", "detection", "random_rooms", LOOSE, STRICT),
    ),
    Claim(
        key="T4",
        says="The gain is largest with few labelled rooms",
        paper="10 % of ScanNetV2: 38.3, 14.8 more than CSC's detector",
        contrasts=tuple(_gain("tr3d_tenth", "tr3d_all", metric) for metric in (LOOSE, STRICT)),
    ),
    Claim(
        key="T5 check",
        says="Refusing flat fractals helps: a variance threshold of 0.05 over none",
        paper="the check is part of the method; its effect on detection is not reported",
        contrasts=_better("rooms", "detection", "no_check", LOOSE, STRICT),
    ),
    Claim(
        key="T5 strict",
        says="A variance threshold of 0.15 is better than 0.05",
        paper="0.15 is the paper's threshold",
        contrasts=_better("rooms", "threshold_015", "detection", LOOSE, STRICT),
    ),
    Claim(
        key="T5 filtered",
        says="Fractals of every number of maps, filtered on their parameters, are better than uniform draws that pass",
        paper="video: better than other ways to draw 3D fractals (HMDB51, UCF101; 2026); rooms are not reported",
        contrasts=_better("rooms", "filtered", "detection", LOOSE, STRICT),
    ),
    Claim(
        key="T5 contractive",
        says="Systems that contract by construction are as good as those of the variance check",
        paper="Anderson and Farrell (WACV 2022) draw systems for pictures so, without any search",
        contrasts=(_equal("rooms", "contractive", "detection", LOOSE, 0.02),),
    ),
    Claim(
        key="T6",
        says="Objects of spherical harmonics are better than fractals",
        paper="Randomized 3D Scene Generation (2306.04237): better than the earlier formula, as good as CAD models",
        contrasts=_better("rooms", "harmonics", "detection", LOOSE, STRICT),
    ),
    Claim(
        key="I1",
        says="FractalDB beats training from scratch",
        paper="CIFAR-10 87.6 → 93.4, CIFAR-100 62.7 → 75.7 (ResNet-50)",
        contrasts=_better("pictures", "fractaldb", "scratch", *FINE),
    ),
    Claim(
        key="I1 frozen",
        says="Features of FractalDB, not fine-tuned, are better than those of random weights",
        paper="not reported of FractalDB with a linear classifier",
        contrasts=_better("pictures", "fractaldb", "scratch", *FROZEN),
    ),
    Claim(
        key="I1 Bezier",
        says="FractalDB beats pre-training on Bezier curves",
        paper="CIFAR-100 75.7 against 62.5 (144 categories) and 68.1 (1,024)",
        contrasts=_better("pictures", "fractaldb", "bezier", *FINE),
    ),
    Claim(
        key="I1 Perlin",
        says="FractalDB beats pre-training on Perlin noise",
        paper="CIFAR-100 75.7 against 70.2 (100 categories) and 71.1 (1,296)",
        contrasts=_better("pictures", "fractaldb", "perlin", *FINE),
    ),
    Claim(
        key="I2",
        says="A label that matches the picture matters: the formula's over random ones",
        paper="compared with DeepCluster's labels, see the next row, not with random ones",
        contrasts=_better("pictures", "fractaldb", "random_labels", *FINE),
    ),
    Claim(
        key="I2 DeepCluster",
        says="The formula's label is worth more than DeepCluster's on the same fractals",
        paper="DeepCluster-10k on FractalDB: CIFAR-10 83.1, below scratch (87.6); the formula's label 93.4",
        contrasts=_better("pictures", "fractaldb", "deepcluster", *FINE),
    ),
    Claim(
        key="I3",
        says="Early layers of FractalDB carry over: all but the last stage frozen, they beat random ones",
        paper="frozen early layers cost little, late ones much",
        contrasts=_better("pictures", "fractaldb", "scratch", EARLY),
    ),
    Claim(
        key="I4 categories",
        says="More categories are better",
        paper="FractalDB-1k → 10k: CIFAR-100 75.7 → 77.3",
        contrasts=_better("pictures", "fractaldb", "categories_10", *FINE),
    ),
    Claim(
        key="I4 instances",
        says="More instances are better",
        paper="number of instances is among the most effective parameters",
        contrasts=_better("pictures", "fractaldb", "instances_10", *FINE),
    ),
    Claim(
        key="I5 RCDB",
        says="Contours suffice: RCDB is as good as FractalDB",
        paper="ViT: CIFAR-100 82.2 (RCDB) and 81.6 (FractalDB)",
        contrasts=(_equal("pictures", "rcdb", "fractaldb", FINE[0], 0.02),),
    ),
    Claim(
        key="I5 ExFractalDB",
        says="ExFractalDB is as good as FractalDB",
        paper="ViT: CIFAR-100 81.8 (ExFractalDB) and 81.6 (FractalDB)",
        contrasts=(_equal("pictures", "exfractaldb", "fractaldb", FINE[0], 0.02),),
    ),
    Claim(
        key="I6 points",
        says="Pictures of too few points fail",
        paper="50,000 points train, 10,000 do not",
        contrasts=_better("pictures", "points_50k", "few_points", *FINE),
    ),
    Claim(
        key="I6 contours",
        says="Broken contours fail",
        paper="contours with segments in the background's colour do not train",
        contrasts=_better("pictures", "contours_whole", "contours_broken", *FINE),
    ),
    Claim(
        key="COCO",
        says="Mask R-CNN gains from ExFractalDB and RCDB as from ImageNet-1k",
        paper="AP of boxes 42.2 from scratch, 48.2 ImageNet-1k, 48.0 ExFractalDB-1k, 47.4 RCDB-1k",
        needs="COCO and eight GPUs",
    ),
    Claim(
        key="ImageNet",
        says="ExFractalDB-21k beats ImageNet-21k for ViT-B on ImageNet-1k",
        paper="82.7 against 81.8",
        needs="ImageNet-1k and a GPU cluster",
    ),
)
