"""Networks of timm by name: made, started from other weights, frozen from the front, optimised by timm's rules."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
import yaml
from timm.layers import resample_abs_pos_embed
from timm.models._manipulate import group_parameters
from timm.optim import create_optimizer_v2, param_groups_weight_decay
from torch import Tensor, nn

from pcfdsl.checkpoints.start import TransferReport, take_over
from pcfdsl.checkpoints.weights import read_state
from pcfdsl.config import ConfigError, option, validate
from pcfdsl.train.optim import OptimizerConfig

__all__ = [
    "ImageModelConfig",
    "ImageOptimizerConfig",
    "create_network",
    "leading_parts",
    "optimizer_builder",
    "start_image_model",
]


@dataclass(frozen=True, kw_only=True)
class ImageModelConfig:
    """A network of timm; never downloaded."""

    name: str = option("resnet50", "name in timm.list_models()")
    arguments: tuple[str, ...] = option((), "what timm.create_model is given besides, each as key=value")
    small_stem: bool = option(
        False, "of a ResNet: a 3x3 convolution of stride 2 and no pooling as its stem, for pictures of about 32 px"
    )
    drop_path: float | None = option(None, "stochastic depth; null leaves timm's default", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if not timm.is_model(self.name):
            close = difflib.get_close_matches(self.name, timm.list_models(), n=4)
            hint = f"; did you mean {', '.join(close)}?" if close else "; see timm.list_models()"
            yield "name", f"timm has no model {self.name!r}{hint}"
        for text in self.arguments:
            if not text.partition("=")[0].isidentifier() or "=" not in text:
                yield "arguments", f"{text!r} is not of the form key=value"

    def keywords(self, *, size: int) -> dict[str, Any]:
        """Keyword arguments of `timm.create_model`; ViTs, whose position embedding fixes it, get the size as well."""
        given = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in self.arguments)}
        if self.drop_path is not None:
            given["drop_path_rate"] = self.drop_path
        known = timm.get_pretrained_cfg(self.name, allow_unregistered=False)
        return ({"img_size": size} if known is not None and known.fixed_input_size else {}) | given


@dataclass(frozen=True, kw_only=True)
class ImageOptimizerConfig:
    """What timm's optimisers have beyond `train.optimizer`, which gives rates, decay and momentum."""

    timm: str | None = option(None, "one of timm's optimisers by its name, such as lamb; null: train.optimizer.name")
    layer_decay: float | None = option(
        None, "each stage's learning rate over that of the next one", minimum=0.0, maximum=1.0
    )
    decay_all: bool = option(False, "weight decay on biases and norms too, as in the published ResNet training")

    def __post_init__(self) -> None:
        validate(self)

    def of_fine_tuning(self) -> Iterator[tuple[str, str]]:
        """Yields (key path, problem) for what a network has no use for that is trained from the start."""
        if self.layer_decay is not None:
            yield "optimizer.layer_decay", "is for fine-tuning; leave it out"


@dataclass(frozen=True, kw_only=True)
class ImageInitConfig:
    """Where the weights start from."""

    checkpoint: str | None = option(
        None, "a run's folder, or a weights file of any project with timm's names; null: at random"
    )

    def __post_init__(self) -> None:
        validate(self)


def create_network(config: ImageModelConfig, *, size: int, channels: int, num_classes: int) -> nn.Module:
    """The network at random weights, drawn from torch's global generator.

    Raises:
        ConfigError: If timm's network does not take the arguments.
    """
    keywords: dict[str, Any] = {"in_chans": channels, "num_classes": num_classes} | config.keywords(size=size)
    try:
        model = timm.create_model(config.name, pretrained=False, **keywords)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError([("model", f"timm cannot make {config.name} with {keywords}: {error}")]) from error
    if config.small_stem:
        norm = getattr(model, "bn1", None)
        if not isinstance(model, timm.models.ResNet) or not isinstance(norm, nn.BatchNorm2d):
            raise ConfigError([("model.small_stem", f"{config.name} is no ResNet of timm; set it to false")])
        model.conv1 = nn.Conv2d(channels, norm.num_features, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as timm's own
        model.maxpool = nn.Identity()
    return model


def start_image_model(config: ImageInitConfig, model: nn.Module) -> TransferReport | None:
    """Take weights over as the configuration says; prints to stderr what was and what was not.

    A position embedding for another grid is resampled to this one's, as in timm.

    Raises:
        OSError, ValueError: If there is no such checkpoint, or nothing of it fits.
    """
    if config.checkpoint is None:
        return None
    own = model.state_dict()
    state, _, notes = read_state(config.checkpoint, known=own.__contains__)
    parts = {name.partition(".")[0]: None for name in own}
    head = tuple(f"{name}." for name in _classifier_names(model))
    state = {name: tensor for name, tensor in state.items() if not name.startswith(head)}
    return take_over(config.checkpoint, model, _resampled(state, model), prefixes=parts, notes=notes)


def leading_parts(model: nn.Module, num_stages: int) -> tuple[str, ...]:
    """Names of modules and parameters that make up the leading stages, for `train.freeze`.

    Stages are timm's own coarse groups: of a ResNet the stem (Conv1) and layer1..4 (Conv2..5), of a ViT the patch and
    position embedding and then each block.

    Raises:
        ValueError: If the network has fewer stages before its classifier.

    >>> leading_parts(timm.create_model("test_resnet"), 2)
    ('conv1', 'bn1', 'layer1')
    """
    groups = group_parameters(model, model.group_matcher(coarse=True), reverse=False)  # type: ignore[operator]
    head = tuple(f"{name}." for name in _classifier_names(model))
    stages = [names for _, names in sorted(groups.items()) if not all(name.startswith(head) for name in names)]
    if num_stages > len(stages):
        raise ValueError(f"freeze_stages is {num_stages}, but the network has {len(stages)} stages before its head")
    chosen = {name for names in stages[:num_stages] for name in names if not name.startswith(head)}
    return tuple(_covering(model, chosen, ""))


def optimizer_builder(
    config: ImageOptimizerConfig, general: OptimizerConfig
) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Model -> one of timm's optimisers, with decay and rates by its parameter groups.

    Raises:
        ConfigError: When built, if timm has no such optimiser.
    """
    name = config.timm or {"sgd": "momentum"}.get(general.name, general.name)  # timm's own sgd is Nesterov's

    def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
        """As timm makes them of its own networks, for those in which one of timm's is a part, too."""
        spared = [
            f"{prefix}.{name}".lstrip(".")
            for prefix, part in model.named_modules()
            if hasattr(part, "no_weight_decay")
            for name in part.no_weight_decay()  # type: ignore[operator]
        ]
        return param_groups_weight_decay(model, general.weight_decay, no_weight_decay_list=spared)

    def build(model: nn.Module) -> torch.optim.Optimizer:
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("every parameter is frozen: nothing to train; freeze fewer stages")
        try:
            return create_optimizer_v2(
                model,
                opt=name,
                lr=general.learning_rate,
                weight_decay=general.weight_decay,
                momentum=general.momentum,
                filter_bias_and_bn=not config.decay_all,
                layer_decay=config.layer_decay,
                param_group_fn=decay_groups if config.layer_decay is None and not config.decay_all else None,
            )
        except (ValueError, AssertionError) as error:
            raise ConfigError([("optimizer.timm", f"timm cannot make {name!r}: {error}")]) from error

    return build


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
    return (names,) if isinstance(names, str) else tuple(names)


def _covering(module: nn.Module, chosen: set[str], prefix: str) -> Iterator[str]:
    """The fewest names of modules and parameters that cover the chosen parameters."""
    for name, _ in module.named_parameters(recurse=False):
        if prefix + name in chosen:
            yield prefix + name
    for name, child in module.named_children():
        own = {f"{prefix}{name}.{key}" for key, _ in child.named_parameters()}
        if own and own <= chosen:
            yield prefix + name
        elif own & chosen:
            yield from _covering(child, chosen, f"{prefix}{name}.")


def _resampled(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    own, given = getattr(model, "pos_embed", None), state.get("pos_embed")
    if not isinstance(own, Tensor) or given is None or own.shape == given.shape or own.shape[2] != given.shape[2]:
        return state
    grid = model.patch_embed.grid_size
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    return state | {"pos_embed": resample_abs_pos_embed(given, new_size=grid, num_prefix_tokens=prefix)}
