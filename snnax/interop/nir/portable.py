"""The portable profile: NIR graphs that other frameworks read as they are meant, and what they lose otherwise.

What NIR cannot say travels in metadata that only snnax reads. :func:`losses` says node by node what a reader
without it gets. :func:`portable` makes a graph that needs none: LIF with ``r = 1``, whose gain is in the weights
before it (Norse ignores ``r``), CubaLIF with ``r = tau_mem/dt`` and ``w_in = tau_syn/dt`` (snnTorch asks for that),
zero leak and reset potentials, no recurrent bias (it is ambiguous in the first step), full-shape vectors, ``dt`` 1e-4.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnax import checks
from snnax.errors import ConversionError
from snnax.interop.conventions import DT
from snnax.interop.families.registry import find
from snnax.interop.layers import rounded
from snnax.interop.layers.conv import settle_types
from snnax.interop.layers.registry import Site
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import GRAPH
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.graph import flatten, loops
from snnax.interop.spec import NeuronSpec

__all__ = ["losses"]

_READABLE = (nir.Input, nir.Output, nir.Affine, nir.Linear, nir.Conv2d, nir.LIF, nir.CubaLIF)


@checks.takes(graph=GRAPH)
def losses(graph: nir.NIRGraph) -> dict[str, str]:
    """What a reader that ignores snnax's metadata gets, for each node where that is not what was exported.

    Args:
        graph: as :func:`snnax.interop.to_nir` returns it.

    Returns:
        Words by node name; empty if nothing is lost. What rounds otherwise than in the network is among them, as batch
        normalisation that was folded into weights, and of a program weights that it computes, numbers that it adds
        behind a layer, and divisions; weights that are rounded to few bits, of which only the rounded ones are kept;
        and what was left out ``before`` and ``after`` its loop.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x = jnp.ones((1, 3))
        >>> graph = interop.to_nir(net, net.init(jax.random.key(0), x), x)
        >>> interop.losses(graph)["1"]
        'resets to zero in the step of the spike; it was "subtract" in the step after it'
    """
    found = _changes(graph)
    for name, node in graph.nodes.items():
        for text in rounded.words(node, name):
            found[name] = f"{found[name]}; {text}" if name in found else text
    return found


def _changes(graph: nir.NIRGraph) -> dict[str, str]:
    """What of :func:`losses` changes what the network computes."""
    found = {}
    dt = float(metadata.read(graph, "graph").get("dt", DT))
    for name, node in graph.nodes.items():
        if isinstance(node, Extension):
            found[name] = f"cannot be read: NIR has no {node.op}"
            continue
        spec = metadata.read_spec(node, name)
        if spec is not None and (texts := [*_reset_words(spec), *_other_words(spec, dt)]):
            found[name] = "; ".join(texts)
    known = metadata.read(graph, "graph")
    more = [(name, text) for name, texts in known.get("said", {}).items() for text in texts]
    for text in known.get("left_out", ()):
        part, _, what = text.partition(": ")
        more.append((part, f"not written: {what}"))
    for name, text in more:
        found[name] = f"{found[name]}; {text}" if name in found else text
    return found


def _reset_words(spec: NeuronSpec) -> list[str]:
    if spec.family.native:
        plain = {
            "discretization": ("euler",), "w_in_scaling": ("ode",), "membrane_current": (None, "new"),
            "reset_mechanism": ("nir", "none"), "threshold_test": ("after",), "reset_delay": (False,),
        }  # fmt: skip
        other = [
            f"{k}={spec.sizes[k]!r}" for k, v in plain.items() if k in spec.sizes and spec.sizes[k] not in v
        ]
        return [f"reads it with its own choices for what was {', '.join(other)}"] if other else []
    if (spec.reset_delay, spec.reset_mechanism) in spec.family.alike:
        below = not spec.reset_delay and np.any(np.asarray(spec.values["threshold"]) < 0)
        return (
            ["resets once after a spike; with a threshold below 0 it was reset while it charged too"]
            if below
            else []
        )
    when = "in the step after it" if spec.reset_delay else "in the step of the spike"
    now = "resets to zero in the step of the spike"
    if spec.reset_mechanism == "none":
        return [f"{now}; it was never reset"]
    return [f'{now}; it was "{spec.reset_mechanism}" {when}']


def _other_words(spec: NeuronSpec, dt: float) -> list[str]:
    found = []
    if abs(spec.sizes.get("dt", dt) - dt) > 1e-9 * dt:
        found.append(f"computes it with the graph's time step of {dt:g} s; its own is {spec.sizes['dt']:g} s")
    if spec.inhibition:
        found.append("fires without inhibition")
    graded = np.asarray(spec.values.get("graded_spikes_factor", 1.0))
    if (graded != 1.0).any():
        found.append("fires spikes of height 1")
    if spec.quantizer is not None:
        found.append("does not quantize its states")
    return found


def portable(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same network in the portable profile.

    Args:
        graph: as :func:`snnax.interop.to_nir` returns it with ``dt=1e-4``.

    Returns:
        A new graph without metadata, which passes nir's own type check.

    Raises:
        ConversionError: for what no other reader would get right; names the node and the remedy.
    """
    dt = float(metadata.read(graph, "graph").get("dt", DT))
    if abs(dt - DT) > 1e-12:
        raise ConversionError(
            "graph", f"its time step is {dt:g} s; snnTorch 1.0.0 reads {DT:g} s only", "Pass dt=1e-4."
        )
    worst = _changes(graph)
    if worst:
        name, text = next(iter(worst.items()))
        raise ConversionError(
            name, f"another reader gets something else: {text}",
            "Train with reset_mechanism='zero' (Synaptic, RLeaky, RSynaptic: and reset_delay=False), and with layers "
            "that NIR has; or export with profile='snnax' and see interop.losses(graph).",
        )  # fmt: skip
    cycles = loops(flatten(graph))
    given = {
        name: _as_weights(node) if name in cycles.values() else node for name, node in graph.nodes.items()
    }
    for name, node in given.items():
        _check_readable(name, node)
    edges = [(str(s), str(t)) for s, t in graph.edges]
    nodes = {name: _bare(node) for name, node in given.items()}
    for name, node in list(nodes.items()):
        if name in cycles:
            _drop_bias(name, cycles[name], nodes, edges)
        if isinstance(node, nir.LIF):
            _fold_gain(name, nodes, edges, dt)
    return nir.NIRGraph(nodes, edges)


def _as_weights(node: Any) -> Any:
    """The recurrent weight ``V`` of each neuron, a Scale on a loop, as a matrix with nothing beside its diagonal."""
    if isinstance(node, nir.Scale) and np.ndim(node.scale) == 1:
        return nir.Linear(np.diag(np.asarray(node.scale)))
    return node


def _check_readable(name: str, node: Any) -> None:
    """Refuse what Norse 1.1.0 or snnTorch 1.0.0 reads as something else, drops or fails on."""
    kind = type(node).__name__
    if not isinstance(node, _READABLE):
        raise ConversionError(
            name, f"Norse 1.1.0 or snnTorch 1.0.0 reads {kind} as something else, or leaves it out",
            "Use linear layers, Conv2d, and neurons that reset to zero; or export with profile='snnax'.",
        )  # fmt: skip
    for what in ("v_leak", "v_reset"):
        if np.any(np.asarray(getattr(node, what, 0.0)) != 0):
            raise ConversionError(
                name,
                f"{what} is not 0, which Norse 1.1.0 or snnTorch 1.0.0 leaves out",
                f"Train with {what}=0.",
            )
    if np.any(np.asarray(getattr(node, "v_threshold", 0.0)) < 0):
        raise ConversionError(
            name, "v_threshold is below 0, to which it is reset: snnTorch 1.0.0 reads another neuron, which is reset "
            "while it charges too", "Train with a threshold of at least 0; or export with profile='snnax'.",
        )  # fmt: skip
    if isinstance(node, nir.Conv2d) and int(np.ravel(node.groups)[0]) > 1:
        raise ConversionError(name, "it has groups, on which snnTorch 1.0.0 fails", "Use groups=1.")


def _bare(node: Any) -> Any:
    """A copy of a readable node without metadata."""
    if isinstance(node, nir.Input):
        return nir.Input(input_type={"input": np.array(node.input_type["input"])})
    if isinstance(node, nir.Output):
        return nir.Output(output_type={"output": np.array(node.output_type["output"])})
    family = find(type(node).__name__)
    if family is not None:
        return type(node)(**{key: np.array(getattr(node, key)) for key in family.values})
    hidden = ("metadata", "input_type", "output_type")
    made = type(node)(**{k: v for k, v in vars(node).items() if k not in hidden})
    if isinstance(made, nir.Conv2d):
        shapes = [
            tuple(int(n) for n in t[k]) for t, k in ((node.input_type, "input"), (node.output_type, "output"))
        ]
        settle_types(made, Site("", shapes[0], shapes[1], DT))
    return made


def _weights_before(name: str, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> list[str]:
    """The layers with weights whose sum is the neuron's current.

    Raises:
        ConversionError: if something else feeds it, or one of them feeds others too.
    """
    sources = [s for s, t in edges if t == name]
    for source in sources:
        alone = [t for s, t in edges if s == source] == [name]
        if not alone or not isinstance(nodes[source], (nir.Affine, nir.Linear, nir.Conv2d)):
            raise ConversionError(
                name, f"its gain r*dt/tau must go into the weights of what feeds it, and {source!r} "
                + ("feeds others too" if not alone else f"is a {type(nodes[source]).__name__} without weights"),
                "Put a linear layer of its own before the neuron.",
            )  # fmt: skip
    return sources


def _fold_gain(name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], dt: float) -> None:
    """LIF with ``r = 1``; its resistance goes into the weights, which is exact to rounding."""
    node = nodes[name]
    for what in ("tau", "v_threshold"):
        if np.unique(getattr(node, what)).size > 1:
            raise ConversionError(
                name,
                f"its neurons differ in {what}; snnTorch 1.0.0 reads one value for a layer",
                "Use one value.",
            )
    r = float(np.ravel(node.r)[0])
    if np.unique(node.r).size > 1:
        raise ConversionError(name, "its neurons differ in r", "Use one decay for the layer.")
    for source in _weights_before(name, nodes, edges):
        weights = nodes[source]
        weights.weight = _scaled(weights.weight, r)
        if hasattr(weights, "bias"):
            weights.bias = _scaled(weights.bias, r)
    node.r = np.ones_like(node.r)


def _scaled(given: Any, factor: float) -> np.ndarray:
    """``factor * given``, computed in double precision, in that of ``given``."""
    value = np.asarray(given)
    return (value.astype(np.float64) * factor).astype(np.result_type(value, np.float32))


def _drop_bias(neuron: str, weights: str, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> None:
    """A recurrent bias acts in every step, as that of the layer before: it goes there."""
    node = nodes[weights]
    bias = np.asarray(getattr(node, "bias", np.zeros(1)))
    if isinstance(node, nir.Affine):
        nodes[weights] = nir.Linear(weight=np.asarray(node.weight))
    elif bias.any():
        raise ConversionError(weights, "its recurrent convolution has a bias", "Set the bias to zero.")
    if not bias.any():
        return
    before = [s for s, t in edges if t == neuron and s != weights]
    if len(before) != 1 or not isinstance(nodes[before[0]], nir.Affine | nir.Linear):
        raise ConversionError(
            weights, "its bias has no layer to go to", "Put one linear layer before the neuron."
        )
    first = nodes[before[0]]
    old = np.asarray(getattr(first, "bias", np.zeros(len(first.weight))))
    nodes[before[0]] = nir.Affine(weight=np.asarray(first.weight), bias=_scaled(old + bias, 1.0))
