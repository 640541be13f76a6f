"""A wide layer cut over eight devices, and on one; prints how results differ and lie, and what devices exchange."""

from __future__ import annotations

import json
import os
import re

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

import snnax as snn
import snnax.functional as SF

T, B, WIDE = 20, 4, 64
rng = np.random.default_rng(0)
x, y = (rng.random((T, B, 16)) < 0.4).astype(np.float32), np.arange(B)
beta = rng.uniform(0.8, 0.95, WIDE)
net = snn.Sequential(
    [
        nn.Dense(WIDE),
        snn.Leaky(beta=beta, threshold=0.5, learn_beta=True, init_hidden=True),
        nn.Dense(10),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    ]
)
params = net.init(jax.random.key(0), x[0])["params"]
mesh = Mesh(np.asarray(jax.devices()), ("features",))
specs = {
    "layers_0": {"kernel": Spec(None, "features"), "bias": Spec("features")},
    "layers_1": {"beta": Spec("features")},
    "layers_2": {"kernel": Spec("features", None), "bias": Spec()},
}
placed = jax.tree.map(lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)), params, specs)


@jax.jit
def program(params, x, y):
    def loss(params):
        (spk, _), updates = snn.unroll(net, {"params": params}, x)
        return SF.ce_count_loss()(spk, y), (spk, updates["hidden"]["layers_1"]["mem"])

    return jax.value_and_grad(loss, has_aux=True)(params)


(_, (spk, mem)), grads = program(params, x, y)
everywhere = NamedSharding(mesh, Spec())
given = placed, jax.device_put(x, everywhere), jax.device_put(y, everywhere)
compiled = program.lower(*given).compile()
(_, (wide_spk, wide_mem)), wide_grads = compiled(*given)
exchange = r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(.*"
found = re.finditer(exchange, compiled.as_text())
leaves = zip(jax.tree.leaves(grads), jax.tree.leaves(wide_grads), strict=True)
print(
    json.dumps(
        {
            "devices": jax.device_count(),
            "spikes": [float(spk.sum()), int((spk != wide_spk).sum())],
            "mem": float(abs(mem - wide_mem).max()),
            "grads": max(float(abs(a - b).max() / abs(a).max()) for a, b in leaves),
            "parts": [
                wide_mem.addressable_data(0).shape,
                *(wide_grads["layers_0"][name].addressable_data(0).shape for name in ("kernel", "bias")),
                wide_grads["layers_1"]["beta"].addressable_data(0).shape,
                wide_grads["layers_2"]["kernel"].addressable_data(0).shape,
            ],
            "exchanged": [[match[1], "/while/" in match[0]] for match in found],
        }
    )
)
