# %% [markdown]
# # Learning with first spikes
#
# In a first-spike code (*time to first spike*, TTFS) each neuron fires at most once, and the time of its spike carries
# the information. The output that fires first is the answer of the network. This notebook trains such a network on the
# Yin-Yang problem, with the exact gradient of its spike times.
#
# You will
# 1. turn points of the plane into spike times,
# 2. build a network whose neurons fire at most once, with initial weights that make them fire,
# 3. write down the loss, and derive its gradient,
# 4. train the network in one compiled program, and look at what it learned.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from snnax import event, spikeplot
from snnax.datasets import yin_yang

# %% [markdown]
# ## 1. Points as spikes
#
# A point $(x, y)$ becomes four spikes, at times that grow with $x$, $y$, $1-x$ and $1-y$, and a fifth spike at time 0,
# which acts as a bias. Each input is used twice, as its value and as its complement, so that there are early spikes in
# every corner of the plane.

# %%
LATE, T_MAX = 10e-3, 20e-3


def spikes_of(points):
    both = np.concatenate([points, 1 - points], 1)
    return event.biased(event.latency_code(jnp.asarray(both), LATE, largest_first=False))


points, labels = yin_yang(2000, seed=0)
test_points, test_labels = yin_yang(1000, seed=1)
times, test_times = spikes_of(points).times, spikes_of(test_points).times

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
left.scatter(*points.T, c=labels, s=3, cmap="viridis")
left.set(aspect="equal", title="three classes", xlabel="x", ylabel="y")
spikeplot.raster(spikes_of(points[:1]), ax=right)
right.set_title(f"the point ({points[0, 0]:.2f}, {points[0, 1]:.2f})")
plt.show()

# %% [markdown]
# ## 2. A network that fires once
#
# With `refractory=inf` a neuron fires at most once. Then nothing has to be computed after a reset, and the fastest
# engine can be used: it scans once over the sorted inputs, finds the interval in which each neuron crosses its
# threshold, and computes one root at the end.
#
# A neuron that does not fire has no time, and no gradient. So the weights must make it fire from the start.
# `firing_normal` draws them in units of the threshold: with `gain=1`, inputs that all come at the same time just reach
# the threshold. Inputs that are spread over 10 ms need a gain of about 2. The outputs get a much larger gain: a few
# hidden spikes should be enough, so that the outputs fire before the last hidden spikes.

# %%
once = event.LIFParameters(refractory=float("inf"))
net = event.Sequential(
    [
        event.LIF(60, T_MAX, once, weight_init=event.firing_normal(once, gain=1.9, spread=0.45)),
        event.LIF(3, T_MAX, once, weight_init=event.firing_normal(once, gain=15.0, spread=2.2)),
    ]
)
variables = net.init(jax.random.key(0), times[:1])
spikes, seen = net.apply(variables, times, capture_intermediates=True, mutable=["intermediates"])
hidden = seen["intermediates"]["layers_0"]["__call__"][0]
print(f"hidden neurons that fire, on average: {jnp.isfinite(hidden.times).mean():.0%}")
print(f"output neurons that fire: {jnp.isfinite(spikes.times).mean():.0%}")
assert jnp.isfinite(spikes.times).mean() > 0.9

# %% [markdown]
# ## 3. Loss and gradient
#
# The output of the right class should fire at $\hat t_{on}$, the others a little later, at $\hat t_{off}$:
#
# $$\ell = \sum_n \left(\frac{\min(t_n, t_{silent}) - \hat t_n}{\tau_m}\right)^2.$$
#
# Its gradient goes through the spike times. At the threshold $V(t^*) = v_{th}$, and so
#
# $$\mathrm{d}t^* = -\frac{1}{\dot V(t^*)} \sum_i \left(\kappa(t^* - t_i)\, \mathrm{d}w_i - w_i\, \dot\kappa(t^* - t_i)\, \mathrm{d}t_i\right),
# \qquad \dot V(t^*) = \frac{v_{leak} - v_{th} + I(t^*)}{\tau_m}:$$
#
# The first term is the gradient with respect to the weights; the second is passed on to the previous layer. No
# surrogate is needed. We check one component of the gradient against a difference quotient.

# %%
loss = event.target_time_loss(
    on_target=4.5e-3, off_target=5.5e-3, silent=T_MAX, unit=once.tau_mem, reduction="mean"
)


def cost(params, times, labels):
    return loss(net.apply({"params": params}, times), labels)


batch = times[:8], labels[:8]
own = variables["params"]
slope = jax.grad(cost)(own, *batch)["layers_0"]["weights"][4, 7]


@jax.jit
def moved(by):
    weights = own["layers_0"]["weights"].at[4, 7].add(by)
    return cost({**own, "layers_0": {"weights": weights}}, *batch)


quotient = (moved(1e-2) - moved(-1e-2)) / 2e-2
print(f"gradient {slope:.3e}, difference quotient {quotient:.3e}")
assert abs(slope - quotient) < 0.02 * abs(slope)

# %% [markdown]
# ## 4. Training
#
# All epochs are one compiled program: a `lax.scan` over epochs, with a `lax.scan` over batches inside. The optimizer is
# Adam with a learning rate that decays to zero.

# %%
EPOCHS, BATCH = 50, 50
batches, classes = len(labels) // BATCH, jnp.asarray(labels, jnp.int32)
adam = optax.adam(lambda step: 5e-3 * (1 + jnp.cos(jnp.pi * step / (EPOCHS * batches))))


@jax.jit
def trained(params, times):
    """Weights after training, and the loss of each epoch."""

    def update(carry, chosen):
        params, state = carry
        value, slope = jax.value_and_grad(cost)(params, times[chosen], classes[chosen])
        change, state = adam.update(slope, state)
        return (optax.apply_updates(params, change), state), value

    def epoch(carry, key):
        order = jax.random.permutation(key, len(labels)).reshape(batches, BATCH)
        carry, values = jax.lax.scan(update, carry, order)
        return carry, values.mean()

    keys = jax.random.split(jax.random.key(1), EPOCHS)
    (params, _), history = jax.lax.scan(epoch, (params, adam.init(params)), keys)
    return params, history


@jax.jit
def run(params, times):
    return net.apply({"params": params}, times)


def accuracy(params, times):
    return float((event.first_spike_class(run(params, times)) == test_labels).mean())


params, history = trained(variables["params"], times)
found = accuracy(params, test_times)
print(
    f"loss {history[0]:.4f} -> {history[-1]:.4f}; accuracy on 1000 points that it has not seen: {found:.1%}"
)
assert found > 0.9

# %% [markdown]
# How does the network divide the plane? The left picture shows its answers. The middle one shows how much earlier the
# first output fires than the second (its confidence, as a time). The right one shows the spikes of one sample.

# %%
grid = np.stack(np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40)), -1).reshape(-1, 2)
grid = grid[np.hypot(*(grid - 0.5).T) < 0.5]
answers = run(params, spikes_of(grid).times)
fired = jnp.sort(event.first_spikes(answers), -1)
margin = jnp.minimum(fired[:, 1], T_MAX) - fired[:, 0]

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
left.scatter(*grid.T, c=event.first_spike_class(answers), s=9)
left.set(aspect="equal", title="first to fire")
shown = middle.scatter(*grid.T, c=1e3 * margin, s=9, cmap="magma", vmax=3)
middle.set(aspect="equal", title="ms before the second")
fig.colorbar(shown, ax=middle)
once_seen = jax.jit(
    lambda p, t: net.apply({"params": p}, t, capture_intermediates=True, mutable=["intermediates"])
)
out, seen = once_seen(params, test_times[:1])
together = event.concatenated(seen["intermediates"]["layers_0"]["__call__"][0], out)
spikeplot.raster(together, ax=right, s=6)
right.set_title("60 hidden, 3 outputs (top)")
plt.show()

# %% [markdown]
# ## Exercises
#
# 1. What is the accuracy with only $x$ and $y$ and the bias, without the complements? (Train a new network.)
# 2. The answer is known as soon as one output fires. How long does the network need, on average?
# 3. A sensor is not exact. How much jitter of the input times does the network tolerate? Plot the accuracy over the
#    standard deviation of the jitter.
#
# ### Answers

# %%
# 1. Large values come late, and nothing says that they are missing: the network learns much less.
few = jnp.asarray([0, 1, 4])
lean, _ = trained(net.init(jax.random.key(0), times[:1, few])["params"], times[:, few])
print(f"exercise 1: {accuracy(lean, test_times[:, few]):.1%} with x and y alone")
assert accuracy(lean, test_times[:, few]) < found

# 2. About on_target, long before the simulation ends.
first = jnp.min(event.first_spikes(run(params, test_times)), -1)
first = jnp.mean(first[jnp.isfinite(first)])
print(f"exercise 2: {1e3 * first:.1f} ms of {1e3 * T_MAX:.0f} ms")
assert first < 7e-3

# 3. A tenth of a millisecond, a hundredth of the range of the input, costs little; a millisecond costs a lot.
noise, widths = (
    jax.random.normal(jax.random.key(2), test_times.shape),
    np.array([0, 0.05, 0.1, 0.2, 0.5, 1.0]),
)
right_of = [accuracy(params, jnp.maximum(test_times + 1e-3 * width * noise, 0)) for width in widths]
print("exercise 3:", [f"{width:g} ms: {value:.1%}" for width, value in zip(widths, right_of, strict=True)])
fig, ax = plt.subplots(figsize=(4, 2.4))
ax.plot(widths, right_of, "o-")
ax.set(xlabel="jitter (ms)", ylabel="accuracy")
assert right_of[2] > found - 0.1 and right_of[-1] < found
