"""What surrounds the code for its release: workflows, hooks, templates, version, citation, licences."""

import hashlib
import os
import re
import tomllib

import pytest
import yaml

import pcfdsl
from pcfdsl.commands.program import COMMANDS
from pcfdsl.recipes import recipes
from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path):
    return yaml.safe_load(path.read_text())


def steps_of(workflow) -> list[dict]:
    return [step for job in read(workflow)["jobs"].values() for step in job["steps"]]


def command_lines(workflow) -> list[str]:
    return [line.strip() for step in steps_of(workflow) for line in step.get("run", "").splitlines() if line.strip()]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_checks_out_sets_python_and_may_only_read(workflow):
    assert read(workflow)["permissions"] == {"contents": "read"}
    uses = [step["uses"].partition("@")[0] for step in steps_of(workflow) if "uses" in step]
    assert uses == ["actions/checkout", "actions/setup-python"], "nothing is uploaded"
    (python,) = [step["with"]["python-version"] for step in steps_of(workflow) if "with" in step]
    assert PROJECT["project"]["requires-python"] == f">={python}"


def test_the_tests_run_by_the_script_that_is_run_by_hand():
    assert command_lines(REPOSITORY / ".github/workflows/ci.yml") == [".ci/run"]
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    made = re.findall(r"^make (\S+)$", script.read_text(), re.MULTILINE)
    assert made
    assert set(made) <= set(targets)


def test_the_package_workflow_names_commands_and_recipes_that_are_there():
    lines = command_lines(REPOSITORY / ".github/workflows/package.yml")
    assert "python -m build" in lines
    jobs = [line.split() for line in lines if line.startswith("pcfdsl ")]
    assert [job[1] for job in jobs[:2]] == ["--version", "configs"]
    assert {job[1] for job in jobs[1:]} <= set(COMMANDS)
    named = [job[job.index("--config") + 1] for job in jobs if "--config" in job]
    assert named
    assert set(named) <= set(recipes())
    assert all("smoke" in name for name in named)


def test_hooks_are_the_linters_of_the_project():
    local, hygiene = read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    ruff = [need for need in PROJECT["project"]["optional-dependencies"]["dev"] if need.startswith("ruff")]
    lint = (REPOSITORY / "Makefile").read_text()
    assert [hook["entry"].removesuffix(" --force-exclude") for hook in local["hooks"]] == ["ruff check", "ruff format"]
    for hook in local["hooks"]:
        assert hook["additional_dependencies"] == ruff
        assert f"$(BIN)/{hook['entry'].split(' --')[0]}" in lint
    golden = {hook["id"]: hook.get("exclude") for hook in hygiene["hooks"]}
    assert golden["trailing-whitespace"] == golden["end-of-file-fixer"] == "^tests/golden/"


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_something_and_names_what_exists(form):
    content = read(form)
    assert set(content) == {"name", "description", "labels", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for command in re.findall(r"pcfdsl ([\w-]+)", form.read_text()):
        assert command == "--version" or command in COMMANDS
    for page in re.findall(r"docs/[\w/]+\.md", form.read_text()):
        assert (REPOSITORY / page).is_file()


def test_the_pull_request_template_names_files_that_exist():
    template = (REPOSITORY / ".github" / "pull_request_template.md").read_text()
    named = re.findall(r"`([\w./]*/[\w./]+|[A-Z]+\.md)`", template)
    assert len(named) >= 4
    assert not [name for name in named if not (REPOSITORY / name).exists()]


def test_the_version_stands_in_one_place_and_the_changelog_begins_with_it():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"] == {"path": "pcfdsl/__init__.py"}
    release = pcfdsl.__version__.partition(".dev")[0]
    first = re.search(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert first == (release if release == pcfdsl.__version__ else f"{release} (unreleased)")


def test_the_citation_is_of_this_project():
    citation = read(REPOSITORY / "CITATION.cff")
    assert citation["license"] == PROJECT["project"]["license"]
    assert "version" not in citation, "the version stands in pcfdsl/__init__.py alone"
    for reference in citation["references"]:
        assert reference["title"]
        assert reference["authors"]
        assert 1980 < reference["year"] < 2100


def test_weights_that_come_along_have_a_licence_wherever_they_are_described():
    folder = REPOSITORY / "pcfdsl" / "checkpoints" / "shipped"
    card, page = (folder / "README.md").read_text(), (REPOSITORY / "docs" / "weights.md").read_text()
    names = [path.stem for path in folder.glob("*.safetensors")]
    assert names
    for name in names:
        assert f"`{name}.safetensors`" in card
        section = page.partition(f"### {name}\n")[2].partition("\n#")[0]
        assert f"| licence | {PROJECT['project']['license']}" in section
        assert hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() in section
    assert f"Licence: {PROJECT['project']['license']}" in card
