"""ALIF: against its equations in NumPy, against Norse's LSNN, and judged by its level when two runs are compared."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, HiddenStateTypeError
from snnax.interop.compare import compare
from snnax.interop.crossvalidation import FlaxSide

T, B, N = 200, 4, 8
RNG = np.random.default_rng(0)
# sixteenths, and numbers that are powers of two: no order of the sums rounds another way
X = RNG.integers(-8, 40, (T, B, N)).astype(np.float32) / 16
EXACT = {"beta": 0.5, "rho": 0.75, "strength": 2.0}
KEPT = {"init_hidden": True, "output": True}


def run(neuron, x=X, hidden=None):
    return [
        np.asarray(v)
        for v in snn.unroll(neuron, {} if hidden is None else {"hidden": hidden}, jnp.asarray(x))[0]
    ]


def by_hand(x, reset, beta, rho, strength, threshold=1.0, v_reset=0.0):
    """Spikes as spyx orders them, which compares before it integrates, so that each is the one of the step before."""
    b, v = np.zeros((2, B, N))
    rows = []
    for x_t in x.astype(np.float64):
        limit = threshold + strength * b
        spk = (v > limit).astype(float)
        to = {"subtract": v, "none": v, "zero": v * (1 - spk), "value": np.where(spk > 0, v_reset, v)}[reset]
        v = beta * to + x_t - (spk * limit if reset == "subtract" else 0)
        b = rho * b + (1 - rho) * spk
        rows.append(((v > threshold + strength * b).astype(float), b, v))
    return [np.stack(each) for each in zip(*rows, strict=True)]


@pytest.mark.parametrize("reset", ["subtract", "zero", "value", "none"])
def test_it_computes_its_equations(reset):
    """The adaptation has more digits than float32 holds after some steps: no spike differs, states by its rounding."""
    given = {"v_reset": -0.5} if reset == "value" else {}
    found = run(snn.ALIF(**EXACT, **given, reset_mechanism=reset, **KEPT))
    wanted = by_hand(X, reset, **EXACT, **given)
    np.testing.assert_array_equal(found[0], wanted[0])
    for one, other in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    assert 0.05 < found[0].mean() < 0.9


def test_it_is_norses_lsnn_behind_its_filter():
    torch = pytest.importorskip("torch")
    lsnn = pytest.importorskip("norse.torch.functional.lsnn")
    dt, p = 1e-3, lsnn.LSNNParameters(tau_adapt_inv=torch.tensor(20.0), beta=torch.tensor(0.25))
    x = RNG.uniform(0, 1.5, (T, B, N))
    zero = torch.zeros(B, N, dtype=torch.float64)
    state, spikes, currents = lsnn.LSNNFeedForwardState(zero, zero, zero + 1), [], []
    for x_t in torch.as_tensor(x):
        currents.append(state.i.numpy())
        z, state = lsnn.lsnn_feed_forward_step(x_t, state, p, dt)
        spikes.append(z.numpy())
    decay = dt * float(p.tau_mem_inv)
    rho = 1 - dt * float(p.tau_adapt_inv)
    alif = snn.ALIF(1 - decay, rho, float(p.beta) * rho / (1 - rho), reset_mechanism="zero", **KEPT)
    with jax.enable_x64(True):
        spk, *_ = run(alif, decay * np.stack(currents))
    np.testing.assert_array_equal(spk, np.stack(spikes))
    assert 100 < spk.sum() < spk.size / 4


class Wide(FlaxSide):
    """Runs in float64."""

    def run(self, x):
        return super().run(x.astype(np.float64))

    def replay(self, x, forced):
        return super().replay(x.astype(np.float64), forced)


SPIKES = RNG.integers(0, 2, (80, 6, 30)).astype(np.float32)
KERNEL = (RNG.integers(-3, 6, (30, 24)) * 0.1).astype(np.float32)


def side(label, cls=FlaxSide, **options):
    model = snn.Sequential([nn.Dense(24, use_bias=False), snn.ALIF(0.6, 0.9, init_hidden=True, **options)])
    return cls(model, {"params": {"layers_0": {"kernel": KERNEL}}}, label)


def test_rounding_is_told_from_a_wrong_number():
    """Spikes are judged by how far the level is from the threshold, not the membrane."""
    report = compare(side("A", Wide), side("B"), SPIKES)
    assert report.agree and report.layers[0].spikes > 500 and not report.unexplained, report
    cause = compare(side("A"), side("B", strength=1.9), SPIKES).first.cause
    assert cause.kind == "strength" and cause.certain and "B has strength 1.9 where A has 1.8" in cause.text


def test_a_spike_that_its_threshold_forbids_is_unexplained():
    """With a membrane above the threshold at rest, and below the one that has risen."""

    class Deaf(FlaxSide):
        """Fires at the threshold at rest."""

        def run(self, x):
            return self.changed(super().run(x))

        def replay(self, x, forced):
            return self.changed(super().replay(x, forced))

        def changed(self, trace):
            (node,) = trace.nodes.values()
            node.spk = (node.states["mem"] > 1).astype(np.float32)
            return trace

    report = compare(side("A"), side("B", Deaf), SPIKES)
    assert not report.agree and report.layers[0].unexplained > 100
    spot = report.first.first
    assert spot.spk == (0.0, 1.0) and max(spot.mem) <= spot.threshold == 1.0  # the level is what is shown


def test_all_it_is_travels_through_a_file(tmp_path):
    net = snn.Sequential(
        [
            nn.Dense(N),
            snn.ALIF(
                np.linspace(0.5, 0.9, N), strength=1.5, reset_mechanism="value", v_reset=-0.25, detach_reset=False,
                learn="rho", init_hidden=True,
            ),
        ]
    )  # fmt: skip
    variables = net.init(jax.random.key(0), X[0])
    path = tmp_path / "alif.nir"
    interop.write_nir(path, interop.to_nir(net, variables, X[0]), extensions=True)
    again = interop.from_nir(path)
    neuron = again[0].nodes[-1][1]
    found = (neuron.strength, neuron.reset_mechanism, neuron.v_reset, neuron.detach_reset, neuron.learn)
    assert type(neuron) is snn.ALIF and found == (1.5, "value", -0.25, False, ("rho",))
    assert interop.crossvalidate((net, variables), again, X[:20]).agree


def test_states_by_name():
    """As those of the built-in neurons, in any order; in ``snnax.nnx`` too."""
    b, mem = X[1] / 4, X[2]
    wanted = snn.ALIF().apply({}, X[0], b, mem)
    for call in (snn.nnx.ALIF(), lambda x, **named: snn.ALIF().apply({}, x, **named)):
        for ours, theirs in zip(call(X[0], mem=mem, b=b), wanted, strict=True):
            assert np.array_equal(ours, theirs)
        with pytest.raises(ArgumentError, match=r"0 states and syn by name; .* some of b, mem by name"):
            call(X[0], syn=mem)
    alone, from_rest = snn.ALIF().apply({}, X[0], mem=mem), snn.ALIF().apply({}, X[0], 0 * b, mem)
    assert np.array_equal(alone[2], from_rest[2])


def test_its_reset_waits_for_the_next_step():
    with pytest.raises(TypeError, match="reset_delay"):
        snn.ALIF(reset_delay=False)
    for states in (X[:1], X[:3]):
        with pytest.raises(ArgumentError, match=r"called with . of its 2 states.* spk, b, mem = lif.apply"):
            snn.ALIF().apply({}, X[0], *states)
    with pytest.raises(HiddenStateTypeError, match="keeps its own state"):
        snn.ALIF(init_hidden=True).apply({}, X[0], X[0])
    with pytest.raises(ArgumentError, match=r"ALIF\(v_reset=...\).*reset_mechanism='value'.*'subtract'"):
        snn.ALIF(v_reset=-1.0)
