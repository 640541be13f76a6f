"""Recurrent neurons, and classes as numbers of spikes."""

import snnax as snn
from snnax import functional as SF
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

# --- Each neuron to itself

beta = 0.9
num_steps = 10
rlif = snn.RLeaky(beta=beta, all_to_all=False)
rlif = rlif.bind(rlif.init(jax.random.key(0), jnp.ones(1)))  # jax
spk, mem = rlif.init_rleaky()
# torch: x = torch.rand(1)
x = jax.random.uniform(jax.random.key(0), (1,))  # jax
x = jnp.ones(1) * 0.75  # data
spk_recording = []
mem_recording = []
for step in range(num_steps):
    spk, mem = rlif(x, spk, mem)
    spk_recording.append(spk)
    mem_recording.append(mem)
itself = mem_recording  # data

# torch: rlif = snn.RLeaky(beta=beta, all_to_all=False, learn_recurrent=False)
# torch: rlif.V = torch.rand(1)
rlif = snn.RLeaky(beta=beta, V=jnp.array([0.25]), all_to_all=False, learn_recurrent=False)  # jax
print(f"weight: {rlif.V.item()}")

# --- All to all

beta = 0.9
num_steps = 10
rlif = snn.RLeaky(beta=beta, linear_features=10)
rlif = rlif.bind(rlif.init(jax.random.key(0), jnp.ones(10)))  # jax
spk, mem = rlif.init_rleaky()
# torch: x = torch.rand(10)
x = jax.random.uniform(jax.random.key(0), (10,))  # jax
spk_recording = []
mem_recording = []
for step in range(num_steps):
    spk, mem = rlif(x, spk, mem)
    spk_recording.append(spk)
    mem_recording.append(mem)
everybody = mem  # data

# --- Through a convolution

beta = 0.9
num_steps = 10
rlif = snn.RLeaky(beta=beta, conv2d_channels=3, kernel_size=(5, 5))
rlif = rlif.bind(rlif.init(jax.random.key(0), jnp.ones((1, 32, 32, 3))))  # jax
spk, mem = rlif.init_rleaky()
# torch: x = torch.rand(3, 32, 32)
x = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3))  # jax
spk_recording = []
mem_recording = []
for step in range(num_steps):
    spk, mem = rlif(x, spk, mem)
    spk_recording.append(spk)
    mem_recording.append(mem)

# --- A network


class Net(snn.Module):
    def __init__(self, timesteps, hidden, beta):
        super().__init__()
        self.timesteps = timesteps
        self.hidden = hidden
        self.beta = beta
        self.fc1 = snn.Linear(in_features=784, out_features=self.hidden)
        self.rlif1 = snn.RLeaky(beta=self.beta, linear_features=self.hidden)
        self.fc2 = snn.Linear(in_features=self.hidden, out_features=10)
        self.rlif2 = snn.RLeaky(beta=self.beta, linear_features=10)

    def forward(self, x):
        spk1, mem1 = self.rlif1.init_rleaky()
        spk2, mem2 = self.rlif2.init_rleaky()
        spk_recording = []
        for step in range(self.timesteps):
            spk1, mem1 = self.rlif1(self.fc1(x), spk1, mem1)
            spk2, mem2 = self.rlif2(self.fc2(spk1), spk2, mem2)
            spk_recording.append(spk2)
        return jnp.stack(spk_recording)


num_steps = 5  # data
hidden = 64
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
model = Net(timesteps=num_steps, hidden=hidden, beta=0.9).to(device)
net, variables = model, model.init(jax.random.key(0), jnp.ones((1, 784)))  # jax
model = net.bind(variables)  # jax
loss_function = SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)

batch_size = 64
data_path = "data/mnist"
transform = transforms.Compose([
    transforms.Resize((28, 28)),
    transforms.Grayscale(),
    transforms.ToTensor(),
    transforms.Normalize((0,), (1,)),
])
train_set = datasets.MNIST(data_path, train=True, download=True, transform=transform)
test_set = datasets.MNIST(data_path, train=False, download=True, transform=transform)
train_set, test_set = utils.data_subset(train_set, 4), utils.data_subset(test_set, 4)  # data
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=True, drop_last=True)

num_epochs = 1
# torch: optimizer = torch.optim.Adam(params=model.parameters(), lr=1e-3)
optimizer = optax.adam(1e-3)  # jax
params = model.parameters()  # jax
opt_state = optimizer.init(params)  # jax
loss_hist = []


@jax.jit  # jax
def trained(params, opt_state, x, y):  # jax
    grads = jax.grad(lambda params: loss_function(net.apply({"params": params}, x), y))(params)  # jax
    updates, opt_state = optimizer.update(grads, opt_state)  # jax
    return optax.apply_updates(params, updates), opt_state  # jax


for _ in range(num_epochs):
    train_batch = iter(train_loader)
    minibatch_counter = 0
    loss_epoch = []
    for feature, label in train_batch:
        feature = feature.to(device)
        label = label.to(device)
        spk = model(feature.flatten(1))
        loss_val = loss_function(spk, label)
        # torch: optimizer.zero_grad()
        # torch: loss_val.backward()
        # torch: optimizer.step()
        params, opt_state = trained(params, opt_state, feature.flatten(1).numpy(), label.numpy())  # jax
        model = net.bind({"params": params})  # jax
        loss_hist.append(loss_val.item())
        minibatch_counter += 1
        avg_batch_loss = sum(loss_hist) / minibatch_counter
print(f"loss: {avg_batch_loss:.3e}")

test_batch = iter(test_loader)
minibatch_counter = 0
loss_epoch = []
model.eval()
with torch.no_grad():
    total = 0
    acc = 0
    for feature, label in test_batch:
        feature = feature.to(device)
        label = label.to(device)
        spk = model(feature.flatten(1))
        # torch: acc += SF.accuracy_rate(spk, label) * spk.size(1)
        acc += SF.accuracy_rate(spk, label) * spk.shape[1]  # jax
        # torch: total += spk.size(1)
        total += spk.shape[1]  # jax
print(f"test set: {(acc / total) * 100:.2f} %")

loss_function = SF.mse_membrane_loss(on_target=1.05, off_target=0.2)

results = {"itself": jnp.stack(itself)}  # data
shapes = {"everybody": everybody}  # data
learned = {"loss": (loss_hist[0], loss_hist[-1]), "accuracy": float(acc / total)}  # data
