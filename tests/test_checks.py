"""What counts as a whole number."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

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
    from snnax import errors

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
