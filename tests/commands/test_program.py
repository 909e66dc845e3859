"""The command `pcfdsl`, and the wheel that brings it."""

import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from pcfdsl.commands import program
from pcfdsl.recipes import recipes
from tests.conftest import REPOSITORY

PROGRAM = "from pcfdsl.commands.program import main; main()"


def called(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pcfdsl", *arguments])
    with pytest.raises(SystemExit) as stop:
        program.main()
    return stop.value.code, *capsys.readouterr()


def test_help_lists_every_command_and_needs_no_heavy_package():
    heavy = ("torch", "numpy", "numba", "scipy", "PIL")
    code = f"import atexit, sys; atexit.register(lambda: print([n for n in {heavy} if n in sys.modules])); {PROGRAM}"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert re.findall(r"^    ([a-z][\w-]+)\b", done.stdout, re.MULTILINE) == list(program.COMMANDS)


def test_without_a_command_it_shows_its_help(monkeypatch, capsys):
    assert called(monkeypatch, capsys) == called(monkeypatch, capsys, "--help")


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_command_says_how_it_is_used(name, monkeypatch, capsys):
    code, said, _ = called(monkeypatch, capsys, name, "--help")
    assert code == 0
    assert said.startswith(f"usage: pcfdsl {name} ")


def test_wrong_use_exits_with_code_2(monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, "trian")
    assert code == 2
    assert "invalid choice: 'trian'" in said
    code, _, said = called(monkeypatch, capsys, "train", "--config", "votenet/smoke_pretrain")
    assert code == 2
    assert "pcfdsl train: error: --out is required" in said
    code, _, said = called(monkeypatch, capsys, "train", "--config", "votenet/smoke_pretrian")
    assert code == 1
    assert "similar name: votenet/smoke_pretrain" in said


@pytest.mark.parametrize("command", ["train", "train-image", "compare-pretraining", "image-study"])
def test_a_seed_given_twice_is_named_before_anything_is_opened(command, monkeypatch, capsys):
    code, _, said = called(
        monkeypatch, capsys, command, "--out", "run", "--config", "missing", "--seeds", "3", "0", "3"
    )
    assert code == 2
    assert f"pcfdsl {command}: error: argument --seeds: 3, 0, 3 repeat; give each once" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data={kind: detection_set, folder: nowhere}", "--init-from"),
        ("train-image", "data={kind: folder, path: nowhere}", "--init-from"),
        ("demo", "--config", "demo/smoke", "--init-from"),
    ],
)
def test_weights_that_are_not_there_are_named_before_anything_is_opened(arguments, tmp_path, monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, *arguments, str(tmp_path / "no.pth"), "--out", str(tmp_path / "run"))
    assert code == 1
    assert f"checkpoint {tmp_path / 'no.pth'} does not exist; give a run's folder, a weights file, or one of " in said
    assert not (tmp_path / "run").exists()


def test_recipes_are_listed_for_one_job_or_all(monkeypatch, capsys):
    assert list(json.loads(called(monkeypatch, capsys, "configs")[1])) == list(recipes())
    listed = json.loads(called(monkeypatch, capsys, "configs", "pcfractal")[1])
    assert list(listed) == ["pcfractal/paper", "pcfractal/small", "pcfractal/smoke"]


def test_every_script_is_a_command():
    modules = {module.__name__: module for module in program.COMMANDS.values()}
    used = set()
    for script in (REPOSITORY / "tools").glob("*.py"):
        text = script.read_text()
        assert len(text.splitlines()) <= 40
        name = re.search(r"^from (pcfdsl\.commands\.\w+) import main$", text, re.MULTILINE)[1]
        assert text.startswith(f'"""{modules[name].__doc__}"""')
        used.add(name)
    assert set(modules) - used == {"pcfdsl.commands.configs"}


def test_a_wheel_holds_the_command_and_the_recipes(tmp_path):
    pytest.importorskip("hatchling", reason="builds the wheel")
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", tmp_path / "made"]
    subprocess.run([sys.executable, *build, REPOSITORY], check=True, capture_output=True)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "pcfdsl = pcfdsl.commands.program:main" in archive.read(entry).decode()
        archive.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for arguments, expected in ((["configs"], list(recipes())), (["generate-pcfractal", "--dry-run"], None)):
        given = arguments if expected else [*arguments, "--config", "pcfractal/smoke"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *given], cwd=tmp_path / "empty", env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert expected is None or list(json.loads(done.stdout)) == expected


@pytest.mark.parametrize("there_is_one", [True, False])
def test_open_opens_the_page_or_says_that_no_browser_is_there(tmp_path, monkeypatch, capsys, there_is_one):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or there_is_one)
    page = tmp_path / "a page.html"
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).random((50, 3)))
    code, _, said = called(monkeypatch, capsys, "view", str(tmp_path / "cloud.npy"), "--html", str(page), "--open")
    assert code == 0
    assert opened == [page.resolve().as_uri()]
    assert ("no browser could be opened here" in said) != there_is_one


@pytest.mark.parametrize("name", ["view", "predict", "evaluate"])
def test_open_needs_a_page(monkeypatch, capsys, name):
    what = ("run", "cloud.npy") if name == "predict" else ("run",)
    code, _, said = called(monkeypatch, capsys, name, *what, "--open")
    assert code == 2
    assert said.endswith("--open needs a page: --html FILE\n")
