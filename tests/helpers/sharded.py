"""A short training on several devices; prints its losses. ``sharded.py DEVICES [PROCESS PROCESSES PORT FOLDER]``."""

from __future__ import annotations

import json
import os
import sys

devices, *rest = map(int, sys.argv[1:5])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

import snnax as snn  # noqa: E402
import snnax.functional as SF  # noqa: E402

process, processes, port = rest or (0, 1, 0)
if rest:
    jax.distributed.initialize(f"localhost:{port}", processes, process)

T, B = 5, 16
rng = np.random.default_rng(0)
x = rng.random((3, T, B, 8, 8, 1)).astype(np.float32)
y = rng.integers(0, 4, (3, B))
net = snn.Sequential(
    [
        nn.Conv(4, (3, 3)),
        nn.BatchNorm(use_running_average=True, axis_name="data"),
        snn.MaxPool2d(2),
        snn.Leaky(0.8, init_hidden=True, learn_beta=True),
        snn.Flatten(),
        nn.Dense(4),
        snn.RLeaky(0.8, linear_features=4, init_hidden=True, output=True),
    ]
)
variables = net.init(jax.random.key(0), x[0, 0])
mesh = snn.training.data_mesh() if jax.device_count() > 1 else None
part = slice(process * B // processes, (process + 1) * B // processes)
losses = []
if mesh is None:  # one device has no axis of that name
    net = snn.Sequential([m.clone(axis_name=None) if isinstance(m, nn.BatchNorm) else m for m in net.layers])
state = snn.training.TrainState.create(net, variables, optax.sgd(0.5))
step = snn.training.make_train_step(SF.ce_count_loss(), SF.accuracy_rate, mesh=mesh)
for x_i, y_i in zip(x, y, strict=True):
    state, metrics = step(state, x_i[:, part], y_i[part])
    losses.append({name: float(value) for name, value in metrics.items()})
evaluate = snn.training.make_eval_step(SF.ce_count_loss(), mesh=mesh)
losses.append({"loss": float(evaluate(state, x[0][:, part], y[0][part])["loss"])})
total = sum(float(abs(np.asarray(leaf.addressable_data(0))).sum()) for leaf in jax.tree.leaves(state.params))
steps = None
if rest:
    store = snn.training.Checkpoints(sys.argv[5])
    store.save(state)
    store.save(state)  # takes the place of the first
    multihost_utils.sync_global_devices("saved")
    again, _ = store.restore(state)
    steps = [*store.steps(), int(again.step)]
print(json.dumps({"steps": steps, "devices": jax.device_count(), "metrics": losses, "weights": total}))
