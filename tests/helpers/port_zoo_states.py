"""Networks for porting, by what they do with states: feedback, delays, records, clamps, lists, attributes."""

from __future__ import annotations

from collections import deque

import snntorch as snn
import torch
from helpers.port_zoo_ends import frame, steps_first
from snntorch import surrogate, utils
from torch import nn
from torch.nn import functional


class OwnFeedback(nn.Module):
    """Feedback through a linear layer of the network's own, from the output to the first layer."""

    def __init__(self):
        super().__init__()
        self.fc1, self.back, self.fc2 = nn.Linear(6, 8), nn.Linear(3, 8), nn.Linear(8, 3)
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2 = torch.zeros(x.size(1), 3)
        out = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]) + self.back(spk2), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1) * 2, mem2)
            out.append(spk2)
        return torch.stack(out)


class Queue(nn.Module):
    """A queue of past spikes as a delay of two steps."""

    def __init__(self):
        super().__init__()
        self.fc, self.late, self.lif = nn.Linear(6, 8), nn.Linear(8, 8, bias=False), snn.Leaky(beta=0.9)

    def forward(self, x):
        past = deque([torch.zeros(x.size(1), 8) for _ in range(2)], maxlen=2)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2 + self.late(past[0]), mem)
            past.append(spk)
            out.append(mem)
        return torch.stack(out)


class PastList(nn.Module):
    """All past spikes in a list, the last three summed with decaying weights."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.kernel = nn.Linear(6, 8), snn.Leaky(beta=0.9), nn.Parameter(torch.rand(3))

    def forward(self, x):
        past = [torch.zeros(x.size(1), 8)] * 3
        mem = self.lif.init_leaky()
        for t in range(x.size(0)):
            late = sum(k * s for k, s in zip(self.kernel, past[-3:], strict=True))
            spk, mem = self.lif(self.fc(x[t]) * 2 - late, mem)
            past.append(spk)
        return torch.stack(past[3:]).mean(0)


class Ring(nn.Module):
    """A ring buffer by roll, delays that differ by neuron by gather."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.register_buffer("delay", torch.arange(8) % 3)

    def forward(self, x):
        ring = torch.zeros(3, x.size(1), 8)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            late = ring.gather(0, self.delay.expand(1, x.size(1), 8)).squeeze(0)
            spk, mem = self.lif(self.fc(x[t]) * 2 + 0.5 * late, mem)
            ring = torch.roll(ring, 1, dims=0)
            ring[0] = spk
            out.append(spk)
        return torch.stack(out)


class Inhibition(nn.Module):
    """Lateral inhibition: each neuron is inhibited by the others' spikes; the winner by a maximum."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, spk, out = self.lif.init_leaky(), torch.zeros(x.size(1), 8), []
        for t in range(x.size(0)):
            others = spk.sum(1, keepdim=True) - spk
            spk, mem = self.lif(self.fc(x[t]) * 2 - 0.2 * others, mem)
            winner = (mem == mem.max(dim=1, keepdim=True).values).float()
            out.append(spk * winner)
        return torch.stack(out)


class Squeezed(nn.Module):
    """A batch of one that is squeezed away and comes back."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t].squeeze(1)) * 2, mem)
            out.append(spk.unsqueeze(1))
        return torch.stack(out)


class OneStep(nn.Module):
    """One step from zero states."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        syn2, mem2 = self.lif2.init_synaptic()
        spk1, mem1 = self.lif1(self.fc1(x) * 2, mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return spk2.softmax(-1), mem2


class Clamped(nn.Module):
    """Membranes clamped, nudged and masked by hand between steps."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem = torch.zeros(x.size(1), 8)
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            mem = torch.clamp(mem, min=-0.5, max=1.5)
            mem = torch.where(spk.bool(), mem * 0.1, mem)
            mem = mem - mem.mean(dim=-1, keepdim=True) * 0.1
        return mem


class InLists(nn.Module):
    """States of a stack of layers as one list of tuples, replaced in place."""

    def __init__(self):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)])
        self.lifs = nn.ModuleList([snn.Synaptic(alpha=0.7, beta=0.8) for _ in range(3)])

    def forward(self, x):
        states = [lif.init_synaptic() for lif in self.lifs]
        record = [[] for _ in self.lifs]
        for t in range(x.size(0)):
            h = x[t] * 2
            for i, (fc, lif) in enumerate(zip(self.fcs, self.lifs, strict=True)):
                h, *states[i] = lif(fc(h), *states[i])
                record[i].append(h)
        return [torch.stack(spikes).mean(0) for spikes in record]


class Attributes(nn.Module):
    """States on the network itself, set to None by its own ``reset``."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.mem, self.trace = None, None

    def reset(self, batch):
        self.mem, self.trace = torch.zeros(batch, 8), torch.zeros(batch, 8)

    def step(self, x):
        spk, self.mem = self.lif(self.fc(x) * 2 - self.trace, self.mem)
        self.trace = 0.9 * self.trace + 0.1 * spk
        return spk

    def forward(self, x):
        self.reset(x.size(1))
        return torch.stack([self.step(x_t) for x_t in x]), self.trace


class Arguments(nn.Module):
    """States as a dict that is an argument, and comes back."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x, state):
        syn, mem = state["syn"], state["mem"]
        for x_t in x.unbind(0):
            spk, syn, mem = self.lif(self.fc(x_t) * 2, syn, mem)
        return spk, {"syn": syn, "mem": mem, "count": state["count"] + 1}


class PerStepNorm(nn.Module):
    """snnTorch's batch normalisation through time."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.norms = snn.BatchNormTT1d(8, 4)
        for norm in self.norms:
            norm.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.norms[t](self.fc(x[t])) * 2, mem)
            out.append(spk)
        return torch.stack(out)


class TwoInARow(nn.Module):
    """A loop over the input, a second one of another length over a code of it."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem, code = self.lif1.init_leaky(), 0
        for t in range(x.size(0)):
            spk, mem = self.lif1(self.fc1(x[t]) * 2, mem)
            code = code + spk
        mem, out = self.lif2.init_leaky(), []
        for _ in range(3):
            spk, mem = self.lif2(self.fc2(code), mem)
            out.append(spk)
        return torch.stack(out)


class Block(nn.Module):
    """A module with a loop of its own over ``[T, B, N]``."""

    def __init__(self, a, b):
        super().__init__()
        self.fc, self.norm, self.lif = nn.Linear(a, b), nn.LayerNorm(b), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.norm(self.fc(x[t])), mem)
            out.append(spk)
        return torch.stack(out, dim=0)


class Nested(nn.Module):
    """Blocks with loops of their own, one after the other, and a residual around one."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = Block(6, 8), Block(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.first(x)
        return self.head((h + self.second(h)).mean(0))


class TraceNeuron(snn.Leaky):
    """A subclass with a threshold that rises with each spike."""

    def __init__(self):
        super().__init__(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=5))
        self.rise = nn.Parameter(torch.full((8,), 0.2))

    def forward(self, input_, mem=None, extra=None):
        if mem is None:
            mem = extra = torch.zeros_like(input_)
        mem = self.beta * mem + input_
        spk = self.spike_grad(mem - self.threshold - extra)
        return spk, mem * (1 - spk), 0.9 * extra + self.rise * spk


class Adaptive(nn.Module):
    """A neuron subclass with another state and step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), TraceNeuron()

    def forward(self, x):
        mem = extra = None
        out = []
        for t in range(x.size(0)):
            _spk, mem, extra = self.lif(self.fc(x[t]) * 3, mem, extra)
            out.append(mem)
        return torch.stack(out)


class Skip(nn.Module):
    """Residual and dense connections of spikes, cat along channels."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(6, 6), nn.Linear(12, 6), nn.Linear(18, 3)
        self.lif1, self.lif2, self.lif3 = (snn.Leaky(beta=0.8) for _ in range(3))

    def forward(self, x):
        mem1, mem2, mem3 = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))
        out = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]) * 3 + x[t], mem1)
            spk2, mem2 = self.lif2(self.fc2(torch.cat([x[t], spk1], 1)) * 2, mem2)
            spk3, mem3 = self.lif3(self.fc3(torch.cat((x[t], spk1, spk2), dim=-1)) * 2, mem3)
            out.append(torch.hstack([spk3, mem3]))
        return torch.stack(out)


class EveryOther(nn.Module):
    """A slow layer that runs in every second step."""

    def __init__(self):
        super().__init__()
        self.fc, self.slow = nn.Linear(6, 8), nn.Linear(8, 3)
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.95)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t in range(x.size(0)):
            spk, mem1 = self.lif1(self.fc(x[t]) * 2, mem1)
            if t % 2 == 1:
                spk2, mem2 = self.lif2(self.slow(spk), mem2)
                out.append(spk2)
        return torch.stack(out)


class WarmUp(nn.Module):
    """Steps that are run and not recorded; gradients start after them."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            _spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            if t == 1:
                mem = mem.detach()
            if t >= 2:
                out.append(mem)
        return torch.stack(out)


class InnerSteps(nn.Module):
    """Several steps of the neurons for each frame."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            current = self.fc(x[t])
            for _ in range(2):
                spk, mem = self.lif(current, mem)
            out.append(spk)
        return torch.stack(out)


class Stacked(nn.Module):
    """States of two layers in one tensor ``[2, B, N]``."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 8)
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.7)

    def forward(self, x):
        mems = torch.zeros(2, x.size(1), 8)
        for t in range(x.size(0)):
            spk, mem1 = self.lif1(self.fc1(x[t]) * 2, mems[0])
            spk, mem2 = self.lif2(self.fc2(spk) * 2, mems[1])
            mems = torch.stack([mem1, mem2])
        return spk, mems


class HandWritten(nn.Module):
    """Neurons by hand with a surrogate of snnTorch, and a readout that is none."""

    def __init__(self):
        super().__init__()
        self.fc, self.tau = nn.Linear(6, 8), nn.Parameter(torch.zeros(8))
        self.spike, self.readout = surrogate.fast_sigmoid(slope=25), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, mem_out = torch.zeros(x.size(1), 8), self.readout.init_leaky()
        out = []
        for t in range(x.size(0)):
            mem = torch.sigmoid(self.tau) * mem + self.fc(x[t]) * 2
            spk = self.spike(mem - 1.0)
            mem = mem - spk.detach()
            _, mem_out = self.readout(spk, mem_out)
            out.append(mem_out)
        return torch.stack(out)


class Detached(nn.Module):
    """Truncated gradients: membranes detached in each step, a reset by utils."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9, init_hidden=True, output=True)

    def forward(self, x):
        utils.reset(self)
        out = 0
        for t in range(x.size(0)):
            self.lif.detach_hidden()
            spk, mem = self.lif(self.fc(x[t]) * 2)
            out = out + functional.relu(mem) * spk
        return out


STATES = {
    OwnFeedback: steps_first(),
    Queue: steps_first(5),
    PastList: steps_first(5),
    Ring: steps_first(5),
    Inhibition: steps_first(),
    Squeezed: lambda b: torch.rand(4, b, 1, 6),
    OneStep: frame(6),
    Clamped: steps_first(),
    InLists: steps_first(),
    Attributes: steps_first(),
    PerStepNorm: steps_first(4),
    TwoInARow: steps_first(5),
    Nested: steps_first(),
    Adaptive: steps_first(),
    Skip: steps_first(),
    EveryOther: steps_first(6),
    WarmUp: steps_first(5),
    InnerSteps: steps_first(),
    Stacked: steps_first(),
    HandWritten: steps_first(),
    Detached: steps_first(),
    Arguments: lambda b: (
        torch.rand(4, b, 6),
        {"syn": torch.rand(b, 8), "mem": torch.rand(b, 8), "count": torch.zeros(b)},
    ),
}
