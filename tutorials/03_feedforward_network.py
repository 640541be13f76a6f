# %% [markdown]
# # 3. A feed-forward network
#
# We run two layers of spiking neurons in two ways: with a loop that passes each membrane to the next step, and with
# `unroll`, which runs all time steps as one program. Both give the same spikes.
#
# You will see
# 1. how an image becomes random spikes (a Poisson code),
# 2. a network of two layers with a loop that you write,
# 3. the same network with `init_hidden=True` and `snn.unroll`, and the proof that it is the same,
# 4. where the state of a network is stored, and how to continue from it.
#
# It takes a few seconds on a CPU. It covers the subject of snnTorch's tutorial 3.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import snnax as snn
from snnax import spikegen
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. Spikes at the input
#
# A pixel with intensity $p$ between 0 and 1 becomes a neuron that fires in each time step with probability $p$,
# independently of all other steps and neurons. This is a Poisson process in discrete time. In $T$ steps a neuron fires
#
# $$T p \pm \sqrt{T p\, (1 - p)}$$
#
# times (mean and standard deviation of a binomial distribution).
#
# `spikegen.rate` does this. In JAX every random function takes a key: the same key gives the same spikes. The key is
# the only argument that snnTorch's `spikegen.rate` does not have.

# %%
NUM_STEPS, NUM_INPUTS, NUM_HIDDEN, NUM_OUTPUTS = 200, 64, 100, 10

images, labels = snn.datasets.digits("test")  # [N, 8, 8, 1], from 0 (paper) to 1 (ink)
image = images[36:37]  # [batch, height, width, channel], a batch of one
pixels = image.reshape(1, NUM_INPUTS)
spk_in = spikegen.rate(pixels, num_steps=NUM_STEPS, gain=0.4, key=jax.random.key(0))
print("input:", spk_in.shape, "as [time, batch, neuron]")

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=[1, 2.2], layout="constrained")
left.imshow(image[0, :, :, 0], cmap="gray_r")
left.set(title=f"a {labels[36]}", xticks=[], yticks=[])
splt.raster(spk_in[:, 0], ax=right, s=2, color="black")
right.set(title="its spikes", xlabel="time step", ylabel="pixel", xlim=(0, NUM_STEPS))
plt.show()

# %%
p = 0.4 * pixels[0]
counts = spk_in.sum((0, 1))
sigma = np.sqrt(NUM_STEPS * p * (1 - p))
off = np.abs(counts - NUM_STEPS * p)[p > 0] / sigma[p > 0]
print(f"{np.mean(off < 1):.0%} of the pixels are within one sigma, {np.mean(off < 3):.0%} within three")
assert np.mean(off < 1) > 0.5 and np.all(off < 4)
assert np.all(counts[p == 0] == 0)

# %% [markdown]
# ## 2. Two layers, step by step
#
# A layer is a matrix of weights and its neurons. With $S^0_t$ the spikes of the input, layer $l$ computes
#
# $$I^l_t = W^l S^{l-1}_t + b^l, \qquad
# U^l_t = \beta\, U^l_{t-1} + I^l_t - R^l_t\, \theta, \qquad
# S^l_t = [U^l_t > \theta].$$
#
# The layers without memory are `snn.Linear`, which works like `torch.nn.Linear`. (`flax.linen.Dense` works too.) In JAX
# a layer does not store its weights. `init` draws them, and `apply` takes them as its first argument. The weights are
# random here, so the output of the network means nothing yet. Tutorial 5 trains a network.

# %%
fc1, lif1 = snn.Linear(NUM_INPUTS, NUM_HIDDEN), snn.Leaky(beta=0.95)
fc2, lif2 = snn.Linear(NUM_HIDDEN, NUM_OUTPUTS), snn.Leaky(beta=0.95)
weights1 = fc1.init(jax.random.key(1), spk_in[0])
weights2 = fc2.init(jax.random.key(2), jnp.zeros((1, NUM_HIDDEN)))

mem1, mem2 = lif1.reset_mem(), lif2.reset_mem()
spk1_rec, spk2_rec, mem2_rec = [], [], []
for step in range(NUM_STEPS):
    cur1 = fc1.apply(weights1, spk_in[step])
    spk1, mem1 = lif1(cur1, mem1)
    cur2 = fc2.apply(weights2, spk1)
    spk2, mem2 = lif2(cur2, mem2)
    spk1_rec.append(spk1)
    spk2_rec.append(spk2)
    mem2_rec.append(mem2)
spk1_rec, spk2_rec, mem2_rec = map(jnp.stack, (spk1_rec, spk2_rec, mem2_rec))

layers = {"input": spk_in, "hidden": spk1_rec, "output": spk2_rec}
splt.activity({name: {"spk": spikes[:, 0]} for name, spikes in layers.items()})
plt.show()

# %%
fig = plt.figure(figsize=(8, 3), layout="constrained")
splt.traces(mem2_rec[:, 0], spk=spk2_rec[:, 0], dim=(2, 5), spk_height=2, fig=fig, axes=True)
plt.show()

# %% [markdown]
# ## 3. The same network, all steps at once
#
# With `init_hidden=True` a neuron takes only the current, and the network becomes a list of layers. With `output=True`
# the last layer returns its membrane too. `unroll` runs the network over time.
#
# Everything that a network has to remember is in its *variables*, a dictionary of collections. The collection `params`
# holds the weights. Here we use the weights drawn above, under the names that `Sequential` gives to its layers.

# %%
net = snn.Sequential(
    snn.Linear(NUM_INPUTS, NUM_HIDDEN),
    snn.Leaky(beta=0.95, init_hidden=True),
    snn.Linear(NUM_HIDDEN, NUM_OUTPUTS),
    snn.Leaky(beta=0.95, init_hidden=True, output=True),
)
variables = net.init(jax.random.key(3), spk_in[0])
print(jax.tree.map(jnp.shape, variables))
variables = {"params": {"layers_0": weights1["params"], "layers_2": weights2["params"]}}

(spk, mem), updates = snn.unroll(net, variables, spk_in)

differing = int((spk != spk2_rec).sum())
print(
    f"of {int(spk.sum())} spikes {differing} differ; membranes by at most {jnp.abs(mem - mem2_rec).max():.1e}"
)
assert differing <= 1e-3 * spk.size

# %% [markdown]
# (The two programs may add up the 64 products of a neuron in a different order, so a membrane can differ in its last
# digit. If the membrane is just at the threshold, this can change a spike. So we allow one different spike in a
# thousand.)
#
# You can also call the network for a single step. `apply` then returns the outputs and the new state, and you put this
# state into the variables. `unroll` compiles this loop into one program.

# %%
stepped = dict(variables)
spikes = []
for step in range(NUM_STEPS):
    (one, _), changed = net.apply(stepped, spk_in[step], mutable=["hidden"])
    stepped |= changed
    spikes.append(one)
assert (jnp.stack(spikes) != spk).sum() <= 1e-3 * spk.size


def seconds(function):
    function()  # the first call compiles
    begin = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - begin


unrolled = jax.jit(lambda x: snn.unroll(net, variables, x)[0])
print(f"{1e3 * seconds(lambda: unrolled(spk_in)):.1f} ms for {NUM_STEPS} steps")

# %% [markdown]
# ## 4. Where the state is
#
# snnTorch's neurons store their membrane themselves, and `utils.reset(net)` clears it before the next sample. Here
# `unroll` returns the state together with the outputs, and you decide what to do with it. `unroll` does not change
# `variables`: each call of `unroll(net, variables, ...)` starts from zero. To continue from a state, put it into the
# variables. In this way you can run a long recording in pieces:

# %%
print("after the last step:", jax.tree.map(jnp.shape, updates))
(first, _), state = snn.unroll(net, variables, spk_in[:120])
(second, _), _ = snn.unroll(net, {**variables, **state}, spk_in[120:])
assert (jnp.concatenate([first, second]) != spk).sum() <= 1e-3 * spk.size

forgotten = snn.utils.reset({**variables, **state})
(again, _), _ = snn.unroll(net, forgotten, spk_in[:120])
assert jnp.array_equal(again, first)

# %% [markdown]
# `record=True` also returns the spikes and membranes of every neuron layer, by name. So you can look at the hidden
# layer without writing the loop.

# %%
_, _, seen = snn.unroll(net, variables, spk_in, record=True)
print({name: sorted(arrays) for name, arrays in seen.items()})
assert (seen["layers_1"]["spk"] != spk1_rec).mean() <= 1e-3

# %% [markdown]
# ## Exercises
#
# 1. Put a second image into the batch. Which lines have to change? Do the spikes of the first image stay the same?
# 2. How does the number of hidden spikes depend on `beta`? Guess, then draw it for `beta` from 0.5 to 0.99.
# 3. What happens if you forget the reset, and show the image a second time, starting from the final state of the first
# run?
#
# ## Answers
#
# <details><summary>1</summary>
#
# Only the line that selects the images: the batch is an axis of the input, and each sample has its own membranes. The
# first image gets the same membranes if it gets the same spikes. (`spikegen.rate` draws different spikes for a batch of
# a different shape, so draw the spikes of each image once and concatenate them.)
#
# </details>
#
# <details><summary>2</summary>
#
# It grows: with a larger `beta` a neuron adds up its input over a longer time, up to $I / (1 - \beta)$, and more
# neurons reach the threshold.
#
# </details>
#
# <details><summary>3</summary>
#
# The membranes start where they were, not at zero, and so the first spikes come earlier. In snnTorch the same happens
# if you forget `utils.reset`. Here it happens only if you pass the state on.
#
# </details>

# %% tags=["hide-cell"]
# 1.
other = spikegen.rate(images[5:6].reshape(1, -1), num_steps=NUM_STEPS, gain=0.4, key=jax.random.key(4))
(both, _), _ = snn.unroll(net, variables, jnp.concatenate([spk_in, other], axis=1))
assert both.shape == (NUM_STEPS, 2, NUM_OUTPUTS)
assert (both[:, :1] != spk).mean() <= 1e-3

# 2.
betas, totals = [0.5, 0.7, 0.9, 0.95, 0.99], []
for beta in betas:
    layer = snn.Sequential(snn.Linear(NUM_INPUTS, NUM_HIDDEN), snn.Leaky(beta=beta, init_hidden=True))
    hidden, _ = snn.unroll(layer, {"params": {"layers_0": weights1["params"]}}, spk_in)
    totals.append(int(hidden.sum()))
print("exercise 2:", dict(zip(betas, totals, strict=True)))
assert totals == sorted(totals)
fig, ax = plt.subplots(figsize=(5, 2.4), layout="constrained")
ax.plot(betas, totals, marker="o")
ax.set(xlabel=r"$\beta$", ylabel="hidden spikes")
plt.show()

# 3.
(twice, _), _ = snn.unroll(net, {**variables, **updates}, spk_in)
print("exercise 3: spikes in the first 10 steps:", int(spk[:10].sum()), "and then", int(twice[:10].sum()))
assert twice[:10].sum() > spk[:10].sum()
