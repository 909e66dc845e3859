"""A vision transformer before it sees: its blocks learn to fill in strings of formal languages.

Procedural warm-up (Shinnick et al., Can You Learn to See Without Images?, CVPR 2026, arXiv 2511.13945): strings as long
as a picture has patches, of 128 symbols; a fixed random vector for each symbol in place of the patch embedding; hidden
symbols are to be named. What the abstract and reviews do not say is decided here: how many symbols are hidden, a mask
token that is learned, and that the position embedding is learned with the blocks and stays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.data import Dataset

from pcfdsl.config import ConfigError, Settings, option, validate
from pcfdsl.formula.strings import Language, draw_string
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig
from pcfdsl.train.tasks.image_model import (
    ImageModelConfig,
    ImageOptimizerConfig,
    create_network,
    optimizer_builder,
)

__all__ = ["StringsConfig", "WarmUpConfig", "train_warm_up", "warm_up_task"]


@dataclass(frozen=True, kw_only=True)
class StringsConfig(Settings):
    """The strings, and what is hidden of them."""

    language: Language = option(
        "shuffle_dyck",
        "ww: a string and the same again; dyck: balanced brackets; shuffle_dyck: brackets that may cross",
    )
    num_symbols: int = option(128, "symbols that there are, an even number", minimum=2, maximum=100_000)
    num_strings: int = option(
        1_000_000, "strings of an epoch; no two epochs have the same", minimum=1, maximum=1_000_000_000
    )
    mask: float = option(0.3, "share of the symbols that is hidden", minimum=0.01, maximum=0.99)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.num_symbols % 2:
            yield "num_symbols", f"is {self.num_symbols}; brackets open and close, so expected an even number"


@dataclass(frozen=True, kw_only=True)
class WarmUpConfig:
    """Everything that a warm-up depends on."""

    strings: StringsConfig = option(StringsConfig(), "what is learned")
    size: int = option(224, "side of the pictures that the network is for, pixels", minimum=8, maximum=4_096)
    channels: Literal[1, 3] = option(3, "their channels")
    model: ImageModelConfig = option(ImageModelConfig(name="vit_tiny_patch16_224"), "a ViT of timm")
    optimizer: ImageOptimizerConfig = option(ImageOptimizerConfig(), "what train.optimizer does not say")
    train: TrainConfig = option(TrainConfig(epochs=1.0, batch_size=256), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from self.optimizer.of_fine_tuning()


@dataclass(frozen=True, eq=False, kw_only=True)
class StringBatch(TensorBatch):
    """B strings.

    Attributes:
        symbols: [B, N] int64.
        hidden: [B, N] bool, equally many of each string.
    """

    symbols: Tensor
    hidden: Tensor


class Strings(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Training samples: `dataset[e, i]` are symbols and which are hidden, by (settings, length, seed, e, i) alone."""

    def __init__(self, config: StringsConfig, length: int, *, seed: int = 0):
        self.config, self.length, self.seed = config, length, seed

    def __len__(self) -> int:
        return self.config.num_strings

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """([N] int64, [N] bool)."""
        config, rng = self.config, stream(self.seed, "string", *key)
        symbols = draw_string(rng, config.language, self.length, num_symbols=config.num_symbols)
        hidden = np.zeros(self.length, bool)
        hidden[rng.permutation(self.length)[: max(1, round(config.mask * self.length))]] = True
        return symbols, hidden


class StringReader(nn.Module):
    """A ViT that reads symbols in place of patches, and names those that are hidden.

    Args:
        trunk: The ViT, without a classifier.
        num_symbols: How many there are.

    Raises:
        ConfigError: If it is no ViT of a fixed number of patches.
    """

    symbols: Tensor

    def __init__(self, trunk: nn.Module, num_symbols: int):
        super().__init__()
        if not isinstance(trunk, VisionTransformer) or trunk.dynamic_img_size:
            raise ConfigError([("model", "is no ViT of timm with a fixed number of patches; take one such as vit_...")])
        self.trunk = trunk
        self.register_buffer("symbols", torch.randn(num_symbols, trunk.embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(trunk.embed_dim))
        self.head = nn.Linear(trunk.embed_dim, num_symbols)

    def forward(self, symbols: Tensor, hidden: Tensor) -> Tensor:
        """[B, N] symbols and which are hidden, M of each string -> logits of those [B * M, num_symbols]."""
        trunk: Any = self.trunk
        tokens = torch.where(hidden[..., None], self.mask_token, self.symbols[symbols])
        tokens = trunk.norm(trunk.blocks(trunk.norm_pre(trunk._pos_embed(tokens))))
        return self.head(tokens[:, trunk.num_prefix_tokens :][hidden]).float()


def train_warm_up(
    config: WarmUpConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Warm a ViT up, once for each seed; arguments and errors as for `train_seeds`.

    A run leaves the weights of timm's network without a classifier, its patch embedding as random as it was: what
    `train --task image` and `train --task self_supervised` start from.
    """
    return train_seeds(warm_up_task, config, out, seeds=seeds, overwrite=overwrite)


def warm_up_task(config: WarmUpConfig) -> Task:
    """A warm-up as the loop wants it.

    Raises:
        ConfigError: If timm cannot make the network, or it is no ViT.
    """
    torch.manual_seed(config.train.seed)
    trunk = create_network(config.model, size=config.size, channels=config.channels, num_classes=0)
    model = StringReader(trunk, config.strings.num_symbols)
    length: int = trunk.patch_embed.num_patches  # type: ignore[union-attr, assignment]

    def loss(network: Callable, batch: StringBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        logits, truth = network(batch.symbols, batch.hidden), batch.symbols[batch.hidden]
        return F.cross_entropy(logits, truth), {"accuracy": (logits.argmax(1) == truth).float().mean()}

    return Task(
        model=model,
        dataset=Strings(config.strings, length, seed=config.train.seed),
        collate=collate_strings,
        loss=loss,
        config=config,
        optimizer=optimizer_builder(config.optimizer, config.train.optimizer),
        kept=attrgetter("trunk"),
        freeze=("trunk.patch_embed",),  # strings do not go through it
    )


def collate_strings(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> StringBatch:
    """Stack samples into a batch."""
    symbols, hidden = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True))
    return StringBatch(symbols=symbols, hidden=hidden)
