# %% [markdown]
# # 15. Learning without backpropagation through time
#
# Backpropagation through time keeps every step in memory and sends the error back through all of them. Here are four ways around it:
# a shorter way back, a rule that only knows spike times, a loss for each layer, and an adjoint that jumps from spike to spike.
#
# You will see
# 1. what *truncated* backpropagation (TBPTT) leaves out, and that digits are learned without it,
# 2. *spike-timing dependent plasticity* (STDP): its window, and what a neuron finds with it, without labels,
# 3. *forward-forward*: layers that learn one by one, without an error that is sent back,
# 4. *EventProp*: the exact gradient, whose memory grows with the spikes and not with the steps.
#
# It takes about half a minute on a CPU.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn
import snnax.functional as SF
from snnax import datasets, event
from snnax.functional.stdp_learner import STDPLearner

# %% [markdown]
# ## 1. Truncated: a shorter way back
#
# What an input did at step $s$ is still in the membrane at step $t$: $\partial U_t / \partial x_s = \beta^{t-s}$ for $s \le t$.
# Backpropagation through time follows all of these. *Truncated*, it cuts time into pieces of $K$ steps. The membrane is handed on from
# piece to piece, but as a number without a past. So only those terms are left where $s$ and $t$ are in the same piece, and only $K$
# steps have to be kept.
#
# Below are both derivatives, for one neuron that does not fire, computed by JAX.

# %%
T, K, BETA = 20, 5, 0.9
neuron = snn.Leaky(beta=BETA, threshold=1e3, init_hidden=True, output=True)


def membranes(x, steps):
    """The membrane at each step, for inputs ``[T]`` in pieces of so many steps."""
    pieces, memory = [], {}
    for piece in x[:, None, None].reshape(-1, steps, 1, 1):
        (_, mem), memory = snn.unroll(neuron, memory, piece)
        memory = jax.lax.stop_gradient(memory)
        pieces.append(mem[:, 0, 0])
    return jnp.concatenate(pieces)


x = jnp.asarray(np.random.default_rng(0).random(T), jnp.float32)
full, cut = (jax.jacrev(membranes)(x, steps) for steps in (T, K))

t, s = np.mgrid[:T, :T]
by_formula = np.where(s <= t, BETA ** (t - s.astype(float)), 0)
np.testing.assert_allclose(full, by_formula, rtol=1e-5)
np.testing.assert_allclose(cut, np.where(s // K == t // K, by_formula, 0), rtol=1e-5)

fig, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
for ax, shown, title in zip(axes, (full, cut), ("all steps", f"pieces of K = {K}"), strict=True):
    picture = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    ax.set(title=title, xlabel="input at step $s$", xticks=range(0, T, 5), yticks=range(0, T, 5))
axes[0].set_ylabel("membrane at step $t$")
fig.colorbar(picture, ax=axes, label=r"$\partial U_t / \partial x_s$")
plt.show()

# %% [markdown]
# Does it matter? `snn.backprop.TBPTT` trains for one epoch and updates the weights after each piece. The network of tutorial 5,
# smaller, learns digits in six epochs: with one piece of 24 steps, which is backpropagation through time, with pieces of 6 steps, and
# of a single one.

# %%
images, labels = datasets.digits("train")
test_images, test_labels = datasets.digits("test")
images, test_images = (each.reshape(len(each), -1).astype(np.float32) for each in (images, test_images))

net = snn.Sequential(
    snn.Linear(64, 64),
    snn.Leaky(beta=BETA, init_hidden=True),
    snn.Linear(64, 10),
    snn.Leaky(beta=BETA, init_hidden=True, output=True),
)
optimizer, truncated = optax.adam(2e-3), {}
for steps in (24, 6, 1):
    variables, memory = net.init(jax.random.key(0), images[:1]), None
    data = snn.training.batches(images, labels, batch_size=128, drop_last=True)
    for epoch in range(6):
        _, variables, memory = snn.backprop.TBPTT(
            net, variables, data(epoch), optimizer, SF.ce_rate_loss(), num_steps=24, time_var=False,
            K=steps, opt_state=memory,
        )  # fmt: skip
    (spk, _), _ = snn.unroll(net, variables, test_images, num_steps=24)
    truncated[steps] = float(SF.accuracy_rate(spk, test_labels))
    print(f"K = {steps:2d}: {memory[0].count} updates, accuracy on unseen digits {truncated[steps]:.1%}")
assert min(truncated.values()) > 0.85

# %% [markdown]
# Shorter pieces even learn faster: an image stands still, so that each piece shows all there is to learn, and there are more updates.
# Where an answer depends on what was seen long before, and longer ago than $K$ steps, the weights that should remember it get no
# gradient.

# %% [markdown]
# ## 2. STDP: a rule of spike times
#
# In many synapses what counts is who was first. If the input fires shortly before the neuron, it may have caused the spike, and its
# weight grows. If it fires shortly after, it cannot have, and the weight shrinks. With $\Delta = t_{post} - t_{pre}$ the change is
#
# $$\Delta w = \begin{cases} A_+\, e^{-\Delta/\tau_+} & \Delta > 0 \\ -A_-\, e^{\Delta/\tau_-} & \Delta < 0 \end{cases} \tag{1}$$
#
# Nobody has to remember spike times for that. Each side leaves a *trace*, $p \leftarrow (1 - 1/\tau)\,p + S$, that jumps at a spike and
# fades. When the neuron fires, weights grow by $A_+$ times the traces of the inputs; when an input fires, its weight shrinks by $A_-$ times
# the trace of the neuron. A trace fades by $1 - 1/\tau$ in a step, which is $e^{-1/\tau'}$ with $\tau' = -1/\ln(1 - 1/\tau)$.
#
# To measure the window, 41 inputs fire once each, one after the other, and the neuron fires in the middle.

# %%
GROW, SHRINK, TAU_PRE, TAU_POST = 1.0, 0.4, 5.0, 20.0
learner = STDPLearner(
    snn.Linear(41, 1, bias=False),
    tau_pre=TAU_PRE,
    tau_post=TAU_POST,
    f_pre=lambda w: jnp.full_like(w, SHRINK),
    f_post=lambda w: jnp.full_like(w, GROW),
)
pre = jnp.eye(41)[:, None]  # [T, B, inputs]: input j fires at step j
post = jnp.zeros((41, 1, 1)).at[20].set(1.0)
window, _ = learner.delta(jnp.full((41, 1), 0.5), learner.init(pre, post), pre, post)
window, delta = window[:, 0], 20 - np.arange(41)

of_pre, of_post = (-1 / np.log(1 - 1 / tau) for tau in (TAU_PRE, TAU_POST))
before, after = delta > 0, delta < 0
np.testing.assert_allclose(window[before], GROW * np.exp(-delta[before] / of_pre), rtol=1e-5)
np.testing.assert_allclose(window[after], -SHRINK * np.exp(delta[after] / of_post), rtol=1e-5)
np.testing.assert_allclose(window[20], GROW - SHRINK, rtol=1e-5)  # in the same step: both

fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.axhline(0, color="0.7", lw=1)
for side, size, tau in ((np.linspace(0, 20), GROW, of_pre), (np.linspace(-20, 0), -SHRINK, of_post)):
    ax.plot(
        side,
        size * np.exp(-np.abs(side) / tau),
        color="tab:orange",
        label="equation (1)" if size > 0 else None,
    )
ax.plot(delta, window, "o", ms=4, label="measured")
ax.set(xlabel=r"$\Delta = t_{post} - t_{pre}$ (steps)", ylabel="change of the weight")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# What is it good for? A neuron gets 100 inputs, and all fire equally often, in 2 % of the steps. The first 30 have something in common:
# half of their spikes come together. Nobody tells the neuron. The area of the window is negative ($A_- \tau_- > A_+ \tau_+$), so that inputs
# that have nothing to do with its spikes lose weight.

# %%
INPUTS, GROUP, STEPS, RATE = 100, 30, 5000, 0.02


def inputs(key):
    """Spikes ``[T, 1, inputs]``, of which the first 30 share half."""
    shared, own, follow = (jax.random.uniform(k, (STEPS, INPUTS)) for k in jax.random.split(key, 3))
    together = (jnp.arange(INPUTS) < GROUP) & (follow < 0.5)
    return jnp.where(together, shared[:, :1] < RATE, own < RATE).astype(jnp.float32)[:, None]


@partial(jax.jit, static_argnames="learner")
def grown(pre, learner=learner):
    """The weights at each step ``[T, inputs]``, and when the neuron fired."""
    lif = snn.Leaky(beta=0.9, reset_mechanism="zero")

    def step(carry, now):
        weights, mem, traces = carry
        spk, mem = lif.apply({}, 0.06 * now @ weights, mem)
        change, traces = learner.delta(weights, traces, now[None], spk[None], scale=0.04)
        return (jnp.clip(weights + change, 0, 1), mem, traces), (weights[:, 0], spk[0, 0])

    start = jnp.full((INPUTS, 1), 0.5), jnp.zeros((1, 1)), learner.init(pre, pre[..., :1])
    return jax.lax.scan(step, start, pre)[1]


for seed in range(2):
    pre = inputs(jax.random.key(seed))
    course, fired = grown(pre)
    group, others = course[-1, :GROUP], course[-1, GROUP:]
    print(
        f"weights after {STEPS} steps: {group.mean():.2f} in the group, {others.mean():.2f} else, {fired.sum():.0f} spikes"
    )
    assert group.mean() > others.mean() + 0.3

fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained", width_ratios=(2, 1))
left.plot(range(0, STEPS, 50), course[::50, GROUP:], color="0.7", lw=0.5)
left.plot(range(0, STEPS, 50), course[::50, :GROUP], color="tab:blue", lw=0.5)
left.set(xlabel="step", ylabel="weight", ylim=(0, 1))
bins = np.linspace(0, 1, 21)
right.hist(others, bins, orientation="horizontal", color="0.7", label="others")
right.hist(group, bins, orientation="horizontal", color="tab:blue", label="group")
right.set(xlabel="inputs", ylim=(0, 1))
right.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 3. Forward-forward: a loss for each layer
#
# *Forward-forward* (Hinton, 2022) sends no error back from layer to layer. The label is written into the input, next to the image. Each
# layer has its own *goodness*, the mean square of its rates $r_i$, and learns to make it large for images with their right label
# (+) and small for images with a wrong one (−):
#
# $$G = \frac{1}{N} \sum_i r_i^2, \qquad
# \ell = \ln\!\left(1 + e^{-\gamma\,(G^+ - \theta)}\right) + \ln\!\left(1 + e^{\gamma\,(G^- - \theta)}\right).$$
#
# The next layer gets the spikes divided by $\sqrt G$: *which* neurons fire, and not how much. Otherwise it could just read off the
# goodness of the layer before.

# %%
HIDDEN, SHOWN, SHARPNESS, LEVEL = 200, 10, 20.0, 0.15
layers = [
    snn.Sequential(snn.Linear(number, HIDDEN), snn.Leaky(beta=BETA, init_hidden=True))
    for number in (64 + 10, HIDDEN)
]


def labelled(x, y):
    """Images ``[B, 64]`` with labels ``[B]`` beside them, shown for some steps."""
    both = jnp.concatenate([x, jax.nn.one_hot(y, 10)], 1)
    return jnp.broadcast_to(both, (SHOWN, *both.shape))


def forward(layer, params, x):
    """Goodness ``[B]`` of a layer, and what the next layer gets."""
    spk, _ = snn.unroll(layer, {"params": params}, x)
    rates = spk.mean(0)
    good = (rates**2).mean(-1)
    return good, spk / (jnp.sqrt(good)[:, None] + 1e-3)


def loss_of(params, layer, right, wrong):
    (good, _), (bad, _) = forward(layer, params, right), forward(layer, params, wrong)
    return (jax.nn.softplus(SHARPNESS * (LEVEL - good)) + jax.nn.softplus(SHARPNESS * (bad - LEVEL))).mean()


adam = optax.adam(5e-3)


@jax.jit
def update(every, states, x, y, key):
    """One step of each layer; ``every`` has their weights."""
    right, wrong = labelled(x, y), labelled(x, (y + jax.random.randint(key, y.shape, 1, 10)) % 10)
    learned = []
    for layer, params, state in zip(layers, every, states, strict=True):
        change, state = adam.update(jax.grad(loss_of)(params, layer, right, wrong), state)
        learned.append((optax.apply_updates(params, change), state))
        right, wrong = (forward(layer, params, each)[1] for each in (right, wrong))
    return tuple(zip(*learned, strict=True))


@jax.jit
def goodness(every, x):
    """Of each layer, image and label, ``[layers, 10, B]``."""

    def of(label):
        given, found = labelled(x, jnp.full(len(x), label)), []
        for layer, params in zip(layers, every, strict=True):
            good, given = forward(layer, params, given)
            found.append(good)
        return jnp.stack(found)

    return jnp.stack([of(label) for label in range(10)], 1)


every = tuple(
    layer.init(jax.random.key(number), jnp.zeros((1, width)))["params"]
    for number, (layer, width) in enumerate(zip(layers, (74, HIDDEN), strict=True))
)
states, key = tuple(map(adam.init, every)), jax.random.key(0)
for epoch in range(20):
    for number, (x, y) in enumerate(data(epoch)):
        every, states = update(every, states, x, y, jax.random.fold_in(key, 100 * epoch + number))
found = goodness(every, test_images)
by_layers = (np.asarray(found.sum(0).argmax(0)) == test_labels).mean()
print(f"accuracy on unseen digits: {by_layers:.1%}")
assert by_layers > 0.85

# %% [markdown]
# To read a digit, try all ten labels: the one with the highest goodness is the answer. For unseen digits the goodness of the two
# layers tells right labels from wrong ones:

# %%
right = np.arange(10)[:, None] == test_labels
fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), sharey=True, layout="constrained")
for number, ax in enumerate(axes):
    good = np.asarray(found[number])
    bins = np.linspace(0, good.max(), 30)
    ax.hist(good[~right], bins, density=True, color="0.7", label="wrong label")
    ax.hist(good[right], bins, density=True, color="tab:blue", alpha=0.7, label="right label")
    ax.axvline(LEVEL, color="black", ls="--", lw=1)
    ax.set(title=f"layer {number + 1}", xlabel="goodness", yticks=[])
    assert good[right].mean() > good[~right].mean()
axes[0].legend(frameon=False)
axes[0].set_ylabel("share of the images")
plt.show()

# %% [markdown]
# Between layers nothing goes back. *Within* a layer JAX still differentiates through its 10 steps. For a layer without recurrence a
# trace that runs forwards would do as well, as in tutorial 5, equation (2).

# %% [markdown]
# ## 4. EventProp: from spike to spike
#
# Without time steps, a network is a list of spike times. Their exact gradient is an adjoint equation that runs backwards and does
# something only where a spike was (Wunderlich and Pehle, 2021). What it keeps grows with the number of spikes, and not with the duration
# or its resolution. The tutorial *EventProp against first spikes* derives it; here it learns which part of the Yin-Yang symbol a point is
# in. A point is four spikes, the neurons fire once, and the output that is first is the answer.

# %%
LATE, T_MAX, BATCH, EPOCHS = 10e-3, 20e-3, 50, 24
once = event.LIFParameters(refractory=float("inf"))
timed = event.Sequential(
    [
        event.LIF(60, T_MAX, once, weight_init=event.firing_normal(once, gain=1.9, spread=0.45)),
        event.LIF(3, T_MAX, once, weight_init=event.firing_normal(once, gain=15.0, spread=2.2)),
    ]
)
loss = event.target_time_loss(on_target=4.5e-3, off_target=5.5e-3, silent=T_MAX, unit=10e-3)


def spikes_of(points):
    both = np.concatenate([points, 1 - points], 1)
    return event.biased(event.latency_code(jnp.asarray(both), LATE, largest_first=False)).times


points, halves = datasets.yin_yang(1000, seed=0)
test_points, test_halves = datasets.yin_yang(500, seed=1)
times, classes, batches = spikes_of(points), jnp.asarray(halves, jnp.int32), len(halves) // BATCH
adam = optax.adam(lambda step: 1e-2 * (1 + jnp.cos(jnp.pi * step / (EPOCHS * batches))))


def cost(params, chosen):
    return loss(timed.apply({"params": params}, times[chosen]), classes[chosen])


@jax.jit
def trained(params, key):
    """All epochs in one program."""

    def step(carry, chosen):
        params, state = carry
        value, slope = jax.value_and_grad(cost)(params, chosen)
        change, state = adam.update(slope, state)
        return (optax.apply_updates(params, change), state), value

    orders = jax.vmap(lambda key: jax.random.permutation(key, len(halves)))(jax.random.split(key, EPOCHS))
    (params, _), values = jax.lax.scan(step, (params, adam.init(params)), orders.reshape(-1, BATCH))
    return params, values


params, values = trained(timed.init(jax.random.key(0), times[:1])["params"], jax.random.key(0))
answers = np.asarray(event.first_spike_class(timed.apply({"params": params}, spikes_of(test_points))))
by_events = (answers == test_halves).mean()
print(f"accuracy on unseen points: {by_events:.1%}")
assert by_events > 0.8

fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained")
left.semilogy(values, lw=0.7)
left.set(xlabel="step", ylabel="loss")
right.scatter(*test_points.T, c=answers, s=8, cmap="viridis")
right.scatter(
    *test_points[answers != test_halves].T, s=30, facecolors="none", edgecolors="tab:red", label="wrong"
)
right.set(aspect="equal", xticks=[], yticks=[], title="what the network says")
right.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plt.show()

# %% [markdown]
# ## Which one?
#
# | | goes back through | needs labels | gradient |
# |---|---|---|---|
# | BPTT | all steps, all layers | yes | of the surrogate, complete |
# | TBPTT | $K$ steps, all layers | yes | the same, cut off after $K$ steps |
# | STDP | nothing | no | none; a rule |
# | forward-forward | one layer | yes, in the input | of each layer's own loss |
# | EventProp | all spikes, all layers | yes | exact, while no spike appears or vanishes |
#
# Compared with snnTorch: `TBPTT` and `STDPLearner` have its names; here weights go in, and new ones come out. It has nothing for the
# other two.

# %% [markdown]
# ## Exercises
#
# 1. STDP: take a quarter of $A_-$, so that the area of the window is positive. What becomes of the weights?
# 2. Forward-forward: how good is the answer if only the first, or only the second layer is asked?
#
# ## Answers
#
# <details><summary>1</summary>
#
# Now inputs that have nothing to do with the spikes gain weight too. So the neuron fires more, and they gain more: all weights grow, and
# in the end the group is lost among them. The depression is what makes STDP choose.
#
# </details>
#
# <details><summary>2</summary>
#
# Each alone reads most digits. Layers that learn on their own do not depend on those that come after them.
#
# </details>

# %% tags=["hide-cell"]
# 1.
weaker = STDPLearner(
    snn.Linear(INPUTS, 1, bias=False),
    tau_pre=TAU_PRE,
    tau_post=TAU_POST,
    f_pre=lambda w: jnp.full_like(w, SHRINK / 4),
    f_post=lambda w: jnp.full_like(w, GROW),
)
course, fired = grown(inputs(jax.random.key(0)), learner=weaker)
print(
    f"exercise 1: {course[-1, :GROUP].mean():.2f} in the group, {course[-1, GROUP:].mean():.2f} else, {fired.sum():.0f} spikes"
)
assert course[-1, GROUP:].mean() > 0.6 > 0.5 > others.mean()

# 2.
for number in range(2):
    alone = (np.asarray(found[number].argmax(0)) == test_labels).mean()
    print(f"exercise 2: layer {number + 1} alone {alone:.1%}")
    assert alone > 0.7
