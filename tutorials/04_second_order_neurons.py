# %% [markdown]
# # 4. Second-order neurons
#
# An input spike makes the membrane of `Leaky` jump. In `Synaptic` and `Alpha` the membrane rises and falls smoothly,
# and formulas give the time of its peak.
#
# You will see
# 1. the synaptic current: a second leaky equation before the membrane,
# 2. `snn.Synaptic`, its response to one spike, and the time of the peak,
# 3. `snn.Alpha`, a similar shape made of two exponentials, and how the two neurons are related,
# 4. what a smooth rise is good for.
#
# It takes a few seconds on a CPU. It covers the subject of snnTorch's tutorial 4. Tutorial 2 explains `Leaky`.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import snnax as snn
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. A current that lasts
#
# In `Leaky` an input spike is a current that flows for one time step. In a real synapse a spike opens ion channels,
# which then close one after the other. So the current starts immediately and then decays with its own time constant.
# This is a second leaky equation:
#
# $$\tau_{syn} \frac{\mathrm{d} I}{\mathrm{d} t} = -I + \text{input spikes}, \qquad
# \tau_{mem} \frac{\mathrm{d} U}{\mathrm{d} t} = -U + I .$$
#
# In time steps, with $\alpha = e^{-\Delta t / \tau_{syn}}$ and $\beta = e^{-\Delta t / \tau_{mem}}$ and the input $X_t$,
# which is a weight times a spike:
#
# $$I_t = \alpha\, I_{t-1} + X_t, \qquad U_t = \beta\, U_{t-1} + I_t - R_t\, \theta. \tag{1}$$
#
# This is `snn.Synaptic(alpha, beta)`. It has two states, `syn` and `mem`, and the loop passes both to the next step.

# %%
NUM_STEPS = 100
ALPHA, BETA = 0.9, 0.8

lif = snn.Synaptic(alpha=ALPHA, beta=BETA)
spk_in = np.zeros((NUM_STEPS, 1, 1), np.float32)
spk_in[[10, 40, 45, 50]] = 0.17  # four input spikes with weight 0.17

syn, mem = lif.reset_mem()
syn_rec, mem_rec, spk_rec = [], [], []
for step in range(NUM_STEPS):
    spk, syn, mem = lif(spk_in[step], syn, mem)
    syn_rec.append(syn)
    mem_rec.append(mem)
    spk_rec.append(spk)
syn_rec, mem_rec, spk_rec = (jnp.stack(rec)[:, 0] for rec in (syn_rec, mem_rec, spk_rec))

splt.panel(syn_rec, mem_rec, spk_rec)
plt.show()
assert int(spk_rec.sum()) == 1

# %% [markdown]
# The current jumps at each input spike. The membrane rises slowly and peaks some steps later. One input spike is not
# enough to make this neuron fire. Three spikes, five steps apart, are enough: part of the effect of the first two is
# still there when the third arrives.

# %% [markdown]
# ## 2. The response to one spike
#
# Let there be one input spike $X_0 = 1$, and a threshold that is not reached. Then $I_t = \alpha^t$, and the membrane is a
# geometric sum:
#
# $$U_t = \sum_{k=0}^{t} \beta^{t-k} \alpha^k = \frac{\alpha^{t+1} - \beta^{t+1}}{\alpha - \beta}. \tag{2}$$
#
# The peak is the first step $t$ after which the membrane no longer rises, $U_{t+1} \le U_t$. This means $(1 -
# \alpha)\,\alpha^{t+1} \ge (1 - \beta)\,\beta^{t+1}$, and so, for $\alpha > \beta$,
#
# $$t_{peak} = \left\lceil \frac{\ln\frac{1 - \beta}{1 - \alpha}}{\ln\frac{\alpha}{\beta}} \right\rceil - 1. \tag{3}$$
#
# (The brackets mean: rounded up. The same formula holds if $\alpha < \beta$, because exchanging $\alpha$ and $\beta$
# changes nothing.)
#
# Several neurons with different constants can run side by side as one layer: `alpha` and `beta` may be arrays.

# %%
pulse = np.zeros((NUM_STEPS, 1, 1), np.float32)
pulse[0] = 1.0


def response(neuron, width):
    """The membrane of a layer of ``width`` neurons after one input spike in step 0."""
    (_, *_, mem), _ = snn.unroll(neuron, {}, np.repeat(pulse, width, axis=2))
    return np.asarray(mem[:, 0])


free = {"threshold": 1e6, "init_hidden": True, "output": True}  # it never fires
alphas = np.array([0.5, 0.7, 0.85, 0.92, 0.96], np.float32)
found = response(snn.Synaptic(alpha=alphas, beta=np.full(5, 0.8, np.float32), **free), 5)

t = np.arange(NUM_STEPS)[:, None]
a, b = alphas.astype(float), 0.8
np.testing.assert_allclose(found, (a ** (t + 1) - b ** (t + 1)) / (a - b), rtol=1e-4, atol=1e-5)
peaks = np.ceil(np.log((1 - b) / (1 - a)) / np.log(a / b)) - 1
print("highest in step", found.argmax(0), "by formula (3):", peaks.astype(int))
np.testing.assert_array_equal(found.argmax(0), peaks)

fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for n, alpha in enumerate(alphas):
    (line,) = ax.plot(found[:, n], label=rf"$\alpha$ = {alpha:g}")
    ax.plot(peaks[n], found[int(peaks[n]), n], "o", color=line.get_color())
ax.set(xlabel="steps after the spike", ylabel="membrane", title=r"Synaptic, $\beta$ = 0.8", xlim=(-1, 50))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 3. The alpha neuron
#
# `snn.Alpha` makes a similar shape in a different way. Each input spike charges two currents with opposite signs.
# `syn_exc` decays with $\alpha$; `syn_inh` decays faster, with $\beta$. The membrane is their sum, times a factor:
#
# $$E_t = \alpha E_{t-1} + X_t, \qquad H_t = \beta H_{t-1} - X_t, \qquad
# U_t = \tau\,(E_t + H_t), \qquad \tau = 1 + \frac{\ln \alpha}{\ln \beta - \ln \alpha}.$$
#
# After one spike $X_0 = 1$ the membrane is
#
# $$U_t = \tau\,(\alpha^t - \beta^t). \tag{4}$$
#
# It starts at 0 in the step of the spike itself, and then rises. Compare (4) with (2): up to a factor, this is the
# membrane of `Synaptic` delayed by one step. So its peak comes one step later, too:
#
# $$t_{peak} = \left\lceil \frac{\ln\frac{1 - \beta}{1 - \alpha}}{\ln\frac{\alpha}{\beta}} \right\rceil. \tag{5}$$
#
# If $\alpha$ comes close to $\beta = e^{-1/\tau_{mem}}$, (4) becomes $\propto t\, e^{-t / \tau_{mem}}$. This is the
# *alpha function* of neuroscience, with its peak at $t = \tau_{mem}$. The neuron is named after it.

# %%
grid_a, grid_b = (v.ravel() for v in np.meshgrid(np.linspace(0.82, 0.97, 16), np.linspace(0.3, 0.8, 11)))
width = len(grid_a)
alpha_layer = snn.Alpha(alpha=grid_a.astype(np.float32), beta=grid_b.astype(np.float32), **free)
found = response(alpha_layer, width)
tau = 1 + np.log(grid_a) / (np.log(grid_b) - np.log(grid_a))
np.testing.assert_allclose(found, tau * (grid_a**t - grid_b**t), rtol=1e-3, atol=1e-5)

peaks = np.ceil(np.log((1 - grid_b) / (1 - grid_a)) / np.log(grid_a / grid_b)).astype(int)
measured = found.argmax(0)
height = found.max(0)
at_formula = found[peaks, np.arange(width)]
print(
    f"{width} pairs of alpha and beta: {np.mean(measured == peaks):.0%} of the peaks in the step of formula (5)"
)
np.testing.assert_allclose(
    at_formula, height, rtol=1e-5
)  # where two steps are equally high, either may be found

synaptic = snn.Synaptic(alpha=grid_a.astype(np.float32), beta=grid_b.astype(np.float32), **free)
np.testing.assert_allclose(
    found[1:], tau * (grid_a - grid_b) * response(synaptic, width)[:-1], rtol=1e-3, atol=1e-5
)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
one = {"Leaky(0.8)": snn.Leaky(0.8, **free), "Synaptic(0.9, 0.8)": snn.Synaptic(0.9, 0.8, **free)}
one["Alpha(0.9, 0.8)"] = snn.Alpha(0.9, 0.8, **free)
for name, neuron in one.items():
    mem = response(neuron, 1)[:, 0]
    left.plot(mem / mem.max(), label=name)
left.set(xlabel="steps after the spike", ylabel="membrane / its maximum", xlim=(-1, 45))
left.legend(frameon=False)
chart = peaks.reshape(11, 16)
extent = (0.815, 0.975, 0.275, 0.825)
shown = right.imshow(chart, origin="lower", aspect="auto", extent=extent, cmap="viridis")
right.set(xlabel=r"$\alpha$", ylabel=r"$\beta$", title="step of the peak of Alpha")
fig.colorbar(shown, ax=right)
plt.show()

# %% [markdown]
# ## 4. What it is good for
#
# A neuron whose membrane jumps fires in the step of an input spike, or not at all. A neuron whose membrane rises
# smoothly fires some steps later, and earlier for a stronger input. So it turns the strength of an input into a time.
# Here neurons of each kind get one input spike. Its weight grows from left to right, and its unit is the smallest
# weight that makes the neuron fire.

# %%
strengths = np.linspace(0.8, 4.0, 200, dtype=np.float32)
kinds = {"Leaky(0.8)": snn.Leaky(0.8, init_hidden=True)}
kinds["Synaptic(0.9, 0.8)"] = snn.Synaptic(0.9, 0.8, init_hidden=True)
kinds["Alpha(0.9, 0.8)"] = snn.Alpha(0.9, 0.8, init_hidden=True)
first = {}
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for (name, neuron), size in zip(kinds.items(), (9, 5, 3), strict=True):
    weights = strengths / response(one[name], 1).max()
    spk, _ = snn.unroll(neuron, {}, pulse * weights)
    spk = np.asarray(spk[:, 0])
    first[name] = np.where(spk.any(0), spk.argmax(0), np.nan)
    ax.plot(strengths, first[name], ".", ms=size, label=name)
ax.set(xlabel="weight of the input spike / smallest one that fires", ylabel="first spike in step")
ax.legend(frameon=False)
plt.show()
assert {*first["Leaky(0.8)"][np.isfinite(first["Leaky(0.8)"])]} == {0.0}
assert len({*first["Alpha(0.9, 0.8)"][np.isfinite(first["Alpha(0.9, 0.8)"])]}) >= 4

# %% [markdown]
# Which one should you use? `Leaky` has one state, is the fastest, and is enough when firing rates carry the
# information. A second state costs one more array, and is worth it when spike times matter. Most neuromorphic chips
# also compute neurons of this kind: in NIR, `Synaptic` in continuous time is called `CubaLIF`.
#
# Compared with snnTorch: the names, the arguments and the order of the states are the same, `spk, syn, mem = lif(x,
# syn, mem)` and `spk, syn_exc, syn_inh, mem = lif(x, syn_exc, syn_inh, mem)`. In networks, `init_hidden=True` and
# `unroll` work as for `Leaky`. `Alpha` resets to zero by default in both libraries; here it also takes
# `learn_alpha=True`.

# %% [markdown]
# ## Exercises
#
# 1. How large is the area under (2), that is, the sum of the membrane over all steps? Which weight must an input spike
#    have so that its area for `Synaptic(0.9, 0.8)` equals that of an input spike with weight 1 for `Leaky(0.8)`?
# 2. What is the smallest weight with which one input spike makes `Synaptic(0.9, 0.8)` fire? Use (2) and (3).
# 3. Two input spikes with weight 0.2 come $n$ steps apart. For which $n$ does `Synaptic(0.9, 0.8)` fire?
#
# ## Answers
#
# <details><summary>1</summary>
#
# The sum of (2) over $t$ is $\frac{1}{(1 - \alpha)(1 - \beta)}$: each of the two equations multiplies the area by
# $1 / (1 - \text{decay})$. For `Leaky(0.8)` it is $1 / (1 - \beta)$. So the weight is $1 - \alpha = 0.1$.
#
# </details>
#
# <details><summary>2</summary>
#
# The membrane is proportional to the weight $w$, and its peak has to be above the threshold: $w\,U_{t_{peak}} > 1$. By
# (3), $t_{peak} = 5$, and $w > (0.9 - 0.8) / (0.9^6 - 0.8^6) = 0.3713$.
#
# </details>
#
# <details><summary>3</summary>
#
# Each peak is $0.2 \cdot 2.69 = 0.54$, so two simultaneous spikes exceed 1. The peaks are broad, so a few steps may lie
# between the spikes: with up to 5 steps the sum still exceeds 1 at some time. The cell below checks it.
#
# </details>

# %% tags=["hide-cell"]
# 1.
area = response(snn.Synaptic(0.9, 0.8, **free), 1).sum() * 0.1
print("exercise 1:", area, "and", response(snn.Leaky(0.8, **free), 1).sum())
assert abs(area - 1 / (1 - 0.8)) < 1e-2

# 2.
needed = 0.1 / (0.9**6 - 0.8**6)
lif = snn.Synaptic(0.9, 0.8, init_hidden=True)
spk, _ = snn.unroll(lif, {}, pulse * np.array([0.999, 1.001], np.float32) * np.float32(needed))
print(f"exercise 2: {needed:.4f}; spikes just below and just above:", spk.sum((0, 1)))
np.testing.assert_array_equal(spk.sum((0, 1)) > 0, [False, True])

# 3.
pairs = np.zeros((NUM_STEPS, 1, 30), np.float32)
pairs[0] = 0.2
for n in range(30):
    pairs[n, 0, n] += 0.2
spk, _ = snn.unroll(lif, {}, pairs)
fires = np.flatnonzero(np.asarray(spk).any((0, 1)))
print("exercise 3: it fires for n =", fires)
assert fires[0] == 0 and np.all(np.diff(fires) == 1)
