"""Frames of events through a convolutional network, trained to a number of spikes."""

import torch
from helpers.tutorial_data import events  # data

batch_size = 8
trainloader = events("train", 3, batch_size, 2)  # data
event_tensor, target = next(iter(trainloader))
print(event_tensor.shape)

import snnax as snn
from snnax import surrogate
from snnax import functional as SF
from snnax import spikeplot as splt
from snnax import utils
import snnax as snn  # nn
import jax  # jax
import jax.numpy as jnp  # jax
import optax  # jax

device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
spike_grad = surrogate.atan()
beta = 0.5
net = snn.Sequential(
    snn.Conv2d(2, 12, 5),
    snn.MaxPool2d(2),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
    snn.Conv2d(12, 32, 5),
    snn.MaxPool2d(2),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
    snn.Flatten(),
    snn.Linear(32 * 5 * 5, 10),
    snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    channels_first=True,  # jax
).to(device)
model, variables = net, net.init(jax.random.key(0), event_tensor[0].numpy())  # jax
net = model.bind(variables, mutable=["hidden"])  # jax


def forward_pass(net, data):
    spk_rec = []
    utils.reset(net)
    for step in range(data.size(0)):
        spk_out, mem_out = net(data[step])
        spk_rec.append(spk_out)
    return jnp.stack(spk_rec)


# torch: optimizer = torch.optim.Adam(net.parameters(), lr=2e-2, betas=(0.9, 0.999))
optimizer = optax.adam(2e-2, b1=0.9, b2=0.999)  # jax
params = net.parameters()  # jax
opt_state = optimizer.init(params)  # jax
loss_fn = SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)


def trained(params, opt_state, data, targets):  # jax
    def total(params):  # jax
        return loss_fn(forward_pass(model.bind({"params": params}, mutable=["hidden"]), data), targets)  # jax

    updates, opt_state = optimizer.update(jax.jit(jax.grad(total))(params), opt_state)  # jax
    return optax.apply_updates(params, updates), opt_state  # jax


num_epochs = 1
num_iters = 1
loss_hist = []
acc_hist = []
for epoch in range(num_epochs):
    for i, (data, targets) in enumerate(iter(trainloader)):
        data = data.to(device)
        targets = targets.to(device)
        net.train()
        spk_rec = forward_pass(net, data)
        loss_val = loss_fn(spk_rec, targets)
        # torch: optimizer.zero_grad()
        # torch: loss_val.backward()
        # torch: optimizer.step()
        params, opt_state = trained(params, opt_state, data, targets)  # jax
        net = model.bind({"params": params}, mutable=["hidden"])  # jax
        loss_hist.append(loss_val.item())
        print(f"epoch {epoch}, batch {i}\nloss: {loss_val.item():.2f}")
        acc = SF.accuracy_rate(spk_rec, targets)
        acc_hist.append(acc)
        print(f"accuracy: {acc * 100:.2f} %\n")
        if i == num_iters:
            break

import matplotlib.pyplot as plt

fig = plt.figure(facecolor="w")
plt.plot(acc_hist)
plt.title("training")
plt.xlabel("batch")
plt.ylabel("accuracy")
plt.show()

spk_rec = forward_pass(net, data)

from IPython.display import HTML

idx = 0
fig, ax = plt.subplots(facecolor="w", figsize=(12, 7))
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
print(f"a {targets[idx]}")
# torch: anim = splt.spike_count(spk_rec[:, idx].detach().cpu(), fig, ax, labels=labels, animate=True, interpolate=1)
anim = splt.spike_count(spk_rec[:, idx], fig, ax, labels=labels, animate=True, interpolate=1)  # jax
HTML(anim.to_jshtml())

results = {}  # data
shapes = {"out": spk_rec}  # data
