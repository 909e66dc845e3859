import itertools
import tracemalloc

import numpy as np
import pytest

from pcfdsl.formula.diversity import box_counts, box_dimension, chamfer_distance, diversity
from pcfdsl.formula.ifs import IFS, effective_maps
from pcfdsl.formula.iterate import chaos_game
from pcfdsl.formula.search import SearchConfig, search_category
from pcfdsl.rng import stream

CORNERS = np.array(list(itertools.product((0, 1), repeat=3)), float)
TETRAHEDRON = CORNERS[CORNERS.sum(axis=1) % 2 == 0]


TURNED = np.linalg.qr(stream(0, "turned").standard_normal((3, 3)))[0]


def similar(corners, ratio: float) -> IFS:
    """Copies of the unit cube, shrunk, in the corners: dimension log(len(corners)) / log(1 / ratio)."""
    return IFS.from_maps(np.tile(np.eye(3) * ratio, (len(corners), 1, 1)), corners * (1 - ratio))


SIERPINSKI = similar(TETRAHEDRON, 1 / 2)


@pytest.mark.parametrize(
    ("ifs", "dimension", "error"),
    [
        (similar(CORNERS, 1 / 2), 3, 0.02),  # a solid cube
        (similar(CORNERS @ TURNED, 1 / 2), 3, 0.5),
        (SIERPINSKI, 2, 0.15),
        (similar(CORNERS[:2], 1 / 2), 1, 0.001),  # an edge
        (similar(CORNERS[:4], 1 / 2), 2, 0.001),  # a face
        (similar(CORNERS, 1 / 3), np.log(8) / np.log(3), 0.25),  # Cantor dust
        (similar(CORNERS @ TURNED, 1 / 3), np.log(8) / np.log(3), 0.1),
        (similar(CORNERS[:2], 1 / 3), np.log(2) / np.log(3), 0.1),  # Cantor's set
    ],
)
def test_box_dimensions_of_known_attractors(ifs, dimension, error):
    points = chaos_game(ifs, 100_000, stream(0, "box")).points
    assert abs(box_dimension(points) - dimension) < error
    assert box_dimension(points * 4) == box_dimension(points)


def test_a_tetrahedron_fills_four_cells_then_sixteen():
    points = chaos_game(SIERPINSKI, 200_000, stream(0, "cells"), dtype=np.float64).points
    inside = points[(points > 0).all(axis=1) & (points < 1).all(axis=1)]
    around = np.concatenate([inside, TETRAHEDRON * (1 - 1e-12)])  # so that the cube is the unit cube
    assert box_counts(around, (1, 2, 4, 8, 16)).tolist() == [1, 4, 16, 64, 256]


def test_chamfer_distance_is_that_of_brute_force():
    rng = stream(0, "chamfer")
    a, b = rng.random((40, 3)), rng.random((60, 3))
    each = np.linalg.norm(a[:, None] - b, axis=2)
    assert chamfer_distance(a, b) == pytest.approx((each.min(axis=0).mean() + each.min(axis=1).mean()) / 2)
    assert chamfer_distance(a, b) == chamfer_distance(b, a)


def test_figures_of_a_set():
    cube, stretched = similar(CORNERS, 1 / 2), np.diag([0.8, 0.4, 0.2])
    stretched = IFS.from_maps(np.tile(stretched, (2, 1, 1)), [[0, 0, 0], [0.2, 0.6, 0.8]])
    found = diversity([cube] * 3 + [stretched], stream(0, "set"))
    assert found.num_maps == {2: 1, 8: 3}
    assert (found.effective_maps.median, found.effective_maps.high) == (8, 8)
    assert (found.largest_singular_value.median, found.smallest_singular_value.low) == (0.5, 0.2)
    assert (found.condition_number.low, found.condition_number.high) == (1, 4)
    assert found.box_dimension is not None
    assert abs(found.box_dimension.median - 3) < 0.05
    assert found.chamfer_distance is not None
    assert found.nearest_distance is not None
    assert found.nearest_distance.low < 0.15 < found.chamfer_distance.high  # samples of a cube, and of something else
    assert found.num_without_cloud == 0
    assert diversity([cube] * 3 + [stretched], stream(0, "set")) == found


def test_sets_without_a_cloud_or_of_one_category():
    point = IFS.from_maps([np.zeros((3, 3)), np.diag([0.5, 0.1, 0])], np.zeros((2, 3)))
    found = diversity([point], stream(0))
    assert (found.box_dimension, found.chamfer_distance, found.nearest_distance) == (None, None, None)
    assert (found.num_without_cloud, found.condition_number.low, found.condition_number.high) == (1, 0, 1e9)
    assert diversity([SIERPINSKI], stream(0)).chamfer_distance is None
    assert diversity([SIERPINSKI] * 500, stream(0)).num_maps == {4: 500}
    for wrong in ([], [IFS.from_maps([np.eye(2) / 2] * 2, [[0, 0], [1, 1]])]):
        with pytest.raises(ValueError, match="one or more 3D systems"):
            diversity(wrong, stream(0))


def test_effective_maps():
    assert effective_maps(SIERPINSKI.probabilities) == pytest.approx(4)
    assert effective_maps(np.array([1.0, 0])) == 1


def test_filters_on_parameters_leave_more_variety_than_the_check_alone():
    def figures(sampler):
        config = SearchConfig(sampler=sampler, variance_threshold=0.05)
        return diversity([search_category(config, 0, k).ifs for k in range(30)], stream(0, "figures"))

    uniform, filtered = figures("uniform"), figures("filtered")
    assert uniform.num_maps[2] > 20 > 10 > filtered.num_maps[2]
    assert filtered.effective_maps.median > 1.3 * uniform.effective_maps.median
    assert filtered.chamfer_distance is not None
    assert uniform.chamfer_distance is not None
    assert filtered.chamfer_distance.median > uniform.chamfer_distance.median


def test_an_orbit_that_stays_on_a_point_is_no_cloud():
    point = IFS(np.eye(3)[None] / 2, np.array([[1.0, 2, 3]]), np.ones(1))  # whose orbit ends at (2, 4, 6)
    found = diversity([point, SIERPINSKI, point], stream(0))
    assert found.num_without_cloud == 2
    assert found.box_dimension is not None
    with pytest.raises(ValueError, match=r"points have an extent of 0\.0"):
        box_counts(np.ones((5, 3)))


def test_clouds_are_held_one_at_a_time():
    diversity([SIERPINSKI], stream(0))  # compiles
    tracemalloc.start()
    diversity([SIERPINSKI] * 20, stream(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6  # a cloud of 100,000 points takes 1.2 MB
