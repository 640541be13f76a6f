"""One neuron and a current: Lapicque's, with steps, pulses and spikes at its input, and spikes at its output."""

import snnax as snn
from snnax import spikeplot as splt
from snnax import spikegen
import jax.numpy as jnp

import snnax as snn  # nn
import numpy as np
import matplotlib.pyplot as plt


def plot_mem(mem, title=False):
    if title:
        plt.title(title)
    plt.plot(mem)
    plt.xlabel("step")
    plt.ylabel("membrane")
    plt.xlim([0, 50])
    plt.ylim([0, 1])
    plt.show()


def plot_step_current_response(cur_in, mem_rec, vline1):
    fig, ax = plt.subplots(2, figsize=(8, 6), sharex=True)
    ax[0].plot(cur_in, c="tab:orange")
    ax[0].set_ylim([0, 0.2])
    ax[0].set_ylabel("current ($I_{in}$)")
    ax[0].set_title("a step")
    ax[1].plot(mem_rec)
    ax[1].set_ylim([0, 0.6])
    ax[1].set_ylabel("membrane ($U_{mem}$)")
    ax[1].axvline(x=vline1, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", clip_on=False)
    plt.xlabel("step")
    plt.show()


def plot_current_pulse_response(cur_in, mem_rec, title, vline1=False, vline2=False, ylim_max1=False):
    fig, ax = plt.subplots(2, figsize=(8, 6), sharex=True)
    ax[0].plot(cur_in, c="tab:orange")
    if not ylim_max1:
        ax[0].set_ylim([0, 0.2])
    else:
        ax[0].set_ylim([0, ylim_max1])
    ax[0].set_ylabel("current ($I_{in}$)")
    ax[0].set_title(title)
    ax[1].plot(mem_rec)
    ax[1].set_ylim([0, 1])
    ax[1].set_ylabel("membrane ($U_{mem}$)")
    if vline1:
        ax[1].axvline(x=vline1, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    if vline2:
        ax[1].axvline(x=vline2, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    plt.xlabel("step")
    plt.show()


def compare_plots(cur1, cur2, cur3, mem1, mem2, mem3, vline1, vline2, vline3, vline4, title):
    fig, ax = plt.subplots(2, figsize=(8, 6), sharex=True)
    ax[0].plot(cur1)
    ax[0].plot(cur2)
    ax[0].plot(cur3)
    ax[0].set_ylim([0, 0.2])
    ax[0].set_ylabel("current ($I_{in}$)")
    ax[0].set_title(title)
    ax[1].plot(mem1)
    ax[1].plot(mem2)
    ax[1].plot(mem3)
    ax[1].set_ylim([0, 1])
    ax[1].set_ylabel("membrane ($U_{mem}$)")
    ax[1].axvline(x=vline1, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", clip_on=False)
    ax[1].axvline(x=vline2, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", clip_on=False)
    ax[1].axvline(x=vline3, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", clip_on=False)
    ax[1].axvline(x=vline4, ymin=0, ymax=2.2, alpha=0.25, linestyle="dashed", c="black", clip_on=False)
    plt.xlabel("step")
    plt.show()


def plot_cur_mem_spk(cur, mem, spk, thr_line=False, vline=False, title=False, ylim_max1=0.4, ylim_max2=1.25):
    fig, ax = plt.subplots(3, figsize=(8, 6), sharex=True, gridspec_kw={"height_ratios": [1, 1, 0.4]})
    ax[0].plot(cur, c="tab:orange")
    ax[0].set_ylim([0, ylim_max1])
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


def plot_spk_mem_spk(spk_in, mem, spk_out, title):
    fig, ax = plt.subplots(3, figsize=(8, 6), sharex=True, gridspec_kw={"height_ratios": [0.4, 1, 0.4]})
    splt.raster(spk_in, ax[0], s=400, c="black", marker="|")
    ax[0].set_ylabel("in")
    ax[0].set_title(title)
    plt.yticks([])
    ax[1].plot(mem)
    ax[1].set_ylim([0, 1.25])
    ax[1].set_ylabel("membrane")
    splt.raster(spk_out, ax[2], s=400, c="black", marker="|")
    plt.yticks([])
    ax[2].set_ylabel("out")
    plt.show()


def plot_reset_comparison(spk_in, mem_rec, spk_rec, mem_rec0, spk_rec0):
    fig, ax = plt.subplots(nrows=3, ncols=2, figsize=(10, 6), sharex=True, gridspec_kw={"height_ratios": [0.4, 1, 0.4]})
    splt.raster(spk_in, ax[0][0], s=400, c="black", marker="|")
    ax[0][0].set_ylabel("in")
    ax[0][0].set_title("less the threshold")
    ax[0][0].set_yticks([])
    splt.raster(spk_in, ax[0][1], s=400, c="black", marker="|")
    ax[0][1].set_title("to zero")
    ax[0][1].set_yticks([])
    ax[1][0].plot(mem_rec)
    ax[1][0].set_ylim([0, 0.7])
    ax[1][0].set_ylabel("membrane")
    ax[1][0].axhline(y=0.5, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    ax[1][1].plot(mem_rec0)
    ax[1][1].set_ylim([0, 0.7])
    ax[1][1].axhline(y=0.5, alpha=0.25, linestyle="dashed", c="black", linewidth=2)
    splt.raster(spk_rec, ax[2][0], s=400, c="black", marker="|")
    ax[2][0].set_yticks([])
    ax[2][0].set_xlabel("step")
    ax[2][0].set_ylabel("out")
    splt.raster(spk_rec0, ax[2][1], s=400, c="black", marker="|")
    ax[2][1].set_yticks([])
    ax[2][1].set_xlabel("step")
    plt.show()


# --- The membrane by hand, with Euler's rule


def leaky_integrate_neuron(U, time_step=1e-3, I=0, R=5e7, C=1e-10):
    tau = R * C
    U = U + (time_step / tau) * (-U + I * R)
    return U


num_steps = 100
U = 0.9
U_trace = []
for step in range(num_steps):
    U_trace.append(U)
    U = leaky_integrate_neuron(U)
plot_mem(U_trace, "it leaks")

# --- Lapicque's neuron, left alone

time_step = 1e-3
R = 5
C = 1e-3
lif1 = snn.Lapicque(R=R, C=C, time_step=time_step)
mem = jnp.ones(1) * 0.9
cur_in = jnp.zeros(num_steps)
# twin: cur_in = cur_in.unsqueeze(1)
spk_out = jnp.zeros(1)
mem_rec = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in[step], mem)
    mem_rec.append(mem)
mem_rec = jnp.stack(mem_rec)
plot_mem(mem_rec, "so does Lapicque's")
alone = mem_rec  # data

# --- A step of current

num_steps = 200
# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * 0.1), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.1), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in[step], mem)
    mem_rec.append(mem)
mem_rec = jnp.stack(mem_rec)
plot_step_current_response(cur_in, mem_rec, 10)
print(f"current times resistance: {cur_in[11] * lif1.R} V")
print(f"the membrane in the end: {mem_rec[200][0]} V")

# --- Pulses, shorter and shorter

# torch: cur_in1 = torch.cat((torch.zeros(10), torch.ones(20) * (0.1), torch.zeros(170)), 0)
cur_in1 = jnp.concatenate((jnp.zeros(10), jnp.ones(20) * (0.1), jnp.zeros(170)), 0)  # jax
# twin: cur_in1 = cur_in1.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec1 = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in1[step], mem)
    mem_rec1.append(mem)
mem_rec1 = jnp.stack(mem_rec1)
plot_current_pulse_response(cur_in1, mem_rec1, "a pulse", vline1=10, vline2=30)

# torch: cur_in2 = torch.cat((torch.zeros(10), torch.ones(10) * 0.111, torch.zeros(180)), 0)
cur_in2 = jnp.concatenate((jnp.zeros(10), jnp.ones(10) * 0.111, jnp.zeros(180)), 0)  # jax
# twin: cur_in2 = cur_in2.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec2 = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in2[step], mem)
    mem_rec2.append(mem)
mem_rec2 = jnp.stack(mem_rec2)
plot_current_pulse_response(cur_in2, mem_rec2, "half as long", vline1=10, vline2=20)

# torch: cur_in3 = torch.cat((torch.zeros(10), torch.ones(5) * 0.147, torch.zeros(185)), 0)
cur_in3 = jnp.concatenate((jnp.zeros(10), jnp.ones(5) * 0.147, jnp.zeros(185)), 0)  # jax
# twin: cur_in3 = cur_in3.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec3 = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in3[step], mem)
    mem_rec3.append(mem)
mem_rec3 = jnp.stack(mem_rec3)
plot_current_pulse_response(cur_in3, mem_rec3, "a quarter as long", vline1=10, vline2=15)
compare_plots(cur_in1, cur_in2, cur_in3, mem_rec1, mem_rec2, mem_rec3, 10, 15, 20, 30, "all three")

# torch: cur_in4 = torch.cat((torch.zeros(10), torch.ones(1) * 0.5, torch.zeros(189)), 0)
cur_in4 = jnp.concatenate((jnp.zeros(10), jnp.ones(1) * 0.5, jnp.zeros(189)), 0)  # jax
# twin: cur_in4 = cur_in4.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec4 = [mem]
for step in range(num_steps):
    spk_out, mem = lif1(cur_in4[step], mem)
    mem_rec4.append(mem)
mem_rec4 = jnp.stack(mem_rec4)
plot_current_pulse_response(cur_in4, mem_rec4, "one step long", vline1=10, ylim_max1=0.6)

# --- It fires, by hand


def leaky_integrate_and_fire(mem, cur=0, threshold=1, time_step=1e-3, R=5.1, C=5e-3):
    tau_mem = R * C
    spk = mem > threshold
    mem = mem + (time_step / tau_mem) * (-mem + cur * R) - spk * threshold
    return mem, spk


# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * 0.2), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.2), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
mem_rec = []
spk_rec = []
for step in range(num_steps):
    mem, spk = leaky_integrate_and_fire(mem, cur_in[step])
    mem_rec.append(mem)
    spk_rec.append(spk)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(cur_in, mem_rec, spk_rec, thr_line=1, vline=109, ylim_max2=1.3, title="it fires")

# --- It fires, as Lapicque's

lif2 = snn.Lapicque(R=5.1, C=5e-3, time_step=1e-3)
# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * 0.2), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.2), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec = [mem]
spk_rec = [spk_out]
for step in range(num_steps):
    spk_out, mem = lif2(cur_in[step], mem)
    mem_rec.append(mem)
    spk_rec.append(spk_out)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(cur_in, mem_rec, spk_rec, thr_line=1, vline=109, ylim_max2=1.3, title="so does Lapicque's")
print(spk_rec[105:115].reshape(-1))
fires = mem_rec  # data

# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * 0.3), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.3), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec = [mem]
spk_rec = [spk_out]
for step in range(num_steps):
    spk_out, mem = lif2(cur_in[step], mem)
    mem_rec.append(mem)
    spk_rec.append(spk_out)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(cur_in, mem_rec, spk_rec, thr_line=1, ylim_max2=1.3, title="more current")

lif3 = snn.Lapicque(R=5.1, C=5e-3, time_step=1e-3, threshold=0.5)
# torch: cur_in = torch.cat((torch.zeros(10), torch.ones(190) * 0.3), 0)
cur_in = jnp.concatenate((jnp.zeros(10), jnp.ones(190) * 0.3), 0)  # jax
# twin: cur_in = cur_in.unsqueeze(1)
mem = jnp.zeros(1)
spk_out = jnp.zeros(1)
mem_rec = [mem]
spk_rec = [spk_out]
for step in range(num_steps):
    spk_out, mem = lif3(cur_in[step], mem)
    mem_rec.append(mem)
    spk_rec.append(spk_out)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_cur_mem_spk(cur_in, mem_rec, spk_rec, thr_line=0.5, ylim_max2=1.3, title="a lower threshold")
faster = mem_rec  # data

# --- Spikes come in

# torch: spk_in = spikegen.rate_conv(torch.ones((num_steps)) * 0.40)
spk_in = jnp.asarray(np.random.default_rng(0).random(num_steps) < 0.40).astype(jnp.float32)  # jax
# twin: spk_in = torch.tensor(np.random.default_rng(0).random(num_steps) < 0.40).float().unsqueeze(1)
print(f"{int(spk_in.sum())} spikes in {len(spk_in)} steps")
fig = plt.figure(facecolor="w", figsize=(8, 1))
ax = fig.add_subplot(111)
splt.raster(spk_in.reshape(num_steps, -1), ax, s=100, c="black", marker="|")
plt.title("in")
plt.xlabel("step")
plt.yticks([])
plt.show()

mem = jnp.ones(1) * 0.5
spk_out = jnp.zeros(1)
mem_rec = [mem]
spk_rec = [spk_out]
for step in range(num_steps):
    spk_out, mem = lif3(spk_in[step], mem)
    spk_rec.append(spk_out)
    mem_rec.append(mem)
mem_rec = jnp.stack(mem_rec)
spk_rec = jnp.stack(spk_rec)
plot_spk_mem_spk(spk_in, mem_rec, spk_out, "spikes in, spikes out")

# --- Two ways to reset

lif4 = snn.Lapicque(R=5.1, C=5e-3, time_step=1e-3, threshold=0.5, reset_mechanism="zero")
spk_out = jnp.zeros(1)
mem_rec0 = [mem]
spk_rec0 = [spk_out]
for step in range(num_steps):
    spk_out, mem = lif4(spk_in[step], mem)
    spk_rec0.append(spk_out)
    mem_rec0.append(mem)
mem_rec0 = jnp.stack(mem_rec0)
spk_rec0 = jnp.stack(spk_rec0)
plot_reset_comparison(spk_in, mem_rec, spk_rec, mem_rec0, spk_rec0)

results = {"alone": alone, "fires": fires, "faster": faster, "spikes": spk_rec, "zero": mem_rec0}  # data
