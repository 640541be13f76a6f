"""Neurons of second order: Synaptic and Alpha, and a pulse that they answer."""

import snnax as snn
from snnax import spikeplot as splt
from snnax import spikegen
import jax.numpy as jnp

import snnax as snn  # nn
import matplotlib.pyplot as plt


def plot_spk_mem_spk(spk_in, mem, spk_out, title):
    fig, ax = plt.subplots(3, figsize=(8, 6), sharex=True, gridspec_kw={"height_ratios": [0.4, 1, 0.4]})
    splt.raster(spk_in, ax[0], s=400, c="black", marker="|")
    ax[0].set_ylabel("in")
    ax[0].set_title(title)
    ax[0].set_yticks([])
    ax[1].plot(mem)
    ax[1].set_ylim([0, 1])
    ax[1].set_ylabel("membrane")
    ax[1].axhline(y=0.5, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    plt.xlabel("step")
    splt.raster(spk_out, ax[2], s=400, c="black", marker="|")
    ax[2].set_yticks([])
    ax[2].set_ylabel("out")
    plt.show()


def plot_spk_cur_mem_spk(spk_in, syn_rec, mem_rec, spk_rec, title):
    fig, ax = plt.subplots(4, figsize=(8, 7), sharex=True, gridspec_kw={"height_ratios": [0.4, 1, 1, 0.4]})
    splt.raster(spk_in, ax[0], s=400, c="black", marker="|")
    ax[0].set_ylabel("in")
    ax[0].set_title(title)
    ax[0].set_yticks([])
    ax[1].plot(syn_rec)
    ax[1].set_ylim([0, 0.5])
    ax[1].set_ylabel("current ($I_{syn}$)")
    plt.xlabel("step")
    ax[2].plot(mem_rec)
    ax[2].set_ylim([0, 1.5])
    ax[2].set_ylabel("membrane ($U_{mem}$)")
    ax[2].axhline(y=1, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    splt.raster(spk_rec, ax[3], s=400, c="black", marker="|")
    plt.ylabel("out")
    ax[3].set_yticks([])
    plt.show()


alpha = 0.9
beta = 0.8
num_steps = 200
lif1 = snn.Synaptic(alpha=alpha, beta=beta)

w = 0.2
# torch: spk_period = torch.cat((torch.ones(1) * w, torch.zeros(9)), 0)
spk_period = jnp.concatenate((jnp.ones(1) * w, jnp.zeros(9)), 0)  # jax
# torch: spk_in = spk_period.repeat(20)
spk_in = jnp.tile(spk_period, 20)  # jax

syn, mem = lif1.init_synaptic()
spk_out = jnp.zeros(1)
syn_rec = []
mem_rec = []
spk_rec = []
for step in range(num_steps):
    spk_out, syn, mem = lif1(spk_in[step], syn, mem)
    spk_rec.append(spk_out)
    syn_rec.append(syn)
    mem_rec.append(mem)
spk_rec = jnp.stack(spk_rec)
syn_rec = jnp.stack(syn_rec)
mem_rec = jnp.stack(mem_rec)
plot_spk_cur_mem_spk(spk_in, syn_rec, mem_rec, spk_rec, "Synaptic")
synaptic = mem_rec  # data

alpha = 0.8
beta = 0.7
lif2 = snn.Alpha(alpha=alpha, beta=beta, threshold=0.5)

w = 0.85
# torch: later = torch.cat((torch.ones(1), torch.zeros(9)), 0).repeat(10)
later = jnp.tile(jnp.concatenate((jnp.ones(1), jnp.zeros(9)), 0), 10)  # jax
# torch: spk_in = (torch.cat((torch.zeros(10), torch.ones(1), torch.zeros(89), later), 0) * w).unsqueeze(1)
spk_in = (jnp.concatenate((jnp.zeros(10), jnp.ones(1), jnp.zeros(89), later), 0) * w)[:, None]  # jax

syn_exc, syn_inh, mem = lif2.init_alpha()
mem_rec = []
spk_rec = []
for step in range(num_steps):
    spk_out, syn_exc, syn_inh, mem = lif2(spk_in[step], syn_exc, syn_inh, mem)
    mem_rec.append(mem.squeeze(0))
    spk_rec.append(spk_out.squeeze(0))
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_spk_mem_spk(spk_in, mem_rec, spk_rec, "Alpha")

results = {"synaptic": synaptic, "alpha": mem_rec, "spikes": spk_rec}  # data
