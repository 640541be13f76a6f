"""Networks that do not port, each for several reasons, which the comments name.

``# blocks: WORDS`` is in each line that is to be named, for a reason that has these words; ``-> LINE`` behind it is the
edit that takes it away: with all the edits of a class it ports.
"""

from __future__ import annotations

import math
import random

import numpy as np
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

CALLS = [0]


class Spiking(nn.Module):
    """A layer of neurons, and one more."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.lif1 = snn.Leaky(beta=0.9)
        self.fc2 = nn.Linear(8, 3)
        self.lif2 = snn.Leaky(beta=0.8)
        self.calls = 0
        self.mem = None
        self.history = []


class StopsAndHooks(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.fc1(x[step]), mem)
            spk.register_hook(lambda g: g * 2)  # blocks: hook -> pass
            if spk.sum() > 1000:  # blocks: reads a value -> if step > 1000:
                break
            out.append(spk)
        return torch.stack(out)


class CountsInPython(Spiking):
    def forward(self, x):
        mem1, mem2, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem1 = self.lif1(self.fc1(x[step]) * 3, mem1)
            count = int(spk.sum().item())  # blocks: reads a value -> count = spk.sum()
            spk, mem2 = self.lif2(self.fc2(spk) / (1 + count), mem2)
            out.append(spk)
        spikes = torch.stack(out)
        return spikes, {"a"}  # blocks: returns a set -> return spikes, {"a": 1}


class RemembersAndCounts(Spiking):
    def forward(self, x):
        self.calls += 1  # blocks: changes its calls -> pass
        out = []
        for step in range(x.shape[0]):
            now = self.lif1(self.fc1(x[step]), self.mem)
            self.mem = now[1]  # blocks: keeps mem -> self.mem = None
            out.append(now[0] * self.calls)
        return torch.stack(out)


class MasksAndInverts(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.fc1(x[step]) * 3, mem)
            out.append(spk)
        spikes = torch.stack(out).mean(0)
        mask = spikes > 0.5
        chosen = spikes[mask].norm()  # blocks: mask -> chosen = torch.where(mask, spikes, 0).norm()
        inverse = torch.linalg.inv(self.fc2.weight[:, :3])  # blocks: linalg_inv -> inverse = torch.ones(3, 3)
        return spikes.sum() * inverse + chosen


class SparseAndAsking(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        weight = self.fc1.weight.to_sparse() if self.calls == 0 else self.fc1.weight
        for step in range(x.shape[0]):
            y = torch.sparse.mm(weight, x[step].T)  # blocks: sparse -> y = self.fc1.weight @ x[step].T
            spk, mem = self.lif1(y.T * 3, mem)
            if spk.requires_grad:  # blocks: asks whether -> if False:
                spk = spk * 2
            out.append(spk)
        return torch.stack(out)


class Fourier(Spiking):
    def forward(self, x):
        spectrum = torch.fft.rfft(x, dim=-1).real  # blocks: fft -> spectrum = x[..., :4]
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(F.pad(spectrum[step], (0, 4)), mem)
            count = np.sum(spk.detach().numpy()) + 1  # blocks: reads a value -> count = spk.sum() + 1
            out.append(spk * count)
        return torch.stack(out)


class Untrained(Spiking):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)  # blocks: training mode -> self.norm = nn.BatchNorm1d(8).eval()
        self.drop = nn.Dropout(0.5)  # blocks: training mode -> self.drop = nn.Identity()
        self.fc3 = nn.Linear(6, 8)  # blocks: NaN -> self.fc3 = nn.Linear(6, 8, bias=False)
        if self.fc3.bias is not None:
            self.fc3.bias.data[0] = math.nan

    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.drop(self.norm(self.fc3(x[step]))), mem)
            out.append(spk if spk.max() < 9 else spk * 2)  # blocks: reads a value -> out.append(spk)
        return torch.stack(out)


class HooksAndKeeps(Spiking):
    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()
        self.fc2.register_full_backward_hook(lambda *_: None)  # blocks: backward hook -> pass
        self.register_buffer("rate", torch.zeros(8))

    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.norm(self.fc1(x[step])), mem)
            out.append(spk)
        self.rate += out[-1].mean(0)  # blocks: changes its rate -> pass
        return torch.stack(out)


class WritesInto(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        total, step = torch.zeros(x.shape[1], 8), 0
        while total.max() < 3 and step < len(x):  # blocks: reads a value -> while step < len(x):
            spk, mem = self.lif1(self.fc1(x[step]), mem)
            torch.add(total, spk, out=total)  # blocks: writes into an argument -> total = total + spk
            out.append(spk)
            step += 1
        return torch.stack(out)


class GlobalSchedule(Spiking):
    def forward(self, x):
        CALLS[0] += 1
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            y = self.fc1(x[step]) * CALLS[0]  # blocks: second call -> y = self.fc1(x[step])
            spk, mem = self.lif1(y, mem)
            out.append(spk)
        bins = torch.bincount(out[-1].long().flatten(), minlength=2)  # blocks: bincount -> bins = 1.0
        return torch.stack(out) * bins.sum() if torch.is_tensor(bins) else torch.stack(out)


class Decays(Spiking):
    def forward(self, x):
        self.fc1.weight.data *= 0.99  # blocks: changes its weight -> pass
        self.history.append(x.mean())  # blocks: changes its history -> pass
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.fc1(x[step]), mem)
            out.append(spk * len(self.history))
        return torch.stack(out)


class Strided(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            size = (x.shape[1], 3)
            y = torch.as_strided(x[step].t() * 1, size, (6, 1))  # blocks: strides -> y = x[step][:, :3]
            spk, mem = self.lif1(F.pad(y, (0, 5)), mem)
            scale = round(float(spk.mean()), 1)  # blocks: reads a value -> scale = spk.mean()
            out.append(spk * scale)
        return torch.stack(out)


class DrawsAndSteers(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif1(self.fc1(x[step]), mem)
            if random.random() < 0.5:  # blocks: draws random numbers in Python -> if False:
                spk = spk * 2
            out.append(spk)
        spikes = torch.stack(out)
        return spikes * (2 if spikes.mean() > 0.3 else 1)  # blocks: reads a value -> return spikes


class AlwaysDrops(Spiking):
    def forward(self, x):
        mem, out = self.lif1.init_leaky(), []
        for step in range(x.shape[0]):
            cur = self.fc1(F.dropout(x[step]))  # blocks: dropout -> cur = self.fc1(x[step])
            cur = F.alpha_dropout(cur, training=True)  # blocks: alpha_dropout -> pass
            spk, mem = self.lif1(cur, mem)
            out.append(spk)
        return torch.stack(out)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)  # blocks: training mode -> self.norm = nn.Identity()
        self.lif = snn.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x):
        y = self.norm(self.fc(x))
        y = torch.special.bessel_j0(y)  # blocks: special_bessel_j0 -> y = y.cos()
        return self.lif(y.tolist() and y)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(6, 8), Block())

    def forward(self, x):
        y = self.features(x)
        return y * y.sum().item() if y.sum() > 0.5 else y  # blocks: reads a value -> return y


class OwnCell(nn.Module):
    """No neuron of any library."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.decay = nn.Parameter(torch.tensor(0.9))

    def forward(self, x):
        v, out = torch.zeros(x.shape[1], 8), []
        for step in range(x.shape[0]):
            v = self.decay * v + self.fc(x[step])
            spk = (v > 1).float()
            v = v - spk
            order = torch.linalg.qr(self.fc.weight)[1]  # blocks: linalg_qr -> order = v
            out.append(spk * order.sum())
        if torch.stack(out).sum() == 0:  # blocks: reads a value -> if False:
            return torch.ones(3)
        return torch.stack(out)


NETS = [StopsAndHooks, CountsInPython, RemembersAndCounts, MasksAndInverts, SparseAndAsking, Fourier, Untrained,
        HooksAndKeeps, WritesInto, GlobalSchedule, Decays, Strided, DrawsAndSteers, AlwaysDrops, Nested,
        OwnCell]  # fmt: skip
