"""Image networks start from weights in any container, by the same route as detectors."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from pcfdsl.infer.image import load_image_classifier
from pcfdsl.train.tasks.image_model import ImageInitConfig, start_image_model


def network(seed: int, num_classes: int = 3):
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=num_classes)


WRITTEN = {
    "timm.pth.tar": lambda state: {"state_dict_ema": state, "state_dict": {n: t + 1 for n, t in state.items()}},
    "bare.bin": lambda state: state,
    "mmpretrain.pth": lambda state: {
        "meta": {"epoch": 1},
        "state_dict": {f"backbone.{n}": t for n, t in state.items()},
    },
    "lightning.ckpt": lambda state: {"state_dict": {f"model._orig_mod.{n}": t for n, t in state.items()}},
    "moco.pth.tar": lambda state: {
        "state_dict": {
            **{f"module.encoder_k.{n}": t + 1 for n, t in state.items()},
            **{f"module.encoder_q.{n}": t for n, t in state.items()},
            "module.queue": torch.zeros(8, 8),
        }
    },
    "dino.pth": lambda state: {
        "student": {f"module.backbone.{n}": t + 1 for n, t in state.items()},
        "teacher": {f"backbone.{n}": t for n, t in state.items()},
    },
    "parts.pt": lambda state: {"net": {"encoder": dict(state), "decoder": {"conv1.weight": torch.zeros(3)}}},
    "parameters.pth": lambda state: {"model": {n: torch.nn.Parameter(t, False) for n, t in state.items()}},
    "half.safetensors": lambda state: {f"encoder.{n}": t.bfloat16().float().bfloat16() for n, t in state.items()},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_weights_of_any_project_are_taken_over(name, tmp_path, capsys):
    source = {n: t for n, t in network(1, 5).state_dict().items() if not n.endswith("num_batches_tracked")}
    content = WRITTEN[name](source)
    save = save_file if name.endswith(".safetensors") else torch.save
    save(content, tmp_path / name)
    model = network(0)
    report = start_image_model(ImageInitConfig(checkpoint=str(tmp_path / name)), model)
    assert set(report.loaded) == {n for n in source if not n.startswith("fc.")}
    for tensor_name in report.loaded:
        expected = source[tensor_name]
        expected = expected.bfloat16().float() if name.startswith("half") else expected
        assert torch.equal(model.state_dict()[tensor_name], expected), tensor_name
    assert ("note: the weights are those under" in capsys.readouterr().err) == (name[:4] in ("timm", "moco", "dino"))


def test_what_does_not_fit_and_what_is_not_finite_is_named(tmp_path):
    torch.save({"state_dict": {"blocks.0.attn.weight": torch.zeros(3)}}, tmp_path / "vit.pth")
    with pytest.raises(ValueError) as error:
        start_image_model(ImageInitConfig(checkpoint=str(tmp_path / "vit.pth")), network(0))
    assert f"{tmp_path / 'vit.pth'}: nothing to transfer" in str(error.value)
    assert "names in the source: blocks.0.attn.weight\n" in str(error.value)
    assert "names that were expected: conv1.0.weight, " in str(error.value)
    state = network(1).state_dict()
    state["layer1.0.conv1.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(
        ValueError, match=r"nan\.pth: .* NaN or infinity.*: layer1\.0\.conv1\.weight \(9 of \d+ values\)"
    ):
        start_image_model(ImageInitConfig(checkpoint=str(tmp_path / "nan.pth")), network(0))


def test_a_checkpoint_of_others_is_no_run(tmp_path):
    torch.save({"state_dict": network(1).state_dict()}, tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match=r"theirs\.pth was not written by a training run of pcfdsl; .*--init-from"):
        load_image_classifier(tmp_path / "theirs.pth")
    with pytest.raises(FileNotFoundError, match=r"holds neither best\.safetensors .*; there are theirs\.pth"):
        load_image_classifier(tmp_path)
