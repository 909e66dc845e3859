"""Weights in any container come out under our names."""

import pytest
import torch

from pcfdsl.checkpoints.weights import read_state, read_weights
from pcfdsl.models.votenet import VoteNet


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model_state", "model"])
def test_published_checkpoints_load_strictly(key, tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    optimizer = torch.optim.Adam(network.parameters())
    network.pnet.conv1.weight.sum().backward()
    optimizer.step()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    content = {"epoch": 180, "optimizer_state_dict": optimizer.state_dict(), "loss": torch.tensor(1.0), key: state}
    torch.save(content, tmp_path / "checkpoint.tar")
    weights = read_weights(tmp_path / "checkpoint.tar")
    assert (weights.layout, weights.unmatched, weights.notes) == ("votenet", {}, ())
    VoteNet(tiny_config).load_state_dict(weights.state, strict=True)


def test_a_moving_average_is_preferred_and_noted(tmp_path):
    states = {key: {"sa1.x": torch.full((2,), value)} for key, value in (("state_dict", 1.0), ("state_dict_ema", 2.0))}
    torch.save(states, tmp_path / "timm.pth.tar")
    weights = read_weights(tmp_path / "timm.pth.tar")
    assert weights.state["backbone_net.sa1.x"].tolist() == [2, 2]
    assert weights.notes == ("the moving average of the weights is used",)


def test_files_without_weights_are_named(tmp_path):
    (tmp_path / "checkpoint.tar").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint\.tar is damaged"):
        read_state(tmp_path / "checkpoint.tar")
    torch.save({"epoch": 180}, tmp_path / "other.tar")
    with pytest.raises(ValueError, match=r"other\.tar holds no state dict; .*keys of the file are epoch"):
        read_state(tmp_path / "other.tar")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_state(tmp_path / "none.pth")


def test_wrapped_names_that_would_collide_are_kept(tmp_path):
    state = {"module.sa1.x": torch.zeros(1), "sa1.x": torch.ones(1)}
    torch.save(state, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth")[0].keys() == state.keys()
