"""Networks of which one call is all of time are trained by the same steps and the same loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

from snnax.errors import ArgumentError
from snnax.training import Checkpoints, TrainState, batches, data_mesh, evaluate, fit, make_train_step


class Whole(nn.Module):
    """Sums its input over time, wants its weights small, and says in which samples that was too much."""

    runs_whole = True

    @nn.compact
    def __call__(self, x):
        assert x.ndim == 3
        dense = nn.Dense(2)
        y = dense(x.sum(1))
        if not self.is_initializing():
            kernel = dense.variables["params"]["kernel"]
            self.sow("losses", "size", 0.1 * jnp.sum(kernel**2), reduce_fn=lambda _, new: new)
            self.sow("overflow", "much", x.sum((1, 2)) > 6.0, reduce_fn=lambda _, new: new)
        return y


GENERATOR = np.random.default_rng(0)
Y = GENERATOR.integers(0, 2, 32)
X = (GENERATOR.random((32, 5, 2)) + np.eye(2)[Y][:, None]).astype(np.float32)
LOSS = {
    "loss": lambda out, y: optax.softmax_cross_entropy_with_integer_labels(out, y).mean(),
    "accuracy": lambda out, y: jnp.mean(out.argmax(1) == y),
}


def start():
    net = Whole()
    return TrainState.create(net, net.init(jax.random.key(0), X[:1]), optax.adam(0.05))


def test_it_is_called_once_with_all_of_time():
    state, history = fit(start(), batches(X, Y, 8), epochs=20, progress=False, eval_data=[(X, Y)], **LOSS)
    assert history.accuracy[-1] > 0.9 and history.loss[-1] < history.loss[0]
    assert history.overflow == pytest.approx([np.mean(X.sum((1, 2)) > 6.0)] * 20)
    assert history.eval_overflow == pytest.approx(history.overflow)
    assert evaluate(state, [(X, Y)], **LOSS)["overflow"] == pytest.approx(history.overflow[0])


def test_what_it_sows_is_added_to_the_loss():
    state = start()
    _, metrics = make_train_step(**LOSS, donate=False)(state, X, Y)
    kernel = state.params["Dense_0"]["kernel"]
    plain = LOSS["loss"](state.net.apply(state.variables, X), Y)
    np.testing.assert_allclose(metrics["loss"], plain + 0.1 * jnp.sum(kernel**2), rtol=1e-6)


def test_devices_share_the_samples():
    both = [
        make_train_step(**LOSS, donate=False, mesh=mesh)(start(), X, Y)[0] for mesh in (None, data_mesh())
    ]
    assert nets.bits(both[0].params) == nets.bits(both[1].params)


def test_time_steps_are_refused():
    with pytest.raises(ArgumentError, match=r"num_steps=3, but Whole has no time steps"):
        fit(start(), [(X, Y)], epochs=1, progress=False, num_steps=3, **LOSS)
    with pytest.raises(ArgumentError, match=r"remat=True, but Whole has no time steps.*Leave remat out"):
        fit(start(), [(X, Y)], epochs=1, progress=False, remat=True, **LOSS)


def test_a_checkpoint_keeps_what_overflowed(tmp_path):
    fit(start(), batches(X, Y, 8), epochs=1, progress=False, checkpoint=tmp_path, **LOSS)
    _, history = Checkpoints(tmp_path).restore(start())
    assert len(history.overflow) == 1
