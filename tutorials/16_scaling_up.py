# %% [markdown]
# # 16. Scaling up
#
# What you need to know when the network, the sequences or the training become large: compile only once, keep less in
# memory for the gradient, use several devices, and resume after an interruption.
#
# You will see
# 1. that a whole training run needs only one compilation,
# 2. how many bytes are kept for the gradient in each time step, and three ways to keep less,
# 3. how the chunk size determines memory and time,
# 4. that four devices give the same losses as one,
# 5. a training run that is interrupted and continues as if nothing had happened.
#
# It takes about half a minute on a CPU.
#
# This notebook simulates a machine with four devices: two settings in the first cell split one processor into four
# devices. They have to come *before* JAX is imported. On a machine with several GPUs leave them out.

# %%
import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import tempfile
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn

print(jax.devices())
assert len(jax.devices()) == 4

# %% [markdown]
# ## 1. Compile once
#
# JAX turns a Python function into a program for the processor. It runs the function once to record its operations,
# which is called *tracing*, and then compiles them. This takes $c$ seconds, much longer than the $s$ seconds of one
# training step. For $n$ steps,
#
# $$\text{time} = c + n\,s. \tag{1}$$
#
# So it is important to pay $c$ only once. JAX compiles again when the *shape* of an argument changes; `fit` avoids all
# other recompilations. How often is our loss traced? The loss runs in Python only while it is traced, so it can count
# this itself.

# %%
images, labels = snn.datasets.digits("train")
# MNIST from your disk, for example:
# images, labels = (np.load("mnist.npz")[key] for key in ("x_train", "y_train")); images = images / np.float32(255)
images = images.reshape(len(images), -1)
NUM_INPUTS, HIDDEN, NUM_STEPS, BATCH = images.shape[1], 128, 25, 128

net = snn.Sequential(
    snn.Linear(NUM_INPUTS, HIDDEN),
    snn.Leaky(beta=0.9, init_hidden=True),
    snn.Linear(HIDDEN, 10),
    snn.Leaky(beta=0.9, init_hidden=True, output=True),
)
variables = net.init(jax.random.key(0), images[:1])
adam = optax.adam(2e-3)
traced = []


def loss(mem, y):
    """Cross entropy of the mean membranes."""
    traced.append(mem.shape)  # runs in Python: once for each tracing, not for each step
    return optax.softmax_cross_entropy_with_integer_labels(mem.mean(0), y).mean()


def start():
    """A state before the first step, the same each time."""
    return snn.training.TrainState.create(net, variables, adam, key=jax.random.key(1))


EPOCHS = 4
data = snn.training.batches(images, labels, BATCH, seed=0, drop_last=True)
told = {"epochs": EPOCHS, "loss": loss, "read": "mem", "num_steps": NUM_STEPS, "progress": False}
state, history = snn.training.fit(start(), data, **told)
steps = len(history.step_loss)
print(
    f"{steps} training steps, traced {len(traced)} time; loss {history.loss[0]:.2f}, then {history.loss[-1]:.2f}"
)
print(f"compiling took {history.compile_seconds:.1f} s")
assert steps == EPOCHS * len(data) and len(traced) == 1

# %% [markdown]
# `drop_last=True` leaves out the last batch of an epoch, which would have a different shape (exercise 1). The time
# steps are not compiled one by one, either: `unroll` compiles one step and a loop around it, so 2000 steps compile as
# fast as 25.
#
# ## 2. What the gradient keeps
#
# Backpropagation goes through time from the end to the beginning, and needs values from the forward pass. With $T$
# steps, a batch of size $B$ and $N$ neurons, each number that is kept for every neuron and step takes
#
# $$4\, T B N \text{ bytes}. \tag{2}$$
#
# A plain program keeps several such numbers. `unroll` keeps only one by default, the distance of the membrane from the
# threshold, and computes all others from it. You can reduce the memory further, in `unroll` as well as in `fit`:
#
# * `residuals=jnp.bfloat16` keeps this number in 2 bytes. The spikes stay the same; the surrogate slopes are rounded.
# * `remat=True` keeps only the membranes between *chunks* of steps, and computes the steps inside a chunk a second
#   time.
#
# The compiler reports how much memory a program needs, without running it. Time is cut into chunks of 25 steps here; the
# next section explains them.

# %%
T_LONG, B_LONG = 1600, 16
NEURONS = HIDDEN + 10


def gradient(**how):
    """A function of weights and input [T, B, pixels]: the gradient of a loss over all steps."""

    def cost(params, x):
        (_, mem), _ = snn.unroll(net, {"params": params}, x, **how)
        return jnp.mean(mem**2)

    return jax.jit(jax.grad(cost))


def compiled(length, **how):
    """The program for so many steps, and the bytes that it needs beside its arguments."""
    x = jax.ShapeDtypeStruct((length, B_LONG, NUM_INPUTS), jnp.float32)
    program = gradient(**how).lower(variables["params"], x).compile()
    return program, program.memory_analysis().temp_size_in_bytes


ways = {
    "remat=False: all": {"remat": False},
    "as it is": {},
    "residuals=bfloat16": {"residuals": jnp.bfloat16},
    "remat=True": {"remat": True},
}
lengths = (100, 400, T_LONG)
programs, needed = {}, {name: [] for name in ways}
for name, how in ways.items():
    for length in lengths:
        programs[name], size = compiled(length, chunk=25, **how)
        needed[name].append(size)
    print(f"{name:20} {needed[name][-1] / (T_LONG * B_LONG * NEURONS):5.1f} bytes for each neuron and step")

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, sizes in needed.items():
    ax.loglog(lengths, np.array(sizes) / 2**20, "o-", ms=4, label=name)
ax.set(
    xlabel="time steps T",
    ylabel="MiB",
    xticks=lengths,
    xticklabels=lengths,
    yticks=[1, 10],
    yticklabels=[1, 10],
)
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

most, plain, half, little = (needed[name][-1] for name in ways)
assert plain < 0.6 * most and half < 0.7 * plain and little < 0.4 * plain

# %% [markdown]
# The gradient stays the same:

# %%
x = (np.random.default_rng(0).random((T_LONG, B_LONG, NUM_INPUTS)) < 0.1).astype(np.float32)
found = {name: jax.tree.leaves(program(variables["params"], x)) for name, program in programs.items()}
for name, tolerance in (("as it is", 1e-3), ("remat=True", 1e-3), ("residuals=bfloat16", 0.05)):
    for ours, all_kept in zip(found[name], found["remat=False: all"], strict=True):
        scale = float(jnp.abs(all_kept).max())
        np.testing.assert_allclose(ours, all_kept, atol=tolerance * scale)
print("largest part of the gradient:", max(float(jnp.abs(leaf).max()) for leaf in found["as it is"]))

# %% [markdown]
# ## 3. Chunks
#
# `unroll` cuts time into chunks of $K$ steps. Within a chunk it works layer by layer: `Linear` multiplies all $K$ steps
# at once, and then the neurons compute them one by one. Large matrix products are efficient, and small ones stay in the
# cache; `chunk="auto"` uses a size in between. With `remat=True` the chunk size also determines the memory: the
# membranes at the $T/K$ chunk boundaries are kept, and one chunk is computed at a time,
#
# $$\text{memory} \propto \frac{T}{K} + m K, \tag{3}$$
#
# where $m$ is the memory of a step inside a chunk, relative to that of a boundary. The total is large for small and for
# large $K$, and smallest at $K = \sqrt{T/m}$. A good first choice is $\sqrt{T}$ (dotted). The result does not depend on
# $K$.

# %%
chunks = (5, 20, 40, 160, T_LONG)
memory, seconds = [], []
for chunk in chunks:
    program, size = compiled(T_LONG, remat=True, chunk=chunk)
    slopes = jax.tree.leaves(program(variables["params"], x))
    begin = time.perf_counter()
    jax.block_until_ready(program(variables["params"], x))
    seconds.append(time.perf_counter() - begin)
    memory.append(size / 2**20)
    for ours, others in zip(slopes, found["remat=True"], strict=True):
        np.testing.assert_allclose(ours, others, atol=1e-3 * float(jnp.abs(others).max()))

fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.7), layout="constrained")
for ax, values, unit in zip(axes, (memory, seconds), ("MiB", "seconds"), strict=True):
    ax.semilogx(chunks, values, "o-", ms=4)
    ax.axvline(np.sqrt(T_LONG), ls=":", lw=1, color="0.5")
    ax.set(xlabel="steps in a chunk K", ylabel=unit, ylim=(0, None), xticks=chunks, xticklabels=chunks)
    ax.minorticks_off()
axes[0].set(yscale="log", ylim=(1, 100), yticks=[1, 10, 100], yticklabels=[1, 10, 100])
axes[0].minorticks_off()
plt.show()
assert min(memory) == min(memory[1:-1]) < 0.5 * max(memory)

# %% [markdown]
# ## 4. Several devices
#
# The loss of a batch is a mean over its samples. Split the batch into $D$ equal parts, one for each device. Then its
# gradient is the mean of the gradients of the parts,
#
# $$\nabla \mathcal{L} = \frac{1}{D} \sum_{d=1}^{D} \nabla \mathcal{L}_d. \tag{4}$$
#
# So each device computes a part of every batch, the devices exchange their gradients, and all make the same update. In
# `fit` you need only one argument for this, `mesh=data_mesh()`.

# %%
mesh = snn.training.data_mesh()
state_4, history_4 = snn.training.fit(start(), data, mesh=mesh, **told)
print("weights are on", len(state_4.params["layers_0"]["kernel"].sharding.device_set), "devices")
print("one device  ", [f"{value:.6f}" for value in history.loss])
print("four devices", [f"{value:.6f}" for value in history_4.loss])
np.testing.assert_allclose(history_4.step_loss, history.step_loss, rtol=0.02)
np.testing.assert_allclose(history_4.step_loss[0], history.step_loss[0], rtol=1e-5)

# %% [markdown]
# The first loss is the same except for the last digit. Sums over parts are rounded differently; if this changes a
# spike, later losses differ a little more. (Four devices that share the cores of one processor are no faster. Four real
# devices are, if the batch is large enough to keep all of them busy.)
#
# A layer that uses the whole batch has to include the parts on other devices: `nn.BatchNorm(axis_name="data")`. `fit`
# refuses a layer that does not.
#
# ## 5. Stop and resume
#
# Long training runs get interrupted: by a time limit, a full disk, or Ctrl-C. `checkpoint=` names a directory in which
# `fit` saves after each epoch, and when it is interrupted. Together with the weights it saves the random key, the state
# of the optimizer and the position in the data. So a resumed training run makes *the same* steps as one that was never
# stopped: not similar ones, but equal to the last bit.
#
# Here we simulate Ctrl-C in the third epoch.


# %%
def disturbed(epoch):
    """The same batches, until Ctrl-C is pressed."""
    for number, batch in enumerate(data(epoch)):
        if (epoch, number) == (2, 5):
            raise KeyboardInterrupt
        yield batch


folder = tempfile.mkdtemp()  # or any directory of yours
broken, so_far = snn.training.fit(start(), disturbed, checkpoint=folder, **told)
print(f"interrupted: {so_far.interrupted}, after {broken.step} of {steps} steps")
print("saved after the steps", snn.training.Checkpoints(folder).steps())

# %% [markdown]
# Later, in a new process, run the same script with `resume=True`.

# %%
resumed, whole = snn.training.fit(start(), data, checkpoint=folder, resume=True, **told)
assert so_far.interrupted and broken.step == 2 * len(data) + 5
assert whole.step_loss == history.step_loss
for ours, never_stopped in zip(jax.tree.leaves(resumed.params), jax.tree.leaves(state.params), strict=True):
    np.testing.assert_array_equal(ours, never_stopped)
print("the last loss, with and without the interruption:", whole.step_loss[-1], history.step_loss[-1])

fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
at = int(broken.step)
ax.plot(history.step_loss, lw=6, color="0.85", label="never stopped")
ax.plot(whole.step_loss[:at], color="C0", label="before Ctrl-C")
ax.plot(range(at, steps), whole.step_loss[at:], color="C3", label="after it")
ax.set(xlabel="training step", ylabel="loss", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# All four training runs on this page needed two compilations: one for one device, and one for four devices.

# %%
print("traced", len(traced), "times")
assert len(traced) == 2

# %% [markdown]
# Compared with snnTorch: it has no counterpart to `fit`. There you use torch's `DataParallel` and save
# `net.state_dict()`, which contains only the weights.

# %% [markdown]
# ## Exercises
#
# 1. What does `drop_last=False` cost? Count the compilations.
# 2. Your batch has 126 samples and you have four devices. What happens?
# 3. Somebody has changed the network since the checkpoint was written: it has 64 hidden neurons instead of 128. What
#    does `fit` do with `resume=True`?
#
# ## Answers
#
# <details><summary>1</summary>
#
# It costs one more compilation: the 1437 digits are 11 batches of 128 and one of 29, and a batch of 29 has a different
# shape. This takes a few seconds once, not in each epoch.
#
# </details>
#
# <details><summary>2</summary>
#
# You get a `ShapeError`. It says that 126 samples cannot be split into four equal parts, and what to do.
#
# </details>
#
# <details><summary>3</summary>
#
# It raises a `CheckpointError` that names the arrays that differ. It never loads only a part of a checkpoint.
#
# </details>

# %% tags=["hide-cell"]
# 1.
before = len(traced)
uneven = snn.training.batches(images, labels, BATCH, seed=0)
snn.training.fit(start(), uneven, **told)
print(
    f"1. {len(uneven)} batches in an epoch, the last of {len(images) % BATCH}; traced {len(traced) - before} time more"
)
assert len(traced) - before == 1  # that of the full batches is known already

# 2.
try:
    snn.training.fit(start(), snn.training.batches(images, labels, 126), mesh=mesh, **told)
except snn.errors.ShapeError as error:
    print("2.", error)
else:
    raise AssertionError("126 samples went onto 4 devices")

# 3.
narrow = snn.Sequential(
    snn.Linear(NUM_INPUTS, 64),
    snn.Leaky(beta=0.9, init_hidden=True),
    snn.Linear(64, 10),
    snn.Leaky(beta=0.9, init_hidden=True, output=True),
)
other = snn.training.TrainState.create(narrow, narrow.init(jax.random.key(0), images[:1]), adam)
try:
    snn.training.fit(other, data, checkpoint=folder, resume=True, **told)
except snn.errors.CheckpointError as error:
    print("3. The checkpoint", str(error).partition(" ")[2])
else:
    raise AssertionError("another network took these weights")
