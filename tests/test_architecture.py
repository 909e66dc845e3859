"""The picture of the layers is that of the import contract."""

import itertools
import re
import tomllib

from tests.conftest import REPOSITORY


def layers_of(text: str) -> list[set[str]]:
    """Layers of a Mermaid chain, from the top."""
    arrows = re.findall(r"^    ([\w &]+) --> ([\w &]+)$", text, flags=re.MULTILINE)
    split = [tuple(set(side.split(" & ")) for side in arrow) for arrow in arrows]
    for (_, below), (above, _) in itertools.pairwise(split):
        assert below == above
    return [split[0][0], *(below for _, below in split)]


def test_the_picture_of_the_layers_is_the_contract():
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    contract = next(contract for contract in contracts if contract["type"] == "layers")
    assert contract["exhaustive"]
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    layers = layers_of(page)
    assert layers == [set(layer.split(" | ")) for layer in contract["layers"]]
    described = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, flags=re.MULTILINE)
    assert {name for cell in described for name in re.findall(r"\w+", cell)} == set().union(*layers)
    modules = {path.stem for path in (REPOSITORY / "pcfdsl").iterdir() if path.stem.isidentifier()}
    assert modules - {"__init__", "__pycache__", "py"} == set().union(*layers)
