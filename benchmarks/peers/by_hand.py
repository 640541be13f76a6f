"""JAX by hand, without a library: the bare products, a copy, and a loop over time that is unrolled.

For one linear layer with neurons. What a device needs for the products, and for reading and writing as many bytes, is
what no step can be faster than; the loop shows what ``lax.scan(..., unroll=8)`` would gain, for which ``snn.unroll``
has no argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.peers.jax_step import JaxStep, operand
from benchmarks.workloads.spec import Data, Linear, Neuron, Workload
from snnax import surrogate

DIFFERS = "nothing in the loop: the same spikes as snnTorch; the products and the copy have no neurons"


class Bare:
    """A function of arrays as a step."""

    def __init__(self, function: Callable[..., tuple[jax.Array, ...]], *arguments: jax.Array) -> None:
        self.arguments = arguments
        self.program: Any = jax.jit(function)

    def __call__(self) -> float:
        jax.block_until_ready(self.program(*self.arguments))
        return 0.0


def copy(size: int) -> Bare:
    """Reads half of so many bytes and writes as many."""
    return Bare(lambda x: (x + 1,), jnp.zeros(max(size // 8, 1), jnp.float32))


def build_products(workload: Workload, data: Data) -> Bare | None:
    """The output, and in training the gradient of the weights; None for other networks than a layer of each."""
    if not _one_layer(workload):
        return None

    def products(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        y = _product(x, weight)
        return (y, x.T @ y) if workload.train else (y,)  # the output stands for its slope

    x = operand(workload, data.x)
    return Bare(products, x.reshape(-1, x.shape[-1]), jnp.asarray(data.weights[0]["weight"].T))


def build_scan(workload: Workload, data: Data, scan_unroll: int = 1) -> JaxStep | None:
    """snnTorch's ``Leaky`` behind one product over all steps; None for other networks than a layer of each."""
    if not _one_layer(workload):
        return None
    neuron, spike = workload.layers[1], surrogate.atan()
    assert isinstance(neuron, Neuron)

    def readout(weight: jax.Array, x: jax.Array) -> jax.Array:
        current = _product(x, weight).astype(jnp.float32)

        def step(mem: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
            reset = lax.stop_gradient((mem > 1).astype(mem.dtype))
            mem = neuron.beta * mem + now - reset
            return mem, mem

        return spike(lax.scan(step, jnp.zeros_like(current[0]), current, unroll=scan_unroll)[1] - 1)

    return JaxStep(workload, readout, jnp.asarray(data.weights[0]["weight"].T), data.x, data.y)


def _one_layer(workload: Workload) -> bool:
    layers = workload.layers
    return (
        len(layers) == 2
        and isinstance(layers[0], Linear)
        and not layers[0].bias
        and isinstance(layers[1], Neuron)
        and not layers[1].recurrent
    )


def _product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """In the type of the input, as flax's layers with ``dtype``."""
    y = x.reshape(-1, x.shape[-1]) @ weight.astype(x.dtype)
    return y.reshape(*x.shape[:-1], -1)
