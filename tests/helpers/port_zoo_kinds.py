"""Networks for porting, by their neurons and architectures: kinds of neurons, autoencoders, twins, reservoirs."""

from __future__ import annotations

import snntorch as snn
import torch
from helpers.port_zoo_ends import batch_first, frame, steps_first
from snntorch import surrogate
from torch import nn
from torch.nn import functional


class Kinds(nn.Module):
    """Leaky, Synaptic, Alpha and Lapicque one behind the other."""

    def __init__(self):
        super().__init__()
        self.fc, self.mix = nn.Linear(6, 8), nn.Linear(8, 8)
        self.leaky, self.synaptic = snn.Leaky(beta=0.9), snn.Synaptic(alpha=0.8, beta=0.7)
        self.alpha, self.lapicque = snn.Alpha(alpha=0.9, beta=0.8), snn.Lapicque(beta=0.8)

    def forward(self, x):
        mem = self.leaky.init_leaky()
        syn, mem2 = self.synaptic.init_synaptic()
        exc, inh, mem3 = self.alpha.init_alpha()
        mem4 = self.lapicque.init_lapicque()
        out = []
        for t in range(x.size(0)):
            spk, mem = self.leaky(self.fc(x[t]) * 3, mem)
            spk, syn, mem2 = self.synaptic(self.mix(spk) * 2, syn, mem2)
            spk, exc, inh, mem3 = self.alpha(spk * 4, exc, inh, mem3)
            spk, mem4 = self.lapicque(spk * 2, mem4)
            out.append(spk + mem4)
        return torch.stack(out), mem3


class RecurrentKinds(nn.Module):
    """Recurrent neurons, one to one and all to all."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.all, self.one = (
            snn.RLeaky(beta=0.9, linear_features=8),
            snn.RLeaky(beta=0.8, all_to_all=False, V=0.5),
        )

    def forward(self, x):
        spk1, mem1 = self.all.init_rleaky()
        spk2, mem2 = self.one.init_rleaky()
        out = []
        for t in range(x.size(0)):
            spk1, mem1 = self.all(self.fc(x[t]) * 2, spk1, mem1)
            spk2, mem2 = self.one(spk1, spk2, mem2)
            out.append(mem2)
        return torch.stack(out)


class RecurrentSynaptic(nn.Module):
    """A recurrent synaptic neuron, and a head per step."""

    def __init__(self):
        super().__init__()
        self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 2)
        self.rsyn = snn.RSynaptic(alpha=0.8, beta=0.9, linear_features=8)

    def forward(self, x):
        spk, syn, mem = self.rsyn.init_rsynaptic()
        out = []
        for t in range(x.size(1)):
            spk, syn, mem = self.rsyn(self.fc(x[:, t]) * 2, spk, syn, mem)
            out.append(self.head(spk))
        return torch.stack(out, 1)


class SpikingLSTM(nn.Module):
    """A spiking LSTM over a signal, its membrane into a head."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = snn.SLSTM(6, 8, spike_grad=surrogate.atan(), threshold=0.1), nn.Linear(8, 3)

    def forward(self, x):
        syn, mem = self.lstm.init_slstm()
        for t in range(x.size(0)):
            spk, syn, mem = self.lstm(x[t], syn, mem)
        return self.head(mem), spk


class SpikingConvLSTM(nn.Module):
    """A spiking convolutional LSTM with pooling."""

    def __init__(self):
        super().__init__()
        self.lstm, self.fc = snn.SConv2dLSTM(1, 2, 3, max_pool=2, threshold=0.05), nn.Linear(8, 3)
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        syn, mem = self.lstm.init_sconv2dlstm()
        mem2, out = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, syn, mem = self.lstm(x[:, t], syn, mem)
            _, mem2 = self.lif(self.fc(spk.flatten(1)), mem2)
            out.append(mem2)
        return torch.stack(out)


class Delta(nn.Module):
    """``DeltaLeaky``, which fires with a change of its membrane and keeps two states in a tuple."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.delta = nn.Linear(6, 8), snn.Leaky(beta=0.9), snn.DeltaLeaky(0.3, beta=0.9)

    def forward(self, x):
        states, mem, out = self.delta.reset_mem(), self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, states = self.delta(self.fc(x[t]) * 2, states)
            spk, mem = self.lif(spk, mem)
            out.append(mem)
        return torch.stack(out), states


class Parallel(nn.Module):
    """A neuron that takes a sequence at once."""

    def __init__(self):
        super().__init__()
        self.lif, self.fc = snn.LeakyParallel(input_size=6, hidden_size=8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.lif(x)).mean(0)


class States(nn.Module):
    """A neuron without resets, which is a convolution over time."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.StateLeaky(beta=0.9, channels=8)

    def forward(self, x):
        spk, mem = self.lif(self.fc(x) * 2)
        return spk.sum(0), mem[-1]


class LearntPerNeuron(nn.Module):
    """Decays and thresholds that are learnt for each neuron."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)
        self.lif1 = snn.Leaky(
            beta=torch.rand(8), learn_beta=True, threshold=torch.rand(8) + 0.5, learn_threshold=True
        )
        self.lif2 = snn.Synaptic(alpha=torch.rand(3), beta=torch.rand(3), learn_alpha=True, learn_beta=True)

    def forward(self, x):
        mem1, (syn2, mem2) = self.lif1.init_leaky(), self.lif2.init_synaptic()
        out = []
        for t in range(x.size(0)):
            spk, mem1 = self.lif1(self.fc1(x[t]) * 2, mem1)
            spk, syn2, mem2 = self.lif2(self.fc2(spk) * 2, syn2, mem2)
            out.append(torch.tanh(mem2))
        return torch.stack(out)


class MultiThreshold(nn.Module):
    """Neurons of three thresholds on one current, graded spikes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.lifs = nn.ModuleList(
            [snn.Leaky(beta=0.9, threshold=0.5 * (k + 1), graded_spikes_factor=k + 1.0) for k in range(3)]
        )

    def forward(self, x):
        mems, out = [lif.init_leaky() for lif in self.lifs], []
        for t in range(x.size(0)):
            current, total = self.fc(x[t]) * 2, 0
            for k, lif in enumerate(self.lifs):
                spk, mems[k] = lif(current, mems[k])
                total = total + spk
            out.append(total)
        return torch.stack(out)


class SubtractZero(nn.Module):
    """Reset mechanisms side by side, inhibition among them."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.zero, self.none = (
            snn.Leaky(beta=0.9, reset_mechanism="zero"),
            snn.Leaky(beta=0.9, reset_mechanism="none"),
        )
        self.inhibited = snn.Leaky(beta=0.9, inhibition=True)

    def forward(self, x):
        mem0, mem1, mem2 = self.zero.init_leaky(), self.none.init_leaky(), self.inhibited.init_leaky()
        total = 0
        for x_t in x:
            h = self.fc(x_t) * 3
            spk0, mem0 = self.zero(h, mem0)
            spk1, mem1 = self.none(h, mem1)
            spk2, mem2 = self.inhibited(h, mem2)
            total = total + spk0 + spk1 * spk2
        return total


class Autoencoder(nn.Module):
    """An encoder's loop, a code, a decoder's loop."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif1 = nn.Conv2d(1, 4, 3, stride=2, padding=1), snn.Leaky(beta=0.8)
        self.to_code, self.from_code = nn.Linear(64, 6), nn.Linear(6, 64)
        self.lif2 = snn.Leaky(beta=0.8)
        self.deconv = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1)

    def encode(self, x):
        mem, spikes = self.lif1.init_leaky(), []
        for _ in range(4):
            spk, mem = self.lif1(self.conv(x) * 2, mem)
            spikes.append(spk)
        return self.to_code(torch.stack(spikes).mean(0).flatten(1))

    def decode(self, code):
        mem, image = self.lif2.init_leaky(), 0
        for _ in range(4):
            spk, mem = self.lif2(self.from_code(code).view(-1, 4, 4, 4), mem)
            image = image + self.deconv(spk)
        return torch.sigmoid(image / 4)

    def forward(self, x):
        code = self.encode(x)
        return self.decode(code), code


class PerStepAutoencoder(nn.Module):
    """Encoder and decoder in the same step, fully connected."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.1), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 6))
        self.lif = snn.Leaky(beta=0.7)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            spk, mem = self.lif(self.encoder(x[t]) * 4, mem)
            out.append(self.decoder(spk))
        out = torch.stack(out)
        return out, functional.mse_loss(out, x)


class Twins(nn.Module):
    """Siamese twins: one network for two inputs, their distance."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

    def embed(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[t]) * 2, mem)
            total = total + spk
        return total / x.size(0) + mem

    def forward(self, a, b):
        first, second = self.embed(a), self.embed(b)
        return functional.pairwise_distance(first, second), torch.abs(first - second)


class Unet(nn.Module):
    """Down, up, and a skip connection over channels."""

    def __init__(self):
        super().__init__()
        self.down, self.middle = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 2, 2, stride=2), nn.Conv2d(4, 1, 1)
        self.lif1, self.lif2, self.lif3 = (snn.Leaky(beta=0.7) for _ in range(3))

    def forward(self, x):
        mem1, mem2, mem3, total = (*(lif.init_leaky() for lif in (self.lif1, self.lif2, self.lif3)), 0)
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.down(x[t]) * 3, mem1)
            spk2, mem2 = self.lif2(self.middle(functional.max_pool2d(spk1, 2)) * 3, mem2)
            spk3, mem3 = self.lif3(self.up(spk2) * 3, mem3)
            total = total + self.out(torch.cat([spk1, spk3], dim=1))
        return total / x.size(0)


class Reservoir(nn.Module):
    """A liquid of fixed random weights, trained only at its readout."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w_in", torch.randn(6, 16))
        self.register_buffer("w", torch.randn(16, 16) * (torch.rand(16, 16) < 0.2))
        self.liquid, self.readout = snn.Leaky(beta=0.9), nn.Linear(16, 3)

    @torch.no_grad()
    def run_liquid(self, x):
        mem, spk = self.liquid.init_leaky(), torch.zeros(x.size(1), 16)
        states = []
        for t in range(x.size(0)):
            spk, mem = self.liquid(x[t] @ self.w_in + spk @ self.w, mem)
            states.append(spk)
        return torch.stack(states)

    def forward(self, x):
        return self.readout(self.run_liquid(x).mean(0))


class ResidualConv(nn.Module):
    """Residual blocks of convolution, normalisation per step and spikes; global pooling."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1, groups=2) for _ in range(2)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(2)])
        self.lifs, self.fc = nn.ModuleList([snn.Leaky(beta=0.6) for _ in range(2)]), nn.Linear(4, 3)

    def forward(self, x):
        mems, out = [lif.init_leaky() for lif in self.lifs], []
        for t in range(x.size(1)):
            h = self.stem(x[:, t])
            for i in range(2):
                spk, mems[i] = self.lifs[i](self.norms[i](self.convs[i](h)) * 3, mems[i])
                h = h + spk
            out.append(self.fc(h.mean(dim=(2, 3))))
        return torch.stack(out, dim=1).mean(dim=1)


class Gated(nn.Module):
    """Gates by a GRU cell beside the spikes."""

    def __init__(self):
        super().__init__()
        self.cell, self.fc, self.lif = nn.GRUCell(6, 8), nn.Linear(8, 8), snn.Leaky(beta=0.9)

    def forward(self, x):
        hidden, mem, out = torch.zeros(x.size(1), 8), self.lif.init_leaky(), []
        for t in range(x.size(0)):
            hidden = self.cell(x[t], hidden)
            spk, mem = self.lif(self.fc(hidden) * 3, mem)
            out.append(spk * torch.sigmoid(hidden))
        return torch.stack(out)


class AfterLSTM(nn.Module):
    """An LSTM of torch over the sequence, spikes behind it."""

    def __init__(self):
        super().__init__()
        self.lstm, self.lif = nn.LSTM(6, 8, batch_first=True), snn.Leaky(beta=0.9)

    def forward(self, x):
        h, _ = self.lstm(x)
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(1)):
            spk, mem = self.lif(h[:, t] * 5, mem)
            out.append(spk)
        return torch.stack(out, 1)


class Ensemble(nn.Module):
    """Networks of different decay on one input, a weighted vote."""

    def __init__(self):
        super().__init__()
        self.members = nn.ModuleDict(
            {f"b{k}": nn.ModuleList([nn.Linear(6, 3), snn.Leaky(beta=0.1 * k)]) for k in (5, 7, 9)}
        )
        self.vote = nn.Parameter(torch.randn(3))

    def forward(self, x):
        votes = []
        for fc, lif in self.members.values():
            mem, total = lif.init_leaky(), 0
            for t in range(x.size(0)):
                spk, mem = lif(fc(x[t]) * 3, mem)
                total = total + spk
            votes.append(total)
        return (torch.stack(votes, -1) * self.vote.softmax(0)).sum(-1)


class MixtureOfExperts(nn.Module):
    """Experts chosen by the largest gate, one hot and gathered."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts, self.lif = (
            nn.Linear(6, 3),
            nn.Parameter(torch.randn(3, 6, 8)),
            snn.Leaky(beta=0.8),
        )

    def forward(self, x):
        chosen = self.gate(x).argmax(-1)
        hot = functional.one_hot(chosen, 3).float()
        current = torch.einsum("be,bi,eio->bo", hot, x, self.experts) + self.experts[chosen].mean(1)
        mem, total = self.lif.init_leaky(), 0
        for _ in range(4):
            spk, mem = self.lif(current, mem)
            total = total + spk
        return total


class Graphs(nn.Module):
    """Messages along the edges of a fixed graph by index_add, nodes as neurons."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(2, 4), snn.Leaky(beta=0.9)
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]]))

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.size(0)):
            h = self.fc(x[t]) * 2
            sent = torch.zeros_like(h).index_add(1, self.edges[1], h[:, self.edges[0]])
            spk, mem = self.lif(h + 0.5 * sent, mem)
            out.append(spk.amax(1))
        return torch.stack(out)


KINDS = {
    Kinds: steps_first(6),
    RecurrentKinds: steps_first(),
    RecurrentSynaptic: batch_first(),
    SpikingLSTM: steps_first(),
    SpikingConvLSTM: frame(3, 1, 4, 4),
    Delta: steps_first(),
    Parallel: steps_first(),
    States: steps_first(),
    LearntPerNeuron: steps_first(),
    MultiThreshold: steps_first(),
    SubtractZero: steps_first(),
    Autoencoder: frame(1, 8, 8),
    PerStepAutoencoder: steps_first(),
    Twins: lambda b: (torch.rand(4, b, 6), torch.rand(4, b, 6)),
    Reservoir: steps_first(),
    Unet: lambda b: torch.rand(3, b, 1, 8, 8),
    ResidualConv: frame(3, 1, 6, 6),
    Gated: steps_first(),
    AfterLSTM: batch_first(),
    Ensemble: steps_first(),
    MixtureOfExperts: frame(6),
    Graphs: lambda b: torch.rand(4, b, 4, 2),
}
