"""The image study: arms paired by seed, sets and weights made once, one rule for rates, tables of what they say."""

import gzip
import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.config import ConfigError, from_dict, load
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.recipes import find_recipe
from pcfdsl.samples.images import ImageViewConfig
from pcfdsl.studies import image_protocols
from pcfdsl.studies.image_arms import ARMS, comparisons_table, image_set
from pcfdsl.studies.image_protocols import linear_classifier, own_statistics, parse_protocol, split_pictures
from pcfdsl.studies.images import ImageStudyConfig, run_image_study
from pcfdsl.studies.study import StudyResult
from pcfdsl.train.loop import NonFiniteLossError

NETWORK = {"view": {"size": 32, "crop": 1.0}, "augment": {"kind": "crop"}, "model": {"name": "test_resnet"}}
RUN = {"num_steps": 2, "batch_size": 4, "sinks": (), "device": "cpu"}
TINY = {
    "protocols": ("fine2", "frozen2", "fine1_stem1"),
    "rates": (0.001, 0.01),
    "num_validation": 20,
    "num_test": 20,
    "num_categories": 3,
    "num_instances": 2,
    "pretrain": NETWORK | {"train": RUN | {"evaluations": 0}},
    "finetune": NETWORK | {"train": RUN},
}
HOW = {"size": 32, "num_categories": 5, "num_instances": 7}


def test_a_study_of_drawn_furniture_runs_once_and_is_written(tmp_path):
    config, lines, out = from_dict(ImageStudyConfig, TINY), [], tmp_path / "study"
    arms = ["fractaldb", "random_labels", "bezier"]
    result = run_image_study(config, out, seeds=[0, 1], arms=arms, progress=lines.append)
    assert set(result.runs) == {"scratch", *arms}
    assert all(set(run["seed1"]) == set(TINY["protocols"]) for run in result.runs.values())
    assert len(list((out / "sets").iterdir())) == 2  # random labels share FractalDB's pictures
    assert {path.name for path in (out / "pretrained").iterdir()} == {f"{arm}_seed{s}" for arm in arms for s in (0, 1)}
    assert (out / "study.md").read_text().startswith("| fine2 | runs |")
    assert "FractalDB over Bezier | 2 |" in (out / "comparisons.md").read_text()
    assert len(lines) == 16
    again = run_image_study(config, out, seeds=[0, 1], arms=arms, progress=lines.append)
    assert again == result
    assert len(lines) == 16
    view = load_checkpoint(out / "pretrained" / "bezier_seed0" / "last.safetensors").settings["view"]
    assert view["mean"] != [0.5]
    with pytest.raises(ValueError, match="unknown arms bessel; expected some of scratch"):
        run_image_study(config, out, arms=["bessel"])


def test_shards_of_a_study_come_to_the_same_and_measured_protocols_are_read(tmp_path):
    config = from_dict(ImageStudyConfig, TINY | {"protocols": ("fine1",)})
    whole = run_image_study(config, tmp_path / "a", seeds=[0, 1], arms=["bezier"], progress=str)
    run_image_study(config, tmp_path / "b", seeds=[0, 1], arms=["bezier"], shard=(1, 2), progress=str)
    assert not (tmp_path / "b" / "scratch" / "seed0").exists()
    parts = run_image_study(config, tmp_path / "b", seeds=[0, 1], arms=["bezier"], shard=(0, 2), progress=str)
    assert parts == whole
    (tmp_path / "b" / "bezier" / "seed0" / "result.json").unlink()
    stored = tmp_path / "b" / "bezier" / "seed0" / "fine1.json"
    content = json.loads(stored.read_text())
    stored.write_text(json.dumps(content | {"accuracy": 0.123}))
    result = run_image_study(config, tmp_path / "b", seeds=[0, 1], arms=["bezier"], progress=str)
    assert result.runs["bezier"]["seed0"] == {"fine1": 0.123}


def test_several_sets_of_real_pictures_name_the_metrics(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "digits").mkdir()
    labels = np.arange(20, dtype=np.uint8) % 2
    for part in ("train", "t10k"):
        for what, array in (("images-idx3", rng.integers(0, 256, (20, 28, 28), np.uint8)), ("labels-idx1", labels)):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            path = tmp_path / "digits" / f"{part}-{what}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes()))
    for part in ("train", "val"):
        for name in ("bed", "sofa"):
            folder = tmp_path / "photographs" / part / name
            folder.mkdir(parents=True)
            for k in range(4):
                Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{k}.png")
    folders = [str(tmp_path / name) for name in ("digits", "photographs")]
    config = from_dict(ImageStudyConfig, TINY | {"data": folders, "protocols": ("frozen2",)})
    result = run_image_study(config, tmp_path / "out", seeds=[0], arms=["scratch"], progress=str)
    assert set(result.runs["scratch"]["seed0"]) == {"digits_frozen2", "photographs_frozen2"}
    with pytest.raises(FileNotFoundError, match="no pictures that can be used: expected idx files"):
        run_image_study(from_dict(ImageStudyConfig, TINY | {"data": [str(tmp_path)]}), tmp_path / "none")


def test_the_rate_is_the_best_on_validation_pictures_and_the_test_pictures_have_no_say(tmp_path, monkeypatch):
    config = from_dict(ImageStudyConfig, TINY)
    rng = np.random.default_rng(0)
    pictures = ArrayPictures(rng.integers(0, 256, (40, 32, 32), np.uint8), np.arange(40) % 2)
    parts = split_pictures(pictures, pictures, counts=[2, 5], num_validation=10, size=32, seed=3)
    trained, accuracies = [], iter([0.4, 0.9, 0.6, 0.1])  # three validations, then the test of the best
    monkeypatch.setattr(image_protocols, "train", lambda task, run, *_, **__: trained.append((task, run)))
    monkeypatch.setattr(image_protocols, "_accuracy", lambda *_: next(accuracies))
    monkeypatch.setattr(image_protocols.shutil, "rmtree", lambda _: None)
    asked = []
    monkeypatch.setattr(
        image_protocols, "_outputs", lambda model, inputs, *_: asked.append((model, len(inputs))) or torch.zeros(1, 2)
    )
    found = image_protocols.transfer(
        parse_protocol("fine5_stem1"), parts, config.finetune, tmp_path, rates=(0.1, 0.2, 0.3)
    )
    assert found == {"accuracy": 0.1, "validation": 0.9, "rate": 0.2}
    assert [run.optimizer.learning_rate for _, run in trained] == [0.1, 0.2, 0.3]
    assert trained[0][0].freeze == ("conv1", "bn1", "layer1")
    assert [number for _, number in asked] == [10, 10, 10, 40]
    assert asked[3][0] is trained[1][0].model


def test_a_rate_at_which_training_diverges_is_not_chosen(tmp_path, capsys):
    config = from_dict(ImageStudyConfig, TINY).finetune
    pictures = ArrayPictures(np.random.default_rng(0).integers(0, 256, (40, 32, 32), np.uint8), np.arange(40) % 2)
    parts = split_pictures(pictures, pictures, counts=[5], num_validation=10, size=32, seed=3)
    protocol = parse_protocol("fine5")
    found = image_protocols.transfer(protocol, parts, config, tmp_path, rates=(1e30, 0.001))
    assert found == image_protocols.transfer(protocol, parts, config, tmp_path, rates=(0.001,))
    assert capsys.readouterr().err.count("at a rate of 1e+30 fine-tuning diverged") == 1
    with pytest.raises(NonFiniteLossError, match=r"diverged at every rate \(1e\+30, 1e\+29\); give lower rates"):
        image_protocols.transfer(protocol, parts, config, tmp_path, rates=(1e30, 1e29))


def test_training_and_validation_pictures_are_nested_and_disjoint():
    images = np.repeat(np.arange(60, dtype=np.uint8), 4).reshape(60, 2, 2)
    pictures = ArrayPictures(images, np.arange(60) % 3)
    parts = split_pictures(pictures, pictures, counts=[2, 6], num_validation=9, size=2, seed=0)
    few, many, validation = (set(part.images[:, 0, 0].tolist()) for part in (*parts.train.values(), parts.validation))
    assert few < many
    assert not many & validation
    assert np.bincount(parts.validation.labels).tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="class 0 has no pictures left to choose rates on beside the 20"):
        split_pictures(pictures, pictures, counts=[20], num_validation=9, size=2, seed=0)


def test_a_set_is_normalised_by_its_own_mean_and_deviation():
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), np.uint8)
    view = own_statistics(ImageViewConfig(), ArrayPictures(images, np.arange(30) % 2))
    np.testing.assert_allclose(view.mean, images.mean((0, 1, 2)) / 255, atol=1e-5)
    np.testing.assert_allclose(view.std, images.std((0, 1, 2)) / 255, atol=1e-5)
    assert len(own_statistics(ImageViewConfig(), ArrayPictures(images[..., 0], np.arange(30) % 2)).mean) == 1


def test_the_linear_classifier_is_at_the_minimum_of_its_loss():
    rng = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 4, generator=rng), torch.arange(60) % 3
    layer = linear_classifier(features, labels, 3, penalty=0.1)
    weight = layer.keywords["weight"].clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(features @ weight.T + layer.keywords["bias"], labels)
    (loss + 0.05 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-3


def test_comparisons_are_paired_differences():
    runs = {"points_100k": [0.5, 0.7, 0.6], "few_points": [0.4, 0.5, 0.5], "scratch": [0.1, 0.2, 0.3]}
    table = comparisons_table(
        StudyResult(
            {arm: {f"s{k}": {"fine20": value} for k, value in enumerate(values)} for arm, values in runs.items()},
            {f"s{k}": f"s{k}" for k in range(3)},
            "scratch",
        )
    )
    assert "| more points: 100k over 10k | 3 | +13.3 (-1.0 to +27.7) |" in table
    assert "contours" not in table


def test_arms_are_sets_of_the_papers_sizes_scaled_down():
    sets = {arm: image_set(arm, **HOW) for arm in ARMS}
    assert sets.pop("scratch") is None
    assert [sets[arm].fractaldb.num_points for arm in ("few_points", "points_50k", "points_100k")] == [39, 195, 391]
    assert {arm for arm, images in sets.items() if images.chosen.image_size == 32} == {
        "few_points",
        "points_50k",
        "points_100k",
        "contours_whole",
        "contours_broken",
    }
    assert sets["random_labels"] == sets["fractaldb"]
    assert sets["categories_1000"].fractaldb.num_categories == 1000
    assert sets["instances_10"].fractaldb.num_categories == 5
    assert image_set("fractaldb", **HOW | {"size": 64}).fractaldb.num_points == 16_000


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="protocols: 'linear5' is no protocol"):
        from_dict(ImageStudyConfig, {"protocols": ["linear5"]})
    with pytest.raises(ConfigError, match="rates: is empty"):
        from_dict(ImageStudyConfig, {"rates": []})
    with pytest.raises(ConfigError, match=r"finetune\.model: differs from pretrain\.model"):
        from_dict(ImageStudyConfig, TINY | {"finetune": NETWORK | {"model": {"name": "resnet18"}}})


@pytest.mark.parametrize("part", ["pretrain", "finetune"])
def test_settings_of_a_part_that_arms_and_protocols_decide_are_refused(part):
    unused = {"data": {"kind": "furniture"}, "validation": {"kind": "furniture"}, "per_class": 5, "subset_seed": 1}
    own = {"freeze_stages": 1, "init": {"checkpoint": "run"}}
    with pytest.raises(ConfigError) as error:
        from_dict(ImageStudyConfig, {part: unused | own})
    refused = [*unused, *(("init", "freeze_stages") if part == "finetune" else ())]
    assert [key for key, _ in error.value.problems] == [f"{part}.{name}" for name in refused]


@pytest.mark.parametrize("name", ["laptop", "laptop_vit"])
def test_recipes_of_the_study_fit_themselves(name):
    config = load(ImageStudyConfig, find_recipe(f"image_study/{name}"))
    assert config.pretrain.model == config.finetune.model
    assert config.pretrain.view == config.finetune.view


def test_given_weights_are_measured_and_deepcluster_makes_its_own_labels(tmp_path):
    pytest.importorskip("faiss")
    pytest.importorskip("lightly")
    config = from_dict(ImageStudyConfig, TINY | {"protocols": ("frozen2",), "num_instances": 4})
    made = run_image_study(config, tmp_path / "study", seeds=[0, 1], arms=["deepcluster", "bezier"], progress=str)
    settings = load_checkpoint(tmp_path / "study" / "pretrained" / "deepcluster_seed0" / "last.safetensors").settings
    assert settings["method"] == {"kind": "deepcluster", "clusters": 6}
    mine = {"mine": str(tmp_path / "study" / "pretrained" / "bezier_seed{seed}")}
    result = run_image_study(config, tmp_path / "mine", seeds=[0, 1], weights=mine, progress=str)
    assert result.runs == {"scratch": made.runs["scratch"], "mine": made.runs["bezier"]}
    assert not (tmp_path / "mine" / "sets").exists()
    with pytest.raises(ValueError, match="the weights named bezier would replace arms"):
        run_image_study(config, tmp_path / "mine", weights={"bezier": mine["mine"]})
    other = tmp_path / "other.safetensors"
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(4, 4)}, other)
    with pytest.raises(ValueError, match=r"other\.safetensors: nothing to transfer"):
        run_image_study(config, tmp_path / "late", seeds=[0], weights={"other": str(other)})
    assert not (tmp_path / "late").exists()
    with pytest.raises(FileNotFoundError, match="bezier_seed2"):
        run_image_study(config, tmp_path / "mine", seeds=[2], weights=mine)
