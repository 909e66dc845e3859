"""A warm-up teaches the blocks of a ViT what strings ask for, resumes, and hands the ViT on."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from pcfdsl.config import ConfigError, from_dict, load
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.formula.strings import Language
from pcfdsl.train.log import read_log
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.image import ImageConfig, image_task
from pcfdsl.train.tasks.warm_up import StringReader, StringsConfig, WarmUpConfig, warm_up_task


def smoke(*settings):
    return load(WarmUpConfig, "warm_up/smoke", ["train.device=cpu", "train.log_every=1", *settings])


def run(config, out):
    train(warm_up_task(config), config.train, out)


@pytest.mark.parametrize("language", get_args(Language))
def test_a_few_strings_are_learned_by_heart(language, tmp_path):
    steps = ["train.num_steps=60", "train.batch_size=16", "train.optimizer.learning_rate=0.01"]
    config = smoke(f"strings.language={language}", *steps)
    task = warm_up_task(config)
    few = [task.dataset[0, i] for i in range(4)]

    class Few(type(task.dataset)):
        def __getitem__(self, key):
            return few[key[1] % 4]

    train(replace(task, dataset=Few(config.strings, 16)), config.train, tmp_path)
    losses = [record["loss"] for record in read_log(tmp_path, kind="train")]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_what_is_hidden_is_not_seen_and_alone_is_asked_for():
    task = warm_up_task(smoke("strings.mask=0.25"))
    batch = task.collate([task.dataset[0, i] for i in range(3)])
    assert batch.hidden.sum(1).tolist() == [4, 4, 4]
    logits = task.model(batch.symbols, batch.hidden)
    assert logits.shape == (12, 8)
    other = torch.where(batch.hidden, (batch.symbols + 1) % 8, batch.symbols)
    assert torch.equal(task.model(other, batch.hidden), logits)
    assert not torch.equal(task.model((batch.symbols + 1) % 8, batch.hidden), logits)


def test_samples_depend_on_their_numbers_alone():
    first, second = (warm_up_task(smoke()).dataset for _ in range(2))
    for key in ((0, 5), (1, 5), (0, 6)):
        assert all(np.array_equal(a, b) for a, b in zip(first[key], second[key], strict=True))
    assert not np.array_equal(first[0, 5][0], first[1, 5][0])


def test_the_vectors_of_symbols_are_not_trained_and_the_vit_goes_on_to_pictures(tmp_path, capsys):
    config = smoke()
    task = warm_up_task(config)
    vectors = task.model.symbols.clone()
    train(task, config.train, tmp_path)
    assert torch.equal(task.model.symbols, vectors)
    source = load_file(tmp_path / "last.safetensors")
    own = timm.create_model(config.model.name, num_classes=0, **config.model.keywords(size=32))
    assert source.keys() == own.state_dict().keys()
    given = {
        "data": {"kind": "none"},
        "view": {"size": 32},
        "model": {"name": config.model.name, "arguments": list(config.model.arguments)},
        "init": {"checkpoint": str(tmp_path)},
    }
    images = np.zeros((6, 32, 32), np.uint8)
    model = image_task(from_dict(ImageConfig, given), ArrayPictures(images, np.arange(6) % 2)).model
    assert f"{len(source)} tensors loaded" in capsys.readouterr().err
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in source.items())


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, train_until_it_fails):
    config = smoke("train.num_steps=6", "train.checkpoint_every=2")
    run(config, tmp_path / "whole")
    train_until_it_fails(warm_up_task(config), config.train, tmp_path / "stopped", after=3, error=KeyboardInterrupt())
    run(config, tmp_path / "stopped")
    whole, resumed = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_what_cannot_be_is_said():
    with pytest.raises(ConfigError, match="num_symbols: is 7; brackets open and close"):
        StringsConfig(num_symbols=7)
    with pytest.raises(ConfigError, match="model: is no ViT of timm"):
        StringReader(timm.create_model("test_resnet", num_classes=0), 8)
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay: is for fine-tuning"):
        smoke("optimizer.layer_decay=0.5")


def test_what_timm_does_not_decay_is_not_decayed_as_a_part_either():
    task = warm_up_task(smoke("train.optimizer.weight_decay=0.1"))
    assert task.optimizer is not None
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    decayed = {
        names[id(parameter)]
        for group in task.optimizer(task.model).param_groups
        for parameter in group["params"]
        if group["weight_decay"]
    }
    assert {"trunk.blocks.0.attn.qkv.weight", "head.weight"} <= decayed
    assert not {"trunk.pos_embed", "trunk.cls_token", "trunk.norm.weight", "head.bias"} & decayed
