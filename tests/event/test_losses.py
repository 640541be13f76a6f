"""Losses against their formulas, and their gradients at spikes that are there and at those that are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf
TIMES = jnp.array([[3.0, 1.0, INF], [2.0, 2.5, 9.0]])
LABELS = jnp.array([1, 2])
SILENT = 6.0
CAPPED = np.minimum(np.asarray(TIMES), SILENT)


def softmax_loss(scores):
    shifted = scores - scores.max(1, keepdims=True)
    return (np.log(np.exp(shifted).sum(1)) - shifted[[0, 1], [1, 2]]).mean()


def early(times):
    return np.expm1(times[[0, 1], [1, 2]] / 4.0).mean()


CASES = {
    "mse": (event.mse_time_loss(SILENT, 2.0), jnp.full((2, 3), 2.0), ((CAPPED - 2.0) ** 2 / 4).mean()),
    "target": (
        event.target_time_loss(1.5, 2.0, SILENT, 2.0),
        LABELS,
        ((CAPPED - np.array([[2, 1.5, 2], [2, 2, 1.5]])) ** 2 / 4).mean(),
    ),
    "ttfs": (event.ttfs_loss(0.5, SILENT), LABELS, softmax_loss(-CAPPED / 0.5)),
    "ttfs, early": (
        event.ttfs_loss(0.5, SILENT, 0.1, 4.0),
        LABELS,
        softmax_loss(-CAPPED / 0.5) + 0.1 * early(CAPPED),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_of_times_are_their_formulas(name):
    loss, targets, expected = CASES[name]
    for spikes in (TIMES, TIMES[:, :, None], event.trains(TIMES)):
        np.testing.assert_allclose(loss(spikes, targets), expected, rtol=1e-6)
    assert hash(loss) == hash(type(loss)(**vars(loss))) and loss.reads == "all"


@pytest.mark.parametrize("name", CASES)
def test_a_spike_that_is_not_there_has_no_gradient_and_the_others_have(name):
    loss, targets, _ = CASES[name]
    slope = jax.jit(jax.grad(lambda times: loss(event.trains(times), targets)))(TIMES)
    assert np.isfinite(slope).all() and (slope[TIMES > SILENT] == 0).all()
    assert (slope[0, :2] != 0).all()
    moved = [loss(TIMES.at[0, 0].add(by), targets) for by in (1e-2, -1e-2)]
    np.testing.assert_allclose(slope[0, 0], (moved[0] - moved[1]) / 2e-2, rtol=1e-3)


def test_the_first_spikes_are_compared_with_as_many_times():
    loss = event.mse_time_loss(SILENT, reduction="none")
    spikes = event.trains(jnp.array([[[1.0, 4.0, INF], [2.0, INF, INF]]]))
    found = loss(spikes, jnp.array([[[5.0, 1.0], [2.0, INF]]]))
    np.testing.assert_allclose(found, [[[0.0, 1.0], [0.0, 0.0]]])
    more = loss(spikes, jnp.full((1, 2, 4), 6.0))
    np.testing.assert_allclose(more, [[[25.0, 4.0, 0.0, 0.0], [16.0, 0.0, 0.0, 0.0]]])


def test_the_largest_voltage_of_the_right_class():
    voltages = np.array([[0.3, 1.0, -1.0], [2.0, 0.0, 0.5]])
    loss = event.max_over_time_loss()
    np.testing.assert_allclose(loss(voltages, LABELS), softmax_loss(voltages), rtol=1e-6)
    trace = np.stack([voltages - 1, voltages])
    np.testing.assert_allclose(loss(trace, LABELS), softmax_loss(voltages), rtol=1e-6)


def test_reductions():
    each = event.ttfs_loss(0.5, SILENT, reduction="none")(TIMES, LABELS)
    assert each.shape == (2,)
    for name, expected in (("sum", each.sum()), ("mean", each.mean())):
        np.testing.assert_allclose(event.ttfs_loss(0.5, SILENT, reduction=name)(TIMES, LABELS), expected)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: event.mse_time_loss(0.0), ArgumentError, r"mse_time_loss\(silent=0.0\)"),
        (lambda: event.ttfs_loss(1.0, 2.0, reduction="all"), ArgumentError, "reduction='all'"),
        (lambda: event.target_time_loss(-1.0, 1.0, 2.0), ArgumentError, r"on_target=-1.0"),
        (lambda: event.mse_time_loss(2.0)(TIMES, LABELS), ShapeError, r"targets of shape \(2,\).*\(2, 3\)"),
        (lambda: event.ttfs_loss(1.0, 2.0)(TIMES, jnp.array([0, 3])), ArgumentError, "label 3"),
        (lambda: event.max_over_time_loss()(jnp.zeros(3), LABELS), ShapeError, r"shape \(3,\)"),
    ],
)
def test_what_cannot_be_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
