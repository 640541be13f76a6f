r"""Models in time steps as networks of events: snnTorch's decays are samples of NIR's exponentials.

A neuron with a current takes :math:`I' = \alpha I + x`, :math:`U' = \beta U + I'` in a step. After an input of 1 in
step 0 its voltage is, below the threshold,

.. math:: U_n = \frac{\beta^{n+1} - \alpha^{n+1}}{\beta - \alpha}.

In continuous time an input of weight :math:`g` at the start of that step makes :math:`V(t) = g\,\kappa(t)`, which is
the same at the end of each step, :math:`V((n + 1)\,dt) = U_n`, with

.. math:: \tau_s = -\frac{dt}{\log \alpha}, \qquad \tau_m = -\frac{dt}{\log \beta}, \qquad
    g = \frac{\tau_m - \tau_s}{\tau_s\,(\beta - \alpha)} \quad\text{or}\quad \frac{\tau}{\beta\,dt}
    \text{ for equal decays}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax import checks, event
from snnax.errors import ConversionError
from snnax.interop.families.arrays import decay
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import SAMPLE
from snnax.interop.nir.events import events_from_nir
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.graph import flatten
from snnax.interop.spec import NeuronSpec
from snnax.modules import NET, VARIABLES

__all__ = ["events_from_model"]

_STEP = checks.number(above=0, called="a number of seconds")


@checks.takes(model=NET, variables=VARIABLES, sample=SAMPLE, dt=_STEP, synapse=checks.maybe(_STEP))
def events_from_model(
    model: nn.Module,
    variables: Mapping[str, Any],
    sample: Any = None,
    *,
    dt: float,
    synapse: float | None = None,
) -> tuple[event.Network, tuple[str, ...]]:
    r"""Turn a model of snnTorch's neurons in time steps into a network in continuous time.

    ``Synaptic`` and ``RSynaptic`` become neurons whose voltage below the threshold is, at the end of each step, exactly
    that of the model; inputs are at the starts of steps, as :func:`snnax.event.from_dense` makes them. What steps do
    and events do not is told in the second result.

    Args:
        model: a ``Sequential`` or ``Graph``, as :func:`from_snntorch` makes.
        variables: its variables.
        sample: one step's input ``[B, ...]``; not needed for a model that knows its ``input_shape``, as
            imported ones do.
        dt: how long a step lasts, in seconds.
        synapse: a time constant in seconds for ``Leaky``, which has no synapse; see :func:`events_from_nir`.

    Returns:
        ``(network, notes)``: :class:`snnax.event.Network`, and what is approximated, a sentence each.

    Raises:
        ConversionError: for other neurons, for those that do not decay, are never reset or inhibit each other, and for
            biases and layers that have no place on the way of a spike; names the layer and the remedy.

    Compared with
        :func:`events_from_nir` of :func:`to_nir`: NIR's time constants are :math:`dt/(1 - \beta)`, those of an Euler
        step. These are :math:`-dt/\log\beta`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(2, use_bias=False), snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> network, notes = interop.events_from_model(net, variables, jnp.ones((1, 3)), dt=1e-3)
        >>> f"{network.populations[0].parameters.tau_mem:.5f}", len(notes)
        ('0.00949', 3)
    """
    flat = flatten(exported(model, variables, sample, dt))
    nodes = dict(flat.nodes)
    notes: dict[str, None] = {}
    for name, node in flat.nodes.items():
        spec = metadata.read_spec(node, name)
        if spec is not None:
            nodes[name] = _continuous(name, node, spec, dt)
            notes |= dict.fromkeys(_notes(spec, isinstance(node, nir.LIF)))
    ends = {name: nir.Input({"input": np.array(shape)}) for name, shape in flat.inputs.items()}
    ends |= {name: nir.Output({"output": np.array([1])}) for name in flat.outputs}
    graph = nir.NIRGraph({**ends, **nodes}, list(flat.edges), type_check=False)
    return events_from_nir(graph, w_in="impulse", synapse=synapse), tuple(notes)


def _notes(spec: NeuronSpec, bare: bool) -> list[str]:
    found = ["A spike is at the moment of its crossing; the model sees it at the end of the step."]
    if spec.reset_delay:
        found.append("A reset acts at the spike; the model's acts one step later.")
    if spec.reset_mechanism == "subtract":
        found.append(
            "A reset is to 0; the model subtracts the threshold, and keeps what the step was over it."
        )
    if bare:
        found.append("A neuron without a synapse has got one, through which the same charge flows.")
    return found


def _continuous(name: str, node: nir.NIRNode, spec: NeuronSpec, dt: float) -> nir.NIRNode:
    """The neuron whose samples are those of a neuron with decays."""
    _check(name, node, spec)
    beta = decay(spec, "beta")
    size = np.shape(node.v_threshold)
    one = np.ones(size)
    numbers: dict[str, Any] = {
        "r": one,
        "v_leak": 0 * one,
        "v_reset": 0 * one,
        "v_threshold": np.asarray(node.v_threshold, np.float64),
    }
    tau_mem = -dt / np.log(beta)
    if isinstance(node, nir.LIF):
        return nir.LIF(tau=one * tau_mem, **numbers)
    alpha = decay(spec, "alpha")
    tau_syn = -dt / np.log(alpha)
    same = np.isclose(alpha, beta, rtol=1e-9, atol=0)
    apart = np.where(same, 1.0, beta - alpha)
    weight = np.where(same, tau_mem / (beta * dt), (tau_mem - tau_syn) / (tau_syn * apart))
    return nir.CubaLIF(
        tau_mem=one * tau_mem, tau_syn=one * np.where(same, tau_mem, tau_syn), w_in=one * weight, **numbers
    )


def _check(name: str, node: nir.NIRNode, spec: NeuronSpec) -> None:
    decays = {key: decay(spec, key) for key in ("beta", "alpha") if spec.values.get(key) is not None}
    if any(((d <= 0) | (d >= 1)).any() for d in decays.values()):
        raise ConversionError(
            name, "has a decay of 0 or 1, which is no time constant", "Use decays between them."
        )
    needed = {nir.CubaLIF: {"beta", "alpha"}, nir.LIF: {"beta"}}.get(type(node))
    if needed is None or {*decays} != needed:
        raise ConversionError(
            name,
            f"a {spec.kind} is not made of the decays alpha and beta, of which events are made here",
            "Convert NIR's own neurons by interop.events_from_nir(interop.to_nir(model, variables, sample), dt).",
        )
    if spec.reset_mechanism not in ("subtract", "zero"):
        raise ConversionError(
            name,
            f"has reset_mechanism={spec.reset_mechanism!r}: it would fire for ever once it is above its threshold",
            "Use reset_mechanism='zero'.",
        )
    if spec.inhibition or spec.quantizer is not None:
        what = "inhibition" if spec.inhibition else "a quantizer"
        raise ConversionError(name, f"has {what}, which events have not", "Build it without.")
