"""Random snnTorch networks over every module kind that can be ported, for tests of whole networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snt
import torch
from snntorch import surrogate
from torch import nn


@dataclass
class Case:
    """A network in evaluation mode and an input ``[T, B, ...]`` that makes it spike."""

    name: str
    net: nn.Module
    x: np.ndarray


RESETS = ("subtract", "zero", "none")


def neuron(
    rng: np.random.Generator, shape: tuple[int, ...], output: bool = False, last: bool = False
) -> nn.Module:
    """A neuron layer of any kind and with any arguments for samples of ``shape``."""
    kinds = ["Leaky", "Synaptic", "Alpha", "Lapicque", "RLeaky", "RSynaptic"]
    kind = str(rng.choice(kinds, p=[0.35, 0.2, 0.1, 0.1, 0.15, 0.1]))
    given: dict[str, Any] = {
        "init_hidden": True,
        "output": output,
        "reset_mechanism": str(rng.choice(RESETS)),
    }
    if rng.random() < 0.3:
        given["spike_grad"] = surrogate.fast_sigmoid(slope=10)
    given["threshold"] = _value(rng, shape, 0.5, 1.2)
    if kind in ("Leaky", "Synaptic", "RLeaky"):
        given["reset_delay"] = bool(rng.random() < 0.6)
    if kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic"):
        given["beta"] = _value(rng, shape, 0.3, 0.97)
        given["learn_beta"] = bool(rng.random() < 0.3)
    if kind in ("Synaptic", "RSynaptic"):
        given["alpha"] = _value(rng, shape, 0.2, 0.9)
    if kind == "Leaky":
        given["learn_threshold"] = bool(rng.random() < 0.3)
        given["graded_spikes_factor"] = float(rng.choice([1.0, 0.5]))
        given["inhibition"] = False
    if kind == "Alpha":
        given.update(alpha=0.9, beta=0.8, threshold=0.2)
    if kind == "Lapicque":
        given.update(R=2.0, C=5.0, time_step=1.0)
    if kind in ("RLeaky", "RSynaptic"):
        given.update(_recurrence(rng, shape))
    return getattr(snt, kind)(**given)


def _value(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Any:
    """One number, one per neuron, or for images one per channel."""
    choice = rng.integers(3)
    if choice == 0:
        return float(rng.uniform(low, high))
    if choice == 1 and len(shape) > 1:
        return torch.tensor(rng.uniform(low, high, (shape[0], *(1,) * (len(shape) - 1))).astype(np.float32))
    return torch.tensor(rng.uniform(low, high, shape).astype(np.float32))


def _recurrence(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
    if rng.random() < 0.4 or len(shape) == 2:
        return {
            "all_to_all": False,
            "V": _value(rng, shape, -0.5, 0.5),
            "learn_recurrent": bool(rng.random() < 0.5),
        }
    if len(shape) == 1:
        return {"linear_features": shape[0]}
    return {"conv2d_channels": shape[0], "kernel_size": 3}


class Residual(nn.Module):
    """``lif(conv(x) + x)`` with the sum inside ``forward``."""

    def __init__(self, inner: nn.Module, lif: nn.Module) -> None:
        super().__init__()
        self.inner, self.lif = inner, lif

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lif(self.inner(x) + x)


def dense(seed: int) -> Case:
    """Linear layers, dropout, batch normalisation, residual sums."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    width = int(rng.integers(6, 20))
    layers: list[nn.Module] = [nn.Linear(9, width, bias=bool(rng.random() < 0.7)), neuron(rng, (width,))]
    for _ in range(int(rng.integers(1, 4))):
        pick = rng.integers(4)
        if pick == 0:
            layers += [nn.Dropout(0.4), nn.Linear(width, width), neuron(rng, (width,))]
        elif pick == 1:
            layers += [nn.Linear(width, width), _norm(nn.BatchNorm1d(width), rng), neuron(rng, (width,))]
        elif pick == 2:
            layers += [Residual(nn.Linear(width, width), neuron(rng, (width,)))]
        else:
            layers += [nn.Sequential(nn.Linear(width, width), neuron(rng, (width,)))]
    layers += [nn.Linear(width, 5), neuron(rng, (5,), output=bool(rng.random() < 0.7))]
    x = rng.uniform(-1, 3, (12, 3, 9)).astype(np.float32)
    return Case(f"dense-{seed}", _loud(nn.Sequential(*layers)), x)


def conv2d(seed: int) -> Case:
    """Convolutions with stride, padding, dilation and groups, every pooling, flatten."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    height, width = int(rng.integers(9, 13)), int(rng.integers(9, 13))
    channels = 2 * int(rng.integers(2, 4))
    first = nn.Conv2d(2, channels, (3, int(rng.integers(1, 4))), stride=int(rng.integers(1, 3)), padding=1)
    shape = _out(first, (2, height, width))
    layers: list[nn.Module] = [first]
    if rng.random() < 0.5:
        layers.append(_norm(nn.BatchNorm2d(channels), rng))
    pool = [
        nn.AvgPool2d(2),
        nn.MaxPool2d(2),
        nn.LPPool2d(1, 2),
        nn.AvgPool2d(3, 2, 1),
        nn.MaxPool2d((2, 1)),
        nn.Identity(),
    ]
    layers.append(pool[int(rng.integers(len(pool)))])
    shape = _out(layers[-1], shape)
    layers.append(neuron(rng, shape))
    second = nn.Conv2d(
        channels, channels, 3, padding="same" if rng.random() < 0.4 else 2, dilation=int(rng.integers(1, 3)),
        groups=int(rng.choice([1, 2, channels])), bias=bool(rng.random() < 0.7),
    )  # fmt: skip
    shape = _out(second, shape)
    layers += [second, neuron(rng, shape), nn.Flatten()]
    size = int(np.prod(shape))
    layers += [nn.Linear(size, 6), neuron(rng, (6,), output=True)]
    x = rng.uniform(0, 3, (8, 2, 2, height, width)).astype(np.float32)
    return Case(f"conv2d-{seed}", _loud(nn.Sequential(*layers)), x)


def conv1d(seed: int) -> Case:
    """One-dimensional convolutions and poolings."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    length = int(rng.integers(12, 20))
    first = nn.Conv1d(3, 4, 3, stride=int(rng.integers(1, 3)), padding=1, dilation=int(rng.integers(1, 3)))
    shape = _out(first, (3, length))
    layers: list[nn.Module] = [first, neuron(rng, shape)]
    pool = [nn.AvgPool1d(2), nn.MaxPool1d(2), nn.LPPool1d(1, 2), nn.AvgPool1d(3, 2, 1)]
    layers.append(pool[int(rng.integers(len(pool)))])
    shape = _out(layers[-1], shape)
    second = nn.Conv1d(4, 6, 3, padding="same", groups=int(rng.choice([1, 2])))
    shape = _out(second, shape)
    layers += [second, neuron(rng, shape), nn.Flatten(), nn.Linear(int(np.prod(shape)), 4), neuron(rng, (4,))]
    x = rng.uniform(0, 3, (8, 2, 3, length)).astype(np.float32)
    return Case(f"conv1d-{seed}", _loud(nn.Sequential(*layers)), x)


def _out(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(layer.eval()(torch.zeros(1, *shape)).shape[1:])


def _norm(layer: Any, rng: np.random.Generator) -> nn.Module:
    """Batch normalisation with statistics of its own, as after training."""
    with torch.no_grad():
        for tensor, low, high in ((layer.running_mean, -0.3, 0.3), (layer.running_var, 0.5, 1.5),
                                  (layer.weight, 0.7, 1.6), (layer.bias, -0.1, 0.4)):  # fmt: skip
            tensor.copy_(torch.tensor(rng.uniform(low, high, tensor.shape).astype(np.float32)))
    return layer


def _loud(net: nn.Module) -> nn.Module:
    """Larger weights, so that deep layers spike too."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                module.weight.mul_(1.7)
    return net.eval()


KINDS: tuple[Callable[[int], Case], ...] = (dense, conv2d, conv1d)


def cases(count: int) -> list[tuple[Callable[[int], Case], int]]:
    """``count`` builders with seeds, the kinds in turn."""
    return [(KINDS[i % len(KINDS)], i) for i in range(count)]
