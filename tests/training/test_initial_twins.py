"""From its own initial weights, drawn as torch draws them, training starts and ends where snnTorch's does."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import snnax as snn
import snnax.functional as SF
from snnax.datasets import digits
from snnax.training import TrainState, batches, fit

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")
pytest.importorskip("sklearn")
from snntorch import functional, utils  # noqa: E402

SEEDS, T, BATCH, EPOCHS, RATE = range(3), 8, 64, 3, 5e-3
KEEP = {"beta": 0.9, "init_hidden": True}


def chain(at, neurons):
    return at.Linear(64, 64), neurons.Leaky(**KEEP), at.Linear(64, 10), neurons.Leaky(**KEEP, output=True)


def data(split):
    images, labels = digits(split)
    return images.reshape(len(images), -1), labels


def spikes(net, images):
    utils.reset(net)
    return torch.stack([net(torch.tensor(np.asarray(images)))[0] for _ in range(T)])


def theirs(seed):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(*chain(torch.nn, snntorch))
    optimizer, losses, loss_function = (
        torch.optim.Adam(net.parameters(), lr=RATE),
        [],
        functional.ce_count_loss(),
    )
    batched = batches(*data("train"), batch_size=BATCH, seed=seed, drop_last=True)
    for epoch in range(EPOCHS):
        for images, labels in batched(epoch):
            loss = loss_function(spikes(net, images), torch.tensor(np.asarray(labels)))
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    images, labels = data("test")
    with torch.no_grad():
        return losses[0], functional.accuracy_rate(spikes(net, images), torch.tensor(labels))


def ours(seed):
    x, y = data("train")
    net = snn.Sequential(*chain(snn, snn))
    state = TrainState.create(net, net.init(jax.random.key(seed), x[:1]), optax.adam(RATE))
    batched = batches(x, y, batch_size=BATCH, seed=seed, drop_last=True)
    state, history = fit(state, batched, epochs=EPOCHS, loss=SF.ce_count_loss(), num_steps=T, progress=False)
    images, labels = data("test")
    (spk, _), _ = snn.unroll(net, state.variables, images, num_steps=T)
    return history.step_loss[0], float(SF.accuracy_rate(spk, labels))


def test_three_seeds_start_and_end_alike():
    there, here = (np.array([side(seed) for seed in SEEDS]) for side in (theirs, ours))
    spread = there.std(0, ddof=1) + here.std(0, ddof=1)
    assert (abs(there.mean(0) - here.mean(0)) <= spread + 0.01).all(), (there, here)
    assert min(there[:, 1].min(), here[:, 1].min()) > 0.85
