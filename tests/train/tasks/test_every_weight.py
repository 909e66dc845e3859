"""Every weight that is to be trained gets a gradient: several processes wait for all, and stop at one without."""

import pytest
import timm
import torch

import pcfdsl.train.loop
from pcfdsl.config import load
from pcfdsl.models.pyramid import PyramidBackbone
from pcfdsl.train.tasks.table import TASKS

VIT = "model={name: vit_tiny_patch16_224, arguments: [patch_size=8, embed_dim=24, depth=2, num_heads=2]}"
QUICK = ("train.num_steps=1", "train.evaluations=0", "train.sinks=[]", "train.device=cpu")
METHODS = ("{kind: mocov2, queue: 16}", "{kind: simclr}", "{kind: rotation}", "{kind: deepcluster, clusters: 4}")
RUNS = [
    *(("detection", f"votenet/smoke_{name}finetune") for name in ("", "srunet_", "transformer_")),
    ("detection", "tr3d/smoke_finetune"),
    *((task, f"pretrain/smoke_{task}") for task in ("segmentation", "pointcontrast", "csc", "random_rooms")),
    ("classification", "classifier/smoke"),
    ("point_mae", "point_mae/smoke"),
    ("image", "train_image/smoke"),
    ("vg_fractal", "vg_fractal/smoke"),
    ("warm_up", "warm_up/smoke"),
    *(("self_supervised", "self_supervised/smoke", f"method={method}") for method in METHODS),
    ("self_supervised", "self_supervised/smoke", "method={kind: jigsaw, permutations: 4}", "view.size=16"),
    ("self_supervised", "self_supervised/smoke", "method={kind: mae}", VIT),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: " ".join(run[1:]))
def test_every_weight_of_a_task_gets_a_gradient(run, tmp_path, monkeypatch):
    task, recipe, *settings = run
    update, forgotten = pcfdsl.train.loop._update, []

    def checked(run):
        parameters = run.model.named_parameters()
        forgotten.extend(name for name, value in parameters if value.requires_grad and value.grad is None)
        return update(run)

    monkeypatch.setattr(pcfdsl.train.loop, "_update", checked)
    config_class, train = TASKS[task]()
    config = load(config_class, recipe, [*QUICK, *settings])
    train(config, tmp_path)
    assert forgotten == []


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_resnet"])
def test_every_weight_under_a_pyramid_gets_a_gradient(name):
    network = PyramidBackbone(timm.create_model(name, pretrained=False))
    sum(level.sum() for level in network(torch.randn(2, 3, 64, 64)).values()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
