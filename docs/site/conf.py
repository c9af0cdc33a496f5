"""Sphinx's configuration: the pages of docs/, of modules (apipages.py), and of ops (oppages.py)."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests")]

import apipages  # noqa: E402
import oppages  # noqa: E402

import clgrad  # noqa: E402

project = "clgrad"
copyright = "the clgrad authors, Apache License 2.0"
version = release = clgrad.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # attributes that are properties are described once
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "clgrad"
html_static_path = ["static"]
html_css_files = ["ops.css"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository that are no pages
    "ref.python",  # "of shape (1,)" among types: several classes have a shape
]


def setup(app) -> dict:
    """Write the generated pages before Sphinx reads its sources."""
    app.connect("builder-inited", lambda app: oppages.write(HERE / "ops", HERE / "guide"))
    app.connect("builder-inited", lambda app: apipages.write(HERE / "api"))
    app.connect("autodoc-skip-member", apipages.skip)
    app.connect("autodoc-process-docstring", apipages.escape)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
