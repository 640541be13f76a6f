"""Recurrent weights against snnTorch: dense and convolutional, trained and fixed.

Weights and biases are multiples of 1/64, so that sums of spikes times weights are exact in any order and the
two frameworks can agree to the last bit. For arbitrary weights a last test feeds both sides the same spikes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

from snnax.errors import ShapeError

RESETS = [("subtract", True), ("subtract", False), ("zero", True), ("zero", False), ("none", True)]
T = 50
DECAYS = {"RLeaky": {"beta": 0.9}, "RSynaptic": {"alpha": 0.55, "beta": 0.8}}
LAYERS: dict[str, dict[str, Any]] = {
    "dense": {"linear_features": 200},
    "conv": {"conv2d_channels": 4, "kernel_size": 3},
    "conv-wide": {"conv2d_channels": 4, "kernel_size": (1, 5)},
}
BATCH = {"dense": (100, 200), "conv": (50, 10, 10, 4), "conv-wide": (50, 10, 10, 4)}


def layer(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Kernel and bias as Flax has them, multiples of 1/64 within 1/4."""
    shapes = {"dense": (200, 200), "conv": (3, 3, 4, 4), "conv-wide": (1, 5, 4, 4)}
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-16, 17, shapes[name]) * (
        rng.random(shapes[name]) < (0.05 if name == "dense" else 1)
    )
    weights = {"kernel": kernel, "bias": rng.integers(-16, 17, shapes[name][-1:])}
    return {n: (w / 64).astype(np.float32) for n, w in weights.items()}


def to_torch(neuron: Any, weights: dict[str, np.ndarray]) -> None:
    """Put Flax weights into the recurrent layer of a snnTorch neuron."""
    import torch

    kernel = weights["kernel"]
    turned = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
    neuron.recurrent.weight.data = torch.tensor(np.ascontiguousarray(turned))
    neuron.recurrent.bias.data = torch.tensor(weights["bias"])


def channels_first(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 3 else np.ascontiguousarray(np.moveaxis(x, -1, 2))


@last_bit
@pytest.mark.parametrize(
    ("kind", "name", "learn"),
    [
        ("RLeaky", "dense", True),
        ("RLeaky", "dense", False),
        ("RLeaky", "conv", True),
        ("RLeaky", "conv-wide", False),
        ("RSynaptic", "dense", True),
        ("RSynaptic", "conv", False),
    ],
)
def test_spikes_and_states_are_those_of_snntorch(kind, name, learn):
    twin.snntorch()
    x = twin.current((T, *BATCH[name]))
    weights = layer(name)
    modules = tuple(
        getattr(twin.snn, kind)(
            **DECAYS[kind], **LAYERS[name], learn_recurrent=learn, reset_mechanism=reset, reset_delay=delay
        )
        for reset, delay in RESETS
    )
    initial = twin.weights(modules[0], x[0, :1])
    where = "params" if learn else "buffers"
    assert jax.tree.map(jnp.shape, initial) == {
        where: {"recurrent": {n: w.shape for n, w in weights.items()}}
    }
    traces = twin.run_snnax(modules, x, {where: {"recurrent": weights}})
    for (reset, delay), trace in zip(RESETS, traces, strict=True):
        options = {**DECAYS[kind], **LAYERS[name], "reset_mechanism": reset, "reset_delay": delay}
        neuron = twin.torch_neuron(kind, **options, learn_recurrent=learn)
        to_torch(neuron, weights)
        theirs = twin.run_snntorch(kind, neuron, channels_first(x), delay)
        twin.assert_same({n: channels_first(v) for n, v in trace.items()}, theirs, f"{reset} {delay}")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", DECAYS)
def test_arbitrary_weights_agree_to_rounding_when_both_feed_back_the_same_spikes(kind, name):
    """Each step starts from snnTorch's state, so a single rounding cannot spread."""
    twin.snntorch()
    x = twin.current((10, *BATCH[name]))
    module = getattr(twin.snn, kind)(**DECAYS[kind], **LAYERS[name])
    variables = twin.weights(module, x[0, :1], seed=3)
    neuron = twin.torch_neuron(kind, **DECAYS[kind], **LAYERS[name])
    to_torch(neuron, jax.tree.map(np.asarray, variables["params"]["recurrent"]))
    theirs = twin.run_snntorch(kind, neuron, channels_first(x))
    last = {n: v if v.ndim == 3 else np.moveaxis(v, 2, -1) for n, v in theirs.items()}
    for t in range(1, len(x)):
        _, *after = module.apply(variables, x[t], *(last[n][t - 1] for n in module.state_names))
        for state, value in zip(module.state_names[1:], after, strict=True):
            np.testing.assert_allclose(value, last[state][t], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights_are_drawn_as_torch_draws_them(name):
    module = twin.snn.RLeaky(beta=0.9, **LAYERS[name])
    weights = twin.weights(module, np.zeros((1, *BATCH[name][1:]), np.float32))["params"]["recurrent"]
    bound = 1 / np.sqrt(np.prod(weights["kernel"].shape[:-1]))
    for value in weights.values():
        assert 0.6 * bound < np.abs(value).max() <= bound
    assert abs(float(weights["kernel"].mean())) < 0.3 * bound


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({"linear_features": 3}, (2, 4), r"\(2, 4\); expected \[B, ..., N\], with 3 in the last axis"),
        (
            {"conv2d_channels": 3, "kernel_size": 3},
            (2, 3, 8, 8),
            r"expected \[B, H, W, C\], channels last, with 3",
        ),
        ({"conv2d_channels": 3, "kernel_size": 3}, (2, 3), "expected .* channels last"),
    ],
)
def test_an_input_that_the_recurrent_weights_do_not_fit_is_a_clear_error(options, shape, expected):
    with pytest.raises(ShapeError, match=expected):
        twin.snn.RLeaky(beta=0.9, **options).init(jax.random.key(0), jnp.zeros(shape))
