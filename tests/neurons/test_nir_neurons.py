"""NIR's neurons: every step of every combination of options is that of the equations; learning; arguments."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.nir_neurons import DT, RANGES, B, N, T, combinations, parameters, trajectory

import snnax as snn
from snnax.errors import ArgumentError, ShapeError


@functools.cache
def runs(kind):
    """Options, our traces in double precision, and those of the loop in NumPy."""
    x = twin.current((T, B, N), dtype=np.float64)
    options = list(combinations(kind))
    p = parameters(kind)
    with jax.enable_x64(True):
        ours = twin.run_snnax(tuple(getattr(snn, kind)(**p, dt=DT, **o) for o in options), x, {})
    return [(o, a, trajectory(p, o, x)) for o, a in zip(options, ours, strict=True)]


@pytest.mark.parametrize("kind", RANGES)
def test_every_step_is_that_of_the_equations(kind):
    for options, ours, expected in runs(kind):
        assert ours["mem"].dtype == np.float64
        if "v_threshold" in RANGES[kind]:
            assert 0.02 < expected["spk"].mean() < 0.98
            assert np.array_equal(ours["spk"], expected["spk"]), options
        else:
            assert np.array_equal(ours["spk"], ours["mem"])
        solved = options.get("membrane_current") == "continuous"
        for name in ours:
            bound = 1e-8 if solved else 1e-12  # the solver's own error
            np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=bound, err_msg=f"{options}")


@pytest.mark.parametrize("kind", RANGES)
def test_every_option_changes_something(kind):
    """But the order of a reset that does not take place, unless it delays the spike."""
    seen = {}
    for options, ours, _ in runs(kind):
        key = tuple(v.tobytes() for v in ours.values())
        if options.get("reset_mechanism") == "none":
            late = {"threshold_test": options.get("threshold_test", "after")}
            options = {k: v for k, v in {**options, **late}.items() if k not in ("reset_at", "reset_delay")}
        assert seen.setdefault(key, options) == options
    assert len(seen) > 1 or kind == "I"


def test_defaults_are_what_the_documentation_says():
    p, x = parameters("CubaLIF"), twin.current((T, B, N), dtype=np.float64)
    explicit = {
        "discretization": "euler", "w_in_scaling": "ode", "membrane_current": "new", "reset_mechanism": "nir",
        "threshold_test": "after", "reset_delay": False, "reset_at": "end",
    }  # fmt: skip
    exact = {"discretization": "exact"}
    cases = ({}, explicit, exact, {**exact, "membrane_current": "continuous"}, {"dt": 1e-4})
    with jax.enable_x64(True):
        found = twin.run_snnax(tuple(snn.CubaLIF(**p, **o) for o in cases), x, {})
    for name in ("spk", "syn", "mem"):
        assert np.array_equal(found[0][name], found[1][name])
        assert np.array_equal(found[0][name], found[4][name])
        assert np.array_equal(found[2][name], found[3][name])
    equal = [snn.LIF(p["tau_mem"]), snn.LIF(p["tau_mem"], 1.0, 0.0, 1.0, 0.0, 1e-4)]
    assert equal[0] == equal[1]


def test_equal_time_constants_are_the_limit_of_almost_equal_ones():
    x = twin.current((T, B, N), dtype=np.float64)
    tau = np.linspace(2e-4, 2e-3, N)
    shifts = (0.0, 1e-11, 1e-8)
    with jax.enable_x64(True):
        modules = tuple(snn.CubaLI(tau * (1 + s), tau, 3.0, discretization="exact") for s in shifts)
        same, near, far = (trace["mem"] for trace in twin.run_snnax(modules, x, {}))
    np.testing.assert_allclose(near, same, rtol=0, atol=1e-10)
    np.testing.assert_allclose(far, same, rtol=0, atol=1e-7)
    assert np.abs(same).max() > 0.1


# --- what is learned, and precision ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("LI", {"discretization": "exact_decay"}),
        ("CubaLI", {"discretization": "exact"}),
        ("CubaLI", {"discretization": "euler"}),
        ("I", {}),
    ],
)
def test_gradients_are_those_of_finite_differences(kind, option):
    p = parameters(kind, 3)
    with jax.enable_x64(True):
        module = getattr(snn, kind)(**p, **option, learn=tuple(p))
        x = jnp.asarray(twin.current((10, 2, 3), dtype=np.float64))
        params = {name: jnp.asarray(value) for name, value in p.items()}
        assert jax.tree.map(jnp.shape, module.init(jax.random.key(0), x[0])) == {
            "params": dict.fromkeys(p, (3,))
        }

        @jax.jit
        def loss(params):
            return jnp.mean(twin.scan.__wrapped__((module,), {"params": params}, x)[0]["mem"] ** 2)

        found = jax.grad(loss)(params)
        for name, value in p.items():
            step = 1e-6 * np.abs(value).max()
            for neuron in range(3):
                up, down = ({**params, name: params[name].at[neuron].add(s)} for s in (step, -step))
                slope = (loss(up) - loss(down)) / (2 * step)
                assert float(found[name][neuron]) == pytest.approx(float(slope), rel=2e-5)


def test_spiking_neurons_learn_all_their_parameters():
    p = {**parameters("CubaLIF", 4), "r": 6.0}
    module = snn.CubaLIF(**p, learn=tuple(p))
    x = jnp.asarray(twin.current((20, 3, 4)))
    variables = module.init(jax.random.key(0), x[0])

    def loss(params):
        return jnp.mean(twin.scan.__wrapped__((module,), {"params": params}, x)[0]["spk"])

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert sorted(gradients) == sorted(p)
    for name, gradient in gradients.items():
        assert bool(jnp.isfinite(gradient).all()), name
        assert float(jnp.abs(gradient).max()) > 0, name
    assert gradients["r"].shape == ()


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_learned_and_stored_values_are_the_same_to_a_few_roundings(kind):
    p, x = parameters(kind), twin.current((30, B, N))
    cls = getattr(snn, kind)
    fixed, learned = cls(**p), cls(**p, learn=tuple(p))
    runs = [
        twin.run_snnax((fixed,), x, {})[0],
        twin.run_snnax((fixed,), x, twin.weights(fixed, x[0]))[0],
        twin.run_snnax((learned,), x, twin.weights(learned, x[0]))[0],
    ]
    assert set(twin.weights(fixed, x[0])) == {"buffers"}
    for other in runs[1:]:
        np.testing.assert_array_equal(other["spk"], runs[0]["spk"])
        np.testing.assert_allclose(other["mem"], runs[0]["mem"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(runs[1]["mem"], runs[2]["mem"])


def test_a_learned_time_constant_may_leave_its_range():
    for tau, decay in ((5e-5, 0.0), (-1e-4, 1.0)):
        module = snn.LIF(1e-3, learn="tau")
        _, mem = module.apply({"params": {"tau": jnp.float32(tau)}}, jnp.zeros((1, 1)), jnp.full((1, 1), 0.5))
        assert float(mem[0, 0]) == 0.5 * decay


@pytest.mark.parametrize("learn", [(), ("tau",)])
def test_a_decay_is_rounded_once(learn):
    """In bfloat16 dt / tau and 1 - dt / tau would each be off by some percent."""
    lif = snn.LIF(3e-3, reset_mechanism="none", learn=learn)
    one = jnp.ones((1, 1), jnp.bfloat16)
    _, mem = lif.apply(lif.init(jax.random.key(0), one), 0 * one, one)
    assert mem.dtype == jnp.bfloat16
    assert mem[0, 0] == jnp.bfloat16(1 - 1e-4 / 3e-3)


# --- arguments ------------------------------------------------------------------------------------

BAD = {
    "tau is zero": (lambda: snn.LIF(0.0), r"LIF\(tau=0\.0\); expected seconds > 0"),
    "one tau is negative": (lambda: snn.CubaLI(1e-3, [1e-3, -1e-3]), r"CubaLI\(tau_mem=.*seconds > 0"),
    "tau_syn is zero": (lambda: snn.CubaLIF(0, 1e-3), r"CubaLIF\(tau_syn=0\.0\)"),
    "dt is zero": (lambda: snn.LI(1e-3, dt=0), r"LI\(dt=0\); expected the length of a step in seconds"),
    "dt is negative": (lambda: snn.IF(dt=-1e-4), r"IF\(dt=-0.0001\)"),
    "dt is an array": (lambda: snn.I(dt=np.ones(2)), r"I\(dt=array"),
    "dt is infinite": (lambda: snn.I(dt=float("inf")), r"I\(dt=inf\)"),
    "milliseconds": (lambda: snn.LIF(1e-3, dt=0.1), r"at least dt=0\.1, .*seconds"),
    "Euler overshoots": (lambda: snn.CubaLIF(1e-3, [1e-3, 9e-5]), r"tau_mem=.*discretization='exact'"),
    "resets that do not fit": (lambda: snn.IF(v_threshold=[1, 2], v_reset=[0, 0, 0]), r"an array as v_threshold"),
    "NaN": (lambda: snn.LIF(1e-3, v_leak=float("nan")), r"LIF\(v_leak=nan\); expected finite"),
    "discretization": (lambda: snn.LI(1e-3, discretization="rk4"), r"'rk4'\); expected one of 'euler', 'exact', 'ex"),
    "reset": (lambda: snn.LIF(1e-3, reset_mechanism="zero"), r"'zero'\); expected one of nir, subtract, none"),
    "test": (lambda: snn.IF(threshold_test=True), r"threshold_test=True\); expected one of 'after', 'before'"),
    "place": (lambda: snn.IF(reset_at=0), r"reset_at=0\); expected one of 'end', 'start'"),
    "twice late": (lambda: snn.IF(threshold_test="before", reset_delay=True), r"delays the spike itself"),
    "scaling": (lambda: snn.CubaLIF(1e-3, 1e-3, w_in_scaling="dt"), r"'ode', 'impulse', 'decayed_impulse'"),
    "current": (lambda: snn.CubaLI(1e-3, 1e-3, membrane_current="both"), r"expected one of None, 'new', 'old'"),
    "not continuous": (lambda: snn.CubaLI(1e-3, 1e-3, membrane_current="continuous"), r"unless discretization='exact'"),
    "learn": (lambda: snn.LI(1e-3, learn=("beta",)), r"\['beta'\] cannot be trained; expected some of \('tau', 'r'"),
    "learn all": (lambda: snn.LI(1e-3, learn=True), r"\[True\] cannot be trained"),
    "surrogate": (lambda: snn.LIF(1e-3, spike_grad="atan"), r"cannot be called"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_argument_is_refused(case):
    build, message = BAD[case]
    with pytest.raises(ArgumentError, match=message):
        build()


def test_borders_are_allowed():
    assert snn.LIF(1e-4, dt=1e-4, learn="tau").learn == ("tau",)
    assert snn.LIF(5e-5, dt=1e-4, discretization="exact").tau == 5e-5
    assert snn.LIF(1e-3, v_reset=2.0, reset_mechanism="subtract").v_reset == 2.0
    assert snn.CubaLI(1e-3, 1e-3, membrane_current="old").membrane_current == "old"


@pytest.mark.parametrize("before", [False, True])
def test_a_reset_above_the_threshold_fires_until_the_input_brings_it_down(before):
    """What NIR's equations say in steps, by hand: charge, fire above the threshold, reset."""
    x = np.array([0.5, 1.0, 0.25, -2.0, -0.25, 1.5, 0.0, 0.0], np.float32)
    neuron = snn.IF(
        1e4, v_threshold=1.0, v_reset=1.25, threshold_test="before" if before else "after", init_hidden=True
    )
    spk, mem, v = [], [], 0.0
    for now in x:
        fires = v > 1.0
        v += float(now)
        fires = fires if before else v > 1.0
        v = 1.25 if fires else v
        spk.append(float(fires))
        mem.append(v)
    got, _, record = snn.unroll(neuron, {}, x[:, None, None], record=True)
    assert got.ravel().tolist() == spk and sum(spk) >= 2
    assert record[""]["mem"].ravel().tolist() == mem


def test_a_parameter_of_another_shape_than_the_input_is_refused():
    with pytest.raises(ShapeError, match=r"LIF: tau has shape \(3,\), the input \(2, 4\)"):
        snn.LIF([1e-3] * 3).apply({}, jnp.ones((2, 4)))
