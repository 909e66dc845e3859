"""Categories of formulas have numbers for names, so that others of the same number look like the same."""

import pytest

from pcfdsl.config import ConfigError
from pcfdsl.datasets.sources import FormulaSource, FractalSource, FurnitureSource, ShardSource, formula_differences
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.one_stage import generate_set
from pcfdsl.infer.detector import Detector, evaluate_detector
from pcfdsl.models.detector import build_detector
from pcfdsl.pointcloud.objects import IFSConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, category_names
from pcfdsl.pointcloud.surfaces import SuperquadricsConfig
from pcfdsl.samples.detection import PointsConfig
from pcfdsl.scene.config import FractalScenesConfig, SceneConfig
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector

FRACTALS = PCFractalConfig(num_categories=3, num_instances=2, search=SearchConfig(variance_threshold=0.0))
OTHERS = PCFractalConfig(num_categories=3, num_instances=2, search=SearchConfig(variance_threshold=0.001))
SCENES = SceneConfig(num_scenes=2, num_points=300, objects=(2, 3))


@pytest.fixture
def stored(tmp_path):
    def of(fractals):
        generate_set(FractalScenesConfig(scenes=SCENES, fractals=fractals), tmp_path / "rooms")
        return ShardSource(folder=str(tmp_path / "rooms"))

    return of


def test_stored_rooms_are_told_apart_by_their_formulas(stored):
    training = FractalSource(fractals=FRACTALS)
    assert formula_differences(training, stored(OTHERS)) == (
        "search.variance_threshold: 0.0 in the training, 0.001 here"
    )


def test_rooms_and_instances_may_differ(stored):
    more = PCFractalConfig(num_categories=3, num_instances=9, num_points=50, search=FRACTALS.search)
    assert formula_differences(FractalSource(fractals=more), stored(FRACTALS)) == ""
    as_formula = IFSConfig(num_categories=3, search=FRACTALS.search, share=2.0)
    assert formula_differences(FormulaSource(objects=(as_formula,)), stored(FRACTALS)) == ""


def test_what_is_not_known_is_not_compared(tmp_path):
    gone = ShardSource(folder=str(tmp_path / "gone"))
    for source in (FurnitureSource(), gone):
        assert formula_differences(source, FractalSource()) == formula_differences(FractalSource(), source) == ""


def test_other_formulas_are_named():
    both = FormulaSource(objects=(IFSConfig(), SuperquadricsConfig()))
    assert formula_differences(FractalSource(), both) == "ifs in the training, ifs, superquadrics here"


def test_a_detector_of_other_fractals_is_not_judged(stored, tmp_path):
    points = PointsConfig(num_points=128)
    config = DetectorConfig(data=FractalSource(scenes=SCENES, fractals=FRACTALS), points=points)
    classes = category_names(3)
    detector = Detector(model=build_detector(config.model), config=config, classes=classes, step=0, path=tmp_path)
    with pytest.raises(ValueError, match=r"other formulas .*search.variance_threshold: 0.0 in the training, 0.001"):
        evaluate_detector(detector, source=stored(OTHERS))


def test_a_training_is_not_validated_on_other_fractals(tmp_path):
    config = DetectorConfig(
        data=FractalSource(scenes=SCENES, fractals=FRACTALS), validation=FractalSource(scenes=SCENES, fractals=OTHERS)
    )
    with pytest.raises(ConfigError, match="validation: has objects of other formulas than the training set"):
        train_detector(config, tmp_path)
