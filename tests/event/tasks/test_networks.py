"""The networks of the tasks: inputs between two steps, and spikes that are seen with noise."""

import jax
import jax.numpy as jnp
import numpy as np

from snnax.event.tasks import networks

T_MAX = 20e-3


def test_an_input_between_two_steps_is_all_there_and_keeps_its_time():
    times = jnp.array([[0.0, 1.25e-3, 2e-3, jnp.inf]])
    given = np.asarray(networks._shared(times, 0.5e-3, 8))[:, 0]
    np.testing.assert_allclose(given.sum(0), [1, 1, 1, 0], atol=1e-6)
    assert (np.count_nonzero(given > 1e-6, 0) == [1, 2, 1, 0]).all()
    np.testing.assert_allclose(0.5e-3 * np.arange(8) @ given, [0, 1.25e-3, 2e-3, 0], atol=1e-9)


def test_noise_is_that_of_the_batch_and_none_is_none():
    net, loss = networks.two_layers(8, 3, T_MAX), networks.sure_first_spike_loss(T_MAX)
    times = jnp.asarray(np.random.default_rng(0).uniform(0, 8e-3, (4, 5)).astype("float32"))
    labels = jnp.array([0, 1, 2, 0])

    def losses(key):
        params = networks.init_of(net)(key, times)
        jitters = (0.0, 1e-4)
        exact = networks.event_driven(net, loss).outcome(params, times, labels).loss
        found = [networks.jittery(net, loss, j).outcome(params, times, labels).loss for j in jitters]
        noisy = networks.jittery(net, loss, jitters[1])
        slope = jax.grad(lambda p: noisy.outcome(p, times, labels).loss)(params)
        return exact, found, noisy.outcome(params, times + 1e-4, labels).loss, slope

    exact, (silent, noisy), later, slope = jax.jit(losses)(jax.random.key(3))
    np.testing.assert_allclose(silent, exact, rtol=1e-5)
    assert abs(noisy - exact) > 1e-3 * exact and later != noisy
    assert all(np.isfinite(leaf).all() and (leaf != 0).any() for leaf in jax.tree.leaves(slope))


def test_the_sure_loss_wants_the_right_class_first_and_in_its_place():
    loss = networks.sure_first_spike_loss(T_MAX)
    label = jnp.array([1])

    def of(*milliseconds):
        return float(loss(1e-3 * jnp.array([milliseconds]), label))

    assert of(5.5, 4.5, 5.5) < of(5.5, 5.3, 5.5) < of(5.3, 5.5, 5.5)
    np.testing.assert_allclose(of(5.5, 4.5, 5.5), np.log1p(2 * np.exp(-1 / 0.2)), rtol=1e-3)  # in its place
    assert of(5.5, 4.5, 5.5) < of(9.5, 4.5, 9.5)
    fast = networks.sure_first_spike_loss(T_MAX / 1000, 1e-3)
    np.testing.assert_allclose(fast(1e-6 * jnp.array([[5.5, 5.3, 5.0]]), label), of(5.5, 5.3, 5.0), rtol=1e-4)
