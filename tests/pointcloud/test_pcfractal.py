import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from subprocess import run

import numpy as np
import pytest

import pcfdsl.pointcloud.mix
from pcfdsl.config import ConfigError
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import chaos_game
from pcfdsl.formula.normalize import center, min_max_joint
from pcfdsl.formula.search import SearchConfig
from pcfdsl.pointcloud.mix import Augmentation, MixConfig, Playable, augment, mix, num_weightings, weighted
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB, open_pcfractal
from pcfdsl.pointcloud.released import shared_partners
from pcfdsl.rng import stream

EASY = SearchConfig(variance_threshold=0.05)
CONFIG = PCFractalConfig(num_categories=5, num_instances=4, num_points=1000, search=EASY)


@pytest.fixture(scope="module")
def db():
    return PCFractalDB(CONFIG)


def test_items_do_not_depend_on_order_threads_or_pickling(db):
    expected = [cloud.points for cloud in PCFractalDB(CONFIG)]
    fresh = PCFractalDB(CONFIG)
    np.testing.assert_array_equal([fresh[i].points for i in reversed(range(20))][::-1], expected)
    np.testing.assert_array_equal([cloud.points for cloud in pickle.loads(pickle.dumps(fresh))], expected)
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(lambda i: db[i].points, range(20))), expected)


def test_it_is_a_sequence(db):
    assert len(db) == 20
    assert [(c.category, c.instance) for c in db[3:6]] == [(0, 3), (1, 0), (1, 1)]
    np.testing.assert_array_equal(db[-1].points, db[19].points)
    with pytest.raises(IndexError, match="20 clouds"):
        db[20]


def test_clouds_are_centred_mixed_and_differ(db):
    clouds = [db[i] for i in range(20)]
    for cloud in clouds:
        assert cloud.points.dtype == np.float32
        assert cloud.points.shape == (1000, 3)
        np.testing.assert_allclose(cloud.points.mean(axis=0), 0, atol=1e-5)
        assert 0.5 < np.abs(cloud.points).max() < 2
    assert len({cloud.points.tobytes() for cloud in clouds}) == 20


def test_main_and_partner_parts_are_each_normalised():
    database = PCFractalDB(CONFIG)
    a, b = (Playable.of(database.category(k)) for k in (0, 1))
    mixed = mix(a, b, 1000, stream(0), noise_ratio=0.2)
    main_alone = mix(a, b, 800, stream(0), noise_ratio=0.0)
    expected = center(min_max_joint(chaos_game(database.category(0), 800, stream(0)).points))
    np.testing.assert_allclose(main_alone, expected, atol=1e-5)
    shift = mixed[:800] - main_alone
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)
    np.testing.assert_allclose(mixed[800:].mean(axis=0), shift[0], atol=1e-5)


def test_the_partner_is_any_other_category(db):
    partners = np.array([db._partner(2, stream(i)) for i in range(400)])
    assert set(partners) == {0, 1, 3, 4}
    assert np.bincount(partners).max() < 150


def test_weightings_vary_one_parameter_of_all_maps():
    ifs = PCFractalDB(CONFIG).category(0)
    assert num_weightings(3, 6) == 145
    seen = set()
    for w in range(145):
        changed = weighted(ifs, w, step=0.1, steps=6)
        rows = np.concatenate([ifs.matrices.reshape(-1, 9), ifs.offsets], 1)
        other = np.concatenate([changed.matrices.reshape(-1, 9), changed.offsets], 1)
        ratio = (other / rows).round(6)
        assert (ratio != 1).any(axis=0).sum() == (w > 0)
        seen.add(tuple(ratio[0]))
    assert len(seen) == 145


def test_augmentation_rotates_about_z_and_stretches():
    points = stream(0).normal(size=(500, 3)).astype(np.float32)
    turned = augment(points, stream(1), Augmentation(rotation=True))
    np.testing.assert_allclose(np.linalg.norm(turned[:, :2], axis=1), np.linalg.norm(points[:, :2], axis=1), rtol=1e-5)
    np.testing.assert_array_equal(turned[:, 2], points[:, 2])
    ratio = augment(points, stream(1), Augmentation(scale=0.2)) / points
    assert (np.ptp(ratio, axis=0) < 1e-5).all()
    assert 0.8 <= ratio.min() <= ratio.max() <= 1.2
    assert augment(points, stream(1), Augmentation(jitter=0.1)).std() > points.std()
    assert augment(points, stream(1), Augmentation()) is points


def test_degenerate_instances_are_redrawn_and_counted_then_rejected():
    wild = [IFS.from_maps(m, np.eye(3)[:2]) for m in [np.stack([np.eye(3) * 0.97] * 2)] * 2]
    config = PCFractalConfig(
        num_categories=2,
        num_instances=50,
        num_points=50_000,
        augmentation=Augmentation(parameter_step=0.1, parameter_steps=6),
    )
    counted = [cloud.num_redraws for cloud in PCFractalDB(config, wild)[:50]]
    assert max(counted) > 0
    collapsed = [IFS.from_maps(np.zeros((1, 3, 3)), np.zeros((1, 3)))] * 2
    with pytest.raises(ValueError, match="degenerate 100 times"):
        PCFractalDB(PCFractalConfig(num_categories=2, num_instances=1), collapsed)[0]


def test_given_categories_are_used_and_checked(db):
    systems = [db.category(k) for k in range(5)]
    np.testing.assert_array_equal(PCFractalDB(CONFIG, systems)[7].points, db[7].points)
    with pytest.raises(ConfigError, match="5, but 4 were given"):
        PCFractalDB(CONFIG, systems[:4])
    flat = IFS.from_maps([np.eye(2) / 2], [[0, 0]])
    with pytest.raises(ConfigError, match="number 0 is 2D"):
        PCFractalDB(CONFIG, [flat] * 5)


def test_one_category_needs_no_partner_only_without_noise():
    with pytest.raises(ConfigError, match="no partner"):
        PCFractalConfig(num_categories=1)
    config = PCFractalConfig(
        num_categories=1, num_instances=1, num_points=100, search=EASY, mix=MixConfig(noise_ratio=0)
    )
    assert len(PCFractalDB(config)[0].points) == 100


def test_released_variant_keeps_every_published_rule():
    config = PCFractalConfig(variant="released", num_categories=3, num_instances=3, search=EASY)
    official = open_pcfractal(config)
    first, second = official.cloud(1, 0), official.cloud(1, 2)
    assert len(first.points) == 9998
    shift = first.points[:7999] - second.points[:7999]  # the same main cloud, up to the last centring
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)
    assert np.abs(first.points[7999:].mean(axis=0)).max() > 0.01  # the partner sits off-centre
    assert sorted(shared_partners(0, 3, 3)) == [0, 1, 2]  # each once, so one category meets itself
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(official)).cloud(1, 2).points, second.points)
    with pytest.raises(ConfigError, match="no more instances than categories"):
        open_pcfractal(PCFractalConfig(variant="released", num_categories=3, num_instances=4))
    with pytest.raises(ConfigError, match="not part of the released scripts"):
        PCFractalConfig(variant="released", augmentation=Augmentation(rotation=True))
    with pytest.raises(ConfigError, match=r"search\.sampler: is filtered, but released scripts draw uniformly"):
        PCFractalConfig(variant="released", search=SearchConfig(sampler="filtered"))


def test_the_generator_does_not_import_torch():
    code = "import sys, pcfdsl.generate.driver, pcfdsl.pointcloud.released; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_orbit_that_stays_on_a_point_is_degenerate():
    point = IFS(np.eye(3)[None] / 2, np.array([[1.0, 2, 3]]), np.ones(1))
    with pytest.raises(ValueError, match="was degenerate 100 times"):
        PCFractalDB(PCFractalConfig(num_categories=2, num_instances=1), [point, point])[0]


def test_a_cloud_of_few_points_keeps_one_of_its_own():
    for noise_ratio, num_points in ((0.95, 10), (0.2, 1)):
        config = PCFractalConfig(num_categories=2, num_instances=2, search=EASY, mix=MixConfig(noise_ratio=noise_ratio))
        assert np.isfinite(PCFractalDB(config).cloud(0, 0, num_points=num_points).points).all()


def test_prepared_systems_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(pcfdsl.pointcloud.mix, "_REMEMBERED", 3)
    database = PCFractalDB(CONFIG)
    clouds = [cloud.points for cloud in database]
    assert len(database._playable) == 3
    np.testing.assert_array_equal(database[0].points, clouds[0])


def test_released_clouds_have_settings_that_the_scripts_have():
    with pytest.raises(ConfigError, match="search: has settings that the released scripts do not have"):
        PCFractalConfig(variant="released", search=SearchConfig(max_maps=2))
    for noise_ratio in (0.0, 0.95):
        with pytest.raises(ConfigError, match=r"mix\.noise_ratio: leaves a cloud of less than two points"):
            PCFractalConfig(variant="released", num_points=10, mix=MixConfig(noise_ratio=noise_ratio))
