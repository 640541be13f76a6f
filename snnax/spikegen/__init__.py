"""Encoders of data and labels as spike trains, under snnTorch's names.

Trains are time-first, ``[T, ...]``. Letters of shapes: ``T`` time steps, ``B`` samples, ``C`` classes; ``...`` is any
shape of one sample or batch. NumPy, JAX and torch arrays are taken, JAX arrays are returned. Spikes have the dtype of
the data (snnTorch: mostly float32); integers and labels give JAX's default float.

What is random takes ``key``, which snnTorch does not have: the same key gives the same spikes. Everything else computes
what snnTorch 1.0.0 computes, value for value, except where its docstring names a bug.

Under ``jax.jit`` all arguments but arrays and keys are static. Values of traced arrays cannot be checked: what would be
an error is computed as the docstrings say.

Example:
    >>> import jax
    >>> from snnax import spikegen
    >>> spikegen.rate([[0.0, 0.5, 1.0]], num_steps=10, key=jax.random.key(0)).shape
    (10, 1, 3)
    >>> spikegen.latency([0.02, 0.5, 1.0], num_steps=5, normalize=True, linear=True).argmax(0).tolist()
    [4, 2, 0]
"""

from snnax.spikegen.encoders import delta, rate, rate_conv
from snnax.spikegen.firing_times import latency_code, latency_code_linear, latency_code_log
from snnax.spikegen.labels import from_one_hot, to_one_hot, to_one_hot_inverse
from snnax.spikegen.single_spikes import latency, latency_interpolate
from snnax.spikegen.target_trains import rate_interpolate, target_rate_code
from snnax.spikegen.targets import targets_convert, targets_latency, targets_rate

__all__ = [
    "delta",
    "from_one_hot",
    "latency",
    "latency_code",
    "latency_code_linear",
    "latency_code_log",
    "latency_interpolate",
    "rate",
    "rate_conv",
    "rate_interpolate",
    "target_rate_code",
    "targets_convert",
    "targets_latency",
    "targets_rate",
    "to_one_hot",
    "to_one_hot_inverse",
]
