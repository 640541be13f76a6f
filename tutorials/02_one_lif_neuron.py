# %% [markdown]
# # 2. One LIF neuron
#
# This tutorial follows a leaky integrate-and-fire neuron from its differential equation to its firing rate. It explains
# what `beta` and `threshold` mean, what a reset does, and how to compute the firing rate by a formula.
#
# You will see
# 1. how the equation of a leaky membrane becomes one line per time step,
# 2. how to run `snn.Leaky` step by step, and all steps at once,
# 3. the three ways to reset after a spike, side by side,
# 4. how often the neuron fires for a given current, by formula and by simulation.
#
# It takes a few seconds on a CPU. It covers the subject of snnTorch's tutorial 2, with the same names.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import snnax as snn
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. From an equation to a time step
#
# The membrane of a neuron is a capacitor $C$ with a leak, the resistor $R$. The current $I$ that flows into the cell
# charges the capacitor or leaves through the resistor:
#
# $$I = C \frac{\mathrm{d}U}{\mathrm{d}t} + \frac{U}{R}
# \qquad\Longrightarrow\qquad
# \tau \frac{\mathrm{d}U}{\mathrm{d}t} = -U + R I, \qquad \tau = RC .$$
#
# $U$ is the voltage above rest. If $I$ is constant for a time $\Delta t$, this has an exact solution: the voltage moves
# towards $R I$, and its distance to $R I$ shrinks by the factor $\beta$:
#
# $$U(t + \Delta t) = \beta\, U(t) + (1 - \beta)\, R I, \qquad \beta = e^{-\Delta t / \tau}.$$
#
# In a network the current is a weight times an input, and the weights are learned. A fixed factor $(1 - \beta) R$ can
# be absorbed into the weights, so it is left out. Time is counted in steps. This gives the membrane of `snn.Leaky`, the
# same as in snnTorch:
#
# $$U_t = \beta\, U_{t-1} + I_t .$$
#
# Without spikes and with a constant current, $U_t$ is a geometric sum:
#
# $$U_t = I\,(1 + \beta + \dots + \beta^{t-1}) = I\,\frac{1 - \beta^t}{1 - \beta}
# \;\longrightarrow\; U_\infty = \frac{I}{1 - \beta}. \tag{1}$$

# %% [markdown]
# ## 2. Step by step
#
# A neuron stores nothing between two calls. It takes the current and the membrane, and returns the spike and the new
# membrane. You write the loop over time, as in snnTorch. Shapes are `[batch, neurons]`; here both are 1.
#
# With $\beta = 0.8$ and $I = 0.15$ the membrane approaches $0.15 / 0.2 = 0.75$. This is below the threshold, which is 1
# by default, so there is no spike.

# %%
NUM_STEPS = 60

lif = snn.Leaky(beta=0.8)
current = np.zeros((NUM_STEPS, 1, 1), np.float32)
current[10:40] = 0.15  # on for 30 steps

mem = lif.reset_mem()
spk_rec, mem_rec = [], []
for step in range(NUM_STEPS):
    spk, mem = lif(current[step], mem)
    spk_rec.append(spk)
    mem_rec.append(mem)
spk_rec, mem_rec = jnp.stack(spk_rec), jnp.stack(mem_rec)
print("spikes and membranes:", spk_rec.shape, mem_rec.shape, "as [time, batch, neuron]")

splt.panel(current[:, 0], mem_rec[:, 0])
plt.show()

# %% [markdown]
# The membrane follows equation (1) while the current is on. When the current is off, the equation is $U_t = \beta
# U_{t-1}$: the membrane loses a fifth of its value in each step.

# %%
steps = np.arange(1, 31)
closed_form = 0.15 * (1 - 0.8**steps) / (1 - 0.8)
np.testing.assert_allclose(mem_rec[10:40, 0, 0], closed_form, rtol=1e-5)
np.testing.assert_allclose(mem_rec[40:, 0, 0], closed_form[-1] * 0.8 ** np.arange(1, 21), rtol=1e-5)
print(f"after 30 steps: {mem_rec[39, 0, 0]:.4f}; the steady state: {0.15 / (1 - 0.8):.4f}")
assert abs(mem_rec[39, 0, 0] - 0.75) < 1e-3

# %% [markdown]
# ### All steps at once
#
# A Python loop is good for inspecting each step. `snn.unroll` runs all steps as one compiled program. This is faster,
# and it is what training uses. For this the neuron has to manage its own membrane: `init_hidden=True`, again as in
# snnTorch. `output=True` makes it return the membrane together with the spikes. The second argument of `unroll` holds
# the variables of the network. Our neuron has no learned parameters, so they are empty.

# %%
kept = snn.Leaky(beta=0.8, init_hidden=True, output=True)
(spk_all, mem_all), _ = snn.unroll(kept, {}, current)
assert jnp.array_equal(spk_all, spk_rec)
np.testing.assert_allclose(mem_all, mem_rec, rtol=1e-6)

# %% [markdown]
# ### What `beta` does
#
# `beta` may be an array with one value for each neuron. Here four neurons get the same current. A neuron with a large
# `beta` remembers for longer: after about $\tau = -1 / \ln \beta$ steps, 37 % of the initial value is left.

# %%
betas = np.array([0.5, 0.8, 0.9, 0.95], np.float32)
# A threshold that is never reached.
four = snn.Leaky(beta=betas, threshold=10.0, init_hidden=True, output=True)
(_, mem_four), _ = snn.unroll(four, {}, np.repeat(current, 4, axis=2))

fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for n, beta in enumerate(betas):
    ax.plot(mem_four[:, 0, n], label=rf"$\beta$ = {beta:g}, $\tau$ = {-1 / np.log(beta):.1f} steps")
ax.axvspan(10, 40, color="0.94")
ax.set(xlabel="time step", ylabel="membrane", title="the current is on in the grey part")
ax.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# ## 3. Spikes and resets
#
# When the membrane is *above* the threshold $\theta$, the neuron fires:
#
# $$S_t = \begin{cases} 1 & U_t > \theta \\ 0 & \text{otherwise.} \end{cases}$$
#
# Then the membrane has to come down. There are three ways, chosen by `reset_mechanism`. With $R_t = [U_{t-1} > \theta]$,
# which is 1 in the step after a spike,
#
# | `reset_mechanism` | membrane | meaning |
# |---|---|---|
# | `"subtract"` (the default) | $U_t = \beta U_{t-1} + I_t - R_t\,\theta$ | what was above the threshold is kept |
# | `"zero"` | $U_t = \beta\,(1 - R_t)\,U_{t-1} + I_t$ | the past is forgotten |
# | `"none"` | $U_t = \beta U_{t-1} + I_t$ | nothing happens |
#
# The reset acts in the step *after* the spike. So in the plots the membrane is above the threshold in the step in which
# it fires. snnTorch uses the same order; with `reset_delay=False` the reset acts in the step of the spike itself.

# %%
current = np.zeros((NUM_STEPS, 1, 1), np.float32)
current[5:] = 0.45

fig, axes = plt.subplots(3, 1, figsize=(7, 5.2), sharex=True, layout="constrained")
counts = {}
for ax, reset in zip(axes, ["subtract", "zero", "none"], strict=True):
    lif = snn.Leaky(beta=0.9, reset_mechanism=reset, init_hidden=True, output=True)
    (spk, mem), _ = snn.unroll(lif, {}, current)
    counts[reset] = int(spk.sum())
    ax.plot(mem[:, 0, 0])
    ax.axhline(1, ls="--", lw=0.8, color="0.5")
    ax.margins(y=0.25)
    above = ax.get_xaxis_transform()  # spikes are drawn at the top of the panel
    ax.eventplot(np.flatnonzero(spk), lineoffsets=0.93, linelengths=0.1, color="black", transform=above)
    ax.set(ylabel="membrane", title=f'reset_mechanism="{reset}": {counts[reset]} spikes')
axes[-1].set_xlabel("time step")
plt.show()
assert counts["none"] > counts["subtract"] > counts["zero"]

# %% [markdown]
# Subtraction keeps the part of the membrane above the threshold. So the neuron fires a little more often than with a
# reset to zero, and its average rate represents the current more exactly. Without a reset the neuron is just a filter
# followed by a threshold.

# %% [markdown]
# ## 4. How often does it fire?
#
# The *f-I curve* shows the firing rate as a function of a constant current. For the reset to zero there is a formula.
# Let the reset act in step 1. Then $U_1 = I$. Equation (1) starts from 0 as well, so $U_k = I (1 - \beta^k) / (1 -
# \beta)$. The neuron fires again in the first step $k$ with $U_k > \theta$:
#
# $$I\,\frac{1 - \beta^k}{1 - \beta} > \theta
# \quad\Longleftrightarrow\quad
# k > \frac{\ln\left(1 - \theta\,(1 - \beta) / I\right)}{\ln \beta} =: k_0 .$$
#
# The smallest whole number above $k_0$ is the time between two spikes, so the rate, in spikes per step, is
#
# $$f(I) = \frac{1}{\lfloor k_0 \rfloor + 1} \quad\text{for } I > \theta\,(1 - \beta), \qquad
# f(I) = 0 \quad\text{else.} \tag{2}$$
#
# The smallest current that makes it fire, $\theta (1 - \beta)$, is called *rheobase*. In continuous time the time
# between spikes would be exactly $k_0$. Rounding it up to a whole number is the error of the discrete time step.
#
# We check (2) with 150 neurons, each with a current of its own. They run side by side as one layer.

# %%
BETA, THRESHOLD, LONG = 0.9, 1.0, 600
currents = np.linspace(0.02, 0.83, 150, dtype=np.float32)


def rates(reset):
    """Spikes per step of each neuron, over whole periods: from the first spike to the last."""
    layer = snn.Leaky(beta=BETA, threshold=THRESHOLD, reset_mechanism=reset, init_hidden=True, output=True)
    (spk, _), _ = snn.unroll(layer, {}, currents[None], num_steps=LONG)  # the same input in each step
    spk = np.asarray(spk[:, 0])
    first, last = spk.argmax(0), LONG - 1 - spk[::-1].argmax(0)
    return np.where(spk.sum(0) > 1, (spk.sum(0) - 1) / np.maximum(last - first, 1), 0.0)


measured = rates("zero")
fires = currents > THRESHOLD * (1 - BETA)
k0 = np.log(1 - THRESHOLD * (1 - BETA) / currents[fires].astype(float)) / np.log(BETA)
formula = np.zeros(len(currents))
formula[fires] = 1 / (np.floor(k0) + 1)
print("largest difference between formula and simulation:", np.abs(measured - formula).max())
np.testing.assert_allclose(measured, formula, atol=1e-12)

fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.plot(currents, measured, ".", ms=5, label='simulated, "zero"')
ax.step(currents, formula, where="mid", lw=1, label="equation (2)")
ax.plot(currents[fires], 1 / k0, "--", lw=1, label=r"continuous time, $1/k_0$")
ax.plot(currents, rates("subtract"), lw=1, label='simulated, "subtract"')
ax.axvline(THRESHOLD * (1 - BETA), color="0.7", lw=0.8)
ax.annotate("rheobase", (THRESHOLD * (1 - BETA), 0.9), (4, 0), textcoords="offset points", color="0.4")
ax.set(xlabel="current", ylabel="spikes per step", ylim=(0, 1))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The curve has steps because the time between spikes is a whole number: with a reset to zero, the neuron can fire in
# every second, third or fourth step, but not in between. With subtraction the remainder above the threshold counts
# towards the next spike, and the curve is smooth.

# %% [markdown]
# ## In physical units
#
# If one step lasts $\Delta t$ = 1 ms and the membrane has $\tau$ = 20 ms, then $\beta = e^{-1/20} \approx 0.951$.
# `snn.Lapicque` takes a resistance, a capacitance and a time step instead of `beta`. It uses the approximation $\beta
# \approx 1 - \Delta t / RC$, as in snnTorch. `snn.LIF` is the neuron of the exchange format NIR; its times are in
# seconds.
#
# Compared with snnTorch: `beta`, `threshold`, `reset_mechanism`, `init_hidden`, `output` and the order of operations are
# the same. Two things differ: the neuron object never stores a membrane (with `init_hidden=True` the membrane is part
# of the variables that you hold), and `unroll` replaces the loop.

# %% [markdown]
# ## Exercises
#
# 1. A membrane with `beta=0.9` was charged to 0.5 and gets no more current. After how many steps is it below 0.05? Work
#    it out, then run it.
# 2. Without a leak (`beta=1`) and with subtraction the neuron counts. What is its firing rate for a current $I < \theta$?
# 3. With subtraction and a leak there is no formula like (2). But there is a balance: on average, what flows in must
#    flow out. Take the mean of both sides of $U_t = \beta U_{t-1} + I - R_t \theta$ over a long time, and find the rate
#    from the current and the mean membrane. Check it.
#
# ## Answers
#
# <details><summary>1</summary>
#
# $0.5 \cdot 0.9^t < 0.05$ for $t > \ln 0.1 / \ln 0.9 = 21.85$, so after 22 steps.
#
# </details>
#
# <details><summary>2</summary>
#
# Each spike takes away $\theta$, each step adds $I$, and nothing is lost: $f = I / \theta$. The neuron converts a
# number to a spike rate, and the error does not grow with time.
#
# </details>
#
# <details><summary>3</summary>
#
# Over a long time the means of $U_t$ and $U_{t-1}$ are the same, $\bar U$, and the mean of $R_t$ is $f$. So
# $\bar U = \beta \bar U + I - f \theta$, and $f = (I - (1 - \beta) \bar U) / \theta$: the current, less what leaks away.
#
# </details>

# %% tags=["hide-cell"]
# 1.
silence = np.zeros((30, 1, 1), np.float32)
start = {"hidden": {"mem": jnp.full((1, 1), 0.5)}}
(_, mem), _ = snn.unroll(snn.Leaky(beta=0.9, init_hidden=True, output=True), start, silence)
below = int(np.argmax(mem[:, 0, 0] < 0.05)) + 1
print("exercise 1:", below, "steps")
assert below == 22

# 2.
counter = snn.Leaky(beta=1.0, init_hidden=True, output=True)
(spk, _), _ = snn.unroll(counter, {}, jnp.array([[0.125, 0.25, 0.625]]), num_steps=800)
print("exercise 2:", spk.mean((0, 1)))
np.testing.assert_allclose(spk.mean((0, 1)), [0.125, 0.25, 0.625], atol=2 / 800)

# 3.
leaky = snn.Leaky(beta=0.9, init_hidden=True, output=True)
(spk, mem), _ = snn.unroll(leaky, {}, jnp.array([[0.15, 0.3, 0.6]]), num_steps=4000)
balance = (jnp.array([0.15, 0.3, 0.6]) - (1 - 0.9) * mem.mean((0, 1))) / 1.0
print("exercise 3:", spk.mean((0, 1)), "by balance:", balance)
np.testing.assert_allclose(spk.mean((0, 1)), balance, atol=1e-3)
