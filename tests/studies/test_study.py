"""A study runs what is missing, pairs what it compares, and notices when it compares other things."""

import json
from dataclasses import replace

import pytest

from pcfdsl.studies.study import Arm, Case, read_study, run_study

CASES = [
    Case(name=f"fold{fold}_seed{seed}", unit=f"fold{fold}", settings={"fold": fold, "seed": seed})
    for seed in (0, 1)
    for fold in (0, 1, 2)
]


def arm(gain: float, calls: list | None = None, fail_at: str = "") -> Arm:
    def run(case, folder):
        if case.name == fail_at:
            raise RuntimeError("power cut")
        if calls is not None:
            calls.append(case.name)
        return {"accuracy": 0.5 + 0.1 * case.settings["fold"] + 0.01 * case.settings["seed"] + gain, "zero": 0}

    return Arm(run=run, about=lambda case: {"gain": gain, **case.settings})


def test_differences_are_paired_and_seeds_of_a_fold_are_one_value(tmp_path):
    study = run_study({"scratch": arm(0), "more": arm(0.2)}, CASES, tmp_path, baseline="scratch", progress=str)
    summary, gain = study.summary("scratch", "accuracy"), study.difference("more", "accuracy")
    assert summary is not None
    assert gain is not None
    assert summary.num_values == 3
    assert summary.mean == pytest.approx(0.605)
    assert summary.deviation == pytest.approx(0.1)  # of 0.505, 0.605, 0.705
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.2, 0.2, 0.2))
    content = json.loads((tmp_path / "study.json").read_text())
    assert content["arms"]["more"]["accuracy"]["gain"]["mean"] == pytest.approx(0.2)
    assert content["runs"]["scratch"]["fold2_seed1"] == {"accuracy": pytest.approx(0.71), "zero": 0}
    table = (tmp_path / "study.md").read_text()
    assert "| more | 6 | 3 | 80.5 | 55.7 to 105.3 | +20.0 | +20.0 to +20.0 |" in table
    assert "| scratch | 6 | 3 | 60.5 | 35.7 to 85.3 |  |  |" in table


def test_a_stopped_study_goes_on_and_is_paired_meanwhile(tmp_path):
    calls: list[str] = []
    arms = {"scratch": arm(0, calls), "more": arm(0.2, calls, fail_at="fold2_seed0")}
    with pytest.raises(RuntimeError, match="power cut"):
        run_study(arms, CASES, tmp_path, baseline="scratch", progress=str)
    assert calls == ["fold0_seed0", "fold0_seed0", "fold1_seed0", "fold1_seed0", "fold2_seed0"]
    partial = read_study(arms, CASES, tmp_path, baseline="scratch")
    gain = partial.difference("more", "accuracy")
    assert gain is not None
    assert (gain.mean, gain.num_values) == (pytest.approx(0.2), 2)
    calls.clear()
    arms["more"] = arm(0.2, calls)
    run_study(arms, CASES, tmp_path, baseline="scratch", progress=str)
    assert len(calls) == 12 - 5
    calls.clear()
    run_study(arms, CASES, tmp_path, baseline="scratch", progress=str)
    assert calls == []


def test_shards_share_the_cases_and_fill_one_study(tmp_path):
    calls: list[str] = []
    arms = {"scratch": arm(0, calls)}
    for i in range(2):
        study = run_study(arms, CASES, tmp_path, baseline="scratch", shard=(i, 2), progress=str)
        assert len(calls) == 3 * (i + 1)
    assert sorted(calls) == sorted(case.name for case in CASES)
    assert list(study.runs["scratch"]) == [case.name for case in CASES]


def test_results_of_other_settings_are_refused(tmp_path):
    run_study({"scratch": arm(0)}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    with pytest.raises(ValueError, match=r"has different settings.*\n  gain: was 0, is 0.1"):
        run_study({"scratch": arm(0.1)}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    newer = Arm(run=arm(0).run, about=lambda case: {"gain": 0, "newer": 1, **case.settings})
    run_study({"scratch": newer}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    older = Arm(run=arm(0).run, about=lambda case: {"gain": 0})
    with pytest.raises(ValueError, match=r"fold: was 0, is None"):
        run_study({"scratch": older}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    (tmp_path / "scratch" / CASES[0].name / "result.json").write_text("{")
    with pytest.raises(ValueError, match="is not the result of a study"):
        run_study({"scratch": arm(0)}, CASES[:1], tmp_path, baseline="scratch", progress=str)


def test_where_and_how_fast_a_run_computes_does_not_matter_and_older_settings_are_translated(tmp_path):
    def computing(train):
        return Arm(run=arm(0).run, about=lambda case: {"settings": {"train": train}, "finetune": {"train": train}})

    before = {"device": "cpu", "num_workers": 2, "seed": 1, "tensorboard": False}
    run_study({"scratch": computing(before)}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    now = {"device": "cuda", "num_workers": 8, "seed": 1, "sinks": []}
    run_study({"scratch": computing(now)}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    with pytest.raises(ValueError, match=r"finetune\.train\.seed: was 1, is 2"):
        run_study({"scratch": computing(now | {"seed": 2})}, CASES[:1], tmp_path, baseline="scratch", progress=str)


def test_a_run_is_cleared_away_after_its_result_is_stored(tmp_path):
    seen = []

    def finish(folder):
        seen.append((folder.name, (folder / "result.json").is_file()))
        raise RuntimeError("power cut")

    cleared = replace(arm(0), finish=finish)
    with pytest.raises(RuntimeError, match="power cut"):
        run_study({"scratch": cleared}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    assert seen == [(CASES[0].name, True)]
    calls: list[str] = []
    run_study({"scratch": replace(arm(0, calls), finish=finish)}, CASES[:1], tmp_path, baseline="scratch", progress=str)
    assert calls == []


@pytest.mark.parametrize(
    ("arms", "cases", "baseline", "message"),
    [
        ({"a/b": arm(0)}, CASES, "a/b", "'a/b' cannot be the name"),
        ({"a": arm(0)}, [CASES[0], CASES[0]], "a", "duplicate case fold0_seed0"),
        ({"a": arm(0)}, CASES, "b", "'b' is not among the arms a"),
        ({"a": arm(0)}, [], "a", "no cases"),
    ],
)
def test_what_cannot_be_a_study_is_refused(tmp_path, arms, cases, baseline, message):
    with pytest.raises(ValueError, match=message):
        run_study(arms, cases, tmp_path, baseline=baseline)
    assert not list(tmp_path.iterdir())
