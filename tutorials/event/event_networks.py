# %% [markdown]
# # Networks of events
#
# In a spiking network nothing happens most of the time. Between two spikes a leaky neuron follows a formula, so it is
# enough to compute *when it next reaches its threshold*. `snnax.event` does this: it has no time step, and it computes
# exact spike times and their gradients.
#
# In this notebook you will
# 1. see the closed form of one neuron, and the time at which it fires,
# 2. build a network of populations, with recurrence and delays, and draw its spikes,
# 3. check that a simulation with shorter and shorter time steps converges to this network,
# 4. choose a target time for a spike, and reach it by gradient descent.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from snnax import event, interop, spikeplot

# %% [markdown]
# ## 1. One neuron
#
# The neuron is a leaky integrator with an exponential synapse (NIR calls it `CubaLIF`):
#
# $$\tau_m \dot V = v_{leak} - V + I, \qquad \tau_s \dot I = -I.$$
#
# An input spike of weight $w$ changes the current: $I \leftarrow I + w$. Both equations are linear, so after a time $t$
# without input
#
# $$I(t) = e^{-t/\tau_s} I_0, \qquad V(t) - v_{leak} = e^{-t/\tau_m} (V_0 - v_{leak}) + \kappa(t)\, I_0, \qquad
# \kappa(t) = \frac{\tau_s}{\tau_m - \tau_s}\left(e^{-t/\tau_m} - e^{-t/\tau_s}\right).$$
#
# `event.flow` computes these two formulas. With $\tau_m = 2 \tau_s$ and $x = e^{-t/\tau_m}$ the condition $V(t) =
# v_{th}$ is a quadratic equation, which has a root in closed form; `event.first_crossing` solves it for this and for
# any other ratio.

# %%
neuron = event.LIFParameters(tau_mem=10e-3, tau_syn=5e-3, threshold=1.0)
current = jnp.array(6.0)  # an input of weight 6 has just arrived

time = np.linspace(0, 20e-3, 200)
voltage, _ = event.flow(jnp.zeros(200), jnp.full(200, current), jnp.asarray(time), neuron)
crossing = event.first_crossing(jnp.array(0.0), current, 20e-3, neuron)

fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(1e3 * time, voltage, label="V without a threshold")
ax.axhline(neuron.threshold, ls="--", color="grey")
ax.axvline(1e3 * crossing, color="tab:orange", label=f"fires at {1e3 * crossing:.3f} ms")
ax.set(xlabel="time (ms)", ylabel="voltage")
ax.legend()
plt.show()

# %% [markdown]
# ## 2. A network
#
# Spike trains are arrays `times[B, N, K]` (samples, neurons, spikes), in ascending order and padded with `inf`. The
# limit of `K` spikes makes the shape static. A neuron with more spikes is marked in `overflow`: nothing is lost
# silently.
#
# A `Network` consists of populations and projections between them, in any topology. Here a hidden population inhibits
# itself with a delay of 2 ms, and an output population gets its spikes.

# %%
draw = np.random.default_rng(0)
network = event.Network(
    [event.Population("hidden", 12, neuron), event.Population("out", 3, neuron)],
    [
        event.Projection("in", "hidden", jnp.asarray(draw.uniform(0.5, 3.0, (5, 12)))),
        event.Projection("hidden", "hidden", jnp.asarray(draw.uniform(-1.0, 0.0, (12, 12))), delay=2e-3),
        event.Projection("hidden", "out", jnp.asarray(draw.uniform(0.0, 0.8, (12, 3)))),
    ],
)
inputs = {"in": event.trains(jnp.asarray(draw.uniform(0, 15e-3, (1, 5, 2))))}
found = event.simulate(network, inputs, t_max=40e-3, max_spikes=16)

print(found.engines)
print("spikes:", {name: int(event.count(trains).sum()) for name, trains in found.trains.items()})
assert not any(bool(jnp.any(trains.overflow)) for trains in found.trains.values())
spikeplot.raster(found)
plt.show()

# %% [markdown]
# `found.engines` says how each population was computed. The output is a feed-forward layer, computed in one pass over
# its sorted inputs. The hidden population is in a cycle, and runs in an *event loop* that goes from each spike to the
# next.
#
# ## 3. The limit of time steps
#
# The same network can run in time steps of `dt`: then a spike happens at the end of its step, and is up to `dt` late.
# If both simulations are right, the error halves when `dt` is halved. `interop.crossvalidate_events` measures this with
# snnax's time-step engine and with the float64 reference simulator, and checks each spike of the shortest step against
# a bound.

# %%
report = interop.crossvalidate_events(network, inputs["in"], t_max=40e-3, steps=(1e-4, 5e-5, 2.5e-5))
print(report)

fig, ax = plt.subplots(figsize=(4.5, 2.8))
for engine, marker in (("dense", "o"), ("referee", "x")):
    steps = sorted({row.dt for row in report.rows})
    error = [np.mean([r.mean_error for r in report.rows if (r.engine, r.dt) == (engine, dt)]) for dt in steps]
    ax.loglog(steps, error, marker, label=f"{engine}, order {report.order[engine]:.2f}")
ax.loglog(steps, steps, "--", color="grey", label="error = dt")
ax.set(xlabel="dt (s)", ylabel="mean error of spike times (s)")
ax.legend()

assert report.agree
assert all(0.7 < order < 1.3 for order in report.order.values())

# %% [markdown]
# ## 4. A gradient of a spike time
#
# Spike times are differentiable functions of the weights: if $V(t^*, w) = v_{th}$, then
#
# $$\frac{\partial t^*}{\partial w} = - \frac{\partial V / \partial w}{\dot V(t^*)}.$$
#
# So we can choose a target time. We want a neuron with three inputs to fire its first spike at 8 ms, and minimize the
# squared distance to this time by gradient descent.

# %%
arrivals = event.trains(jnp.array([[0.0, 2e-3, 5e-3]]))
wish = 8e-3


def distance(weights):
    fired = event.first_spikes(event.lif_spikes(arrivals, weights, neuron, t_max=40e-3))[0, 0]
    return ((fired - wish) / 1e-3) ** 2, fired


step = jax.jit(jax.value_and_grad(distance, has_aux=True))
weights, path = jnp.full((3, 1), 3.0), []
for _ in range(60):
    (_, fired), slope = step(weights)
    path.append(float(fired))
    weights = weights - 0.05 * slope

print(f"fired at {1e3 * path[0]:.2f} ms, now at {1e3 * path[-1]:.4f} ms; weights {weights[:, 0]}")
assert abs(path[-1] - wish) < 1e-6

fig, ax = plt.subplots(figsize=(5, 2.4))
ax.plot(1e3 * np.array(path))
ax.axhline(1e3 * wish, ls="--", color="grey")
ax.set(xlabel="step", ylabel="first spike (ms)")
plt.show()

# %% [markdown]
# ## Exercises
#
# 1. Two inputs arrive at exactly the same time. Does their order in the array matter? Exchange them, and compare.
# 2. A neuron with `v_leak` above its threshold fires without any input. How often does it fire in 100 ms with
#    `v_leak=1.5`? Compute it first: from 0 it needs the time $\tau_m \log\frac{v_{leak}}{v_{leak} - v_{th}}$ to reach
#    the threshold.
# 3. Let the input axons have learned delays: pass `event.delayed(arrivals, delays)` in section 4, and use the gradient
#    with respect to the delays instead of the weights.
#
# ### Answers

# %%
# 1. It does not: at one time all weights are added before the voltage moves.
pair = jnp.array([[[3.0], [4.0]], [[4.0], [3.0]]])
both = event.trains(jnp.array([[1e-3, 1e-3]]))
one, other = (event.lif_spikes(both, w, neuron, t_max=40e-3).times[0, 0, 0] for w in pair)
print("exercise 1:", one, other)
assert one == other

# 2. The period is 10 ms * log 3 = 10.99 ms: nine spikes in 100 ms.
alone = event.LIFParameters(v_leak=1.5)
silent = event.trains(jnp.full((1, 1), jnp.inf))
own = event.lif_spikes(silent, jnp.ones((1, 1)), alone, t_max=0.1, max_spikes=12)
print("exercise 2:", int(event.count(own)[0, 0]), "spikes, the first at", own.times[0, 0, 0])
assert event.count(own)[0, 0] == 9
np.testing.assert_allclose(own.times[0, 0, 0], 10e-3 * np.log(3), rtol=1e-5)


# 3. The gradient of a delay is that of an input time.
@jax.jit
def late(delays):
    heard = event.delayed(arrivals, delays)
    return event.first_spikes(event.lif_spikes(heard, jnp.full((3, 1), 3.0), neuron, t_max=40e-3))[0, 0]


delays, slope_of = jnp.full(3, 1e-4), jax.jit(jax.grad(late))
for _ in range(200):
    delays = delays - 0.1 * (late(delays) - wish) * slope_of(delays)
print(f"exercise 3: with delays of {1e3 * delays} ms it fires at {1e3 * late(delays):.3f} ms")
assert abs(late(delays) - wish) < 1e-5
