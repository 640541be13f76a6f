"""The demo's network: a convolutional spiking network as snnTorch's users write them, with its weights."""

from __future__ import annotations

from importlib import resources

import numpy as np
import snntorch
import torch
from snntorch import surrogate
from torch import nn

WEIGHTS = "digits_snntorch.npz"


def digits_network(weights: bool = True) -> nn.Sequential:
    """A spiking network that reads handwritten digits of 8x8 pixels.

    Two convolutions and two dense layers, each followed by Leaky neurons: with batch normalisation before and
    pooling after the spikes in the first stage, pooling before them in the second; a learned decay for each
    neuron, another threshold and two surrogates on the way, so that a port has something to prove. Show it
    the same ``[B, 1, 8, 8]`` images for 25 steps; the class with most spikes wins. Call
    ``snntorch.utils.reset`` before each batch.

    Args:
        weights: load the weights that ``benchmarks/train_digits.py`` trained, which come with this package,
            and return the network in evaluation mode; else a fresh network in training mode.

    Returns:
        The network; each call is one step and returns ``(spk, mem)``, ``[B, 10]`` each.

    Example:
        >>> import torch
        >>> net = digits_network()
        >>> spk, mem = net(torch.rand(5, 1, 8, 8))
        >>> spk.shape
        torch.Size([5, 10])
    """
    sharp = surrogate.fast_sigmoid(slope=10)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        snntorch.Leaky(beta=0.9, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.AvgPool2d(2),
        snntorch.Leaky(beta=0.8, threshold=0.5, spike_grad=sharp, init_hidden=True),
        nn.Flatten(),
        nn.Linear(128, 64),
        snntorch.Leaky(
            beta=torch.linspace(0.5, 0.95, 64), learn_beta=True, spike_grad=sharp, init_hidden=True
        ),
        nn.Linear(64, 10),
        snntorch.Leaky(beta=0.9, spike_grad=sharp, init_hidden=True, output=True),
    )
    if weights:
        network.load_state_dict(_shipped_weights())
        network.eval()
    return network


def _shipped_weights() -> dict[str, torch.Tensor]:
    with (
        resources.files("snnax.datasets").joinpath(WEIGHTS).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def simulate(net: nn.Module, frames: np.ndarray, num_steps: int) -> np.ndarray:
    """Output spikes ``[T, B, N]`` of a network with ``init_hidden`` neurons that sees ``frames`` at every step.

    snnTorch's own loop, nothing recorded; the states are reset before.
    """
    for module in net.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
    x = torch.as_tensor(frames)
    rows = []
    with torch.no_grad():
        for _ in range(num_steps):
            out = net(x)
            rows.append(out[0] if isinstance(out, tuple) else out)
    return torch.stack(rows).numpy()
