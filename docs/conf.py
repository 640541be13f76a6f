"""Sphinx configuration. Build with ``python -m sphinx -W docs docs/_build``."""

import re
import shutil
from pathlib import Path

import snnax

HERE = Path(__file__).parent

project = "snnax"
author = "the snnax contributors"
project_copyright = "the snnax contributors, Apache License 2.0"
version = release = snnax.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"snnax {release}"
html_static_path = ["_static"]
html_css_files = ["snnax.css"]

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "special-members": "__call__",
    "exclude-members": "name, parent, scope, setup",
}
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The notebooks are stored with their outputs and executed by a stage of .ci/run of its own.
nb_execution_mode = "off"


def copy_tutorials() -> None:
    """Sphinx reads below docs only, and the notebooks live beside it."""
    target = HERE / "generated" / "tutorials"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for notebook in sorted((HERE.parent / "tutorials").glob("*.ipynb")):
        shutil.copy(notebook, target)


def shorten_signature(app, what, name, obj, options, signature, returns):
    """Leave out the two fields that flax adds to every module."""
    if signature:
        signature = re.sub(r", (\*, )?parent: .*?, name: [^,)]*(?=[,)])", "", signature)
    return signature, returns


def setup(app):
    copy_tutorials()
    app.connect("autodoc-process-signature", shorten_signature)
