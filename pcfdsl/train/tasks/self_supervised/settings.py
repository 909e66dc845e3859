"""Settings of self-supervised pre-training, and of each method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pcfdsl.config import Settings, option, validate
from pcfdsl.datasets.images import PictureSource, RecipePictures
from pcfdsl.samples.images import ImageViewConfig
from pcfdsl.samples.picture_views import ViewsConfig
from pcfdsl.train.task import TrainConfig
from pcfdsl.train.tasks.image_model import ImageInitConfig, ImageModelConfig, ImageOptimizerConfig

__all__ = ["MAE", "DeepCluster", "Jigsaw", "Method", "MoCo", "Rotation", "SelfSupervisedConfig", "SimCLR"]


@dataclass(frozen=True, kw_only=True)
class MoCo(Settings):
    """MoCo v2 (Chen et al. 2020)."""

    kind: Literal["mocov2"] = option("mocov2", "two views are told from earlier pictures, as a slow twin sees them")
    queue: int = option(65_536, "earlier pictures that are compared with", minimum=1, maximum=10_000_000)
    momentum: float = option(0.999, "share of the twin's weights that stays at each step", minimum=0.0, maximum=1.0)
    temperature: float = option(0.2, "what similarities are divided by", minimum=1e-3)


@dataclass(frozen=True, kw_only=True)
class SimCLR(Settings):
    """SimCLR (Chen et al. 2020) with the head of its second version."""

    kind: Literal["simclr"] = option("simclr", "two views are told from all others of the batch")
    temperature: float = option(0.1, "what similarities are divided by", minimum=1e-3)


@dataclass(frozen=True, kw_only=True)
class MAE(Settings):
    """Masked autoencoder (He et al. 2022)."""

    kind: Literal["mae"] = option("mae", "a ViT fills in patches that it does not see")
    mask: float = option(0.75, "share of patches that are hidden", minimum=0.01, maximum=0.99)
    decoder_depth: int = option(8, "blocks of the decoder", minimum=1, maximum=100)
    decoder_width: int = option(512, "channels of the decoder, a multiple of 32", minimum=32, maximum=8_192)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.decoder_width % 32:
            yield "decoder_width", f"is {self.decoder_width}, which is no multiple of 32, the width of a head"


@dataclass(frozen=True, kw_only=True)
class Rotation(Settings):
    """RotNet (Gidaris et al. 2018)."""

    kind: Literal["rotation"] = option("rotation", "which of four turns a picture has")


@dataclass(frozen=True, kw_only=True)
class Jigsaw(Settings):
    """Jigsaw puzzles (Noroozi & Favaro 2016)."""

    kind: Literal["jigsaw"] = option("jigsaw", "in which order nine tiles are; view.size is the side of a tile")
    permutations: int = option(1_000, "orders that there are, far from each other", minimum=2, maximum=10_000)


@dataclass(frozen=True, kw_only=True)
class DeepCluster(Settings):
    """DeepCluster (Caron et al. 2018)."""

    kind: Literal["deepcluster"] = option("deepcluster", "which cluster of the network's own features a picture is in")
    clusters: int = option(10_000, "clusters, made anew in every epoch", minimum=2, maximum=1_000_000)


Method = MoCo | SimCLR | MAE | Rotation | Jigsaw | DeepCluster


@dataclass(frozen=True, kw_only=True)
class SelfSupervisedConfig:
    """Everything that self-supervised pre-training depends on. Labels of the pictures are not looked at."""

    data: PictureSource = option(RecipePictures(), "pictures, formula-made or natural")
    method: Method = option(MoCo(), "what is learned from them")
    view: ImageViewConfig = option(ImageViewConfig(), "what the network sees")
    augment: ViewsConfig = option(ViewsConfig(), "how views are made")
    model: ImageModelConfig = option(ImageModelConfig(), "the network")
    init: ImageInitConfig = option(ImageInitConfig(), "where the weights start from")
    optimizer: ImageOptimizerConfig = option(ImageOptimizerConfig(), "what train.optimizer does not say")
    train: TrainConfig = option(TrainConfig(epochs=200.0, batch_size=256), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from self.optimizer.of_fine_tuning()
        if self.method.kind == "simclr" and self.train.batch_size // self.train.accumulate < 2:
            yield (
                "train",
                "simclr compares pictures of a part: train.batch_size / train.accumulate must be 2 or more",
            )
