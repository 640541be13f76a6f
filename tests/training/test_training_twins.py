"""The same weights, data, order and SGD in snnTorch and in snnax give the same weights after 20 steps.

In float64 on both sides: at 1e-7 of its threshold a neuron fires or not by rounding, and one such spike
parts the two runs for good. snnTorch's spikes stay float32, which is exact.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import snnax as snn
import snnax.functional as SF
from snnax.training import TrainState, make_train_step

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")

STEPS, T, B, CLASSES, RATE = 20, 8, 8, 4, 0.2


def leaky(**options: Any) -> Any:
    return snntorch.Leaky(**{"beta": 0.9, "threshold": 0.5, "init_hidden": True, **options})


def dense() -> tuple[Any, tuple[int, ...]]:
    layers = [torch.nn.Linear(12, 16), leaky(learn_beta=True), torch.nn.Linear(16, CLASSES)]
    return torch.nn.Sequential(*layers, leaky(beta=0.8, output=True)), (12,)


def convolutional() -> tuple[Any, tuple[int, ...]]:
    layers = [
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.AvgPool2d(2),
        leaky(threshold=0.3),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 3 * 3, CLASSES),
    ]
    return torch.nn.Sequential(*layers, leaky(output=True)), (1, 6, 6)


def recurrent() -> tuple[Any, tuple[int, ...]]:
    hidden = snntorch.RLeaky(beta=0.9, threshold=0.5, linear_features=10, init_hidden=True)
    return torch.nn.Sequential(
        torch.nn.Linear(12, 10), hidden, torch.nn.Linear(10, CLASSES), leaky(output=True)
    ), (12,)


def batches(shape: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each class has features of its own that are busier than the others."""
    rng = np.random.default_rng(1)
    busy = rng.random((CLASSES, *shape)) < 0.4
    data = []
    for _ in range(STEPS):
        labels = rng.integers(0, CLASSES, B)
        spikes = rng.random((T, B, *shape)) < np.where(busy[labels], 0.8, 0.1)
        data.append((spikes.astype(np.float64), labels.astype(np.int64)))
    return data


def train_theirs(net: Any, data: list[Any]) -> list[float]:
    """The loop of snnTorch's tutorials."""
    import snntorch.functional as TF
    from snntorch import utils

    for neuron in [n for n in net if hasattr(n, "detach_hidden")]:
        neuron.register_forward_hook(spikes_in_float64)
        for inner in neuron.children():  # the recurrent layer
            inner.register_forward_pre_hook(lambda _, inputs: inputs[0].double())
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=RATE), TF.ce_rate_loss()
    losses = []
    for x, y in data:
        utils.reset(net)
        spikes = torch.stack([net(frame)[0] for frame in torch.from_numpy(x)])
        value = loss(spikes, torch.from_numpy(y))
        optimizer.zero_grad()
        value.sum().backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def spikes_in_float64(neuron: Any, inputs: Any, outputs: Any) -> Any:
    return tuple(o.double() for o in outputs) if isinstance(outputs, tuple) else outputs.double()


def unhooked(net: Any) -> Any:
    for module in net.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return net


@pytest.mark.parametrize("build", [dense, convolutional, recurrent])
def test_twenty_steps_give_the_same_weights(build):
    torch.manual_seed(0)
    theirs, shape = build()
    theirs = theirs.double()
    data = batches(shape)
    with jax.enable_x64(True):
        sample = data[0][0][0]
        net, variables = snn.interop.from_snntorch(theirs, sample)
        state = TrainState.create(net, variables, optax.sgd(RATE))
        before = jax.tree.map(np.asarray, state.params)
        step = make_train_step(SF.ce_rate_loss())
        ours = []
        for x, y in data:
            state, metrics = step(state, x, y)
            ours.append(float(metrics["loss"]))
        np.testing.assert_allclose(ours, train_theirs(theirs, data), rtol=1e-6)
        after = snn.interop.from_snntorch(unhooked(theirs), sample)[1]["params"]
        assert jax.tree.structure(after) == jax.tree.structure(state.params)
        for a, b, c in zip(*map(jax.tree.leaves, (state.params, after, before)), strict=True):
            a, b = np.asarray(a), np.asarray(b)
            scale = np.abs(b).max()
            assert np.abs(b - c).max() > 1e-3 * scale  # it was trained
            assert np.abs(a - b).max() <= 1e-4 * scale
        assert ours[-1] < ours[0]
