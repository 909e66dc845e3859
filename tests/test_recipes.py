from pathlib import Path

import pytest

from pcfdsl.config import load
from pcfdsl.recipes import find_recipe, recipes, summaries
from pcfdsl.train.tasks.detection import DetectorConfig
from tests.conftest import REPOSITORY


def test_a_recipe_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = REPOSITORY / "configs" / "votenet" / "smoke_pretrain.yaml"
    assert find_recipe("votenet/smoke_pretrain") == file
    assert load(DetectorConfig, "votenet/smoke_pretrain") == load(DetectorConfig, file)
    Path("votenet/smoke_pretrain").mkdir(parents=True)  # a folder is no settings file
    assert find_recipe("votenet/smoke_pretrain") == file
    Path("scene").mkdir()
    Path("scene/smoke").write_text("seed: 1")
    assert find_recipe("scene/smoke") == Path("scene/smoke")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("votenet/laptop_pretrian", "similar name: votenet/laptop_pretrain"),
        ("configs/votenet/laptop_pretrain.yaml", "votenet/laptop_pretrain"),
        ("rcdb_small", "similar name: image/rcdb_small$"),
        ("nothing-like-it-at-all.yaml", "^there is no nothing-like-it-at-all.yaml$"),
    ],
)
def test_a_name_that_does_not_exist_lists_those_like_it(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        find_recipe(name)


def test_every_recipe_says_in_a_sentence_what_it_is_for():
    said = summaries()
    assert list(said) == sorted(recipes())
    assert not [name for name, text in said.items() if not text.endswith((".", ".)"))]
    assert said["image/bezier_144"] == "The Bezier baseline: 12 numbers of control points x 12 numbers of curves."
    assert not [name for name in said if name.startswith("cluster/")]
