"""Sphinx configuration. Build with ``python -m sphinx -W docs docs/_build``."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the examples and pictures need no other device

import snnax
from snnax.interop.program import operators
from snnax.interop.program.operators import registry

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the extensions that lie here
sys.path.append(str(HERE.parent / "tests"))

from helpers import tutorial_lines  # noqa: E402

project = "snnax"
author = "the snnax contributors"
project_copyright = "the snnax contributors, Apache License 2.0"
version = release = snnax.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "myst_nb",
    "apipages",
    "counterparts",
    "elsewhere",
    "inherited",
    "links",
    "llms",
    "mathml",
    "returned",
]
exclude_patterns = [
    "_build",
    "generated/operators.rst",
    "generated/tutorials.rst",
    "generated/tutorial_shares.rst",
]
html_theme = "furo"
copybutton_prompt_text = r">>> |\.\.\. |\$ "  # is not copied, nor what an example prints
copybutton_prompt_is_regexp = True
plot_include_source = True
plot_html_show_source_link = plot_html_show_formats = False
plot_formats = ["svg"]
nitpicky = True
# Types in signatures that have no page of their own: what they are is said where they are taken or returned.
NO_PAGE = """
    snnax.dynamics.equation.Equation snnax.neurons.values.SupportsArray snnax.network.topology.Plan
    snnax.network.whole.WholeNetwork snnax.interop.compare.report.GradientReport
    snnax.interop.compare.report.LayerReport snnax.interop.compare.report.Picture
    snnax.interop.program.module.Held snnax.interop.program.nodes.Program
    snnax.interop.spec.NeuronSpec snnax.layers.rounding.IntegerWeights snnax.layers.rounding.Layer
    snnax.network.keeping.Saving
    snnax.interop.trace.Told snnax.training.steps.TrainStep snnax.training.steps.EvalStep
    snnax.training.batching.Batches flax.linen.module._Sentinel
    Accuracy AxesArray BatchCallback Callback Console Data Loss Regularization Tree dict[str list[dict[str
"""
nitpick_ignore = [("py:class", name) for name in NO_PAGE.split()]
html_title = f"snnax {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["snnax.css"]

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "special-members": "__call__",
    "exclude-members": "name, parent, scope, setup, charge, level",
}
autodoc_typehints = "signature"

# A page for each name that a page of api/ lists, made from the templates; here is what directives need beside the name.
templates_path = ["_templates"]
autosummary_context = {
    "api_options": {
        "snnax.Module": (":members: forward",),
        "snnax.functional.stdp_learner.STDPTraces": (":exclude-members: count, index",),
        "snnax.interop.checking.Check": (":members: ok, call, to_dict",),
        "snnax.interop.nir.readings.PRESETS": (":no-value:",),
        "snnax.nnx.Network": (":members: __call__, unroll, reset, variables",),
        "snnax.nnx.Neuron": (":members: __call__, reset, variables",),
        "snnax.training.TrainState": (":members: create, variables, apply_gradients, averaging, averaged",),
    }
}
# Files of other names where two names differ by case only, which some systems do not tell apart.
autosummary_filename_map = {"snnax.event.trains": "snnax.event.trains_function"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The notebooks are stored with their outputs and executed by a stage of .ci/run of its own.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath"]  # equations, which MyST leaves alone unless told


def copy_tutorials() -> None:
    """Sphinx reads below docs only, and the notebooks live beside it. A list of them has a line for each."""
    target = HERE / "generated" / "tutorials"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    lines = [".. list-table::", "   :widths: 30 55 15", ""]
    for notebook in sorted((HERE.parent / "tutorials").rglob("*.ipynb"), key=lambda path: path.name):
        for path in (notebook, notebook.with_suffix(".py")):
            shutil.copy(path, target)
        first = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
        about = " ".join(first.split("\n\n")[1].split()).replace("`", "``").replace("*", "")
        page = f"generated/tutorials/{notebook.stem}"
        files = (f":download:`{suffix} <{page}.{suffix}>`" for suffix in ("ipynb", "py"))
        lines += [f"   * - :doc:`/{page}`", f"     - {about}", f"     - {', '.join(files)}"]
    target.with_suffix(".rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_operators() -> None:
    """A table of torch's operators that programs may have, by the files that compute them."""
    room = operators.__name__
    groups: dict[str, set[str]] = {}
    for table in (registry.computes, registry.draws):
        for name, function in table.entries.items():
            home = function.__module__ if function.__module__.startswith(room) else ""
            groups.setdefault(home, set()).add(name.partition(".")[0])
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 30 70",
        "",
        "   * - group",
        "     - operators",
    ]
    for home in sorted(groups):
        about = (
            (sys.modules[home].__doc__ or "").partition("\n")
            if home
            else ("Functions that JAX has too", "", "")
        )
        lines.append(f"   * - {about[0].rstrip('.')}")
        lines.append(f"     - {', '.join(f'``{name}``' for name in sorted(groups[home]))}")
        if about[2].strip():
            lines += ["", *(f"       {line}".rstrip() for line in about[2].strip().splitlines())]
    target = HERE / "generated" / "operators.rst"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n")


ARRAY_LIKE = "~jax.Array | ~numpy.ndarray | ~numpy.bool | ~numpy.number | bool | int | float | complex"


def shorten_signature(app, what, name, obj, options, signature, returns):
    """Leave out the two fields that flax adds to every module, and give the long union of array types its name."""
    if signature:
        signature = re.sub(r", (\*, )?parent: .*?, name: [^,)]*(?=[,)])", "", signature)
        signature = signature.replace(ARRAY_LIKE, "~jax.typing.ArrayLike")
    return signature, returns


def setup(app):
    copy_tutorials()
    write_operators()
    tutorial_lines.write(HERE / "generated")
    app.connect("autodoc-process-signature", shorten_signature)
