"""A convolutional network that keeps its own states, trained on its spikes."""

import snnax as snn
from snnax import surrogate
from snnax import backprop
from snnax import functional as SF
from snnax import utils
from snnax import spikeplot as splt
import jax.numpy as jnp
import torch  # jax
import jax  # jax
import optax  # jax
import snnax as snn  # nn
from torch.utils.data import DataLoader

import snnax.functional as F
import matplotlib.pyplot as plt
import numpy as np
from helpers.tutorial_data import datasets, transforms  # data

# --- A neuron with a surrogate gradient of its own


class LeakySigmoidSurrogate(snn.Module):
    def __init__(self, beta, threshold=1.0, k=25):
        super().__init__()
        self.beta = beta
        self.threshold = threshold
        self.surrogate_func = self.FastSigmoid.apply

    def forward(self, input_, mem):
        spk = self.surrogate_func((mem - self.threshold))
        # torch: reset = (spk * self.threshold).detach()
        reset = jax.lax.stop_gradient(spk * self.threshold)  # jax
        mem = self.beta * mem + input_ - reset
        return spk, mem

    @staticmethod
    # torch: class FastSigmoid(torch.autograd.Function):
    class FastSigmoid(surrogate.Function):  # jax
        @staticmethod
        def forward(ctx, mem, k=25):
            ctx.save_for_backward(mem)
            ctx.k = k
            # torch: return (mem > 0).float()
            return (mem > 0).astype(mem.dtype)  # jax

        @staticmethod
        def backward(ctx, grad_output):
            (mem,) = ctx.saved_tensors
            return grad_output / (ctx.k * jnp.abs(mem) + 1.0) ** 2, None


spike_grad = surrogate.fast_sigmoid(slope=25)
beta = 0.5
lif1 = snn.Leaky(beta=beta, spike_grad=spike_grad)

# --- Data

batch_size = 16
data_path = "data/mnist"
# torch: dtype = torch.float
dtype = jnp.float32  # jax
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
transform = transforms.Compose([
    transforms.Resize((28, 28)),
    transforms.Grayscale(),
    transforms.ToTensor(),
    transforms.Normalize((0,), (1,)),
])
train_set = datasets.MNIST(data_path, train=True, download=True, transform=transform)
test_set = datasets.MNIST(data_path, train=False, download=True, transform=transform)
train_set = utils.data_subset(train_set, 20)  # data
test_set = utils.data_subset(test_set, 10)  # data
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=True, drop_last=True)

# --- The network as a class, for one step

spike_grad = surrogate.fast_sigmoid(slope=25)
beta = 0.5
num_steps = 4


class Net(snn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = snn.Conv2d(1, 12, 5)
        self.lif1 = snn.Leaky(beta=beta, spike_grad=spike_grad)
        self.conv2 = snn.Conv2d(12, 64, 5)
        self.lif2 = snn.Leaky(beta=beta, spike_grad=spike_grad)
        self.fc1 = snn.Linear(64 * 4 * 4, 10)
        self.lif3 = snn.Leaky(beta=beta, spike_grad=spike_grad)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()
        # torch: cur1 = F.max_pool2d(self.conv1(x), 2)
        cur1 = F.max_pool2d(self.conv1(jnp.moveaxis(x, 1, -1)), 2)  # jax
        spk1, mem1 = self.lif1(cur1, mem1)
        cur2 = F.max_pool2d(self.conv2(spk1), 2)
        spk2, mem2 = self.lif2(cur2, mem2)
        # torch: cur3 = self.fc1(spk2.view(batch_size, -1))
        cur3 = self.fc1(spk2.reshape(batch_size, -1))  # jax
        spk3, mem3 = self.lif3(cur3, mem3)
        return spk3, mem3


# --- The network as a chain

net = snn.Sequential(
    snn.Conv2d(1, 12, 5),
    snn.MaxPool2d(2),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
    snn.Conv2d(12, 64, 5),
    snn.MaxPool2d(2),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
    snn.Flatten(),
    snn.Linear(64 * 4 * 4, 10),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    channels_first=True,  # jax
).to(device)

data, targets = next(iter(train_loader))
data = data.to(device)
targets = targets.to(device)
once, steps = Net(), 1  # data
# twin: print(once(data)[0].shape)
print(once.init_with_output(jax.random.key(0), data)[0][0].shape)  # jax

model, variables = net, net.init(jax.random.key(0), data.numpy())  # jax
net = model.bind(variables, mutable=["hidden"])  # jax
for step in range(num_steps):
    spk_out, mem_out = net(data)


def forward_pass(net, num_steps, data):
    mem_rec = []
    spk_rec = []
    utils.reset(net)
    for step in range(num_steps):
        spk_out, mem_out = net(data)
        spk_rec.append(spk_out)
        mem_rec.append(mem_out)
    return jnp.stack(spk_rec), jnp.stack(mem_rec)


spk_rec, mem_rec = forward_pass(net, num_steps, data)
loss_fn = SF.ce_rate_loss()
loss_val = loss_fn(spk_rec, targets)
print(f"loss: {loss_val.item():.3f}")
first_loss = loss_val.reshape(())  # data
acc = SF.accuracy_rate(spk_rec, targets)
print(f"one batch: {acc * 100:.3f} %")


def batch_accuracy(train_loader, net, num_steps):
    with torch.no_grad():
        total = 0
        acc = 0
        net.eval()
        train_loader = iter(train_loader)
        for data, targets in train_loader:
            data = data.to(device)
            targets = targets.to(device)
            spk_rec, _ = forward_pass(net, num_steps, data)
            # torch: acc += SF.accuracy_rate(spk_rec, targets) * spk_rec.size(1)
            acc += SF.accuracy_rate(spk_rec, targets) * spk_rec.shape[1]  # jax
            # torch: total += spk_rec.size(1)
            total += spk_rec.shape[1]  # jax
    return acc / total


test_acc = batch_accuracy(test_loader, net, num_steps)
print(f"test set: {test_acc * 100:.2f} %")

# torch: optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.9, 0.999))
optimizer = optax.adam(1e-2, b1=0.9, b2=0.999)  # jax
params = net.parameters()  # jax
opt_state = optimizer.init(params)  # jax


@jax.jit  # jax
def trained(params, opt_state, x, y):  # jax
    def total(params):  # jax
        bound = model.bind({"params": params}, mutable=["hidden"])  # jax
        return loss_fn(forward_pass(bound, num_steps, x)[0], y)  # jax

    updates, opt_state = optimizer.update(jax.grad(total)(params), opt_state)  # jax
    return optax.apply_updates(params, updates), opt_state  # jax


num_epochs = 1
loss_hist = []
test_acc_hist = []
counter = 0
for epoch in range(num_epochs):
    for data, targets in iter(train_loader):
        data = data.to(device)
        targets = targets.to(device)
        net.train()
        spk_rec, _ = forward_pass(net, num_steps, data)
        loss_val = loss_fn(spk_rec, targets)
        # torch: optimizer.zero_grad()
        # torch: loss_val.backward()
        # torch: optimizer.step()
        params, opt_state = trained(params, opt_state, data.numpy(), targets.numpy())  # jax
        net = model.bind({"params": params}, mutable=["hidden"])  # jax
        loss_hist.append(loss_val.item())
        if counter % 2 == 0:
            with torch.no_grad():
                net.eval()
                test_acc = batch_accuracy(test_loader, net, num_steps)
                print(f"batch {counter}, test set: {test_acc * 100:.2f} %\n")
                test_acc_hist.append(test_acc.item())
        counter += 1

fig = plt.figure(facecolor="w")
plt.plot(test_acc_hist)
plt.title("test set")
plt.xlabel("epoch")
plt.ylabel("accuracy")
plt.show()

spk_rec, mem_rec = forward_pass(net, num_steps, data)

from IPython.display import HTML

idx = 0
fig, ax = plt.subplots(facecolor="w", figsize=(12, 7))
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
print(f"a {targets[idx]}")
# torch: anim = splt.spike_count(spk_rec[:, idx].detach().cpu(), fig, ax, labels=labels, animate=True, interpolate=4)
anim = splt.spike_count(spk_rec[:, idx], fig, ax, labels=labels, animate=True, interpolate=4)  # jax
HTML(anim.to_jshtml())

results = {}  # data
shapes = {"first_loss": first_loss, "mem": mem_rec}  # data
