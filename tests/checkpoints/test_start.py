"""Weights copied between networks: what fits is copied, everything is accounted for."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from pcfdsl.checkpoints.start import InitConfig, start_from, transfer
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.models.votenet import VoteNet


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


def test_a_detector_starts_from_the_backbone_of_a_classifier(tiny_config):
    classifier = PointCloudClassifier(ClassifierConfig(num_classes=5, backbone=tiny_config.backbone))
    detector = VoteNet(tiny_config)
    report = transfer(detector, classifier.state_dict())
    assert set(report.loaded) == {name for name in classifier.state_dict() if name.startswith("backbone_net.")}
    assert all(name.startswith(("backbone_net.fp", "vgen.")) for name in report.missing)
    assert set(report.skipped) == {n for n in classifier.state_dict() if not n.startswith("backbone_net.")}


def test_transferring_nothing_is_an_error(tiny_config):
    network = VoteNet(tiny_config)
    renamed = {f"encoder.{name}": value for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"nothing to transfer to \w+: no tensor under .* the source consists of "):
        transfer(network, renamed)


def test_the_weights_of_another_network_are_refused(tiny_config):
    network = VoteNet(tiny_config)
    state = network.state_dict()
    other = {(name if name.startswith("vgen.conv") else name.replace("sa", "block")): state[name] for name in state}
    before = {name: value.clone() for name, value in state.items()}
    with pytest.raises(ValueError, match=r"of another network: most of them do not fit(.|\n)*and \d+ more"):
        transfer(network, {name: value + 1 for name, value in other.items()})
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_training_starts_from_weights_of_any_layout(tiny_config, tmp_path, capsys):
    """A detector starts from the same weights whoever wrote the file; what does not fit is named."""
    source = {name: tensor + 1 for name, tensor in VoteNet(tiny_config).state_dict().items()}
    backbone = {n.removeprefix("backbone_net."): t for n, t in source.items() if n.startswith("backbone_net.")}
    torch.save({"model": {f"module.trunk.0.{n}": t for n, t in backbone.items()}}, tmp_path / "depthcontrast.pth.tar")
    torch.save({"state_dict": {f"model.{n}": t for n, t in source.items()}}, tmp_path / "lightning.ckpt")
    torch.save({f"_orig_mod.{n}": t for n, t in source.items()}, tmp_path / "bare.bin")
    save_file({f"encoder.{n}": t for n, t in backbone.items()}, tmp_path / "csc.safetensors", {"format": "pt"})
    save_file(source, tmp_path / "ours.safetensors")
    for path in sorted(tmp_path.iterdir()):
        model = VoteNet(tiny_config)
        start_from(InitConfig(checkpoint=str(path), parts=("backbone_net",)), model)
        assert f"from {path}: {len(backbone)} tensors loaded" in capsys.readouterr().err
        assert all(torch.equal(t, source[n]) for n, t in model.state_dict().items() if n.startswith("backbone_net."))
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.safetensors")
    with pytest.raises(
        ValueError, match=r"resnet.safetensors: .* the first are conv1.weight; expected those of a VoteNet"
    ):
        start_from(InitConfig(checkpoint=str(tmp_path / "resnet.safetensors")), VoteNet(tiny_config))
