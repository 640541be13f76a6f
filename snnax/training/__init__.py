"""Training: a state, compiled steps, a loop with progress, checkpoints that resume to the last bit.

Example:
    >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
    >>> import snnax.functional as SF
    >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
    >>> x, y = jnp.ones((25, 8, 3)), jnp.zeros(8, int)  # [T, B, features], [B]
    >>> state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x[0]), optax.adam(1e-2))
    >>> state, history = snn.training.fit(state, [(x, y)], epochs=2, loss=SF.ce_rate_loss(), progress=False)
    >>> int(state.step), len(history.loss)
    (2, 2)
"""

from snnax.training.batching import batches
from snnax.training.checkpoints import Checkpoints
from snnax.training.history import History
from snnax.training.loop import evaluate, fit
from snnax.training.sharding import data_mesh
from snnax.training.state import TrainState
from snnax.training.steps import make_eval_step, make_train_step

__all__ = [
    "Checkpoints",
    "History",
    "TrainState",
    "batches",
    "data_mesh",
    "evaluate",
    "fit",
    "make_eval_step",
    "make_train_step",
]
