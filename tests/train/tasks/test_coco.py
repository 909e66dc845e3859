"""Mask R-CNN on folders in COCO's format: trained, judged by pycocotools, and what is wrong with a file said."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pycocotools import mask as coder
from safetensors.torch import load_file

from pcfdsl.config import ConfigError, load
from pcfdsl.evaluate.coco import coco_precision
from pcfdsl.readers.coco import mask_of, read_coco
from pcfdsl.samples.coco import CocoPictures, collate_coco
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.coco import CocoConfig, coco_task, train_coco
from pcfdsl.train.tasks.self_supervised.settings import SelfSupervisedConfig
from pcfdsl.train.tasks.self_supervised.task import train_self_supervised

CATEGORIES = [{"id": 3, "name": "bar"}, {"id": 17, "name": "tent"}]  # ids with gaps, as COCO's


def outlined(polygon, number):
    """The same outline as polygons, as plain run lengths, or as compressed ones."""
    if number % 3 == 0:
        return [polygon]
    packed = coder.frPyObjects([polygon], 64, 64)[0]
    packed["counts"] = packed["counts"].decode()
    if number % 3 == 1:
        return packed
    flat = coder.decode(packed).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return {"size": [64, 64], "counts": np.diff([0, *ends, len(flat)]).tolist()}


def write_split(root, split, num, *, seed=0):
    """Pictures with one or two shapes each, bars orange and tents blue, and their annotations."""
    rng = np.random.default_rng(seed)
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for k in range(num):
        picture = Image.fromarray(rng.integers(0, 40, (64, 64, 3), np.uint8))
        for side in range(1 + k % 2):
            x, y = (2 + 32 * side + rng.integers(0, 6), rng.integers(4, 34))
            w, h, tent = 22, 24, bool(rng.integers(2))
            x, y = int(x), int(y)
            polygon = [x, y + h, x + w, y + h, x + w // 2, y] if tent else [x, y, x + w, y, x + w, y + h, x, y + h]
            ImageDraw.Draw(picture).polygon(polygon, fill=(0, 160, 255) if tent else (255, 80, 0))
            about = {"id": len(annotations), "image_id": 100 + k, "category_id": 17 if tent else 3, "iscrowd": 0}
            outline = outlined(polygon, len(annotations))
            annotations.append(about | {"bbox": [x, y, w, h], "area": w * h, "segmentation": outline})
        picture.save(root / split / f"{k}.png")
        images.append({"id": 100 + k, "file_name": f"{k}.png", "width": 64, "height": 64})
    content = {"images": images, "annotations": annotations, "categories": [dict(category) for category in CATEGORIES]}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return content


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path / "coco", "train", 4)
    write_split(tmp_path / "coco", "val", 2, seed=1)
    return tmp_path / "coco"


def smoke(folder, **settings):
    return load(CocoConfig, "coco/smoke", [f"path={folder}", *(f"{key}={value}" for key, value in settings.items())])


def test_a_run_goes_end_to_end_from_self_supervised_weights_and_resumes(folder, tmp_path, capsys, train_until_it_fails):
    pretrained = load(SelfSupervisedConfig, "self_supervised/smoke", ["method={kind: rotation}", "train.num_steps=1"])
    train_self_supervised(pretrained, tmp_path / "pretrained")
    own = smoke(folder, **{"init.checkpoint": tmp_path / "pretrained", "train.checkpoint_every": 1})
    result = train_coco(own, tmp_path / "run").runs[0]
    source = load_file(tmp_path / "pretrained" / "last.safetensors")
    assert f"{len(source)} tensors loaded" in capsys.readouterr().err
    assert set(result.metrics) == {f"{kind}_{ap}" for kind in ("box", "mask") for ap in ("AP", "AP50", "AP75")}
    assert {"loss", "loss_mask", "loss_box_reg"} <= read_log(tmp_path / "run", kind="train")[0].keys()

    train_until_it_fails(coco_task(own), own.train, tmp_path / "stopped", after=1, error=KeyboardInterrupt())
    train_coco(own, tmp_path / "stopped")
    whole, resumed = (load_file(tmp_path / name / "last.safetensors") for name in ("run", "stopped"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_a_few_pictures_are_learned_by_heart(folder, tmp_path):
    own = smoke(folder, validation="train", **{"train.num_steps": 200, "regions": 64, "train.batch_size": 4})
    metrics = train_coco(own, tmp_path / "run").runs[0].metrics
    assert metrics["box_AP50"] > 0.5
    assert metrics["mask_AP50"] > 0.5


def test_samples_are_flipped_with_their_boxes_and_masks_and_every_outline_is_read(folder):
    pictures = CocoPictures(read_coco(folder / "annotations" / "instances_train.json"), folder / "train", seed=2)
    flips = 0
    for epoch in range(3):
        batch = collate_coco([pictures[epoch, i] for i in range(4)])
        for i, (image, target) in enumerate(zip(batch.images, batch.targets, strict=True)):
            flips += not torch.equal(image, pictures.picture(pictures.rows[i]))
            bright = image.amax(0) > 0.3
            inside = target["masks"].amax(0).bool()
            assert (inside & bright).sum() > 0.75 * (inside | bright).sum()  # Pillow fills the edges too
            for (x1, y1, x2, y2), mask, label in zip(target["boxes"], target["masks"], target["labels"], strict=True):
                rows, columns = mask.nonzero().T
                found = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
                torch.testing.assert_close(found, torch.stack([x1, y1, x2, y2]), atol=1.5, rtol=0)
                red, blue = (image[channel][mask.bool()].mean() for channel in (0, 2))
                assert (label == 1) == (red > blue)
    assert 0 < flips < 12


def test_average_precision_of_right_and_of_no_answers(folder):
    file = read_coco(folder / "annotations" / "instances_train.json")
    right = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": a["bbox"],
            "segmentation": coder.encode(np.asfortranarray(mask_of(a, height=64, width=64))),
            "score": 0.9,
        }
        for own in file.annotations
        for a in own
    ]
    assert coco_precision(file.content, right) == pytest.approx(dict.fromkeys(coco_precision(file.content, []), 1.0))
    assert set(coco_precision(file.content, []).values()) == {0.0}
    assert set(coco_precision(file.content | {"annotations": []}, []).values()) == {None}
    other = {3: 17, 17: 3}
    wrong = [result | {"category_id": other[result["category_id"]]} for result in right]
    assert coco_precision(file.content, wrong)["box_AP50"] < 0.5


def broken(key, k, **values):
    def change(content):
        content[key][k].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "has no list 'categories'"),
        (broken("images", 1, width=0), r"images\[1\] \(id 101\) has no width and height"),
        (broken("images", 1, file_name=None), r"images\[1\] \(id 101\) has no file_name"),
        (broken("images", 1, id=100), "ids of images repeat"),
        (broken("annotations", 2, bbox=[0, 0, 1, 10**400]), r"annotations\[2\] \(id 2\) has the bbox"),
        (broken("annotations", 2, area="large"), r"annotations\[2\] \(id 2\) has the area 'large'"),
        (broken("annotations", 2, image_id=7), r"annotations\[2\] \(id 2\) is of picture 7, which is not among"),
        (broken("annotations", 2, category_id=4), r"annotations\[2\] \(id 2\) has category 4, which is not among"),
        (broken("annotations", 2, bbox=[1, 2, -3, 4]), r"annotations\[2\] \(id 2\) has the bbox \[1, 2, -3, 4\]"),
        (broken("annotations", 0, segmentation=[[1, 2, 3]]), r"annotations\[0\] \(id 0\) has polygons of which"),
        (broken("annotations", 0, segmentation=None), r"annotations\[0\] \(id 0\) has no segmentation"),
        (
            broken("annotations", 0, segmentation={"size": [64, 64], "counts": [1, 5000]}),
            r"annotations\[0\] \(id 0\) has run lengths that do not fill",
        ),
        (
            broken("annotations", 0, segmentation={"size": [64, 64], "counts": "oooo"}),
            r"annotations\[0\] \(id 0\) has run lengths that do not fill",
        ),
        (
            broken("annotations", 0, segmentation={"size": [9, 9], "counts": [81]}),
            r"annotations\[0\] \(id 0\) has run lengths of size \[9, 9\], but its picture has",
        ),
        (lambda c: c["annotations"].insert(0, 5), r"annotations\[0\] is no object of JSON"),
    ],
)
def test_a_broken_entry_is_named_with_its_file(folder, change, message):
    path = folder / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"instances_train\.json:? ?{message}"):
        read_coco(path)


def test_files_and_pictures_that_do_not_fit_are_named(folder, tmp_path):
    path = folder / "annotations" / "instances_train.json"
    file = read_coco(path)
    Image.new("RGB", (10, 20)).save(folder / "train" / "0.png")
    with pytest.raises(ValueError, match=r"0\.png has 10 x 20 pixels, but .*instances_train\.json says 64 x 64"):
        CocoPictures(file, folder / "train")[0, 0]
    (folder / "train" / "2.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks 1 of the 4 pictures of .*instances_train\.json, such as 2\.png"
    ):
        CocoPictures(file, folder / "train")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"instances_train\.json is no JSON file"):
        read_coco(path)
    content = write_split(tmp_path / "other", "val", 1)
    content["categories"][0]["name"] = "beam"
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))
    write_split(folder, "again", 1)
    with pytest.raises(ConfigError, match=r"validation: .*instances_val\.json has other categories than"):
        coco_task(smoke(folder, split="again"))
    with pytest.raises(
        ConfigError, match=r"model\.name: the last maps of vit_tiny_patch16_224 .* ViTs are not covered"
    ):
        coco_task(smoke(folder, split="again", validation="null", **{"model.name": "vit_tiny_patch16_224"}))
