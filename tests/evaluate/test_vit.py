"""Attention equals the network's own, its reach equals a plain sum, and pictures of networks are written."""

import itertools
import json
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from pcfdsl.config import from_dict
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.evaluate.vit import attention_maps, attention_reach, first_filters, position_similarity
from pcfdsl.infer.image import load_image_classifier
from pcfdsl.studies.attention import analyze_networks, attention_overlay
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.image import ImageConfig, image_task

SMALL = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3, **SMALL).eval()


def test_attention_is_that_of_the_network(vit):
    images = torch.rand(2, 3, 32, 32)
    maps = attention_maps(vit, images)
    assert maps.shape == (2, 2, 2, 17, 17)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 2, 17))
    block = vit.blocks[0]
    with torch.no_grad():
        tokens = block.norm1(vit._pos_embed(vit.patch_embed(images)))
        values = block.attn.qkv(tokens)[..., 48:].reshape(2, 17, 2, 12).transpose(1, 2)
        mixed = block.attn.proj((maps[0] @ values).transpose(1, 2).reshape(2, 17, 24))
        torch.testing.assert_close(mixed, block.attn(tokens), rtol=1e-4, atol=1e-5)


def test_reach_is_the_mean_distance():
    attention = torch.rand(2, 3, 2, 7, 7).softmax(-1)
    found = attention_reach(attention, (2, 3), patch_size=4.0)
    places = list(itertools.product(range(2), range(3)))
    for layer, head in itertools.product(range(2), range(2)):
        total = 0.0
        for picture, (i, a) in itertools.product(range(3), enumerate(places)):
            row = attention[layer, picture, head, i + 1, 1:].tolist()
            total += sum(w * 4 * math.dist(a, b) for w, b in zip(row, places, strict=True)) / sum(row)
        assert found[layer, head].item() == pytest.approx(total / 18, rel=1e-5)


def test_positions_and_filters(vit):
    similarity = position_similarity(vit)
    torch.testing.assert_close(similarity.diagonal(), torch.ones(16))
    torch.testing.assert_close(similarity, similarity.T)
    assert first_filters(vit).shape == (24, 3, 8, 8)
    resnet = timm.create_model("test_resnet")
    with pytest.raises(ValueError, match="no learned position embedding"):
        position_similarity(resnet)


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "vit_relpos_small_patch16_224",
        "eva02_tiny_patch14_224",
        "cait_xxs24_224",
        "beit_base_patch16_224",
    ],
)
def test_attention_that_is_more_than_queries_and_keys_is_refused(name):
    model = timm.create_model(name, num_classes=2, **({} if name == "test_resnet" else {"depth": 1})).eval()
    with pytest.raises(ValueError, match="has no plain attention in its blocks; give a ViT or DeiT of timm"):
        attention_maps(model, torch.rand(1, 3, 224, 224))


def test_pictures_of_networks_are_written(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    pictures = ArrayPictures(images, np.arange(4) % 2)
    small = [f"{key}={value}" for key, value in SMALL.items()]
    for name, model in (
        ("vit", {"name": "vit_tiny_patch16_224", "arguments": small}),
        ("relpos", {"name": "vit_relpos_small_patch16_224", "arguments": small}),
        ("resnet", {"name": "test_resnet"}),
    ):
        run = {"num_steps": 1, "batch_size": 4, "sinks": (), "device": "cpu"}
        config = from_dict(ImageConfig, {"view": {"size": 32}, "model": model, "train": run})
        train(image_task(config, pictures), config.train, tmp_path / name)
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    files = analyze_networks(
        {n: tmp_path / n for n in ("vit", "relpos", "resnet")}, [tmp_path / "a.png"], tmp_path / "out"
    )
    kinds = ["vit_filters", "vit_filters_grey", "vit_positions", "vit_attention", "vit_reach"]
    kinds += [f"{name}_{kind}" for name in ("relpos", "resnet") for kind in ("filters", "filters_grey")]
    assert [file.name for file in files] == [f"{kind}.png" for kind in kinds] + ["report.html"]
    for file in files[:-1]:
        assert np.ptp(np.asarray(Image.open(file).convert("RGB"))) > 100
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") == 9
    trained = load_image_classifier(tmp_path / "vit", device="cpu")
    again = attention_overlay(trained, [images[0]])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "vit_attention.png")), again)
    assert json.loads((tmp_path / "vit" / "last.json").read_text())["step"] == 1
