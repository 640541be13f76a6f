# %% [markdown]
# # 12. State-space, parallel and delta neurons
#
# A neuron that is never reset does not have to wait for its own spikes, so all of its time steps can be computed at once.
#
# You will see
# 1. `StateLeaky`, a leaky neuron without reset, and why it is a filter,
# 2. all time steps in one call, with the same spikes and gradients as step by step,
# 3. how steps that depend on each other can be computed in parallel, and how long each method takes,
# 4. `AssociativeLeaky`, whose input decides what to keep and what to forget,
# 5. `LeakyParallel`, whose membrane is never negative,
# 6. `DeltaLeaky`, which fires when its membrane changes.
#
# It takes about 20 seconds on a CPU. snnTorch has these neurons, too.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import snnax as snn
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. A neuron without reset is a filter
#
# A leaky neuron subtracts its threshold from its membrane after each spike:
#
# $$U_t = \beta\, U_{t-1} + I_t - \theta\, S_{t-1}, \qquad S_{t-1} = [U_{t-1} > \theta]. \tag{1}$$
#
# To compute $U_t$ you need to know whether the neuron fired at $t-1$. For this you need $U_{t-1}$, and so on. So the
# steps can only be computed one after the other. Now leave the reset out, and call the decay per step $a$:
#
# $$U_t = a\, U_{t-1} + I_t = \sum_{k=0}^{t} a^k\, I_{t-k}. \tag{2}$$
#
# This is a weighted sum of all inputs so far: a filter. $a^k$ is its *impulse response*, the part of an input that is
# left after $k$ steps. `StateLeaky` is this neuron. Note that its decay is $a = e^{-(1-\beta)}$, not $\beta$ (exercise
# 1). One call takes the whole sequence `[T, B, N]`.

# %%
BETAS = np.array([0.5, 0.9, 0.98])
lif = snn.StateLeaky(beta=BETAS, channels=3)

impulse = np.zeros((60, 1, 3), np.float32)
impulse[0] = 1
_, response = lif(impulse)
k = np.arange(60)[:, None]
np.testing.assert_allclose(response[:, 0], np.exp(-k * (1 - BETAS)), rtol=1e-4)

rng = np.random.default_rng(0)
noise = rng.normal(0.1, 0.5, (200, 1, 1)).astype(np.float32)
spk, mem = lif(np.tile(noise, 3))

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=(2, 3), layout="constrained")
for n, beta in enumerate(BETAS):
    left.plot(response[:, 0, n], "o", ms=3, color=f"C{n}", label=f"beta={beta}")
    left.plot(k, np.exp(-k * (1 - beta)), lw=0.8, color=f"C{n}")
    right.plot(mem[:, 0, n], lw=1.2, color=f"C{n}")
right.plot(noise[:, 0, 0], lw=0.5, color="0.6", zorder=0)
right.axhline(1, ls=":", lw=1, color="black")
left.set(xlabel="step after the impulse", title="response to one impulse")
left.legend(frameon=False)
right.set(xlabel="time step", title="noise (grey) and the membranes that it drives")
plt.show()

# %% [markdown]
# The dots are the neuron, the lines are the formula. With a slower decay, the filtered noise is smoother and larger.
# Since there is no reset, a neuron fires in *each* step in which its membrane is above the threshold (dotted).

# %% [markdown]
# ## 2. Parallel equals stepwise
#
# With `init_hidden=True` the same neuron takes one step at a time and keeps its state, like all neurons of the other
# tutorials. `unroll` runs it, so you can use it in a network together with neurons that have a reset, or on a stream
# that never ends. We give both versions the same noise.

# %%
STEPS, BATCH, CHANNELS = 400, 8, 32
x = rng.normal(0.1, 0.5, (STEPS, BATCH, CHANNELS)).astype(np.float32)
at_once = snn.StateLeaky(beta=0.9, channels=CHANNELS)
stepwise = snn.StateLeaky(beta=0.9, channels=CHANNELS, init_hidden=True)

spk_once, mem_once = at_once(x)
(spk_step, mem_step), _ = snn.unroll(stepwise, {}, x)
np.testing.assert_allclose(mem_once, mem_step, rtol=1e-5, atol=1e-5)


def same_spikes(one, other, mem, threshold=1.0):
    """The number of spikes; where two runs differ, the membrane must be at the threshold but for rounding."""
    there = np.asarray(one) != np.asarray(other)
    assert np.all(np.abs(np.asarray(mem)[there] - threshold) < 1e-4)
    return f"{int(np.sum(one))} spikes, {there.sum()} differ"


print(same_spikes(spk_once, spk_step, mem_once))

# %% [markdown]
# A sum that is computed in a different order is rounded differently, in the seventh digit. This is the only difference
# that we allow. The gradients are equal, too. Here we compare the gradient of the weighted spikes with respect to all
# inputs:

# %%
weights = rng.normal(size=x.shape).astype(np.float32)
by_once = jax.grad(lambda x: jnp.sum(weights * at_once(x)[0]))(x)
by_step = jax.grad(lambda x: jnp.sum(weights * snn.unroll(stepwise, {}, x)[0][0]))(x)
np.testing.assert_allclose(by_once, by_step, rtol=1e-3, atol=1e-4)
print(
    f"largest gradient {jnp.abs(by_once).max():.2f}, largest difference {jnp.abs(by_once - by_step).max():.1e}"
)

# %% [markdown]
# ## 3. In parallel
#
# How can steps be computed in parallel if each needs the one before? Two steps in a row can be combined into one larger
# step. First $U \mapsto a_1 U + I_1$ and then $U \mapsto a_2 U + I_2$ gives
#
# $$(a_1, I_1) \circ (a_2, I_2) = (a_1 a_2,\; a_2 I_1 + I_2), \tag{3}$$
#
# which is again a decay and an input. So combine steps 1 and 2, and at the same time 3 and 4, 5 and 6, and so on; then
# combine the pairs, then the groups of four. After about $\log_2 T$ rounds everything is done: 12 rounds for 4096
# steps. `jax.lax.associative_scan` does this for any associative operation, and (3) is associative. Its result is equal
# to that of the neuron:


# %%
def join(first, second):
    """Two steps as one."""
    return first[0] * second[0], second[0] * first[1] + second[1]


decay = jnp.full_like(x, np.exp(-(1 - 0.9)))
_, mem_tree = jax.jit(lambda *steps: jax.lax.associative_scan(join, steps))(decay, x)
np.testing.assert_allclose(mem_tree, mem_once, rtol=1e-4, atol=1e-5)

# %% [markdown]
# ### How long it takes
#
# We compare four ways to compute $T$ steps of 128 neurons: a Python loop in which each step is compiled; `unroll`,
# which compiles the loop itself, for `Leaky` with its reset; `StateLeaky` in one call; and the tree of
# `associative_scan`.

# %%
leaky = snn.Leaky(beta=0.9, init_hidden=True)
state_leaky = snn.StateLeaky(beta=0.9, channels=128)


@jax.jit
def one_step(mem, x_t):
    mem = 0.9 * mem + x_t - (mem > 1)
    return mem, mem > 1


def python_loop(x):
    mem, spikes = jnp.zeros_like(x[0]), []
    for x_t in x:
        mem, spk = one_step(mem, x_t)
        spikes.append(spk)
    return spikes


@jax.jit
def tree(x):
    return jax.lax.associative_scan(join, (jnp.full_like(x, 0.9), x))[1] > 1


ways = {
    "Leaky, loop in Python": python_loop,
    "Leaky, unroll": jax.jit(lambda x: snn.unroll(leaky, {}, x)[0]),
    "StateLeaky, one call": jax.jit(lambda x: state_leaky(x)[0]),
    "no reset, as a tree": tree,
}


def milliseconds(function, x, tries):
    """The shortest of a few runs."""
    jax.block_until_ready(function(x))  # compiles
    best = np.inf
    for _ in range(tries):
        begin = time.perf_counter()
        jax.block_until_ready(function(x))
        best = min(best, time.perf_counter() - begin)
    return 1e3 * best


lengths = (64, 256, 1024, 4096)
times = {name: [] for name in ways}
for steps in lengths:
    sequence = rng.normal(0.1, 0.5, (steps, 1, 128)).astype(np.float32)
    for name, way in ways.items():
        if way is python_loop:
            times[name].append(milliseconds(way, sequence, tries=3))
        else:
            times[name].append(milliseconds(way, jnp.asarray(sequence), tries=30))

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, course in times.items():
    ax.loglog(lengths, course, "o-", ms=4, label=name)
ax.set(xlabel="time steps T", ylabel="milliseconds", xticks=lengths, xticklabels=lengths)
ax.minorticks_off()
ax.legend(frameon=False, fontsize=8)
ax.set_title(f"on a {jax.devices()[0].platform.upper()}")
plt.show()

# %% [markdown]
# The *Python* loop is slow because it starts a program for each step. The other three differ little on a CPU: it has
# few cores, and the tree does two to three times the work of a compiled loop. The tree is made for processors with
# thousands of cores, most of which would be idle in a loop. `StateLeaky` uses the loop on a CPU and the tree elsewhere.

# %% [markdown]
# ## 4. The input decides what is kept
#
# Formula (3) allows a decay that differs from step to step, so the *input* may set it. `AssociativeLeaky` has a matrix
# of $d \times n$ membranes. From the input $I_t$ it computes a value $v_t$ ($d$ numbers), and a key $k_t$ and a decay
# $a_t$ ($n$ numbers each):
#
# $$M_t = M_{t-1}\, \mathrm{diag}(a_t) + v_t\, k_t^\top, \qquad S_t = [M_t > 1]. \tag{4}$$
#
# The key selects the column to which the value is written, and the decay selects the columns that are forgotten.
# (State-space models and linear attention use the same equation.) To see how it works, we set the weights by hand: two
# inputs are the value, two are the key, and two make the neuron forget a column. By default a column is kept: $a =
# \sigma(8) = 0.9997$.

# %%
layer = snn.AssociativeLeaky(in_dim=6, d_value=2, d_key=2, num_spiking_neurons=4, use_q_projection=False)


def affine(first, scale, bias=0.0):
    """Takes two of the six inputs, from number ``first`` on."""
    kernel = np.zeros((6, 2), np.float32)
    kernel[[first, first + 1], [0, 1]] = scale
    return {"kernel": kernel, "bias": np.full(2, bias, np.float32)}


params = {"to_v": affine(0, 1.0), "to_k": affine(2, 1.0), "to_alpha": affine(4, -16.0, bias=8.0)}
what = np.zeros((60, 1, 6), np.float32)
what[5, 0] = 2.0, 0.5, 1, 0, 0, 0  # write (2.0, 0.5) into column 0
what[15, 0] = 0.5, 2.0, 0, 1, 0, 0  # write (0.5, 2.0) into column 1
what[40, 0] = 0, 0, 0, 0, 1, 0  # forget column 0
fired, seen = layer.apply({"params": params}, what, mutable=["record"])
matrix = seen["record"]["state"][:, 0]

fig, (top, low) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for row in range(2):
    for column in range(2):
        style = {"color": f"C{column}", "ls": ("-", "--")[row], "label": f"row {row}, column {column}"}
        top.plot(matrix[:, row, column], lw=1.5, **style)
top.axhline(1, ls=":", lw=1, color="black")
top.set(ylabel="membrane")
top.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
splt.raster(fired[:, 0], ax=low, s=12, color="black")
low.set(xlabel="time step", yticks=range(4), yticklabels=["0, 0", "0, 1", "1, 0", "1, 1"], ylim=(-0.5, 3.5))
low.set(ylabel="fires: row, column", xlim=(-1, 60))
plt.show()

assert matrix[39, 0, 0] > 0.98 * 2.0  # kept for 34 steps
assert matrix[40, 0, 0] < 0.01  # gone in one
assert matrix[59, 1, 1] > 0.98 * 2.0  # the other column does not notice

# %% [markdown]
# A membrane with a fixed decay cannot both hold a value as long as needed and drop it in one step. Still, the steps can
# be computed in parallel. We compare one call with the loop over steps, for random weights and noise:

# %%
drawn = snn.AssociativeLeaky(in_dim=CHANNELS, d_value=4, d_key=8, num_spiking_neurons=32)
variables = drawn.init(jax.random.key(0), x)
y_once, seen = drawn.apply(variables, 3 * x, mutable=["record"])
stepping = snn.AssociativeLeaky(in_dim=CHANNELS, d_value=4, d_key=8, num_spiking_neurons=32, init_hidden=True)
y_step, _, recorded = snn.unroll(stepping, variables, 3 * x, record=True)
state = seen["record"]["state"]
np.testing.assert_allclose(state, recorded[""]["state"], rtol=1e-4, atol=1e-4)
print(same_spikes(seen["record"]["spk"], recorded[""]["spk"], state))

# %% [markdown]
# (With `use_q_projection=True`, the default, the neuron does not return the spikes themselves. It multiplies them by a
# query $Q_t$, which is computed from the input as well: $Y_t = S_t Q_t$.)
#
# ## 5. A membrane that is never negative
#
# `LeakyParallel` combines a linear layer and a neuron without reset. snnTorch builds it from torch's recurrent network
# with a ReLU:
#
# $$U_t = \max(0,\; W I_t + b + \beta\, U_{t-1} + c), \qquad S_t = [U_t > \theta]. \tag{5}$$
#
# Because of the maximum, the sum in (2) and the rule in (3) no longer hold. The product $W I_t$ can still be computed
# for all steps at once, and this is nearly all of the work. The rest is a short compiled loop. (For this neuron there
# is another rule: exercise 4.)

# %%
parallel = snn.LeakyParallel(input_size=CHANNELS, hidden_size=64, beta=0.9)
variables = parallel.init(jax.random.key(1), x)
spk_once, seen = parallel.apply(variables, x, mutable=["record"])
mem_once = seen["record"]["mem"]
stepping = snn.LeakyParallel(input_size=CHANNELS, hidden_size=64, beta=0.9, init_hidden=True)
spk_step, _, recorded = snn.unroll(stepping, variables, x, record=True)
np.testing.assert_allclose(mem_once, recorded[""]["mem"], rtol=1e-4, atol=1e-4)
print(same_spikes(spk_once, spk_step, mem_once))
assert mem_once.min() == 0

current = x @ variables["params"]["linear"]["kernel"] + variables["params"]["linear"]["bias"]
current = current + variables["params"]["recurrent"]["bias"]
free = snn.Leaky(beta=0.9, reset_mechanism="none", init_hidden=True, output=True)
(_, free_mem), _ = snn.unroll(free, {}, current)

shown = int(jnp.abs(free_mem[:, 0].mean(0)).argmin())  # a neuron that its input pulls up and down
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.plot(free_mem[:150, 0, shown], lw=1, label="without the maximum", color="0.6")
ax.plot(mem_once[:150, 0, shown], lw=1, label="LeakyParallel")
ax.axhline(1, ls=":", lw=1, color="black")
ax.set(xlabel="time step", ylabel="membrane")
ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## 6. A neuron that fires at changes
#
# `DeltaLeaky` is a filter as well, but it fires when its membrane *changes*:
#
# $$U_t = \beta\, U_{t-1} + I_t, \qquad S_t = [\,|U_t - U_{t-1}| > \theta_\Delta\,]. \tag{6}$$
#
# Let the current jump from 0 to $I$. Then, $k$ steps later, $U_t - U_{t-1} = I \beta^{k}$. So the neuron fires as long
# as $I \beta^k > \theta_\Delta$. It fires
#
# $$\left\lceil \frac{\ln (I / \theta_\Delta)}{\ln (1/\beta)} \right\rceil \text{ times}, \tag{7}$$
#
# and then stays silent, even for a large current. It fires again when the current stops.

# %%
BETA, CURRENT, CHANGE = 0.9, 0.5, 0.12
edges = np.zeros((150, 1, 1), np.float32)
edges[20:90] = CURRENT
delta = snn.DeltaLeaky(delta_threshold=CHANGE, beta=BETA, init_hidden=True, output=True)
(delta_spk, (delta_mem, _)), _ = snn.unroll(delta, {}, edges)
leaky = snn.Leaky(beta=BETA, init_hidden=True, output=True)
(leaky_spk, leaky_mem), _ = snn.unroll(leaky, {}, edges)

expected = int(np.ceil(np.log(CURRENT / CHANGE) / np.log(1 / BETA)))
up, down = int(delta_spk[:90].sum()), int(delta_spk[90:].sum())
print(f"DeltaLeaky: {up} spikes when the current begins, {down} when it ends; formula (7): {expected}")
print(f"Leaky: {int(leaky_spk.sum())} spikes")
assert up == down == expected

fig, (top, low) = plt.subplots(
    2, 1, figsize=(7, 3.6), height_ratios=(3, 1), sharex=True, layout="constrained"
)
top.plot(delta_mem[:, 0, 0], label="DeltaLeaky", color="C0")
top.plot(leaky_mem[:, 0, 0], lw=1, label="Leaky", color="C1")
top.fill_between(np.arange(150), edges[:, 0, 0], color="0.9", label="current")
top.set(ylabel="membrane")
top.legend(frameon=False, loc="upper right")
for line, (spk, colour) in enumerate(((leaky_spk, "C1"), (delta_spk, "C0"))):
    when = np.flatnonzero(spk[:, 0, 0])
    low.scatter(when, np.full(len(when), line), s=60, marker="|", color=colour)
low.set(xlabel="time step", yticks=(0, 1), yticklabels=("Leaky", "DeltaLeaky"), ylim=(-0.6, 1.6))
plt.show()

# %% [markdown]
# Which neuron should you use?
#
# | neuron | reset | all steps at once | fires |
# |---|---|---|---|
# | `Leaky` | yes | no | when the membrane crosses the threshold |
# | `StateLeaky`, and `LinearLeaky` with its weights | no | yes | as long as the membrane is above it |
# | `AssociativeLeaky` | no, but the input can make it forget | yes | as long as the membrane is above 1 |
# | `LeakyParallel` | no, but never negative | only the product with the weights | as long as the membrane is above it |
# | `DeltaLeaky` | no | yes, like `StateLeaky` | when the membrane changes |
#
# Compared with snnTorch: the names, arguments and spikes are the same. In snnTorch, `StateLeaky` is a convolution,
# which costs $T^2$ operations. Only snnax has `init_hidden=True` for these neurons.

# %% [markdown]
# ## Exercises
#
# 1. Which `beta` gives `StateLeaky` the decay 0.9 per step, the same as `Leaky(beta=0.9)`?
# 2. `kernel_truncation_steps=K` makes `StateLeaky` forget all inputs but the last $K$. How large must $K$ be, for
#    `beta=0.9`, so that a constant input gives at least 99 % of the full membrane?
# 3. How much does the reset matter? Compare the spikes of `Leaky(beta=0.9)` on the noise of section 2 with those of the same neuron
#    without reset.
# 4. A step of `LeakyParallel` is $U \mapsto \max(0, aU + I)$. Generalize it to $U \mapsto \max(c, aU + I)$, with three
#    numbers $(a, I, c)$ for a step, and find the rule for two steps in a row.
#
# ## Answers
#
# <details><summary>1</summary>
#
# From $e^{-(1-\beta)} = 0.9$ follows $\beta = 1 + \ln 0.9 = 0.8946$.
#
# </details>
#
# <details><summary>2</summary>
#
# With $a = e^{-0.1}$ a constant input gives $\sum_{k<K} a^k = (1 - a^K) / (1 - a)$. So the missing part is $a^K$, and
# $e^{-0.1 K} < 0.01$ holds for $K \ge 47$.
#
# </details>
#
# <details><summary>3</summary>
#
# A lot: without reset there are several times as many spikes, because a membrane above the threshold is not pulled down
# again. So it is a different neuron, and a network has to be trained with the neuron that it will run with.
#
# </details>
#
# <details><summary>4</summary>
#
# Insert the first step into the second. For $a_2 \ge 0$ the factor $a_2$ can be moved inside the maximum, so
#
# $$\max(c_2,\; a_2 \max(c_1, a_1 U + I_1) + I_2) = \max\big(\max(c_2,\, a_2 c_1 + I_2),\; a_1 a_2 U + a_2 I_1 + I_2\big).$$
#
# The new $a$ and $I$ are those of (3), and the new $c$ is $\max(c_2, a_2 c_1 + I_2)$. So the tree works for this neuron, too.
#
# </details>

# %% tags=["hide-cell"]
# 1.
without_reset = snn.Leaky(beta=0.9, reset_mechanism="none", init_hidden=True, output=True)
(spk_none, mem_none), _ = snn.unroll(without_reset, {}, x)
_, same = snn.StateLeaky(beta=1 + np.log(0.9), channels=CHANNELS)(x)
np.testing.assert_allclose(same, mem_none, rtol=1e-4, atol=1e-4)

# 2.
ones = np.ones((300, 1, 1), np.float32)
full = snn.StateLeaky(beta=0.9, channels=1)(ones)[1][-1, 0, 0]
missing = {}
for kept in (46, 47):
    _, mem = snn.StateLeaky(beta=0.9, channels=1, kernel_truncation_steps=kept)(ones)
    missing[kept] = float(1 - mem[-1, 0, 0] / full)
print("2.", ", ".join(f"K={kept}: {part:.3%} are missing" for kept, part in missing.items()))
assert missing[47] < 0.01 < missing[46]

# 3.
with_reset = snn.Leaky(beta=0.9, init_hidden=True)
spk_reset, _ = snn.unroll(with_reset, {}, x)
print(f"3. {int(spk_reset.sum())} spikes with reset, {int(spk_none.sum())} without")
assert spk_none.sum() > 2 * spk_reset.sum()


# 4.
def join_rectified(first, second):
    (a_1, i_1, c_1), (a_2, i_2, c_2) = first, second
    return a_1 * a_2, a_2 * i_1 + i_2, jnp.maximum(c_2, a_2 * c_1 + i_2)


steps = (jnp.full_like(current, 0.9), current, jnp.zeros_like(current))
_, summed, floor = jax.jit(lambda steps: jax.lax.associative_scan(join_rectified, steps))(steps)
np.testing.assert_allclose(jnp.maximum(floor, summed), mem_once, rtol=1e-4, atol=1e-4)
print(f"4. largest difference {jnp.abs(jnp.maximum(floor, summed) - mem_once).max():.1e}")
