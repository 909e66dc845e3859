"""Backbones in torchvision's detectors, which learn a tiny COCO-format set; exported ResNets give the same maps."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import MultiScaleRoIAlign

from pcfdsl.checkpoints.run_folder import save_checkpoint
from pcfdsl.config import from_dict
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.infer.detector import load_detector
from pcfdsl.infer.image import PyramidBackbone, export_torchvision_backbone, load_image_classifier
from pcfdsl.train.tasks.image import ImageConfig, image_task


def write_coco(folder, rng):
    """Four pictures with one or two rectangles or triangles each, and their annotations as COCO writes them."""
    images, annotations = [], []
    for k in range(4):
        picture = Image.fromarray(rng.integers(0, 40, (64, 64, 3), np.uint8))
        for _ in range(1 + k % 2):
            x, y = rng.integers(2, 30, 2).tolist()
            w, h, category = 24, 20, int(rng.integers(1, 3))
            polygon = [x, y, x + w, y, x + w, y + h] + ([x, y + h] if category == 1 else [])
            ImageDraw.Draw(picture).polygon(polygon, fill=(255, 80, 0) if category == 1 else (0, 160, 255))
            box = {"bbox": [x, y, w, h], "category_id": category, "segmentation": [polygon], "iscrowd": 0}
            annotations.append({"id": len(annotations), "image_id": k, "area": w * h, **box})
        picture.save(folder / f"{k}.png")
        images.append({"id": k, "file_name": f"{k}.png", "width": 64, "height": 64})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
    (folder / "instances.json").write_text(json.dumps(content))


def read_coco(folder):
    """(images, targets) as torchvision's detectors take them."""
    content = json.loads((folder / "instances.json").read_text())
    images, targets = [], []
    for entry in content["images"]:
        own = [a for a in content["annotations"] if a["image_id"] == entry["id"]]
        masks = []
        for annotation in own:
            mask = Image.new("1", (entry["width"], entry["height"]))
            for polygon in annotation["segmentation"]:
                ImageDraw.Draw(mask).polygon(polygon, fill=1)
            masks.append(np.array(mask))
        corners = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)]
        images.append(torch.from_numpy(np.array(Image.open(folder / entry["file_name"]))).permute(2, 0, 1) / 255)
        targets.append(
            {
                "boxes": torch.tensor(corners, dtype=torch.float32),
                "labels": torch.tensor([a["category_id"] for a in own]),
                "masks": torch.tensor(np.array(masks), dtype=torch.uint8),
            }
        )
    return images, targets


@pytest.mark.parametrize(
    ("name", "keywords"),
    [("test_resnet", {}), ("vit_tiny_patch16_224", {"img_size": 64, "embed_dim": 24, "depth": 4, "num_heads": 2})],
)
def test_mask_rcnn_learns_on_a_backbone_of_timm(tmp_path, name, keywords):
    write_coco(tmp_path, np.random.default_rng(0))
    images, targets = read_coco(tmp_path)
    torch.manual_seed(0)
    backbone = PyramidBackbone(timm.create_model(name, **keywords), channels=32)
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    pooling = {"featmap_names": ["0", "1", "2", "3"], "sampling_ratio": 2}
    model = MaskRCNN(
        backbone,
        num_classes=3,
        min_size=64,
        max_size=64,
        fixed_size=(64, 64),
        box_roi_pool=MultiScaleRoIAlign(output_size=7, **pooling),
        mask_roi_pool=MultiScaleRoIAlign(output_size=14, **pooling),
        rpn_pre_nms_top_n_train=100,
        rpn_post_nms_top_n_train=50,
        box_batch_size_per_image=32,
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for _ in range(6):
        loss = torch.stack(list(model(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]
    body = {n: p.grad for n, p in model.backbone.body.named_parameters() if p.grad is not None}
    assert any(gradient.abs().sum() > 0 for gradient in body.values())
    found = model.eval()(images[:1])[0]
    assert {"boxes", "labels", "scores", "masks"} == found.keys()


def trained_run(folder, name):
    pictures = ArrayPictures(np.zeros((4, 32, 32), np.uint8), np.arange(4) % 2)
    run = {"num_steps": 1, "batch_size": 4, "sinks": ()}
    task = image_task(from_dict(ImageConfig, {"view": {"size": 32}, "model": {"name": name}, "train": run}), pictures)
    for module in task.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    save_checkpoint(folder, "last", model=task.model, settings=task.settings, step=0, metrics={})
    return load_image_classifier(folder, device="cpu").model


def test_an_exported_resnet_is_the_body_of_torchvisions_pyramid(tmp_path):
    network = trained_run(tmp_path, "resnet18")
    out = export_torchvision_backbone(tmp_path, tmp_path / "body.safetensors")
    detector = nn.Module()
    detector.backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=5, norm_layer=nn.BatchNorm2d
    ).eval()
    report = detector.load_state_dict(load_file(out), strict=False)
    assert report.unexpected_keys == []
    body = [name for name in report.missing_keys if ".body." in name]
    assert all(name.endswith("num_batches_tracked") for name in body)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = list(detector.backbone.body(image).values())
        ours = network.forward_intermediates(image, indices=[1, 2, 3, 4], intermediates_only=True)
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(a, b)


def test_other_networks_are_pointed_to_the_pyramid(tmp_path):
    trained_run(tmp_path, "test_resnet")
    with pytest.raises(ValueError, match="PyramidBackbone"):
        export_torchvision_backbone(tmp_path, tmp_path / "body.safetensors")
    with pytest.raises(ValueError, match=r"resnet18 of its own shape \(torchvision's backbone.body.conv1.weight is"):
        export_torchvision_backbone("resnet-small-fractaldb", tmp_path / "body.safetensors")
    with pytest.raises(FileNotFoundError):
        export_torchvision_backbone(tmp_path / "none", tmp_path / "body.safetensors")
    assert not (tmp_path / "body.safetensors").exists()


def test_a_network_of_another_task_is_named():
    with pytest.raises(ValueError, match=r"is not an image network's checkpoint: it is of --task detection"):
        load_image_classifier("votenet-pointnet2-fractal")
    with pytest.raises(ValueError, match=r"is not a detector's checkpoint: it is of --task image"):
        load_detector("resnet-small-fractaldb")
