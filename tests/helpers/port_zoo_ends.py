"""Networks for porting, by what they do after the loop and return: sums, heads, dicts, statistics."""

from __future__ import annotations

from collections import namedtuple

import snntorch as snn
import torch
from snntorch import functional as SF
from snntorch import surrogate, utils
from torch import nn
from torch.nn import functional


def steps_first(steps=4, features=6):
    """A sample ``[T, B, N]`` for a batch of any size."""
    return lambda batch: torch.rand(steps, batch, features)


def batch_first(steps=4, features=6):
    """A sample ``[B, T, N]`` for a batch of any size."""
    return lambda batch: torch.rand(batch, steps, features)


def frame(*shape):
    """A sample without time for a batch of any size."""
    return lambda batch: torch.rand(batch, *shape)


class LastSpikes(nn.Module):
    """The spikes of the last step, membranes that start as None."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9, spike_grad=surrogate.atan())
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem1 = mem2 = None
        for t in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.fc1(x[t]) * 3, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2


class MeanOfMembranes(nn.Module):
    """The mean over a stacked record, read out without spikes."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.out, self.readout = nn.Linear(8, 3), snn.Leaky(beta=0.7, reset_mechanism="none")

    def forward(self, x):
        x = x.transpose(0, 1)
        mem, mem_out = self.lif.init_leaky(), self.readout.init_leaky()
        record = []
        for frame_t in x:
            spk, mem = self.lif(self.fc(frame_t) * 2, mem)
            _, mem_out = self.readout(self.out(spk), mem_out)
            record.append(mem_out)
        return torch.stack(record, dim=1).mean(1)


class SpikeCount(nn.Module):
    """Counted spikes, and which neuron counted most."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 5), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem = self.lif.reset_mem()
        count = torch.zeros(x.shape[1], 5, device=x.device)
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 3, mem)
            count += spk
        return count, count.argmax(dim=1), functional.log_softmax(count + mem, dim=-1)


class Weighted(nn.Module):
    """A record weighted over time by a learnt softmax, einsum."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9, learn_beta=True)
        self.over_time = nn.Parameter(torch.randn(4))

    def forward(self, x):
        mem, record = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            record.append(spk)
        weight = torch.softmax(self.over_time, 0)
        return torch.einsum("t,tbn->bn", weight, torch.stack(record))


class HeadAfter(nn.Module):
    """Rates of all steps into a perceptron with normalisation and dropout."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.head = nn.Sequential(
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, mem = self.lif(self.fc(x[:, t]) * 2, mem)
            spikes.append(spk)
        return torch.sigmoid(self.head(torch.stack(spikes, 1).float().mean(dim=1))).squeeze(-1)


Outcome = namedtuple("Outcome", "logits states extra")


class NamedResults(nn.Module):
    """A named tuple with nested lists, dicts, None and numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8)])
        self.lifs = nn.ModuleList([snn.Leaky(beta=0.9), snn.Leaky(beta=0.6)])

    def forward(self, x):
        mems = [lif.init_leaky() for lif in self.lifs]
        for t in range(len(x)):
            h = x[t]
            for i, (layer, lif) in enumerate(zip(self.layers, self.lifs, strict=True)):
                h, mems[i] = lif(layer(h) * 2, mems[i])
        return Outcome(mems[-1], (mems, {"spk": h, "none": None}), [1, 2.5, True, len(x)])


class Printed(nn.Module):
    """Guards and statistics: assert, isnan, prints of rates, a dict of floats."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        assert x.dim() == 3 and not torch.isnan(x).any(), "NaN"
        mem, stats, texts = self.lif.init_leaky(), {"rate": 0.0, "steps": 0}, []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]), mem)
            if torch.isinf(mem).any():
                raise RuntimeError("infinite")
            texts.append(f"{t}: {spk.mean().item():.2f}")
            stats["rate"] += spk.sum().item() / spk.numel()
            stats["steps"] += 1
        stats["rate"] /= stats["steps"]
        return mem, stats


class RunningMean(nn.Module):
    """A mean that is kept up to date, with weights by the number of the step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, mean = self.lif.init_leaky(), torch.zeros(x.size(1), 8)
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            mean = mean + (spk - mean) / (t + 1)
        return mean


class FirstSpike(nn.Module):
    """The time of the first spike, written with where and masks."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        steps = x.size(0)
        mem, first = self.lif.init_leaky(), torch.full((x.size(1), 8), float(steps))
        for t in range(steps):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            fresh = (spk > 0) & (first == steps)
            first = torch.where(fresh, torch.full_like(first, t), first)
        return first, mem


class EarlyMax(nn.Module):
    """Maximum over time, top k and sorted membranes."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, mems = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            _, mem = self.lif(self.fc(x[t]), mem)
            mems.append(mem)
        record = torch.stack(mems)
        best, _ = record.max(dim=0)
        top, where = torch.topk(best, 3, dim=-1)
        return top, where, record.cumsum(0)[-1].sort(dim=1, descending=True)[0]


class Populations(nn.Module):
    """Population decoding: groups of neurons averaged."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 12), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            total = total + spk.view(-1, 3, 4).mean(-1)
        return total.softmax(-1) @ torch.arange(3.0)


class ThreeSums(nn.Module):
    """``sum`` of Python over a list, records concatenated and reshaped."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 4), snn.Synaptic(alpha=0.8, beta=0.9)
        self.readout = nn.Linear(16, 3)

    def forward(self, x):
        syn, mem = self.lif.reset_mem()
        spikes, mems = [], []
        for t in range(x.size(0)):
            spk, syn, mem = self.lif(self.fc(x[t]) * 2, syn, mem)
            spikes.append(spk)
            mems.append(mem.unsqueeze(0))
        flat = torch.cat(spikes, dim=1)
        return sum(spikes), torch.cat(mems).permute(1, 2, 0), self.readout(flat) - sum(spikes).mean()


class LossInside(nn.Module):
    """A training step's forward: the loss over time steps is among the results."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), snn.Leaky(beta=0.9)

    def forward(self, x):
        target = torch.zeros(x.size(1), dtype=torch.long)
        mem, loss = self.lif.init_leaky(), torch.zeros(())
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            loss = loss + functional.cross_entropy(mem, target) + functional.mse_loss(spk, mem)
        return loss / x.size(0)


class RateLoss(nn.Module):
    """snnTorch's losses and regularisers on a record."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 3), snn.Leaky(beta=0.9)

    def forward(self, x):
        target = torch.ones(x.size(1), dtype=torch.long)
        mem, spikes = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            spikes.append(spk)
        record = torch.stack(spikes)
        return SF.ce_rate_loss()(record, target) + SF.l1_rate_sparsity(1e-2)(record)


class ActorCritic(nn.Module):
    """Two heads over a shared spiking body, the action by argmax."""

    def __init__(self):
        super().__init__()
        self.body, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.actor, self.critic = nn.Linear(8, 4), nn.Linear(8, 1)
        self.lif_a, self.lif_c = snn.Leaky(beta=0.8), snn.Leaky(beta=0.95, reset_mechanism="none")

    def forward(self, observation, steps=4):
        mem, mem_a, mem_c = (lif.init_leaky() for lif in (self.lif, self.lif_a, self.lif_c))
        for _ in range(steps):
            spk, mem = self.lif(self.body(observation) * 2, mem)
            _, mem_a = self.lif_a(self.actor(spk), mem_a)
            _, mem_c = self.lif_c(self.critic(spk), mem_c)
        logits = mem_a - mem_a.logsumexp(-1, keepdim=True)
        return {"action": logits.argmax(-1), "log_probs": logits, "value": mem_c.squeeze(-1)}


class Distribution(nn.Module):
    """Variance and extremes over time, a normal distribution's parameters."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.head = nn.Linear(6, 8), snn.Leaky(beta=0.9), nn.Linear(24, 4)

    def forward(self, x):
        mem, mems = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            _, mem = self.lif(self.fc(x[t]), mem)
            mems.append(mem)
        record = torch.stack(mems, -1)
        found = torch.cat([record.mean(-1), record.std(-1), record.amax(-1) - record.amin(-1)], dim=1)
        mu, logvar = self.head(found).chunk(2, dim=-1)
        return mu, functional.softplus(logvar).clamp(1e-3, 10), torch.exp(0.5 * logvar.clamp(-5, 5))


class HiddenLoop(nn.Module):
    """``init_hidden``, ``utils.reset`` in front, a Sequential called in each step."""

    def __init__(self):
        super().__init__()
        grad = surrogate.fast_sigmoid(slope=10)
        self.net = nn.Sequential(
            nn.Linear(6, 8), snn.Leaky(beta=0.9, init_hidden=True, spike_grad=grad),
            nn.Linear(8, 3), snn.Leaky(beta=0.8, init_hidden=True, output=True, spike_grad=grad),
        )  # fmt: skip

    def forward(self, x):
        utils.reset(self.net)
        spikes, mems = [], []
        for t in range(x.size(0)):
            spk, mem = self.net(x[t] * 2)
            spikes.append(spk)
            mems.append(mem)
        return torch.stack(spikes).sum(0), torch.stack(mems)[-1]


class Sliced(nn.Module):
    """The second half of a record counts; slices with steps, negative indices, narrow."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, mem = self.lif(self.fc(x[:, t, :]) * 2, mem)
            out.append(mem + spk)
        record = torch.stack(out, dim=1)
        late = record[:, record.size(1) // 2 :, ::2]
        return late.sum(1), record[:, -1], record.narrow(1, 1, 2).flatten(1), record[:, [0, 2]].mean(1)


ENDS = {
    LastSpikes: steps_first(),
    MeanOfMembranes: batch_first(),
    SpikeCount: steps_first(),
    Weighted: steps_first(4),
    HeadAfter: batch_first(),
    NamedResults: steps_first(),
    Printed: steps_first(),
    RunningMean: steps_first(),
    FirstSpike: steps_first(),
    EarlyMax: steps_first(),
    Populations: steps_first(),
    ThreeSums: steps_first(4),
    LossInside: steps_first(),
    RateLoss: steps_first(),
    ActorCritic: frame(6),
    Distribution: steps_first(),
    HiddenLoop: steps_first(),
    Sliced: batch_first(4),
}
