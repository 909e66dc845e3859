"""Checkpoints with objects of other packages give their tensors, and nothing in them runs."""

import collections
import enum
import os
import sys
import types

import pytest
import torch

from pcfdsl.models.inert import Inert, load_tensors
from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.models.weights import read_published_checkpoint, read_torch_file


class Runs:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def settings(monkeypatch):
    """An object as a package that is not installed where the file is read would make it."""
    package = types.ModuleType("absent_package")

    class Node(dict):
        pass

    class Level(enum.Enum):
        HIGH = 1

    for item in (Node, Level):
        item.__module__, item.__qualname__ = "absent_package", item.__name__
        setattr(package, item.__name__, item)
    monkeypatch.setitem(sys.modules, "absent_package", package)
    node = Node(lr=0.1, levels=[Level.HIGH])
    vars(node)["parent"] = collections.defaultdict(list, {"child": [Node()]})
    return node


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_out_of_a_checkpoint_with_settings(zipped, settings, tmp_path, monkeypatch):
    net = SRUNet(SRUNetConfig(stem_planes=4, planes=(4,) * 8, layers=(1,) * 8, out_channels=8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.8)
    content = {
        "curr_iter": 60_000,
        "state_dict": {f"module.{name}": value for name, value in net.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "config": settings,
    }
    torch.save(content, tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "absent_package")
    state = read_published_checkpoint(tmp_path / "weights.pth")
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_run(zipped, tmp_path):
    content = {"state_dict": {"weight": torch.arange(3.0)}, "config": Runs(tmp_path / "was run")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    state, _ = read_torch_file(tmp_path / "evil.pth")
    assert state["weight"].tolist() == [0, 1, 2]
    assert isinstance(load_tensors(tmp_path / "evil.pth")["config"], Inert)
    assert not (tmp_path / "was run").exists()


def test_a_state_dict_that_is_not_of_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"weight": Runs(tmp_path / "was run")}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_torch_file(tmp_path / "evil.pth")
    assert not (tmp_path / "was run").exists()
