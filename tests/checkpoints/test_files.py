import json

import pytest
import torch

from pcfdsl.checkpoints.files import load_weights, save_weights, write_weights
from pcfdsl.models.votenet import VoteNet


def test_saved_weights_are_read_back_bit_for_bit(tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    path = save_weights(tmp_path / "net.safetensors", network, metadata={"step": 3, "config": {"a": [1.5]}})
    state, metadata = load_weights(path)
    assert metadata == {"step": 3, "config": {"a": [1.5]}}
    other = VoteNet(tiny_config)
    other.load_state_dict(state, strict=True)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_failed_save_keeps_the_old_file(tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    path = save_weights(tmp_path / "net.safetensors", network, metadata={"step": 1})
    with pytest.raises(TypeError):
        save_weights(path, network, metadata={"step": object()})
    assert load_weights(path)[1] == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_and_missing_files_are_named(tiny_config, tmp_path):
    path = save_weights(tmp_path / "net.safetensors", VoteNet(tiny_config))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"net\.safetensors is truncated or damaged"):
        load_weights(path)
    with pytest.raises(FileNotFoundError, match="there is no weights file"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        load_weights(tmp_path / "net.pt")


def test_equal_weights_with_equal_metadata_are_equal_files(tmp_path):
    """In every process; safetensors alone writes metadata in an order of its own."""
    path = tmp_path / "w.safetensors"
    metadata = {name: {"é": 1} for name in "cbadefgh"}
    write_weights(path, {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.bfloat16)}, metadata=metadata)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    header = json.loads(content[8 : 8 + size])
    assert list(header["__metadata__"]) == sorted([*"abcdefgh", "sha256"])
    state, about = load_weights(path)
    assert about == metadata
    assert torch.equal(state["b"], torch.ones(3))
