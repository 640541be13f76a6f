"""Networks that run in jaxsnn and here: what they are, and how jaxsnn's spikes were recorded.

``JAX_ENABLE_X64=1 python tests/helpers/jaxsnn_networks.py tests/interop/nir/jaxsnn_spikes.json`` writes the recording,
in an environment with jaxsnn 0.3.0 and nir 1.0.8, in which snnax need not be. Weights and inputs come from fixed seeds.
"""

import itertools
import json
import sys
from dataclasses import dataclass

import numpy as np

T_MAX = 0.04
BATCH = 3


@dataclass(frozen=True)
class Net:
    """Sizes from the input to the last layer, of neurons with these numbers."""

    sizes: tuple[int, ...]
    tau_mem: float = 10e-3
    tau_syn: float = 5e-3
    v_th: float = 1.0
    v_reset: float = 0.0
    recurrent: bool = False
    low: float = 0.5
    high: float = 2.5

    @property
    def values(self):
        return np.random.default_rng(sum(self.sizes) + round(1e6 * self.tau_syn))

    @property
    def inputs(self):
        """Two spikes of each input, ``[BATCH, N, 2]``, no two of a sample at one time."""
        return np.sort(self.values.uniform(0, 12e-3, (BATCH, self.sizes[0], 2)))

    def weights(self):
        """Of each layer ``[N, M]``; the recurrent ones of the first, if it has any, at the end."""
        draw = np.random.default_rng(7)
        found = [
            draw.uniform(self.low, self.high, pair) * 4 / pair[0]
            for pair in zip(self.sizes, self.sizes[1:], strict=False)
        ]
        if self.recurrent:
            found.append(draw.uniform(-0.8, 0.4, (self.sizes[1],) * 2))
        return found


NETS = {
    "one layer": Net((4, 5)),
    "two layers": Net((4, 6, 3)),
    "equal time constants": Net((4, 6, 3), tau_syn=10e-3, low=0.3, high=1.0),
    "reset below zero": Net((4, 6, 3), v_reset=-0.7),
    "one spike": Net((4, 6, 3), v_reset=-1000.0),
    "recurrent": Net((4, 5), recurrent=True),
    "from a NIR graph": Net((4, 6, 3), v_th=0.9),
}


def nir_graph(net, layout):
    """A chain for ``jaxsnn.event.from_nir``: milliseconds; weights by the function ``layout`` of ``[N, M]``."""
    import nir

    nodes = {"input": nir.Input({"input": np.array([net.sizes[0]])})}
    for k, weights in enumerate(net.weights()):
        one = np.ones(weights.shape[1])
        nodes[f"linear{k}"] = nir.Linear(layout(weights))
        nodes[f"lif{k}"] = nir.CubaLIF(
            tau_mem=one * net.tau_mem * 1e3,
            tau_syn=one * net.tau_syn * 1e3,
            r=one,
            v_leak=one * 0,
            v_threshold=one * net.v_th,
            v_reset=one * net.v_reset,
        )
    nodes["output"] = nir.Output({"output": np.array([net.sizes[-1]])})
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)


def record(name, net):
    """The spikes of the last layer, as jaxsnn's engine finds them: ``[sample][neuron]`` lists of seconds."""
    import jax
    import jax.numpy as jnp
    from jaxsnn.event import ConversionConfig, from_nir
    from jaxsnn.event.modules import LIF, LIFParameters, Linear, Source
    from jaxsnn.event.topology import Topology
    from jaxsnn.event.types import Spike

    layers = len(net.sizes) - 1
    budget = 120  # an event is an input, too: enough that nothing is cut
    if "NIR" in name:
        # Its reader takes the array of a Linear as it is for [N, M], where NIR has [M, N].
        topology = from_nir(
            nir_graph(net, np.asarray), ConversionConfig(T_MAX, {f"lif{k}": budget for k in range(layers)})
        )
    else:
        topology = Topology(t_max=T_MAX)
        numbers = LIFParameters(tau_syn=net.tau_syn, tau_mem=net.tau_mem, v_th=net.v_th, v_reset=net.v_reset)
        weights = net.weights()
        topology.add({"input": Source(net.sizes[0])})
        before = "input"
        for k in range(layers):
            topology.add(
                {
                    f"linear{k}": Linear(pre_weights=weights[k]),
                    f"lif{k}": LIF(net.sizes[k + 1], budget, numbers),
                }
            )
            topology.connect([(before, f"linear{k}"), (f"linear{k}", f"lif{k}")])
            before = f"lif{k}"
        if net.recurrent:
            topology.add({"recurrent": Linear(pre_weights=weights[-1])})
            topology.connect([("lif0", "recurrent"), ("recurrent", "lif0")])
    init, apply = topology.done()
    flat = net.inputs.reshape(BATCH, -1)
    order = np.argsort(flat, -1)
    neuron = np.repeat(np.arange(net.sizes[0]), 2)
    zeros = jnp.zeros(flat.shape)
    spikes = Spike(
        time=jnp.asarray(np.take_along_axis(flat, order, -1)),
        idx=jnp.asarray(neuron[order]),
        current=zeros,
        layer_idx=zeros.astype(int),
        internal=zeros.astype(bool) | True,
    )
    out = apply({"input": spikes}, init(jax.random.key(0)))[f"lif{layers - 1}"]
    time, idx, own = (np.asarray(x) for x in (out.time, out.idx, out.internal))
    assert (time[:, -1] >= T_MAX).all(), "the budget of events is spent"
    return [
        [sorted(time[b][(idx[b] == n) & own[b] & (time[b] < T_MAX)].tolist()) for n in range(net.sizes[-1])]
        for b in range(BATCH)
    ]


def main(path):
    import jax
    import jaxsnn  # noqa: F401

    about = f"jaxsnn 0.3.0 with JAX {jax.__version__}, float64, by tests/helpers/jaxsnn_networks.py"
    found = {"recorded with": about, "spikes": {name: record(name, net) for name, net in NETS.items()}}
    with open(path, "w") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
