"""Self-supervised pre-training: every method learns a few pictures by heart, resumes, and hands its trunk on."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from pcfdsl.checkpoints.run_folder import load_resume
from pcfdsl.config import ConfigError, from_dict, to_dict
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.infer.exportable import load_exportable
from pcfdsl.infer.image import export_torchvision_backbone, load_image_classifier
from pcfdsl.train.log import read_log
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.image import ImageConfig, image_task
from pcfdsl.train.tasks.self_supervised.contrastive import MoCoNetwork
from pcfdsl.train.tasks.self_supervised.deepcluster import balanced_rows, cluster
from pcfdsl.train.tasks.self_supervised.mae import MAENetwork
from pcfdsl.train.tasks.self_supervised.settings import MAE, MoCo, SelfSupervisedConfig
from pcfdsl.train.tasks.self_supervised.task import self_supervised_task
from pcfdsl.train.tasks.table import TASKS

VIT = {"name": "vit_tiny_patch16_224", "arguments": ["patch_size=8", "embed_dim=48", "depth=2", "num_heads=2"]}
PLAIN = {"min_scale": 1.0, "hflip": 0.0, "recolor": 0.0, "grey": 0.0, "blur": 0.0}
METHODS = {
    "mocov2": {"queue": 12, "momentum": 0.9},
    "simclr": {},
    "mae": {"decoder_depth": 1, "decoder_width": 64},
    "rotation": {},
    "jigsaw": {"permutations": 4},
    "deepcluster": {"clusters": 3},
}


def shapes(num=12):
    """Bright bars on dark: no two pictures, and no two turns of one, look alike."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 60, (num, 32, 32, 3))
    for k, picture in enumerate(pictures):
        picture[4 : 8 + k, 4:9] = 255 - 15 * k
        picture[22:27, 3 + k : 12 + k] = (250, 20 * k, 120)
    return ArrayPictures(pictures.astype(np.uint8), np.zeros(num, np.int64))


def repeated(times):
    return ArrayPictures(np.tile(PICTURES.images, (times, 1, 1, 1)), np.zeros(12 * times, np.int64))


PICTURES = shapes()


def config(kind, train=None, method=None, **settings):
    common = {
        "data": {"kind": "none"},
        "method": {"kind": kind, **METHODS[kind], **(method or {})},
        "view": {"size": 32},
        "augment": PLAIN,
        "model": VIT if kind == "mae" else {"name": "test_resnet"},
    }
    run = {"num_steps": 5, "batch_size": 4, "sinks": (), "device": "cpu", "log_every": 1}
    return from_dict(SelfSupervisedConfig, common | {"train": run | (train or {})} | settings)


def run(settings, out, pictures=PICTURES, **options):
    return train(self_supervised_task(settings, pictures), settings.train, out, **options)


def losses(folder):
    return [record["loss"] for record in read_log(folder, kind="train")]


@pytest.mark.parametrize("kind", METHODS)
def test_the_loss_falls_when_a_few_pictures_are_learned_by_heart(kind, tmp_path):
    how = {"num_steps": 40, "batch_size": 12, "optimizer": {"name": "adamw", "learning_rate": 3e-3}}
    # A classifier of clusters begins anew in every epoch, so it is given long ones.
    pictures = shapes() if kind != "deepcluster" else repeated(20)
    run(config(kind, how), tmp_path, pictures)
    values = losses(tmp_path)
    # A queue that is filled with the few pictures themselves holds the right answer among the wrong ones.
    first = max(values[:10]) if kind == "mocov2" else values[0]
    assert np.mean(values[-5:]) < 0.75 * first


@pytest.mark.parametrize("kind", METHODS)
def test_a_stopped_run_goes_on_bit_for_bit(kind, tmp_path, train_until_it_fails):
    varied = {"min_scale": 0.3, "hflip": 0.5, "recolor": 0.5, "grey": 0.2, "blur": 0.5}
    settings = config(kind, {"num_steps": 8, "checkpoint_every": 2, "accumulate": 2}, augment=varied)
    run(settings, tmp_path / "whole")
    task = self_supervised_task(settings, PICTURES)
    # In step 6, within the second epoch of three steps.
    train_until_it_fails(task, settings.train, tmp_path / "stopped", after=10, error=KeyboardInterrupt())
    run(settings, tmp_path / "stopped")
    whole, resumed = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")
    assert run(settings, tmp_path / "stopped").skipped


@pytest.mark.parametrize("kind", METHODS)
def test_every_tensor_of_the_trunk_goes_into_fine_tuning(kind, tmp_path, capsys):
    settings = config(kind)
    run(settings, tmp_path / "pretrained")
    source = load_file(tmp_path / "pretrained" / "last.safetensors")
    own = settings.model
    timms = timm.create_model(own.name, num_classes=0, **own.keywords(size=32))
    assert source.keys() == timms.state_dict().keys()  # timm's layout, without a classifier
    given = {
        "data": {"kind": "none"},
        "view": {"size": 32},
        "model": {"name": own.name, "arguments": list(own.arguments)},
        "init": {"checkpoint": str(tmp_path / "pretrained")},
    }
    model = image_task(from_dict(ImageConfig, given), ArrayPictures(PICTURES.images, np.arange(12) % 3)).model
    assert f"{len(source)} tensors loaded" in capsys.readouterr().err
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in source.items())


def test_a_run_is_exported_like_any_other(tmp_path):
    settings = config("rotation", model={"name": "resnet18"}, train={"num_steps": 1})
    run(settings, tmp_path / "run")
    features = load_image_classifier(tmp_path / "run", device="cpu")
    assert features.classes == ()
    assert features.model(torch.rand(2, 3, 32, 32)).shape == (2, 512)
    body = load_file(export_torchvision_backbone(tmp_path / "run", tmp_path / "body.safetensors"))
    source = load_file(tmp_path / "run" / "last.safetensors")
    assert torch.equal(body["backbone.body.conv1.weight"], source["conv1.weight"])
    assert load_exportable(tmp_path / "run").outputs == ("features",)


def test_the_twin_and_the_queue_are_in_the_checkpoint_and_change_as_they_should(tmp_path):
    settings = config("mocov2", {"num_steps": 2, "batch_size": 4})
    run(settings, tmp_path)
    state = load_resume(tmp_path, settings=to_dict(settings), config_class=type(settings))["model"]
    assert state["queue"].shape == (12, 128)
    assert state["position"] == 8  # two batches of four
    trunk = {name.removeprefix("trunk.") for name in state if name.startswith("trunk.")}
    assert {f"twin.0.{name}" for name in trunk} < state.keys()
    assert not torch.equal(state["twin.0.conv1.0.weight"], state["trunk.conv1.0.weight"])


def test_the_queue_holds_the_keys_of_the_last_batches_and_the_twin_follows_slowly():
    torch.manual_seed(0)
    trunk = timm.create_model("test_vit", num_classes=0, img_size=32)
    whole, halves = (MoCoNetwork(trunk, 64, MoCo(queue=6, momentum=0.5), updates=updates).train() for updates in (1, 2))
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(1.0)
    before = whole.twin[0].blocks[0].mlp.fc1.weight.clone()
    views = torch.rand(4, 2, 3, 32, 32)
    logits = whole(views)
    assert logits.shape == (4, 7)
    torch.testing.assert_close(whole.twin[0].blocks[0].mlp.fc1.weight, before + 0.5)
    first = whole.queue[:4].clone()
    right = torch.nn.functional.normalize(whole.twin(views[:, 1]), dim=1)
    torch.testing.assert_close(first, right)
    whole(torch.rand(4, 2, 3, 32, 32))
    assert whole.position == 2  # 8 keys in a ring of 6
    assert torch.equal(whole.queue[2:4], first[2:])
    halves(views[:2])
    halves(views[2:])
    torch.testing.assert_close(halves.twin[0].blocks[0].mlp.fc1.weight, before + 0.5)


@pytest.mark.parametrize("mask", [0.25, 0.5, 0.75])
def test_the_autoencoder_hides_the_share_it_says_and_is_judged_on_that_alone(mask):
    torch.manual_seed(0)
    trunk = timm.create_model(VIT["name"], num_classes=0, img_size=32, patch_size=4, embed_dim=24, depth=1, num_heads=2)
    network = MAENetwork(trunk, MAE(mask=mask, decoder_depth=1, decoder_width=32), fresh=True)
    seen, hidden = network.hidden(3, torch.device("cpu"))
    assert hidden.shape == (3, 64 * mask)
    assert (seen == 0).any(1).all()  # the class token
    every = torch.cat([seen, hidden], 1).sort(1).values
    assert torch.equal(every, torch.arange(65).expand(3, -1))
    images = torch.rand(2, 1, 3, 32, 32)
    torch.manual_seed(1)
    made_up, truth = network(images)
    torch.manual_seed(1)
    _, hidden = network.hidden(2, torch.device("cpu"))
    assert made_up.shape == truth.shape == (2, 64 * mask, 48)
    patch = images[0, 0].unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 3, 4, 0).reshape(64, 48)[hidden[0, 0] - 1]
    torch.testing.assert_close(truth[0, 0], (patch - patch.mean()) / patch.std(), atol=1e-3, rtol=1e-3)
    # What is hidden does not reach the encoder.
    changed = images.clone()
    row, column = divmod(int(hidden[0, 0]) - 1, 8)
    changed[0, 0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 9.0
    torch.manual_seed(1)
    assert torch.equal(network(changed)[0], made_up)


@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_are_found(seed):
    rng = np.random.default_rng(seed)
    truth = np.arange(300) % 6
    features = 10 * rng.normal(size=(6, 5))[truth] + rng.normal(size=(300, 5))
    found = cluster(features, 12, seed=seed)  # k-means of six may split one and join two others
    purity = sum(np.bincount(truth[found == k]).max() for k in range(12)) / 300
    assert purity > 0.9
    assert np.array_equal(found, cluster(features, 12, seed=seed))


def test_clusters_of_any_size_are_drawn_equally_often():
    clusters = np.repeat(np.arange(5), [40, 20, 10, 10, 8])
    rows = balanced_rows(clusters, np.random.default_rng(0))
    assert sorted(np.bincount(clusters[rows])) == [17, 17, 18, 18, 18]
    assert len(set(rows[clusters[rows] == 0])) in (17, 18)  # of a large cluster no picture twice
    assert set(rows[clusters[rows] == 4]) == set(range(80, 88))  # of a small one all


def test_a_network_finds_planted_colours_and_clusters_once_an_epoch(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.arange(24) % 3
    colours = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250]])
    images = (colours[truth][:, None, None] + rng.integers(-20, 6, (24, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    settings = config("deepcluster", {"num_steps": 6, "batch_size": 8, "optimizer": {"learning_rate": 1e-3}})
    task = self_supervised_task(settings, ArrayPictures(images, truth))
    epochs = []

    def counted(model, epoch, group):
        assert not model.training
        epochs.append(epoch)
        task.start_epoch(model, epoch, group)

    train(replace(task, start_epoch=counted), settings.train, tmp_path)
    assert epochs == [0, 1]  # of three steps each
    found = task.model.clusters.tolist()
    assert len(set(zip(truth.tolist(), found, strict=True))) == 3


def test_what_a_method_cannot_use_is_said():
    with pytest.raises(ConfigError, match=r"method\.clusters: is 7, but there are 12 pictures; expected half as many"):
        self_supervised_task(config("deepcluster", method={"clusters": 7}), PICTURES)
    with pytest.raises(ConfigError, match=r"model\.name: mae hides patches of a ViT"):
        self_supervised_task(config("mae", model={"name": "test_resnet"}), PICTURES)
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay: is for fine-tuning"):
        config("rotation", optimizer={"layer_decay": 0.7})
    with pytest.raises(ConfigError, match="train: simclr compares pictures of a part"):
        config("simclr", {"batch_size": 4, "accumulate": 4})
    with pytest.raises(ConfigError, match=r"clusters: belongs to kind deepcluster, but kind is rotation"):
        config("rotation", method={"clusters": 7})


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"this tool needs faiss: pip install 'pcfdsl\[ssl\]'"):
        TASKS["self_supervised"]()
