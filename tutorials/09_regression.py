# %% [markdown]
# # 9. Regression
#
# A network of spiking neurons learns to follow a curve. Its output is not a class but the membrane of one neuron at
# each time step. It also learns how fast its neurons forget.
#
# You will see
# 1. why the output neuron does not spike,
# 2. a network whose decays are learned: `learn_beta=True`,
# 3. training on ramps and their square roots, from three random seeds, with an error below 5 % on unseen ramps,
# 4. the curves before and after training, and the learned decays.
#
# It takes about 20 seconds on a CPU. It covers the subject of snnTorch's tutorials on regression.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn

# %% [markdown]
# ## 1. The task
#
# The input is a ramp, $x_t = a\, t / T$, with a different slope $a$ for each sample. At each time step the network has
# to output its square root:
#
# $$y_t = \sqrt{x_t}.$$
#
# How can a spiking network output a number that changes with time? Spikes cannot do it: they are 0 or 1. We use the
# *membrane* of the output neuron. A reset would pull it down at each spike, so we switch the reset off with
# `reset_mechanism="none"`. The membrane is then a leaky sum of the spikes of the previous layer:
#
# $$U_t = \beta\, U_{t-1} + \sum_j w_j\, S_j[t] + b .$$
#
# Each spike lifts or lowers the curve by its weight, and $\beta$ smooths it. NIR calls such a neuron a leaky integrator.

# %%
NUM_STEPS, HIDDEN = 100, 64


def ramps(slopes):
    """Inputs and targets, both [T, B, 1]."""
    x = np.linspace(0, 1, NUM_STEPS, dtype=np.float32)[:, None, None] * slopes[None, :, None]
    return x, np.sqrt(x)


x, y = ramps(np.linspace(0.2, 1.0, 16, dtype=np.float32))
test_x, test_y = ramps(np.linspace(0.25, 0.95, 15, dtype=np.float32))  # slopes between those that are seen
print("input", x.shape, "as [time, batch, feature]")

# %% [markdown]
# ## 2. Neurons that learn how to forget
#
# The network sees one number at a time and has to make a smooth curve from it. For that it helps to have neurons with
# short and with long memories. Each hidden neuron gets its own `beta`, drawn between 0 and 1, and `learn_beta=True`
# puts it into `params`, next to the weights. The gradient of a decay follows from the chain rule: since $U_t = \beta\,
# U_{t-1} + \dots$,
#
# $$\frac{\partial U_t}{\partial \beta} = U_{t-1} + \beta\, \frac{\partial U_{t-1}}{\partial \beta}.$$

# %%
fast_sigmoid = snn.surrogate.fast_sigmoid(slope=25)


def network(key, learn_beta=True, same=None):
    first, second = np.asarray(jax.random.uniform(key, (2, HIDDEN)))
    if same is not None:  # for an exercise
        first = second = np.full(HIDDEN, same, np.float32)
    how = {"learn_beta": learn_beta, "init_hidden": True, "spike_grad": fast_sigmoid}
    return snn.Sequential(
        snn.Linear(1, HIDDEN),
        snn.Leaky(beta=first, **how),
        snn.Linear(HIDDEN, HIDDEN),
        snn.Leaky(beta=second, **how),
        snn.Linear(HIDDEN, 1),
        snn.Leaky(beta=0.5, reset_mechanism="none", output=True, **how),
    )


net = network(jax.random.key(0))
variables = net.init(jax.random.key(1), x[0])
print(jax.tree.map(jnp.shape, variables["params"]))

# %% [markdown]
# We check this gradient for the output neuron alone, with the sum of its membranes as the loss.

# %%
current = np.random.default_rng(0).random(20).astype(np.float32)
output = snn.Leaky(beta=0.5, learn_beta=True, reset_mechanism="none", init_hidden=True, output=True)


def area(beta):
    (_, mem), _ = snn.unroll(output, {"params": {"beta": beta}}, current[:, None, None])
    return mem.sum()


mem = slope = by_hand = 0.0
for value in current:
    slope = mem + 0.5 * slope
    mem = 0.5 * mem + value
    by_hand += slope
by_jax = jax.grad(area)(jnp.float32(0.5))
print(f"by hand {by_hand:.5f}, by JAX {by_jax:.5f}")
np.testing.assert_allclose(by_jax, by_hand, rtol=1e-5)

# %% [markdown]
# ## 3. Training
#
# The loss is the mean squared error over time and samples. All samples are one batch. To see how large an error is, we
# give it relative to the size of the target:
#
# $$\text{error} = \sqrt{\frac{\sum (U - y)^2}{\sum y^2}} .$$
#
# A thousand updates run as one compiled loop (`jax.lax.scan`): the training loop can be compiled just like the loop
# over time.

# %%
STEPS = 1000
optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, STEPS))


def membrane(net, variables, x):
    (_, mem), _ = snn.unroll(net, variables, x)
    return mem


def error(mem, y):
    return float(jnp.sqrt(jnp.sum((mem - y) ** 2) / jnp.sum(y**2)))


def train(net, variables):
    def loss_fn(params):
        return jnp.mean((membrane(net, {**variables, "params": params}, x) - y) ** 2)

    def update(carry, _):
        params, opt_state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), loss

    start = variables["params"]
    (params, _), losses = jax.lax.scan(update, (start, optimizer.init(start)), length=STEPS)
    return {**variables, "params": params}, losses


def trained(seed, **more):
    """A network, its variables before and after, the losses, and the errors on unseen ramps before and after."""
    build, draw = jax.random.split(jax.random.key(seed))
    net = network(build, **more)
    before = snn.utils.reset(net.init(draw, x[0]))
    after, losses = jax.jit(lambda variables: train(net, variables))(before)
    errors = [error(membrane(net, variables, test_x), test_y) for variables in (before, after)]
    print(f"error on unseen ramps {errors[0]:.1%} before, {errors[1]:.2%} after")
    return net, before, after, losses, errors


found = [trained(seed) for seed in range(3)]
assert max(errors[1] for *_, errors in found) < 0.05

# %% [markdown]
# ## 4. Before and after

# %%
net, before, after, losses, _ = found[0]
fig, axes = plt.subplots(1, 3, figsize=(8, 2.7), layout="constrained")
for ax, variables, when in zip(axes, (before, after), ("before", "after"), strict=False):
    mem = membrane(net, variables, test_x)
    for n, colour in zip((0, 7, 14), ("tab:blue", "tab:orange", "tab:green"), strict=True):
        ax.plot(mem[:, n, 0], lw=1, color=colour)
        ax.plot(test_y[:, n, 0], "--", lw=1, color=colour)
    ax.set(title=f"{when} (dashed: target)", xlabel="time step")
axes[0].set_ylabel("membrane of the output")
axes[2].semilogy(losses, lw=0.8)
axes[2].set(xlabel="update", title="mean squared error")
plt.show()

# %% [markdown]
# Each small tooth of the curves is a spike of the last hidden layer.
#
# Which spikes make the curve, and which decays did the neurons learn?

# %%
_, _, seen = snn.unroll(net, after, test_x[:, 7:8], record=True)
old, new = before["params"], after["params"]
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
snn.spikeplot.raster(seen["layers_3"]["spk"][:, 0], ax=left, s=2, color="black")
left.set(title="last hidden layer", xlabel="time step", ylabel="neuron")
for ax, layer in ((middle, "layers_1"), (right, "layers_3")):
    ax.plot([0, 1], [0, 1], lw=0.8, color="0.7")
    ax.plot(old[layer]["beta"], np.clip(new[layer]["beta"], 0, 1), ".", ms=5)
    ax.set(xlabel=r"$\beta$ before", title=f"decays of {layer}", ylim=(-0.03, 1.03))
middle.set_ylabel(r"$\beta$ after")
plt.show()
moved = np.abs(new["layers_3"]["beta"] - old["layers_3"]["beta"])
print(f"decays of the last hidden layer moved by {moved.mean():.3f} on average, at most {moved.max():.2f}")
print(f"decay of the output: {old['layers_5']['beta']:.2f} before, {new['layers_5']['beta']:.2f} after")
assert moved.max() > 0.01

# %% [markdown]
# Some decays have changed a lot, but most of them only a little. They were drawn at random, so there already is a
# neuron for each time scale, and the weights select the useful ones. The output neuron smooths the curve and has become
# slower.
#
# Compared with snnTorch: `learn_beta`, `reset_mechanism="none"` and the membrane as an output are the same. In both
# libraries a learned decay is clipped to between 0 and 1 in each call. Here it is in `params` as `beta`. For
# classification with `fit`, `SF.mse_membrane_loss` is this loss with a target for each class.

# %% [markdown]
# ## Exercises
#
# 1. What is the error if the same drawn decays stay fixed and are not learned?
# 2. Let all hidden neurons start with the same decay, 0.9. Is this better or worse than drawn decays?
# 3. What does the network output for a slope of 1.5, which is outside the range of the training data?
#
# ## Answers
#
# <details><summary>1</summary>
#
# `network(key, learn_beta=False)`. We found 4.9 % instead of 3.3 %: learning the decays helps. (The fixed decays are
# then in the collection `buffers`. This is why `train` passes on all variables and replaces only the parameters.)
#
# </details>
#
# <details><summary>2</summary>
#
# `network(key, same=0.9)`. We found 4.6 %. This also works: the weights differ from neuron to neuron, so the decays
# become different in training. But drawn decays already start with both short and long memories.
#
# </details>
#
# <details><summary>3</summary>
#
# It follows the curve up to 1, for the values that it has seen, and then falls behind: the neurons already fire as
# often as they can, and the training data did not show how the curve continues.
#
# </details>

# %% tags=["hide-cell"]
# 1. and 2.
print("exercise 1: fixed decays")
*_, fixed = trained(0, learn_beta=False)
print("exercise 2: the same decays at first")
*_, equal = trained(0, same=0.9)
assert max(fixed[1], equal[1]) < 0.1

# 3.
steep_x, steep_y = ramps(np.array([1.5], np.float32))
steep = membrane(net, after, steep_x)
known = int(NUM_STEPS / 1.5)
inside, outside = error(steep[:known], steep_y[:known]), error(steep[known:], steep_y[known:])
print(f"exercise 3: error {inside:.1%} up to 1, {outside:.1%} above")
assert outside > inside
