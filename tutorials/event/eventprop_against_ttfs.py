# %% [markdown]
# # EventProp against first spikes
#
# With one spike per neuron, the gradient of a spike time is a simple formula. With several spikes, each spike resets
# its neuron, so a change of the first spike moves all later ones. *EventProp* (Wunderlich and Pehle, 2021) computes the
# exact gradient in this case. It is an adjoint system that runs backwards in time, jumps at spikes, and needs only the
# spikes. Its memory grows with the number of spikes, and not with the duration.
#
# You will
# 1. see the adjoint equations, and compute them by hand for one neuron,
# 2. see that with one spike both gradients are the same,
# 3. train the same task with one spike and with several, and compare accuracy, spikes and time,
# 4. see how a surrogate gradient differs.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from snnax import event
from snnax.datasets import yin_yang

T_MAX = 20e-3

# %% [markdown]
# ## 1. The adjoint
#
# Let $g_k = \partial \ell / \partial s_k$ be the derivative of a loss with respect to the time of the $k$-th spike of a
# neuron. The adjoint of the voltage $\lambda_V$ and of the current $\lambda_I$ start at 0 at the end and follow,
# backwards in time,
#
# $$\tau_m \lambda_V' = -\lambda_V, \qquad \tau_s \lambda_I' = -\lambda_I + \lambda_V .$$
#
# At a spike of the neuron, with $I$ its current then,
#
# $$\lambda_V \leftarrow \lambda_V + \frac{g_k + (v_{th} - v_{reset})\, \lambda_V}{I + v_{leak} - v_{th}},$$
#
# where $I + v_{leak} - v_{th} = \tau_m \dot V(s_k^-)$; and an input spike of weight $w$ takes
#
# $$\frac{\partial \ell}{\partial w} \mathrel{-}= \tau_s \lambda_I, \qquad g_i \mathrel{+}= w\, (\lambda_V - \lambda_I)$$
#
# and $g_i$ is passed to the neuron that sent the spike. Between events both equations have closed forms. Here we
# compute them for one neuron with three inputs, and compare the result with the gradient of the library.

# %%
several = event.LIFParameters(v_reset=-0.2)
arrivals, weights = np.array([0.0, 3e-3, 6e-3]), np.array([6.0, 5.0, 7.0])


def by_hand(spikes, wanted, neuron):
    """dl/dw of l = sum_k wanted_k s_k, backwards from spike to spike."""
    tau_m, tau_s = neuron.tau_mem, neuron.tau_syn
    current = [np.sum(weights * np.exp(-(s - arrivals) / tau_s) * (arrivals < s)) for s in spikes]
    events = [(s, "own", k) for k, s in enumerate(spikes)] + [(t, "in", i) for i, t in enumerate(arrivals)]
    lam_v = lam_i = 0.0
    slope, now = np.zeros(3), T_MAX
    for at, kind, number in sorted(events, reverse=True):
        passed = now - at
        # lambda_I follows lambda_V as V follows I: with the constants exchanged
        ratio = tau_m / (tau_m - tau_s)
        decayed_m, decayed_s = np.exp(-passed / tau_m), np.exp(-passed / tau_s)
        lam_i = lam_i * decayed_s + lam_v * ratio * (decayed_m - decayed_s)
        lam_v, now = lam_v * decayed_m, at
        if kind == "own":
            drop = neuron.threshold - neuron.v_reset
            lam_v += (wanted[number] + drop * lam_v) / (current[number] + neuron.v_leak - neuron.threshold)
        else:
            slope[number] -= tau_s * lam_i
    return slope


with jax.enable_x64(True):
    heard = event.trains(jnp.asarray(arrivals[None]))

    def fired(w):
        return event.lif_spikes(heard, w[:, None], several, t_max=T_MAX, max_spikes=8).times[0, 0]

    spikes = np.asarray(jax.jit(fired)(jnp.asarray(weights)))
    spikes = spikes[np.isfinite(spikes)]
    wanted = np.arange(1.0, len(spikes) + 1)
    library = jax.jit(jax.grad(lambda w: jnp.sum(fired(w)[: len(spikes)] * wanted)))(jnp.asarray(weights))
hand = by_hand(spikes, wanted, several)
print(f"{len(spikes)} spikes at {np.round(1e3 * spikes, 3)} ms")
print("by hand", hand, "\nlibrary", np.asarray(library))
np.testing.assert_allclose(hand, library, rtol=1e-9)

# %% [markdown]
# A change of a weight moves the first spike, and this moves the later spikes as well. The picture shows how each spike
# moves with the first weight: the reset passes the shift on.

# %%
with jax.enable_x64(True):
    shifts = np.asarray(jax.jit(jax.jacrev(fired))(jnp.asarray(weights)))[: len(spikes), 0]
fig, ax = plt.subplots(figsize=(5, 2.4))
ax.stem(1e3 * spikes, 1e3 * shifts)
ax.set(xlabel="spike at (ms)", ylabel="ms for each unit of $w_1$")
plt.show()

# %% [markdown]
# ## 2. With one spike both are the same
#
# If there is only one spike, nothing comes after it, and $\lambda_V$ is 0 when the backward pass reaches it. The jump
# is then $g / \tau_m \dot V$, the formula of the implicit function theorem. The engine for neurons that fire once and
# the engine for several spikes give the same value.

# %%
once = event.LIFParameters(refractory=float("inf"))


def slope_of(neuron, budget):
    def first(w):
        return event.lif_spikes(heard, w[:, None], neuron, t_max=T_MAX, max_spikes=budget).times[0, 0, 0]

    return jax.jit(jax.grad(first))(jnp.asarray(weights))


with jax.enable_x64(True):
    ttfs, prop = slope_of(once, 1), slope_of(several, 8)
print(ttfs, prop)
np.testing.assert_allclose(ttfs, prop, rtol=1e-12)

# %% [markdown]
# ## 3. The same task, one spike or several
#
# The task is Yin-Yang, as in the previous notebook. The 60 hidden neurons fire either once, or up to four times. The
# outputs fire once. Everything else is the same, including the initial weights.

# %%
LATE, BATCH, EPOCHS = 10e-3, 50, 40


def spikes_of(points):
    both = np.concatenate([points, 1 - points], 1)
    return event.biased(event.latency_code(jnp.asarray(both), LATE, largest_first=False)).times


points, labels = yin_yang(1000, seed=0)
test_points, test_labels = yin_yang(500, seed=1)
times, test_times, classes = spikes_of(points), spikes_of(test_points), jnp.asarray(labels, jnp.int32)
batches = len(labels) // BATCH
loss = event.target_time_loss(on_target=4.5e-3, off_target=5.5e-3, silent=T_MAX, unit=10e-3)


def experiment(hidden, budget):
    """Train; return the history of the loss, accuracy, hidden spikes of a sample, and CPU seconds of an epoch."""
    draw = event.firing_normal(once, gain=1.9, spread=0.45)
    out = event.LIF(3, T_MAX, once, weight_init=event.firing_normal(once, gain=15.0, spread=2.2))
    net = event.Sequential([event.LIF(60, T_MAX, hidden, max_spikes=budget, weight_init=draw), out])
    adam = optax.adam(lambda step: 5e-3 * (1 + jnp.cos(jnp.pi * step / (EPOCHS * batches))))

    def cost(params, times, labels):
        return loss(net.apply({"params": params}, times), labels)

    @jax.jit
    def epoch(carry, key):
        def update(carry, chosen):
            params, state = carry
            value, slope = jax.value_and_grad(cost)(params, times[chosen], classes[chosen])
            change, state = adam.update(slope, state)
            return (optax.apply_updates(params, change), state), value

        order = jax.random.permutation(key, len(labels)).reshape(batches, BATCH)
        carry, values = jax.lax.scan(update, carry, order)
        return carry, values.mean()

    @jax.jit
    def spikes_of_layers(params):
        found, seen = net.apply(
            {"params": params}, test_times, capture_intermediates=True, mutable=["intermediates"]
        )
        return seen["intermediates"]["layers_0"]["__call__"][0], found

    params, history = net.init(jax.random.key(0), times[:1])["params"], []
    carry = params, adam.init(params)
    for number in range(EPOCHS):
        if number == 1:  # without what it took to compile
            start = time.process_time()
        carry, value = epoch(carry, jax.random.key(number))
        history.append(float(value))
    seconds = (time.process_time() - start) / (EPOCHS - 1)
    inner, found = spikes_of_layers(carry[0])
    accuracy = float((event.first_spike_class(found) == test_labels).mean())
    return np.array(history), accuracy, float(event.count(inner).sum(1).mean()), seconds


results = {"one spike": experiment(once, 1), "up to four": experiment(event.LIFParameters(), 4)}
fig, ax = plt.subplots(figsize=(5, 2.8))
for name, (history, accuracy, fired, seconds) in results.items():
    print(f"{name}: {accuracy:.1%}, {fired:.0f} hidden spikes a sample, {seconds:.2f} CPU s an epoch")
    ax.semilogy(history, label=f"{name}, {accuracy:.1%}")
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
assert min(accuracy for _, accuracy, _, _ in results.values()) > 0.8
assert results["up to four"][2] > results["one spike"][2]

# %% [markdown]
# Several spikes need more computing time (more events, and a loop over the spikes of an interval), but carry more
# information. Which is better depends on the task; here one spike is enough.
#
# ## 4. The surrogate gradient
#
# In time steps a spike is a jump, with a derivative that is 0 almost everywhere; a *surrogate gradient* replaces this
# derivative by a smooth bump. EventProp needs no surrogate, because it differentiates the time of a spike and not
# whether it exists. But it gives no gradient to a silent neuron, which has no spikes. This is why the initial weights
# are large, and why there is `event.silence`: it is the distance of the highest voltage of a silent neuron from its
# threshold.

# %%
quiet, same = jnp.array([[0.5], [0.5], [0.5]]), event.trains(jnp.asarray(arrivals[None]))
asleep = event.lif_spikes(same, quiet, once, t_max=T_MAX)
print("spike:", asleep.times[0, 0, 0])


def lacking(w):
    spikes = event.lif_spikes(same, w, once, t_max=T_MAX)
    return event.silence(same, w, spikes, once, t_max=T_MAX)


print("it lacks", jax.jit(lacking)(quiet), "and would learn by", jax.jit(jax.grad(lacking))(quiet)[:, 0])
awake, slope_of_lack = quiet, jax.jit(jax.grad(lacking))
for _ in range(100):
    awake = awake - 2.0 * slope_of_lack(awake)
fires = event.lif_spikes(same, awake, once, t_max=T_MAX).times[0, 0, 0]
print("awake, it fires at", fires)
assert jnp.isfinite(fires)

# %% [markdown]
# ## Exercises
#
# 1. Leave out the term $(v_{th} - v_{reset})\, \lambda_V$ in `by_hand`. For which number of spikes is the result still
#    right?
# 2. Compute $\partial \ell / \partial t_i$, the gradient of the input times, by hand: extend `by_hand` by $g_i = w
#    (\lambda_V - \lambda_I)$, and compare with `jax.grad`.
# 3. Where is EventProp's gradient large? Show that it grows without bound when the peak of the voltage comes close to
#    the threshold.
#
# ### Answers

# %%
# 1. For one: with the wish for the first spike alone nothing after it matters.
no_drop = event.LIFParameters(v_reset=0.999999)  # the threshold minus nothing
assert np.allclose(by_hand(spikes[:1], [1.0], several), by_hand(spikes[:1], [1.0], no_drop), rtol=1e-4)
wrong = by_hand(spikes, wanted, no_drop)
print("exercise 1: off by", np.abs(wrong / hand - 1).max())
assert np.abs(wrong / hand - 1).max() > 0.01


# 2. The same recursion, with one more line where an input is met.
def by_hand_of_times(spikes, wanted, neuron):
    tau_m, tau_s = neuron.tau_mem, neuron.tau_syn
    current = [np.sum(weights * np.exp(-(s - arrivals) / tau_s) * (arrivals < s)) for s in spikes]
    events = [(s, "own", k) for k, s in enumerate(spikes)] + [(t, "in", i) for i, t in enumerate(arrivals)]
    lam_v = lam_i = 0.0
    slope, now = np.zeros(3), T_MAX
    for at, kind, number in sorted(events, reverse=True):
        decayed_m, decayed_s = np.exp(-(now - at) / tau_m), np.exp(-(now - at) / tau_s)
        lam_i = lam_i * decayed_s + lam_v * tau_m / (tau_m - tau_s) * (decayed_m - decayed_s)
        lam_v, now = lam_v * decayed_m, at
        if kind == "own":
            drop = neuron.threshold - neuron.v_reset
            lam_v += (wanted[number] + drop * lam_v) / (current[number] + neuron.v_leak - neuron.threshold)
        else:
            slope[number] = weights[number] * (lam_v - lam_i)
    return slope


with jax.enable_x64(True):

    def of_times(t):
        w = jnp.asarray(weights)[:, None]
        found = event.lif_spikes(event.trains(t[None]), w, several, t_max=T_MAX, max_spikes=8)
        return jnp.sum(found.times[0, 0, : len(spikes)] * wanted)

    exact = jax.jit(jax.grad(of_times))(jnp.asarray(arrivals))
print("exercise 2:", by_hand_of_times(spikes, wanted, several), np.asarray(exact))
np.testing.assert_allclose(by_hand_of_times(spikes, wanted, several), exact, rtol=1e-8)

# 3. One input of weight w has its peak at w / 4: the slope at the crossing vanishes as w comes down to 4.
with jax.enable_x64(True):
    one = event.trains(jnp.zeros((1, 1)))
    steepness = jax.jit(
        jax.grad(lambda w: event.lif_spikes(one, w[None, None], once, t_max=T_MAX).times[0, 0, 0])
    )
    for w in (5.0, 4.1, 4.001, 4.00001):
        steep = steepness(jnp.asarray(w))
        print(f"exercise 3: w = {w}: dt/dw = {1e3 * steep:.2f} ms")
    assert abs(steep) > 0.1
