"""One step, and many neurons for each class."""

import jax.numpy as jnp
import torch  # jax
import jax  # jax
import optax  # jax
import snnax as snn
from helpers.tutorial_data import datasets, transforms  # data
from snnax import utils  # data

batch_size = 64
data_path = "data/mnist"
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")

from torch.utils.data import DataLoader

transform = transforms.Compose([
    transforms.Resize((28, 28)),
    transforms.Grayscale(),
    transforms.ToTensor(),
    transforms.Normalize((0,), (1,)),
])
train_set = datasets.FashionMNIST(data_path, train=True, download=True, transform=transform)
test_set = datasets.FashionMNIST(data_path, train=False, download=True, transform=transform)
train_set, test_set = utils.data_subset(train_set, 4), utils.data_subset(test_set, 4)  # data
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=True)

from snnax import surrogate

num_inputs = 28 * 28
num_hidden = 128
num_outputs = 10
num_steps = 1
beta = 0.9
grad = surrogate.fast_sigmoid()
net = snn.Sequential(
    snn.Flatten(),
    snn.Linear(num_inputs, num_hidden),
    snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True),
    snn.Linear(num_hidden, num_outputs),
    snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True, output=True),
).to(device)
pop_outputs = 500
net_pop = snn.Sequential(
    snn.Flatten(),
    snn.Linear(num_inputs, num_hidden),
    snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True),
    snn.Linear(num_hidden, pop_outputs),
    snn.Leaky(beta=beta, spike_grad=grad, init_hidden=True, output=True),
).to(device)
model, variables, state = net, net.init(jax.random.key(0), jnp.ones((1, 1, 28, 28))), None  # jax

import snnax.functional as SF

# torch: optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.9, 0.999))
optimizer = optax.adam(2e-3, b1=0.9, b2=0.999)  # jax
loss_fn = SF.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0)

from snnax import utils


def test_accuracy(data_loader, net, num_steps, population_code=False, num_classes=False):
    with torch.no_grad():
        total = 0
        acc = 0
        net.eval()
        data_loader = iter(data_loader)
        for data, targets in data_loader:
            data = data.to(device)
            targets = targets.to(device)
            utils.reset(net)
            spk_rec, _ = net(data)
            # torch: spk_rec = spk_rec.unsqueeze(0)
            spk_rec = spk_rec[None]  # jax
            if population_code:
                right = SF.accuracy_rate(spk_rec, targets, population_code=True, num_classes=10)
            else:
                right = SF.accuracy_rate(spk_rec, targets)
            # torch: acc += right * spk_rec.size(1)
            acc += right * spk_rec.shape[1]  # jax
            # torch: total += spk_rec.size(1)
            total += spk_rec.shape[1]  # jax
    return acc / total


from snnax import backprop

num_epochs = 1
for epoch in range(num_epochs):
    # torch: avg_loss = backprop.BPTT(net, train_loader, optimizer, loss_fn, num_steps, False, device=device)
    how = {"time_var": False, "opt_state": state}  # jax
    given = (model, variables, train_loader, optimizer, loss_fn, num_steps)  # jax
    avg_loss, variables, state = backprop.BPTT(*given, **how)  # jax
    net = model.bind(variables, mutable=["hidden"])  # jax
    print(f"epoch {epoch}")
    accuracy = test_accuracy(test_loader, net, num_steps)
    print(f"test set: {accuracy * 100:.3f} %\n")

loss_fn = SF.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0, population_code=True, num_classes=10)
# torch: optimizer = torch.optim.Adam(net_pop.parameters(), lr=2e-3, betas=(0.9, 0.999))
model, variables, state = net_pop, net_pop.init(jax.random.key(0), jnp.ones((1, 1, 28, 28))), None  # jax
num_epochs = 1
for epoch in range(num_epochs):
    # torch: avg_loss = backprop.BPTT(net_pop, train_loader, optimizer, loss_fn, num_steps, False, device=device)
    how = {"time_var": False, "opt_state": state}  # jax
    given = (model, variables, train_loader, optimizer, loss_fn, num_steps)  # jax
    avg_loss, variables, state = backprop.BPTT(*given, **how)  # jax
    net_pop = model.bind(variables, mutable=["hidden"])  # jax
    print(f"epoch {epoch}")
    accuracy_pop = test_accuracy(test_loader, net_pop, num_steps, population_code=True, num_classes=10)
    print(f"test set: {accuracy_pop * 100:.3f} %\n")

results = {}  # data
learned = {"accuracy": float(accuracy), "population": float(accuracy_pop)}  # data
