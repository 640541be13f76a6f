"""Networks for porting that draw random numbers, and that are in training mode."""

from __future__ import annotations

import snntorch as snn
import torch
from helpers.port_zoo_ends import batch_first, frame, steps_first
from snntorch import spikegen
from torch import nn
from torch.nn import functional


class RateEncoder(nn.Module):
    """snnTorch's rate code before the loop."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for spikes in spikegen.rate(x, num_steps=4):
            spk, mem = self.lif(self.fc(spikes) * 2, mem)
            total = total + spk
        return total


class PoissonSteps(nn.Module):
    """Spikes drawn anew in each step, by comparison with uniform numbers; dropout that evaluation leaves out."""

    def __init__(self):
        super().__init__()
        self.fc, self.drop, self.lif = nn.Linear(6, 8), nn.Dropout(0.3), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for _ in range(4):
            spikes = (torch.rand_like(x) < x).to(x) + torch.bernoulli(x * 0.1)
            spk, mem = self.lif(self.drop(self.fc(spikes)) * 2, mem)
            out.append(spk)
        return torch.stack(out)


class NoisyMembranes(nn.Module):
    """Noise of learnt size on membranes, synapses that fail, noisy weights once for each call."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.size = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        weight = self.fc.weight + 0.05 * torch.randn_like(self.fc.weight)
        mem, total = torch.zeros(x.shape[1], 8), 0
        for x_t in x:
            mem = mem + self.size * torch.randn(x.shape[1], 8)
            spk, mem = self.lif(functional.linear(x_t, weight, self.fc.bias) * 2, mem)
            total = total + spk * torch.bernoulli(torch.full_like(spk, 0.7)) + mem
        return total


class Escape(nn.Module):
    """Neurons by hand that fire by chance, straight through; a mask of inputs, integers and noise in place."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        batch, v, total = x.shape[0], torch.zeros(x.shape[0], 8), 0
        mask = (torch.rand(batch, 6) < 0.8).to(x)
        for t in range(x.shape[1]):
            v = 0.9 * v + self.fc(x[:, t] * mask) * 2
            chance = torch.sigmoid(v - 1)
            spk = (torch.rand_like(chance) < chance).to(x)
            spk = spk - chance.detach() + chance
            v = v - spk
            total = total + self.out(spk) + torch.empty(batch, 3).normal_(0, 0.1) + torch.randint(0, 3, (3,))
        return total


class Dropped(nn.Module):
    """Dropout of currents and of spikes in each step, of channels before the loop."""

    def __init__(self):
        super().__init__()
        self.conv, self.drops = nn.Conv1d(2, 4, 3, padding=1), nn.Dropout1d(0.3)
        self.fc, self.drop, self.lif = nn.Linear(16, 8), nn.Dropout(0.3), snn.Leaky(beta=0.9)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        current = self.drops(self.conv(x)).flatten(1)
        mem, total = self.lif.init_leaky(), 0
        for _ in range(5):
            spk, mem = self.lif(self.drop(self.fc(current)) * 3, mem)
            total = total + self.out(functional.dropout(spk, 0.2, self.training))
        return total


class StepNorms(nn.Module):
    """One batch normalisation in each step of images, and dropout of channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.lif = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), snn.Leaky(beta=0.9)
        self.drop, self.out = nn.Dropout2d(0.3), nn.Linear(64, 3)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for x_t in x:
            spk, mem = self.lif(self.drop(self.norm(self.conv(x_t))), mem)
            total = total + self.out(spk.flatten(1))
        return total


class CalledDropout(nn.Module):
    """Dropout as a function that follows the mode; no layer has one."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.out = nn.Linear(6, 8), snn.Leaky(beta=0.9), nn.Linear(8, 3)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for x_t in x:
            current = functional.dropout(self.fc(x_t), 0.3, training=self.training)
            spk, mem = self.lif(current, mem)
            total = total + self.out(spk)
        return total


class Trained(nn.Sequential):
    """No loop: layers in training mode, of which one keeps no statistics."""

    def __init__(self):
        layers = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8, track_running_stats=False)
        super().__init__(*layers, nn.Dropout(0.5), nn.Linear(8, 2))


class TrainedSteps(nn.Sequential):
    """One step in each call, neurons that keep their state, layers in training mode."""

    def __init__(self):
        super().__init__(
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            snn.Leaky(beta=0.9, init_hidden=True),
            nn.Dropout(0.3),
            nn.Linear(8, 3),
            snn.Leaky(beta=0.8, init_hidden=True, output=True),
        )


RANDOM = {
    RateEncoder: frame(6),
    PoissonSteps: frame(6),
    NoisyMembranes: steps_first(),
    Escape: batch_first(),
}
"""They draw in evaluation too."""

TRAINING = {
    Dropped: frame(2, 4),
    CalledDropout: steps_first(),
    StepNorms: lambda b: torch.rand(4, b, 1, 6, 6),
    Trained: frame(6),
}
