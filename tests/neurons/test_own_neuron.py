"""A neuron of the user's own: in at most 25 lines it runs as the built-in ones do."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.dynamics.firing import discharge
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.families import registry
from snnax.network.time import _is_linear
from snnax.neurons import CustomNeuron
from snnax.neurons.values import Parameter

T, B, N = 5, 2, 4


class Adaptive(CustomNeuron):
    """A leaky neuron that tires: each spike raises what it takes to fire, for a while."""

    beta: Parameter = 0.5
    rho: Parameter = 0.75
    rise: Parameter = 0.25

    state_names = ("v", "tired", "mem")
    parameter_names = ("beta", "rho", "rise")

    @staticmethod
    def charge(state, flag, x, rule, beta, rho, rise):
        v, tired, _ = state
        v = discharge(beta * v + x, flag, rule)
        tired = rho * tired + rise * flag
        return v, tired, v - tired


class Quadratic(CustomNeuron):
    """One that is not linear between its spikes, neither in its state nor in its input."""

    beta: Parameter = 0.5
    state_names = ("mem",)
    parameter_names = ("beta",)

    @staticmethod
    def charge(state, flag, x, rule, beta):
        (mem,) = state
        return (discharge(beta * mem + mem * jnp.abs(mem) / 8 + x * jnp.abs(x), flag, rule),)


class Scaled(CustomNeuron):
    """One whose input has a factor, so that the derivative by this needs the input."""

    gain: Parameter = 0.5
    state_names = ("mem",)
    parameter_names = ("gain",)

    @staticmethod
    def charge(state, flag, x, rule, gain):
        return (discharge(state[0] / 2 + gain * x, flag, rule),)


class Raised(CustomNeuron):
    """``Adaptive`` with a threshold that rises: the membrane itself stays where it is."""

    beta: Parameter = 0.5
    rho: Parameter = 0.75
    rise: Parameter = 0.25

    state_names = ("tired", "mem")
    parameter_names = ("beta", "rho", "rise")

    @staticmethod
    def charge(state, flag, x, rule, beta, rho, rise):
        tired, mem = state
        return rho * tired + rise * flag, discharge(beta * mem + x, flag, rule)

    @staticmethod
    def level(state, beta, rho, rise):
        return state[1] - state[0]


class Doubled(Adaptive):
    """A step of its own, which no rule of its equation's may replace."""

    @nn.compact
    def __call__(self, x, *states):
        return super().__call__(2 * x, *states)


# sixteenths: the sums and products of these steps are exact, so that no order of them rounds another way
X = jnp.asarray(np.random.default_rng(0).integers(-8, 32, (T, B, N)) / 16, jnp.float32)
ARRAY = np.asarray([0.25, 0.5, 0.75, 0.5])

CASES = {
    "fixed": (Adaptive, {}),
    "an array": (Adaptive, {"beta": ARRAY, "reset_mechanism": "zero"}),
    "learned": (Adaptive, {"beta": ARRAY, "learn": ("beta", "rise", "threshold")}),
    "none": (Adaptive, {"reset_mechanism": "none"}),
    "at once": (Adaptive, {"reset_delay": False}),
    "inhibition": (Adaptive, {"inhibition": True}),
    "a learned factor": (Scaled, {"learn": "gain"}),
    "not linear": (Quadratic, {}),
    "not linear, learned": (Quadratic, {"learn": "beta"}),
    "a call of its own": (Doubled, {}),
    "a level": (Raised, {}),
    "a level, learned": (Raised, {"learn": ("rho", "threshold")}),
    "to a value": (Raised, {"reset_mechanism": "value", "v_reset": -0.5, "learn": "v_reset"}),
    "through resets": (Raised, {"detach_reset": False, "reset_mechanism": "zero"}),
    "at once, detached": (Adaptive, {"reset_delay": False, "detach_reset": True}),
}


def stepwise(neuron, variables, x):
    """Explicit calls, one after the other: spikes and states of each."""

    def step(states, x_t):
        out = neuron.apply(variables, x_t, *states)
        return out[1:], out

    return jax.lax.scan(step, (jnp.zeros((B, N)),) * len(neuron.state_names), x)[1]


def both(case):
    kind, options = CASES[case]
    explicit, kept = kind(**options), kind(init_hidden=True, output=True, **options)
    variables = explicit.init(jax.random.key(0), X[0])
    return explicit, snn.Sequential([kept]), variables, {c: {"layers_0": v} for c, v in variables.items()}


def test_it_takes_at_most_25_lines():
    assert len(inspect.getsource(Adaptive).splitlines()) <= 25


@pytest.mark.parametrize("case", CASES)
def test_all_steps_and_their_gradients_are_those_of_its_calls(case):
    explicit, net, variables, nested = both(case)

    def total(out):
        return sum(jnp.sum(jnp.sin(v + i)) for i, v in enumerate(out)), out

    def each(params, x):
        return total(stepwise(explicit, {**variables, "params": params}, x))

    def whole(params, x):
        return total(snn.unroll(net, {**nested, "params": {"layers_0": params}}, x)[0])

    params = variables.get("params", {})
    assert set(params) == set(explicit.learn)
    results = [jax.jit(jax.value_and_grad(f, (0, 1), has_aux=True))(params, X) for f in (whole, each)]
    (_, found), gradients = results[0]
    (_, expected), wanted = results[1]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6 if "linear" in case else 0)
    assert 0 < found[0].sum() < found[0].size
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert jnp.abs(other).max() > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_which_run_in_the_loop_of_the_built_in_neurons(case):
    _, net, _, _ = both(case)
    assert net.layers[0].takes_steps() == (
        case not in ("at once", "at once, detached", "inhibition", "a call of its own")
    )


@pytest.mark.parametrize(("case", "linear"), [("fixed", True), ("learned", True), ("not linear", False)])
def test_whether_it_is_linear_is_found_out(case, linear):
    explicit, _, variables, _ = both(case)
    bound = explicit.bind(variables)
    _, states = bound.enter(X[0], *[None] * len(explicit.state_names))
    assert _is_linear(bound.equation(X[0]), states, X[0]) is linear


def test_a_level_computes_what_a_state_of_its_own_does():
    """``Raised`` and ``Adaptive`` are one neuron, written in two ways."""
    for reset in ("subtract", "zero", "none"):
        (spk, tired, mem), (spk_too, v, tired_too, _) = (
            snn.unroll(kind(reset_mechanism=reset, init_hidden=True, output=True), {}, X)[0]
            for kind in (Raised, Adaptive)
        )
        for one, other in ((spk, spk_too), (tired, tired_too), (mem, v)):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ArgumentError, match=r"Raised\(reset_delay=False\).*expected reset_delay=True"):
        Raised(reset_delay=False)


class Short(CustomNeuron):
    """Returns no tuple."""

    state_names = ("mem",)

    @staticmethod
    def charge(state, flag, x, rule):
        return state[0] + x


class Summed(Short):
    """Returns a state of another shape."""

    @staticmethod
    def charge(state, flag, x, rule):
        return ((state[0] + x).sum(-1),)


@pytest.mark.parametrize("kind", [Short, Summed])
def test_what_is_not_its_states_is_refused(kind):
    with pytest.raises(
        ArgumentError, match=rf"{kind.__name__}: charge returned .* a tuple of the states \(mem\)"
    ):
        kind().apply({}, X[0])


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (snn.Izhikevich, {"dt": 0.0}),
        (snn.AdEx, {"C": [281.0, -1.0]}),
        (snn.AdEx, {"delta_T": 0.0}),
        (snn.AdEx, {"tau_w": -0.1}),
        (snn.ResonateFire, {"dt": -1e-3}),
    ],
)
def test_times_and_capacitances_are_above_zero(kind, given):
    with pytest.raises(
        ArgumentError, match=rf"{kind.__name__}\({next(iter(given))}=.*expected numbers above 0"
    ):
        kind(**given)


@pytest.mark.parametrize("learn", ["gain", ("beta", "gain"), (3,)])
def test_it_learns_its_own_numbers_only(learn):
    with pytest.raises(ArgumentError, match=r"Adaptive\(learn=.*cannot be trained; expected some of"):
        Adaptive(learn=learn)


# --- through NIR, in memory and in a file ----------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch):
    """The neuron is registered for this test alone."""
    table = {}
    monkeypatch.setattr(registry, "_registered", lambda: table)
    interop.register_neuron(Adaptive)
    return table


def model(kind=Adaptive, **options):
    neuron = kind(beta=ARRAY, learn="rise", reset_mechanism="zero", init_hidden=True, output=True, **options)
    net = snn.Sequential([nn.Dense(N), neuron])
    return net, net.init(jax.random.key(0), X[0])


def test_it_comes_back_from_a_file_and_is_cross_validated(registered, tmp_path):
    net, variables = model(surrogate_disable=True, spike_grad=snn.surrogate.fast_sigmoid(slope=3.0))
    graph = interop.to_nir(net, variables, X[0])
    path = tmp_path / "own.nir"
    with pytest.raises(ConversionError, match=r"no node for Adaptive.*extensions=True"):
        interop.write_nir(path, graph)
    interop.write_nir(path, graph, extensions=True)
    again, restored = interop.from_nir(path)
    neuron = again.nodes[-1][1]
    assert type(neuron) is Adaptive and neuron.learn == ("rise",) and neuron.output
    assert (neuron.spike_grad, neuron.reset_mechanism) == (net.layers[1].spike_grad, "zero")
    assert sorted(restored["params"]["1"]) == ["rise"] and sorted(restored["buffers"]["1"]) == ["beta"]
    report = interop.crossvalidate((net, variables), (again, restored), X)
    assert report.agree and report.unexplained == 0 and "Adaptive" in str(report)
    by_hand = stepwise(
        Adaptive(beta=ARRAY, learn="rise", reset_mechanism="zero"),
        {c: tree["layers_1"] for c, tree in variables.items() if c != "hidden" and "layers_1" in tree},
        jax.vmap(lambda x: nn.Dense(N).apply({"params": variables["params"]["layers_0"]}, x))(X),
    )
    for one, other in zip(snn.unroll(again, restored, X)[0], by_hand, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_a_class_that_is_not_registered_is_refused_with_the_line_to_write(registered, tmp_path):
    net, variables = model()
    path = tmp_path / "own.nir"
    interop.write_nir(path, interop.to_nir(net, variables, X[0]), extensions=True)
    del registered["Adaptive"]
    remedy = r"snnax\.interop\.register_neuron\(Class\)"
    with pytest.raises(ConversionError, match=rf"'Adaptive' is unknown.*{remedy}"):
        interop.from_nir(path)
    with pytest.raises(ConversionError, match=rf"Adaptive cannot be converted.*{remedy}"):
        interop.to_nir(net, variables, X[0])


def test_one_name_is_one_class(registered):
    assert interop.register_neuron(Adaptive) is Adaptive
    namesake = type("Adaptive", (Adaptive,), {"__module__": "elsewhere"})
    with pytest.raises(ArgumentError, match=r"register_neuron\(Adaptive\).*has this name already"):
        interop.register_neuron(namesake)
    with pytest.raises(ArgumentError, match=r"register_neuron\(Leaky\).*has this name already"):
        interop.register_neuron(type("Leaky", (Adaptive,), {}))
    with pytest.raises(ConversionError, match="Adaptive cannot be converted"):
        interop.to_nir(*model(namesake), X[0])
    with pytest.raises(ArgumentError, match="a class of your own"):
        interop.register_neuron(snn.Leaky)


def test_other_frameworks_refuse_it_by_name(registered):
    pytest.importorskip("snntorch")
    with pytest.raises(ConversionError, match="snnTorch has no neuron Adaptive"):
        interop.to_snntorch(*model(), X[0])


class Styled(Adaptive):
    """It has an argument that is no number."""

    style: object = "soft"


def test_choices_travel_and_what_no_file_can_hold_is_refused(registered):
    interop.register_neuron(Styled)
    again, _ = interop.from_nir(interop.to_nir(*model(Styled, style="hard"), X[0]))
    assert again.nodes[-1][1].style == "hard"
    with pytest.raises(ConversionError, match=r"its argument style=.* is no number, text or flag"):
        interop.to_nir(*model(Styled, style=np.tanh), X[0])
