# %% [markdown]
# # 10. Recurrence
#
# Nine men say the same two vowels, and a network learns who is speaking. We use two recurrent neurons: `RLeaky` and
# `SLSTM`. The recordings are real speech.
#
# You will see
# 1. speech as cepstra, and sequences of different lengths in one batch,
# 2. a leaky neuron with recurrent connections,
# 3. training on sequences, where padding must have no effect,
# 4. a neuron with the memory of an LSTM,
# 5. which speakers are confused.
#
# It takes about a minute on a CPU.

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn
from snnax import datasets
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. The data
#
# Each utterance is a sequence of frames, and each frame has 12 *cepstral coefficients*. They describe the shape of the
# spectrum, which depends on the speaker's throat and mouth. The data set is *Japanese Vowels* of the UCI repository (CC
# BY 4.0), and comes with snnax.

# %%
utterances, speakers = datasets.speech("train")
test_utterances, test_speakers = datasets.speech("test")
steps = np.array([len(u) for u in utterances + test_utterances])
print(
    f"{len(utterances)} utterances to train on, {len(test_utterances)} to test, {steps.min()} to {steps.max()} frames each"
)

fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.4), sharey=True, layout="constrained")
for ax, number in zip(axes, (0, 1, 240), strict=True):
    shown = ax.imshow(utterances[number].T, aspect="auto", cmap="RdBu", vmin=-2, vmax=2)
    ax.set(xlabel="frame", title=f"speaker {speakers[number]}")
axes[0].set_ylabel("coefficient")
fig.colorbar(shown, ax=axes)
plt.show()

# %% [markdown]
# All coefficients are scaled to the same standard deviation. All sequences of a batch need the same length, so
# `pad_batch` appends zeros to the shorter ones. It also returns the length of each sequence. Time is the first axis.

# %%
every = np.concatenate(utterances)
mean, spread = every.mean(0), every.std(0)
x, lengths = datasets.pad_batch([(u - mean) / spread for u in utterances], steps.max())
test_x, test_lengths = datasets.pad_batch([(u - mean) / spread for u in test_utterances], steps.max())
print("batch:", x.shape, "as [time, utterance, coefficient]; lengths", lengths[:5], "...")

# %% [markdown]
# ## 2. A leaky neuron with recurrent connections
#
# In a layer of `Leaky` neurons each membrane remembers only its own input. In `RLeaky` the spikes of the previous step
# come back through weights $V$, so the layer can remember earlier input and compare it with the present:
#
# $$U_t = \beta\, U_{t-1} + I_t + V S_{t-1} - R_t\,\theta, \qquad S_t = [U_t > \theta]. \tag{1}$$
#
# The readout has one leaky neuron for each speaker, and it never fires. Its score is the *mean* of its membrane over
# the steps of the utterance. The speaker with the highest score is the answer.

# %%
SPEAKERS, HIDDEN = 9, 128


def readout():
    """Nine weighted sums of spikes, each smoothed by a leaky membrane."""
    return [nn.Dense(SPEAKERS), snn.Leaky(beta=0.9, reset_mechanism="none", init_hidden=True, output=True)]


recurrent = snn.Sequential(
    [nn.Dense(HIDDEN), snn.RLeaky(beta=0.8, linear_features=HIDDEN, init_hidden=True), *readout()]
)


def scores(net, params, x, lengths):
    """The mean membrane of each speaker, ``[B, 9]``."""
    (_, mem), _ = snn.unroll(net, {"params": params}, x, seq_lengths=lengths)
    return mem.sum(0) / lengths[:, None]


# %% [markdown]
# `seq_lengths` makes `unroll` stop each utterance at its end. Later outputs are zeros, and the values in the padding
# change neither a score nor a gradient:

# %%
params = recurrent.init(jax.random.key(0), x[0])["params"]
noisy = np.where(np.arange(steps.max())[:, None, None] < lengths[:, None], x, 100.0).astype(np.float32)
np.testing.assert_array_equal(
    scores(recurrent, params, x, lengths), scores(recurrent, params, noisy, lengths)
)

# %% [markdown]
# ## 3. Training
#
# 270 utterances are not many, so we add new noise to the cepstra in each training step: nobody says the same thing
# twice in exactly the same way. All epochs are one compiled program: a `lax.scan` over epochs, with a `lax.scan` over
# batches inside.

# %%
EPOCHS, BATCH = 80, 90


def trained(net, seed, epochs=EPOCHS):
    """Weights after training, and the loss of each epoch."""
    key = jax.random.key(seed)
    params = net.init(key, x[0])["params"]
    batches = len(speakers) // BATCH
    adam = optax.adam(optax.cosine_decay_schedule(1e-2, epochs * batches))

    def cost(params, x, lengths, who):
        found = scores(net, params, x, lengths)
        return optax.softmax_cross_entropy_with_integer_labels(found, who).mean()

    def step(carry, given):
        (params, state), (chosen, key) = carry, given
        heard = jnp.asarray(x)[:, chosen]
        heard = heard + 0.3 * jax.random.normal(key, heard.shape)
        loss, slope = jax.value_and_grad(cost)(
            params, heard, jnp.asarray(lengths)[chosen], jnp.asarray(speakers)[chosen]
        )
        change, state = adam.update(slope, state)
        return (optax.apply_updates(params, change), state), loss

    def epoch(carry, key):
        order = jax.random.permutation(key, len(speakers)).reshape(batches, BATCH)
        carry, losses = jax.lax.scan(step, carry, (order, jax.random.split(key, batches)))
        return carry, losses.mean()

    def run(params, keys):
        (params, _), losses = jax.lax.scan(epoch, (params, adam.init(params)), keys)
        return params, losses

    return jax.jit(run)(params, jax.random.split(key, epochs))


def answers(net, params):
    """Who is heard in each test utterance."""
    return np.asarray(scores(net, params, test_x, test_lengths).argmax(-1))


accuracy, losses, weights = {}, {}, {}
for seed in range(2):
    weights["RLeaky"], losses["RLeaky"] = trained(recurrent, seed)
    accuracy["RLeaky", seed] = (answers(recurrent, weights["RLeaky"]) == test_speakers).mean()
    print(f"RLeaky, seed {seed}: {accuracy['RLeaky', seed]:.1%} of the utterances that it has not heard")
    assert accuracy["RLeaky", seed] >= 0.93

# %% [markdown]
# What do the hidden neurons do? The picture shows one utterance, from its cepstra to the nine membranes. The membrane
# of the right speaker is blue. The grey part is padding.

# %%
one = slice(0, 1)
(_, mem), _, recorded = snn.unroll(
    recurrent, {"params": weights["RLeaky"]}, test_x[:, one], seq_lengths=test_lengths[one], record=True
)
fig, (top, middle, low) = plt.subplots(3, 1, figsize=(7, 5.2), sharex=True, layout="constrained")
top.imshow(test_x[:, 0].T, aspect="auto", cmap="RdBu", vmin=-2, vmax=2)
top.set(ylabel="coefficient", yticks=[0, 5, 10], title=f"speaker {test_speakers[0]}")
splt.raster(recorded["layers_1"]["spk"][:, 0], ax=middle, s=4, c="black")
middle.set(ylabel="hidden neuron")
for speaker in range(SPEAKERS):
    own = speaker == test_speakers[0]
    low.plot(mem[: test_lengths[0], 0, speaker], lw=2 if own else 0.8, color="tab:blue" if own else "0.6")
low.set(xlabel="frame", ylabel="membrane", xlim=(-0.5, steps.max() - 0.5))
for ax in (middle, low):
    ax.axvspan(test_lengths[0] - 0.5, steps.max() - 0.5, color="0.93")
plt.show()

# %% [markdown]
# ## 4. An LSTM that fires
#
# `SLSTM` is an LSTM whose output is spikes. Its four gates see the input $x_t$ and the membrane $U_{t-1}$. The cell $c$
# is called `syn`, as in snnTorch. It has no fixed decay: the gates decide how much it forgets and how much it takes in:
#
# $$c_t = f \odot c_{t-1} + i \odot g, \qquad U_t = o \odot \tanh c_t - R_t\,\theta, \tag{2}$$
#
# with $f, i, o$ the sigmoids and $g$ the hyperbolic tangent of weighted sums. Since $|\tanh| < 1$, the membrane stays below 1, so
# the threshold has to be lower: here 0.1.

# %%
gated = snn.Sequential([snn.SLSTM(12, 96, threshold=0.1, init_hidden=True), *readout()])
for seed in range(2):
    weights["SLSTM"], losses["SLSTM"] = trained(gated, seed)
    accuracy["SLSTM", seed] = (answers(gated, weights["SLSTM"]) == test_speakers).mean()
    print(f"SLSTM, seed {seed}: {accuracy['SLSTM', seed]:.1%}")
    assert accuracy["SLSTM", seed] >= 0.93

fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
for name, course in losses.items():
    ax.semilogy(course, label=name)
ax.set(xlabel="epoch", ylabel="loss")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 5. Which speakers are confused
#
# For each speaker (row), the confusion matrix counts which speaker the network answered (column).

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.6), layout="constrained")
for ax, (name, net) in zip(axes, (("RLeaky", recurrent), ("SLSTM", gated)), strict=True):
    heard = answers(net, weights[name])
    confusion = np.zeros((SPEAKERS, SPEAKERS), int)
    np.add.at(confusion, (test_speakers, heard), 1)
    ax.imshow(np.sqrt(confusion), cmap="Blues")
    for row, column in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if row == column else "black"
        ax.text(column, row, confusion[row, column], ha="center", va="center", fontsize=8, color=colour)
    ax.set(xlabel="heard", ylabel="spoke", title=name, xticks=range(SPEAKERS), yticks=range(SPEAKERS))
    assert confusion.sum() == len(test_speakers) and np.trace(confusion) == (heard == test_speakers).sum()
plt.show()

# %% [markdown]
# Compared with snnTorch: `RLeaky` and `SLSTM` have the same arguments and the same order of operations. snnTorch has no
# `seq_lengths`; there you pack the sequences, or mask the outputs of the loop.

# %% [markdown]
# ## Exercises
#
# 1. Is the recurrence needed? Train the same network with `Leaky` instead of `RLeaky`.
# 2. What happens if the padding is not ignored? Score the test utterances without `seq_lengths`, by the mean over all
#    29 steps.
# 3. After how many frames does the network know the speaker? Score only the first $n$ frames of each test utterance.
#
# ## Answers
#
# <details><summary>1</summary>
#
# No: the accuracy without recurrence is as high. In a vowel, single frames already say a lot about the speaker, and the
# readout adds them up. Check this before you pay for recurrence, because the matrix $V$ has most of the network's
# weights. Tasks in which the order of the sounds matters need recurrence more.
#
# </details>
#
# <details><summary>2</summary>
#
# A few more answers are wrong, because the network was never trained on silence. Worse, the answer now depends on the
# length of the padding, and so on the other utterances of the batch.
#
# </details>
#
# <details><summary>3</summary>
#
# Most speakers are recognized after the first few frames; the rest of the utterance decides the doubtful cases.
#
# </details>

# %% tags=["hide-cell"]
# 1. Without recurrence.
plain = snn.Sequential([nn.Dense(HIDDEN), snn.Leaky(beta=0.8, init_hidden=True), *readout()])
without, _ = trained(plain, 0)
alone = (answers(plain, without) == test_speakers).mean()
share = weights["RLeaky"]["layers_1"]["recurrent"]["kernel"].size / sum(
    leaf.size for leaf in jax.tree.leaves(weights["RLeaky"])
)
print(f"1. Leaky: {alone:.1%}; of RLeaky's weights {share:.0%} are recurrent")
assert alone > 0.85 and share > 0.5

# 2. Scores with padding.
(_, mem), _ = snn.unroll(recurrent, {"params": weights["RLeaky"]}, test_x)
padded = (np.asarray(mem.mean(0).argmax(-1)) == test_speakers).mean()
print(f"2. trained with lengths, tested without: {padded:.1%}")
assert padded > 0.5

# 3. Shorter and shorter.
first = [2, 4, 7, 10, 15, 29]
known = []
for n in first:
    found = scores(gated, weights["SLSTM"], test_x, np.minimum(test_lengths, n))
    known.append((np.asarray(found.argmax(-1)) == test_speakers).mean())
fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
ax.plot(first, known, "o-")
ax.set(xlabel="frames heard", ylabel="accuracy", ylim=(0, 1))
plt.show()
assert known[-1] > known[0]
