"""A membrane that learns to follow a curve."""

import snnax as snn
from snnax import surrogate
from snnax import functional as SF
from snnax import utils
import torch
import snnax as snn  # nn
import jax.numpy as jnp  # jax
import jax  # jax
import optax  # jax
from torch.utils.data import DataLoader
import matplotlib.pyplot as plt
import numpy as np
import itertools
import random
import statistics

torch.manual_seed(0)
random.seed(0)
np.random.seed(0)


class RegressionDataset(torch.utils.data.Dataset):
    def __init__(self, timesteps, num_samples, mode):
        self.num_samples = num_samples
        feature_lst = []
        for idx in range(num_samples):
            end = float(torch.rand(1))
            lin_vec = torch.linspace(start=0.0, end=end, steps=timesteps)
            feature = lin_vec.view(timesteps, 1)
            feature_lst.append(feature)
        self.features = torch.stack(feature_lst, dim=1)
        if mode == "linear":
            self.labels = self.features * 1
        elif mode == "sqrt":
            slope = float(torch.rand(1))
            self.labels = torch.sqrt(self.features * slope)
        else:
            raise NotImplementedError("linear or sqrt")

    def __len__(self):
        return self.num_samples

    def __getitem__(self, idx):
        return self.features[:, idx, :], self.labels[:, idx, :]


num_steps = 6
num_samples = 1
mode = "sqrt"
dataset = RegressionDataset(timesteps=num_steps, num_samples=num_samples, mode=mode)
sample = dataset.labels[:, 0, 0]
plt.plot(sample)
plt.title("to be learned")
plt.xlabel("time")
plt.ylabel("membrane")
plt.show()

batch_size = 1
dataloader = torch.utils.data.DataLoader(dataset=dataset, batch_size=batch_size, drop_last=True)


class Net(snn.Module):
    def __init__(self, timesteps, hidden):
        super().__init__()
        self.timesteps = timesteps
        self.hidden = hidden
        spike_grad = surrogate.fast_sigmoid()
        # torch: beta_in = torch.rand(self.hidden)
        beta_in = jax.random.uniform(jax.random.key(0), (self.hidden,))  # jax
        # torch: thr_in = torch.rand(self.hidden)
        thr_in = jax.random.uniform(jax.random.key(1), (self.hidden,))  # jax
        self.fc_in = snn.Linear(in_features=1, out_features=self.hidden)
        self.lif_in = snn.Leaky(beta=beta_in, threshold=thr_in, learn_beta=True, spike_grad=spike_grad)
        # torch: beta_hidden = torch.rand(self.hidden)
        beta_hidden = jax.random.uniform(jax.random.key(2), (self.hidden,))  # jax
        # torch: thr_hidden = torch.rand(self.hidden)
        thr_hidden = jax.random.uniform(jax.random.key(3), (self.hidden,))  # jax
        self.fc_hidden = snn.Linear(in_features=self.hidden, out_features=self.hidden)
        self.lif_hidden = snn.Leaky(beta=beta_hidden, threshold=thr_hidden, learn_beta=True, spike_grad=spike_grad)
        # torch: beta_out = torch.rand(1)
        beta_out = jax.random.uniform(jax.random.key(4), (1,))  # jax
        self.fc_out = snn.Linear(in_features=self.hidden, out_features=1)
        how = {"threshold": 1.0, "learn_beta": True, "reset_mechanism": "none"}
        self.li_out = snn.Leaky(beta=beta_out, spike_grad=spike_grad, **how)

    def forward(self, x):
        mem_1 = self.lif_in.init_leaky()
        mem_2 = self.lif_hidden.init_leaky()
        mem_3 = self.li_out.init_leaky()
        mem_3_rec = []
        for step in range(self.timesteps):
            x_timestep = x[step, :, :]
            cur_in = self.fc_in(x_timestep)
            spk_in, mem_1 = self.lif_in(cur_in, mem_1)
            cur_hidden = self.fc_hidden(spk_in)
            spk_hidden, mem_2 = self.lif_hidden(cur_hidden, mem_2)
            cur_out = self.fc_out(spk_hidden)
            _, mem_3 = self.li_out(cur_out, mem_3)
            mem_3_rec.append(mem_3)
        return jnp.stack(mem_3_rec)


hidden = 64
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
model = Net(timesteps=num_steps, hidden=hidden).to(device)
net, variables = model, model.init(jax.random.key(0), jnp.ones((num_steps, 1, 1)))  # jax
model = net.bind(variables)  # jax

train_batch = iter(dataloader)
with torch.no_grad():
    for feature, label in train_batch:
        feature = torch.swapaxes(input=feature, axis0=0, axis1=1)
        label = torch.swapaxes(input=label, axis0=0, axis1=1)
        feature = feature.to(device)
        label = label.to(device)
        mem = model(feature)
# torch: plt.plot(mem[:, 0, 0].cpu(), label="output")
plt.plot(mem[:, 0, 0], label="output")  # jax
plt.plot(label[:, 0, 0].cpu(), "--", label="target")
plt.title("before")
plt.xlabel("time")
plt.ylabel("membrane")
plt.legend(loc="best")
plt.show()

num_iter = 4
# torch: optimizer = torch.optim.Adam(params=model.parameters(), lr=1e-3)
optimizer = optax.adam(1e-3)  # jax
params = model.parameters()  # jax
opt_state = optimizer.init(params)  # jax
loss_function = snn.MSELoss()
loss_hist = []


@jax.jit  # jax
def trained(params, opt_state, x, y):  # jax
    def total(params):  # jax
        return loss_function(net.apply({**variables, "params": params}, x), y)  # jax

    grads = jax.grad(total)(params)  # jax
    updates, opt_state = optimizer.update(grads, opt_state)  # jax
    return optax.apply_updates(params, updates), opt_state  # jax


for _ in range(num_iter):
    train_batch = iter(dataloader)
    minibatch_counter = 0
    loss_epoch = []
    for feature, label in train_batch:
        feature = torch.swapaxes(input=feature, axis0=0, axis1=1)
        label = torch.swapaxes(input=label, axis0=0, axis1=1)
        feature = feature.to(device)
        label = label.to(device)
        mem = model(feature)
        loss_val = loss_function(mem, label)
        # torch: optimizer.zero_grad()
        # torch: loss_val.backward()
        # torch: optimizer.step()
        params, opt_state = trained(params, opt_state, feature.numpy(), label.numpy())  # jax
        model = net.bind({**variables, "params": params})  # jax
        loss_hist.append(loss_val.item())
        loss_epoch.append(loss_val.item())
        minibatch_counter += 1
        avg_batch_loss = sum(loss_epoch) / minibatch_counter
print(f"loss: {avg_batch_loss:.3e}")

loss_function = snn.L1Loss()
with torch.no_grad():
    model.eval()
    test_batch = iter(dataloader)
    minibatch_counter = 0
    rel_err_lst = []
    for feature, label in test_batch:
        feature = torch.swapaxes(input=feature, axis0=0, axis1=1)
        label = torch.swapaxes(input=label, axis0=0, axis1=1)
        feature = feature.to(device)
        label = label.to(device)
        mem = model(feature)
        # torch: rel_err = torch.linalg.norm((mem - label), dim=-1) / torch.linalg.norm(label, dim=-1)
        known = jnp.asarray(label)  # jax
        rel_err = jnp.linalg.norm((mem - known), axis=-1) / jnp.linalg.norm(known, axis=-1)  # jax
        rel_err = jnp.mean(rel_err[1:, :])
        rel_err_lst.append(rel_err.item())
        minibatch_counter += 1
    mean_L1 = statistics.mean(rel_err_lst)
print(f"error: {mean_L1:.2f}")

plt.figure()  # data
# torch: plt.plot(mem[:, 0, 0].cpu(), label="output")
plt.plot(mem[:, 0, 0], label="output")  # jax
plt.plot(label[:, 0, 0].cpu(), "--", label="target")
plt.title("after")
plt.xlabel("time")
plt.ylabel("membrane")
plt.legend(loc="best")
plt.show()

results = {}  # data
shapes = {"mem": mem}  # data
learned = {"loss": (loss_hist[0], loss_hist[-1])}  # data
