"""The shipped snnTorch network: it loads without pickle, it is small, and it reads the held-out digits."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from snnax import datasets

torch = pytest.importorskip("torch")
utils = pytest.importorskip("snntorch.utils")
pytest.importorskip("sklearn")
from snnax.interop.snntorch.digits import digits_network  # noqa: E402

WEIGHTS = resources.files("snnax.datasets").joinpath("digits_snntorch.npz")


def spike_counts(network, images):
    utils.reset(network)
    with torch.no_grad():
        return sum(network(torch.from_numpy(images))[0] for _ in range(25))


def test_it_reads_more_than_95_percent_of_the_held_out_digits():
    images, labels = datasets.digits("test", layout="NCHW")
    counts = spike_counts(digits_network(), images)
    assert (counts.argmax(1).numpy() == labels).mean() > 0.95


def test_without_weights_it_guesses():
    torch.manual_seed(0)
    images, labels = datasets.digits("test", layout="NCHW")
    counts = spike_counts(digits_network(weights=False).eval(), images)
    assert (counts.argmax(1).numpy() == labels).mean() < 0.5


def test_every_hidden_layer_works_with_spikes_neither_silent_nor_saturated():
    network, rates = digits_network(), {}
    for name, module in network.named_children():
        if type(module).__name__ == "Leaky":
            module.register_forward_hook(
                lambda _, __, out, name=name: rates.setdefault(name, []).append(
                    (out[0] if isinstance(out, tuple) else out).mean().item()
                )
            )
    spike_counts(network, datasets.digits("test", layout="NCHW")[0][:60])
    assert len(rates) == 4
    assert all(0.01 < np.mean(rate) < 0.6 for rate in rates.values()), rates


def test_weights_are_small_and_of_plain_types():
    assert WEIGHTS.stat().st_size < 200_000
    with WEIGHTS.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        kinds = {arrays[name].dtype for name in arrays.files}
        assert {str(kind) for kind in kinds} <= {"float32", "int64"}
        assert set(arrays.files) == set(digits_network(weights=False).state_dict())


def test_trained_network_is_in_evaluation_mode_and_a_fresh_one_is_not():
    assert not digits_network().training
    assert digits_network(weights=False).training


def test_decays_are_learned_per_neuron_and_have_moved():
    beta = digits_network()[9].beta
    assert isinstance(beta, torch.nn.Parameter) and beta.shape == (64,)
    assert (beta - torch.linspace(0.5, 0.95, 64)).abs().max() > 0.01
