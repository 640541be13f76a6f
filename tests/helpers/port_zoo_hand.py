"""Networks for porting whose neurons are written by hand: cells of operations, own surrogates, and none at all."""

from __future__ import annotations

import math

import snntorch as snn
import torch
from helpers.port_zoo_ends import batch_first, frame, steps_first
from torch import nn
from torch.nn import functional


class Boxcar(torch.autograd.Function):
    """Spikes above a threshold; the gradient is one in a window around it."""

    @staticmethod
    def forward(ctx, mem):
        ctx.save_for_backward(mem)
        return mem.gt(0.5).float()

    @staticmethod
    def backward(ctx, grad):
        (mem,) = ctx.saved_tensors
        return grad * (abs(mem - 0.5) < 0.5).float()


class Steep(torch.autograd.Function):
    """Spikes above zero, with a slope that is kept on the class."""

    scale = 5.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        out = torch.zeros_like(x)
        out[x > 0] = 1.0
        return out

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad.clone() / (Steep.scale * torch.abs(x) + 1.0) ** 2


class Triangle(torch.autograd.Function):
    """Spikes at and above zero, a triangle of a given width behind."""

    @staticmethod
    def forward(ctx, x, width):
        out = (x >= 0).float()
        ctx.save_for_backward(x, out, torch.tensor([width]))
        return out

    @staticmethod
    def backward(ctx, grad):
        x, _out, others = ctx.saved_tensors
        width = others[0].item()
        return grad * (1 / width) * (1 / width) * (width - x.abs()).clamp(min=0), None


class Gauss(torch.autograd.Function):
    """Spikes above zero, the difference of two bells behind."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.gt(0).float()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors

        def bell(width):
            return torch.exp(-(x**2) / (2 * width**2)) / math.sqrt(2 * math.pi) / width

        return grad.clone() * (1.3 * bell(0.5) - 0.15 * bell(3.0)) * 0.5


class Erf(torch.autograd.Function):
    """Spikes above zero, a bell behind, powers in place."""

    @staticmethod
    def forward(ctx, x, alpha):
        if x.requires_grad:
            ctx.save_for_backward(x)
            ctx.alpha = alpha
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, grad):
        grad_x = None
        if ctx.needs_input_grad[0]:
            width = -(ctx.saved_tensors[0] * ctx.alpha).pow_(2)
            grad_x = width.exp_() * (ctx.alpha / math.sqrt(math.pi)) * grad
        return grad_x, None


class Iterative(nn.Module):
    """Membranes that keep what is left without a spike, sums of spikes as answer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(16, 8), nn.Linear(8, 3)

    @staticmethod
    def update(layer, x, mem, spike):
        mem = mem * 0.2 * (1.0 - spike) + layer(x)
        return mem, Boxcar.apply(mem)

    def forward(self, x, steps=4):
        batch = x.size(0)
        c1_mem = c1_spike = torch.zeros(batch, 4, 8, 8, device=x.device)
        c2_mem = c2_spike = torch.zeros(batch, 4, 4, 4, device=x.device)
        h1_mem = h1_spike = h1_sum = torch.zeros(batch, 8, device=x.device)
        h2_mem = h2_spike = h2_sum = torch.zeros(batch, 3, device=x.device)
        for _ in range(steps):
            c1_mem, c1_spike = self.update(self.conv1, (x > 0.4).float(), c1_mem, c1_spike)
            pooled = functional.avg_pool2d(c1_spike, 2)
            c2_mem, c2_spike = self.update(self.conv2, pooled, c2_mem, c2_spike)
            flat = functional.avg_pool2d(c2_spike, 2).view(batch, -1)
            h1_mem, h1_spike = self.update(self.fc1, flat * 3, h1_mem, h1_spike)
            h1_sum = h1_sum + h1_spike
            h2_mem, h2_spike = self.update(self.fc2, h1_spike, h2_mem, h2_spike)
            h2_sum += h2_spike
        return h2_sum / steps


class Einsums(nn.Module):
    """Plain matrices, synapse and membrane of each layer in lists, a readout without spikes."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2 = (nn.Parameter(torch.empty(*shape)) for shape in ((6, 8), (8, 3)))
        nn.init.normal_(self.w1, 0.0, 1.0)
        nn.init.normal_(self.w2, 0.0, 1.0)
        self.alpha, self.beta = float(math.exp(-1 / 5)), float(math.exp(-1 / 10))

    def forward(self, x):
        batch, steps, _ = x.shape
        h1 = torch.einsum("abc,cd->abd", (x, self.w1))
        syn, mem = torch.zeros((batch, 8), dtype=x.dtype), torch.zeros((batch, 8), dtype=x.dtype)
        mem_rec, spk_rec = [], []
        for t in range(steps):
            out = Steep.apply(mem - 1.0)
            rst = out.detach()
            new_syn, new_mem = self.alpha * syn + h1[:, t], (self.beta * mem + syn) * (1.0 - rst)
            mem_rec.append(mem)
            spk_rec.append(out)
            mem, syn = new_mem, new_syn
        mem_rec, spk_rec = torch.stack(mem_rec, dim=1), torch.stack(spk_rec, dim=1)
        h2 = torch.einsum("abc,cd->abd", (spk_rec, self.w2))
        flt = out = torch.zeros((batch, 3), dtype=x.dtype)
        out_rec = [out]
        for t in range(steps):
            new_flt, new_out = self.alpha * flt + h2[:, t], self.beta * out + flt
            flt, out = new_flt, new_out
            out_rec.append(out)
        return torch.stack(out_rec, dim=1), [mem_rec, spk_rec]


class Cell(nn.Module):
    """A neuron of one's own, its state in an attribute, decay and threshold learnt."""

    def __init__(self, size):
        super().__init__()
        self.decay = nn.Parameter(torch.zeros(size) + 1.0)
        self.threshold = nn.Parameter(torch.tensor(0.7))
        self.mem = None

    def reset(self):
        self.mem = None

    def forward(self, x):
        if self.mem is None:
            self.mem = torch.zeros_like(x)
        self.mem = torch.sigmoid(self.decay) * self.mem + x
        spk = Triangle.apply(self.mem - self.threshold, 1.0)
        self.mem = self.mem - spk.detach() * self.threshold
        return spk


class OwnCells(nn.Module):
    """Own neurons in ``nn.Sequential``, reset at the start of each call."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), Cell(8), nn.Linear(8, 8), Cell(8), nn.Linear(8, 3))

    def forward(self, x):
        for module in self.net:
            if hasattr(module, "reset"):
                module.reset()
        return torch.stack([self.net(x_t * 2) for x_t in x]).mean(0)


class Adapting(nn.Module):
    """Recurrent cells with adapting thresholds, a pseudo-derivative with dampening, a leaky readout."""

    def __init__(self):
        super().__init__()
        self.inputs, self.back = nn.Linear(6, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.out = nn.Linear(8, 2)
        self.register_buffer("decays", torch.tensor([0.9, 0.97, 0.8]))

    def forward(self, x):
        rest = 1 - torch.eye(8)
        v = a = z = x.new_zeros(x.shape[0], 8)
        y, record = x.new_zeros(x.shape[0], 2), []
        for t in range(x.shape[1]):
            current = self.inputs(x[:, t]) * 3 + functional.linear(z, self.back.weight * rest)
            v = self.decays[0] * v + current - z * (0.5 + 0.2 * a)
            a = self.decays[1] * a + z
            z = Gauss.apply(v - (0.5 + 0.2 * a))
            y = self.decays[2] * y + self.out(z)
            record.append(y)
        return functional.log_softmax(torch.stack(record, 1), dim=-1)


class TimesMerged(nn.Module):
    """Layers over time and batch at once, neurons that go through the axis of time themselves."""

    class Fire(nn.Module):
        """All steps ``[B, T, ...]`` of a neuron with a hard reset."""

        def forward(self, x):
            mem, out = 0, []
            for t in range(x.shape[1]):
                mem = mem * 0.5 + x[:, t, ...]
                spike = Triangle.apply(mem - 1.0, 1.0)
                mem = (1 - spike) * mem
                out.append(spike)
            return torch.stack(out, dim=1)

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fire, self.head = self.Fire(), nn.Linear(4, 3)
        with torch.no_grad():
            self.norm.running_mean.uniform_()
            self.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        batch, steps = x.shape[:2]
        h = self.norm(self.conv(x.flatten(0, 1).contiguous())).view(batch, steps, 4, 6, 6)
        h = self.fire(h * 2)
        h = functional.adaptive_avg_pool2d(h.flatten(0, 1), 1).view(batch, steps, 4)
        return self.head(h).mean(1)


class Response(nn.Module):
    """Spike responses: kernels over time by a causal convolution, refractory kernels by hand."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)
        t = torch.arange(5.0)
        self.register_buffer("kernel", (t / 2 * torch.exp(1 - t / 2)).flip(0).view(1, 1, -1))

    def forward(self, x):
        current = self.fc(x).transpose(1, 2)
        batch, neurons, steps = current.shape
        padded = functional.pad(current.reshape(-1, 1, steps), (4, 0))
        psp = functional.conv1d(padded, self.kernel).view(batch, neurons, steps)
        refractory, spikes = torch.zeros(batch, neurons), []
        for t in range(steps):
            spk = Erf.apply(psp[..., t] + refractory - 0.5, 2.0)
            refractory = 0.6 * refractory - 0.8 * spk
            spikes.append(spk)
        return torch.stack(spikes, -1)


class Quadratic(nn.Module):
    """Two-variable neurons with resets by ``torch.where``, solved with small steps inside of each step."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        v = torch.full((x.shape[1], 5), -65.0, dtype=x.dtype)
        u, total = 0.2 * v, 0
        for x_t in x:
            current = self.fc(x_t) * 40
            for _ in range(2):
                v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + current)
            u = u + 0.02 * (0.2 * v - u)
            fired = v >= 30.0
            total = total + fired.to(x.dtype)
            v, u = torch.where(fired, torch.full_like(v, -65.0), v), torch.where(fired, u + 8.0, u)
        return self.out(total), torch.tanh(v / 50)


class Exponential(nn.Module):
    """Adaptive exponential neurons, clamped, with the time since the last spike."""

    def __init__(self):
        super().__init__()
        self.fc, self.a = nn.Linear(6, 5), nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        v = torch.zeros(x.shape[1], 5, dtype=x.dtype)
        w, last = torch.zeros_like(v), torch.full_like(v, 1e3)
        for x_t in x:
            slope = torch.exp(torch.clamp((v - 1.0) / 0.3, max=3.0))
            v = v + 0.3 * (-v + 0.2 * slope - w + self.fc(x_t) * 3)
            w = w + 0.1 * (self.a * v - w)
            spk = Steep.apply(v - 1.2)
            v, w = v * (1 - spk), w + 0.05 * spk
            last = torch.where(spk > 0, torch.zeros_like(last), last + 1)
        return v, torch.exp(-last / 4)


class Agent(nn.Module):
    """Observations of a control task as currents of hand-written neurons: values of actions by the highest membrane."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)])

    def forward(self, state):
        mems = [torch.zeros(state.size(0), layer.out_features) for layer in self.layers]
        highest = None
        for _ in range(5):
            h = torch.cat([state.clamp(min=0), (-state).clamp(min=0)], 1)[:, ::2]
            for i, layer in enumerate(self.layers):
                mems[i] = 0.8 * mems[i] + layer(h * 2)
                if i < len(self.layers) - 1:
                    h = Boxcar.apply(mems[i])
                    mems[i] = mems[i] - h
            highest = mems[-1] if highest is None else torch.max(highest, mems[-1])
        return highest


class Mixed(nn.Module):
    """A neuron of snnTorch behind one that is written by hand."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)
        self.lif = snn.Leaky(beta=0.9, threshold=0.4)

    def forward(self, x):
        v, mem, out = torch.zeros(x.shape[1], 8, dtype=x.dtype), self.lif.init_leaky(), []
        for x_t in x:
            v = 0.9 * v + self.fc1(x_t)
            z = Steep.apply(v - 0.5)
            v = v - z * 0.5
            spk, mem = self.lif(self.fc2(z), mem)
            out.append(spk)
        return torch.stack(out)


class Slow(snn.Leaky):
    """snnTorch's neuron with a membrane function of its own."""

    def _base_state_function(self, input_):
        return self.beta.clamp(0, 1) * self.mem + (1 - self.beta.clamp(0, 1)) * input_


class Refractory(snn.Leaky):
    """snnTorch's neuron with a ``forward`` of its own, that passes more state along."""

    def forward(self, input_, mem, rest):
        mem = self.beta.clamp(0, 1) * mem + input_ * (rest <= 0)
        spk = self.fire(mem)
        mem = mem - self.threshold * spk
        return spk, mem, torch.where(spk > 0, torch.full_like(rest, 2.0), rest - 1)


class Derived(nn.Module):
    """Neurons derived from snnTorch's."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)
        self.lif1 = Slow(beta=0.8, threshold=0.2, learn_beta=True)
        self.lif2 = Refractory(beta=0.9, threshold=0.3)

    def forward(self, x):
        mem1, mem2, out = self.lif1.init_leaky(), torch.zeros(x.shape[1], 3), []
        rest = torch.zeros_like(mem2)
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2, rest = self.lif2(self.fc2(spk1), mem2, rest)
            out.append(spk2)
        return torch.stack(out), mem2


class Plain(nn.Module):
    """No neuron and no time: a convolutional classifier."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.1)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.head(self.features(x))


class Encoder(nn.Module):
    """No neuron: torch's transformer layer over time, and a gated recurrence."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.gru, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        out, last = self.gru(self.layer(x))
        return self.head(out[:, -1]), last[0]


HAND = {
    Iterative: frame(1, 8, 8),
    Einsums: batch_first(5),
    OwnCells: steps_first(),
    Adapting: batch_first(6),
    TimesMerged: lambda b: torch.rand(b, 4, 2, 6, 6),
    Response: batch_first(6),
    Quadratic: steps_first(6),
    Exponential: steps_first(6),
    Agent: lambda b: torch.randn(b, 4),
    Mixed: steps_first(),
    Derived: steps_first(),
    Plain: frame(1, 8, 8),
    Encoder: batch_first(4, 8),
}
