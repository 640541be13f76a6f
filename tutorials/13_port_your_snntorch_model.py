# %% [markdown]
# # 13. Port your snnTorch model to JAX, and prove it
#
# You have a spiking network in snnTorch, trained, with a time loop inside `forward`. By the end of this notebook you
# have ported it to a Flax model in JAX, and a report shows that both compute the same spikes. You have also trained the
# model further in JAX and brought it back to snnTorch.
#
# You will see
# 1. what `interop.from_snntorch` reads from an ordinary torch class,
# 2. how `interop.crossvalidate` compares two networks, and what it reports when they are *not* the same,
# 3. how to train the ported network with optax,
# 4. how to bring the weights back into your own torch class,
# 5. one NIR file that gives the same spikes in snnax, snnTorch and Norse.
#
# Everything runs offline on a CPU in about half a minute. Install with `pip install -c constraints.txt ".[demo]"`.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import nir
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
# This network has explicit membranes, and inside `forward` a loop over time, a functional call and a sum. It was not
# written to be ported. The data are the 8x8 scans of handwritten digits that come with scikit-learn, and each image is
# shown for 20 steps.

# %%
NUM_STEPS = 20
torch.set_num_threads(1)  # tensors as small as these are slower when they are shared out


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
# We train it for two epochs in torch.

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
ported_from = (torch_spikes.sum(0).argmax(1).numpy() == test_labels).mean()
print(f"accuracy in snnTorch: {ported_from:.1%}")
assert ported_from > 0.75

# %% [markdown]
# ## 2. Port it
#
# `from_snntorch` runs the network once on a sample. The sample is the input of one call, here a batch of images. The
# loop over time is removed: the result is a model of *one time step*, and `snn.unroll` runs the loop.

# %%
model, variables = interop.from_snntorch(net, images[:2])
for name, layer in model.nodes:
    print(f"{name:14s} {type(layer).__name__}")
jax.tree.map(jnp.shape, variables)

# %% [markdown]
# The model keeps the names of your modules. Kernels have Flax's layout (channels last), and learned decays are in
# `params`. The model takes and returns arrays of the same shapes as your network, including channels-first images.

# %%
(spikes, membranes), updates = snn.unroll(model, variables, test_images, num_steps=NUM_STEPS)
ported = (np.asarray(spikes).sum(0).argmax(1) == test_labels).mean()
print(f"spikes {spikes.shape}, accuracy in JAX: {ported:.1%}")
assert abs(ported - ported_from) < 0.01

# %% [markdown]
# ## 3. Prove it
#
# Equal accuracy is not a proof. `crossvalidate` records every neuron layer in both networks and compares each spike. It
# does this end to end, and also layer by layer: then each layer of the second network gets the spikes recorded in the
# first network. Two frameworks add up numbers in different orders. So if a membrane equals the threshold up to
# rounding, a spike may differ. `crossvalidate` recognizes such differences by a bound on the rounding error of the sums
# in front of the neuron.

# %%
report = interop.crossvalidate(net, (model, variables), test_images[:120], num_steps=NUM_STEPS)
assert report.agree
report

# %%
report.plot()
plt.show()

# %% [markdown]
# ### A proof must be able to fail
#
# Suppose that the port used the wrong reset for one layer. This is an easy mistake: `lif3` resets to zero, but the
# default is to subtract.

# %%
nodes = {n: m.clone(reset_mechanism="subtract") if n == "lif3" else m for n, m in model.nodes}
wrong = model.clone(nodes=nodes)
report = interop.crossvalidate(net, (wrong, variables), test_images[:32], num_steps=NUM_STEPS)
assert not report.agree and report.first.name == "lif3" and report.first.cause.kind == "reset mechanism"
report

# %% [markdown]
# The report names the layer, the first step and neuron at which the two networks differ, and the likely cause. Tutorial
# 14 is about such reports.
#
# ## 4. Train on, in JAX
#
# The ported model is an ordinary Flax model. One jitted training step contains the whole unrolled network, its gradient
# and the update.

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
digits_net = model, trained

(spikes, _), _ = snn.unroll(model, trained, test_images, num_steps=NUM_STEPS)
accuracy = (np.asarray(spikes).sum(0).argmax(1) == test_labels).mean()
print(f"accuracy after training on: {accuracy:.1%}, before it {ported:.1%}")
assert accuracy > ported

fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
ax.plot(losses, lw=1)
ax.set(xlabel="step", ylabel="loss", ylim=(0, None))
plt.show()

# %% [markdown]
# ## 5. Back to snnTorch
#
# `to_snntorch` makes a torch network of one step. With `into=` it writes the weights into an instance of your own class
# instead, including its time loop: here a new `Net()`.

# %%
back = interop.to_snntorch(model, trained, into=Net().eval())
report = interop.crossvalidate((model, trained), back, test_images[:120], num_steps=NUM_STEPS)
assert report.agree
report

# %% [markdown]
# ## 6. One file, three frameworks
#
# [NIR](https://neuroir.org) is a file format for spiking networks: layers, their weights, and neurons as differential equations.
# Here is an example of a file that you may receive: two layers of leaky neurons,
#
# $$\tau \dot v = -v + r I, \qquad v > v_{th}:\ \text{spike},\ v \leftarrow v_{reset}.$$

# %%
rng = np.random.default_rng(1)


def layer(inputs, outputs, size):
    """Weights and the neurons behind them."""
    each = np.ones(outputs)
    neurons = nir.LIF(tau=1e-3 * each, r=each, v_leak=0 * each, v_threshold=each, v_reset=0 * each)
    return nir.Linear((size * rng.standard_normal((outputs, inputs))).astype(np.float32)), neurons


nir.write("sent.nir", nir.NIRGraph.from_list(*layer(64, 32, 1.0), *layer(32, 10, 3.0)))

# %% [markdown]
# The file does not contain the time step, so you pass it to `from_nir`. The Flax model can then be converted to
# snnTorch and to Norse. All three are compared with NIR's own equations: `crossvalidate` computes them in double
# precision if one side is a file.

# %%
model, variables = interop.from_nir("sent.nir", dt=1e-4)
readings = {
    "snnax": (model, variables),
    "snnTorch": interop.to_snntorch(model, variables),
    "Norse": interop.to_norse(model, variables),
}
currents = test_images[:32].reshape(32, 64)
for name, network in readings.items():
    report = interop.crossvalidate("sent.nir", network, currents, num_steps=50)
    print(f"{name}: {report.verdict}")
    assert report.agree and report.layers[-1].spikes > 100

# %% [markdown]
# `interop.to_nir(model, variables)` converts back to NIR, and `interop.write_nir(path, graph)` writes the file. Some
# properties cannot be expressed in NIR: the surrogate, which parameters are learned, a reset that subtracts the
# threshold. They are stored as metadata, so that snnax reads back exactly the same network.
#
# ## Your own network
#
# Replace `Net` by your class and `images` by your data. If a part of your network cannot be ported exactly,
# `from_snntorch` names the module or operation and says what to write instead. If `forward` computes one time step, the
# sample is the input of one step. If `forward` loops over `x[t]`, the sample is a sequence `[T, B, ...]`.
#
# ## Exercises
#
# 1. Read the file with twice the time step, `dt=2e-4`, and compare it with the file at 1e-4. What does the report say?
# 2. Write the trained network of section 4 to a file, and read it back. Is anything lost?
#
# ## Answers
#
# <details><summary>1</summary>
#
# A step adds $\frac{dt}{\tau} (rI - v)$ to the membrane. With twice the time step the input has twice the effect, and
# $\beta = 1 - dt/\tau$ is 0.8 instead of 0.9. The report finds both numbers from the recorded membranes.
#
# </details>
#
# <details><summary>2</summary>
#
# No. Its neurons subtract the threshold one step after a spike. NIR itself cannot express this, but the metadata can.
#
# </details>

# %% tags=["hide-cell"]
# 1.
slower = interop.from_nir("sent.nir", dt=2e-4)
report = interop.crossvalidate("sent.nir", slower, currents[:4], num_steps=50, dt=1e-4)
print("exercise 1:", report.verdict)
assert [cause.kind for cause in report.first.causes] == ["gain", "beta"]

# 2.
interop.write_nir("trained.nir", interop.to_nir(*digits_net))
report = interop.crossvalidate(
    digits_net, interop.from_nir("trained.nir"), test_images[:16], num_steps=NUM_STEPS
)
print("exercise 2:", report.verdict)
assert report.agree
