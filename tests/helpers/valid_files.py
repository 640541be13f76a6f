"""Small NIR graphs to damage."""

from __future__ import annotations

from itertools import pairwise

import flax.linen as nn
import jax
import nir
import numpy as np

import snnax as snn
from snnax import interop, surrogate


def _numbers(*shape, low=0.2, seed=0):
    return np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32)


def small():
    """A recurrent neuron in a nested graph, between a linear layer and an integrator."""
    one = _numbers(3)
    nest = {
        "in": nir.Input({"input": np.array([3])}), "lif": nir.LIF(one * 1e-2, one, one, one + 1, -one),
        "w": nir.Affine(_numbers(3, 3), one), "out": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    inner = [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")]
    nodes = {
        "input": nir.Input({"input": np.array([4])}), "fc": nir.Affine(_numbers(3, 4), one),
        "nest": nir.NIRGraph(nest, inner, type_check=False), "li": nir.LI(one * 1e-2, one, one),
        "output": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)


def images():
    """Convolution, pooling and flatten, a current-based neuron, and what has no membrane."""
    f, one = np.float32, _numbers(3)
    nodes = {
        "input": nir.Input({"input": np.array([2, 6, 5])}),
        "conv": nir.Conv2d((6, 5), _numbers(4, 1, 3, 2), (2, 1), (1, 0), (1, 1), 2, _numbers(4)),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 2, 3])}, 0, -1),
        "fc": nir.Linear(_numbers(3, 24)),
        "cuba": nir.CubaLIF(one * f(1e-2), one * f(1e-2), one, one, one + 1, -one, one),
        "delay": nir.Delay(np.arange(3, dtype=f) * f(1e-4)), "above": nir.Threshold(one), "scale": nir.Scale(one),
        "if": nir.IF(one, one, -one), "output": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)


def exported():
    """One of ours, with all of its metadata."""
    return interop.to_nir(*interop.from_nir(small()))


def extended():
    """One of ours that needs nodes of its own: neurons with two decays, a trained one, a surrogate."""
    net = snn.Sequential(
        [
            nn.Dense(4),
            snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
            snn.RLeaky(beta=0.7, linear_features=4, init_hidden=True, learn_beta=True),
            nn.Dense(2),
            snn.Leaky(
                beta=np.array([0.5, 0.9]), spike_grad=surrogate.fast_sigmoid(slope=10), init_hidden=True
            ),
        ]
    )
    x = np.ones((1, 3), np.float32)
    return interop.to_nir(net, net.init(jax.random.key(0), x), x)


GRAPHS = {"small": small, "images": images, "exported": exported}
"""How to make each graph that a file can hold without nodes of ours."""
