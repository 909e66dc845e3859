"""Image networks of timm: a batch is learned by heart, weights go to timm and back, stages freeze, runs resume."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from pcfdsl.config import ConfigError, from_dict, load
from pcfdsl.datasets.images import open_pictures
from pcfdsl.datasets.pictures import ArrayPictures, few_per_class
from pcfdsl.infer.image import load_image_classifier
from pcfdsl.samples.images import ImageDataset, collate_images
from pcfdsl.train.log import read_log
from pcfdsl.train.loop import train
from pcfdsl.train.optim import ScheduleConfig, learning_rate_factor
from pcfdsl.train.tasks.image import ImageConfig, evaluate_pictures, image_task, multi_hot
from pcfdsl.train.tasks.image_model import ImageInitConfig, ImageModelConfig, leading_parts, start_image_model

VIT = {"name": "vit_tiny_patch16_224", "arguments": ["patch_size=8", "embed_dim=24", "depth=2", "num_heads=2"]}
PICTURES = ArrayPictures(np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12) % 3)


def config(train=None, **settings):
    common = {
        "data": {"kind": "none"},
        "view": {"size": 32, "crop": 1.0},
        "augment": {"kind": "none"},
        "model": {"name": "test_resnet"},
    }
    run = {"num_steps": 4, "batch_size": 4, "evaluations": 1, "sinks": (), "device": "cpu", "log_every": 1}
    return from_dict(ImageConfig, common | {"train": run | (train or {})} | settings)


def run(settings, out, pictures=PICTURES, **options):
    return train(image_task(settings, pictures, PICTURES), settings.train, out, **options)


@pytest.mark.parametrize("model", [{"name": "test_resnet"}, VIT], ids=["resnet", "vit"])
def test_pictures_are_learned_by_heart_and_weights_go_to_timm(tmp_path, model):
    settings = config(
        {"num_steps": 60, "batch_size": 12, "optimizer": {"name": "adamw", "learning_rate": 3e-3}}, model=model
    )
    result = run(settings, tmp_path)
    assert result.metrics["accuracy"] == 1.0
    assert result.best == 1.0

    own = load_image_classifier(tmp_path, device="cpu")
    keywords = settings.model.keywords(size=32)
    timms = timm.create_model(
        model["name"], num_classes=3, checkpoint_path=str(tmp_path / "last.safetensors"), **keywords
    ).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(timms(images), own.model(images))
    assert evaluate_pictures(timms, PICTURES, settings).accuracy == 1.0


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, train_until_it_fails):
    augment = {"kind": "timm", "auto_augment": "rand-m9-mstd0.5-inc1", "erasing": 0.5}
    settings = config({"num_steps": 5, "checkpoint_every": 2}, augment=augment, mix={"mixup": 0.8, "cutmix": 1.0})
    run(settings, tmp_path / "whole")
    task = image_task(settings, PICTURES, PICTURES)
    train_until_it_fails(task, settings.train, tmp_path / "stopped", after=3, error=KeyboardInterrupt())
    run(settings, tmp_path / "stopped")
    whole, stopped = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    losses = [[r["loss"] for r in read_log(tmp_path / name, kind="train")] for name in ("whole", "stopped")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("name", "num_stages", "expected"),
    [
        ("resnet50", 1, ("conv1", "bn1")),
        ("resnet50", 5, ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")),
        ("deit_tiny_patch16_224", 2, ("cls_token", "pos_embed", "patch_embed", "blocks.0")),
    ],
)
def test_leading_stages_have_the_papers_names(name, num_stages, expected):
    model = timm.create_model(name)
    assert leading_parts(model, num_stages) == expected
    with pytest.raises(ValueError, match="the network has"):
        leading_parts(model, 50)


@pytest.mark.parametrize(("model", "stages"), [({"name": "test_resnet"}, 2), (VIT, 1)], ids=["resnet", "vit"])
def test_frozen_stages_stay_and_all_others_move(tmp_path, model, stages):
    settings = config({"optimizer": {"name": "sgd", "learning_rate": 0.1}}, model=model, freeze_stages=stages)
    task = image_task(settings, PICTURES, PICTURES)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    parts = leading_parts(task.model, stages)
    train(task, settings.train, tmp_path)
    for name, tensor in task.model.state_dict().items():
        frozen = any(name == part or name.startswith(f"{part}.") for part in parts)
        moved = not torch.equal(tensor, before[name])
        assert moved != frozen, name


def test_a_batch_of_one_names_the_setting(tmp_path):
    few = ArrayPictures(PICTURES.images[:5], PICTURES.labels[:5])
    with pytest.raises(ValueError, match=r"train\.batch_size 1 / train\.accumulate 1 comes to; raise"):
        run(config({"batch_size": 1}, model={"name": "resnet18"}), tmp_path / "one", few)
    # Five pictures in batches of four: no batch of one is left over, the next epoch fills it up.
    assert run(config({"epochs": 2.0, "num_steps": None}), tmp_path / "five", few).step == 2


def test_fine_tuning_starts_from_all_but_the_classifier(tmp_path, capsys):
    run(config(model=VIT), tmp_path / "first")
    source = load_file(tmp_path / "first" / "last.safetensors")
    settings = config(model=VIT, init={"checkpoint": str(tmp_path / "first")}, view={"size": 48, "crop": 1.0})
    model = image_task(settings, PICTURES).model
    state = model.state_dict()
    assert state["pos_embed"].shape[1] == 37  # resampled from 4 x 4 patches to 6 x 6
    same = [
        name for name in source if state[name].shape == source[name].shape and torch.equal(state[name], source[name])
    ]
    assert set(source) - set(same) == {"pos_embed", "head.weight", "head.bias"}
    assert "not in the source, keeps its value: head.weight" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="does not exist"):
        start_image_model(ImageInitConfig(checkpoint=str(tmp_path / "none.pth")), model)


def test_layer_decay_and_weight_decay_groups(tmp_path):
    settings = config(optimizer={"layer_decay": 0.5}, model=VIT)
    task = image_task(settings, PICTURES, PICTURES)
    assert task.optimizer is not None
    groups = task.optimizer(task.model).param_groups
    assert {round(group["lr_scale"], 4) for group in groups} == {1.0, 0.5, 0.25, 0.125}
    train(task, settings.train, tmp_path)
    with pytest.raises(ConfigError, match="timm cannot make 'nothing'"):
        run(config(optimizer={"timm": "nothing"}), tmp_path / "x")


def test_mixing_draws_from_the_loops_generator():
    settings = config(mix={"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1})
    task = image_task(settings, PICTURES)
    batch = task.collate([task.dataset[0, i] for i in range(4)])

    def loss(seed):
        images = batch.images.clone()
        return task.loss(
            task.model.eval(), type(batch)(images=images, labels=batch.labels), np.random.default_rng(seed)
        )

    assert loss(0)[0].item() == loss(0)[0].item()
    assert loss(0)[0].item() != loss(1)[0].item()
    with pytest.raises(ConfigError, match="mix: mixing pairs"):
        config({"batch_size": 3}, mix={"mixup": 0.8})


def test_a_share_of_the_pictures_replaces_the_recipes_number():
    assert load(ImageConfig, "train_image/laptop_finetune").per_class == 20
    config = load(ImageConfig, "train_image/laptop_finetune", ["train_fraction=0.1"])
    assert (config.train_fraction, config.per_class) == (0.1, None)


def test_warm_up_in_epochs():
    schedule = ScheduleConfig(kind="cosine", warmup_epochs=2.0, warmup_start=0.1)
    factors = [
        learning_rate_factor(schedule, step=step, num_steps=100, epoch=0, steps_per_epoch=5) for step in (0, 9, 10)
    ]
    assert factors == pytest.approx([0.19, 1.0, 1.0])
    fine_tuning, pre_training = "train_image/laptop_finetune", "train_image/laptop_resnet"  # in epochs and in steps
    for recipe, override in (
        (fine_tuning, "train.schedule.warmup_steps=3"),
        (pre_training, "train.schedule.warmup_steps=3"),
        (fine_tuning, "train.schedule.warmup_epochs=0.3"),
        (pre_training, "train.schedule.warmup_epochs=0.3"),
    ):
        schedule = load(ImageConfig, recipe, [override]).train.schedule
        factors = [
            learning_rate_factor(schedule, step=step, num_steps=100_000, epoch=0, steps_per_epoch=10)
            for step in (0, 2, 3)
        ]
        assert factors == pytest.approx([1 / 3, 1, 1]), (recipe, override)


def test_unknown_models_and_arguments_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="timm has no model 'resnet5'; did you mean"):
        ImageModelConfig(name="resnet5")
    with pytest.raises(ConfigError, match="not of the form key=value"):
        ImageModelConfig(arguments=("depth",))
    with pytest.raises(ConfigError, match="timm cannot make test_resnet"):
        image_task(config(model={"name": "test_resnet", "arguments": ["depth=3"]}), PICTURES)
    other = ArrayPictures(PICTURES.images, PICTURES.labels, ("a", "b", "c"))
    with pytest.raises(ConfigError, match=r"validation: has 3 classes, the training set 3 \("):
        image_task(config(), PICTURES, other)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        run(config({"freeze": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]}), tmp_path)


def test_several_labels_are_learned_by_heart(tmp_path):
    pictures = ArrayPictures(PICTURES.images, np.arange(12) % 5)
    pictures.labels = np.stack([np.arange(12) % 5, np.where(np.arange(12) % 2, -1, (np.arange(12) + 2) % 5)], 1)
    settings = config({"num_steps": 120, "batch_size": 12, "evaluations": 0, "optimizer": {"name": "adamw"}})
    train(image_task(settings, pictures), settings.train, tmp_path)
    model = load_image_classifier(tmp_path, device="cpu").model.eval()
    batch = collate_images([ImageDataset(pictures, view=settings.view)[i] for i in range(12)])
    truth = multi_hot(batch.labels, 5)
    assert truth.sum(1).tolist() == [2, 1] * 6
    with torch.no_grad():
        logits = model(batch.images)
    assert torch.equal(logits > 0, truth)
    first, last = (record for record in (read_log(tmp_path)[0], read_log(tmp_path)[-1]))
    assert last["hits"] == 1.0
    assert first["loss"] > 5 * last["loss"]


def test_several_labels_cannot_be_mixed_or_evaluated_on():
    several = ArrayPictures(PICTURES.images, PICTURES.labels)
    several.labels = np.stack([PICTURES.labels, np.full(12, -1)], 1)
    with pytest.raises(ConfigError, match="mix: is for pictures with one label each; data has several"):
        image_task(config(mix={"mixup": 0.8}), several)
    with pytest.raises(ConfigError, match="validation: has several labels a picture"):
        image_task(config(), PICTURES, several)
    with pytest.raises(ValueError, match="per_class is for pictures with one label each"):
        few_per_class(several.labels, per_class=2)
    assert len(few_per_class(several.labels, fraction=0.5)) == 6


def test_pictures_of_several_fractals_come_with_all_their_labels():
    fractals = {"num_categories": 4, "image_size": 32, "num_points": 2000, "draw": {"style": "density"}}
    recipe = {"num_images": 5, "image_size": 32, "objects": [1, 3], "fractals": fractals}
    data = {"kind": "recipe", "recipe": {"dataset": "multi_fractal", "multi_fractal": recipe}}
    pictures = open_pictures(config(data=data).data)
    assert pictures.labels.shape == (5, 3)
    assert pictures.classes == ("00000", "00001", "00002", "00003")
    assert pictures.picture(2).shape == (32, 32, 3)


def test_a_small_stem_keeps_the_size_of_small_pictures_and_its_weights_come_back(tmp_path):
    arguments = ["layers=[1, 1, 1, 1]", "channels=[8, 8, 8, 8]", "stem_type=deep", "stem_width=4"]
    settings = config(model={"name": "resnet18", "arguments": arguments, "small_stem": True})
    model = image_task(settings, PICTURES).model
    assert model.conv1.weight.shape == (8, 3, 3, 3)
    assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 8, 2, 2)
    assert leading_parts(model, 2) == ("conv1", "bn1", "layer1")
    run(settings, tmp_path)
    loaded = load_image_classifier(tmp_path, device="cpu").model.state_dict()
    saved = load_file(tmp_path / "last.safetensors")
    assert torch.equal(loaded["conv1.weight"], saved["conv1.weight"])
    with pytest.raises(ConfigError, match="small_stem: vit_tiny_patch16_224 is no ResNet of timm"):
        image_task(config(model=VIT | {"small_stem": True}), PICTURES)


@pytest.mark.parametrize("several", [False, True])
def test_losses_of_float16_are_computed_in_float32(several):
    pictures = ArrayPictures(PICTURES.images[:2], np.arange(2), PICTURES.classes)
    if several:
        pictures.labels = np.array([[0, 1], [2, -1]])
    task = image_task(config(), pictures)
    batch = task.collate([task.dataset[0, i] for i in range(2)])
    logits = torch.tensor([[9.0, 1.0, 0.01], [0.3, 7.0, 0.2]]).half()
    loss = task.loss(lambda images: logits, batch, np.random.default_rng(0))[0]
    assert loss.dtype == torch.float32
    assert loss == task.loss(lambda images: logits.float(), batch, np.random.default_rng(0))[0]


def test_a_part_with_an_odd_number_of_pictures_cannot_be_mixed():
    task = image_task(config({"batch_size": 6}, mix={"mixup": 0.8}), PICTURES)
    batch = task.collate([task.dataset[0, i] for i in range(3)])  # what each of two processes gets
    with pytest.raises(ConfigError, match=r"mix: mixing pairs .* a part has 3; choose another train.batch_size"):
        task.loss(task.model, batch, np.random.default_rng(0))


@pytest.mark.parametrize("scale", [(0.0, 0.0), (1.0, 0.08), (2.0, 5.0)])
def test_a_range_of_crops_that_there_is_not_is_refused(scale):
    with pytest.raises(ConfigError, match=r"augment\.scale"):
        config(augment={"scale": scale})
