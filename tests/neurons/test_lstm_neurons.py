"""SLSTM and SConv2dLSTM: golden traces, snnTorch and torch's LSTMCell as twins, gradients.

Sigmoid, tanh and sums over a kernel round differently in torch and XLA: states agree to 1e-6, spikes exactly.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.cells import (
    T,
    agree,
    channels_first,
    conv_params,
    dense_params,
    kept,
    normal,
    torch_trace,
    trace,
)

import snnax as snn

RESETS = ("none", "subtract", "zero")


def grid(x: Any) -> Any:
    """A quantizer that works on arrays of both frameworks."""
    return (x * 8).round() / 8


# --- golden traces (snnTorch 1.0.0, torch 2.13.0, CPU, float32, printed to seven digits) -----------


DENSE = {
    "none": {
        "spk": "0 1, 1 1, 1 1",
        "syn": ".1060046 .230597, .1730689 .3782071, .2185289 .4758429",
        "mem": ".0865396 .1992852, .139455 .3147386, .1743321 .3838082",
    },
    "subtract": {
        "spk": "0 1, 1 1, 0 1",
        "syn": ".1060046 .230597, .1730689 .3782071, .207905 .4642973",
        "mem": ".0865396 .1992852, .139455 .2147386, .0664553 .2769053",
    },
    "zero": {
        "spk": "0 1, 1 0, 0 1",
        "syn": ".1060046 .230597, .1730689 .3782071, .1864721 .4400409",
        "mem": ".0865396 .1992852, .139455 0, 0 .3619574",
    },
}
IMAGES = {
    "none": ".1630519 .1569835 .1450575 .1392071, .2444117 .2330803 .2110505 .2003749, "
    ".2772483 .2625324 .2341955 .2206117",
    "subtract": ".1630519 .1569835 .1450575 .1392071, .1444117 .1330802 .1110505 .1003749",
    "zero": ".1630519 .1569835 .1450575 .1392071, 0 0 0 0, .2657965 .2544704 .232379 .221635",
}


def parsed(text: str) -> np.ndarray:
    return np.array([[float(v) for v in row.split()] for row in text.split(",")], np.float32)


@pytest.mark.parametrize("reset", RESETS)
def test_golden_trace_of_slstm(reset):
    recurrent = (np.arange(16) / 16 - 0.3).reshape(8, 2)[::-1]
    params = {
        "feedforward": {
            "kernel": (np.arange(16) / 8 - 0.8).reshape(8, 2).T,
            "bias": np.linspace(-0.2, 0.5, 8),
        },
        "recurrent": {"kernel": recurrent.T, "bias": np.zeros(8)},
    }
    params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), params)
    module = kept("SLSTM", 2, 2, threshold=0.1, reset_mechanism=reset)
    found = trace(module, params, jnp.array([[1.0, 0.5]]), num_steps=3)
    for name, expected in DENSE[reset].items():
        np.testing.assert_allclose(found[name][:, 0], parsed(expected), 3e-7, 1e-7, err_msg=name)


@pytest.mark.parametrize("reset", RESETS)
def test_golden_trace_of_sconv2dlstm(reset):
    kernel = ((np.arange(72) - 36) / 60).reshape(4, 2, 3, 3).transpose(2, 3, 1, 0)
    params = {"conv": {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.array([0.1, 0.2, 0.3, 0.4])}}
    module = kept("SConv2dLSTM", 1, 1, 3, threshold=0.1, reset_mechanism=reset)
    found = trace(module, params, (jnp.arange(4.0) / 4).reshape(1, 2, 2, 1), num_steps=3)
    expected = parsed(IMAGES[reset])
    np.testing.assert_allclose(found["mem"].reshape(3, 4)[: len(expected)], expected, 3e-7, 1e-7)


# --- twins ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "bias", "quantizer"),
    [(r, True, False) for r in RESETS] + [("zero", False, False), ("subtract", True, grid)],
)
def test_slstm_is_that_of_snntorch(reset, bias, quantizer):
    twin.snntorch()
    import torch

    torch.manual_seed(1)
    options = {
        "bias": bias,
        "threshold": np.linspace(0.05, 0.2, 16).astype(np.float32),
        "learn_threshold": True,
        "reset_mechanism": reset,
        "state_quant": quantizer,
    }
    theirs = twin.torch_neuron("SLSTM", None, input_size=16, hidden_size=16, **options)
    x = normal((T, 20, 16))
    params = {**dense_params(theirs.lstm_cell), "threshold": options["threshold"]}
    ours = trace(kept("SLSTM", 16, 16, **options), params, x)
    zeros = (torch.zeros(20, 16),) * 2
    agree(ours, torch_trace(theirs, torch.tensor(x), zeros), f"{reset} {quantizer}")


@pytest.mark.parametrize("reset", RESETS)
def test_slstm_of_unequal_sizes_is_an_lstm_cell(reset):
    """snnTorch forgets its states at each step if the sizes differ: torch's cell, reset by hand, is the twin."""
    twin.snntorch()
    import torch

    torch.manual_seed(2)
    cell, threshold = torch.nn.LSTMCell(7, 12), 0.15

    def step(x, syn, mem):
        fired = (mem - threshold > 0).float()
        mem, syn = cell(x, (mem, syn))
        if reset == "subtract":
            mem = mem - fired * threshold
        elif reset == "zero":
            mem = mem - fired * mem
        return (mem - threshold > 0).float(), syn, mem

    x = normal((T, 20, 7))
    module = kept("SLSTM", 7, 12, threshold=threshold, reset_mechanism=reset)
    theirs = torch_trace(step, torch.tensor(x), (torch.zeros(20, 12),) * 2)
    agree(trace(module, dense_params(cell), x), theirs, reset)
    broken = twin.torch_neuron("SLSTM", None, input_size=7, hidden_size=12, threshold=threshold)
    broken.lstm_cell = cell
    forgetful = torch_trace(broken, torch.tensor(x), (torch.zeros(20, 12),) * 2)
    alone, _ = snn.SLSTM(7, 12).apply({"params": dense_params(cell)}, x[-1])[1:]
    np.testing.assert_allclose(forgetful["syn"][-1], alone, rtol=1e-6, atol=1e-6)


POOLS: tuple[dict[str, Any], ...] = ({}, {"max_pool": 2}, {"avg_pool": (2, 3)})


@pytest.mark.parametrize("reset", RESETS)
def test_sconv2dlstm_is_that_of_snntorch(reset):
    twin.snntorch()
    import torch

    torch.manual_seed(3)
    kernels = dict(zip(RESETS, (3, (1, 3), (5, 3)), strict=True))
    x = normal((T, 2, 5, 6, 2))
    quantized = ({"state_quant": grid, "avg_pool": (2, 3)},) if reset == "subtract" else ()
    for pool in (*POOLS, *quantized):
        threshold = 0.02 if "avg_pool" in pool else 0.1
        options = {"threshold": threshold, "reset_mechanism": reset, "bias": reset != "zero", **pool}
        theirs = twin.torch_neuron(
            "SConv2dLSTM", None, in_channels=2, out_channels=3, kernel_size=kernels[reset], **options
        )
        module = kept("SConv2dLSTM", 2, 3, kernels[reset], **options)
        ours = trace(module, conv_params(theirs.conv), x)
        zeros = (torch.zeros(2, 3, 5, 6),) * 2
        agree(ours, torch_trace(theirs, channels_first(x), zeros), f"{reset} {pool}")


# --- gradients ------------------------------------------------------------------------------------


def loss_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: normal(shape, 10 + i, 1.0) for i, (name, shape) in enumerate(shapes.items())}


def our_gradients(module: Any, params: Any, x: np.ndarray, weights: dict[str, np.ndarray]) -> Any:
    def loss(params, x):
        values, _ = snn.unroll(module, {"params": params}, x, chunk=T)
        return sum(jnp.sum(v * w) for v, w in zip(values, weights.values(), strict=True))

    return jax.jit(jax.grad(loss, (0, 1)))(params, jnp.asarray(x))


def torch_gradients(neuron: Any, states: Any, x: Any, weights: list[Any]) -> dict[str, Any]:
    """By parameter name, and by ``x``."""
    import torch

    x.requires_grad_()
    loss = torch.zeros(())
    for t, frame in enumerate(x):
        spk, *states = neuron(frame, *states)
        loss = loss + sum((v * w[t]).sum() for v, w in zip((spk, *states), weights, strict=True))
    leaves = {**dict(neuron.named_parameters()), "x": x}
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("reset", RESETS)
def test_gradients_of_slstm(reset):
    twin.snntorch()
    import torch

    torch.manual_seed(4)
    threshold = np.linspace(0.05, 0.2, 6).astype(np.float32)
    options = {"threshold": threshold, "learn_threshold": True, "reset_mechanism": reset}
    neuron = twin.torch_neuron("SLSTM", None, input_size=6, hidden_size=6, **options)
    x, weights = normal((10, 4, 6)), loss_weights(dict.fromkeys(("spk", "syn", "mem"), (10, 4, 6)))
    params = {**dense_params(neuron.lstm_cell), "threshold": threshold}
    learned, into = our_gradients(kept("SLSTM", 6, 6, **options), params, x, weights)
    ours = {
        "lstm_cell.weight_ih": learned["feedforward"]["kernel"].T,
        "lstm_cell.bias_ih": learned["feedforward"]["bias"],
        "lstm_cell.weight_hh": learned["recurrent"]["kernel"].T,
        "lstm_cell.bias_hh": learned["recurrent"]["bias"],
        "threshold": learned["threshold"],
        "x": into,
    }
    tensors = [torch.tensor(w) for w in weights.values()]
    theirs = torch_gradients(neuron, (torch.zeros(4, 6),) * 2, torch.tensor(x), tensors)
    twin.assert_gradients(ours, theirs, reset)


@pytest.mark.parametrize(("reset", "pool"), list(zip(RESETS, POOLS[::-1], strict=True)))
def test_gradients_of_sconv2dlstm(reset, pool):
    twin.snntorch()
    import torch

    torch.manual_seed(5)
    options = {"threshold": 0.1, "learn_threshold": True, "reset_mechanism": reset, **pool}
    neuron = twin.torch_neuron("SConv2dLSTM", None, in_channels=2, out_channels=3, kernel_size=3, **options)
    x = normal((8, 2, 4, 6, 2))
    size = {"max_pool": (2, 3), "avg_pool": (2, 2)}.get(next(iter(pool), ""), (4, 6))
    full = (8, 2, 4, 6, 3)
    weights = loss_weights({"spk": (8, 2, *size, 3), "syn": full, "mem": full})
    params = {**conv_params(neuron.conv), "threshold": np.float32(0.1)}
    learned, into = our_gradients(kept("SConv2dLSTM", 2, 3, 3, **options), params, x, weights)
    ours = {
        "threshold": learned["threshold"],
        "conv.weight": learned["conv"]["kernel"].transpose(3, 2, 0, 1),
        "conv.bias": learned["conv"]["bias"],
        "x": np.moveaxis(into, -1, 2),
    }
    tensors = [channels_first(w) for w in weights.values()]
    theirs = torch_gradients(neuron, (torch.zeros(2, 3, 4, 6),) * 2, channels_first(x), tensors)
    twin.assert_gradients(ours, theirs, f"{reset} {pool}")
