# %% [markdown]
# # 7. Neuromorphic events
#
# An event camera has no frames: each pixel sends an event when its brightness changes. We write such recordings to
# files in the format of N-MNIST, read them back, and train a network on them.
#
# You will see
# 1. what an event is, and how moving digits become events,
# 2. a recording as a cloud of points in space and time,
# 3. the five bytes of an event in a file, and a data set in folders,
# 4. how events become frames for a network that runs in steps,
# 5. a convolutional spiking network that learns from these frames, and how early it knows the answer.
#
# It takes about a minute on a CPU. It covers the subject of snnTorch's tutorial 7. That tutorial uses tonic; here you
# only need snnax.

# %%
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import snnax as snn
import snnax.functional as SF
from snnax import datasets
from snnax import spikeplot as splt

# %% [markdown]
# ## 1. Events
#
# A pixel of such a camera stores the logarithm of the brightness $b$ at its last event. When the logarithm differs from
# the stored value by a threshold $\theta$, the pixel sends an event and stores the new value:
#
# $$\left|\log b(t) - \log b(t_{\text{last}})\right| \ge \theta
# \quad\Longrightarrow\quad \text{event } (t, x, y, p), \qquad
# p = \begin{cases} 1 & \text{brighter} \\ 0 & \text{darker.} \end{cases} \tag{1}$$
#
# Time is in microseconds. A still picture causes no events. So for N-MNIST the camera was moved in three quick
# *saccades*, as eyes move, in front of digits on a screen. `moving_digits` simulates this with the scans of
# scikit-learn and equation (1).

# %%
train, labels = datasets.moving_digits("train")
test, test_labels = datasets.moving_digits("test")

recording = test[200]
print(recording, "of a", test_labels[200])
print(
    "its first event: t, x, y, p =",
    *(int(part[0]) for part in (recording.t, recording.x, recording.y, recording.p)),
)
counts = np.array([len(events) for events in train])
print(f"{len(train)} recordings of {counts.mean():.0f} events on average; N-MNIST has about 4200")

# %% [markdown]
# ## 2. A cloud in space and time
#
# Blue events mean brighter, orange events mean darker. The paths bend where one saccade ends and the next begins.

# %%
splt.event_cloud(recording)
plt.show()

# %% [markdown]
# The same recording, as a raster of pixels over time and as the number of events per millisecond:

# %%
fig, (top, low) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained", height_ratios=(2, 1))
splt.raster(recording, ax=top, s=0.5)
per_ms = np.bincount(recording.t // 1000, minlength=315)
low.plot(np.arange(315) / 1000, per_ms, lw=0.8)
low.set(xlabel="time (s)", ylabel="events per ms")
top.set_xlabel("")
plt.show()

# %% [markdown]
# ## 3. Files
#
# In an N-MNIST file each event takes 40 bits:
#
# | bits | 8 | 8 | 1 | 23 |
# |---|---|---|---|---|
# | | $x$ | $y$ | $p$ | time in microseconds |
#
# The files lie in a folder for each class, in `Train` and `Test`. We write ours in the same way.

# %%
root = Path(tempfile.mkdtemp()) / "N-MNIST"
for split, several, classes in (("Train", train, labels), ("Test", test, test_labels)):
    for number, (events, label) in enumerate(zip(several, classes, strict=True)):
        folder = root / split / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        datasets.write_events(folder / f"{number:05}.bin", events)
# N-MNIST itself from your disk: root = Path("data/NMNIST")

on_disk = datasets.recordings(root / "Test")
print(on_disk, "in folders", *on_disk.classes)

# %% [markdown]
# `recordings` reads a file when you ask for it: `events, label = on_disk[0]`. It returns exactly the events that were
# written. A truncated file is refused, and the error says where it ends.

# %%
order = np.argsort(test_labels, kind="stable")  # folders are read class by class
for (events, label), number in zip(on_disk, order, strict=True):
    assert events == test[number] and label == test_labels[number]
path = sorted((root / "Test" / "0").iterdir())[0]
print(path.name, "has", path.stat().st_size, "bytes for", len(datasets.read_events(path)), "events")
assert path.stat().st_size == 5 * len(datasets.read_events(path))

path.write_bytes(path.read_bytes()[:-2])
try:
    datasets.read_events(path)
except snn.errors.EventFileError as error:
    print(str(error).replace(str(root), "N-MNIST"))
else:
    raise AssertionError("a file that is cut off was read")

# %% [markdown]
# ## 4. Frames
#
# A network that runs in time steps needs frames. In each time window $[s_k, s_k + w)$, count the events of each pixel,
# separately for brighter and darker:
#
# $$F_k[y, x, p] = \left|\{i : (x_i, y_i, p_i) = (x, y, p),\; s_k \le t_i < s_k + w\}\right| .$$
#
# `to_frames` does this for windows of a given length (`time_window`), for a given number of windows (`n_frames`), or
# for a given number of events in each window (`n_events`). With `include_incomplete=True` no event is left out. We use
# ten frames.

# %%
FRAMES = 10


def framed(several):
    """All recordings as one array ``[T, N, H, W, 2]``, time first."""
    return np.stack(
        [datasets.to_frames(e, n_frames=FRAMES, include_incomplete=True) for e in several], axis=1
    )


frames, test_frames = framed(train), framed(test)
print("frames:", frames.shape, "as [time, sample, height, width, polarity]")
assert frames.sum() == counts.sum()

fig, axes = plt.subplots(2, 5, figsize=(7, 3), layout="constrained")
for step, ax in enumerate(axes.flat):
    difference = test_frames[step, 200, ..., 1] - test_frames[step, 200, ..., 0]
    ax.imshow(difference, cmap="RdBu", vmin=-4, vmax=4)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"frame {step}", fontsize=9)
plt.show()

# %% [markdown]
# Only edges across the direction of motion cause events. In the first saccade the digit moves down and to the right, in
# the last one to the left. So each saccade shows different edges, and only together do they show the whole digit. The
# network has to add up its input over time, and membranes do exactly that.
#
# ## 5. A network that learns
#
# Each frame is one time step. The filters see averages over 2x2 pixels and both polarities. The output neuron that
# fires most often in the ten steps is the answer.

# %%
net = snn.Sequential(
    [
        snn.AvgPool2d(2),
        nn.Conv(12, (5, 5), padding="VALID"),
        snn.MaxPool2d(2),
        snn.Leaky(beta=0.7, init_hidden=True),
        snn.Flatten(),
        nn.Dense(10),
        snn.Leaky(beta=0.7, init_hidden=True, output=True),
    ]
)
found, states = [], []
for seed in range(2):
    variables = net.init(jax.random.key(seed), frames[0, :1])
    state = snn.training.TrainState.create(net, variables, optax.adam(5e-3), key=jax.random.key(seed))
    data = snn.training.batches(frames, labels, 64, seed=seed, axis=1, drop_last=True)
    state, history = snn.training.fit(
        state, data, epochs=6, loss=SF.ce_count_loss(), accuracy=SF.accuracy_rate, progress=False
    )
    (spk, mem), _ = snn.unroll(net, state.variables, test_frames)
    found.append(float(SF.accuracy_rate(spk, test_labels)))
    states.append(state)
    print(f"seed {seed}: accuracy on digits that it has not seen: {found[-1]:.1%}")
assert min(found) > 0.8

splt.history(history, fig=plt.figure(figsize=(7, 3.6), layout="constrained"))
plt.show()

# %% [markdown]
# ### When does it know?
#
# Spikes can be counted at any time. Which output neuron has fired most often after each frame, and how often is it the
# right one?

# %%
so_far = np.asarray(spk).cumsum(0)
right = (so_far.argmax(-1) == test_labels).mean(1)
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.plot(31.5 * np.arange(1, FRAMES + 1), right, "o-")
for end in (105, 210):
    ax.axvline(end, color="0.8", lw=0.8)
ax.set(xlabel="time (ms); grey: the ends of saccades", ylabel="accuracy", ylim=(0, 1))
plt.show()
assert right[-1] > right[1]

# %% [markdown]
# Compared with snnTorch and tonic: `to_frames` makes the same windows as tonic's `ToFrame`, but puts channels last; use
# `layout="NCHW"` for ported networks. `datasets.from_torch(tonic.datasets.NMNIST("data"))` accepts a tonic data set
# directly.

# %% [markdown]
# ## Exercises
#
# 1. How many bytes are the recordings as files, and how many as frames of float32? How many per event?
# 2. Play the recording backwards: reverse the frames of the test recordings in time. How far does the accuracy fall,
# and why not further?
# 3. Swap the two polarities of the test recordings, as if ink were brighter than paper. What happens now?
#
# ## Answers
#
# <details><summary>1</summary>
#
# A file has five bytes per event. Ten frames have 34 x 34 x 2 numbers of four bytes each, however few events there
# were: they take about four times as much. An event sensor that sees little sends little. This is its advantage.
#
# </details>
#
# <details><summary>2</summary>
#
# It falls, but stays far above chance. The network mostly adds up what it sees, and for this the order does not matter.
# But in training, the membranes at the end of the recording had already seen its beginning.
#
# </details>
#
# <details><summary>3</summary>
#
# It falls much more: brighter and darker edges have changed places, as if the digit had moved in the opposite
# direction.
#
# </details>

# %% tags=["hide-cell"]
# 1. Counted.
as_files = 5 * counts.sum()
print(
    f"1. {as_files / 1e6:.0f} MB in files, {frames.nbytes / 1e6:.0f} MB as frames: {frames.nbytes / as_files:.1f} times as much"
)
assert 3 < frames.nbytes / as_files < 6


def accuracy(changed):
    """Of the last network, on other frames."""
    (spikes, _), _ = snn.unroll(net, states[-1].variables, changed)
    return float(SF.accuracy_rate(spikes, test_labels))


# 2. Time reversed.
backwards = accuracy(test_frames[::-1])
print(f"2. {found[-1]:.1%}, and backwards {backwards:.1%}")
assert 0.3 < backwards < found[-1]

# 3. Polarities swapped.
swapped = accuracy(test_frames[..., ::-1])
print(f"3. polarities swapped: {swapped:.1%}")
assert swapped < backwards
