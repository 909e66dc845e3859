"""The image study: arms paired by seed, sets and weights made once, tables that compare what they say."""

import numpy as np
import pytest

from pcfdsl.config import ConfigError, from_dict
from pcfdsl.studies.images import ImageStudyConfig, comparisons_table, pretraining_sets, run_image_study
from pcfdsl.studies.study import StudyResult


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    fashion = {f"{kind}_{part}": None for kind in "xy" for part in ("train", "test")}
    fashion |= {f"x_{part}": rng.integers(0, 256, (30, 28, 28), np.uint8) for part in ("train", "test")}
    fashion |= {f"y_{part}": np.arange(30) % 10 for part in ("train", "test")}
    np.savez(tmp_path / "fashion.npz", **fashion)
    np.savez(tmp_path / "icons.npz", icons=rng.integers(0, 256, (12, 64, 64, 4), np.uint8))
    labels = np.array([-1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, -1])
    np.savez(tmp_path / "furniture.npz", label=labels, fold=np.arange(12) % 2, class_names=np.array(["bed", "sofa"]))
    network = {"view": {"size": 32, "crop": 1.0}, "augment": {"kind": "crop"}, "model": {"name": "test_resnet"}}
    run = {"num_steps": 2, "batch_size": 4, "sinks": (), "device": "cpu"}
    return from_dict(
        ImageStudyConfig,
        {
            **{name: str(tmp_path / f"{name}.npz") for name in ("fashion", "icons", "furniture")},
            "per_class": 2,
            "num_test": 20,
            "num_categories": 3,
            "num_instances": 2,
            "pretrain": network | {"train": run | {"evaluations": 0}},
            "finetune": network | {"train": run},
        },
    )


def test_a_study_runs_once_and_is_written(config, tmp_path):
    lines = []
    out = tmp_path / "study"
    arms = ["bezier", "points_10k", "frozen_2", "fractaldb_random_labels"]
    result = run_image_study(config, out, seeds=[0, 1], arms=arms, progress=lines.append)
    assert set(result.runs) == {"scratch", *arms}
    assert all(set(run["seed1"]) == {"fashion", "icons"} for run in result.runs.values())
    assert len(list((out / "sets").iterdir())) == 3  # frozen and random labels share FractalDB's
    assert (out / "study.md").read_text().startswith("| fashion | runs |")
    assert len(lines) == 20
    again = run_image_study(config, out, seeds=[0, 1], arms=arms, progress=lines.append)
    assert again == result
    assert len(lines) == 20
    with pytest.raises(ValueError, match="unknown arms bessel; expected some of scratch"):
        run_image_study(config, out, arms=["bessel"])


def test_comparisons_are_paired_differences():
    runs = {"points_100k": [0.5, 0.7, 0.6], "points_10k": [0.4, 0.5, 0.5], "scratch": [0.1, 0.2, 0.3]}
    table = comparisons_table(
        StudyResult(
            {arm: {f"s{k}": {"fashion": value} for k, value in enumerate(values)} for arm, values in runs.items()},
            {f"s{k}": f"s{k}" for k in range(3)},
            "scratch",
        )
    )
    assert "| more points: 100k over 10k | 3 | +13.3 (-1.0 to +27.7) |" in table
    assert "contours" not in table


def test_points_and_settings(config):
    sets = pretraining_sets(config)
    assert [sets[f"points_{k}k"].fractaldb.num_points for k in (10, 50, 100)] == [39, 195, 391]
    assert sets["contours_broken"].rcdb.draw.break_fraction == 0.5
    with pytest.raises(ConfigError, match=r"pretrain\.view\.size: is 224"):
        ImageStudyConfig(fashion=config.fashion, icons=config.icons, furniture=config.furniture)
    with pytest.raises(ConfigError, match=r"fashion: \(none\) is not a file"):
        ImageStudyConfig()
