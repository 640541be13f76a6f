"""Small data and networks to train."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

import snnax as snn
from snnax.training import TrainState

T, B, FEATURES, CLASSES = 6, 8, 5, 3
ADAM = optax.adam(0.05)
"""One object, so that tests share compiled programs."""


def data(samples: int = B, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spikes ``[T, N, FEATURES]`` of which one feature per class is busy, and labels ``[N]``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    rates = np.where(np.eye(FEATURES)[labels] > 0, 0.9, 0.2)
    return (rng.random((T, samples, FEATURES)) < rates).astype(np.float32), labels


def dense(**options: Any) -> nn.Module:
    return snn.Sequential(
        [nn.Dense(CLASSES), snn.Leaky(beta=0.8, threshold=0.5, init_hidden=True, output=True, **options)]
    )


def busy() -> nn.Module:
    """Everything that a state carries: batch statistics, dropout, a fixed array, a learned threshold."""
    return snn.Sequential(
        [
            nn.Dense(CLASSES),
            nn.BatchNorm(use_running_average=True, momentum=0.9),
            nn.Dropout(0.3, deterministic=True),
            snn.Leaky(
                beta=np.linspace(0.5, 0.9, CLASSES),
                threshold=0.5,
                learn_threshold=True,
                init_hidden=True,
                output=True,
            ),
        ]
    )


def fresh(net: nn.Module, seed: int = 0) -> Any:
    """The variables of ``net``."""
    return jax.jit(net.init)(jax.random.key(seed), data()[0][0])


def start(net: nn.Module, tx: Any = None, seed: int = 0, **options: Any) -> TrainState:
    variables = fresh(net, seed)
    return TrainState.create(net, variables, tx or ADAM, key=jax.random.key(7), **options)


def bits(tree: Any) -> dict[str, bytes]:
    """Every array of a tree by name, to compare to the last bit."""

    def raw(leaf: Any) -> bytes:
        key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if key else leaf).tobytes()

    return {jax.tree_util.keystr(p): raw(v) for p, v in jax.tree_util.tree_leaves_with_path(tree)}
