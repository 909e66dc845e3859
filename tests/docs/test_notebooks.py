"""The notebooks of the documentation run from top to bottom, and what is stored with them is what they show.

`python tests/docs/test_notebooks.py [NAME ...]` runs them again and stores the new outputs.
"""

import base64
import os
import sys
import tempfile
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="pip install '.[docs]'")
nbclient = pytest.importorskip("nbclient", reason="pip install '.[docs]'")

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
MAX_PICTURE = 60_000  # bytes
MAX_NOTEBOOK = 300_000


def executed(path: Path, folder: Path):
    """The notebook with the outputs of a run in a folder, without what goes to stderr (progress, notes)."""
    notebook = nbformat.read(path, as_version=4)
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / ".ipython")}
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute(env={**os.environ, **environment})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def kinds(notebook) -> list[list[str]]:
    """What each code cell shows: `stdout`, or the types of a picture or value."""
    return [
        [output.get("name") or "+".join(sorted(output.data)) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def lines_of_text(notebook) -> list[int]:
    """Number of printed lines of each code cell."""
    return [
        sum(output.text.count("\n") for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_notebooks_for_each_part():
    assert [path.stem for path in NOTEBOOKS] == ["fractals", "images", "rooms"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_name_no_folder_of_their_maker(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text()
    assert len(text) <= MAX_NOTEBOOK
    assert not [word for word in ("/home/", "/tmp/", "/Users/", "Traceback") if word in text]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    shown = [output.get("data", {}) for cell in code for output in cell.outputs]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    assert len(pictures) >= 2
    assert max(len(base64.b64decode(picture)) for picture in pictures) <= MAX_PICTURE


QUICK = ("fractals",)


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow, id=p.stem) for p in NOTEBOOKS]
)
def test_a_notebook_runs_and_shows_what_is_stored(path, tmp_path):
    if path.stem == "images":
        pytest.importorskip("timm", reason="pip install '.[image]'")
    stored, now = nbformat.read(path, as_version=4), executed(path, tmp_path)
    assert kinds(now) == kinds(stored)
    assert lines_of_text(now) == lines_of_text(stored)


def main(names: list[str]) -> None:
    for path in NOTEBOOKS:
        if not names or path.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(executed(path, Path(folder)), path)


if __name__ == "__main__":
    main(sys.argv[1:])
