"""``write_source``: a network as the Python module that a person would write, with its weights beside it."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

import snnax
from snnax import checks
from snnax.drafts import npz, write_whole
from snnax.errors import ArgumentError
from snnax.interop.expressions import (
    Bracket,
    Writer,
    call,
    edges_in_order,
    graph_options,
    lines,
    literal,
    quoted,
    readable,
)
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.source import program_source
from snnax.modules import NET, VARIABLES
from snnax.network.containers import Container, Graph, Sequential
from snnax.network.kinds import homes
from snnax.network.topology import INPUT, OUTPUT

__all__ = ["write_source"]

_LEFT_OUT = ("hidden", "record", "forced")


@checks.takes(path=checks.path, model=NET, variables=VARIABLES, origin=checks.text)
def write_source(
    path: str | PathLike[str], model: nn.Module, variables: Mapping[str, Any], *, origin: str = ""
) -> None:
    """Write a network as a Python module, ``net.py``, and its weights, ``net.npz``, beside it.

    The module has one function, ``build()``, which returns ``(model, variables)`` that compute what these do, bit
    for bit. A chain of layers becomes a ``Sequential`` (its variables are then called ``layers_0``, ``layers_1``
    ..., and comments have the names of the nodes); anything else, and what takes images channels first, a ``Graph``.
    A program becomes a linen module of its own, ``Net``: neurons and weights in ``setup``, what the network does
    before, in and after its loops as code of ``jax.numpy``, with the lines that it came from; derivatives and variables
    are the program's, numbers equal but for the order in which products are added up.

    Args:
        path: the module to write, ``.py``; its name should be one that Python can import.
        model: a ``Sequential``, ``Graph`` or program, as :func:`from_nir` and :func:`from_snntorch` return it.
        variables: its variables; a ``hidden`` state is left out.
        origin: where the network comes from, for the first line of the module.

    Raises:
        ArgumentError: if ``path`` does not end in ``.py``, or the model is no container.
        ConversionError: for a layer or argument without a public name, and in programs for derivatives that are not
            known; names the node. Nothing is written.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, runpy, snnax as snn, tempfile
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.5, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> path = tempfile.mkdtemp() + "/net.py"
        >>> snn.interop.write_source(path, net, variables)
        >>> model, weights = runpy.run_path(path)["build"]()
        >>> model == net, sorted(weights["params"]["layers_0"])
        (True, ['bias', 'kernel'])
    """
    path = Path(path)
    if path.suffix != ".py":
        raise ArgumentError(
            f"{str(path)!r} does not end in .py; pass the Python module to write, as 'net.py'."
        )
    text, arrays = source(model, variables, origin, path.stem)
    write_whole({path.with_suffix(".npz"): npz(arrays), path: text.encode()})


def source(
    model: nn.Module, variables: Mapping[str, Any], origin: str, stem: str
) -> tuple[str, dict[str, np.ndarray]]:
    """The text of the module and the arrays of its weights file."""
    if not isinstance(model, Container | PortedProgram):
        raise ArgumentError(
            f"{type(model).__name__} is no snnax.Sequential or snnax.Graph; a module of your own has its source "
            "already."
        )
    given = {c: v for c, v in nn.unbox(dict(variables)).items() if c not in _LEFT_OUT}
    if isinstance(model, PortedProgram):
        arrays = {"/".join(path): np.asarray(value) for path, value in flatten_dict(given).items()}
        text = program_source(model.held, given, arrays, origin, stem)
        return text, arrays
    names: dict[str, str] = {n: n for n in model.members()}
    if isinstance(model, Graph) and _is_chain(model, given):
        names = {n: f"layers_{i}" for i, n in enumerate(model.plan().order)}
    arrays = {
        "/".join((path[0], names.get(path[1], path[1]), *path[2:])): np.asarray(value)
        for path, value in flatten_dict(given).items()
    }
    writer = Writer(arrays)
    body = _body(writer, model, names)
    head = _head(writer, model, origin, stem, any(re.search(r"(?<![\w.\"])nn\.", line) for line in body))
    return "\n".join([*head, *body]) + "\n", {**arrays, **writer.constants}


def _is_chain(model: Graph, variables: Mapping[str, Any]) -> bool:
    """Whether a ``Sequential`` computes the same: one path, no module twice, vectors all the way."""
    if model.outputs is not None or len({m._id for m in model.members().values()}) < len(model.members()):
        return False
    order = (INPUT, *model.plan().order, OUTPUT)
    expected = {name: ((before, False),) for before, name in itertools.pairwise(order)}
    if model.plan().sources != expected:
        return False
    if not model.channels_first:
        return True
    if model.input_shape is None or len(model.input_shape) > 1:
        return False
    sample = jax.ShapeDtypeStruct((1, *model.input_shape), np.float32)
    out, _ = jax.eval_shape(lambda v, x: model.apply(v, x, mutable=["hidden"]), dict(variables), sample)
    return all(leaf.ndim <= 2 for leaf in jax.tree.leaves(out))


def _body(writer: Writer, model: Container, names: Mapping[str, str]) -> list[str]:
    """From the first layer to the end of ``build``."""
    members = model.members()
    found: list[str] = []
    for path, module in _shared(model, names):
        label = f"shared_{len(writer.labels)}"
        found += lines(f"{label} = ", writer.new(path, module))
        writer.labels[module._id] = label
    parts = [writer.module(names[name], module) for name, module in members.items()]
    if isinstance(model, Sequential) or set(names) != set(names.values()):
        order = [list(members).index(name) for name in model.plan().order]
        labels = list(model.plan().order) if isinstance(model, Graph) else [""] * len(order)
        layers = Bracket("[", [("", parts[i]) for i in order], "]", [readable(n) for n in labels])
        found += lines("layers = ", layers)
        first = isinstance(model, Sequential) and model.channels_first
        options = {"channels_first": "True"} if first else {}
        found += lines("model = ", call("snn.Sequential", ["layers"], **options))
    else:
        nodes = [(f"{quoted(n)}: ", part) for n, part in zip(members, parts, strict=True)]
        found += lines("nodes = ", Bracket("{", nodes, "}"))
        graph = cast(Graph, model)
        found += lines("edges = ", literal(edges_in_order(graph)))
        found += lines("model = ", call("snn.Graph", ["nodes", "edges"], **graph_options(graph)))
    found.append("    flat = {k: jnp.asarray(v) for k, v in weights.items()}")
    if not writer.constants:
        return [*found, '    return model, unflatten_dict(flat, sep="/")']
    return [
        *found,
        '    variables = unflatten_dict(flat, sep="/")',
        '    del variables["constants"]  # arguments of the layers above',
        "    return model, variables",
    ]


def _shared(model: Container, names: Mapping[str, str]) -> list[tuple[str, nn.Module]]:
    """The modules at several places, with the path of their variables; what a container holds before it."""
    where = homes(model)
    times: Counter[Any] = Counter()
    found: dict[Any, nn.Module] = {}

    def count(container: Container) -> None:
        for member in container.members().values():
            times[member._id] += 1
            if times[member._id] > 1:
                continue
            if isinstance(member, Container):
                count(member)
            found[member._id] = member

    count(model)
    shared = [key for key in found if times[key] > 1]
    return [("/".join((names[where[key][0]], *where[key][1:])), found[key]) for key in shared]


def _head(writer: Writer, model: Container, origin: str, stem: str, flax: bool) -> list[str]:
    shape = getattr(model, "input_shape", None)
    sizes = f"[T, B, {', '.join(map(str, shape))}]" if shape else "[T, B, ...]"
    if shape and len(shape) > 1:
        sizes += ", channels first" if getattr(model, "channels_first", False) else ", channels last"
    extra = sorted(writer.imports)
    return [
        f'"""A spiking network in snnax{f", from {readable(origin)}" if origin else ""}.',
        "",
        f"Written by snnax {snnax.__version__}; its weights are in {readable(stem)}.npz beside this file.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        *(["import flax.linen as nn"] if flax else []),
        "import jax.numpy as jnp",
        "import numpy as np",
        "import snnax as snn",
        "from flax.traverse_util import unflatten_dict",
        *extra,
        "",
        "",
        "def build():",
        '    """The network and its variables.',
        "",
        f"    Run them with ``snn.unroll(model, variables, x)``, x {sizes}.",
        '    """',
        '    with np.load(Path(__file__).with_suffix(".npz")) as file:',
        "        weights = dict(file)",
    ]
