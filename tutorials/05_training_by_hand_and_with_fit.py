# %% [markdown]
# # 5. Training a network
#
# A fully connected network learns to read handwritten digits: first with a training loop that you write, then with
# `snn.training.fit`.
#
# You will see
# 1. why a spike has no useful gradient, and what a *surrogate gradient* puts in its place,
# 2. a formula for backpropagation through time in one neuron, and that JAX computes the same,
# 3. a training loop written by hand,
# 4. the same training in five lines, with three random seeds: at least 95 % of unseen digits are recognized.
#
# It takes about half a minute on a CPU. It covers the subject of snnTorch's tutorial 5. The digits are the 8x8 scans
# that come with scikit-learn.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn
import snnax.functional as SF
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. The gradient of a spike
#
# A neuron fires, $S = 1$, where its membrane $U$ is above the threshold $\theta$. So $S$ is a step function. Its
# derivative is 0 everywhere except at the threshold, where it does not exist. Gradient descent learns nothing from it.
#
# The remedy: in the forward pass a spike stays a spike. In the backward pass we pretend that it was a smooth function.
# The default is the arc tangent,
#
# $$\frac{\partial S}{\partial U} \;\to\; \sigma'(U - \theta), \qquad
# \sigma'(u) = \frac{\alpha / 2}{1 + \left(\frac{\pi}{2}\, \alpha\, u\right)^2}, \qquad \alpha = 2. \tag{1}$$
#
# A membrane near the threshold gets a large gradient: a small change may add a spike or remove one. Far from the
# threshold the gradient is small, but not zero.

# %%
atan = snn.surrogate.atan(alpha=2.0)
splt.surrogate_gallery({"atan(alpha=2)": atan, "atan(alpha=5)": snn.surrogate.atan(alpha=5.0)})
plt.show()

u = jnp.linspace(-1.5, 1.5, 61)
np.testing.assert_allclose(jax.vmap(jax.grad(atan))(u), 1 / (1 + (np.pi * u) ** 2), rtol=1e-5)

# %% [markdown]
# ## 2. Backpropagation through time
#
# A weight $w$ acts at each time step. Its effect at step $s$ is still in the membrane at step $t \ge s$, reduced by the
# factor $\beta^{t-s}$. Let $\ell = \sum_t S_t$ be the number of spikes of a neuron with the input $x_t$. Then
#
# $$\frac{\partial \ell}{\partial w}
# = \sum_t \underbrace{\sigma'(U_t - \theta)}_{\text{surrogate}}
# \sum_{s \le t} \underbrace{\beta^{t-s}}_{\text{memory}} x_s. \tag{2}$$
#
# (The reset is left out of the gradient, here as in snnTorch.) JAX computes such gradients for networks of any depth.
# For one neuron we can check the result.

# %%
BETA, T = 0.9, 30
x = np.random.default_rng(0).random(T).astype(np.float32)
neuron = snn.Leaky(beta=BETA, init_hidden=True, output=True)


def number_of_spikes(w):
    (spk, mem), _ = snn.unroll(neuron, {}, w * x[:, None, None])
    return spk.sum(), mem[:, 0, 0]


(count, mem), by_jax = jax.value_and_grad(number_of_spikes, has_aux=True)(0.4)
trace, by_hand = 0.0, 0.0
for t in range(T):
    trace = BETA * trace + x[t]
    by_hand += trace / (1 + (np.pi * (mem[t] - 1)) ** 2)
print(f"{count:.0f} spikes; gradient by formula (2): {by_hand:.4f}, by JAX: {by_jax:.4f}")
np.testing.assert_allclose(by_jax, by_hand, rtol=1e-4)

# %% [markdown]
# ## 3. By hand
#
# ### Data
#
# Each image is the input current at every time step. There is no spike encoding: the first layer of neurons makes the
# spikes.

# %%
images, labels = snn.datasets.digits("train")
test_images, test_labels = snn.datasets.digits("test")
# MNIST from your disk, for example (and the same for "x_test", "y_test"):
# images, labels = (np.load("mnist.npz")[key] for key in ("x_train", "y_train")); images = images / np.float32(255)
images, test_images = (each.reshape(len(each), -1) for each in (images, test_images))
print(images.shape, test_images.shape)

# %% [markdown]
# ### Network
#
# The class is written as in torch: `__init__` makes the layers, and `forward` calls them. It describes *one* time step.
# snnTorch's tutorial has the loop over time inside `forward`. This works here, too, but then JAX compiles every time
# step. `snn.unroll` compiles one time step and repeats it.

# %%
NUM_INPUTS, NUM_HIDDEN, NUM_OUTPUTS, NUM_STEPS, BETA = images.shape[1], 128, 10, 25, 0.95


class Net(snn.Module):
    def __init__(self, surrogate_disable=False):
        super().__init__()
        self.fc1 = snn.Linear(NUM_INPUTS, NUM_HIDDEN)
        self.lif1 = snn.Leaky(beta=BETA, init_hidden=True, surrogate_disable=surrogate_disable)
        self.fc2 = snn.Linear(NUM_HIDDEN, NUM_OUTPUTS)
        self.lif2 = snn.Leaky(beta=BETA, init_hidden=True, output=True)

    def forward(self, x):
        spk1 = self.lif1(self.fc1(x))
        spk2, mem2 = self.lif2(self.fc2(spk1))
        return spk2, mem2


net = Net()
variables = net.init(jax.random.key(0), images[:1])
params = variables["params"]
print(jax.tree.map(jnp.shape, params))

# %% [markdown]
# ### Loss
#
# There is one output neuron for each digit. The membrane of the right one should be the highest in *each* step: with
# $p_c[t] = e^{U_c[t]} / \sum_i e^{U_i[t]}$ and the right class $y$, the loss is the cross entropy
#
# $$\mathcal{L} = -\frac{1}{T} \sum_t \ln p_y[t].$$
#
# Without a surrogate no gradient passes through the spikes to the first layer: its gradient is exactly 0.

# %%
cross_entropy = snn.CrossEntropyLoss()


def loss_of(mem, y):
    """Mean over the time steps of the cross entropy of the membranes [T, B, 10]."""
    return jnp.mean(jax.vmap(cross_entropy, in_axes=(0, None))(mem, y))


def loss_fn(params, x, y, net=net):
    (spk, mem), _ = snn.unroll(net, {"params": params}, x, num_steps=NUM_STEPS)
    return loss_of(mem, y), spk


gradient = jax.grad(loss_fn, has_aux=True)
with_surrogate, _ = gradient(params, images[:64], labels[:64])
without, _ = gradient(params, images[:64], labels[:64], Net(surrogate_disable=True))
for how, slopes in {"with": with_surrogate, "without": without}.items():
    print(
        f"mean size of the gradient of the first layer {how} a surrogate:",
        jnp.abs(slopes["fc1"]["kernel"]).mean(),
    )
assert jnp.any(with_surrogate["fc1"]["kernel"]) and not jnp.any(without["fc1"]["kernel"])

# %% [markdown]
# ### Loop
#
# In torch, `loss.backward()` leaves gradients in the parameters and the optimizer changes these in place. In JAX a function
# takes the parameters and returns new ones. `jax.jit` compiles forward, backward and update into one program, at the
# first call.

# %%
optimizer = optax.adam(2e-3)


@jax.jit
def train_step(params, opt_state, x, y):
    (loss, spk), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, x, y)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss, SF.accuracy_rate(spk, y)


batches = snn.training.batches(images, labels, batch_size=128, seed=0, drop_last=True)
opt_state, before = optimizer.init(params), params
loss_hist, acc_hist = [], []
for epoch in range(15):
    for x, y in batches(epoch):
        params, opt_state, loss, accuracy = train_step(params, opt_state, x, y)
        loss_hist.append(float(loss))
        acc_hist.append(float(accuracy))

(test_spk, _), _ = snn.unroll(net, {"params": params}, test_images, num_steps=NUM_STEPS)
by_hand = SF.accuracy_rate(test_spk, test_labels)
print(
    f"loss {loss_hist[0]:.2f} at first, {loss_hist[-1]:.2f} at last; accuracy on unseen digits {by_hand:.1%}"
)
assert by_hand >= 0.95

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
left.plot(loss_hist, lw=1)
left.set(xlabel="step", ylabel="loss", ylim=(0, None))
right.plot(acc_hist, lw=1)
right.set(xlabel="step", ylabel="accuracy of the batch", ylim=(0, 1.02))
plt.show()

# %% [markdown]
# ### Before and after
#
# What does the network do with one unseen digit? The output neuron that fires most often is the network's answer.

# %%
shown = 100
fig, axes = plt.subplots(2, 2, figsize=(8, 4.6), sharex=True, layout="constrained")
for (hidden, output), weights, when in zip(axes, (before, params), ("before", "after"), strict=True):
    one = test_images[shown : shown + 1]
    (spk2, _), _, seen = snn.unroll(net, {"params": weights}, one, num_steps=NUM_STEPS, record=True)
    spk1 = seen["lif1"]["spk"]
    splt.raster(spk1[:, 0], ax=hidden, s=3, color="black")
    splt.raster(spk2[:, 0], ax=output, s=12, color="tab:red")
    answer = int(spk2.sum(0)[0].argmax())
    hidden.set(title=f"{when}: hidden neurons", ylabel="neuron", ylim=(-1, NUM_HIDDEN))
    output.set(title=f"{when}: outputs, most spikes: {answer}", yticks=range(10), ylim=(-0.5, 9.5))
axes[1, 0].set_xlabel("time step")
axes[1, 1].set_xlabel(f"time step (a {test_labels[shown]} is shown)")
plt.show()

# %% [markdown]
# ## 4. With `fit`
#
# `fit` contains the loops over epochs and batches, and `TrainState` holds the weights and the state of the optimizer.
# The network is the same, written as a list of layers. `read="mem"` passes the membranes to the loss. This time we
# train it from three random seeds, since one good result may be luck.

# %%
net = snn.Sequential(
    snn.Linear(NUM_INPUTS, NUM_HIDDEN),
    snn.Leaky(beta=BETA, init_hidden=True),
    snn.Linear(NUM_HIDDEN, NUM_OUTPUTS),
    snn.Leaky(beta=BETA, init_hidden=True, output=True),
)
results = []
for seed in range(3):
    variables = net.init(jax.random.key(seed), images[:1])
    state = snn.training.TrainState.create(net, variables, optimizer)
    data = snn.training.batches(images, labels, batch_size=128, seed=seed, drop_last=True)
    state, history = snn.training.fit(
        state, data, epochs=15, loss=loss_of, read="mem", accuracy=SF.accuracy_rate,
        num_steps=NUM_STEPS, progress=False,
    )  # fmt: skip
    (spk, mem), _ = snn.unroll(net, state.variables, test_images, num_steps=NUM_STEPS)
    results.append(float(SF.accuracy_rate(spk, test_labels)))
print("accuracy on unseen digits:", ", ".join(f"{result:.1%}" for result in results))
assert min(results) >= 0.95

splt.history(history, fig=plt.figure(figsize=(7, 4), layout="constrained"))
plt.show()

# %% [markdown]
# Compared with snnTorch: `snn.Module`, `snn.Linear`, `CrossEntropyLoss`, `SF.accuracy_rate` and the neurons have the names
# and arguments of torch and snnTorch. What differs is where things are stored. The weights are in `params`, the state
# of the optimizer is in `opt_state`, and a training step takes both and returns both. Since the input is the same in
# each time step, `num_steps=` lets `unroll` compute the first linear layer once instead of 25 times.

# %% [markdown]
# ## Exercises
#
# 1. The network has 25 steps to answer. How good is it after the first step, after two, three and so on?
# 2. Train with a loss on spike counts, `SF.ce_count_loss()`, instead of the loss on membranes. (Then `read` is not
#    needed.) How many spikes do the outputs fire, compared with the network above?
# 3. `beta=0.95` was a guess. Set `learn_beta=True` in both layers of neurons. Which `beta` do they learn?
#
# ## Answers
#
# <details><summary>1</summary>
#
# Take the spikes of the first steps, `spk[:n]`. In the first steps few outputs have fired; if none has, the answer is
# the digit 0. After five steps the answer is nearly as good as after 25: each further step costs time and adds little.
#
# </details>
#
# <details><summary>2</summary>
#
# A few more. The loss on counts requires the right output to fire in more steps than the others; the loss on membranes
# only requires its membrane to be higher than the others.
#
# </details>
#
# <details><summary>3</summary>
#
# `beta` is then in `params`, next to the weights, as one number for each layer. Both grow to 1, the largest value
# allowed: the neurons do not forget at all. This is fine because the image does not change with time. The accuracy
# stays about the same.
#
# </details>

# %% tags=["hide-cell"]
# 1.
early = [float(SF.accuracy_rate(spk[:n], test_labels)) for n in (1, 2, 3, 5, 10, 25)]
print("exercise 1:", ", ".join(f"{accuracy:.1%}" for accuracy in early))
assert early[0] < 0.5 and early[-1] >= 0.95


# 2. and 3.
def trained(net, loss, **more):
    state = snn.training.TrainState.create(net, net.init(jax.random.key(2), images[:1]), optimizer)
    data = snn.training.batches(images, labels, batch_size=128, seed=2, drop_last=True)
    state, _ = snn.training.fit(
        state, data, epochs=15, loss=loss, num_steps=NUM_STEPS, progress=False, **more
    )
    (spk, _), _ = snn.unroll(net, state.variables, test_images, num_steps=NUM_STEPS)
    return state, spk


_, spk_count = trained(net, SF.ce_count_loss())
print(f"exercise 2: {SF.accuracy_rate(spk_count, test_labels):.1%} with the loss on counts")
print(f"{spk_count.sum((0, 2)).mean():.0f} output spikes for each image, {spk.sum((0, 2)).mean():.0f} above")

own = snn.Sequential(
    snn.Linear(NUM_INPUTS, NUM_HIDDEN),
    snn.Leaky(beta=BETA, learn_beta=True, init_hidden=True),
    snn.Linear(NUM_HIDDEN, NUM_OUTPUTS),
    snn.Leaky(beta=BETA, learn_beta=True, init_hidden=True, output=True),
)
state, spk_own = trained(own, loss_of, read="mem")
learned = [float(state.params[layer]["beta"]) for layer in ("layers_1", "layers_3")]
print("exercise 3: beta =", learned, f"{SF.accuracy_rate(spk_own, test_labels):.1%}")
assert min(learned) > BETA
assert SF.accuracy_rate(spk_own, test_labels) >= 0.94
