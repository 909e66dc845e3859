import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.datasets.mmdetection3d import open_mmdetection3d
from pcfdsl.datasets.scannet import read_scan
from pcfdsl.datasets.sources import MMDetection3DSource, VoteNetSource, open_scenes
from pcfdsl.datasets.spec import SCANNET, SUNRGBD, split_names
from pcfdsl.datasets.votenet import open_votenet
from pcfdsl.scene.boxes import Scene, overlap_votes, points_in_boxes, votes

RAW = Path(__file__).resolve().parents[1] / "golden" / "scannet_raw_synthetic"
TABLE = {"wall": 1, "chair": 5, "office chair": 5, "table": 7, "toilet": 33, "lamp": 35}
SCAN = split_names(SCANNET, "train")[2]


@pytest.fixture
def raw_scene(tmp_path) -> Scene:
    folder = tmp_path / "scene9999_00"
    folder.symlink_to(RAW)
    return read_scan(folder, TABLE).scene


@pytest.fixture
def votenet_scans(golden, tmp_path) -> Path:
    """The files of VoteNet's preparation for the synthetic scan."""
    measured = golden("votenet_scannet_labels.npz")
    folder = tmp_path / "scannet_train_detection_data"
    folder.mkdir()
    np.save(folder / f"{SCAN}_vert.npy", measured["export/out_vertices"])
    np.save(folder / f"{SCAN}_sem_label.npy", measured["export/out_semantic"])
    np.save(folder / f"{SCAN}_ins_label.npy", measured["export/out_instance"])
    np.save(folder / f"{SCAN}_bbox.npy", measured["item/bbox_kept"])
    return folder


@pytest.fixture
def votenet_images(golden, tmp_path) -> Path:
    """The files of VoteNet's preparation for an image with overlapping boxes."""
    measured = golden("votenet_sunrgbd_labels.npz")
    folder = tmp_path / "sunrgbd_pc_bbox_votes_50k_v1_train"
    folder.mkdir()
    np.savez_compressed(folder / "000123_pc.npz", pc=measured["out_pc"])
    np.save(folder / "000123_bbox.npy", measured["out_bbox"])
    np.savez_compressed(folder / "000123_votes.npz", point_votes=measured["out_point_votes"])
    return folder


def assert_equal(a: Scene, b: Scene) -> None:
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


def test_a_scan_of_votenet_is_the_scan_prepared_here(votenet_scans, raw_scene):
    scenes = pickle.loads(pickle.dumps(open_votenet(votenet_scans)))
    assert scenes.names == (SCAN,)
    assert scenes.classes == SCANNET.classes
    assert len(scenes.missing) == 1200
    assert_equal(scenes[0], raw_scene)
    # a selection of the vertices, like VoteNet's 50,000: each object still finds its box
    kept = np.random.default_rng(0).permutation(len(raw_scene.points))[:400]
    for kind in ("vert", "sem_label", "ins_label"):
        path = votenet_scans / f"{SCAN}_{kind}.npy"
        np.save(path, np.load(path)[kept])
    np.testing.assert_array_equal(scenes[0].instance_ids, raw_scene.instance_ids[kept])


def test_an_image_of_votenet_has_its_votes(golden, votenet_images):
    measured = golden("votenet_sunrgbd_labels.npz")
    (scene,) = open_votenet(votenet_images)
    np.testing.assert_array_equal(scene.points, measured["out_pc"][:, :3].astype(np.float32))
    np.testing.assert_array_equal(scene.arrays()["colors"], measured["out_pc"][:, 3:].astype(np.float32))
    offsets, mask = overlap_votes(scene.points, scene.boxes)
    published = measured["out_point_votes"]
    np.testing.assert_array_equal(mask, published[:, 0] > 0)
    np.testing.assert_allclose(offsets.reshape(-1, 9), published[:, 1:], atol=1e-6)
    np.testing.assert_array_equal(scene.categories, measured["out_bbox"][:, 7])
    np.testing.assert_array_equal((scene.instance_ids >= 0), mask)
    with pytest.raises(ValueError, match="is not the folder of the split val"):
        open_votenet(votenet_images, "val")


def info_files(version: str, scene: Scene, *, aligned: bool) -> dict:
    """The entry of an info file for a scene."""
    boxes = scene.boxes[:, : 6 if aligned else 7]
    extra = {"pts_instance_mask_path": "x/one.bin", "pts_semantic_mask_path": "x/one.bin"} if aligned else {}
    matrix = {"axis_align_matrix": np.eye(4)} if aligned else {}
    if version == "1.1":
        objects = [
            {"bbox_3d": box, "bbox_label_3d": k}
            for box, k in zip(boxes.tolist(), scene.categories.tolist(), strict=True)
        ]
        return {"lidar_points": {"lidar_path": "one.bin", "num_pts_feats": 6}, "instances": objects, **extra, **matrix}
    labels = {"gt_num": len(boxes), "class": scene.categories, "gt_boxes_upright_depth": boxes.astype(np.float64)}
    labels["name"] = np.array([str(k) for k in scene.categories])
    if not len(boxes):
        labels = {"gt_num": 0}
    return {
        "point_cloud": {"num_features": 6, "lidar_idx": "one"},
        "pts_path": "points/one.bin",
        **extra,
        "annos": {**labels, **matrix},
    }


def write_mmdetection3d(folder: Path, version: str, scene: Scene, *, aligned: bool) -> Path:
    for kind in ("points", "instance_mask", "semantic_mask"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    scale = 255 if aligned else 1
    assert scene.colors is not None
    np.concatenate([scene.points, scene.colors * np.float32(scale)], axis=1).tofile(folder / "points" / "one.bin")
    if aligned:
        ids = np.array([*SCANNET.source_ids, 0])
        (scene.instance_ids + 1).astype(np.int64).tofile(folder / "instance_mask" / "one.bin")
        ids[scene.point_categories].astype(np.int64).tofile(folder / "semantic_mask" / "one.bin")
    entry = info_files(version, scene, aligned=aligned)
    content = {"metainfo": {"DATASET": "X"}, "data_list": [entry]} if version == "1.1" else [entry]
    path = folder / f"{'scannet' if aligned else 'sunrgbd'}_infos_train.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    return path


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_folders_of_mmdetection3d(raw_scene, votenet_images, tmp_path, version):
    for aligned, scene in ((True, raw_scene), (False, open_votenet(votenet_images)[0])):
        folder = tmp_path / f"{version}_{aligned}"
        write_mmdetection3d(folder, version, scene, aligned=aligned)
        scenes = pickle.loads(pickle.dumps(open_mmdetection3d(folder)))
        assert scenes.names == ("one",)
        assert scenes.spec == (SCANNET if aligned else SUNRGBD)
        read = scenes[0]
        for name in ("points", "boxes", "categories", "instance_ids", "colors"):
            np.testing.assert_allclose(read.arrays()[name], scene.arrays()[name], atol=1e-6)
        empty = Scene(
            points=scene.points,
            boxes=np.zeros((0, 7)),
            categories=np.zeros(0),
            instance_ids=np.full(len(scene.points), -1),
            colors=scene.colors,
        )
        write_mmdetection3d(folder, version, empty, aligned=aligned)
        assert open_mmdetection3d(folder)[0].boxes.shape == (0, 7)


def test_classes_in_another_order_are_told_by_their_names(raw_scene, tmp_path):
    """Info files of version 1.1 say which number is which class (tr3d#34: preparations differ)."""
    path = write_mmdetection3d(tmp_path, "1.1", raw_scene, aligned=True)
    content = pickle.loads(path.read_bytes())
    turned = [*reversed(SCANNET.classes)]
    named = {name.replace("showercurtain", "shower curtrain"): k for k, name in enumerate(turned)}
    for instance in content["data_list"][0]["instances"]:
        instance["bbox_label_3d"] = turned.index(SCANNET.classes[instance["bbox_label_3d"]])
    path.write_bytes(pickle.dumps(content | {"metainfo": {"categories": named}}))
    np.testing.assert_array_equal(open_mmdetection3d(tmp_path)[0].categories, raw_scene.categories)
    for wrong in ({"car": 0}, {"bed": 1}, {"bed": "first"}, {"bed": 0}):
        path.write_bytes(pickle.dumps(content | {"metainfo": {"categories": wrong}}))
        with pytest.raises(ValueError, match=r"expected those of ScanNetV2|has 0 to 0"):
            open_mmdetection3d(tmp_path)


def test_training_opens_them_by_their_kind(votenet_scans, votenet_images, raw_scene, tmp_path, capsys):
    write_mmdetection3d(tmp_path / "mm", "1.1", raw_scene, aligned=True)
    for source, folder, spec in (
        (VoteNetSource, votenet_scans, SCANNET),
        (VoteNetSource, votenet_images, SUNRGBD),
        (MMDetection3DSource, tmp_path / "mm", SCANNET),
    ):
        scenes = open_scenes(source(folder=str(folder)))
        assert scenes.classes == spec.classes
        assert len(scenes.scenes) == 1
    assert "1200 scenes of train are missing" in capsys.readouterr().err


def test_errors_name_the_file(votenet_scans, votenet_images, raw_scene, tmp_path):
    def refused(folder, message, error: type[Exception] = ValueError, read=open_votenet):
        with pytest.raises(error, match=message):
            read(folder)[0]

    path = votenet_scans / f"{SCAN}_vert.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    refused(votenet_scans, f"{SCAN}: .*_vert.npy declares 60480 bytes")
    np.save(path, np.full((2520, 6), np.nan, np.float32))
    refused(votenet_scans, "_vert.npy holds numbers that are not finite")
    path.write_bytes(whole.replace(b"(2520, 6), }     ", b"(9999999999, 6)}"))
    refused(votenet_scans, "_vert.npy is not a valid array")
    path.write_bytes(whole)
    np.save(votenet_scans / f"{SCAN}_ins_label.npy", np.zeros(7, np.uint32))
    refused(votenet_scans, r"_ins_label.npy holds uint32 \[7\]; expected numbers \[2520\]")
    (votenet_images / "000123_pc.npz").write_bytes(b"PK no zip")
    refused(votenet_images, "_pc.npz is not a valid .npz")
    np.save(votenet_images / "000123_bbox.npy", np.array([[0, 0, 0, 1, 1, 1, 0, 10]]))
    refused(votenet_images, r"classes are \[10.0\]; SUN RGB-D has 0 to 9|_pc.npz")
    refused(tmp_path, "holds no files", error=OSError)
    refused(tmp_path / "absent", "there is no folder", error=OSError)
    refused(tmp_path, "has 0 of the info files", error=OSError, read=open_mmdetection3d)

    path = write_mmdetection3d(tmp_path / "mm", "1.1", raw_scene, aligned=True)
    good = info_files("1.1", raw_scene, aligned=True)
    for change, message in (
        ({"axis_align_matrix": None}, "entry 0: ValueError it has no axis_align_matrix"),
        ({"axis_align_matrix": [[1.0]]}, r"axis_align_matrix is \[\[1.0\]\]"),
        ({"lidar_points": {"lidar_path": 7}}, "7 is not the path of a file"),
        ({"lidar_points": {}}, "KeyError 'lidar_path'"),
        ({"instances": [{"bbox_3d": [0] * 6, "bbox_label_3d": 18}]}, "classes are"),
        ({"instances": [{"bbox_3d": [0] * 5, "bbox_label_3d": 1}]}, "cannot reshape"),
    ):
        path.write_bytes(pickle.dumps({"data_list": [good | change]}))
        refused(path, message, read=open_mmdetection3d)
    # files outside the folder are never read
    path.write_bytes(pickle.dumps({"data_list": [good | {"lidar_points": {"lidar_path": "../../one.bin"}}]}))
    assert open_mmdetection3d(path).read.keywords["entries"]["one"].points == "one.bin"  # type: ignore[attr-defined]
    path.write_bytes(pickle.dumps(print))
    refused(path, "infos_train.pkl is not a pickle of plain data", read=open_mmdetection3d)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)
FIELDS = (
    *("lidar_points", "instances", "axis_align_matrix", "pts_instance_mask_path", "point_cloud", "pts_path", "annos"),
    *("lidar_path", "num_pts_feats", "bbox_3d", "bbox_label_3d", "gt_num", "class", "gt_boxes_upright_depth"),
)


@given(st.sampled_from(["1.0", "1.1"]), st.sampled_from(FIELDS), VALUES)
def test_info_files_of_any_content_are_read_or_refused(tmp_path_factory, version, field, value):
    folder = tmp_path_factory.mktemp("infos")
    scene = Scene(
        points=np.zeros((4, 3)),
        boxes=np.array([[0, 0, 0, 1, 1, 1, 0]]),
        categories=np.array([2]),
        instance_ids=np.zeros(4),
        colors=np.zeros((4, 3)),
    )
    path = write_mmdetection3d(folder, version, scene, aligned=True)
    entry = info_files(version, scene, aligned=True)
    for holder in (entry, entry.get("lidar_points"), entry.get("annos"), *entry.get("instances", [])):
        if holder is not None and field in holder:
            holder[field] = value
    path.write_bytes(pickle.dumps([entry]))
    with suppress(OSError, ValueError):
        assert isinstance(open_mmdetection3d(path)[0], Scene)


@given(st.data())
def test_damaged_arrays_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("arrays")
    points = np.arange(18, dtype=np.float64).reshape(3, 6) / 18
    np.savez(folder / "000001_pc.npz", pc=points)
    np.save(folder / "000001_bbox.npy", np.array([[0, 0, 0, 1, 1, 1, 0.5, 3]]))
    np.save(folder / f"{SCAN}_vert.npy", points.astype(np.float32))
    np.save(folder / f"{SCAN}_sem_label.npy", np.array([5, 5, 0], np.uint32))
    np.save(folder / f"{SCAN}_ins_label.npy", np.array([1, 1, 0], np.uint32))
    np.save(folder / f"{SCAN}_bbox.npy", np.array([[0, 0, 0, 1, 1, 1, 5.0]]))
    read = data.draw(st.sampled_from(["scan", "image"]))
    victims = sorted(folder.glob("scene*" if read == "scan" else "0*"))
    scenes = open_votenet(folder)
    if read == "image":
        for path in folder.glob("scene*"):
            path.unlink()
        scenes = open_votenet(folder)
    path = data.draw(st.sampled_from(victims))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 0]))])
    with suppress(OSError, ValueError):
        assert isinstance(scenes[0], Scene)


def test_a_real_scan_and_real_images(shared_dir, tmp_path):
    data = shared_dir / "data"
    for folder, infos, cloud in (
        (tmp_path / "scan", data / "scannet/mmdet3d_tests/scannet_infos.pkl", data / "scannet/mmdet3d_demo"),
        (tmp_path / "image", data / "sunrgbd/mmdet3d_demo/sunrgbd_000017_infos.pkl", data / "sunrgbd/mmdet3d_demo"),
    ):
        folder.mkdir()
        (folder / "points").symlink_to(cloud)
        (folder / infos.name).symlink_to(infos)
    scan = open_mmdetection3d(tmp_path / "scan" / "scannet_infos.pkl")[0]
    held = points_in_boxes(scan.points, scan.boxes, margin=1e-3).sum(axis=1)  # 115 without the margin
    assert (len(held), held.min()) == (27, 117)
    counts = [7, 1, 0, 1, 3, 3, 2, 0, 0, 1, 1, 2, 1, 0, 1, 1, 0, 3]
    np.testing.assert_array_equal(np.bincount(scan.categories, minlength=18), counts)
    np.testing.assert_allclose(scan.points.min(axis=0), [-3.64, -3.61, -0.065], atol=0.01)
    np.testing.assert_allclose(np.percentile(scan.points[:, 2], 0.99), -0.0329, atol=1e-4)
    assert scan.colors is not None
    assert 0.5 < scan.colors.max() <= 1
    offsets, mask = votes(scan)
    assert mask.sum() > 10_000
    assert np.abs(offsets[mask]).max() < 3
    image = open_mmdetection3d(tmp_path / "image" / "sunrgbd_000017_infos.pkl")[0]
    bed = SUNRGBD.classes.index("bed")
    assert points_in_boxes(image.points, image.boxes[image.categories == bed]).sum() == 18_117
    assert [SUNRGBD.classes[k] for k in image.categories] == ["night_stand", "bed"]
