import json

import numpy as np
import pytest
import trimesh

from pcfdsl.readers.meshes import MESH_FILES, read_geometries


def glb(path, *, change):
    """A ball as glTF, with its JSON changed."""
    content = trimesh.creation.icosphere().export(file_type="glb")
    length = int.from_bytes(content[12:16], "little")
    about = json.loads(content[20 : 20 + length])
    change(about)
    text = json.dumps(about).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    rest = content[20 + length :]
    total = 20 + len(text) + len(rest)
    head = content[:8] + total.to_bytes(4, "little") + len(text).to_bytes(4, "little") + content[16:20]
    path.write_bytes(head + text + rest)
    return path


@pytest.mark.parametrize("kind", MESH_FILES)
def test_all_kinds_are_read(kind, tmp_path):
    trimesh.creation.box((1, 2, 3)).export(tmp_path / f"box{kind}")
    (part,) = read_geometries(tmp_path / f"box{kind}")
    np.testing.assert_allclose(np.ptp(part.vertices, axis=0), (1, 2, 3))
    assert part.area == pytest.approx(22)


def test_parts_of_a_scene_are_placed_by_its_graph(tmp_path):
    ball = trimesh.creation.icosphere()
    scene = trimesh.Scene()
    for x in (0, 5):
        scene.add_geometry(ball, geom_name="ball", transform=trimesh.transformations.translation_matrix((x, 0, 0)))
    scene.export(tmp_path / "two.glb")
    centres = sorted(part.centroid[0] for part in read_geometries(tmp_path / "two.glb"))
    np.testing.assert_allclose(centres, (0, 5), atol=1e-6)


def test_vertices_that_a_file_only_declares_are_not_allocated(tmp_path):
    def declare_many(about):
        for accessor in about["accessors"]:
            accessor["count"] = 2**33
            del accessor["bufferView"]

    with pytest.raises(ValueError, match="declares 8589934592 vertices"):
        read_geometries(glb(tmp_path / "a.glb", change=declare_many))


def test_a_part_cannot_be_repeated_without_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("pcfdsl.readers.meshes._MAX_SMALL", 1)

    def repeat(about):
        (placed,) = (node for node in about["nodes"] if "mesh" in node)
        first = len(about["nodes"])
        about["nodes"] += [{**placed, "name": str(k)} for k in range(500)]
        about["nodes"][about["scenes"][0]["nodes"][0]].setdefault("children", []).extend(range(first, first + 500))

    path = glb(tmp_path / "a.glb", change=repeat)
    with pytest.raises(ValueError, match="repeats its parts, giving 962922 vertices and faces"):
        read_geometries(path)


@pytest.mark.parametrize("name", ["../outside.bin", "/outside.bin", "beside.bin"])
def test_other_files_are_not_read(name, tmp_path):
    with pytest.raises(ValueError, match="keeps its vertices in other files"):
        read_geometries(glb(tmp_path / "a.glb", change=lambda about: about["buffers"][0].update(uri=name)))
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.mtl").write_text("newmtl red\nKd 1 0 0\n")
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    (tmp_path / "in" / "a.obj").write_text(f"mtllib ../outside.mtl\nusemtl red\n{text}")
    (part,) = read_geometries(tmp_path / "in" / "a.obj")
    assert "red" not in str(getattr(part.visual, "material", None))
