"""Networks for porting, after those of agents, speech and hardware: delays, own gradients, masks, memories."""

from __future__ import annotations

import math

import snntorch as snn
import torch
from helpers.port_zoo_ends import batch_first, frame
from snntorch import surrogate
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional


class Policy(nn.Module):
    """An agent that evaluates actions: their log probability, the entropy, a value."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.8, spike_grad=surrogate.atan())
        self.actor, self.critic = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, state, action):
        mem, total = self.lif.init_leaky(), 0.0
        for _ in range(3):
            spk, mem = self.lif(self.fc(state) * 2, mem)
            total = total + spk
        chosen = Categorical(logits=self.actor(total / 3))
        return chosen.log_prob(action), chosen.entropy().mean(), self.critic(total / 3).squeeze(-1)


class PopulationActor(nn.Module):
    """Observations as populations that gather until they fire; groups of spikes decoded by a grouped convolution."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.linspace(-1, 1, 4).repeat(3, 1)[None])
        self.std = nn.Parameter(torch.full((1, 3, 4), 0.4))
        self.fc, self.lif, self.decoder = nn.Linear(12, 6), snn.Leaky(beta=0.75), nn.Conv1d(2, 2, 3, groups=2)

    def forward(self, seen):
        seen = seen.view(-1, 3, 1)
        drive = torch.exp(-0.5 * (seen - self.mean).pow(2) / self.std.pow(2)).view(-1, 12)
        gathered, mem = torch.zeros_like(drive), self.lif.init_leaky()
        total = torch.zeros(len(seen), 6)
        for _ in range(4):
            gathered = gathered + drive
            events = (gathered > 0.999).float()
            gathered = gathered - events * 0.999
            spk, mem = self.lif(self.fc(events), mem)
            total += spk
        return torch.tanh(self.decoder((total / 4).view(-1, 2, 3)).view(len(seen), 2))


class Boxed(torch.autograd.Function):
    """Spikes above zero, whose gradient is cut outside of a box by assignments."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.gt(0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        cut = gradient.clone()
        cut[x <= -0.5] = 0
        cut[x > 0.5] = 0
        return cut


class AdaptiveRecurrent(nn.Module):
    """Adaptive neurons with bounded, learnt decays; recurrent weights without their diagonal."""

    def __init__(self):
        super().__init__()
        self.into, self.back, self.norm = nn.Linear(6, 5), nn.Linear(5, 5, bias=False), nn.LayerNorm(5)
        self.alpha, self.beta = nn.Parameter(torch.rand(5)), nn.Parameter(torch.rand(5))
        self.a, self.b = nn.Parameter(torch.rand(5) * 2 - 1), nn.Parameter(torch.rand(5) * 2)

    def forward(self, x):
        current = self.norm(self.into(x)) * 3
        u = w = s = torch.zeros(len(x), 5, dtype=x.dtype)
        alpha, beta = self.alpha.clamp(0.8, 0.96), self.beta.clamp(0.9, 0.99)
        weights, out = self.back.weight.clone().fill_diagonal_(0), []
        for t in range(x.shape[1]):
            w = beta * w + self.a.clamp(-1, 1) * u + self.b.clamp(0, 2) * s
            u = alpha * (u - s) + (1 - alpha) * (current[:, t] + s @ weights - w)
            s = Boxed.apply(u - 0.3)
            out.append(s)
        return torch.stack(out, dim=1)


class MaskedResets(nn.Module):
    """Resets, leaks and refractory times through masks of membranes."""

    def __init__(self):
        super().__init__()
        self.fc, self.spike = nn.Linear(6, 5), surrogate.fast_sigmoid()

    def forward(self, x):
        mem = rest = torch.zeros(len(x), 5, dtype=x.dtype)
        out = []
        for t in range(x.shape[1]):
            mem = 0.9 * mem + self.fc(x[:, t]) * 3
            mem[rest > 0] = 0.0
            spk = self.spike(mem - 0.6)
            mem = mem.clone()
            mem[spk > 0] -= 0.6
            mem[mem < -0.2] *= 0.5
            rest = rest - 1
            rest[spk.bool()] = 2
            out.append(spk)
        return torch.stack(out, 1), mem[mem > 0].sum()


class LearntStep(torch.autograd.Function):
    """Rounding to a grid of learnt width, both of which have their gradients."""

    @staticmethod
    def forward(ctx, x, width, low, high, scale):
        ctx.save_for_backward(x, width)
        ctx.other = low, high, scale
        return (x / width).round().clamp(low, high) * width

    @staticmethod
    def backward(ctx, gradient):
        x, width = ctx.saved_tensors
        low, high, scale = ctx.other
        steps = x / width
        small, big = (steps < low).to(x.dtype), (steps > high).to(x.dtype)
        middle = 1.0 - small - big
        slope = small * low + big * high + middle * (steps.round() - steps)
        return middle * gradient, (slope * gradient * scale).sum().unsqueeze(0), None, None, None


class LearntGrid(nn.Module):
    """Weights on grids of learnt width, the highest membrane over time as answer."""

    def __init__(self):
        super().__init__()
        self.fc, self.width = nn.Linear(6, 5), nn.Parameter(torch.ones(1) * 0.1)
        self.lif = snn.Leaky(beta=0.9, reset_mechanism="none")

    def forward(self, x):
        mem, highest = self.lif.init_leaky(), None
        for t in range(x.shape[1]):
            weight = LearntStep.apply(
                self.fc.weight, self.width, -8, 7, 1 / math.sqrt(self.fc.weight.numel() * 7)
            )
            _, mem = self.lif(functional.linear(x[:, t], weight, self.fc.bias), mem)
            highest = mem if highest is None else torch.max(highest, mem)
        return highest


class LearntDelays(nn.Module):
    """A ring of past inputs, turned in each step; delays are learnt as places between its entries."""

    def __init__(self):
        super().__init__()
        self.delay, self.fc, self.lif = nn.Parameter(torch.rand(6) * 3), nn.Linear(6, 5), snn.Leaky(beta=0.9)

    def forward(self, x):
        ring, mem, out = torch.zeros(4, len(x), 6), self.lif.init_leaky(), []
        taps = functional.relu(1 - (torch.arange(4).view(-1, 1) - self.delay).abs())
        for t in range(x.shape[1]):
            ring = torch.roll(ring, 1, 0)
            ring[0] = x[:, t]
            spk, mem = self.lif(self.fc((ring * taps.unsqueeze(1)).sum(0)) * 3, mem)
            out.append(spk)
        return torch.stack(out, 1)


class Winner(nn.Module):
    """Only the highest membrane fires, the others are inhibited; those below the third lose half."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 5), snn.Leaky(beta=0.95)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), torch.zeros(len(x), x.shape[1], 5)
        for t in range(x.shape[1]):
            spk, mem = self.lif(self.fc(x[:, t]) * 3, mem)
            spk = spk * functional.one_hot((mem + 10 * spk).argmax(1), 5).float()
            mem = mem - 0.5 * (spk.sum(1, keepdim=True) - spk)
            mem[mem < torch.topk(mem, 3, dim=1).values[:, -1:]] *= 0.5
            out[:, t] = spk + mem
        return out


class Lengths(nn.Module):
    """Sequences of several lengths: membranes stay as they were after the last step of each."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.head = nn.Linear(6, 5), snn.Leaky(beta=0.9), nn.Linear(5, 2)

    def forward(self, x, lengths):
        within = torch.arange(x.size(1))[None] < lengths[:, None]
        mem, total = self.lif.init_leaky(), torch.zeros(len(x), 5)
        for t in range(x.size(1)):
            spk, new = self.lif(self.fc(x[:, t]) * 2, mem)
            runs = within[:, t].unsqueeze(1)
            mem = torch.where(runs, new, mem if mem.numel() else torch.zeros_like(new))
            total = total + spk * runs
        return self.head(total / lengths.unsqueeze(1)), mem


class SeveralSenses(nn.Module):
    """Two senses in a dict, each with neurons in a dict of modules, and a gate between them."""

    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleDict({"seen": nn.Linear(4, 5), "heard": nn.Linear(3, 5)})
        self.neurons = nn.ModuleDict({name: snn.Leaky(beta=0.9) for name in self.encoders})
        self.gate, self.last = nn.Linear(10, 5), snn.Leaky(beta=0.8)

    def forward(self, senses):
        mems = {name: neuron.init_leaky() for name, neuron in self.neurons.items()}
        mem, out = self.last.init_leaky(), []
        for t in range(len(senses["seen"])):
            spikes = {}
            for name, x in senses.items():
                spikes[name], mems[name] = self.neurons[name](self.encoders[name](x[t]) * 2, mems[name])
            share = torch.sigmoid(self.gate(torch.cat([spikes["seen"], spikes["heard"]], 1)))
            spk, mem = self.last(share * spikes["seen"] + (1 - share) * spikes["heard"], mem)
            out.append(spk)
        return {"spikes": torch.stack(out), "ends": [*mems.values()], "steps": len(out)}


class OuterWeights(nn.Module):
    """A layer called with weights that are computed outside of it."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.shift = (
            nn.Linear(6, 5),
            snn.Leaky(beta=0.9),
            nn.Parameter(torch.ones(5) * 0.1),
        )

    def forward(self, x):
        weights = {name: p * 1.5 for name, p in self.fc.named_parameters()}
        weights["bias"] = weights["bias"] + self.shift
        mem, total = self.lif.init_leaky(), 0
        for _ in range(3):
            spk, mem = self.lif(torch.func.functional_call(self.fc, weights, (x,)) * 2, mem)
            total = total + spk + mem
        return total


class MemoryReads(nn.Module):
    """A memory read and written by content: cosine similarity, erase and add."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6 + 3, 5), snn.Leaky(beta=0.9)
        self.key, self.sharp, self.erase, self.add = (nn.Linear(5, n) for n in (3, 1, 3, 3))
        self.register_buffer("start", torch.randn(4, 3) * 0.3)

    def forward(self, x):
        memory, read = self.start.unsqueeze(0).expand(len(x), -1, -1).clone(), torch.zeros(len(x), 3)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, mem = self.lif(self.fc(torch.cat([x[:, t], read], -1)) * 2, mem)
            alike = functional.cosine_similarity(memory, self.key(mem).unsqueeze(1), dim=-1)
            w = torch.softmax(functional.softplus(self.sharp(mem)) * alike, -1).unsqueeze(-1)
            memory = memory * (1 - w * torch.sigmoid(self.erase(spk)).unsqueeze(1)) + w * self.add(
                spk
            ).unsqueeze(1)
            read = torch.bmm(w.transpose(1, 2), memory).squeeze(1)
            out.append(read)
        return torch.stack(out, 1)


class SpikingTokens(nn.Module):
    """A block of a spiking transformer: tokens of patches, keys and values as spikes, normalisation over tokens."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)
        self.mix = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("q", "k", "v")})
        self.norms = nn.ModuleDict({name: nn.BatchNorm1d(4) for name in self.mix})
        self.lifs = nn.ModuleDict({name: snn.Leaky(beta=0.5) for name in ("first", *self.mix, "last")})
        self.head = nn.Linear(4, 3)

    def spikes(self, name, x):
        mem, out = self.lifs[name].init_leaky(), []
        for frame_ in x:
            spk, mem = self.lifs[name](frame_ * 3, mem)
            out.append(spk)
        return torch.stack(out)

    def mixed(self, name, x):
        y = self.mix[name](x.flatten(0, 1))
        y = self.norms[name](y.transpose(-1, -2)).transpose(-1, -2).reshape(x.shape).contiguous()
        return self.spikes(name, y).reshape(*x.shape[:-1], 2, 2).transpose(2, 3)

    def forward(self, x):
        x = x.unsqueeze(0).repeat(3, 1, 1, 1, 1)
        y = self.norm(self.patches(x.flatten(0, 1))).reshape(3, x.size(1), 4, 2, 2)
        y = self.spikes("first", y).flatten(-2).transpose(-1, -2)
        q, k, v = (self.mixed(name, y) for name in self.mix)
        attended = ((q @ k.transpose(-2, -1)) * 0.25 @ v).transpose(2, 3).reshape(y.shape)
        return self.head((y + self.spikes("last", attended)).mean(2)).mean(0)


class GraphAttention(nn.Module):
    """Nodes that weigh the messages along their edges, an adjacency that is normalised by degrees."""

    def __init__(self):
        super().__init__()
        edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
        links = torch.zeros(5, 5)
        links[edges[0], edges[1]] = 1
        self.register_buffer("edges", edges)
        self.register_buffer("links", ((links + links.T) > 0).float())
        self.fc, self.lif, self.attend = nn.Linear(3, 4), snn.Leaky(beta=0.9), nn.Parameter(torch.rand(8))

    def forward(self, x):
        links = self.links + torch.eye(len(self.links))
        degrees = torch.pow(links.sum(1), -0.5)
        degrees[torch.isinf(degrees)] = 0.0
        h = self.fc(torch.einsum("ij,bjf->bif", torch.diag(degrees) @ links @ torch.diag(degrees), x))
        source, target = self.edges
        joined = torch.cat([h[:, source], h[:, target]], -1)
        e = functional.leaky_relu((joined * self.attend).sum(-1), 0.2).exp()
        share = e / (torch.zeros(len(x), 5).index_add(1, target, e)[:, target] + 1e-9)
        places = target.view(1, -1, 1).expand(len(x), -1, 4)
        drive = torch.zeros_like(h).scatter_add_(1, places, share.unsqueeze(-1) * h[:, source])
        mem, total = self.lif.init_leaky(), 0
        for _ in range(3):
            spk, mem = self.lif(drive * 3, mem)
            total = total + spk + mem
        return functional.log_softmax(total, -1)


def _lengths(batch):
    return torch.rand(batch, 4, 6), torch.arange(batch) % 4 + 1


STRANGERS = {
    Policy: lambda b: (torch.rand(b, 6), torch.arange(b) % 3),
    PopulationActor: frame(3),
    AdaptiveRecurrent: batch_first(),
    MaskedResets: batch_first(),
    LearntGrid: batch_first(),
    LearntDelays: batch_first(),
    Winner: batch_first(),
    Lengths: _lengths,
    SeveralSenses: lambda b: ({"seen": torch.rand(4, b, 4), "heard": torch.rand(4, b, 3)},),
    OuterWeights: frame(6),
    MemoryReads: batch_first(),
    SpikingTokens: frame(2, 4, 4),
    GraphAttention: frame(5, 3),
}
