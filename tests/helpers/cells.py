"""Run the LSTM cells in snnax and in torch with the same weights, and hold the two to each other."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from helpers.neurons import Traces

import snnax as snn

T = 60


def normal(shape: tuple[int, ...], seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def kept(kind: str, *args: Any, **options: Any) -> Any:
    return getattr(snn, kind)(*args, **options, init_hidden=True, output=True)


def start(module: Any, x: Any) -> Any:
    """Initial variables."""
    return jax.jit(module.init)(jax.random.key(0), x)


def trace(module: Any, params: Any, x: np.ndarray, **options: Any) -> Traces:
    """Spikes and states of all steps."""
    (spk, syn, mem), _ = snn.unroll(module, {"params": params}, x, chunk=T, **options)
    return {"spk": np.asarray(spk), "syn": np.asarray(syn), "mem": np.asarray(mem)}


def torch_trace(step: Any, x: Any, states: Any) -> Traces:
    """The same from ``spk, syn, mem = step(x, syn, mem)``, images to channels last."""
    import torch

    rows = []
    with torch.no_grad():
        for frame in x:
            spk, *states = step(frame, *states)
            rows.append([spk, *(s.clone() for s in states)])
    stacked = [torch.stack(column).numpy() for column in zip(*rows, strict=True)]
    return dict(zip(("spk", "syn", "mem"), (np.moveaxis(v, 2, -1) for v in stacked), strict=True))


def agree(ours: Traces, theirs: Traces, case: str) -> None:
    assert 0.02 < theirs["spk"].mean() < 0.98, f"{case}: {theirs['spk'].mean()} spikes show nothing"
    assert np.array_equal(ours["spk"], theirs["spk"]), case
    for name in ("syn", "mem"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=f"{case} {name}")


def dense_params(cell: Any) -> dict[str, Any]:
    """Weights of a torch LSTMCell."""
    found = {}
    for name, key in (("feedforward", "ih"), ("recurrent", "hh")):
        found[name] = {"kernel": getattr(cell, f"weight_{key}").detach().numpy().T}
        if cell.bias:
            found[name]["bias"] = getattr(cell, f"bias_{key}").detach().numpy()
    return found


def conv_params(conv: Any) -> dict[str, Any]:
    """Weights of a torch Conv2d."""
    found = {"kernel": conv.weight.detach().numpy().transpose(2, 3, 1, 0)}
    if conv.bias is not None:
        found["bias"] = conv.bias.detach().numpy()
    return {"conv": found}


def channels_first(x: np.ndarray) -> Any:
    import torch

    return torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 2)))
