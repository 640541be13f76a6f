# %% [markdown]
# # 11. A spiking autoencoder
#
# The network compresses a picture into the spikes of sixteen neurons, and reconstructs it from these spikes alone. It
# needs no labels: the target is the picture itself.
#
# You will see
# 1. how many bits sixteen neurons can transmit in ten time steps,
# 2. a network with a bottleneck, whose final output membranes are a picture,
# 3. training from three random seeds, with less than half the error of always answering the mean picture,
# 4. the reconstructed pictures, and how they appear over time,
# 5. what each of the sixteen neurons draws, found by silencing it.
#
# It takes about half a minute on a CPU. It covers the subject of snnTorch's tutorial on autoencoders.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. The task
#
# An *autoencoder* is two networks in a row. The *encoder* turns a picture into a code, and the *decoder* turns the code
# back into a picture. Both are trained so that the output picture resembles the input picture. The code is too small to
# hold a copy of the picture, so the two networks have to learn what the pictures have in common.
#
# Here the pictures are handwritten digits of 8x8 pixels, each between 0 (paper) and 1 (ink).

# %%
images, _ = snn.datasets.digits("train")
test_images, test_labels = snn.datasets.digits("test")
# MNIST from your disk, for example (and the same for "x_test"):
# images = np.load("mnist.npz")["x_train"] / np.float32(255)
side = images.shape[1]
images, test_images = (each.reshape(len(each), -1) for each in (images, test_images))
PIXELS = images.shape[1]
print(f"{len(images)} pictures to train on, {len(test_images)} to test, {PIXELS} pixels each")

# %% [markdown]
# ### How much the code can hold
#
# A pixel has 17 levels, so a picture of 64 pixels contains at most $64 \log_2 17 \approx 262$ bits. The code is the
# spikes of $n$ neurons in $T$ time steps. In each step a neuron fires or does not fire, which is one bit. So the code
# can hold at most
#
# $$n\,T \text{ bits}, \qquad \text{and if only the numbers of spikes matter,} \qquad n \log_2 (T + 1) \text{ bits}. \tag{1}$$

# %%
CODE, NUM_STEPS = 16, 10
print(f"picture {PIXELS * np.log2(17):.0f} bits, code at most {CODE * NUM_STEPS} bits")
print(f"numbers of spikes alone: {CODE * np.log2(NUM_STEPS + 1):.0f} bits")

# %% [markdown]
# ### Which error is small
#
# The error is the mean squared difference of the pixels. A number like 0.02 alone says little, so we compare it with
# two other methods:
#
# * The *baseline* always answers with the mean of all training pictures. No answer that ignores the input is better.
# * *Principal component analysis* (PCA) represents a picture as the mean plus a weighted sum of 16 fixed pictures. Its
#   code is 16 real numbers, not spikes.

# %%
mean = images.mean(0)


def error(drawn):
    """Mean squared error over pixels and test pictures."""
    return float(np.mean((np.asarray(drawn) - test_images) ** 2))


baseline = error(mean)
directions = np.linalg.svd(images - mean, full_matrices=False)[2]


def pca(numbers):
    """The test pictures, drawn from so many numbers each."""
    return (test_images - mean) @ directions[:numbers].T @ directions[:numbers] + mean


by_pca = pca(CODE)
print(f"baseline {baseline:.4f}; PCA with {CODE} numbers: {error(by_pca) / baseline:.0%} of it")

# %% [markdown]
# ## 2. The network
#
# The picture is shown in each step. The code is the second layer of neurons, `layers_3`; it is the only connection
# between encoder and decoder. The output neurons are never reset: with `reset_mechanism="none"` each membrane is a
# leaky sum of its input,
#
# $$U_t = \beta\, U_{t-1} + W S_t + b, \tag{2}$$
#
# and the output picture is the values of these membranes after the last step, $U_T$. (In tutorial 9 a membrane draws a
# curve in the same way.)

# %%
HIDDEN, BETA = 128, 0.8


def autoencoder(code=CODE):
    return snn.Sequential(
        snn.Linear(PIXELS, HIDDEN),
        snn.Leaky(beta=BETA, init_hidden=True),
        snn.Linear(HIDDEN, code),
        snn.Leaky(beta=BETA, init_hidden=True),  # layers_3: the code
        snn.Linear(code, HIDDEN),
        snn.Leaky(beta=BETA, init_hidden=True),
        snn.Linear(HIDDEN, PIXELS),
        snn.Leaky(beta=BETA, reset_mechanism="none", init_hidden=True, output=True),
    )


net = autoencoder()
variables = net.init(jax.random.key(0), images[:1])
print(jax.tree.map(jnp.shape, variables["params"]))

# %% [markdown]
# ## 3. Training
#
# The loss is the error after the last step, and the target of a picture is the picture: `batches(images, images, ...)`.
# `fit` differentiates through all steps and layers, including the code. At each spike a surrogate replaces the
# derivative (tutorial 5).

# %%
EPOCHS, BATCH = 60, 128


def last_membrane(mem, picture):
    """The mean squared error of the membranes [T, B, pixels] after the last step."""
    return jnp.mean((mem[-1] - picture) ** 2)


def trained(seed, shown=images, loss=last_membrane, **more):
    """A network, its variables after training, and the loss of each epoch."""
    net = autoencoder(**more)
    data = snn.training.batches(shown, images, BATCH, seed=seed, drop_last=True)
    rate = optax.cosine_decay_schedule(1e-2, EPOCHS * len(data))
    variables = net.init(jax.random.key(seed), images[:1])
    state = snn.training.TrainState.create(net, variables, optax.adam(rate))
    state, history = snn.training.fit(
        state, data, epochs=EPOCHS, loss=loss, read="mem", num_steps=NUM_STEPS, progress=False
    )
    return net, state.variables, history.loss


def drawn(net, variables, pictures, **more):
    """The membranes of the output in each step, [T, B, pixels]."""
    (_, mem), _ = snn.unroll(net, variables, pictures, num_steps=NUM_STEPS, **more)
    return mem


found = [trained(seed) for seed in range(3)]
ratios = [error(drawn(net, variables, test_images)[-1]) / baseline for net, variables, _ in found]
print("error on unseen pictures, of the baseline's:", ", ".join(f"{ratio:.0%}" for ratio in ratios))
assert max(ratios) < 0.5

# %%
net, variables, _ = found[0]
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
for seed, (_, _, course) in enumerate(found):
    ax.semilogy(np.array(course) / baseline, lw=1, label=f"seed {seed}")
for level, name in ((1, "baseline"), (error(by_pca) / baseline, f"PCA, {CODE} numbers")):
    ax.axhline(level, ls=":", lw=1, color="0.4")
    ax.text(0, level * 0.97, name, va="top", color="0.4")
ax.set(
    xlabel="epoch",
    ylabel="error in training / baseline",
    yticks=[0.1, 0.2, 0.5, 1],
    yticklabels=[0.1, 0.2, 0.5, 1],
)
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 4. The reconstructed pictures
#
# For one unseen picture of each digit: the picture itself, the output of the network, and the output of PCA.

# %%
chosen = np.array([np.flatnonzero(test_labels == digit)[3] for digit in range(10)])


def gallery(rows, **how):
    """Rows of pictures, each with its name on the left."""
    fig, axes = plt.subplots(len(rows), 10, figsize=(7.5, 0.85 * len(rows)), layout="constrained")
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(
                np.asarray(picture).reshape(side, side), **({"cmap": "gray_r", "vmin": 0, "vmax": 1} | how)
            )
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return fig


mem = drawn(net, variables, test_images)
gallery({"shown": test_images[chosen], "drawn": mem[-1, chosen], "PCA": by_pca[chosen]})
plt.show()

# %% [markdown]
# These are the codes of a 0 and of a 1. They are all that the decoder knows about the two pictures.

# %%
_, _, seen = snn.unroll(net, variables, test_images, num_steps=NUM_STEPS, record=True)
code = seen["layers_3"]["spk"]
fig, axes = plt.subplots(1, 4, figsize=(7.5, 2.4), sharey=True, layout="constrained")
for ax, digit in zip(axes, (0, 1, 4, 9), strict=True):
    splt.raster(code[:, chosen[digit]], ax=ax, s=14, color="black")
    ax.set(title=f"a {digit}", xlabel="time step", xlim=(-0.5, NUM_STEPS - 0.5), ylim=(-0.5, CODE - 0.5))
axes[0].set_ylabel("neuron of the code")
plt.show()
print(f"a neuron of the code fires in {code.mean():.0%} of the steps")

# %% [markdown]
# The picture needs time to appear: spikes have to pass through three layers of neurons, and each spike adds only a
# little.

# %%
gallery({f"after {t} steps": mem[t - 1, chosen] for t in (2, 4, 6, 8, 10)})
plt.show()
with_time = [error(picture) / baseline for picture in mem]
print("error / baseline after each step:", ", ".join(f"{ratio:.2f}" for ratio in with_time))
assert with_time[-1] < 0.6 * with_time[4]

# %% [markdown]
# ## 5. What each neuron draws
#
# The argument `force` of `unroll` replaces the spikes of a layer by given ones. We play back the recorded code with one
# neuron silenced, and look at what changes in the mean over all test pictures: red where the neuron adds ink, blue
# where it removes ink. First we check that the recorded code alone gives the same picture.

# %%
np.testing.assert_allclose(drawn(net, variables, 0 * test_images, force={"layers_3": code}), mem, atol=1e-5)


@jax.jit
def without(neuron):
    """Mean difference that a neuron makes after the last step."""
    silenced = code.at[:, :, neuron].set(0)
    return (mem - drawn(net, variables, test_images, force={"layers_3": silenced}))[-1].mean(0)


parts = [without(neuron) for neuron in range(CODE)]
largest = max(float(jnp.abs(part).max()) for part in parts)
fig, axes = plt.subplots(2, 8, figsize=(7.5, 2.2), layout="constrained")
for neuron, (ax, part) in enumerate(zip(axes.flat, parts, strict=True)):
    picture = ax.imshow(part.reshape(side, side), cmap="RdBu_r", vmin=-largest, vmax=largest)
    ax.set(xticks=[], yticks=[])
    ax.set_title(neuron, fontsize=9)
fig.colorbar(picture, ax=axes)
plt.show()

# %% [markdown]
# No neuron represents a single digit. Each neuron draws strokes, and a digit is a mixture of strokes.
#
# Compared with snnTorch: its tutorial uses convolutions instead of `Linear`, and has the loop over time inside
# `forward`. snnax has `snn.Conv2d` and `snn.ConvTranspose2d`, too. Only snnax can record a layer and force its spikes.

# %% [markdown]
# ## Exercises
#
# 1. How does the error depend on the size of the code? Try 4 and 32 neurons, and compare with PCA.
# 2. Compute the loss over all steps, not only after the last one: `jnp.mean((mem - picture) ** 2)`. How early does the
# picture appear now?
# 3. Show the network noisy pictures, with the clean pictures as targets. Does it remove the noise from unseen pictures?
#
# ## Answers
#
# <details><summary>1</summary>
#
# More neurons are better, but each further neuron adds less. Four neurons beat PCA with four numbers: a decoder with a
# hidden layer is nonlinear, and PCA can only add up fixed pictures. With 32, PCA is better: nonlinearity no longer
# matters much, and a real number holds more information than ten steps of a neuron.
#
# </details>
#
# <details><summary>2</summary>
#
# After half the time the picture is nearly as good as in the end, and better than the first network's picture at that
# time. After the last step it is worse than the first network's: the network now has to do well in all steps, including
# the first ones.
#
# </details>
#
# <details><summary>3</summary>
#
# Yes. The output is much closer to the clean picture than the noisy input is. The code holds what the pictures have in
# common, and the noise is different in each picture.
#
# </details>

# %% tags=["hide-cell"]
# 1.
small, large = (trained(0, code=size) for size in (4, 32))
by_size = {4: small, CODE: found[0], 32: large}
errors = {
    size: error(drawn(net, given, test_images)[-1]) / baseline for size, (net, given, _) in by_size.items()
}
for size, ratio in errors.items():
    print(
        f"1. {size} neurons: {ratio:.0%} of the baseline; PCA with {size} numbers: {error(pca(size)) / baseline:.0%}"
    )
assert errors[4] > errors[CODE] > errors[32]
assert errors[4] < error(pca(4)) / baseline and errors[32] > error(pca(32)) / baseline

# 2.
net_2, always, _ = trained(0, loss=lambda mem, picture: jnp.mean((mem - picture) ** 2))
early = [error(picture) / baseline for picture in drawn(net_2, always, test_images)]
print("2. after each step:", ", ".join(f"{ratio:.2f}" for ratio in early))
assert early[4] < with_time[4] and early[-1] > with_time[-1]

# 3.
rng = np.random.default_rng(0)
noisy, test_noisy = (
    each + 0.3 * rng.standard_normal(each.shape).astype(np.float32) for each in (images, test_images)
)
net_3, cleaning, _ = trained(0, shown=noisy)
clean = drawn(net_3, cleaning, test_noisy)[-1]
print(f"3. error / baseline: shown {error(test_noisy) / baseline:.0%}, drawn {error(clean) / baseline:.0%}")
assert error(clean) < 0.6 * error(test_noisy)
gallery({"clean": test_images[chosen], "shown": test_noisy[chosen], "drawn": clean[chosen]})
plt.show()
