"""Claims get the word that their intervals say, from runs that one command makes."""

import json
import os

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from pcfdsl.config import load
from pcfdsl.recipes import recipes
from pcfdsl.studies.claims.judge import judge, measure
from pcfdsl.studies.claims.page import write_claims_page
from pcfdsl.studies.claims.papers import CLAIMS, Claim, Contrast, Run
from pcfdsl.studies.claims.plan import PLANS
from pcfdsl.studies.claims.run import _run, plan_of, read_results, run_plan
from pcfdsl.studies.image_arms import ARMS
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.train.tasks.table import TASKS

NOISE = np.array([0.01, -0.02, 0.03, -0.01, 0.0])


def claim(*, within=None, plus=("study", "good"), minus=("study", "bad")) -> Claim:
    contrast = Contrast(what="", metric="mAP", plus=(Run(*plus),), minus=(Run(*minus),), within=within)
    return Claim(key="T", says="", paper="", contrasts=(contrast,))


def results(gain: float, seeds: int = 5) -> dict:
    values = {"bad": np.full(seeds, 0.3), "good": 0.3 + gain + NOISE[:seeds]}
    return {"study": {arm: {f"seed{i}": {"mAP": v} for i, v in enumerate(of_arm)} for arm, of_arm in values.items()}}


@pytest.mark.parametrize(("gain", "word"), [(0.1, "reproduced"), (-0.1, "contradicted"), (0.005, "undecided")])
def test_the_interval_gives_the_word(gain, word):
    judged = judge(claim(), results(gain))
    assert judged.verdict == word
    p_value = ttest_1samp(gain + NOISE, 0).pvalue
    assert (p_value < 0.05) == (word != "undecided")
    assert bool(judged.takes) == (word == "undecided")


@pytest.mark.parametrize(("gain", "word"), [(0.0, "reproduced"), (0.1, "contradicted"), (0.04, "undecided")])
def test_equality_needs_the_whole_interval_within_its_margin(gain, word):
    assert judge(claim(within=0.04), results(gain)).verdict == word


def test_four_seeds_never_reproduce_but_can_be_added_to():
    judged = judge(claim(), results(0.1, seeds=4))
    assert (judged.verdict, judged.takes) == ("undecided", "5 seeds")


def test_the_number_of_seeds_asked_for_would_decide_at_the_same_spread():
    judged = judge(claim(), results(0.005))
    count = int(judged.takes.split()[1])
    deviation = NOISE.std(ddof=1)
    for seeds, decided in ((count, True), (count - 1, False)):
        same_spread = np.resize([-1.0, 1.0], seeds)
        same_spread = (same_spread - same_spread.mean()) / same_spread.std(ddof=1) * deviation
        mean = 0.005 + NOISE.mean()
        assert (ttest_1samp(mean + same_spread, 0).pvalue < 0.05) == decided


def test_a_difference_of_gains_is_paired_by_seed():
    arms = {"few": {"pre": [5, 7], "scratch": [1, 2]}, "many": {"pre": [6, 6], "scratch": [4, 5]}}
    found = {
        study: {arm: {f"seed{i}": {"m": v} for i, v in enumerate(values)} for arm, values in of_study.items()}
        for study, of_study in arms.items()
    }
    contrast = Contrast(
        what="",
        metric="m",
        plus=(Run("few", "pre"), Run("many", "scratch")),
        minus=(Run("few", "scratch"), Run("many", "pre")),
    )
    summary = measure(contrast, found)
    assert summary is not None
    assert (summary.mean, summary.num_values) == ((5 + 4 - 1 - 6 + 7 + 5 - 2 - 6) / 2, 2)
    del found["many"]["pre"]["seed1"]
    summary = measure(contrast, found)
    assert summary is not None
    assert summary.num_values == 1


def test_without_runs_a_claim_says_what_it_would_take():
    assert judge(claim(), {}).takes == "a plan that runs it"
    for each in CLAIMS:
        judged = judge(each, {})
        assert judged.verdict == "undecided"
        assert judged.takes


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_recipe_and_change_of_a_plan_loads(plan):
    for pretraining in plan.pretrainings.values():
        load(TASKS[pretraining.task]()[0], pretraining.recipe, pretraining.settings)
    for study in plan.rooms.values():
        load(DetectorConfig, study.recipe, study.settings)
        assert set(study.starts.values()) <= plan.pretrainings.keys()
    assert plan.pictures is None or plan.pictures.recipe in recipes()


@pytest.mark.parametrize("name", ["medium", "full"])
def test_the_longer_plans_run_every_arm_that_a_claim_compares(name):
    plan = PLANS[name]
    for each in CLAIMS:
        for contrast in each.contrasts:
            for study, arm in (*contrast.plus, *contrast.minus):
                assert arm == "scratch" or arm in (ARMS if study == "pictures" else plan.rooms[study].starts)


def test_one_command_runs_resumes_and_reports(tmp_path):
    lines: list[str] = []
    assert run_plan(PLANS["smoke"], tmp_path, workers=2, progress=lines.append) == []
    assert len(lines) == 3
    found = read_results(PLANS["smoke"], tmp_path)
    assert {arm: list(runs) for arm, runs in found["rooms"].items()} == {
        "detection": ["seed0", "seed1"],
        "scratch": ["seed0", "seed1"],
    }
    log = tmp_path / "rooms" / "rooms" / "scratch" / "seed1" / "log.jsonl"  # as an interrupt after step 1 leaves it
    log.write_text(json.dumps(read_log(log.parent)[0] | {"step": 1}) + "\n" + log.read_text())
    page = write_claims_page(PLANS["smoke"], tmp_path)
    assert {path.name for path in tmp_path.glob("claims*")} == {
        "claims.html",
        "claims.md",
        "claims_curves.png",
        "claims_intervals.png",
    }
    text = page.with_suffix(".md").read_text()
    assert all(each.says in text for each in CLAIMS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/result.json")}
    assert run_plan(PLANS["smoke"], tmp_path, workers=1, progress=lines.append) == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/result.json")}
    with pytest.raises(ValueError, match="holds runs of another plan"):
        run_plan(PLANS["small"], tmp_path, progress=lines.append)
    assert plan_of(tmp_path) is PLANS["smoke"]
    result = tmp_path / "rooms" / "rooms" / "scratch" / "seed1" / "result.json"
    for text in ('{"arm": "scratch"', '{"arm": "scratch"}', "[]"):
        result.write_text(text)
        with pytest.raises(ValueError, match=r"seed1.result.json is not the result of a study .*delete it to repeat"):
            read_results(PLANS["smoke"], tmp_path)


def test_a_folder_says_which_plan_it_is_of(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no runs for claims; run this without --report-only first"):
        plan_of(tmp_path)
    for text in ("{}", "[]", '{"plan": "large"}', "{"):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(ValueError, match="names none of the plans smoke, small, medium, full"):
            plan_of(tmp_path)


def test_a_job_whose_process_is_killed_costs_only_itself(tmp_path):
    jobs = {
        "killed": (os._exit, (9,)),
        "wrong": (int, ("x",)),
        **{name: (os.mkdir, (tmp_path / name,)) for name in ("a", "b", "c")},
    }
    failures = _run(2, jobs, str)
    assert failures.keys() == {"killed", "wrong"}
    assert failures["killed"] == "its process was killed; it may need more memory than there is"
    assert failures["wrong"].startswith("ValueError: invalid literal")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def test_a_job_that_fails_costs_only_itself(tmp_path):
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "detection").write_text("in the way")
    failures = run_plan(PLANS["smoke"], tmp_path, workers=1, progress=str)
    assert len(failures) == 1
    assert failures[0].startswith("pre-training detection: NotADirectoryError")
    assert list(read_results(PLANS["smoke"], tmp_path)["rooms"]) == ["scratch"]
    assert json.loads((tmp_path / "plan.json").read_text()) == {"plan": "smoke"}
