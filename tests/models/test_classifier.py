import pytest
import torch
import torch.nn.functional as F

from pcfdsl.checkpoints.start import transfer
from pcfdsl.models.backbone import SRUNetSettings
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.models.srunet import SRUNetConfig
from pcfdsl.models.votenet import VoteNet, VoteNetConfig

NARROW = SRUNetSettings(
    voxel_size=0.2, num_seeds=8, net=SRUNetConfig(planes=(8, 8, 8, 16, 8, 8, 8, 8), layers=(1,) * 8, out_channels=8)
)


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


def test_srunet_hands_its_way_down_to_a_detector_and_back():
    classifier = PointCloudClassifier(ClassifierConfig(backbone_type="srunet", srunet=NARROW))
    detector = VoteNet(VoteNetConfig(num_proposals=4, backbone_type="srunet", srunet=NARROW))
    own = {name for name in classifier.state_dict() if name.startswith("backbone_net.")}
    assert set(transfer(detector, classifier.state_dict()).loaded) == own
    other = PointCloudClassifier(classifier.config)
    report = transfer(other, detector.state_dict())
    assert set(report.loaded) == own
    assert not report.missing
    classifier.eval()
    other.eval()
    points = torch.rand(3, 100, 3)
    torch.testing.assert_close(other.backbone_net(points), classifier.backbone_net(points))


def test_srunet_classifies_each_cloud_by_itself():
    classifier = PointCloudClassifier(ClassifierConfig(num_classes=5, backbone_type="srunet", srunet=NARROW)).eval()
    points = torch.rand(4, 100, 3)
    together = classifier(points)
    assert together.shape == (4, 5)
    torch.testing.assert_close(together, torch.cat([classifier(cloud[None]) for cloud in points]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"points\.use_height=false"):
        classifier(torch.rand(4, 100, 4))
