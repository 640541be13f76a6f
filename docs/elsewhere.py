"""References to names of other libraries: their addresses by rule, since a build has no network to ask for inventories.

``:class:`jax.Array``` and ``:func:`optax.adam``` work in prose, and the types of signatures are links.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

PUBLIC = {
    "Array": "jax.Array",
    "Axes": "matplotlib.axes.Axes",
    "Figure": "matplotlib.figure.Figure",
    "FuncAnimation": "matplotlib.animation.FuncAnimation",
    "Mesh": "jax.sharding.Mesh",
    "PathLike": "os.PathLike",
    "flax.linen.linear.Conv": "flax.linen.Conv",
    "flax.linen.linear.Dense": "flax.linen.Dense",
    "flax.linen.module.Module": "flax.linen.Module",
    "flax.linen.normalization.BatchNorm": "flax.linen.BatchNorm",
    "flax.linen.normalization.LayerNorm": "flax.linen.LayerNorm",
    "flax.linen.stochastic.Dropout": "flax.linen.Dropout",
    "jax._src.mesh.Mesh": "jax.sharding.Mesh",
    "jaxlib._jax.Device": "jax.Device",
    "nn.Module": "flax.linen.Module",
    "numpy._typing._array_like.NDArray": "numpy.typing.NDArray",
    "numpy._typing._dtype_like.DTypeLike": "numpy.typing.DTypeLike",
    "optax._src.base.GradientTransformation": "optax.GradientTransformation",
    "torch.nn.modules.module.Module": "torch.nn.Module",
}
"""Names as they are written, or as modules tell them, and where their documentation has them."""

FLAX = {
    "module": ("Module", "compact", "nowrap"),
    "layers": ("BatchNorm", "Conv", "Dense", "Dropout", "LayerNorm", "RNN", "RNNCellBase"),
}
OPTAX = {
    "optimizers": ("adam", "adamw", "sgd"),
    "losses": ("softmax_cross_entropy_with_integer_labels",),
    "transformations": ("GradientTransformation", "GradientTransformationExtraArgs", "clip_by_global_norm"),
    "apply_updates": ("apply_updates",),
}


def address(name: str) -> str | None:
    """The page of a name, or ``None`` for a library that is not known."""
    name = PUBLIC.get(name, name)
    library, _, rest = name.partition(".")
    last = name.rpartition(".")[2]
    module = name.rpartition(".")[0]
    if library in ("collections", "os", "typing", "pathlib"):
        return f"https://docs.python.org/3/library/{module}.html#{name}"
    if name.startswith("numpy.typing."):
        return f"https://numpy.org/doc/stable/reference/typing.html#{name}"
    if library == "numpy":
        if rest in ("bool", "int16", "int32", "int64", "float32", "float64", "number"):
            return f"https://numpy.org/doc/stable/reference/arrays.scalars.html#{name}"
        return f"https://numpy.org/doc/stable/reference/generated/{name}.html"
    if name == "jax.typing.ArrayLike":
        return "https://docs.jax.dev/en/latest/jax.typing.html"
    if name in ("jax.Device", "jax.sharding.Mesh"):
        return f"https://docs.jax.dev/en/latest/{'jax' if last == 'Device' else 'jax.sharding'}.html#{name}"
    if library == "jax":
        return f"https://docs.jax.dev/en/latest/_autosummary/{name}.html"
    if name == "nir.ir.graph.NIRGraph":
        return "https://neuroir.org/docs/"
    if name.startswith("flax.core."):
        return "https://flax-linen.readthedocs.io/en/latest/api_reference/"
    if library == "matplotlib":
        kind = {"Axes": "axes_api", "Figure": "figure_api"}.get(last)
        place = f"{kind}.html#{name}" if kind else f"_as_gen/{name}.html"
        return f"https://matplotlib.org/stable/api/{place}"
    if name in ("torch.Tensor", "torch.dtype"):
        page = {"Tensor": "tensors", "dtype": "tensor_attributes"}[last]
        return f"https://docs.pytorch.org/docs/stable/{page}.html#{name}"
    if library == "torch":
        return f"https://docs.pytorch.org/docs/stable/generated/{name}.html"
    for page, names in FLAX.items():
        if name.startswith("flax.linen.") and last in names:
            return f"https://flax-linen.readthedocs.io/en/latest/api_reference/flax.linen/{page}.html#{name}"
    for page, names in OPTAX.items():
        if library == "optax" and last in names:
            return f"https://optax.readthedocs.io/en/latest/api/{page}.html#{name}"
    return None


def resolve(app: Sphinx, env: Any, node: pending_xref, content: nodes.TextElement) -> nodes.reference | None:
    """A link for a reference that no page here answers."""
    found = address(node.get("reftarget", "")) if node.get("refdomain") == "py" else None
    if found is None:
        return None
    link = nodes.reference("", "", internal=False, refuri=found)
    link.append(content)
    return link


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
