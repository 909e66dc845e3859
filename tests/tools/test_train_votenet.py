"""The three tools as a user runs them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.train.log import read_log

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs" / "votenet"
QUICK = ["train.num_steps=2", "train.batch_size=2", "data.scenes.num_scenes=4", "validation.scenes.num_scenes=2"]


def tool(name: str, *arguments, code: int = 0, processes: int = 1) -> subprocess.CompletedProcess:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)]
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tool") / "run"
    tool("train_votenet", "--config", CONFIGS / "smoke_finetune.yaml", *QUICK, "--out", folder)
    return folder


def test_training_twice_trains_once(run):
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    done = tool("train_votenet", "--config", CONFIGS / "smoke_finetune.yaml", *QUICK, "--out", run)
    assert json.loads(done.stdout)["runs"]["0"]["step"] == 2
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_two_processes_train_a_detector_as_one_in_two_parts(tmp_path):
    config = ("--config", CONFIGS / "smoke_finetune.yaml", *QUICK, "train.log_every=1", "train.num_steps=4")
    tool("train_votenet", *config, "train.accumulate=2", "--out", tmp_path / "one")
    done = tool("train_votenet", *config, "--out", tmp_path / "two", processes=2)
    assert json.loads(done.stdout)["runs"]["0"]["step"] == 4
    one, two = (
        [[record["loss"], record["vote"], record["gradient_norm"]] for record in read_log(tmp_path / run, kind="train")]
        for run in ("one", "two")
    )
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.slow
def test_two_processes_pretrain_as_one_in_two_parts(tmp_path):
    config = ("--task", "pointcontrast", "--config", CONFIGS.parent / "pretrain" / "smoke_pointcontrast.yaml")
    config = (*config, *QUICK[:1], "train.batch_size=4", "train.log_every=1")
    tool("train_votenet", *config, "train.accumulate=2", "--out", tmp_path / "one")
    tool("train_votenet", *config, "--out", tmp_path / "two", processes=2)
    one, two = (
        [[record["loss"], record["accuracy"], record["gradient_norm"]] for record in read_log(folder, kind="train")]
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    np.testing.assert_allclose(two, one, rtol=1e-5)


def test_a_task_pretrains_what_the_detector_takes_over(tmp_path):
    task = ("--task", "segmentation", "--config", CONFIGS.parent / "pretrain" / "smoke_segmentation.yaml")
    done = tool("train_votenet", *task, *QUICK[:3], "--out", tmp_path / "first", "--seed", 3)
    assert json.loads(done.stdout)["runs"]["3"]["step"] == 2
    config = ("--config", CONFIGS / "smoke_finetune.yaml", *QUICK)
    done = tool("train_votenet", *config, "--init-from", tmp_path / "first", "--out", tmp_path / "then")
    assert "tensors loaded, 2 of the source are outside the chosen parts" in done.stderr  # the two of the classifier
    assert json.loads(done.stdout)["runs"]["0"]["step"] == 2


def test_every_task_has_settings_of_its_own(monkeypatch, capsys):
    def in_this_process(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train_votenet", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(REPOSITORY / "tools" / "train_votenet.py"), run_name="__main__")
        return stop.value.code, "".join(capsys.readouterr())

    code, said = in_this_process("--task", "csc", "--backbone", "srunet", "--print-config")
    assert code == 0
    assert "shells:" in said
    assert "backbone_type: srunet" in said
    assert "use_height: false" in said
    code, said = in_this_process("--task", "csc", "temperatur=1")
    assert code == 2
    assert "temperatur: unknown key" in said
    for recipe, task in (
        ("point_mae/smoke", "point_mae"),
        ("pretrain/smoke_csc", "csc"),
        ("classifier/smoke", "classification"),
    ):
        code, said = in_this_process("--config", recipe)
        assert code == 2
        expected = f"{recipe} is no recipe of detection; take it with pcfdsl train --task {task}\n"
        assert said.endswith(expected)
    code, said = in_this_process("--config", str(CONFIGS / "smoke_finetune.yaml"), "epochs=1")
    assert code == 2
    assert "epochs: unknown key" in said
    code, said = in_this_process("--task", "cake")
    assert code == 2
    assert "invalid choice: 'cake'" in said


def test_evaluation_is_written_as_table_and_json(run, tmp_path):
    loading = ("--batch-size", 1, "--workers", 0, "--precision", "bfloat16")
    done = tool("evaluate_votenet", run, "--repeats", 2, *loading, "--out", tmp_path / "report")
    assert json.loads(done.stdout)["scenes"] == 4
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["repeats"]) == 2
    values = [repeat["metrics"]["mAP@0.25"] for repeat in report["repeats"]]
    assert json.loads(done.stdout)["mAP@0.25"] == pytest.approx(np.mean(values))
    assert report["over_repeats"]["mAP@0.25"]["mean"] == pytest.approx(np.mean(values))
    table = (tmp_path / "report.md").read_text()
    assert all(entry["name"] in table for entry in report["repeats"][0]["classes"])


def test_evaluation_is_that_of_the_training_unless_arguments_say_otherwise(tmp_path):
    how = ("evaluation.repeats=2", "evaluation.seed=7", "points.num_points=500", "--out", tmp_path / "run")
    done = tool("train_votenet", "--config", CONFIGS / "smoke_finetune.yaml", *QUICK, *how)
    metrics = json.loads(done.stdout)["runs"]["0"]["metrics"]
    found = json.loads(tool("evaluate_votenet", tmp_path / "run" / "last.safetensors").stdout)
    assert {name: found[name] for name in metrics} == metrics
    other = json.loads(tool("evaluate_votenet", tmp_path / "run" / "last.safetensors", "--seed", 1).stdout)
    assert {name: other[name] for name in metrics} != metrics


def test_a_split_of_no_detection_set_is_refused(run):
    refused = tool("evaluate_votenet", run, "--split", "train", code=2)
    assert "--split is of a detection set: give its folder with --data, or leave it out" in refused.stderr


def test_prediction_gives_boxes_a_page_and_a_picture(run, tmp_path):
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).uniform(0, 2, (3000, 3)).astype(np.float32))
    out = {kind: tmp_path / f"out.{kind}" for kind in ("json", "html", "png")}
    done = tool(
        "predict_votenet", run, tmp_path / "cloud.npy", "--confidence", 0,
        "--out", out["json"], "--html", out["html"], "--png", out["png"],
    )  # fmt: skip
    boxes = json.loads(out["json"].read_text())
    labels = json.loads(done.stdout)["objects"][str(tmp_path / "cloud.npy")]
    assert len(boxes) == len(labels)
    page = out["html"].read_text()
    assert all(label.rsplit(" ", 1)[0] in page for label in labels)  # the score stands apart
    assert out["png"].read_bytes().startswith(b"\x89PNG")


def test_several_clouds_are_searched_in_batches(run, tmp_path):
    random = np.random.default_rng(0)
    clouds = [tmp_path / f"cloud{i}.npy" for i in range(3)]
    for i, cloud in enumerate(clouds):
        np.save(cloud, random.uniform(0, 2, (900 + 200 * i, 3)).astype(np.float32))
    out = ("--confidence", 0, "--out", tmp_path / "boxes", "--html", tmp_path / "page.html")
    done = json.loads(tool("predict_votenet", run, *clouds, "--batch-size", 2, *out).stdout)
    assert done["scenes_per_second"] > 0
    for cloud in clouds:
        boxes = json.loads((tmp_path / "boxes" / f"{cloud.stem}.json").read_text())
        assert [f"{box['class']} {box['score']:.2f}" for box in boxes] == done["objects"][str(cloud)]
    (tmp_path / "empty.npy").write_bytes(b"")
    none = ("--out", tmp_path / "none.json", "--html", tmp_path / "none.html", "--png", tmp_path / "none.png")
    done = json.loads(tool("predict_votenet", run, tmp_path / "empty.npy", *none, code=1).stdout)
    assert (done["out"], done["html"], done["png"]) == (None, None, None)
    assert not list(tmp_path.glob("none.*"))
    said = tool("predict_votenet", run, clouds[0], clouds[0], "--out", tmp_path / "boxes", code=2).stderr
    assert "cloud0.json for more than one cloud" in said


def test_wrong_use_is_answered_in_one_message(run, tmp_path):
    config = ("--config", CONFIGS / "smoke_finetune.yaml")
    done = tool("train_votenet", *config, "model.nonsense=1", "train.batch_size=0", "--out", tmp_path, code=2)
    assert "model.nonsense: unknown key" in done.stderr
    assert "train.batch_size: must be at least 1" in done.stderr
    assert "Traceback" not in done.stderr
    done = tool("train_votenet", *config, "train.num_steps=9", *QUICK[1:], "--out", run, code=1)
    assert "holds a run of 2 steps, which the settings make 9" in done.stderr
    done = tool("predict_votenet", tmp_path, tmp_path / "cloud.npy", code=1)
    assert "holds neither best.safetensors nor last.safetensors" in done.stderr
    done = tool("evaluate_votenet", run, "--data", tmp_path, code=1)
    assert "is not a detection set" in done.stderr
