"""Networks for porting, by what they do before their neurons: encoders, images, layouts, computed weights."""

from __future__ import annotations

import math

import snntorch as snn
import torch
from helpers.port_zoo_ends import batch_first, frame, steps_first
from snntorch import spikegen, surrogate
from torch import nn
from torch.nn import functional


class RateCoded(nn.Module):
    """A rate code that is given as an input beside the network, spikes over an axis in the middle."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(12, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        batch, steps = x.shape[:2]
        x = (x > 0.5).float().reshape(batch, steps, -1)
        mem, out = self.lif.init_leaky(), []
        for t in range(steps):
            spk, mem = self.lif(self.fc(x[:, t]), mem)
            out.append(spk)
        return torch.stack(out, dim=1)


class ConvStem(nn.Module):
    """A stem of convolution, normalisation and ReLU once, spikes over a constant current."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.lif, self.head = snn.Leaky(beta=0.8), nn.Linear(4, 3)

    def forward(self, x):
        current, mem, total = self.stem(x), self.lif.init_leaky(), 0.0
        for _ in range(4):
            spk, mem = self.lif(current, mem)
            total += functional.adaptive_avg_pool2d(spk, 1).flatten(1)
        return self.head(total / 4)


class EventFrames(nn.Module):
    """Event frames ``[B, T, C, H, W]``, convolutions and pooling of spikes, adaptive pooling."""

    def __init__(self):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(2, 4, 3, padding=1), snn.Leaky(beta=0.5)
        self.conv2, self.lif2 = nn.Conv2d(4, 4, 3, stride=2), snn.Leaky(beta=0.5)
        self.pool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(4, 3)

    def forward(self, x):
        mem1, mem2, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for t in range(x.size(1)):
            spk1, mem1 = self.lif1(self.conv1(x[:, t]) * 2, mem1)
            spk2, mem2 = self.lif2(self.conv2(functional.avg_pool2d(spk1, 2)) * 2, mem2)
            out.append(self.fc(self.pool(spk2).squeeze(-1).squeeze(-1)))
        return torch.stack(out, 1).mean(1)


class Positions(nn.Module):
    """A positional code of sine and cosine, layer normalisation, tokens of an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(10, 8), nn.LayerNorm(8)
        self.lif, self.head = snn.Leaky(beta=0.9), nn.Linear(8, 3)
        place = torch.arange(4).unsqueeze(1) * torch.exp(torch.arange(0, 8, 2) * (-math.log(100.0) / 8))
        code = torch.zeros(4, 8)
        code[:, 0::2], code[:, 1::2] = torch.sin(place), torch.cos(place)
        self.register_buffer("code", code.unsqueeze(0))

    def forward(self, tokens):
        h = self.norm(self.embedding(tokens) + self.code[:, : tokens.size(1)])
        mem, total = self.lif.init_leaky(), torch.zeros(tokens.size(0), 8)
        for t in range(tokens.size(1)):
            spk, mem = self.lif(h[:, t], mem)
            total = total + spk
        return self.head(total / tokens.size(1))


class LastAxisConv1d(nn.Module):
    """Signals ``[B, C, T]``: a convolution over time, group normalisation, then steps over the last axis."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.lif, self.fc = snn.Leaky(beta=0.9), nn.Linear(8, 3)

    def forward(self, x):
        h = functional.elu(self.norm(self.conv(x)))
        mem, out = self.lif.init_leaky(), []
        for t in range(h.shape[-1]):
            spk, mem = self.lif(h[..., t] * 2, mem)
            out.append(self.fc(spk))
        return torch.stack(out, dim=-1)


class Patches(nn.Module):
    """Patches by unfold, tokens mixed by bmm with their own transposes."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 8), snn.Leaky(beta=0.8)

    def forward(self, x):
        patches = functional.unfold(x, 2, stride=2).transpose(1, 2)
        mem, total = self.lif.init_leaky(), 0
        for _ in range(4):
            spk, mem = self.lif(self.fc(patches) * 2, mem)
            mixed = torch.bmm(spk, spk.transpose(1, 2)) / 8**0.5
            total = total + torch.bmm(mixed, spk)
        return total.mean(dim=(1, 2))


class SpikingAttention(nn.Module):
    """Attention of spikes without softmax, heads by reshape and permute, a residual."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.lif_q, self.lif_k, self.lif_v = (snn.Leaky(beta=0.5) for _ in range(3))
        self.proj, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def heads(self, x):
        batch, tokens, _ = x.shape
        return x.reshape(batch, tokens, 2, 4).permute(0, 2, 1, 3)

    def forward(self, x):
        mems = [lif.init_leaky() for lif in (self.lif_q, self.lif_k, self.lif_v)]
        out = []
        for x_t in x:
            q, mems[0] = self.lif_q(self.q(x_t) * 3, mems[0])
            k, mems[1] = self.lif_k(self.k(x_t) * 3, mems[1])
            v, mems[2] = self.lif_v(self.v(x_t) * 3, mems[2])
            attn = self.heads(q) @ self.heads(k).transpose(-2, -1) * 0.25
            h = (attn @ self.heads(v)).transpose(1, 2).flatten(2)
            out.append(self.norm(x_t + self.proj(h)))
        return torch.stack(out).mean(dim=(0, 2))


class Causal(nn.Module):
    """Scaled attention over time with a causal mask, then spikes."""

    def __init__(self):
        super().__init__()
        self.qkv, self.lif = nn.Linear(6, 24), snn.Leaky(beta=0.9)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        mask = torch.triu(torch.ones(x.size(1), x.size(1), dtype=torch.bool), diagonal=1)
        score = (q @ k.transpose(1, 2) / math.sqrt(8)).masked_fill(mask, float("-inf"))
        h = functional.softmax(score, dim=-1) @ v + functional.scaled_dot_product_attention(q, k, v)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, mem = self.lif(h[:, t] * 3, mem)
            out.append(spk)
        return torch.stack(out, 1)


class Upsampled(nn.Module):
    """A decoder: transposed convolution, pixel shuffle and upsampling of spikes, sigmoid images."""

    def __init__(self):
        super().__init__()
        self.up, self.lif = nn.ConvTranspose2d(2, 4, 2, stride=2), snn.Leaky(beta=0.6)
        self.shuffle, self.out = nn.PixelShuffle(2), nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.shape[0]):
            spk, mem = self.lif(self.up(x[t]) * 3, mem)
            image = functional.interpolate(self.shuffle(spk), scale_factor=0.5, mode="bilinear")
            total = total + self.out(functional.interpolate(image, scale_factor=2, mode="nearest"))
        return torch.sigmoid(total / x.shape[0])


class LatencyCoded(nn.Module):
    """A deterministic latency code of snnTorch in ``forward``."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        spikes = spikegen.latency(x, num_steps=4, tau=2, threshold=0.01, normalize=True, linear=True)
        mem, total = self.lif.init_leaky(), 0
        for t in range(4):
            _spk, mem = self.lif(self.fc(spikes[t]) * 3, mem)
            total = total + mem
        return total


class DeltaCoded(nn.Module):
    """Differences in time as on and off events."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(12, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        change = torch.diff(x, dim=1, prepend=x[:, :1])
        events = torch.cat([(change > 0.1).float(), (change < -0.1).float()], dim=-1)
        mem, out = self.lif.init_leaky(), []
        for t in range(events.size(1)):
            spk, mem = self.lif(self.fc(events[:, t]) * 2, mem)
            out.append(spk)
        return torch.stack(out).transpose(0, 1)


class Receptive(nn.Module):
    """Gaussian receptive fields in front, an outer product of them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, 1, 5))
        self.width = nn.Parameter(torch.tensor(0.2))
        self.fc, self.lif = nn.Linear(25, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        fields = torch.exp(-((x[..., None] - self.centres) ** 2) / (2 * self.width**2))
        grid = torch.einsum("bi,bj->bij", fields[:, 0], fields[:, 1]).flatten(1)
        mem, total = self.lif.init_leaky(), 0
        for _ in range(4):
            spk, mem = self.lif(self.fc(grid) * 2, mem)
            total = spk + total
        return total


# --- Weights that forward computes ----------------------------------------------------------------


class Masked(nn.Module):
    """Sparse weights by a fixed mask, without a connection of a neuron to itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8) * 0.5)
        self.register_buffer("mask", (torch.rand(8, 8) < 0.5).float())
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, spk = self.lif.init_leaky(), torch.zeros(x.size(1), 8)
        for t in range(x.size(0)):
            recurrent = self.weight * self.mask * (1 - torch.eye(8))
            spk, mem = self.lif(self.fc(x[t]) + functional.linear(spk, recurrent), mem)
        return spk, mem


class Quantised(nn.Module):
    """Weights rounded to a grid, the gradient passed through by ``detach``."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def quantised(self, weight):
        scale = weight.abs().max().detach() / 7
        rounded = torch.clamp(torch.round(weight / scale), -7, 7) * scale
        return weight + (rounded - weight).detach()

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            current = functional.linear(x[t], self.quantised(self.fc.weight), self.fc.bias)
            _spk, mem = self.lif(current * 2, mem)
            out.append(mem)
        return torch.stack(out)


class Normalised(nn.Module):
    """Weights of unit length, and a gain; cosine similarity at the end."""

    def __init__(self):
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.ones(8))
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.size(0)):
            weight = functional.normalize(self.weight, dim=1)
            spk, mem = self.lif(x[t] @ weight.t() * self.gain * 2, mem)
            total = total + mem
        return functional.cosine_similarity(total, mem + spk, dim=-1)


class Tied(nn.Module):
    """One matrix there and, transposed, back."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 6) * 0.5), nn.Parameter(torch.zeros(6))
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.9, reset_mechanism="zero")

    def forward(self, x):
        mem1, mem2, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(functional.linear(x[t], self.weight) * 2, mem1)
            _spk2, mem2 = self.lif2(functional.linear(spk1, self.weight.t(), self.bias), mem2)
            out.append(mem2)
        return torch.stack(out)


class Dale(nn.Module):
    """Excitatory and inhibitory neurons: absolute weights times a sign."""

    def __init__(self):
        super().__init__()
        self.fc, self.weight = nn.Linear(6, 8), nn.Parameter(torch.rand(8, 8) * 0.3)
        self.register_buffer("sign", torch.diag(torch.tensor([1.0] * 6 + [-1.0] * 2)))
        self.lif = snn.Leaky(beta=torch.linspace(0.5, 0.9, 8), threshold=torch.linspace(0.8, 1.2, 8))

    def forward(self, x):
        mem, spk, out = self.lif.init_leaky(), torch.zeros(x.size(0), 8), []
        for t in range(x.size(1)):
            spk, mem = self.lif(self.fc(x[:, t]) + spk @ self.sign @ self.weight.abs(), mem)
            out.append(spk)
        return torch.stack(out, dim=1)


class Fast(nn.Module):
    """Fast weights: an outer product of traces, a plasticity that is learnt."""

    def __init__(self):
        super().__init__()
        self.fc, self.rate = nn.Linear(6, 8), nn.Parameter(torch.tensor(0.1))
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        mem = self.lif.init_leaky()
        trace, fast = torch.zeros(x.size(1), 8), torch.zeros(x.size(1), 8, 8)
        for t in range(x.size(0)):
            current = self.fc(x[t]) * 2 + torch.bmm(fast, trace.unsqueeze(2)).squeeze(2)
            spk, mem = self.lif(current, mem)
            trace = 0.8 * trace + spk
            fast = 0.9 * fast + self.rate * spk.unsqueeze(2) * trace.unsqueeze(1)
        return mem, fast


class Symmetric(nn.Module):
    """Weights by a parametrisation of torch, spectral sums by matrix powers."""

    def __init__(self):
        super().__init__()
        self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
        self.lif = snn.Leaky(beta=0.9, spike_grad=surrogate.sigmoid())

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            total = total + spk.cumsum(1)
        return total / (1 + self.fc.weight.pow(2).sum().sqrt())


STARTS = {
    RateCoded: lambda b: torch.rand(b, 4, 3, 4),
    ConvStem: frame(1, 8, 8),
    EventFrames: batch_first(4, 2),
    Positions: lambda b: torch.randint(0, 10, (b, 4)),
    LastAxisConv1d: frame(2, 5),
    Patches: frame(1, 4, 4),
    SpikingAttention: lambda b: torch.rand(4, b, 5, 8),
    Causal: batch_first(),
    Upsampled: lambda b: torch.rand(3, b, 2, 4, 4),
    LatencyCoded: frame(6),
    DeltaCoded: batch_first(),
    Receptive: frame(2),
    Masked: steps_first(),
    Quantised: steps_first(),
    Normalised: steps_first(),
    Tied: steps_first(),
    Dale: batch_first(),
    Fast: steps_first(),
    Symmetric: steps_first(),
}
STARTS[EventFrames] = frame(4, 2, 8, 8)
