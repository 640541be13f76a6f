# %% [markdown]
# # 13. Port your snnTorch model to JAX, and prove it
#
# You have a spiking network in snnTorch, trained, with a time loop inside `forward`. By the end of this notebook you
# have it as a Flax model on JAX, a report that says that both compute the same spikes, a model that has been trained
# further in JAX, and that model back in snnTorch.
#
# You will see
# 1. what `interop.from_snntorch` reads of an ordinary torch class,
# 2. how `interop.crossvalidate` compares two networks, and what it says when they are *not* the same,
# 3. how to train the ported network with optax,
# 4. how to bring the weights back into your own torch class.
#
# Everything runs offline on a CPU in about a minute. Install with `pip install -c constraints.txt ".[demo]"`.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import snntorch
import torch
from torch import nn

import snnax as snn
from snnax import interop
from snnax.datasets import digits

# %% [markdown]
# ## 1. A network as people write it
#
# Explicit membranes, a loop over time, a functional call and a sum inside `forward`: nothing here was written with a
# port in mind. The data are the 8x8 scans of handwritten digits that come with scikit-learn, and each image is shown
# for 20 steps.

# %%
NUM_STEPS = 20


class Net(nn.Module):
    """Two spiking layers with a residual connection, and a spiking readout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.lif1 = snntorch.Leaky(beta=0.9)
        self.fc1 = nn.Linear(8 * 4 * 4, 64)
        self.lif2 = snntorch.Synaptic(alpha=0.5, beta=0.8)
        self.fc2 = nn.Linear(64, 64)
        self.lif3 = snntorch.Leaky(beta=torch.full((64,), 0.8), learn_beta=True, reset_mechanism="zero")
        self.fc3 = nn.Linear(64, 10)
        self.lif4 = snntorch.Leaky(beta=0.9)

    def forward(self, x):
        mem1 = self.lif1.reset_mem()
        syn2, mem2 = self.lif2.reset_mem()
        mem3 = self.lif3.reset_mem()
        mem4 = self.lif4.reset_mem()
        spikes, membranes = [], []
        for _ in range(NUM_STEPS):
            spk1, mem1 = self.lif1(self.conv(x), mem1)
            hidden = nn.functional.avg_pool2d(spk1, 2).flatten(1)
            spk2, syn2, mem2 = self.lif2(self.fc1(hidden), syn2, mem2)
            spk3, mem3 = self.lif3(self.fc2(spk2) + spk2, mem3)
            spk4, mem4 = self.lif4(self.fc3(spk3), mem4)
            spikes.append(spk4)
            membranes.append(mem4)
        return torch.stack(spikes), torch.stack(membranes)


# %% [markdown]
# Train it for two epochs, in torch.

# %%
torch.manual_seed(0)
images, labels = digits("train", layout="NCHW")
test_images, test_labels = digits("test", layout="NCHW")

net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(2):
    for chosen in torch.randperm(len(images)).split(64):
        spikes, _ = net(torch.from_numpy(images)[chosen])
        loss = nn.functional.cross_entropy(spikes.sum(0), torch.from_numpy(labels)[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss of the last batch {loss.item():.3f}")
net.eval()

with torch.no_grad():
    torch_spikes, _ = net(torch.from_numpy(test_images))
print("accuracy in snnTorch:", (torch_spikes.sum(0).argmax(1).numpy() == test_labels).mean())

# %% [markdown]
# ## 2. Port it
#
# `from_snntorch` runs the network once on a sample, which is whatever one call of it takes, here a batch of images.
# The loop over time is taken out: what comes back is a model of *one step*, and `snn.unroll` is its loop.

# %%
model, variables = interop.from_snntorch(net, images[:2])
for name, layer in model.nodes:
    print(f"{name:14s} {type(layer).__name__}")
jax.tree.map(jnp.shape, variables)

# %% [markdown]
# Names are those of your modules. Kernels are Flax's (channels last), learned decays are in `params`, and the model
# takes and returns the arrays that your network takes and returns, channels-first images included.

# %%
(spikes, membranes), updates = snn.unroll(model, variables, test_images, num_steps=NUM_STEPS)
print(spikes.shape, "accuracy in JAX:", (np.asarray(spikes).sum(0).argmax(1) == test_labels).mean())

# %% [markdown]
# ## 3. Prove it
#
# Equal accuracy is not a proof. `crossvalidate` records every neuron layer on both sides and compares spike for spike:
# end to end, and layer by layer with each layer of the second network fed the spikes that the first recorded.
# Two frameworks add up numbers in different orders, so a membrane that lands on the threshold within rounding may flip
# a spike; such a flip is told apart from everything else by a bound that follows from the sums in front of the neuron.

# %%
report = interop.crossvalidate(net, (model, variables), test_images, num_steps=NUM_STEPS)
print(report)
assert report.agree

# %%
figure = report.plot()

# %% [markdown]
# ### A proof must be able to fail
#
# Suppose that the port had taken the wrong reset for one layer, an easy mistake: `lif3` resets to zero, the default is
# to subtract.

# %%
nodes = {n: m.clone(reset_mechanism="subtract") if n == "lif3" else m for n, m in model.nodes}
wrong = model.clone(nodes=nodes)
print(interop.crossvalidate(net, (wrong, variables), test_images[:64], num_steps=NUM_STEPS))

# %% [markdown]
# The report names the layer, the first step and neuron where the two part, and the likely cause.
#
# ## 4. Train on, in JAX
#
# The ported model is an ordinary Flax model. One jitted step holds the whole unrolled network, its gradient and the
# update.

# %%
fixed = {name: tree for name, tree in variables.items() if name != "params"}
adam = optax.adam(1e-3)


def loss_of(params, x, y):
    (spikes, _), _ = snn.unroll(model, {**fixed, "params": params}, x, num_steps=NUM_STEPS)
    return optax.softmax_cross_entropy_with_integer_labels(spikes.sum(0), y).mean()


@jax.jit
def train_step(params, state, x, y):
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = adam.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss


params, state, losses = variables["params"], adam.init(variables["params"]), []
rng = np.random.default_rng(0)
for _ in range(3):
    order = rng.permutation(len(images))
    for start in range(0, len(order) - 63, 64):
        chosen = order[start : start + 64]
        params, state, loss = train_step(params, state, images[chosen], labels[chosen])
        losses.append(float(loss))
trained = {**fixed, "params": params}

figure, axis = plt.subplots(figsize=(6, 2.5))
axis.plot(losses)
axis.set(xlabel="step", ylabel="loss", title="training on, in JAX")

(spikes, _), _ = snn.unroll(model, trained, test_images, num_steps=NUM_STEPS)
print("accuracy:", (np.asarray(spikes).sum(0).argmax(1) == test_labels).mean())

# %% [markdown]
# ## 5. Back to snnTorch
#
# `to_snntorch` makes a torch network of one step. With `into=` it writes the weights into your own class instead, time
# loop and all: here a fresh `Net()`.

# %%
back = interop.to_snntorch(model, trained, into=Net().eval())
with torch.no_grad():
    torch_spikes, _ = back(torch.from_numpy(test_images))
print("accuracy, back in snnTorch:", (torch_spikes.sum(0).argmax(1).numpy() == test_labels).mean())

report = interop.crossvalidate((model, trained), back, test_images, num_steps=NUM_STEPS)
print(report)
assert report.agree

# %% [markdown]
# And as a NIR file, for other frameworks. What NIR cannot say (which reset, which surrogate, what is learned) travels as
# metadata, so that snnax reads back the very same network.

# %%
import os
import tempfile

path = os.path.join(tempfile.mkdtemp(), "digits.nir")
interop.write_nir(path, interop.to_nir(model, trained))
again = interop.from_nir(path)
print(interop.crossvalidate((model, trained), again, test_images[:64], num_steps=NUM_STEPS))

# %% [markdown]
# ## Your own network
#
# Replace `Net` by your class and `images` by your data. If something in it cannot be ported exactly, `from_snntorch`
# says which module or operation it is and what to write instead. Networks whose `forward` is one step take one step's
# input as the sample; those that loop over `x[t]` take a sequence `[T, B, ...]`.
