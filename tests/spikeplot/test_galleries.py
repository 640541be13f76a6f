"""The galleries hold every surrogate and neuron, and draw what these compute."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

import snnax as snn
from snnax import neurons, spikeplot, surrogate
from snnax.errors import ArgumentError, ShapeError
from snnax.spikeplot import galleries

OWN = {"init_hidden": True, "output": True}


def titles(axes):
    return [ax.get_title() for ax in axes]


def test_every_surrogate_is_there_with_its_step_and_its_derivative():
    axes = spikeplot.surrogate_gallery(points=7, limit=1)
    axes[0].figure.draw_without_rendering()
    makers = {*surrogate.__all__} - {"Surrogate", "Function"}
    assert {*titles(axes)} == makers and len(axes) == len(makers)
    x = np.linspace(-1, 1, 7, dtype=np.float32)
    for ax in axes:
        function = galleries.all_surrogates()[ax.get_title()]
        slope, step = ax.lines
        np.testing.assert_array_equal(slope.get_ydata(), np.asarray(function.derivative(x)))
        np.testing.assert_array_equal(step.get_ydata(), (x > 0).astype(np.float32))
    (legend,) = axes[0].figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "spike (forward)",
        "surrogate derivative (backward)",
    ]


def test_a_choice_of_surrogates_in_given_axes():
    fig = Figure()
    given = fig.subplots(1, 2)
    axes = spikeplot.surrogate_gallery({"wide": surrogate.atan(1), "narrow": surrogate.atan(9)}, given)
    assert [a is b for a, b in zip(axes, given, strict=True)] == [True, True]
    assert titles(axes) == ["wide", "narrow"] and not fig.legends


def test_every_neuron_that_steps_on_a_vector_is_in_the_gallery():
    axes = spikeplot.neuron_gallery(current=np.full(6, 0.6))
    axes[0].figure.draw_without_rendering()
    shown = {title.partition("(")[0] for title in titles(axes)[1:]}
    weighted = {"SLSTM", "SConv2dLSTM", "LinearLeaky", "LeakyParallel", "AssociativeLeaky"}
    others = {
        "LI",
        "CubaLI",
        "I",
        "IF",
        "NIRNeuron",
        "FrozenArray",
        "SpikingCell",
        "SpikingNeuron",
        "neuron",
        "refractory",
    }
    assert {*neurons.__all__} - weighted - others == shown
    assert titles(axes)[0] == "input current"
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), np.full(6, 0.6))


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "list"])
def test_a_panel_shows_the_membrane_the_threshold_and_the_spikes(library):
    current = [0.75, 0.75, 0.75, 0.0]
    if library == "torch":
        current = pytest.importorskip("torch").tensor(current)
    elif library != "list":
        current = (np if library == "numpy" else jnp).asarray(current)
    axes = spikeplot.neuron_gallery({"one": snn.Leaky(0.5, threshold=1.25, **OWN)}, current)
    axes[0].figure.draw_without_rendering()
    membrane, threshold = axes[1].lines
    np.testing.assert_array_equal(membrane.get_ydata(), [0.75, 1.125, 1.3125, -0.59375])
    assert list(threshold.get_ydata()) == [1.25, 1.25]
    np.testing.assert_array_equal(axes[1].collections[0].get_positions(), [2])
    marks = np.array(axes[1].collections[0].get_segments())[..., 1]
    assert (marks > 0.85).all() and (marks < 1).all(), "spikes stand in the upper margin, below the title"


def test_a_silent_neuron_in_given_axes():
    given = Figure().subplots(2)
    axes = spikeplot.neuron_gallery({"one": snn.Leaky(0.5, **OWN)}, np.zeros(4), given)
    axes[0].figure.draw_without_rendering()
    assert [a is b for a, b in zip(axes, given, strict=True)] == [True, True]
    assert len(axes[1].collections[0].get_positions()) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: spikeplot.neuron_gallery({"a": snn.Leaky(0.5)}),
            ArgumentError,
            "'a'.*init_hidden=True, output=True",
        ),
        (lambda: spikeplot.neuron_gallery({}, np.zeros((4, 2))), ShapeError, r"\(4, 2\).*current\[:, n\]"),
        (
            lambda: spikeplot.surrogate_gallery(ax=Figure().subplots(1, 2)),
            ShapeError,
            r"ax holds 2 axes for \d+ panels",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
