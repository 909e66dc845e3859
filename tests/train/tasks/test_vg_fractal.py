"""One transformer for pictures and clouds: the pairs, what is shared, where weights go, and runs that are killed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import ConfigError, load
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.models.point_transformer import PointTokenizer, PointTokensConfig
from pcfdsl.ops import reference
from pcfdsl.ops.interpolate import k_nearest
from pcfdsl.pointcloud.pcfractal import PCFractalDB, open_pcfractal
from pcfdsl.samples.pairs import FractalPairs
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.image_model import ImageInitConfig, create_network, start_image_model
from pcfdsl.train.tasks.vg_fractal import VGFractalConfig, vg_fractal_task


def smoke(*settings):
    return load(VGFractalConfig, "vg_fractal/smoke", ["train.device=cpu", "train.sinks=[]", *settings])


@pytest.fixture(scope="module")
def pairs():
    config = smoke()
    return FractalPairs(config.clouds, config.pictures)


@pytest.fixture
def batch(pairs):
    task = vg_fractal_task(smoke("augment.kind=none"), pairs)
    return task.collate([task.dataset[0, i] for i in range(0, 32, 4)])


def test_picture_and_cloud_show_the_same_system(pairs):
    assert pairs.pictures.num_instances == 8
    for k in range(4):
        system, pictured = pairs.clouds.category(k), pairs.pictures.weighted_system(k, 0, 0)
        np.testing.assert_array_equal(pictured.matrices, system.matrices)
        np.testing.assert_array_equal(pictured.offsets, system.offsets)
        np.testing.assert_array_equal(pictured.probabilities, system.probabilities)
    assert pairs.pictures.config.num_weights == 1
    assert not np.array_equal(pairs.clouds.category(0).matrices, pairs.clouds.category(1).matrices)
    assert pairs.labels.tolist() == [i // 8 for i in range(32)]
    config = smoke()
    again = PCFractalDB(config.clouds)
    np.testing.assert_array_equal(again.category(2).matrices, pairs.clouds.category(2).matrices)
    assert [pairs.pictures[i].category for i in range(32)] == pairs.labels.tolist()
    assert not np.array_equal(pairs.picture(8), pairs.picture(9))  # another viewpoint


def test_a_pair_is_one_instance_and_a_function_of_its_numbers(pairs):
    task = vg_fractal_task(smoke(), pairs)
    image, points, label = task.dataset[3, 17]
    assert (image.shape, points.shape, label) == ((3, 32, 32), (256, 3), 2)
    other = vg_fractal_task(smoke(), pairs).dataset[3, 17]
    assert torch.equal(image, other[0])
    assert torch.equal(points, other[1])
    assert not torch.equal(points, task.dataset[4, 17][1])


def test_both_kinds_teach_the_shared_blocks(pairs, batch):
    model = vg_fractal_task(smoke(), pairs).model
    vit, tokenizer = model.backbone_net.vit, model.backbone_net.tokenizer
    shared = [*vit.blocks.parameters(), *vit.norm.parameters(), *vit.head.parameters(), vit.cls_token]
    own = {0: [*vit.patch_embed.parameters(), vit.pos_embed], 1: list(tokenizer.parameters())}
    for kind in (0, 1):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.images, batch.points)[kind], batch.labels).backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in (*shared, *own[kind]) if parameter.numel() > 64)
        assert all(parameter.grad is not None for parameter in (*shared, *own[kind]))
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in own[1 - kind])


def test_a_batch_is_learned_by_heart(pairs, batch):
    task = vg_fractal_task(smoke(), pairs)
    optimizer = torch.optim.AdamW(task.model.parameters(), 3e-3)
    for _ in range(60):
        loss, scalars = task.loss(task.model, batch, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert scalars["image_accuracy"] == scalars["cloud_accuracy"] == 1
    assert loss < 0.1


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, pairs, train_until_it_fails):
    settings = smoke("train.num_steps=5", "train.checkpoint_every=2", "augment.kind=timm")
    train(vg_fractal_task(settings, pairs), settings.train, tmp_path / "whole")
    task = vg_fractal_task(settings, pairs)
    train_until_it_fails(task, settings.train, tmp_path / "stopped", after=3, error=RuntimeError("power cut"))
    result = train(vg_fractal_task(settings, pairs), settings.train, tmp_path / "stopped")
    assert result.step == 5
    whole, stopped = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_weights_go_to_networks_of_pictures_and_of_clouds(tmp_path, pairs, batch, capsys):
    settings = smoke("train.num_steps=2")
    task = vg_fractal_task(settings, pairs)
    train(task, settings.train, tmp_path)
    vit = create_network(settings.model, size=32, channels=3, num_classes=7)
    report = start_image_model(ImageInitConfig(checkpoint=str(tmp_path)), vit)
    assert report.missing == ("head.weight", "head.bias")
    model = task.model.eval()
    with torch.no_grad():
        assert torch.equal(
            vit.eval().forward_features(batch.images), model.backbone_net.vit.forward_features(batch.images)
        )
        transformer = {"embed_dim": 24, "depth": 2, "num_heads": 2, "tokens": settings.tokens}
        own = ClassifierConfig(backbone_type="point_transformer", num_classes=7)
        own = replace(own, transformer=replace(own.transformer, **transformer))
        classifier = PointCloudClassifier(own).eval()
        start_from(InitConfig(checkpoint=str(tmp_path)), classifier)
        assert torch.equal(classifier.backbone_net(batch.points), model.backbone_net(batch.points))
        assert classifier(batch.points).shape == (8, 7)
    assert "not in the source" not in capsys.readouterr().err.split("from ")[-1]


def test_tokens_do_not_depend_on_the_order_within_a_group():
    torch.manual_seed(0)
    tokenizer = PointTokenizer(PointTokensConfig(num_groups=6, group_size=9), 16).eval()
    points = torch.randn(2, 50, 3)
    offsets, centers = tokenizer.groups(points)
    assert offsets.shape == (2, 6, 9, 3)
    assert torch.equal(offsets[:, :, 0], torch.zeros(2, 6, 3))  # the centre is its own nearest point
    distances = (centers[:, :, None] - points[:, None]).norm(dim=-1).sort(-1).values[..., :9]
    torch.testing.assert_close(offsets.norm(dim=-1), distances, atol=1e-6, rtol=0)
    shuffled = offsets[:, :, torch.randperm(9)]
    torch.testing.assert_close(tokenizer.tokens(shuffled), tokenizer.tokens(offsets))
    rows = tokenizer.points2(tokenizer.norm1(tokenizer.points1(offsets.reshape(-1, 3)))).view(12, 9, -1)
    both = torch.cat([rows.amax(1, keepdim=True).expand_as(rows), rows], 2).flatten(0, 1)
    plain = tokenizer.group2(tokenizer.norm2(tokenizer.group1(both))).view(2, 6, 9, -1).amax(2)
    torch.testing.assert_close(tokenizer.tokens(offsets), plain)
    moved = offsets.clone()
    moved[0, 0, 3] += 1
    changed = (tokenizer.tokens(moved) - tokenizer.tokens(offsets)).abs().amax(-1) > 1e-6
    assert changed.nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("count", [2, 5, 40])
def test_k_nearest_equals_its_plain_twin(count):
    torch.manual_seed(count)
    queries, points = torch.randn(2, 7, 3), torch.randn(2, 30, 3)
    lengths = torch.tensor([30, 11])
    found, expected = (
        k_nearest(queries, points, count, lengths=lengths),
        reference.nearest(queries, points, count, lengths),
    )
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0])


def test_what_does_not_fit_is_said_in_a_sentence(pairs):
    with pytest.raises(ConfigError, match=r"points: use_height is true"):
        smoke("points.use_height=true")
    with pytest.raises(ConfigError, match=r"model\.name: is test_resnet: the network has no class token"):
        vg_fractal_task(smoke("model.name=test_resnet", "model.arguments=[]"), pairs)
    classifier = PointCloudClassifier(ClassifierConfig(backbone_type="point_transformer"))
    with pytest.raises(ValueError, match=r"points are \(2, 20, 4\); a transformer takes \[B, N, 3\]"):
        classifier(torch.rand(2, 20, 4))


def test_clouds_of_the_released_scripts_are_theirs():
    pairs = FractalPairs(smoke("clouds.variant=released", "clouds.num_instances=2").clouds, smoke().pictures)
    database = open_pcfractal(smoke("clouds.variant=released", "clouds.num_instances=2").clouds)
    np.testing.assert_array_equal(pairs.clouds[3].points, database[3].points)
    with pytest.raises(ConfigError, match=r"variant: is released: open the set with pcfdsl\.open_pcfractal"):
        PCFractalDB(smoke("clouds.variant=released", "clouds.num_instances=2").clouds)
