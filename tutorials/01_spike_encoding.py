# %% [markdown]
# # 1. Spike encoding
#
# Spiking neurons exchange spikes, but data are numbers. There are three common ways to encode numbers as spikes: in the
# rate of spikes, in the time of one spike, and in the change from step to step.
#
# You will see
# 1. *rate coding*: a bright pixel fires often; how exactly does the rate give the brightness?
# 2. *latency coding*: a bright pixel fires early; a formula gives the time,
# 3. *delta modulation*: a spike for each change; how is the signal reconstructed from the spikes?
# 4. what each of them costs.
#
# It takes a few seconds on a CPU. It covers the subject of snnTorch's tutorial 1, with the same names.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

import snnax as snn
from snnax import spikegen
from snnax import spikeplot as splt

images, labels = snn.datasets.digits("test")  # 360 scans of handwritten digits, [N, 8, 8, 1], from 0 to 1
# MNIST from your disk, with torchvision: images, labels = map(np.stack, zip(*snn.datasets.from_torch(MNIST("data"))))
print(images.shape, "from", images.min(), "to", images.max())

# %% [markdown]
# ## 1. Rate coding
#
# Use the brightness $x \in [0, 1]$ of a pixel as the probability of a spike. Each time step is drawn independently:
#
# $$P(S_t = 1) = x .$$
#
# `spikegen.rate` does this for all pixels and all time steps. Time becomes the first axis. JAX draws random numbers
# from a key that you pass, so the same key gives the same spikes.

# %%
NUM_STEPS = 100

spikes = spikegen.rate(images[:3], num_steps=NUM_STEPS, key=jax.random.key(0))
print("spikes:", spikes.shape, "as [time, batch, height, width, channel]")

film = splt.animator(spikes[:20, 0, :, :, 0], *plt.subplots(figsize=(1.6, 1.6)), interval=120)
plt.close()  # or the last picture of the film is shown below it
HTML(film.to_jshtml())

# %% [markdown]
# A raster plot shows all pixels over time. Each row is one pixel of the first digit, and each dot is a spike.

# %%
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
splt.raster(spikes[:, 0].reshape(NUM_STEPS, 64), ax=ax, s=3, c="black")
ax.set(xlabel="time step", ylabel="pixel", title=f"a {labels[0]}: {int(spikes[:, 0].sum())} spikes")
plt.show()

# %% [markdown]
# ### How exact is a rate?
#
# The number of spikes in $T$ steps has a binomial distribution. Its mean and standard deviation are
#
# $$\mathrm{E}[N] = T x, \qquad \sigma = \sqrt{T x (1 - x)},$$
#
# so the rate $N / T$ differs from $x$ by about $\sqrt{x (1 - x) / T}$. For ten times the precision you need a hundred
# times as many steps. We check this with all 360 digits and three random keys: in a normal distribution, 99.7 % of the
# values lie within $3 \sigma$.

# %%
for seed in range(3):
    counts = np.asarray(spikegen.rate(images, num_steps=1000, key=jax.random.key(seed)).sum(0))
    sigma = np.sqrt(1000 * images * (1 - images))
    drawn = sigma > 0  # black and white pixels leave nothing to chance
    off = np.abs(counts - 1000 * images)[drawn] / sigma[drawn]
    total = (counts.sum() - 1000 * images.sum()) / np.sqrt((sigma**2).sum())
    print(
        f"within 3 sigma: {(off < 3).mean():.2%} of {drawn.sum()} pixels; all spikes together: {total:+.2f} sigma"
    )
    assert (off < 3).mean() > 0.99 and abs(total) < 3
    assert np.array_equal(counts[~drawn], 1000 * images[~drawn])

# %%
fig, axes = plt.subplots(1, 4, figsize=(7, 1.9), layout="constrained")
for ax, steps in zip(axes, (None, 5, 25, 100), strict=True):
    ax.imshow(
        images[0, ..., 0] if steps is None else spikes[:steps, 0, :, :, 0].mean(0),
        cmap="gray_r",
        vmin=0,
        vmax=1,
    )
    ax.set(title="the scan" if steps is None else f"rate after {steps}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## 2. Latency coding
#
# One spike is enough if its *time* means something. Imagine that each pixel charges the membrane of a leaky neuron with a
# constant current $x$. The membrane is $x\,(1 - e^{-t / \tau})$, approaches $x$, and crosses a threshold $\theta$ at
#
# $$t = \tau \ln \frac{x}{x - \theta}. \tag{1}$$
#
# Strong inputs fire early. Inputs below $\theta$ never reach the threshold. With `clip=True` they stay silent;
# otherwise they are treated as if they were just above $\theta$, and fire last.

# %%
TAU, THRESHOLD = 40.0, 0.1

early = spikegen.latency(images, num_steps=NUM_STEPS, tau=TAU, threshold=THRESHOLD, clip=True, bypass=True)
x = images[images > 1.1 * THRESHOLD].astype(float)
formula = TAU * np.log(x / (x - THRESHOLD))
times = np.asarray(early).argmax(0)[images > 1.1 * THRESHOLD]
within = formula < NUM_STEPS - 1
print(f"spikes from step {times.min()} to {times[within].max()}; largest distance from (1):", end=" ")
print(f"{np.abs(times - formula)[within].max():.3f} steps")
assert np.abs(times - formula)[within].max() <= 0.501  # times are rounded to whole steps
assert early.sum(0).max() == 1 and not early.sum(0)[images < THRESHOLD].any()

# %% [markdown]
# With $\tau = 40$ the brightest pixels, $x = 1$, fire after $40 \ln(1 / 0.9) = 4.2$ steps, and most other pixels soon
# after: by (1), a pixel with half the brightness fires after 8.9 steps. `normalize=True` scales the times so that an
# input just above $\theta$ fires in the last step. By (1) such an input fires very late, so the scaling moves all other
# spikes to the beginning. With `linear=True` the times are proportional to $1 - x$ instead, and spread evenly over all
# steps.

# %%
fig, axes = plt.subplots(3, 1, figsize=(7, 5.4), sharex=True, layout="constrained")
for ax, how in zip(axes, ({}, {"normalize": True}, {"normalize": True, "linear": True}), strict=True):
    code = spikegen.latency(
        images[0], num_steps=NUM_STEPS, tau=TAU, threshold=THRESHOLD, clip=True, bypass=True, **how
    )
    splt.raster(code.reshape(NUM_STEPS, 64), ax=ax, s=6, c="black")
    said = ", ".join(f"{name}=True" for name in how) or f"tau={TAU:g}, threshold={THRESHOLD:g}"
    ax.set(ylabel="pixel", title=f"{said}: {int(code.sum())} spikes", xlim=(-1, NUM_STEPS), ylim=(-1, 64))
axes[-1].set_xlabel("time step")
plt.show()

# %% [markdown]
# ## 3. Delta modulation
#
# Eyes and ears mostly report changes to the brain. A delta modulator sends a spike when its input has risen by a
# threshold $\theta$ since the last step, and with `off_spike=True` a negative one when it has fallen by as much:
#
# $$S_t = [x_t - x_{t-1} \ge \theta] - [x_t - x_{t-1} \le -\theta]. \tag{2}$$
#
# Our voltage comes from a converter with a resolution of 1/8. It changes slowly: in each step by one of these units or
# not at all.

# %%
UNIT = 0.125
time = np.arange(200)
smooth = 1.2 * np.sin(2 * np.pi * time / 110) + 0.4 * np.sin(2 * np.pi * time / 57 + 1)
voltage = (np.round(smooth / UNIT) * UNIT).astype(np.float32)
assert np.abs(np.diff(voltage)).max() == UNIT

changes = np.asarray(spikegen.delta(voltage, threshold=UNIT, padding=True, off_spike=True))

# %% [markdown]
# Nothing is lost: each spike stands for one unit up or down. So the sum of all spikes so far, times the unit, is the
# distance of the voltage from its initial value:
#
# $$x_t = x_0 + \theta \sum_{s \le t} S_s . \tag{3}$$

# %%
back = voltage[0] + UNIT * np.cumsum(changes)
assert np.array_equal(back, voltage)
print(f"{int(np.abs(changes).sum())} spikes for {len(voltage)} numbers; the sum is exactly the voltage")

# A threshold that is larger than most changes: (2) looks at one step only, and what is left out is lost.
coarse = np.asarray(spikegen.delta(smooth.astype(np.float32), threshold=0.08, padding=True, off_spike=True))
drifted = smooth[0] + 0.08 * np.cumsum(coarse)
print(f"smooth voltage, threshold 0.08: off by up to {np.abs(drifted - smooth).max():.2f}")
assert np.abs(drifted - smooth).max() > 5 * 0.08

fig, (top, middle, low) = plt.subplots(
    3, 1, figsize=(7, 4.6), sharex=True, height_ratios=(3, 1, 3), layout="constrained"
)
top.plot(time, voltage, lw=1.5, label="voltage")
top.plot(time, back, "--", lw=1.2, label="sum of the spikes")
for sign, colour in ((1, "tab:blue"), (-1, "tab:orange")):
    middle.eventplot(np.flatnonzero(changes == sign), lineoffsets=sign, linelengths=1.6, color=colour)
middle.set(yticks=[-1, 1], ylabel="spikes")
low.plot(time, smooth, lw=1.5, label="smooth voltage")
low.plot(time, drifted, "--", lw=1.2, label="sum of the spikes, threshold 0.08")
for ax in (top, low):
    ax.set(ylabel="voltage", ylim=(-1.9, 3.2 if ax is low else 2.4))
    ax.legend(frameon=False, ncols=2, loc="upper right")
low.set_xlabel("time step")
plt.show()

# %% [markdown]
# The lower panel shows a weakness of (2). A smooth voltage often changes by less than $\theta$ in a step. Then no spike
# is sent, even if many such steps add up to a large change. Real sensors therefore compare with the value at their
# *last event*, not with the last step. Tutorial 7 uses such a sensor.

# %% [markdown]
# ## 4. What a spike costs
#
# On neuromorphic chips each spike costs energy. The numbers of spikes for the 360 digits in 100 steps:

# %%
cost = {
    "rate": float(spikegen.rate(images, num_steps=NUM_STEPS, key=jax.random.key(0)).sum()) / len(images),
    "latency": float(early.sum()) / len(images),
}
for name, spent in cost.items():
    print(f"{name:8s} {spent:7.1f} spikes per digit")
assert cost["rate"] > 20 * cost["latency"]

# %% [markdown]
# Rate codes tolerate noise: one spike more or less matters little, and any network can read them. Latency codes need
# few spikes and are fast, but each spike matters. Only training a network shows which one is better for a task;
# training begins in tutorial 5.

# %% [markdown]
# ## Exercises
#
# 1. How many steps does a rate need so that a pixel of brightness 0.5 is known to within 0.01 (one standard deviation)? Check
#    by simulation.
# 2. Two pixels have brightness 0.5 and 0.55. With $\tau = 40$ and $\theta = 0.1$, how far apart are their spikes by (1)? For
#    which $\tau$ are they at least 5 steps apart?
# 3. Write a delta modulator that compares with its last event, as real sensors do, and reconstruct the smooth voltage
#    from its spikes. How large is the error now?
#
# ## Answers
#
# <details><summary>1</summary>
#
# $\sqrt{0.25 / T} = 0.01$ gives $T = 2500$.
#
# </details>
#
# <details><summary>2</summary>
#
# They are $40\,(\ln(0.5 / 0.4) - \ln(0.55 / 0.45)) = 0.90$ steps apart: after rounding they may fire in the same step.
# For 5 steps, $\tau$ has to be at least 222.
#
# </details>
#
# <details><summary>3</summary>
#
# The error never exceeds the threshold. The part of a change that was not sent remains in the difference to the last
# event, so nothing is lost permanently.
#
# </details>

# %% tags=["hide-cell"]
# 1. The standard deviation of the rate, over 4000 pixels of brightness 0.5.
grey = np.full(4000, 0.5, np.float32)
rates = spikegen.rate(grey, num_steps=2500, key=jax.random.key(5)).mean(0)
print(f"1. standard deviation after 2500 steps: {rates.std():.4f}")
assert abs(rates.std() - 0.01) < 0.001

# 2. Equation (1) twice.
apart = TAU * (np.log(0.5 / 0.4) - np.log(0.55 / 0.45))
print(f"2. {apart:.2f} steps apart; 5 steps for tau = {TAU * 5 / apart:.0f}")
assert round(apart, 2) == 0.90 and round(TAU * 5 / apart) == 222

# 3. A modulator with a memory of one number. It may send several spikes in a step.
last, sent = smooth[0], []
for value in smooth:
    number = np.trunc((value - last) / 0.08)
    last += 0.08 * number
    sent.append(number)
error = np.abs(smooth[0] + 0.08 * np.cumsum(sent) - smooth).max()
print(f"3. off by at most {error:.3f}, with {int(np.abs(sent).sum())} spikes")
assert error < 0.08
