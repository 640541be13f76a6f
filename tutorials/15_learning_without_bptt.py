# %% [markdown]
# # 15. Learning without backpropagation through time
#
# Backpropagation through time keeps every step in memory and sends the error back through all of them. Here are four
# alternatives: a shorter path back, a rule that uses only spike times, a separate loss for each layer, and an adjoint
# equation that goes from spike to spike.
#
# You will see
# 1. what *truncated* backpropagation (TBPTT) leaves out, and that a network still learns digits,
# 2. *spike-timing dependent plasticity* (STDP): its window, and what a neuron learns with it, without labels,
# 3. *forward-forward*: layers that learn separately, without sending an error back,
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
# ## 1. Truncated backpropagation: a shorter path back
#
# The effect of an input at step $s$ is still in the membrane at step $t$: $\partial U_t / \partial x_s = \beta^{t-s}$
# for $s \le t$. Backpropagation through time uses all of these terms. *Truncated* backpropagation cuts time into pieces
# of $K$ steps. The membrane is passed from one piece to the next, but no gradient flows back between pieces. So only
# the terms with $s$ and $t$ in the same piece are left, and only $K$ steps have to be kept in memory.
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
# Does this matter? `snn.backprop.TBPTT` trains for one epoch and updates the weights after each piece. We train a
# smaller version of the network of tutorial 5 on digits for six epochs: with one piece of 24 steps (which is full
# backpropagation through time), with pieces of 6 steps, and with pieces of a single step.

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
# With shorter pieces the network even learns faster. The image does not change, so each piece contains everything there
# is to learn, and there are more updates. But if an answer depends on an input more than $K$ steps ago, the weights
# that should remember this input get no gradient.

# %% [markdown]
# ## 2. STDP: a rule based on spike times
#
# In many synapses the order of spikes matters. If the input fires shortly before the neuron, it may have caused the
# spike, and its weight grows. If the input fires shortly after the neuron, it cannot have caused the spike, and its
# weight shrinks. With $\Delta = t_{post} - t_{pre}$ the change is
#
# $$\Delta w = \begin{cases} A_+\, e^{-\Delta/\tau_+} & \Delta > 0 \\ -A_-\, e^{\Delta/\tau_-} & \Delta < 0 \end{cases} \tag{1}$$
#
# This needs no list of spike times. Inputs and neuron each have a *trace*, $p \leftarrow (1 - 1/\tau)\,p + S$, which
# jumps at a spike and then decays. When the neuron fires, each weight grows by $A_+$ times the trace of its input. When
# an input fires, its weight shrinks by $A_-$ times the trace of the neuron. In each step a trace decays by the factor
# $1 - 1/\tau = e^{-1/\tau'}$ with $\tau' = -1/\ln(1 - 1/\tau)$.
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
# What can a neuron learn in this way? A neuron gets 100 inputs. All of them fire equally often, in 2 % of the steps.
# The first 30 are correlated: half of their spikes come at the same time. The neuron gets no label that says so. The
# area of the window is negative ($A_- \tau_- > A_+ \tau_+$), so the weights of inputs that are unrelated to the
# neuron's spikes shrink.

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
# *Forward-forward* (Hinton, 2022) sends no error back from layer to layer. The label is part of the input, next to the
# image. Each layer has its own *goodness*, the mean square of its rates $r_i$. It learns to make the goodness large for
# images with the right label (+) and small for images with a wrong label (−):
#
# $$G = \frac{1}{N} \sum_i r_i^2, \qquad
# \ell = \ln\!\left(1 + e^{-\gamma\,(G^+ - \theta)}\right) + \ln\!\left(1 + e^{\gamma\,(G^- - \theta)}\right).$$
#
# The next layer gets the spikes divided by $\sqrt G$. So it knows *which* neurons fire, but not how much. Otherwise it
# could simply read the goodness of the previous layer.

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
# To classify a digit, try all ten labels: the label with the highest goodness is the answer. For unseen digits, the
# goodness of the two layers separates right labels from wrong ones:

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
# No error is sent back between layers. *Within* a layer, JAX still differentiates through the 10 steps. For a layer
# without recurrence, a trace computed forwards in time would be enough, as in tutorial 5, equation (2).

# %% [markdown]
# ## 4. EventProp: from spike to spike
#
# In continuous time, a network computes a list of spike times. Their exact gradient is given by an adjoint equation
# that runs backwards in time and changes only at spikes (Wunderlich and Pehle, 2021). Its memory grows with the number
# of spikes, and not with the duration or the time resolution. The tutorial *EventProp against first spikes* derives it.
# Here a network learns with it which part of the Yin-Yang symbol a point is in. A point is encoded as four spikes, each
# neuron fires at most once, and the output that fires first is the answer.

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
# ## Which one should you use?
#
# | | sends an error back through | needs labels | gradient |
# |---|---|---|---|
# | BPTT | all steps, all layers | yes | complete surrogate gradient |
# | TBPTT | $K$ steps, all layers | yes | the same, truncated after $K$ steps |
# | STDP | nothing | no | none: a local rule |
# | forward-forward | one layer | yes, in the input | of each layer's own loss |
# | EventProp | all spikes, all layers | yes | exact, as long as no spike appears or disappears |
#
# Compared with snnTorch: `TBPTT` and `STDPLearner` have the same names there. Here they take weights and return new
# weights. snnTorch has no counterpart to the other two.

# %% [markdown]
# ## Exercises
#
# 1. STDP: use a quarter of $A_-$, so that the area of the window is positive. What happens to the weights?
# 2. Forward-forward: how good is the answer if you use only the goodness of the first layer, or only that of the
#    second?
#
# ## Answers
#
# <details><summary>1</summary>
#
# Now the weights of inputs that are unrelated to the spikes grow too. So the neuron fires more often, and they grow
# further. In the end all weights are large, and the correlated group no longer stands out. STDP selects inputs only
# because other weights shrink (depression).
#
# </details>
#
# <details><summary>2</summary>
#
# Each layer alone recognizes most digits. A layer that learns with its own loss does not depend on the layers after it.
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
