"""Networks as people write them: what ``forward`` does before, inside and after its loop over time."""

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn
from torch.nn import functional


class FrameLoop(nn.Module):
    """One frame for all steps, records stacked: snnTorch's tutorials."""

    steps = 6

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        syn2, mem2 = self.lif2.init_synaptic()
        spikes, mems = [], []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x) * 2, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            spikes.append(spk2)
            mems.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(mems, dim=0)


class BatchFirst(nn.Module):
    """``[B, T, N]`` in, records along the second axis, in a dict with what is no tensor."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.7, learn_beta=True, threshold=0.5)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[1]):
            spk, mem = self.lif(self.fc(x[:, t]), mem)
            out.append(spk)
        return {
            "spikes": torch.stack(out, dim=1),
            "count": sum(out),
            "aux": None,
            "steps": x.shape[1],
            "mem": mem,
        }


class LastAxis(nn.Module):
    """``[B, C, H, W, T]``: convolutions, pooling, flatten, the mean over time."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif1 = nn.Conv2d(2, 4, 3), snn.Leaky(beta=0.5, init_hidden=True)
        self.fc, self.lif2 = nn.Linear(16, 3), snn.Leaky(beta=0.5, init_hidden=True, output=True)

    def forward(self, x):
        utils.reset(self)
        rates = []
        for t in range(x.size(-1)):
            h = functional.max_pool2d(self.lif1(self.conv(x[..., t]) * 3), 2)
            rates.append(self.lif2(self.fc(h.flatten(1)))[0])
        return torch.stack(rates, dim=-1).mean(dim=-1)


class EncoderBefore(nn.Module):
    """An encoder and a normalisation before the loop, a head after it, the last step's membrane."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU())
        self.lif, self.head = snn.Alpha(alpha=0.9, beta=0.8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.encoder(x)
        syn_exc, syn_inh, mem = self.lif.init_alpha()
        for _ in range(5):
            _, syn_exc, syn_inh, mem = self.lif(h * 3, syn_exc, syn_inh, mem)
        return torch.softmax(self.head(mem), dim=-1)


class RunningTotal(nn.Module):
    """Sums that start as a number of Python, as zeros, and in place."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, total, count = self.lif.init_leaky(), 0, torch.zeros(x.shape[1], 8)
        peak = torch.full((x.shape[1], 8), -1.0)
        for x_t in x:
            spk, mem = self.lif(self.fc(x_t), mem)
            total = total + mem
            count += spk
            peak = torch.maximum(peak, mem)
        return total / len(x), count, peak


class Statistics(nn.Module):
    """``.item()`` for records of firing rates, which Python adds up."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, rate, rates = self.lif.init_leaky(), 0.0, []
        for t in range(x.shape[0]):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            rate += spk.mean().item()
            rates.append(mem.abs().max().item())
        return mem / (1 + rate), {"rate": rate / x.shape[0], "rates": rates}


class OwnFeedback(nn.Module):
    """Recurrent weights that a parameter is made symmetric for, spikes of two steps before."""

    def __init__(self):
        super().__init__()
        self.fc, self.w, self.lif = (
            nn.Linear(6, 8),
            nn.Parameter(torch.randn(8, 8) * 0.3),
            snn.Leaky(beta=0.9),
        )

    def forward(self, x):
        mem = self.lif.init_leaky()
        spk, older = torch.zeros(x.shape[1], 8), torch.zeros(x.shape[1], 8)
        out = []
        for t in range(x.shape[0]):
            weight = (self.w + self.w.t()) / 2
            before = spk
            spk, mem = self.lif(self.fc(x[t]) + spk @ weight + 0.1 * older, mem)
            older = before
            out.append(spk)
        return torch.stack(out)


class WrittenOut(nn.Module):
    """``out[:, t] = spk``, and ``out[t]`` read again."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        steps = x.shape[1]
        mem, out, mems = self.lif.init_leaky(), torch.zeros(len(x), steps, 8), torch.empty(steps, len(x), 8)
        for t in range(steps):
            out[:, t], mem = self.lif(self.fc(x[:, t]), mem)
            mems[t : t + 1] = mem * (t + 1)
            out[:, t : t + 1, 0] *= 0.5
        return out, mems


class TwoLoops(nn.Module):
    """A loop over time, and a second one over what the first recorded."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem, records = self.lif1.init_leaky(), []
        for t in range(x.shape[0]):
            spk, mem = self.lif1(self.fc1(x[t]) * 2, mem)
            records.append(spk)
        mem, out = self.lif2.init_leaky(), []
        for spk in records:
            spk, mem = self.lif2(self.fc2(spk), mem)
            out.append(mem)
        return torch.stack(out)


class NormPerStep(nn.Module):
    """A batch normalisation for each step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.norms = nn.ModuleList([nn.BatchNorm1d(8) for _ in range(5)])
        for norm in self.norms:
            norm.running_mean.normal_()
            norm.weight.data.uniform_(0.5, 1.5)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t, norm in enumerate(self.norms):
            spk, mem = self.lif(norm(self.fc(x[t])), mem)
            out.append(spk)
        return torch.stack(out)


class OneStep(nn.Module):
    """One step from zero states, the weight scaled in forward."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x):
        syn, mem = self.lif.init_synaptic()
        current = functional.linear(x, self.fc.weight * torch.sigmoid(self.fc.bias)[:, None])
        return self.lif(current, syn, mem)


class OwnNeuron(snn.Leaky):
    """A step of its own."""

    def forward(self, input_, mem=None):
        mem = torch.zeros_like(input_) if mem is None or not mem.numel() else mem
        mem = self.beta.clamp(0, 1) * mem + input_ - 0.1 * mem**2
        spk = self.spike_grad(mem - self.threshold)
        return spk, mem - spk * self.threshold


class Subclass(nn.Module):
    """A subclass of a neuron, and one that inhibits: both are looked into."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), OwnNeuron(beta=0.9, spike_grad=surrogate.fast_sigmoid())

    def forward(self, x):
        mem, out = None, []
        for t in range(x.shape[0]):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            out.append(spk)
        return torch.stack(out)


class Recurrent(nn.Module):
    """Neurons with recurrent weights inside, and one whose state has another shape than its input."""

    def __init__(self):
        super().__init__()
        self.fc, self.rlif = nn.Linear(6, 8), snn.RLeaky(beta=0.9, linear_features=8)
        self.rsyn = snn.RSynaptic(alpha=0.8, beta=0.9, all_to_all=False)
        self.slstm = snn.SLSTM(8, 3, threshold=0.1)

    def forward(self, x):
        spk1, mem1 = self.rlif.init_rleaky()
        spk2, syn2, mem2 = self.rsyn.init_rsynaptic()
        syn3, mem3 = self.slstm.init_slstm()
        out = []
        for t in range(x.shape[0]):
            spk1, mem1 = self.rlif(self.fc(x[t]) * 2, spk1, mem1)
            spk2, syn2, mem2 = self.rsyn(spk1, spk2, syn2, mem2)
            _, syn3, mem3 = self.slstm(spk2, syn3, mem3)
            out.append(mem3)
        return torch.stack(out)


class Moving(nn.Module):
    """Windows over time, time backwards, every second step, decays by the number of the step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.readout = nn.Linear(12, 8), snn.Leaky(beta=0.9), snn.Leaky(beta=0.5)

    def forward(self, x):
        steps = (x.shape[1] - 1) // 2
        mem, mem2, total = self.lif.init_leaky(), self.readout.init_leaky(), 0
        for t in range(steps):
            window = x[:, 2 * t : 2 * t + 2].flatten(1)
            spk, mem = self.lif(self.fc(window), mem)
            back, mem2 = self.readout(x[:, -1 - t], mem2)
            total = total + spk.sum(1, keepdim=True) * 0.5**t + back * (t > 2)
        return total


class Noise(nn.Module):
    """Random numbers in every step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for _ in range(4):
            spikes = (torch.rand_like(x) < x).float()
            spk, mem = self.lif(self.fc(spikes) * 2, mem)
            out.append(spk)
        return torch.stack(out).sum(0)


class Hidden(nn.Module):
    """One step of neurons that keep their states."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), snn.Leaky(beta=0.9, init_hidden=True, output=True))

    def forward(self, x):
        return self.layers(x)


class Changed(nn.Module):
    """Thresholds clamped past autograd, weights without gradient, decays that change."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = (
            nn.Linear(6, 8),
            snn.Leaky(beta=torch.rand(8), threshold=1.2, learn_threshold=True),
        )

    def forward(self, x):
        self.lif.threshold.data.clamp_(0.2, 1.0)
        with torch.no_grad():
            gain = self.fc.weight.abs().mean()
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[0]):
            _, mem = self.lif(self.fc(x[t]) / gain, mem)
            out.append(mem.detach())
        return torch.cat(out, dim=-1)


class Merged(nn.Module):
    """Time and batch as one axis in front of the loop, ``unbind`` and ``cat``."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        batch, steps = x.shape[:2]
        h = self.fc(x.reshape(batch * steps, -1)).view(batch, steps, 8)
        mem, out = self.lif.init_leaky(), []
        for h_t in h.unbind(1):
            spk, mem = self.lif(h_t * 2, mem)
            out.append(spk.unsqueeze(1))
        return torch.cat(out, dim=1).reshape(batch, -1)


class Attention(nn.Module):
    """Attention over time before spikes."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        h, _ = self.attention(x, x, x)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[1]):
            spk, mem = self.lif(h[:, t] * 4, mem)
            out.append(spk)
        return torch.stack(out, 1)


class Truncated(nn.Module):
    """States detached in every step, a record that grows, a first frame that is like no other."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.lif2 = snn.Leaky(beta=0.8)

    def forward(self, x):
        mem1, mem2, record, out = self.lif1.init_leaky(), self.lif2.init_leaky(), None, []
        for t in range(x.shape[0]):
            spk, mem1 = self.lif1(self.fc(x[t]) * 2, mem1.detach())
            record = spk[None] if record is None else torch.cat((record, spk[None]))
            spk, mem2 = self.lif2(spk if t else spk * 0.5, mem2)
            out.append(mem2)
        return record, torch.stack(out, dim=1)


class Gated(nn.Module):
    """An LSTM over time before spikes."""

    def __init__(self):
        super().__init__()
        self.lstm, self.lif = nn.LSTM(6, 8, batch_first=True), snn.Leaky(beta=0.9)

    def forward(self, x):
        h, _ = self.lstm(x)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[1]):
            spk, mem = self.lif(h[:, t] * 8, mem)
            out.append(spk)
        return torch.stack(out, 1)


class Delta(nn.Module):
    """A neuron whose states are a pair that is None at first."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.DeltaLeaky(delta_threshold=0.3, beta=0.9)

    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for t in range(x.shape[0]):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            out.append(spk)
        return torch.stack(out)


class AllAtOnce(nn.Module):
    """A neuron that takes all steps at once."""

    def __init__(self):
        super().__init__()
        self.lif, self.head = snn.LeakyParallel(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lif(x * 4)).mean(0)


def _first(steps, features=6):
    return lambda batch: torch.rand(steps, batch, features)


def _second(steps, features=6):
    return lambda batch: torch.rand(batch, steps, features)


def _frame(batch):
    return torch.rand(batch, 6)


NETS = {
    FrameLoop: _frame, BatchFirst: _second(5), LastAxis: lambda b: torch.rand(b, 2, 6, 6, 5), EncoderBefore: _frame,
    RunningTotal: _first(5), Statistics: _first(5), OwnFeedback: _first(6), WrittenOut: _second(5),
    TwoLoops: _first(5), NormPerStep: _first(5), OneStep: _frame, Subclass: _first(5), Recurrent: _first(5),
    Moving: _second(11), Noise: _frame, Hidden: _frame, Changed: _first(5), Merged: _second(5),
    Attention: _second(5), Truncated: _first(6), Gated: _second(5), Delta: _first(6), AllAtOnce: _first(6),
}  # fmt: skip
