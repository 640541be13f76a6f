"""Leaky neurons, alone and as two layers that nobody has trained."""

import snnax as snn
from snnax import spikeplot as splt
from snnax import spikegen
import jax.numpy as jnp

import snnax as snn  # nn
import jax  # jax
import matplotlib.pyplot as plt


def plot_cur_mem_spk(cur, mem, spk, thr_line=False, vline=False, title=False, ylim_max2=1.25):
    fig, ax = plt.subplots(3, figsize=(8, 6), sharex=True, gridspec_kw={"height_ratios": [1, 1, 0.4]})
    ax[0].plot(cur, c="tab:orange")
    ax[0].set_ylim([0, 0.4])
    ax[0].set_xlim([0, 200])
    ax[0].set_ylabel("current ($I_{in}$)")
    if title:
        ax[0].set_title(title)
    ax[1].plot(mem)
    ax[1].set_ylim([0, ylim_max2])
    ax[1].set_ylabel("membrane ($U_{mem}$)")
    if thr_line:
        ax[1].axhline(y=thr_line, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    plt.xlabel("step")
    splt.raster(spk, ax[2], s=400, c="black", marker="|")
    if vline:
        ax[2].axvline(x=vline, ymin=0, ymax=6.75, alpha=0.15, linestyle="dashed", c="black", clip_on=False)
    plt.ylabel("spikes")
    plt.yticks([])
    plt.show()


def plot_snn_spikes(spk_in, spk1_rec, spk2_rec, title):
    fig, ax = plt.subplots(3, figsize=(8, 7), sharex=True, gridspec_kw={"height_ratios": [1, 1, 0.4]})
    splt.raster(spk_in[:, 0], ax[0], s=0.03, c="black")
    ax[0].set_ylabel("in")
    ax[0].set_title(title)
    splt.raster(spk1_rec.reshape(num_steps, -1), ax[1], s=0.05, c="black")
    ax[1].set_ylabel("hidden")
    splt.raster(spk2_rec.reshape(num_steps, -1), ax[2], c="black", marker="|")
    ax[2].set_ylabel("out")
    ax[2].set_ylim([0, 10])
    plt.show()


# --- The neuron by hand


def leaky_integrate_and_fire(mem, x, w, beta, threshold=1):
    spk = mem > threshold
    mem = beta * mem + w * x - spk * threshold
    return spk, mem


# torch: delta_t = torch.tensor(1e-3)
delta_t = jnp.array(1e-3)  # jax
# torch: tau = torch.tensor(5e-3)
tau = jnp.array(5e-3)  # jax
beta = jnp.exp(-delta_t / tau)
print(f"it decays by {beta:.3f} in each step")

num_steps = 200
# torch: x = torch.cat((torch.zeros(10), torch.ones(190) * 0.5), 0)
x = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.5), 0)  # jax
# twin: x = x.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec = []
spk_rec = []
w = 0.4
beta = 0.819
for step in range(num_steps):
    spk, mem = leaky_integrate_and_fire(mem, x[step], w=w, beta=beta)
    mem_rec.append(mem)
    spk_rec.append(spk)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(x * w, mem_rec, spk_rec, thr_line=1, ylim_max2=1.3, title="by hand")

# --- As snn.Leaky

lif1 = snn.Leaky(beta=0.8)
w = 0.21
# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * w), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * w), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
spk = jnp.zeros(1)
mem_rec = []
spk_rec = []
for step in range(num_steps):
    spk, mem = lif1(cur_in[step], mem)
    mem_rec.append(mem)
    spk_rec.append(spk)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(cur_in, mem_rec, spk_rec, thr_line=1, ylim_max2=1.3, title="as snn.Leaky")

# --- Two layers

num_inputs = 784
num_hidden = 100
num_outputs = 10
beta = 0.99
fc1 = snn.Linear(num_inputs, num_hidden)
lif1 = snn.Leaky(beta=beta)
fc2 = snn.Linear(num_hidden, num_outputs)
lif2 = snn.Leaky(beta=beta)
fc1 = fc1.bind(fc1.init(jax.random.key(0), jnp.ones((1, num_inputs))))  # jax
fc2 = fc2.bind(fc2.init(jax.random.key(1), jnp.ones((1, num_hidden))))  # jax

mem1 = lif1.init_leaky()
mem2 = lif2.init_leaky()
mem2_rec = []
spk1_rec = []
spk2_rec = []
# torch: spk_in = spikegen.rate_conv(torch.rand((200, 784))).unsqueeze(1)
probability = jax.random.uniform(jax.random.key(2), (200, 784))  # jax
spk_in = spikegen.rate_conv(probability, key=jax.random.key(3))[:, None]  # jax
# torch: print(spk_in.size())
print(spk_in.shape)  # jax

for step in range(num_steps):
    cur1 = fc1(spk_in[step])
    spk1, mem1 = lif1(cur1, mem1)
    cur2 = fc2(spk1)
    spk2, mem2 = lif2(cur2, mem2)
    mem2_rec.append(mem2)
    spk1_rec.append(spk1)
    spk2_rec.append(spk2)
mem2_rec = jnp.stack(mem2_rec)
spk1_rec = jnp.stack(spk1_rec)
spk2_rec = jnp.stack(spk2_rec)
# twin: spk1_rec, spk2_rec, mem2_rec = spk1_rec.detach(), spk2_rec.detach(), mem2_rec.detach()
plot_snn_spikes(spk_in, spk1_rec, spk2_rec, "two layers")

from IPython.display import HTML

fig, ax = plt.subplots(facecolor="w", figsize=(12, 7))
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
# torch: spk2_rec = spk2_rec.squeeze(1).detach().cpu()
spk2_rec = spk2_rec.squeeze(1)  # jax
anim = splt.spike_count(spk2_rec[:5], fig, ax, labels=labels, animate=True)
HTML(anim.to_jshtml())

plt.figure()  # data
# torch: splt.traces(mem2_rec.squeeze(1), spk=spk2_rec.squeeze(1))
splt.traces(mem2_rec.squeeze(1), spk=spk2_rec)  # jax
# twin: plt.close()
# twin: plt.figure()
# twin: splt.traces(mem2_rec.squeeze(1), spk=spk2_rec)
fig = plt.gcf()
fig.set_size_inches(8, 6)

results = {"membrane": mem_rec, "spikes": spk_rec}  # data
shapes = {"out": spk2_rec, "mem": mem2_rec}  # data
