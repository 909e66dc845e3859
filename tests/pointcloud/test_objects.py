"""Clouds of several formulas as one set."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import pcfdsl as pf
from pcfdsl.config import ConfigError, from_dict, load, to_dict
from pcfdsl.datasets.clouds import FormulaClouds, open_clouds
from pcfdsl.datasets.scene_shards import SceneShards
from pcfdsl.datasets.sources import FormulaSource, open_scenes
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.one_stage import generate_set, plan_set, verify_set
from pcfdsl.generate.workers import local
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.surfaces import SuperquadricsConfig, SurfaceClouds
from pcfdsl.rng import stream
from pcfdsl.scene.config import ObjectScenesConfig, SceneConfig
from pcfdsl.scene.objects import FormulaObjects
from pcfdsl.scene.synthesize import ObjectScenes
from pcfdsl.store.stored import open_set
from pcfdsl.view.sources import load_items

QUIET = RunOptions(progress=False)
CONFIG = load(ObjectsConfig, "objects/smoke")
SMALL = SceneConfig(num_scenes=3, num_points=1500, objects=(3, 4))
# Instances of the formulas differ in number, so that a mistake in numbering shows.
UNEVEN = replace(CONFIG, objects=tuple(replace(f, num_instances=2 + i) for i, f in enumerate(CONFIG.objects)))


def test_categories_of_the_formulas_follow_each_other():
    clouds = ObjectClouds(UNEVEN)
    sizes = [(f.num_categories, f.num_instances) for f in UNEVEN.objects]
    expected = []
    for categories, instances in sizes:
        first = len({category for category, _ in expected})
        expected += [(first + k, j) for k in range(categories) for j in range(instances)]
    assert [clouds.locate(i) for i in range(len(clouds))] == expected
    assert [(cloud.category, cloud.instance) for cloud in clouds[:]] == expected
    assert clouds.labels().tolist() == [category for category, _ in expected]
    assert clouds.num_categories == len(clouds.classes) == sum(categories for categories, _ in sizes)
    assert (clouds[-1].points == clouds[len(clouds) - 1].points).all()
    for wrong in (len(clouds), -len(clouds) - 1):
        with pytest.raises(IndexError, match=f"outside this set of {len(clouds)} clouds"):
            clouds[wrong]


@pytest.mark.parametrize("variant", ["native", "released"])
def test_clouds_that_there_are_not_are_refused_by_every_formula(variant):
    mixed = ObjectClouds(UNEVEN)
    fractals = pf.PCFractalConfig(num_categories=3, num_instances=2, num_points=100, variant=variant)
    surfaces = SuperquadricsConfig(num_categories=3, num_instances=2)
    last = mixed.num_categories - 1
    for clouds, category, instances in (
        (mixed, 0, 2),
        (mixed, last, 6),  # another formula, which has more instances than the first
        (pf.open_pcfractal(fractals), 1, 2),
        (SurfaceClouds(surfaces), 1, 2),
    ):
        for wrong in (instances, 99, -1):
            with pytest.raises(
                IndexError, match=f"^instance {wrong} of category {category} is outside its {instances}"
            ):
                clouds.cloud(category, wrong)
        for wrong in (99, -1):
            with pytest.raises(IndexError, match=rf"^category {wrong} is outside this set of \d+, 0 to \d+$"):
                clouds.cloud(wrong, 0)
    assert mixed.cloud(last, 5).instance == 5
    with pytest.raises(IndexError, match=r"^category 3 is outside this set of 3"):
        pf.open_pcfractal(fractals).category(3)


@pytest.mark.parametrize("cls", [ObjectsConfig, ObjectScenesConfig, FormulaSource, FormulaClouds])
def test_a_formula_may_not_repeat_itself_under_other_labels(cls):
    again = [{"formula": "superquadrics"}, {"formula": "composites"}, {"formula": "superquadrics", "variation": 0.1}]
    with pytest.raises(
        ConfigError, match=r"^objects.2.seed: is 0, so objects.2 repeats the superquadrics of objects.0"
    ):
        from_dict(cls, {"objects": again})
    with pytest.raises(ConfigError, match=r"^data.objects.1.seed: is 3, .*; give it another seed$"):
        from_dict(pf.DetectorConfig, {"data": {"kind": "objects", "objects": [{"formula": "ifs", "seed": 3}] * 2}})
    again[2]["seed"] = 1
    clouds = ObjectClouds(ObjectsConfig(objects=from_dict(cls, {"objects": again}).objects))
    assert not np.allclose(clouds.cloud(0, 0).points, clouds.cloud(128, 0).points)


def test_a_cloud_depends_on_its_own_formula_category_and_instance_alone():
    clouds, first = ObjectClouds(UNEVEN), ObjectClouds(UNEVEN)
    forwards = [clouds[i].points for i in range(len(clouds))]
    for i in reversed(range(len(clouds))):
        assert (first[i].points == forwards[i]).all()
    for f in range(len(UNEVEN.objects)):
        alone = ObjectClouds(ObjectsConfig(objects=(replace(UNEVEN.objects[f], num_categories=9, num_instances=50),)))
        start = int(clouds.first_categories[f])
        if f:  # fractals are mixed with other categories, so their number matters
            assert (alone.cloud(1, 1).points == clouds.cloud(start + 1, 1).points).all()
    assert (pickle.loads(pickle.dumps(clouds))[-1].points == forwards[-1]).all()


def test_clouds_are_centred_in_the_unit_cube_and_differ():
    clouds = ObjectClouds(UNEVEN)
    points = [cloud.points for cloud in clouds]
    assert all(p.shape == (1000, 3) and p.dtype == np.float32 and np.isfinite(p).all() for p in points)
    np.testing.assert_allclose([p.mean(0) for p in points], 0, atol=1e-4)
    assert max(np.abs(p).max() for p in points) < 1.8
    assert len({p.tobytes() for p in points}) == len(points)
    assert clouds.cloud(3, 0, num_points=17).points.shape == (17, 3)
    other = ObjectClouds(replace(UNEVEN, objects=tuple(replace(f, seed=1) for f in UNEVEN.objects)))
    assert not any((a.points == p).all() for a, p in zip(other, points, strict=True))


@pytest.mark.parametrize("formula", CONFIG.objects[1:], ids=lambda formula: formula.formula)
def test_instances_vary_as_much_as_asked(formula):
    """Distance to the nearest point of the other cloud: none but sampling without variation, more with more."""

    def distance(variation):
        clouds = ObjectClouds(ObjectsConfig(objects=(replace(formula, variation=variation),)))
        pairs = [(clouds.cloud(k, 0).points, clouds.cloud(k, 1).points) for k in range(4)]
        gaps = [np.linalg.norm(a[:, None] - b[None], axis=2).min(1).mean() for a, b in pairs]
        return float(np.mean(gaps))

    none, some, much = (distance(variation) for variation in (0.0, 0.1, 0.4))
    assert none < some < much


def test_rooms_have_each_formula_as_often_as_its_share_says():
    shares = (1.0, 2.0, 3.0, 2.0, 2.0)
    config = replace(CONFIG, objects=tuple(replace(f, share=s) for f, s in zip(CONFIG.objects, shares, strict=True)))
    source = FormulaObjects(ObjectClouds(config))
    rng = stream(0)
    categories = np.array([source.sample(rng, 10)[1] for _ in range(1600)])
    first = source.clouds.first_categories
    counts = np.histogram(categories, first)[0]
    assert np.abs(counts / 1600 - np.array(shares) / 10).max() < 0.04
    assert len(set(categories.tolist())) == source.num_categories


def test_rooms_are_the_same_from_the_source_the_recipe_and_the_disk(tmp_path):
    recipe = ObjectScenesConfig(scenes=SMALL, objects=CONFIG.objects)
    scenes, source = ObjectScenes(recipe), open_scenes(FormulaSource(scenes=SMALL, objects=CONFIG.objects))
    generate(scenes, tmp_path / "set", options=QUIET)
    stored = SceneShards(tmp_path / "set")
    assert stored.classes == source.classes == tuple(f"{k:06d}" for k in range(18))
    for i in range(3):
        for other in (source.scenes[i], stored[i], ObjectScenes(recipe)[i]):
            assert (other.points == scenes[i].points).all()
            assert (other.categories == scenes[i].categories).all()


def test_classification_draws_the_clouds_of_the_set():
    found = open_clouds(FormulaClouds(objects=UNEVEN.objects))
    clouds = ObjectClouds(UNEVEN)
    assert len(found) == len(clouds)
    assert len(found.classes) == 18
    for i in (0, 7, len(clouds) - 1):
        drawn = found.source.draw(i, stream(0), 1000)
        assert found.labels[i] == clouds[i].category
        np.testing.assert_array_equal(np.unique(drawn, axis=0), np.unique(clouds[i].points, axis=0))


def test_a_stored_set_is_the_same_for_any_number_of_workers_and_jobs(tmp_path):
    made = generate_set(CONFIG, tmp_path / "one", options=QUIET)
    for i in (1, 0):
        options = replace(QUIET, shard=(i, 2), executor=local(2))
        again = generate_set(CONFIG, tmp_path / "two", options=options)
    assert made["sha256"] == again["sha256"]
    assert verify_set(CONFIG, tmp_path / "one", num_samples=5, options=QUIET)["num_compared"] == 5
    assert plan_set(CONFIG)["num_samples"] == made["num_samples"] == 54
    clouds = ObjectClouds(CONFIG)
    sample = open_set(tmp_path / "one")[17]
    assert (sample["points"] == clouds[17].points).all()
    assert (sample["category"], sample["instance"]) == (clouds[17].category, clouds[17].instance)
    assert [item.caption for item in load_items(tmp_path / "one", num_items=2)] == [
        "category 0, instance 0",
        "category 9, instance 0",
    ]


def test_recipes_are_looked_at_and_plotted():
    assert len(load_items("objects/smoke", num_items=3)) == 3
    assert len(load_items("scene/formulas", num_items=1)[0].boxes) > 1
    cloud = pf.ObjectClouds(pf.load(pf.ObjectsConfig, "objects/smoke"))[20]
    assert pf.show(cloud).items[0].points.shape == (1000, 3)


def test_lists_of_groups_are_read_written_and_refused():
    assert from_dict(ObjectsConfig, to_dict(CONFIG)) == CONFIG
    only = load(ObjectsConfig, None, ["objects=[{formula: superquadrics, variation: 0.3}]"])
    assert only.objects == (SuperquadricsConfig(variation=0.3),)
    settings = [
        "{formula: torus}",
        "{formula: ifs, degree: 3}",
        "{num_categories: 3}",
        "{formula: superquadrics, num_categories: 0}",
        "{formula: ifs, num_categories: 1}",
        "7",
        "{formula: superquadrics, variation: 1000}",
    ]
    with pytest.raises(ConfigError) as caught:
        load(ObjectsConfig, None, [f"objects=[{', '.join(settings)}]"])
    messages = dict(caught.value.problems)
    assert messages["objects.0.formula"].startswith("expected one of ifs, spherical_harmonics, superquadrics")
    assert messages["objects.1.degree"].startswith("belongs to formula spherical_harmonics, but formula is ifs")
    assert messages["objects.2.formula"].endswith("but there is none")
    assert messages["objects.3.num_categories"] == "must be at least 1, got 0"
    assert messages["objects.4.num_categories"].startswith("1 leaves no partner")
    assert messages["objects.5"] == "expected a group of settings, got 7"
    assert messages["objects.6.variation"] == "must be at most 3.0, got 1000.0"
    for empty in ("[]", "3"):
        with pytest.raises(ConfigError, match=r"objects: (is empty; give|expected a list)"):
            load(ObjectScenesConfig, None, [f"objects={empty}"])
