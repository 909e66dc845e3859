"""Features of clouds by trained backbones."""

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.run_folder import save_checkpoint
from pcfdsl.config import from_dict, to_dict
from pcfdsl.infer.features import extract_features, load_backbone
from pcfdsl.models.detector import build_detector
from pcfdsl.models.votenet import VoteNet
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.view.features import feature_items, nearest_clouds, pca_colors

SMALL = {
    "num_proposals": 8,
    "backbone": {
        "num_centers": [64, 32, 16, 8],
        "num_neighbors": [8, 8, 8, 8],
        "mlps": [[8, 16], [16, 16], [16, 16], [16, 16]],
        "fp_widths": [[16], [16, 12]],
    },
}
SRUNET = {
    "backbone_type": "srunet",
    "srunet": {
        "voxel_size": 0.1,
        "net": {"stem_planes": 8, "planes": [8] * 8, "layers": [1] * 8, "out_channels": 8},
    },
}


def save_run(folder, model, points):
    """A run as training leaves it, with random weights."""
    config = from_dict(DetectorConfig, {"model": model, "points": points})
    torch.manual_seed(0)
    save_checkpoint(folder, "last", model=VoteNet(config.model), settings=to_dict(config), step=1, metrics={})
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def room(rng):
    return rng.random((300, 3), np.float32) * 3


def test_every_point_gets_what_the_network_describes(tmp_path, room):
    extractor = load_backbone(save_run(tmp_path, SMALL, {"num_points": 300}), device="cpu")
    features = extractor(room)
    assert features.shape == (300, 12)
    assert features.dtype == np.float32
    seeds = extractor.backbone.describe(torch.from_numpy(extractor._sample(room, None, 0))[None])
    at_seed = np.abs(room[:, None] - seeds.xyz.numpy()).sum(2).argmin(0)
    np.testing.assert_allclose(features[at_seed], seeds.features.detach().numpy(), atol=1e-4)
    assert extractor(room, per="cloud").shape == (12,)


def test_srunet_gives_a_point_the_features_of_its_nearest_voxel(tmp_path, room):
    run = save_run(tmp_path, SRUNET, {"num_points": 300, "use_height": False})
    extractor = load_backbone(run, device="cpu")
    features = extractor(room)
    described = extractor.backbone.describe(torch.from_numpy(extractor._sample(room, None, 0))[None])
    owner = np.linalg.norm(room[:, None] - described.xyz.numpy(), axis=2).argmin(1)
    np.testing.assert_allclose(features, described.features.detach().numpy()[owner], atol=1e-5)


@pytest.mark.parametrize("upsampling", ["generated", "encoder"])
def test_tr3d_gives_a_point_the_features_of_the_voxels_it_lies_in(tmp_path, room, upsampling):
    model = {
        "detector": "tr3d",
        "voxel_size": 0.05,
        "stem_channels": 4,
        "stem_pool": False,
        "planes": [4, 6, 8],
        "layers": [1, 1, 1],
        "neck_channels": 5,
        "upsampling": upsampling,
    }
    config = from_dict(DetectorConfig, {"model": model, "points": {"num_points": 300, "use_height": False}})
    torch.manual_seed(0)
    network = build_detector(config.model).eval()
    save_checkpoint(tmp_path, "last", model=network, settings=to_dict(config), step=1, metrics={})
    extractor = load_backbone(tmp_path, device="cpu")
    room = room - 1  # some below zero
    features = extractor(room)
    assert features.shape == (300, 10)
    seen = torch.from_numpy(extractor._sample(room, None, 0))[None]
    output = []
    network.bbox_head.register_forward_pre_hook(lambda _, inputs: output.extend(inputs[0]))
    with torch.no_grad():
        network(seen)
    for number, edge in ((0, 0.2), (1, 0.4)):  # strides 4 and 8
        rows = {tuple(c): row for row, c in enumerate(output[number].voxels.coordinates[:, 1:].tolist())}
        corners = np.floor(np.floor(room / 0.05) / (edge / 0.05)).astype(int) * round(edge / 0.05)
        expected = output[number].features[[rows[tuple(corner)] for corner in corners.tolist()]].numpy()
        own = features[:, 5 * number : 5 * number + 5]
        kept = extractor.backbone.describe(seen).point_idx  # others share a voxel, or are nearer to another's point
        chosen = np.abs(room[:, None] - seen[0, kept].numpy()).sum(2).argmin(0)
        np.testing.assert_allclose(own[chosen], expected[chosen], rtol=1e-4, atol=1e-5)
    assert extractor(room, per="cloud").shape == (10,)
    assert extractor(room[:2]).shape == (2, 10)
    (item,) = feature_items([room], [features], names=["room"])
    assert item.colors.shape == (300, 3)


def test_a_small_cloud_and_a_large_one(tmp_path, room, rng):
    extractor = load_backbone(save_run(tmp_path, SMALL, {"num_points": 128}), device="cpu")
    assert extractor(room[:2]).shape == (2, 12)
    assert extractor(rng.random((1000, 3), np.float32)).shape == (1000, 12)


def test_colours_are_asked_for_where_the_network_needs_them(tmp_path, room):
    model = {**SMALL, "backbone": {**SMALL["backbone"], "input_channels": 4}}
    extractor = load_backbone(save_run(tmp_path, model, {"num_points": 64, "use_color": True}), device="cpu")
    with pytest.raises(ValueError, match=r"trained with colours; expected colors \[300, 3\], there are none"):
        extractor(room)
    assert extractor(room, room / 3).shape == (300, 12)
    with pytest.raises(ValueError, match=r"points has shape \(0, 3\)"):
        extractor(room[:0])


def test_files_and_folders_and_one_that_cannot_be_read(tmp_path, room):
    extractor = load_backbone(save_run(tmp_path / "run", SMALL, {"num_points": 64}), device="cpu")
    scans = tmp_path / "scans"
    scans.mkdir()
    np.save(scans / "a.npy", room)
    np.save(scans / "b.npy", room[:100])
    (scans / "c.npy").write_bytes(b"not an array")
    (scans / "._a.npy").write_bytes(b"what a Mac leaves beside a.npy")
    found = extract_features(extractor, [scans], tmp_path / "out")
    assert [path.name for path in found.paths] == ["a.npy", "b.npy"]
    assert list(found.skipped) == [str(scans / "c.npy")]
    np.save(tmp_path / "mm.npy", 1000 * room)
    assert "are these metres?" in extract_features(extractor, [tmp_path / "mm.npy"], tmp_path / "mm").notes[0]
    stored = np.load(tmp_path / "out" / "b.npz")
    np.testing.assert_array_equal(stored["points"], room[:100])
    np.testing.assert_array_equal(stored["features"], extractor(room[:100]))
    extract_features(extractor, [scans], tmp_path / "clouds.npz", per="cloud")
    stored = np.load(tmp_path / "clouds.npz")
    assert stored["names"].tolist() == ["a.npy", "b.npy"]
    assert stored["features"].shape == (2, 12)
    with pytest.raises(ValueError, match=r"c\.npy"):
        extract_features(extractor, [scans / "c.npy"], tmp_path / "none")
    with pytest.raises(FileExistsError, match="several clouds are called a"):
        extract_features(extractor, [scans / "a.npy"] * 2, tmp_path / "out")


def test_a_run_without_a_backbone_for_points_is_refused(tmp_path):
    settings = {"model": {"name": "vit"}}
    save_checkpoint(tmp_path, "last", model=torch.nn.Linear(1, 1), settings=settings, step=1, metrics={})
    with pytest.raises(ValueError, match="has no backbone for point clouds"):
        load_backbone(tmp_path)


def test_colours_follow_the_main_component(rng):
    along = np.linspace(0, 1, 200)[:, None] * rng.normal(size=8) * 10 + rng.normal(size=(200, 8)) * 0.01
    red = pca_colors(along)[10:-10:10, 0].astype(int)
    assert len(set(np.sign(np.diff(red)))) == 1


def test_neighbours_are_the_most_alike(rng):
    centres = rng.normal(size=(3, 16))
    features = np.repeat(centres, 4, axis=0) + rng.normal(size=(12, 16)) * 0.01
    group = np.arange(12) // 4
    assert (group[nearest_clouds(features, num=3)] == group[:, None]).all()
    items = feature_items([rng.random((5, 3))] * 12, list(features), names=list("abcdefghijkl"))
    assert len(items) == 12 * 5
    assert items[0].caption == "a"
    assert items[1].caption in ("like a: b", "like a: c", "like a: d")
