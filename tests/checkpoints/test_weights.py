import dataclasses

import pytest
import torch

from pcfdsl.checkpoints.weights import load_weights, read_published_checkpoint, save_weights, transfer
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.models.votenet import VoteNet


def test_saved_weights_come_back_bit_for_bit(tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    path = save_weights(tmp_path / "net.safetensors", network, metadata={"step": 3, "config": {"a": [1.5]}})
    state, metadata = load_weights(path)
    assert metadata == {"step": 3, "config": {"a": [1.5]}}
    other = VoteNet(tiny_config)
    other.load_state_dict(state, strict=True)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_failed_save_leaves_the_old_file(tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    path = save_weights(tmp_path / "net.safetensors", network, metadata={"step": 1})
    with pytest.raises(TypeError):
        save_weights(path, network, metadata={"step": object()})
    assert load_weights(path)[1] == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_and_missing_files_are_named(tiny_config, tmp_path):
    path = save_weights(tmp_path / "net.safetensors", VoteNet(tiny_config))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"net\.safetensors is not a whole weights file"):
        load_weights(path)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        load_weights(tmp_path / "net.pt")
    (tmp_path / "checkpoint.tar").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint\.tar is damaged"):
        read_published_checkpoint(tmp_path / "checkpoint.tar")


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict"])
def test_published_checkpoints_load_strictly(key, tiny_config, tmp_path):
    network = VoteNet(tiny_config)
    optimizer = torch.optim.Adam(network.parameters())
    network.pnet.conv1.weight.sum().backward()
    optimizer.step()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    content = {"epoch": 180, "optimizer_state_dict": optimizer.state_dict(), "loss": torch.tensor(1.0), key: state}
    torch.save(content, tmp_path / "checkpoint.tar")
    VoteNet(tiny_config).load_state_dict(read_published_checkpoint(tmp_path / "checkpoint.tar"), strict=True)
    torch.save({"epoch": 180}, tmp_path / "other.tar")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_published_checkpoint(tmp_path / "other.tar")


def test_transfer_copies_the_chosen_parts_and_accounts_for_every_tensor(tiny_config):
    source = VoteNet(tiny_config)
    target = VoteNet(dataclasses.replace(tiny_config, num_classes=7))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    report = transfer(target, source.state_dict())
    for name, value in target.state_dict().items():
        expected = source.state_dict() if name.startswith(("backbone_net.", "vgen.")) else before
        assert torch.equal(value, expected[name]), name
    assert {*report.loaded, *report.skipped} == set(source.state_dict())
    assert (report.mismatched, report.unused, report.missing) == ((), (), ())
    everything = transfer(target, source.state_dict(), prefixes=("backbone_net", "vgen", "pnet"))
    assert [name for name, *_ in everything.mismatched] == ["pnet.conv3.weight", "pnet.conv3.bias"]
    assert "pnet.conv3.weight" in str(everything)


def test_a_classifier_hands_its_backbone_to_the_detector(tiny_config):
    classifier = PointCloudClassifier(ClassifierConfig(num_classes=5, backbone=tiny_config.backbone))
    detector = VoteNet(tiny_config)
    report = transfer(detector, classifier.state_dict())
    assert set(report.loaded) == {name for name in classifier.state_dict() if name.startswith("backbone_net.")}
    assert all(name.startswith(("backbone_net.fp", "vgen.")) for name in report.missing)
    assert set(report.skipped) == {n for n in classifier.state_dict() if not n.startswith("backbone_net.")}


def test_transferring_nothing_is_an_error(tiny_config):
    network = VoteNet(tiny_config)
    renamed = {f"encoder.{name}": value for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="nothing to transfer"):
        transfer(network, renamed)


def test_the_weights_of_another_network_are_refused(tiny_config):
    network = VoteNet(tiny_config)
    state = network.state_dict()
    other = {(name if name.startswith("vgen.conv") else name.replace("sa", "block")): state[name] for name in state}
    before = {name: value.clone() for name, value in state.items()}
    with pytest.raises(ValueError, match=r"those of another network: most of them do not fit(.|\n)*and \d+ more"):
        transfer(network, {name: value + 1 for name, value in other.items()})
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
