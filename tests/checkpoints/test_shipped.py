"""Weights that come with the package."""

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.run_folder import find_weights, load_checkpoint, shipped_weights
from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import from_dict, load
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.infer.features import load_backbone
from pcfdsl.models.votenet import VoteNet
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.train.tasks.image import ImageConfig, image_task

NAME = "votenet-pointnet2-fractal"
PICTURES = {  # and their recipe and classifier
    "resnet-small-fractaldb": ("train_image/laptop_weights_resnet", "fc"),
    "vit-small-exfractaldb": ("train_image/laptop_weights_vit", "head"),
}


def test_they_are_found_by_name_and_a_wrong_name_lists_them(tmp_path, monkeypatch):
    assert find_weights(NAME) == shipped_weights()[NAME]
    with pytest.raises(FileNotFoundError, match=f"or one of {', '.join(PICTURES)}, {NAME}"):
        find_weights("votenet-pointnet2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(FileNotFoundError, match="holds neither"):
        find_weights(NAME)  # a folder of one's own comes first


def test_a_detector_starts_from_them(capsys):
    model = VoteNet(from_dict(DetectorConfig, {}).model)
    start_from(InitConfig(checkpoint=NAME), model)
    shipped = load_checkpoint(NAME).state
    own = model.state_dict()
    names = [name for name in own if name.startswith(("backbone_net.", "vgen."))]
    assert all(torch.equal(own[name], shipped[name].to(own[name].dtype)) for name in names)
    assert f"{len(names)} tensors loaded" in capsys.readouterr().err


@pytest.mark.parametrize("name", PICTURES)
def test_a_network_for_pictures_starts_from_them(name, capsys):
    recipe, head = PICTURES[name]
    config = load(ImageConfig, recipe, ["data={kind: none}", f"init.checkpoint={name}"])
    model = image_task(config, ArrayPictures(np.zeros((4, 32, 32), np.uint8), np.arange(4) % 2)).model
    state = load_checkpoint(name).state
    shipped = {key: tensor for key, tensor in state.items() if not key.startswith(f"{head}.")}
    own = model.state_dict()
    assert own.keys() == shipped.keys() | {f"{head}.weight", f"{head}.bias"}
    assert all(torch.equal(own[key], tensor.to(own[key].dtype)) for key, tensor in shipped.items())
    assert f"{len(shipped)} tensors loaded" in capsys.readouterr().err


def test_they_describe_points():
    features = load_backbone(NAME, device="cpu")(np.random.default_rng(0).random((500, 3)) * 3)
    assert features.shape == (500, 256)
    assert np.isfinite(features).all()
