"""Weights in any container come out under our names."""

import pytest
import torch
from safetensors.torch import save_file

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.checkpoints.weights import read_state, read_weights
from pcfdsl.models.votenet import VoteNet

CONTAINERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "net",
    "network",
    "params",
    "params_ema",
    "teacher",
    "student",
    "weights",
    "state",
    "module",
    "anything",
    "model_ema/module",
    "state_dict/model",
)
PREFIXES = (
    "module",
    "model",
    "_orig_mod",
    "backbone",
    "encoder",
    "net",
    "network",
    "student",
    "teacher",
    "ema_model",
    "online_encoder",
    "model._orig_mod",
    "module.model",
    "_orig_mod.module",
    "backbone.module",
    "_fsdp_wrapped_module",
    "module.encoder_q",
    "student.backbone",
)


def contained(state, container):
    """The state dict as a checkpoint has it, beside an optimiser's state and plain values."""
    for key in reversed(container.split("/")):
        state = {key: state}
    moments = {0: {"exp_avg": torch.zeros(3)}, "by_name": {"sa1.x": torch.zeros(3)}}
    return {"epoch": 3, "loss": torch.tensor(1.0), "optimizer": {"state": moments}, **state}


@pytest.mark.parametrize(
    ("container", "prefix"),
    [*((container, "module") for container in CONTAINERS), *(("state_dict", prefix) for prefix in PREFIXES)],
)
def test_every_container_and_prefix_gives_the_same_network(container, prefix, tiny_config, tmp_path, capsys):
    source = {name: tensor + 1 for name, tensor in VoteNet(tiny_config).state_dict().items()}
    state = {f"{prefix}.{name}": tensor for name, tensor in source.items()}
    torch.save(contained(state, container), tmp_path / "theirs.ckpt")
    model = VoteNet(tiny_config)
    parts = ("backbone_net", "vgen", "pnet")
    start_from(InitConfig(checkpoint=str(tmp_path / "theirs.ckpt"), parts=parts), model)
    assert f"{len(source)} tensors loaded" in capsys.readouterr().err
    assert all(torch.equal(tensor, source[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin", "a.CKPT", "a.pt", "a.pth", "a.pth.tar", "a"])
@pytest.mark.parametrize("format", ["torch", "torch of old", "safetensors"])
def test_files_go_by_their_content_whatever_their_ending(name, format, tmp_path):
    state = {"model.backbone.sa1.x": torch.arange(3.0), "model.head.x": torch.ones(1)}
    if format == "safetensors":
        save_file(state, tmp_path / name)
    else:
        torch.save({"state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=format == "torch")
    weights = read_weights(tmp_path / name)
    assert weights.state["backbone_net.sa1.x"].tolist() == [0, 1, 2]
    assert list(weights.unmatched) == ["model.head.x"]


def test_a_network_saved_in_parts_is_put_together(tiny_config, tmp_path):
    state = VoteNet(tiny_config).state_dict()
    parts = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[f"module.{rest}"] = tensor
    torch.save({"models": parts, "epoch": 1}, tmp_path / "parts.pth")
    assert read_weights(tmp_path / "parts.pth").state.keys() == state.keys()


@pytest.mark.parametrize(
    ("names", "taken", "left"),
    [
        (("student", "teacher"), "teacher, a moving average", "student"),
        (("state_dict.encoder_k", "state_dict.encoder_q"), "state_dict.encoder_q", "state_dict.encoder_k"),
        (("model.left", "model.right"), "model.left", "model.right"),
    ],
)
def test_a_network_that_is_there_twice_is_taken_once_with_a_note(names, taken, left, tmp_path):
    content = {}
    for value, name in enumerate(names):
        container, _, prefix = name.partition(".")
        content.setdefault(container, {})[f"{prefix}.sa1.x".lstrip(".")] = torch.full((2,), float(value))
    torch.save(content, tmp_path / "twice.pth")
    weights = read_weights(tmp_path / "twice.pth")
    assert weights.notes == (f"the weights are those under {taken}, not those under {left}",)
    assert weights.state["backbone_net.sa1.x"][0] == names.index(taken.partition(",")[0])


def test_a_moving_average_without_the_network_is_passed_over(tmp_path):
    ema = {"decay": torch.tensor(0.99), "num_updates": torch.tensor(7)}
    torch.save({"ema": ema, "model": {"sa1.x": torch.ones(2)}}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").state["backbone_net.sa1.x"].tolist() == [1, 1]


def test_a_file_that_holds_itself_is_read(tmp_path):
    content = {"state_dict": {"sa1.x": torch.ones(2)}}
    content |= {"model": content, "again": content}
    torch.save(content, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth").state) == ["backbone_net.sa1.x"]


def test_a_whole_pickled_network_is_named(tmp_path):
    for content, where in ((torch.nn.Linear(2, 2), ""), ({"epoch": 1, "model": torch.nn.Linear(2, 2)}, " under model")):
        torch.save(content, tmp_path / "whole.pt")
        with pytest.raises(
            ValueError, match=rf"object of torch\.nn\.modules\.linear\.Linear{where}; .* state_dict\(\)"
        ):
            read_weights(tmp_path / "whole.pt")


def test_where_nothing_fits_both_sides_are_listed(tiny_config, tmp_path):
    torch.save(
        {"state_dict": {"stages.0.weight": torch.zeros(3), "stages.1.weight": torch.zeros(3)}}, tmp_path / "w.pth"
    )
    with pytest.raises(
        ValueError, match=r"the first are stages\.0\.weight, stages\.1\.weight; expected .*\(backbone_net\."
    ):
        start_from(InitConfig(checkpoint=str(tmp_path / "w.pth")), VoteNet(tiny_config))
    torch.save({"sa1.other": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ValueError) as error:
        start_from(InitConfig(checkpoint=str(tmp_path / "w.pth")), VoteNet(tiny_config))
    assert "names in the source: backbone_net.sa1.other\n" in str(error.value)
    assert "names that were expected: backbone_net.sa1.mlp_module.layer0.conv.weight, " in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value, tiny_config, tmp_path):
    state = {name: tensor.clone() for name, tensor in VoteNet(tiny_config).state_dict().items()}
    state["vgen.conv1.weight"].view(-1)[:2] = value
    path = tmp_path / "diverged.safetensors"
    save_file(state, path)
    model = VoteNet(tiny_config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"diverged.safetensors: .* NaN or infinity, .*: vgen\.conv1\.weight \(2 of \d+ v"
    ):
        start_from(InitConfig(checkpoint=str(path)), model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    start_from(InitConfig(checkpoint=str(path), parts=("backbone_net",)), model)
    assert not torch.equal(
        model.state_dict()["backbone_net.sa1.mlp_module.layer0.conv.weight"],
        before["backbone_net.sa1.mlp_module.layer0.conv.weight"],
    )


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
    assert weights.notes == (
        "the weights are those under state_dict_ema, a moving average, not those under state_dict",
    )


def test_files_without_weights_are_named(tmp_path):
    (tmp_path / "checkpoint.tar").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint\.tar is damaged"):
        read_state(tmp_path / "checkpoint.tar")
    torch.save({"epoch": 180}, tmp_path / "other.tar")
    with pytest.raises(ValueError, match=r"other\.tar holds no state dict: .*keys of the file are epoch"):
        read_state(tmp_path / "other.tar")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_state(tmp_path / "none.pth")


def test_wrapped_names_that_would_collide_are_kept(tmp_path):
    state = {"module.sa1.x": torch.zeros(1), "sa1.x": torch.ones(1)}
    torch.save(state, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth")[0].keys() == state.keys()
