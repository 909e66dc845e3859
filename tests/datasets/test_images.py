"""Pictures from every source; equal samples for equal (seed, epoch, index); errors that say what to do."""

import gzip
import pickle
import random
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pcfdsl.config import ConfigError, from_dict
from pcfdsl.datasets.images import (
    DownloadedPictures,
    FolderPictures,
    FurniturePictures,
    NpzPictures,
    RecipePictures,
    ShardPictures,
    TorchvisionPictures,
    open_pictures,
    pictures_in,
)
from pcfdsl.datasets.pictures import ArrayPictures, few_per_class
from pcfdsl.generate.images import generate_images
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.rng import stream
from pcfdsl.samples.images import (
    ImageAugmentConfig,
    ImageDataset,
    ImageViewConfig,
    collate_images,
    drawing_from,
)
from pcfdsl.train.tasks.image import ImageConfig

RECIPE = {"dataset": "bezier", "bezier": {"num_categories": 4, "num_instances": 3, "image_size": 24}}
IMAGES = np.arange(12 * 20 * 30 * 3, dtype=np.uint32).reshape(12, 20, 30, 3).astype(np.uint8)
PICTURES = ArrayPictures(IMAGES, np.arange(12) % 3)
STRONG = ImageAugmentConfig(auto_augment="rand-m9-mstd0.5-inc1", erasing=0.5)


def test_recipe_shards_and_folder_give_the_same_pictures(tmp_path):
    config = from_dict(ImageSetConfig, RECIPE)
    generate_images(config, tmp_path / "shards")
    expected = open_images(config)
    for index, item in enumerate(expected):
        folder = tmp_path / "folder" / "train" / f"c{item.category}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.image).save(folder / f"{index:02d}.png")
    sources = [
        RecipePictures(recipe=config),
        ShardPictures(path=str(tmp_path / "shards")),
        FolderPictures(path=str(tmp_path / "folder"), split="train"),
    ]
    for source in sources:
        pictures = pickle.loads(pickle.dumps(open_pictures(source)))
        assert pictures.labels.tolist() == [item.category for item in expected]
        assert len(pictures.classes) == 4
        for i in (0, 5, 11):
            np.testing.assert_array_equal(pictures.picture(i), expected[i].image)


def test_npz_and_torchvision(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=PICTURES.labels)
    pictures = open_pictures(NpzPictures(path=str(tmp_path / "a.npz"), images_key="x", labels_key="y"))
    assert pictures.labels.tolist() == PICTURES.labels.tolist()
    np.testing.assert_array_equal(pictures.picture(5), IMAGES[5])
    cifar = tmp_path / "cifar-10-batches-py"
    cifar.mkdir()
    source = TorchvisionPictures(dataset="CIFAR10", path=str(tmp_path), split="train")
    with pytest.raises(FileNotFoundError, match="does not hold CIFAR10"):
        open_pictures(source)
    with pytest.raises(ConfigError, match="split: is 'training', but torchvision's CIFAR10 does not take it"):
        open_pictures(replace(source, split="training"))
    (tmp_path / "food").mkdir()
    Image.fromarray(IMAGES[0]).save(tmp_path / "food" / "a.png")
    source = TorchvisionPictures(dataset="ImageFolder", path=str(tmp_path))
    (cifar / "b.png").write_bytes((tmp_path / "food" / "a.png").read_bytes())
    pictures = open_pictures(source)
    assert pictures.classes == ("cifar-10-batches-py", "food")
    np.testing.assert_array_equal(pictures.picture(1), IMAGES[0])


def test_sets_as_they_are_downloaded_and_furniture(tmp_path):
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2, 4, 4) + bytes(range(32)))
        )
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\1\0")
    train, test = pictures_in(tmp_path)
    assert (train, test) == tuple(DownloadedPictures(path=str(tmp_path), split=split) for split in ("train", "test"))
    pictures = open_pictures(test)
    assert (pictures.labels.tolist(), pictures.classes) == ([1, 0], ("0", "1"))
    np.testing.assert_array_equal(pictures.picture(1), np.arange(16, 32, dtype=np.uint8).reshape(4, 4))
    pictures = open_pictures(FurniturePictures(split="val", size=8, num_per_class=2))
    assert len(pictures.labels) == 20
    assert pictures.picture(19).shape == (8, 8, 3)
    with pytest.raises(FileNotFoundError, match="has no train part of a known set"):
        open_pictures(DownloadedPictures(path=str(tmp_path / "none")))


@given(st.integers(1, 9), st.integers(0, 3))
def test_subsets_are_nested_and_balanced(per_class, seed):
    labels = np.repeat(np.arange(4), 10)
    small, large = (few_per_class(labels, per_class=k, seed=seed) for k in (per_class, per_class + 1))
    assert set(small) < set(large)
    assert np.bincount(labels[small]).tolist() == [per_class] * 4


@pytest.mark.parametrize(
    "augment", [STRONG, ImageAugmentConfig(kind="crop", pad=4), None], ids=["timm", "crop", "none"]
)
def test_a_sample_depends_only_on_seed_epoch_and_index(augment):
    def sample(seed, epoch, i):
        dataset = ImageDataset(PICTURES, view=ImageViewConfig(size=16), augment=augment, seed=seed)
        return dataset[epoch, i][0]

    first = sample(0, 0, 3)
    random.seed(5)
    torch.manual_seed(5)
    sample(0, 1, 4)
    assert torch.equal(sample(0, 0, 3), first)
    assert first.shape == (3, 16, 16)
    others = [sample(1, 0, 3), sample(0, 1, 3)]
    assert all(torch.equal(other, first) == (augment is None) for other in others)


def test_global_generators_are_restored():
    states = random.getstate(), torch.get_rng_state()
    with drawing_from(stream(0, "x")):
        drawn = random.random(), torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    with drawing_from(stream(0, "x")):
        assert (random.random(), torch.rand(1).item(), np.random.rand()) == drawn  # noqa: NPY002


def test_a_crop_is_a_window_of_the_picture():
    view = ImageViewConfig(size=8, mean=(0.0,), std=(1.0,))
    dataset = ImageDataset(PICTURES, view=view, augment=ImageAugmentConfig(kind="crop", hflip=0.5))
    flipped = 0
    for epoch in range(20):
        found = (dataset[epoch, 2][0].permute(1, 2, 0) * 255).round().byte().numpy()
        windows = np.lib.stride_tricks.sliding_window_view(IMAGES[2], (8, 8, 3)).reshape(-1, 8, 8, 3)
        straight, mirrored = ((windows == image).all((1, 2, 3)).any() for image in (found, found[:, ::-1]))
        assert straight or mirrored
        flipped += mirrored and not straight
    assert 0 < flipped < 20


def test_channels_and_batches():
    grey = ArrayPictures(IMAGES[..., 0], PICTURES.labels)
    for pictures in (grey, PICTURES):
        for channels in (1, 3):
            dataset = ImageDataset(pictures, view=ImageViewConfig(size=16, channels=channels))
            batch = collate_images([dataset[0], dataset[1]]).to("cpu")
            assert batch.images.shape == (2, channels, 16, 16)
            assert batch.labels.tolist() == [0, 1]


def test_errors_in_sources_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="path: is required by kind folder"):
        from_dict(ImageConfig, {"data": {"kind": "folder"}})
    with pytest.raises(ConfigError, match="dataset: belongs to kind torchvision, but kind is npz"):
        from_dict(ImageConfig, {"data": {"kind": "npz", "path": "a.npz", "dataset": "CIFAR10"}})
    with pytest.raises(ConfigError, match="train_fraction: is 0"):
        ImageConfig(train_fraction=0.0)
    with pytest.raises(ConfigError, match="expected 1 or 3, one per channel"):
        ImageViewConfig(mean=(0.5, 0.5))
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_pictures(FolderPictures(path=str(tmp_path / "none")))
    with pytest.raises(ValueError, match="no sub-folders"):
        open_pictures(FolderPictures(path=str(tmp_path)))
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="without pictures: a"):
        open_pictures(FolderPictures(path=str(tmp_path)))
    (tmp_path / "a" / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"x\.png: cannot be read as a picture"):
        open_pictures(FolderPictures(path=str(tmp_path)))
    (tmp_path / "a").rename(tmp_path / "Test")
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="the sub-folders Test, train: splits, not classes; choose one by split"):
        open_pictures(FolderPictures(path=str(tmp_path)))
    with pytest.raises(ValueError, match="class 0 has 4 pictures, fewer than 5"):
        few_per_class(PICTURES.labels, per_class=5)
    with pytest.raises(ValueError, match="expected uint8"):
        ArrayPictures(IMAGES.astype(np.float32), PICTURES.labels)
    with pytest.raises(ConfigError, match="torchvision has no set 'Nothing'"):
        open_pictures(TorchvisionPictures(dataset="Nothing", path=str(tmp_path)))
    np.savez(tmp_path / "b.npz", x=IMAGES)
    with pytest.raises(ValueError, match="has no array images, labels; it has x"):
        open_pictures(NpzPictures(path=str(tmp_path / "b.npz")))


def test_what_systems_leave_is_no_picture_and_no_class_and_bad_files_are_named_at_once(tmp_path, capsys):
    for name in ("a/x.PNG", "b/y.png", "@eaDir/thumb.png", "__MACOSX/a/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    for name in ("a/._x.png", "b/text.png"):
        (tmp_path / name).write_bytes(b"no picture")
    pictures = open_pictures(FolderPictures(path=str(tmp_path)))
    assert (pictures.classes, pictures.labels.tolist()) == (("a", "b"), [0, 1])
    said = capsys.readouterr().err
    assert "1 of the files" in said
    assert "b/text.png: cannot be read" in said


def test_files_of_a_folder_that_are_no_pictures_are_counted(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a" / "x.jfif", format="JPEG")
    (tmp_path / "a" / "y.heic").write_bytes(b"ftypheic")
    assert len(open_pictures(FolderPictures(path=str(tmp_path))).labels) == 1
    assert "note: 1 files in" in capsys.readouterr().err
