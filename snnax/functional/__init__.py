"""Losses, accuracies, a regularizer, state quantization and STDP, under snnTorch's names.

Everything takes what :func:`snnax.unroll` returns: spikes or membranes ``[T, B, N]``, time first, and labels
``[B]``. A loss is built once and called like a function; it is immutable and hashable, and works inside
``jit``, ``grad`` and ``vmap``. ``snnax.functional.quant`` and ``snnax.functional.stdp_learner`` are modules,
as in snnTorch.

Example:
    >>> import jax, jax.numpy as jnp
    >>> import snnax.functional as SF
    >>> loss = SF.ce_rate_loss()
    >>> spk, targets = jnp.zeros((25, 8, 10)), jnp.zeros(8, int)  # [T, B, N], [B]
    >>> value, slope = jax.jit(jax.value_and_grad(loss))(spk, targets)
    >>> round(float(value), 4), slope.shape
    (2.3026, (25, 8, 10))
"""

from snnax.functional import quant as quant
from snnax.functional import stdp_learner as stdp_learner
from snnax.functional.acc import accuracy_rate, accuracy_temporal
from snnax.functional.base import LossFunctions
from snnax.functional.count import ce_count_loss, ce_rate_loss, mse_count_loss
from snnax.functional.membrane import ce_max_membrane_loss, mse_membrane_loss
from snnax.functional.pooling import avg_pool2d, max_pool2d
from snnax.functional.reg import l1_rate_sparsity
from snnax.functional.spike_time import SpikeTime
from snnax.functional.temporal import ce_temporal_loss, mse_temporal_loss

__all__ = [
    "LossFunctions",
    "SpikeTime",
    "accuracy_rate",
    "accuracy_temporal",
    "avg_pool2d",
    "ce_count_loss",
    "ce_max_membrane_loss",
    "ce_rate_loss",
    "ce_temporal_loss",
    "l1_rate_sparsity",
    "max_pool2d",
    "mse_count_loss",
    "mse_membrane_loss",
    "mse_temporal_loss",
]
