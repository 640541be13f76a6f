"""The floor: the bare matrix products and convolutions of a network's training step, and nothing else.

Per layer the output, the gradient of the weights, and, past the first layer, that of the input; in inference the
output. A constant input passes the layers before the first neuron once. What one product needs of another (loss,
spikes, membranes) is left out. In torch each product takes random operands of the right size; in XLA, which drops
what nobody reads, they form the linear network of the same sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from benchmarks.workloads.spec import Conv, Data, Linear, Neuron, Workload

DIFFERS = "no neurons"
ROWS = 512
"""Samples times steps per product: larger ones leave the cache, smaller ones do not fill the kernels."""


def chunk(workload: Workload) -> int:
    """Steps per product: a divisor of T near ROWS / B."""
    divisors = [d for d in range(1, workload.steps + 1) if workload.steps % d == 0]
    return min(divisors, key=lambda d: (abs(d - ROWS / workload.batch), d))


def build_torch(workload: Workload, data: Data) -> Callable[[], float]:
    steps = chunk(workload)
    works: list[Callable[[], None]] = []
    once = workload.constant
    for i, layer in enumerate(workload.layers):
        rows = workload.batch * (1 if once else steps)
        times = 1 if once else workload.steps // steps
        backward = (workload.train, workload.train and i > 0)
        if isinstance(layer, Linear | Conv):
            weight = torch.from_numpy(data.weights[i]["weight"])
            work = _linear if isinstance(layer, Linear) else _convolution
            shape = (layer.inputs,) if isinstance(layer, Linear) else (layer.inputs, layer.side, layer.side)
            works.append(work(torch.rand(times, rows, *shape), weight, *backward))
        elif isinstance(layer, Neuron):
            once = False
            if layer.recurrent:
                works.append(_recurrence(workload, data.weights[i]["weight"]))

    def run() -> float:
        with torch.inference_mode():
            for work in works:
                work()
        return 0.0

    return run


def _linear(x: torch.Tensor, weight: torch.Tensor, by_weight: bool, by_input: bool) -> Callable[[], None]:
    y = torch.empty(x.shape[1], weight.shape[0])
    dx, dw = torch.empty_like(x[0]), torch.zeros_like(weight)

    def work() -> None:
        for part in x:
            torch.mm(part, weight.T, out=y)
            if by_weight:
                torch.addmm(dw, y.T, part, beta=0, out=dw)
            if by_input:
                torch.mm(y, weight, out=dx)

    return work


def _convolution(
    x: torch.Tensor, weight: torch.Tensor, by_weight: bool, by_input: bool
) -> Callable[[], None]:
    def work() -> None:
        for part in x:
            y = torch.ops.aten.convolution(part, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
            if by_weight or by_input:
                torch.ops.aten.convolution_backward(
                    y, part, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
                    [by_input, by_weight, False],
                )  # fmt: skip

    return work


def _recurrence(workload: Workload, weight: np.ndarray) -> Callable[[], None]:
    """T products one after the other there, T back, and one for the weights."""
    v = torch.from_numpy(weight)
    spikes = torch.rand(workload.steps, workload.batch, len(v))
    flat = spikes.reshape(-1, len(v))
    out, dw = torch.empty_like(spikes[0]), torch.empty_like(v)

    def work() -> None:
        for part in spikes:
            torch.mm(part, v.T, out=out)
        if workload.train:
            for part in spikes:
                torch.mm(part, v, out=out)
            torch.mm(flat.T, flat, out=dw)

    return work


def build_xla(workload: Workload, data: Data) -> Callable[[], float] | None:
    """None for convolutions, whose fast kernels XLA lacks on a CPU."""
    if any(isinstance(layer, Conv) for layer in workload.layers):
        return None
    steps = chunk(workload)
    weights = [jnp.asarray(w["weight"].T) for w in data.weights if w]
    recurrent = [
        isinstance(layer, Neuron) for layer, w in zip(workload.layers, data.weights, strict=True) if w
    ]
    # a permutation keeps the numbers the same size through any number of steps
    weights = [
        jnp.roll(jnp.eye(len(w)), 1, 0) if loop else w for w, loop in zip(weights, recurrent, strict=True)
    ]
    xs = jnp.asarray(data.x)
    if not workload.constant:
        xs = xs.reshape(workload.steps // steps, steps * workload.batch, -1)

    def through(x: jax.Array, ws: list[jax.Array], loops: list[bool]) -> tuple[jax.Array, list[jax.Array]]:
        inputs = []
        for w, loop in zip(ws, loops, strict=True):
            inputs.append(x)
            x = _steps(x, w, steps) if loop else x @ w
        return x, inputs

    def back(g: jax.Array, ws: list, inputs: list, loops: list[bool], first: bool) -> tuple[jax.Array, list]:
        gradients = []
        for i in reversed(range(len(ws))):
            gradients.append(inputs[i].T @ g)
            if i or not first:
                g = _steps(g, ws[i].T, steps) if loops[i] else g @ ws[i].T
        return g, gradients[::-1]

    def body(total: Any, x: jax.Array, ws: list, loops: list[bool], first: bool) -> Any:
        y, inputs = through(x, ws, loops)
        if not workload.train:
            return total + y.sum(), None
        g, gradients = back(y, ws, inputs, loops, first)
        sums = [a + b for a, b in zip(total[0], gradients, strict=True)]
        return (sums, total[1] if first else total[1] + g.sum()), None

    def dynamic(ws: list, xs: jax.Array) -> Any:
        zero: Any = ([jnp.zeros_like(w) for w in ws], 0.0) if workload.train else jnp.float32(0)
        return lax.scan(lambda c, x: body(c, x, ws, recurrent, True), zero, xs)[0]

    def constant(ws: list, x: jax.Array) -> Any:
        """The first layer once; its gradient, the sum over all steps, is taken as given."""
        current = jnp.tile(x @ ws[0], (steps, 1))
        zero: Any = ([jnp.zeros_like(w) for w in ws[1:]], jnp.zeros_like(current))

        def one(c: Any, _: None) -> Any:
            x, c = lax.optimization_barrier((current, c))  # or the products would be taken out of the loop
            y, inputs = through(x, ws[1:], recurrent[1:])
            g, gradients = back(y, ws[1:], inputs, recurrent[1:], False)
            return ([a + b for a, b in zip(c[0], gradients, strict=True)], g), None

        sums, g = lax.scan(one, zero, None, workload.steps // steps)[0]
        return sums, x.T @ g[: len(x)]

    program = jax.jit(constant if workload.constant else dynamic)

    def run() -> float:
        jax.block_until_ready(program(weights, xs))
        return 0.0

    return run


def _steps(x: jax.Array, w: jax.Array, steps: int) -> jax.Array:
    """One product per step, each of which waits for the one before."""
    parts = x.reshape(steps, -1, x.shape[-1])
    return lax.scan(lambda h, part: ((h @ w), h), parts[0], parts)[1].reshape(x.shape)
