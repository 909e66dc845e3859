"""The documentation: `make docs` builds it into docs/_build/html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pcfdsl

project = "pcfdsl"
author = "The pcfdsl authors"
version = release = pcfdsl.__version__
html_title = f"pcfdsl {version}"
html_theme = "furo"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
    "settings_pages",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
nb_execution_mode = "off"  # the notebooks keep their outputs; the tests execute them
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_rtype = False
default_role = "code"  # docstrings mark names with single backquotes
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository; tests/docs checks them


def escape_outside_code(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text: |x| is an absolute value and *path an argument, not markup."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith(":"):
            parts = line.split("`")
            parts[::2] = [part.replace("|", r"\|").replace("*", r"\*") for part in parts[::2]]
            lines[i] = "`".join(parts)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape_outside_code, priority=400)  # before napoleon
