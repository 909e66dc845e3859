"""Trained image networks in use: loaded, or turned into what detectors of torchvision are built on."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save
from torch import nn

from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.infer.trained import Trained, load_trained
from pcfdsl.models.pyramid import PyramidBackbone
from pcfdsl.store.atomic import write_file
from pcfdsl.train.tasks.image import ImageConfig
from pcfdsl.train.tasks.image_model import create_network
from pcfdsl.train.tasks.self_supervised.settings import SelfSupervisedConfig

__all__ = ["ImageClassifier", "PyramidBackbone", "export_torchvision_backbone", "load_image_classifier"]


ImageClassifier = Trained[nn.Module, ImageConfig | SelfSupervisedConfig]


def load_image_classifier(path: str | Path, *, device: str = "auto") -> ImageClassifier:
    """Load a trained image network, which is timm's; arguments and errors as for `load_trained`.

    One that was trained without labels has no classes: it gives features.
    """

    def build(config: ImageConfig | SelfSupervisedConfig, classes: tuple[str, ...]) -> nn.Module:
        view = config.view
        return create_network(config.model, size=view.size, channels=view.channels, num_classes=len(classes))

    config_class = SelfSupervisedConfig if "method" in load_checkpoint(path).settings else ImageConfig
    return load_trained(path, config_class, build, network="an image network", device=device)


def export_torchvision_backbone(path: str | Path, out: str | Path) -> Path:
    """Write a trained ResNet as the weights of the body of torchvision's detectors, `backbone.body.*`.

    The file is loaded by `model.load_state_dict(load_file(out), strict=False)`, model being for instance
    `maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)`. Other networks go through `PyramidBackbone`.

    Raises:
        ValueError: If the network is not one of the ResNets that torchvision has under the same names, in its shape.
        OSError: If files cannot be read or written.
    """
    trained = load_image_classifier(path, device="cpu")
    if trained.config.model.name not in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        raise ValueError(
            f"{trained.config.model.name} is none of torchvision's ResNets (resnet18, 34, 50, 101, 152); build the "
            "detector on pcfdsl.infer.image.PyramidBackbone(network) instead"
        )
    state = {
        f"backbone.body.{name}": tensor.detach().cpu().contiguous()
        for name, tensor in trained.model.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    with torch.device("meta"):
        body = torchvision.models.get_model(trained.config.model.name, weights=None)
    expected = {f"backbone.body.{name}": tensor.shape for name, tensor in body.named_parameters() if "fc." not in name}
    differing = [name for name, shape in expected.items() if name not in state or state[name].shape != shape]
    if differing:
        raise ValueError(
            f"{path} is a {trained.config.model.name} of its own shape (torchvision's {differing[0]} is "
            f"{list(expected[differing[0]])}); train one without model.arguments and model.small_stem, or build the "
            "detector on pcfdsl.infer.image.PyramidBackbone(network) instead"
        )
    write_file(out, save(state, metadata={"format": "pt"}))
    return Path(out)
