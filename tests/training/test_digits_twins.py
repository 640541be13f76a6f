"""Trained on scanned digits, snnTorch and snnax end at the same accuracy: five seeds, means within a standard error.

Each seed gives both sides the same initial weights and the same order of the data; the rest is each framework's own
forward, backward and Adam in float32. After a few steps the first spike flips by rounding and the two runs
part, so that what is compared is how well each learns, and not its weights.
"""

from __future__ import annotations

import numpy as np
import optax
import pytest

import snnax as snn
import snnax.functional as SF
from snnax import interop
from snnax.datasets import digits
from snnax.training import TrainState, batches, fit

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")
pytest.importorskip("sklearn")
from snntorch import functional, utils  # noqa: E402

SEEDS, T, BATCH, EPOCHS, RATE = range(5), 10, 64, 4, 5e-3


def network(seed):
    torch.manual_seed(seed)
    options = {"beta": 0.9, "init_hidden": True}
    return torch.nn.Sequential(
        torch.nn.Linear(64, 64),
        snntorch.Leaky(**options),
        torch.nn.Linear(64, 10),
        snntorch.Leaky(**options, output=True),
    )


def data(split):
    images, labels = digits(split)
    return images.reshape(len(images), -1), labels


def torch_accuracy(net, seed):
    x, y = data("train")
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    loss_function = functional.ce_count_loss()
    batched = batches(x, y, batch_size=BATCH, seed=seed, drop_last=True)
    for epoch in range(EPOCHS):
        for images, labels in batched(epoch):
            loss = loss_function(torch_spikes(net, images), torch.tensor(np.asarray(labels)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    images, labels = data("test")
    with torch.no_grad():
        return functional.accuracy_rate(torch_spikes(net, images), torch.tensor(labels))


def torch_spikes(net, images):
    utils.reset(net)
    frame = torch.tensor(np.asarray(images))
    return torch.stack([net(frame)[0] for _ in range(T)])


def snnax_accuracy(net, seed):
    x, y = data("train")
    model, variables = interop.from_snntorch(net, x[:1])
    state = TrainState.create(model, variables, optax.adam(RATE))
    batched = batches(x, y, batch_size=BATCH, seed=seed, drop_last=True)
    state, _ = fit(state, batched, epochs=EPOCHS, loss=SF.ce_count_loss(), num_steps=T, progress=False)
    images, labels = data("test")
    (spk, _), _ = snn.unroll(model, state.variables, images, num_steps=T)
    return float(SF.accuracy_rate(spk, labels))


def test_both_learn_the_digits_equally_well():
    theirs = np.array([torch_accuracy(network(seed), seed) for seed in SEEDS])
    ours = np.array([snnax_accuracy(network(seed), seed) for seed in SEEDS])
    error = np.sqrt((theirs.var(ddof=1) + ours.var(ddof=1)) / len(SEEDS))
    print(theirs, ours, error)
    assert min(theirs.min(), ours.min()) > 0.9
    assert abs(theirs.mean() - ours.mean()) <= error
