"""A wrong argument of a public function is named in the message."""

import numpy as np
import pytest

import pcfdsl as pf

SYSTEM = pf.IFS.from_maps(np.full((4, 2, 2), np.eye(2) / 2), [[0, 0], [0, 1], [1, 0], [1, 1]])
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: pf.chaos_game("fern", 5, RNG), "ifs"),
        (lambda: pf.chaos_game(SYSTEM, -5, RNG), "num_points"),
        (lambda: pf.chaos_game(SYSTEM, 5, 0), "rng"),
        (lambda: pf.moments(np.eye(2)), "ifs"),
        (lambda: pf.load("votenet/laptop_pretrain"), "cls"),
        (lambda: pf.open_pcfractal("pcfractal/small"), "config"),
        (lambda: pf.open_scenes("scene/rooms"), "source"),
        (lambda: pf.open_images("image/rcdb"), "config"),
        (lambda: pf.Scenes("scene/rooms", None), "settings"),
        (lambda: pf.FractalScenes("scene/rooms"), "config"),
        (lambda: pf.scene_samples([], 20_000, seed=0), "config"),
        (lambda: pf.collate([]), "samples"),
        (lambda: pf.collate([np.zeros(3)]), "samples"),
        (lambda: pf.generate_pcfractal("pcfractal/small", "out"), "config"),
        (lambda: pf.generate_images("image/rcdb", "out"), "config"),
        (lambda: pf.train_detector("votenet/laptop_pretrain", "out"), "config"),
        (lambda: pf.detection_task(pf.DetectorConfig(), []), "scenes"),
        (lambda: pf.load_detector(3), "path"),
        (lambda: pf.load_backbone(3), "path"),
        (lambda: pf.show(3), "things"),
        (lambda: pf.plot(3), "things"),
    ],
)
def test_a_wrong_argument_is_named(call, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=rf"^{name} "):
        call()
    assert list(tmp_path.iterdir()) == []
