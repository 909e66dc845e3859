"""Torch files of other projects give their tensors, and nothing in them runs."""

import collections
import enum
import os
import sys
import tarfile
import types
import zipfile

import pytest
import torch
from torch._utils import _rebuild_tensor_v2

from pcfdsl.checkpoints.torch_file import Inert, load_torch_file
from pcfdsl.checkpoints.weights import read_state
from pcfdsl.models.srunet import SRUNet, SRUNetConfig


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
def test_tensors_are_read_from_a_checkpoint_with_settings(zipped, settings, tmp_path, monkeypatch):
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
    state, *_ = read_state(tmp_path / "weights.pth")
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(zipped, tmp_path):
    content = {"state_dict": {"weight": torch.arange(3.0)}, "config": Runs(tmp_path / "was run")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    state, *_ = read_state(tmp_path / "evil.pth")
    assert state["weight"].tolist() == [0, 1, 2]
    assert isinstance(load_torch_file(tmp_path / "evil.pth", leave_out_objects=True)["config"], Inert)
    assert not (tmp_path / "was run").exists()


def test_a_state_dict_without_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"weight": Runs(tmp_path / "was run")}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state(tmp_path / "evil.pth")
    assert not (tmp_path / "was run").exists()


def archived(program, path, parts=None):
    """A torch file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in ({"data.pkl": program, "version": b"3\n"} | (parts or {})).items():
            archive.writestr(f"w/{name}", part)
    return path


@pytest.mark.parametrize("leave_out_objects", [True, False])
def test_torchscript_and_tar_archives_are_refused(leave_out_objects, tmp_path):
    archived(b"\x80\x02}.", tmp_path / "program.pt", {"constants.pkl": b"\x80\x02)."})
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    for name, reason in (("program.pt", "TorchScript"), ("old.tar", "")):
        with pytest.raises(ValueError, match=f"{name} is damaged, or not a torch checkpoint.*{reason}"):
            load_torch_file(tmp_path / name, leave_out_objects=leave_out_objects)


def test_a_pickle_cannot_change_torch(tmp_path):
    before = _rebuild_tensor_v2.__defaults__
    state = b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__)stb."
    path = archived(b"\x80\x02" + state, tmp_path / "w.pt")
    try:
        with pytest.raises(ValueError, match="damaged"):
            load_torch_file(path, leave_out_objects=True)
        assert _rebuild_tensor_v2.__defaults__ == before
    finally:
        _rebuild_tensor_v2.__defaults__ = before


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1", b"\x1f\x8b\x08", b""]
)
def test_what_is_no_checkpoint_is_shown(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth is damaged, or not a torch checkpoint \(it begins with b'") as caught:
        load_torch_file(tmp_path / "a.pth")
    assert repr(content[:24]) in str(caught.value)
