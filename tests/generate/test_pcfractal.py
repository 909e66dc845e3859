import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pcfdsl.config import ConfigError
from pcfdsl.formula.csv_io import format_ifs, read_ifs
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.pcfractal import (
    StoredPCFractalDB,
    export_released,
    generate_pcfractal,
    plan_pcfractal,
    verify_pcfractal,
)
from pcfdsl.generate.two_stage import read_systems
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, open_pcfractal
from pcfdsl.store.stored import open_set

CONFIG = PCFractalConfig(
    num_categories=20, num_instances=2, num_points=300, search=SearchConfig(variance_threshold=0.03)
)

QUIET = RunOptions(progress=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pcfractal") / "set"
    generate_pcfractal(CONFIG, folder, options=QUIET)
    return folder


def shards(path):
    return {
        file.relative_to(path): hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*.safetensors")
    }


def test_stored_set_equals_the_generated_one(path):
    stored, made = pickle.loads(pickle.dumps(StoredPCFractalDB(path))), open_pcfractal(CONFIG)
    assert len(stored) == len(made)
    assert stored.config == CONFIG
    for a, b in zip(stored, made, strict=True):
        assert a.points.tobytes() == b.points.tobytes()
        assert (a.points.dtype, a.points.shape) == (np.float32, (300, 3))
        assert (a.category, a.instance, a.num_redraws) == (b.category, b.instance, b.num_redraws)
    assert [format_ifs(ifs) for ifs in stored.categories] == [format_ifs(made.category(k)) for k in range(20)]
    verify_pcfractal(CONFIG, path, options=QUIET)


def test_parts_search_together_and_make_the_same_files(path, tmp_path):
    results = [generate_pcfractal(CONFIG, tmp_path / "set", options=replace(QUIET, shard=(i, 2))) for i in (1, 0)]
    assert shards(tmp_path / "set") == shards(path)
    assert [result["categories"]["complete"] for result in results] == [True, True]
    assert results[1]["categories"]["num_made"] == 0


def test_searches_are_counted(path):
    result = generate_pcfractal(CONFIG, path, options=QUIET)
    counters = dict(result["categories"]["counters"])
    assert result["clouds"]["num_made"] == 0
    assert counters.pop("num_draws") == 20 + sum(counters.values())
    assert counters == {
        f"num_rejected_{reason}": sum(open_pcfractal(CONFIG).search(k).rejected[reason] for k in range(20))
        for reason in open_pcfractal(CONFIG).search(0).rejected
    }


def test_a_whole_set_is_reported_with_its_diversity(path, tmp_path):
    result = generate_pcfractal(CONFIG, path, options=QUIET)
    systems = [open_pcfractal(CONFIG).category(k) for k in range(20)]
    assert json.loads(json.dumps(result["diversity"], allow_nan=False))["num_maps"] == {
        str(k): sum(ifs.num_maps == k for ifs in systems) for k in sorted({ifs.num_maps for ifs in systems})
    }
    assert 1 < result["diversity"]["box_dimension"]["median"] < 2.5
    part = generate_pcfractal(
        replace(CONFIG, num_instances=300), tmp_path / "part", options=replace(QUIET, shard=(0, 2))
    )
    assert "diversity" not in part


def test_released_variant(tmp_path):
    config = PCFractalConfig(
        variant="released",
        num_categories=3,
        num_instances=2,
        num_points=300,
        search=SearchConfig(variance_threshold=0.02, num_points=300),
    )
    generate_pcfractal(config, tmp_path / "set", options=QUIET)
    stored = StoredPCFractalDB(tmp_path / "set")
    for a, b in zip(stored, open_pcfractal(config), strict=True):
        assert a.points.shape == (298, 3)
        assert a.points.tobytes() == b.points.tobytes()


def test_published_layout_there_and_back(path, tmp_path):
    database = StoredPCFractalDB(path)
    assert export_released(path, tmp_path / "out", progress=False) == {"csv_files": 20, "ply_files": 40}
    assert format_ifs(read_ifs(tmp_path / "out/3DIFS_param/000007.csv")) == format_ifs(database.categories[7])
    ply = trimesh.load(tmp_path / "out/3Dfractalmodel/000007/000007_0001.ply")
    assert np.asarray(ply.vertices, np.float32).tobytes() == database[15].points.tobytes()

    folder = tmp_path / "out/3DIFS_param"
    (folder / "README.txt").write_text("not a category")
    systems, ignored = read_systems(folder)
    assert ignored == ["README.txt"]
    result = generate_pcfractal(CONFIG, tmp_path / "again", categories=folder, options=QUIET)
    assert result["ignored"] == ["README.txt"]
    # Text of 18 decimals is exact, so the systems, and with them the clouds, are those that were searched.
    again = StoredPCFractalDB(tmp_path / "again")
    assert [format_ifs(ifs) for ifs in again.categories] == [format_ifs(ifs) for ifs in systems]
    assert all(a.points.tobytes() == b.points.tobytes() for a, b in zip(again, database, strict=True))
    assert again.stored.manifest.digest != database.stored.manifest.digest
    verify_pcfractal(CONFIG, tmp_path / "again", categories=folder, options=QUIET)


def test_exports_are_not_mixed(path, tmp_path):
    export_released(path, tmp_path / "out", progress=False)
    export_released(path, tmp_path / "out", progress=False)  # the same one again
    (tmp_path / "out/3DIFS_param/000020.csv").write_text("of a larger set")
    with pytest.raises(
        ValueError, match=r"holds 1 files that do not belong to this export, the first is 3DIFS_param/000020"
    ):
        export_released(path, tmp_path / "out", progress=False)


def test_published_folders_that_cannot_be_used(path, tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.csv files"):
        read_systems(tmp_path)
    rows = [["0.1"] * 12 + ["0.5"]] * 2
    rows[1] = [*rows[1][:4], "x", *rows[1][5:]]
    (tmp_path / "000000.csv").write_text("\n".join(map(",".join, rows)))
    with pytest.raises(ValueError, match=r"000000\.csv, row 2, column 5: 'x' is not a number"):
        read_systems(tmp_path)
    (tmp_path / "000000.csv").write_text(format_ifs(StoredPCFractalDB(path).categories[0]))
    with pytest.raises(ConfigError, match="num_categories: is 20, but 1 were given"):
        generate_pcfractal(CONFIG, tmp_path / "set", categories=tmp_path, options=QUIET)
    assert not (tmp_path / "set").exists()


def test_verify_names_what_differs(path, tmp_path, monkeypatch):
    monkeypatch.setattr("pcfdsl.pointcloud.pcfractal.augment", lambda points, rng, config: points + np.float32(1))
    with pytest.raises(ValueError, match=r"40 differ when regenerated \(sample 0: points, .*\.\.\.\)"):
        verify_pcfractal(CONFIG, path, options=QUIET)


def test_other_sets_are_refused(path):
    with pytest.raises(ValueError, match="holds a set of pcfractal_categories; expected one of pcfractal"):
        StoredPCFractalDB(path / "categories")


def test_clouds_are_not_read_with_the_categories_of_another_set(tmp_path, monkeypatch):
    config = replace(CONFIG, num_categories=2, num_points=100)
    generate_pcfractal(config, tmp_path / "set", options=QUIET)

    def interrupted(recipe, *arguments, **settings):
        if recipe.name == "pcfractal":
            raise KeyboardInterrupt
        return generate(recipe, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr("pcfdsl.generate.two_stage.generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_pcfractal(replace(config, seed=9), tmp_path / "set", options=replace(QUIET, overwrite=True))
    with pytest.raises(ValueError, match=r"clouds of one set and categories of another.* rerun that command"):
        StoredPCFractalDB(tmp_path / "set")
    generate_pcfractal(replace(config, seed=9), tmp_path / "set", options=replace(QUIET, overwrite=True))
    assert StoredPCFractalDB(tmp_path / "set").config.seed == 9


def test_plan_knows_the_size(path):
    estimate = plan_pcfractal(CONFIG, workers=2)
    stored = open_set(path)
    assert estimate["clouds"]["num_samples"] == len(stored)
    assert estimate["clouds"]["num_bytes"] == 40 * (300 * 12 + 3 * 8)
    assert estimate["clouds"]["digest"] == stored.manifest.digest
    assert estimate["categories"]["digest"] == open_set(path / "categories").manifest.digest
