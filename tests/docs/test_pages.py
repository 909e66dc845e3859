"""Every command and every block of Python on the pages of the documentation runs, with the recipes of seconds.

A page is one session in one folder: ```python blocks share their names, ```sh blocks are run line by line in this
process. Recipes for laptops are replaced by those of the same job for smoke tests, and what takes long is shortened.
What cannot run here is marked ```console and must say so in its words.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pcfdsl.commands import program

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page.relative_to(REPOSITORY).as_posix()
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    if "_build" not in page.parts and re.search(r"^```(python|sh)$", page.read_text(), re.MULTILINE)
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")

# What stands on the pages -> what runs in seconds.
SHORTENED = (
    # shipped weights fit the networks of the laptop recipes only
    (
        r"votenet/laptop_finetune (--init-from votenet-\S+)",
        rf"{REPOSITORY}/configs/votenet/./laptop_finetune.yaml \1 train.num_steps=1 train.evaluations=0",
    ),
    (r"\b(votenet|pretrain)/laptop_", r"\1/smoke_"),
    (r"\bclassifier/laptop\w*", "classifier/smoke"),
    (r"\bpcfractal/small", "pcfractal/smoke"),
    (r"\bscene/rooms", "scene/smoke"),
    (r"\bimage/\w+(?= --out)", "image/smoke"),
    (
        r"image_study/laptop(?= --out)",
        "image_study/laptop pretrain.train.num_steps=1 finetune.train.num_steps=1 num_categories=2 num_instances=2 "
        "num_validation=10 num_test=10 protocols=[fine1] rates=[0.003]",
    ),
    (r"\btrain_image/laptop_(resnet|vit)", "train_image/smoke"),
    (r"--seeds [\d ]+(?=--)", "--seeds 0 1 "),
)


def shortened(text: str) -> str:
    for pattern, replacement in SHORTENED:
        text = re.sub(pattern, replacement, text)
    return text


def run_line(line: str) -> None:
    """Run one command of a page in this process, as the shell would run it in a process of its own."""
    command, *arguments = shlex.split(line, comments=True)
    if command == "make":
        targets = re.findall(r"^(\w[\w-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert {argument for argument in arguments if "=" not in argument} <= set(targets), line
        return
    if command == "pip":
        extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = {extra for extra in re.findall(r"\[([\w,]+)\]", line) for extra in extra.split(",")}
        assert named <= set(extras), line
        return
    assert command == "pcfdsl", f"{line}: pages show commands of pcfdsl, make and pip only"
    old, sys.argv = sys.argv, [command, *arguments]
    try:
        program.main()
    except SystemExit as end:
        if end.code:
            pytest.fail(f"{line}: exit code {end.code}")
    finally:
        sys.argv = old


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_runs(name, tmp_path, monkeypatch, capfd):
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    session = {"__name__": "page"}
    for language, content in BLOCK.findall((REPOSITORY / name).read_text()):
        content = shortened(content)
        if language == "python":
            exec(compile(content, name, "exec"), session)
        elif language == "sh":
            for line in re.sub(r"\\\n", " ", content).splitlines():
                if line.strip() and not line.startswith("#"):
                    run_line(line)


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for target in LINK.findall(page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPOSITORY)}: {target}")
    assert not broken, "\n".join(broken)


def test_the_record_of_provenance_names_files_that_are_there():
    """In the first column of its table; a name without a folder is beside the one before it."""
    rows = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "third_party" / "README.md").read_text(), re.MULTILINE)
    named, folder = [], ""
    for path in (path for row in rows for path in re.findall(r"`(.*?)`", row)):
        folder = path[: path.rindex("/") + 1] if "/" in path else folder
        named.append(path if "/" in path else folder + path)
    there = [any((REPOSITORY / root / path).exists() for root in ("pcfdsl", "")) for path in named]
    assert len(named) > 30
    assert [path for path, exists in zip(named, there, strict=True) if not exists] == []


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", REPOSITORY / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorials" / "first_pretraining.html").is_file()
