"""Torch files of others give their tensors; nothing in them runs, and nothing that they promise is believed."""

import collections
import enum
import io
import os
import pickle
import resource
import sys
import tarfile
import types
import zipfile

import pytest
import torch
from torch._utils import _rebuild_tensor_v2

from pcfdsl.checkpoints.torch_file import Inert, load_torch_file
from pcfdsl.checkpoints.weights import read_published_checkpoint, read_torch_file
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
    assert isinstance(load_torch_file(tmp_path / "evil.pth", leave_out_objects=True)["config"], Inert)
    assert not (tmp_path / "was run").exists()


def test_a_state_dict_that_is_not_of_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"weight": Runs(tmp_path / "was run")}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_torch_file(tmp_path / "evil.pth")
    assert not (tmp_path / "was run").exists()


class Storage:
    """Is pickled as the name of a storage of so many float32."""

    def __init__(self, numbers):
        self.numbers = numbers


class Made:
    """Is pickled as a call of torch's with these arguments."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return _rebuild_tensor_v2, (*self.arguments, False, collections.OrderedDict())


class Forger(pickle.Pickler):
    view = ()

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", torch.FloatStorage, "0", "cpu", obj.numbers, *self.view
        return None


def archived(program, path, parts=None):
    """A torch file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in ({"data.pkl": program, "version": b"3\n"} | (parts or {})).items():
            archive.writestr(f"w/{name}", part)
    return path


def forged(content, path, *, zipped, written=4):
    """A torch file as torch would write it, but for what the content promises; it holds `written` float32."""
    program = io.BytesIO()
    forger = Forger(program, protocol=2)
    if zipped:
        forger.dump(content)
        return archived(program.getvalue(), path, {"byteorder": b"little", "data/0": bytes(4 * written)})
    forger.view = (None,)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for part in (torch.serialization.MAGIC_NUMBER, 1001, system, content, ["0"]):
        forger.dump(part)
        forger.clear_memo()
    path.write_bytes(program.getvalue() + written.to_bytes(8, "little") + bytes(4 * written))
    return path


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("numbers", "arguments", "reason"),
    [
        (4, (0, (2, 2), (2, 1)), None),
        (4, (0, (), ()), None),
        (4, (3, (1,), (1,)), None),
        (4, (0, (0, 2**40), (1, 1)), None),
        (4, (0, (8,), (0,)), None),
        (2**29, (0, (4,), (1,)), "promises a tensor of 536870912 numbers"),
        (-1, (0, (4,), (1,)), "promises a tensor of -1 numbers"),
        (4, (0, (2**15, 2**14), (2**14, 1)), "beyond the 4 numbers"),
        (4, (2**29, (1,), (1,)), "beyond the 4 numbers"),
        (4, (1, (4,), (1,)), "beyond the 4 numbers"),
        (4, (0, (2, 2), (-1, 1)), "beyond the 4 numbers"),
        (4, (0, (2**40,), (0,)), "larger than the file"),
        (4, (0, (4,), (1, 1)), "damaged"),
        (4, (0, "text", (1,)), "damaged"),
    ],
)
def test_promises_are_compared_with_what_is_there(zipped, numbers, arguments, reason, tmp_path):
    before = peak()
    path = forged({"a": Made(Storage(numbers), *arguments)}, tmp_path / "w.pt", zipped=zipped)
    if reason is None:
        assert not load_torch_file(path)["a"].count_nonzero()
        return
    with pytest.raises(ValueError, match=rf"w\.pt is damaged.*{reason}|w\.pt is {reason}"):
        load_torch_file(path, leave_out_objects=True)
    assert peak() - before < 200_000  # kilobytes


@pytest.mark.parametrize("zipped", [True, False])
def test_a_storage_has_one_size(zipped, tmp_path):
    content = [Made(Storage(numbers), 0, (2,), (1,)) for numbers in (2, 4)]
    with pytest.raises(ValueError, match="gives two sizes to its storage '0'"):
        load_torch_file(forged(content, tmp_path / "w.pt", zipped=zipped))


def test_a_file_of_one_kind_with_another_behind_it_is_read_as_torch_reads_it(tmp_path):
    path = forged({"a": Made(Storage(4), 0, (2**29,), (1,))}, tmp_path / "w.pt", zipped=False)
    torch.save({"a": torch.zeros(1)}, tmp_path / "sound.pt")
    path.write_bytes(path.read_bytes() + (tmp_path / "sound.pt").read_bytes())
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match="beyond the 4 numbers"):
        load_torch_file(path)


@pytest.mark.parametrize("leave_out_objects", [True, False])
def test_programs_and_archives_of_old_are_refused(leave_out_objects, tmp_path):
    archived(b"\x80\x02}.", tmp_path / "program.pt", {"constants.pkl": b"\x80\x02)."})
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    for name, reason in (("program.pt", "TorchScript"), ("old.tar", "")):
        with pytest.raises(ValueError, match=f"{name} is damaged, or not a torch checkpoint.*{reason}"):
            load_torch_file(tmp_path / name, leave_out_objects=leave_out_objects)


def test_an_object_is_not_numbered_beyond_the_size(tmp_path):
    path = archived(b"\x80\x02}r\xff\xff\xff\x1f.", tmp_path / "w.pt")
    with pytest.raises(ValueError, match="numbers an object 536870911"):
        load_torch_file(path)


def test_a_bytearray_of_any_size_is_not_made(tmp_path):
    path = archived(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x40\x85R.", tmp_path / "w.pt")
    with pytest.raises(ValueError, match="asks for a bytearray"):
        load_torch_file(path, leave_out_objects=True)


def test_a_pickle_changes_nothing_of_torch(tmp_path):
    before = _rebuild_tensor_v2.__defaults__
    state = b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__)stb."
    path = archived(b"\x80\x02" + state, tmp_path / "w.pt")
    try:
        with pytest.raises(ValueError, match="damaged"):
            load_torch_file(path, leave_out_objects=True)
        assert _rebuild_tensor_v2.__defaults__ == before
    finally:
        _rebuild_tensor_v2.__defaults__ = before
