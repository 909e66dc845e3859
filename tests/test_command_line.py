import argparse
import sys

import pytest
import yaml

from pcfdsl.command_line import Several, needs, positive, refuse_settings, run, whole
from pcfdsl.commands import train
from pcfdsl.train.tasks.warm_up import WarmUpConfig


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), "error: a.yaml does not exist"),
        (IsADirectoryError(21, "Is a directory", "configs"), "error: configs is a folder; expected a file"),
        (PermissionError(13, "Permission denied", "a.yaml"), "error: a.yaml: Permission denied"),
        (OSError("cannot write a; choose b"), "error: cannot write a; choose b"),
        (ValueError("a is b"), "error: a is b"),
        (ImportError("needs Ray: pip install 'pcfdsl[ray]'"), "error: needs Ray: pip install 'pcfdsl[ray]'"),
        (MemoryError("Unable to allocate 11. TiB"), "error: out of memory (Unable to allocate 11. TiB)"),
        (MemoryError(), "error: out of memory (no details)"),
    ],
)
def test_an_error_is_one_message(capsys, error, message):
    with pytest.raises(SystemExit) as stop:
        run(failing(error))
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ModuleNotFoundError("no", name="pcfdsl.absent")])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises(type(bug)):
        run(failing(bug))
    with pytest.raises(type(bug)), needs("image"):
        raise bug


def test_a_tool_without_its_extra_says_which(capsys):
    def main():
        with needs("image"):
            import a_package_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ImportError):  # which others can catch: nothing is printed yet
        main()
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 1
    assert "needs a_package_that_nobody_has: pip install 'pcfdsl[image]'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_counts_are_from_one(text):
    with pytest.raises(argparse.ArgumentTypeError, match="positive integer"):
        positive(text)


def test_a_tilde_is_the_home_folder_in_every_argument(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written = ["tool", "~/a", "--out", "~", "--out=~/b", "name=~/c", "data.path=~", "x~/y", "--split", "train"]
    monkeypatch.setattr("sys.argv", written.copy())
    seen = []
    with pytest.raises(SystemExit):
        run(lambda: seen.extend(sys.argv))
    home = str(tmp_path)
    assert seen == [
        "tool",
        f"{home}/a",
        "--out",
        home,
        f"--out={home}/b",
        f"name={home}/c",
        "data.path=~",
        "x~/y",
        "--split",
        "train",
    ]


def test_a_setting_behind_seeds_is_explained():
    assert whole("-3") == -3
    with pytest.raises(argparse.ArgumentTypeError, match=r"got 'train\.num_steps=3'; put settings before options"):
        whole("train.num_steps=3")


def test_a_setting_behind_options_of_several_values_is_explained(capsys):
    parser = argparse.ArgumentParser()
    refuse_settings(parser, "--init", ["scratch", "fractals=runs/a", "6000=runs/b"], WarmUpConfig)
    for setting in ("size=64", "train.num_steps=3"):
        with pytest.raises(SystemExit, match="2"):
            refuse_settings(parser, "--init", ["scratch", setting], WarmUpConfig)
        assert (
            f"argument --init: '{setting}' reads as a setting; put settings before options" in capsys.readouterr().err
        )


@pytest.mark.parametrize("option", [["--init-from", "runs/a"], ["--train-fraction", "0.5"]])
def test_what_a_task_does_not_take_is_refused_by_the_name_of_the_option(monkeypatch, capsys, option):
    monkeypatch.setattr("sys.argv", ["train", "--task", "warm_up", "--config", "warm_up/smoke", *option])
    with pytest.raises(SystemExit, match="2"):
        train.main()
    assert f"argument {option[0]}: this task does not take it; leave it out" in capsys.readouterr().err


def test_data_is_a_folder_of_scenes_and_its_validation_split(monkeypatch, capsys, tmp_path):
    def sources(*options: str, task: str = "detection", recipe: str = "votenet/laptop_finetune") -> list:
        command = ["train", "--task", task, "--config", recipe, "--data", str(folder), *options, "--print-config"]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit, match="0"):
            train.main()
        settings = yaml.safe_load(capsys.readouterr().out)
        return [{**settings[name], "folder": None} for name in ("data", "validation") if name in settings]

    folder = tmp_path / "a set"
    of_set = {"kind": "detection_set", "folder": None, "split": "train"}
    assert sources() == [of_set, {"kind": "none", "folder": None}]
    (folder / "splits").mkdir(parents=True)
    (folder / "splits" / "val.txt").write_text("room\n")
    assert sources() == [of_set, {**of_set, "split": "val"}]
    assert sources("data.split=a", "validation.split=b") == [{**of_set, "split": "a"}, {**of_set, "split": "b"}]
    assert sources(task="segmentation", recipe="pretrain/laptop_segmentation") == [of_set]
    (folder / "manifest.json").write_text("{}")
    assert sources()[0] == {"kind": "shards", "folder": None}


def test_an_option_given_several_times_takes_all_its_values(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--init", nargs="+", action=Several, default=["scratch"])
    assert parser.parse_args([]).init == ["scratch"]
    assert parser.parse_args(["--init", "a", "--init", "b", "c"]).init == ["a", "b", "c"]
    assert parser.parse_args(["--init", "a"]).init == ["a"]  # nothing is left of an earlier call
    with pytest.raises(SystemExit):
        parser.parse_args(["--init", "a", "--init", "b", "a"])
    assert "argument --init: a, b, a repeat; give each once" in capsys.readouterr().err
