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
PICTURES = "resnet-small-fractaldb"


def test_they_are_found_by_name_and_a_wrong_name_lists_them(tmp_path, monkeypatch):
    assert find_weights(NAME) == shipped_weights()[NAME]
    with pytest.raises(FileNotFoundError, match=f"or one of {PICTURES}, {NAME}"):
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


def test_a_network_for_pictures_starts_from_them(capsys):
    config = load(
        ImageConfig, "train_image/laptop_weights_resnet", ["data={kind: none}", f"init.checkpoint={PICTURES}"]
    )
    model = image_task(config, ArrayPictures(np.zeros((4, 32, 32), np.uint8), np.arange(4) % 2)).model
    shipped = {name: tensor for name, tensor in load_checkpoint(PICTURES).state.items() if not name.startswith("fc.")}
    own = model.state_dict()
    assert own.keys() == shipped.keys() | {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[name], tensor.to(own[name].dtype)) for name, tensor in shipped.items())
    assert f"{len(shipped)} tensors loaded" in capsys.readouterr().err


def test_they_describe_points():
    features = load_backbone(NAME, device="cpu")(np.random.default_rng(0).random((500, 3)) * 3)
    assert features.shape == (500, 256)
    assert np.isfinite(features).all()
