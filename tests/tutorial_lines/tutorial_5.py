"""Two layers with explicit states, trained on the membranes of the output."""

import snnax as snn
from snnax import spikeplot as splt
from snnax import spikegen
import jax.numpy as jnp
import torch  # jax
import jax  # jax
import optax  # jax
import snnax as snn  # nn
from torch.utils.data import DataLoader
import matplotlib.pyplot as plt
import numpy as np
from helpers.tutorial_data import datasets, transforms  # data
from snnax import utils  # data


# --- A neuron with a surrogate gradient of its own


class LeakySurrogate(snn.Module):
    def __init__(self, beta, threshold=1.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold
        self.spike_gradient = self.ATan.apply

    def forward(self, x, mem):
        spk = self.spike_gradient((mem - self.threshold))
        # torch: reset = (self.beta * spk * self.threshold).detach()
        reset = jax.lax.stop_gradient(self.beta * spk * self.threshold)  # jax
        mem = self.beta * mem + x - reset
        return spk, mem

    @staticmethod
    # torch: class ATan(torch.autograd.Function):
    class ATan(snn.surrogate.Function):  # jax
        @staticmethod
        def forward(ctx, mem):
            ctx.save_for_backward(mem)
            # torch: return (mem > 0).float()
            return (mem > 0).astype(mem.dtype)  # jax

        @staticmethod
        def backward(ctx, grad_output):
            (mem,) = ctx.saved_tensors
            # torch: return 1 / (1 + (np.pi * mem).pow(2)) * grad_output
            return 1 / (1 + (np.pi * mem) ** 2) * grad_output  # jax


lif1 = LeakySurrogate(beta=0.9)
# twin: alone = lif1(torch.full((1, 3), 1.25), torch.full((1, 3), 0.5))
alone = lif1.bind({})(jnp.full((1, 3), 1.25), jnp.full((1, 3), 0.5))  # jax
lif1 = snn.Leaky(beta=0.9)

# --- Data

batch_size = 64
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
train_set = utils.data_subset(train_set, 4)  # data
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=True, drop_last=True)

# --- Network

num_inputs = 28 * 28
num_hidden = 100
num_outputs = 10
num_steps = 5
beta = 0.95


class Net(snn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = snn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = snn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for step in range(num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        # torch: return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)
        return jnp.stack(spk2_rec, axis=0), jnp.stack(mem2_rec, axis=0)  # jax


net = Net().to(device)
model, variables = net, net.init(jax.random.key(0), jnp.ones((1, num_inputs)))  # jax
net = model.bind(variables)  # jax

# --- Training


def print_batch_accuracy(data, targets, train=False):
    output, _ = net(data.view(batch_size, -1))
    # torch: _, idx = output.sum(dim=0).max(1)
    idx = output.sum(axis=0).argmax(1)  # jax
    # torch: acc = np.mean((targets == idx).detach().cpu().numpy())
    acc = np.mean(targets.numpy() == idx)  # jax
    if train:
        print(f"one batch of the training set: {acc * 100:.2f} %")
    else:
        print(f"one batch of the test set: {acc * 100:.2f} %")


def train_printer():
    print(f"epoch {epoch}, batch {iter_counter}")
    print(f"loss in training: {loss_hist[counter]:.2f}")
    print(f"loss in the test: {test_loss_hist[counter]:.2f}")
    print_batch_accuracy(data, targets, train=True)
    print_batch_accuracy(test_data, test_targets, train=False)
    print("\n")


loss = snn.CrossEntropyLoss()
# torch: optimizer = torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.9, 0.999))
optimizer = optax.adam(5e-4, b1=0.9, b2=0.999)  # jax
opt_state = optimizer.init(net.parameters())  # jax


@jax.jit  # jax
def trained(params, opt_state, x, y):  # jax
    def total(params):  # jax
        _, mem_rec = model.apply({"params": params}, x)  # jax
        return sum(loss(mem_rec[step], y) for step in range(num_steps))  # jax

    updates, opt_state = optimizer.update(jax.grad(total)(params), opt_state)  # jax
    return optax.apply_updates(params, updates), opt_state  # jax


data, targets = next(iter(train_loader))
data = data.to(device)
targets = targets.to(device)
spk_rec, mem_rec = net(data.view(batch_size, -1))
# torch: print(mem_rec.size())
print(mem_rec.shape)  # jax

# torch: loss_val = torch.zeros((1), dtype=dtype, device=device)
loss_val = jnp.zeros((1), dtype=dtype)  # jax
for step in range(num_steps):
    loss_val += loss(mem_rec[step], targets)
print(f"loss: {loss_val.item():.3f}")
print_batch_accuracy(data, targets, train=True)
first_loss = loss_val.reshape(())  # data

# torch: optimizer.zero_grad()
# torch: loss_val.backward()
# torch: optimizer.step()
x, y = data.view(batch_size, -1).numpy(), targets.numpy()  # jax
params, opt_state = trained(net.parameters(), opt_state, x, y)  # jax
net = model.bind({"params": params})  # jax

spk_rec, mem_rec = net(data.view(batch_size, -1))
# torch: loss_val = torch.zeros((1), dtype=dtype, device=device)
loss_val = jnp.zeros((1), dtype=dtype)  # jax
for step in range(num_steps):
    loss_val += loss(mem_rec[step], targets)
print(f"loss: {loss_val.item():.3f}")
print_batch_accuracy(data, targets, train=True)

num_epochs = 1
loss_hist = []
test_loss_hist = []
counter = 0
for epoch in range(num_epochs):
    iter_counter = 0
    train_batch = iter(train_loader)
    for data, targets in train_batch:
        data = data.to(device)
        targets = targets.to(device)
        net.train()
        spk_rec, mem_rec = net(data.view(batch_size, -1))
        # torch: loss_val = torch.zeros((1), dtype=dtype, device=device)
        loss_val = jnp.zeros((1), dtype=dtype)  # jax
        for step in range(num_steps):
            loss_val += loss(mem_rec[step], targets)
        # torch: optimizer.zero_grad()
        # torch: loss_val.backward()
        # torch: optimizer.step()
        x, y = data.view(batch_size, -1).numpy(), targets.numpy()  # jax
        params, opt_state = trained(params, opt_state, x, y)  # jax
        net = model.bind({"params": params})  # jax
        loss_hist.append(loss_val.item())
        with torch.no_grad():
            net.eval()
            test_data, test_targets = next(iter(test_loader))
            test_data = test_data.to(device)
            test_targets = test_targets.to(device)
            test_spk, test_mem = net(test_data.view(batch_size, -1))
            # torch: test_loss = torch.zeros((1), dtype=dtype, device=device)
            test_loss = jnp.zeros((1), dtype=dtype)  # jax
            for step in range(num_steps):
                test_loss += loss(test_mem[step], test_targets)
            test_loss_hist.append(test_loss.item())
            if counter % 10 == 0:
                train_printer()
            counter += 1
            iter_counter += 1

fig = plt.figure(facecolor="w", figsize=(10, 5))
plt.plot(loss_hist)
plt.plot(test_loss_hist)
plt.title("losses")
plt.legend(["training", "test"])
plt.xlabel("batch")
plt.ylabel("loss")
plt.show()

total = 0
correct = 0
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=True, drop_last=False)
with torch.no_grad():
    net.eval()
    for data, targets in test_loader:
        data = data.to(device)
        targets = targets.to(device)
        test_spk, _ = net(data.view(data.size(0), -1))
        # torch: _, predicted = test_spk.sum(dim=0).max(1)
        predicted = test_spk.sum(axis=0).argmax(1)  # jax
        total += targets.size(0)
        # torch: correct += (predicted == targets).sum().item()
        correct += (predicted == targets.numpy()).sum().item()  # jax
print(f"right: {correct} of {total}")
print(f"test set: {100 * correct / total:.2f} %")

results = {"spike": alone[0], "membrane": alone[1]}  # data
shapes = {"first_loss": first_loss, "mem": mem_rec}  # data
learned = {"loss": (loss_hist[0], loss_hist[-1]), "accuracy": correct / total}  # data
