"""Spikes from data: rate, latency and delta codes, and what they look like."""

import snnax as snn
import jax.numpy as jnp
import jax  # jax
import torch  # jax
from helpers.tutorial_data import datasets, transforms  # data

batch_size = 8
data_path = "data/mnist"
num_classes = 10
# torch: dtype = torch.float
dtype = jnp.float32  # jax
key = jax.random.key(0)  # jax

transform = transforms.Compose([
    transforms.Resize((28, 28)),
    transforms.Grayscale(),
    transforms.ToTensor(),
    transforms.Normalize((0,), (1,)),
])
train_set = datasets.MNIST(data_path, train=True, download=True, transform=transform)

from snnax import utils

subset = 10
train_set = utils.data_subset(train_set, subset)
print(f"{len(train_set)} samples")

from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)

# --- Rate code of one number, then of a batch of images

num_steps = 10
raw_vector = jnp.ones(num_steps) * 0.5
# torch: rate_coded_vector = torch.bernoulli(raw_vector)
rate_coded_vector = jax.random.bernoulli(key, raw_vector)  # jax
print(f"coin: {rate_coded_vector}")
print(f"{rate_coded_vector.sum() * 100 / len(rate_coded_vector):.2f} % of the steps have a spike")

num_steps = 100
raw_vector = jnp.ones(num_steps) * 0.5
# torch: rate_coded_vector = torch.bernoulli(raw_vector)
rate_coded_vector = jax.random.bernoulli(key, raw_vector)  # jax
print(f"{rate_coded_vector.sum() * 100 / len(rate_coded_vector):.2f} % of the steps have a spike")

from snnax import spikegen

num_steps = 12  # data
data = iter(train_loader)
data_it, targets_it = next(data)
# torch: spike_data = spikegen.rate(data_it, num_steps=num_steps)
spike_data = spikegen.rate(data_it, num_steps=num_steps, key=key)  # jax
# torch: print(spike_data.size())
print(spike_data.shape)  # jax

import matplotlib.pyplot as plt
import snnax.spikeplot as splt
from IPython.display import HTML

spike_data_sample = spike_data[:, 0, 0]
# torch: print(spike_data_sample.size())
print(spike_data_sample.shape)  # jax
fig, ax = plt.subplots()
anim = splt.animator(spike_data_sample, fig, ax)
HTML(anim.to_jshtml())
print(f"a {targets_it[0]}")

# torch: spike_data = spikegen.rate(data_it, num_steps=num_steps, gain=0.25)
spike_data = spikegen.rate(data_it, num_steps=num_steps, gain=0.25, key=key)  # jax
spike_data_sample2 = spike_data[:, 0, 0]
fig, ax = plt.subplots()
anim = splt.animator(spike_data_sample2, fig, ax)
HTML(anim.to_jshtml())

plt.figure(facecolor="w")
plt.subplot(1, 2, 1)
# torch: plt.imshow(spike_data_sample.mean(axis=0).reshape((28, -1)).cpu(), cmap="binary")
plt.imshow(spike_data_sample.mean(axis=0).reshape((28, -1)), cmap="binary")  # jax
plt.axis("off")
plt.title("all spikes")
plt.subplot(1, 2, 2)
# torch: plt.imshow(spike_data_sample2.mean(axis=0).reshape((28, -1)).cpu(), cmap="binary")
plt.imshow(spike_data_sample2.mean(axis=0).reshape((28, -1)), cmap="binary")  # jax
plt.axis("off")
plt.title("a quarter")
plt.show()

spike_data_sample2 = spike_data_sample2.reshape((num_steps, -1))
fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
splt.raster(spike_data_sample2, ax, s=1.5, c="black")
plt.title("all pixels")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()

idx = 210
fig = plt.figure(facecolor="w", figsize=(8, 1))
ax = fig.add_subplot(111)
# torch: one = spike_data_sample.reshape(num_steps, -1)[:, idx].unsqueeze(1)
one = spike_data_sample.reshape(num_steps, -1)[:, idx][:, None]  # jax
splt.raster(one, ax, s=100, c="black", marker="|")
plt.title("one pixel")
plt.xlabel("step")
plt.yticks([])
plt.show()

# --- Latency code


def convert_to_time(data, tau=5, threshold=0.01):
    return tau * jnp.log(data / (data - threshold))


raw_input = jnp.arange(0, 5, 0.05)
spike_times = convert_to_time(raw_input)
plt.plot(raw_input, spike_times)
plt.xlabel("value")
plt.ylabel("when it spikes")
plt.show()

num_steps = 100
spike_data = spikegen.latency(data_it, num_steps=100, tau=5, threshold=0.01)
fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
# torch: splt.raster(spike_data[:, 0].view(num_steps, -1), ax, s=25, c="black")
splt.raster(spike_data[:, 0].reshape(num_steps, -1), ax, s=25, c="black")  # jax
plt.title("logarithmic")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()

spike_data = spikegen.latency(data_it, num_steps=100, tau=5, threshold=0.01, linear=True)
linear = spike_data[:, 0]  # data
fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
# torch: splt.raster(spike_data[:, 0].view(num_steps, -1), ax, s=25, c="black")
splt.raster(spike_data[:, 0].reshape(num_steps, -1), ax, s=25, c="black")  # jax
plt.title("linear")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()

spike_data = spikegen.latency(data_it, num_steps=100, tau=5, threshold=0.01, normalize=True, linear=True)
fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
# torch: splt.raster(spike_data[:, 0].view(num_steps, -1), ax, s=25, c="black")
splt.raster(spike_data[:, 0].reshape(num_steps, -1), ax, s=25, c="black")  # jax
plt.title("over all steps")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()

spike_data = spikegen.latency(data_it, num_steps=100, tau=5, threshold=0.01, clip=True, normalize=True, linear=True)
fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
# torch: splt.raster(spike_data[:, 0].view(num_steps, -1), ax, s=25, c="black")
splt.raster(spike_data[:, 0].reshape(num_steps, -1), ax, s=25, c="black")  # jax
plt.title("without the background")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()
clipped = spike_data  # data

spike_data_sample = spike_data[:, 0, 0]
# torch: print(spike_data_sample.size())
print(spike_data_sample.shape)  # jax
spike_data_sample = spike_data_sample[:5]  # data
fig, ax = plt.subplots()
anim = splt.animator(spike_data_sample, fig, ax)
HTML(anim.to_jshtml())
print(targets_it[0])

# --- Delta code

# torch: data = torch.Tensor([0, 1, 0, 2, 8, -20, 20, -5, 0, 1, 0])
data = jnp.array([0, 1, 0, 2, 8, -20, 20, -5, 0, 1, 0], dtype)  # jax
plt.figure()  # data
plt.plot(data)
plt.title("a signal")
plt.xlabel("step")
plt.ylabel("mV")
plt.show()

spike_data = spikegen.delta(data, threshold=4)
fig = plt.figure(facecolor="w", figsize=(8, 1))
ax = fig.add_subplot(111)
splt.raster(spike_data, ax, c="black")
plt.title("where it rises")
plt.xlabel("step")
plt.yticks([])
plt.xlim(0, len(data))
plt.show()

spike_data = spikegen.delta(data, threshold=4, off_spike=True)
fig = plt.figure(facecolor="w", figsize=(8, 1))
ax = fig.add_subplot(111)
splt.raster(spike_data, ax, c="black")
plt.title("where it changes")
plt.xlabel("step")
plt.yticks([])
plt.xlim(0, len(data))
plt.show()
print(spike_data)

# --- Spikes out of nothing

num_steps = 12  # data
# torch: spike_prob = torch.rand((num_steps, 28, 28), dtype=dtype) * 0.5
spike_prob = jax.random.uniform(key, (num_steps, 28, 28), dtype=dtype) * 0.5  # jax
# torch: spike_rand = spikegen.rate_conv(spike_prob)
spike_rand = spikegen.rate_conv(spike_prob, key=key)  # jax
fig, ax = plt.subplots()
anim = splt.animator(spike_rand, fig, ax)
HTML(anim.to_jshtml())

fig = plt.figure(facecolor="w", figsize=(10, 5))
ax = fig.add_subplot(111)
# torch: splt.raster(spike_rand[:, 0].view(num_steps, -1), ax, s=25, c="black")
splt.raster(spike_rand[:, 0].reshape(num_steps, -1), ax, s=25, c="black")  # jax
plt.title("noise")
plt.xlabel("step")
plt.ylabel("pixel")
plt.show()

results = {"delta": spike_data}  # data
shapes = {"linear": linear, "clipped": clipped, "rate": spike_rand}  # data
