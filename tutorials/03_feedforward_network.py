# %% [markdown]
# # 3. A feed-forward network
#
# Two layers of spiking neurons, run in two ways: by a loop that hands each membrane on, and by `unroll`, which runs all
# time steps as one program. Both give the same spikes.
#
# You will see
# 1. how an image becomes random spikes (a Poisson code),
# 2. a network of two layers with a loop that you write,
# 3. the same network with `init_hidden=True` and `snn.unroll`, and the proof that it is the same,
# 4. where the state of a network is, and how to go on from it.
#
# It takes a few seconds on a CPU. The subject is that of snnTorch's tutorial 3.

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
# `spikegen.rate` does this. What is random in JAX takes a key: the same key gives the same spikes. This is the one
# argument that snnTorch's `spikegen.rate` does not have.

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
# The layers without memory are `snn.Linear`, as `torch.nn.Linear`. (`flax.linen.Dense` does as well.) In JAX a layer does
# not hold its weights. `init` draws them, and `apply` takes them as its first argument. The weights are random here: what
# the network answers means nothing yet. Tutorial 5 trains one.

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
# With `init_hidden=True` a neuron takes the current alone, and the network becomes a list of layers. `output=True` in the
# last layer asks for its membrane too. `unroll` runs the network over time.
#
# All that a network has to remember is in its *variables*: a dictionary of collections. `params` are the weights. We put
# in those that we drew above, under the names that `Sequential` gives its layers.

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
# (The two programs may add up the 64 products of a neuron in another order, so a membrane can differ in its last digit.
# If it is just at the threshold, that flips a spike. This is why we allow for one in a thousand.)
#
# The network can be called for one step as well. `apply` returns what has changed beside the outputs, and you put it into
# the variables. This loop is what `unroll` compiles into one program.

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
# snnTorch's neurons keep their membrane in themselves, and `utils.reset(net)` clears it before the next sample. Here the
# state is in what `unroll` returns beside the outputs, and whoever holds it decides. `variables` have not changed: each
# call of `unroll(net, variables, ...)` starts from zero. To go on, put the state into the variables. So a long recording
# can be run in pieces:

# %%
print("after the last step:", jax.tree.map(jnp.shape, updates))
(first, _), state = snn.unroll(net, variables, spk_in[:120])
(second, _), _ = snn.unroll(net, {**variables, **state}, spk_in[120:])
assert (jnp.concatenate([first, second]) != spk).sum() <= 1e-3 * spk.size

forgotten = snn.utils.reset({**variables, **state})
(again, _), _ = snn.unroll(net, forgotten, spk_in[:120])
assert jnp.array_equal(again, first)

# %% [markdown]
# `record=True` returns what every neuron layer did, by name. So the hidden layer can be seen without writing the loop.

# %%
_, _, seen = snn.unroll(net, variables, spk_in, record=True)
print({name: sorted(arrays) for name, arrays in seen.items()})
assert (seen["layers_1"]["spk"] != spk1_rec).mean() <= 1e-3

# %% [markdown]
# ## Exercises
#
# 1. Put a second image into the batch. Which lines have to change? Do the spikes of the first image stay the same?
# 2. How does the number of hidden spikes depend on `beta`? Guess, then draw it for `beta` from 0.5 to 0.99.
# 3. What happens if you forget the reset, and show the image a second time with the state that the first left?
#
# ## Answers
#
# <details><summary>1</summary>
#
# None but the one that picks the images: the batch is an axis of the input, and each sample has membranes of its own. The
# first image gets the same membranes if it gets the same spikes. (`spikegen.rate` draws other spikes for a batch of
# another shape, so draw them once and put them side by side.)
#
# </details>
#
# <details><summary>2</summary>
#
# It grows: with a larger `beta` a neuron adds up its input over a longer time, to $I / (1 - \beta)$, and more of them
# reach the threshold.
#
# </details>
#
# <details><summary>3</summary>
#
# The membranes start where they were, not at zero, and so the first spikes come earlier. In snnTorch the same happens if
# `utils.reset` is left out. Here it happens only if you hand the state on.
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
