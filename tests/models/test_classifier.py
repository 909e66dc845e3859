import torch
import torch.nn.functional as F

from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier


def test_shapes_can_be_told_apart(tiny_config):
    """Spheres against cubes against discs, over-fitted in seconds."""
    directions = F.normalize(torch.randn(12, 256, 3), dim=-1)
    points = directions.clone()
    points[4:8] = directions[4:8] / directions[4:8].abs().amax(-1, keepdim=True)
    points[8:, :, 2] = 0
    clouds = torch.cat([points, points[..., 2:]], -1)
    labels = torch.arange(12) // 4
    classifier = PointCloudClassifier(ClassifierConfig(num_classes=3, num_hidden=32, backbone=tiny_config.backbone))
    optimizer = torch.optim.Adam(classifier.parameters(), 3e-3)
    for _ in range(30):
        loss = F.cross_entropy(classifier(clouds), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (classifier(clouds).argmax(1) == labels).all()
    assert all(parameter.grad is not None for parameter in classifier.parameters())


def test_under_bfloat16_logits_are_float32(tiny_config):
    classifier = PointCloudClassifier(ClassifierConfig(num_classes=3, backbone=tiny_config.backbone))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = classifier(torch.rand(2, 200, 4))
    assert logits.shape == (2, 3)
    assert logits.dtype == torch.float32
