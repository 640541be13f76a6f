"""What counts as a whole number, and as one that its type holds."""

import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import errors, functional, spikegen
from snnax.checks import whole


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), jnp.array(3)], ids=lambda v: type(v).__name__)
def test_integers_are_whole(value):
    assert whole(value) == 3 and type(whole(value)) is int
    assert whole(value, 3) == 3 and whole(value, 4) is None


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, [2], np.array([2, 3]), -1, 0])
def test_other_things_are_not(value):
    assert whole(value) is None


def test_from_zero():
    assert whole(0, least=0) == 0 and whole(-1, least=0) is None


def test_errors_cross_processes_and_stay_readable():
    """A pool that cannot make an error again waits for its answer for ever."""
    for made in (
        errors.ArgumentError("a"), errors.ConversionError("fc", "it is odd", "Mend it.", "net.py:3"),
        errors.TrainingModeError("fc", "it trains", "Call eval()."), errors.StateDictError(missing=["a", "b"]),
        errors.MissingDependencyError("torch", "torch", "reading"), errors.TorchLineError("a"),
        errors.ConversionError.joined([errors.ConversionError(n, "it is odd", "Mend it.") for n in "ab"]),
    ):  # fmt: skip
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is type(made) and str(again) == str(made)
        assert {k: str(v) for k, v in vars(again).items()} == {k: str(v) for k, v in vars(made).items()}
    for kind in (errors.GraphError, errors.NIRFileError):
        assert str(kind("first " + "x" * 10**6 + " last")) == f"first {'x' * 300}...{'x' * 100} last"
    long = errors.ConversionError("n" * 10**6, "it is odd", "Mend it.")
    assert len(str(long)) < 500 and long.node == "n" * 10**6


BIG = np.full((3, 2, 4), 1e300)
X = np.ones((3, 2, 4), np.float32)
KEY = jax.random.key(0)
WEIGHTS = {"params": {"layers_0": {"kernel": np.full((4, 4), 1e300)}}}
LEAKY = snn.Leaky(0.5)
NET = snn.Sequential([snn.Leaky(0.5, init_hidden=True, output=True)])
LOST = {
    "a sequence": lambda: snn.unroll(NET, {}, BIG),
    "a list": lambda: snn.unroll(NET, {}, BIG.tolist()),
    "one step": lambda: LEAKY(BIG[0], None),
    "a state": lambda: LEAKY(X[0], BIG[0]),
    "weights": lambda: snn.unroll(snn.Sequential([nn.Dense(4, use_bias=False)]), WEIGHTS, X),
    "forced spikes": lambda: snn.unroll(NET, {}, X, force={"layers_0": BIG}),
    "a threshold": lambda: snn.Leaky(0.5, threshold=1e300)(X[0], None),
    "an array of thresholds": lambda: snn.Leaky(0.5, threshold=BIG[0, 0]).init(KEY, X[0], None),
    "a learned threshold": lambda: snn.Leaky(0.5, threshold=1e300, learn_threshold=True).init(KEY, X[0], None),
    "a resistance": lambda: snn.LIF(tau=1e-2, r=1e300, v_threshold=1.0).init(KEY, X[0], None),
    "a number for float16": lambda: snn.Leaky(0.5, threshold=1e6)(np.float16(X[0]), jnp.float16(X[0])),
    "a scale": lambda: snn.Scale(1e300).apply({}, X[0]),
    "scales": lambda: snn.Scale(BIG[0, 0]).init(KEY, X[0]),
    "a firing limit": lambda: snn.Threshold(1e300).apply({}, X[0]),
    "graded spikes": lambda: snn.GradedSpikes(4, 1e300).init(KEY, X[0]),
    "a class's weight": lambda: functional.ce_rate_loss(weight=[1e300, 1, 1, 1])(X, np.array([0, 1])),
    "a target": lambda: spikegen.targets_convert([0, 1], num_classes=3, on_target=1e300, num_steps=2),
    "the slope of a surrogate": lambda: snn.surrogate.fast_sigmoid(1e300),
    "a regularizer's weight": lambda: functional.l1_rate_sparsity(1e300),
    "what a loss aims at": lambda: functional.mse_membrane_loss(on_target=1e300),
    "the range of a grid": lambda: functional.quant.state_quant(4, threshold=1e300),
    "a lone number": lambda: snn.surrogate.atan()(1e300),
}  # fmt: skip


@pytest.mark.parametrize("call", LOST.values(), ids=LOST.keys())
def test_a_finite_number_never_becomes_infinity_without_a_word(call):
    """``jax_enable_x64`` is off, or the network computes in float16."""
    with (
        jax.enable_x64(False),
        pytest.raises(errors.ArgumentError, match=r"holds 1e\+\S+, which float.*infin.*cale"),
    ):
        call()


def test_what_a_type_can_hold_it_holds():
    with jax.enable_x64(False):
        kept = snn.unroll(NET, {}, np.array([[[3.0e38, 1e-300, 0.1]]]))[0][1]
        np.testing.assert_array_equal(kept, np.float32([[[3.0e38, 0, 0.1]]]))
        assert np.isinf(snn.unroll(NET, {}, np.full((1, 1, 1), -np.inf))[0][1]).all()
    with jax.enable_x64(True):
        assert snn.unroll(NET, {}, -BIG)[0][1][0, 0, 0] == -1e300
