"""Lines left over from snnTorch work, or end in an error that says which line to write; layouts are named."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, LayoutWarning, ShapeError, StateError, TorchLineError

OWN = {"init_hidden": True}
NEURONS = {
    "Leaky": ({"beta": 0.5}, "init_leaky"),
    "Synaptic": ({"alpha": 0.5, "beta": 0.5}, "init_synaptic"),
    "Alpha": ({"alpha": 0.75, "beta": 0.5}, "init_alpha"),
    "Lapicque": ({"beta": 0.5}, "init_lapicque"),
    "RLeaky": ({"beta": 0.5, "V": 0.5, "all_to_all": False, "learn_recurrent": False}, "init_rleaky"),
    "RSynaptic": (
        {"alpha": 0.5, "beta": 0.5, "V": 0.5, "all_to_all": False, "learn_recurrent": False},
        "init_rsynaptic",
    ),
}


class Own(nn.Module):
    """A user's own neuron."""

    @nn.compact
    def __call__(self, x):
        m = self.variable("hidden", "m", jnp.zeros, x.shape)
        m.value = m.value + x
        return m.value


def net():
    return snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, **OWN, output=True)])


@pytest.mark.parametrize("kind", NEURONS)
def test_a_loop_as_in_snntorch_gives_what_theirs_gives(kind):
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    arguments, init = NEURONS[kind]
    current = np.random.default_rng(0).normal(0.4, 1, (6, 2, 3)).astype(np.float32)
    there, here = getattr(theirs, kind)(**arguments), getattr(snn, kind)(**arguments)
    for start in (init, "reset_mem"):
        states = getattr(here, start)()
        states = list(states) if isinstance(states, tuple) else [states]
        their_states = None
        for x in current:
            spk, *states = here(x, *states)
            spk_there, *their_states = there(torch.from_numpy(x), *(their_states or []))
            states = [s[0] if isinstance(s, tuple) else s for s in states]
            their_states = [s[0] if isinstance(s, tuple) else s for s in their_states]
            if kind.startswith("R"):
                states, their_states = [spk, *states], [spk_there, *their_states]
            np.testing.assert_array_equal(spk, spk_there.detach())
            np.testing.assert_allclose(states[-1], their_states[-1].detach(), rtol=1e-6, atol=1e-6)
        their_states = there.reset_mem()


@pytest.mark.parametrize(
    "x", [0.2, np.float32(0.2), jnp.float32(0.2), jnp.full(1, 0.2), jnp.full(3, 0.2)], ids=repr
)
@pytest.mark.parametrize("mem", [None, 0.0, jnp.zeros(()), jnp.zeros(1), np.zeros(3)], ids=repr)
def test_one_number_is_for_all_neurons(x, mem):
    spk, after = snn.Leaky(0.5)(x, mem)
    assert spk.shape == after.shape == np.broadcast_shapes(np.shape(x), np.shape(0.0 if mem is None else mem))
    np.testing.assert_allclose(after, 0.2, rtol=1e-6)


def test_a_delta_neuron_has_the_names_of_its_base():
    lif = snn.DeltaLeaky(beta=0.5)
    assert float(lif.init_leaky()) == float(lif.reset_mem()) == 0
    assert lif(jnp.ones((2, 3)), lif.init_leaky())[0].shape == (2, 3)


def test_what_is_carried_is_not_lost_in_the_broadcast():
    _, mem = snn.Leaky(0.5)(0.25, jnp.full(1, 0.5))
    assert mem.tolist() == [0.5]


def test_the_start_does_not_change_the_dtype():
    lif = snn.Leaky(0.5)
    assert lif(jnp.ones((2, 3), jnp.bfloat16), lif.reset_mem())[1].dtype == jnp.bfloat16


@pytest.mark.parametrize("layer", [snn.Flatten(), snn.MaxPool2d(2), snn.Reshape((4, 2, 2)), snn.Scale(2.0)])
def test_layers_without_variables_are_functions(layer):
    x = jnp.arange(32.0).reshape(2, 4, 4, 1)
    assert (layer(x) == layer.apply({}, x)).all()


LINES = {
    "net(x)": (lambda: net()(jnp.ones((2, 3))), r"snnax.unroll\(net, variables, x\)"),
    "net(x) returns": (lambda: net()(jnp.ones((2, 3))), r"\(spk, mem\), updates"),
    "hidden lif(x)": (lambda: snn.Leaky(0.5, **OWN)(jnp.ones(3)), r"spk, updates = lif.apply\(variables"),
    "learned lif(x)": (lambda: snn.Leaky(0.5, learn_beta=True)(jnp.ones(3)), r"spk, mem = lif.apply\(variables, x"),
    "SLSTM(x)": (lambda: snn.SLSTM(3, 4)(jnp.ones((2, 3))), r"spk, syn, mem = lif.apply\(variables, x, syn, mem\)"),
    "hidden reset_mem": (lambda: snn.Leaky(0.5, **OWN).reset_mem(), r"snnax.utils.reset\(variables\)"),
    "sequence reset_mem": (lambda: snn.StateLeaky(0.5, 1).reset_mem(), "leave the line out"),
    "train": (lambda: snn.Sequential(snn.Dropout()).train(), r"snnax.utils.training\(net\)"),
    "eval": (lambda: snn.Sequential(snn.BatchNorm1d(3)).eval(), r"snnax.utils.evaluating\(net\)"),
    "parameters": (lambda: net().parameters(), r"variables\['params'\]"),
    "state_dict": (lambda: net().state_dict(), "to_state_dict"),
    "to": (lambda: net().to("cuda"), "jax.device_put"),
    "forward": (lambda: net().forward(jnp.ones(3)), "snnax.unroll"),
    "mem": (lambda: snn.Leaky(0.5).mem, "spk, mem = lif.apply"),
    "syn": (lambda: snn.Synaptic(0.5, 0.5, **OWN).syn, "snnax.unroll"),
    "reset_hidden": (lambda: snn.Leaky.reset_hidden(snn.Leaky(0.5)) if hasattr(snn.Leaky, "reset_hidden")
                     else snn.Leaky(0.5).reset_hidden(), r"snnax.utils.reset\(variables\)"),
    "reset(net)": (lambda: snn.utils.reset(net()), r"variables = snnax.utils.reset\(variables\)"),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_the_error_is_the_line_to_write(line):
    run, words = LINES[line]
    with pytest.raises(TorchLineError, match=words):
        run()


def test_other_attributes_are_missing_as_before():
    assert not hasattr(net(), "parameters") and not hasattr(snn.Leaky(0.5), "no_such_thing")


def test_sequential_takes_layers_as_torch_does():
    a, b = nn.Dense(4), snn.Leaky(0.5, **OWN)
    assert (
        snn.Sequential(a, b)
        == snn.Sequential([a, b])
        == snn.Sequential((a, b))
        == snn.Sequential(layers=[a, b])
    )
    with pytest.raises(ArgumentError, match=r"Sequential\(\[a, b\]\)"):
        snn.Sequential()


def test_functions_of_torch_are_named_at_construction():
    surrogate = pytest.importorskip("snntorch").surrogate
    with pytest.raises(ArgumentError, match=r"snnax.surrogate.fast_sigmoid\(...\)"):
        snn.Leaky(0.5, spike_grad=surrogate.fast_sigmoid())
    with pytest.raises(ArgumentError, match="called first"):
        snn.Leaky(0.5, spike_grad=snn.surrogate.atan)


def test_a_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    spk, mem = snn.Leaky(0.5)(torch.full((2, 3), 1.5, requires_grad=True))
    assert spk.shape == (2, 3) and float(mem[0, 0]) == 1.5
    assert snn.functional.ce_rate_loss()(torch.ones(4, 2, 3), torch.tensor([0, 1])).shape == ()
    with pytest.raises(ArgumentError, match="Tensor of shape"):
        snn.Leaky(0.5)(torch.ones(3, device="meta"))


CONV = nn.Conv(8, (3, 3))


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([CONV], (4, 1, 8, 8)),
        ([nn.Conv(8, (5, 5))], (4, 3, 32, 32)),
        ([nn.Conv(8, (3, 3), padding="VALID")], (4, 1, 8, 6)),
        ([snn.MaxPool2d(2)], (4, 1, 8, 8)),
        ([snn.AvgPool2d(4)], (4, 3, 8, 8)),
    ],
)
def test_channels_first_images_are_refused_where_it_can_be_told(layers, shape):
    with pytest.raises(ShapeError, match=r"channels-last.*jnp.moveaxis\(x, 1, -1\)"):
        snn.Sequential(layers).init(jax.random.key(0), jnp.ones(shape))


def test_where_it_can_be_guessed_it_is_a_warning():
    with pytest.warns(LayoutWarning, match=r"looks channels-first.*jnp.moveaxis"):
        snn.Sequential([CONV]).init(jax.random.key(0), jnp.ones((4, 3, 32, 32)))
    snn.Sequential([CONV]).init(jax.random.key(0), jnp.ones((4, 32, 32, 3)))
    snn.Sequential([CONV]).init(jax.random.key(0), jnp.ones((4, 3, 8, 16)))


@pytest.mark.parametrize("call", ["apply", "unroll"])
@pytest.mark.parametrize(
    "wrap", [lambda layers: snn.Sequential(layers), lambda layers: nn.Sequential(layers)]
)
def test_variables_that_do_not_fit_name_the_layout(call, wrap):
    module = wrap([CONV, snn.Leaky(0.5, **OWN)])
    variables = module.init(jax.random.key(0), jnp.ones((4, 8, 8, 1)))
    x = jnp.ones((4, 1, 8, 8))
    if call == "apply" and isinstance(module, nn.Sequential):
        pytest.skip("flax's own module and flax's own error")
    with pytest.raises(ShapeError, match="channels-last"):
        snn.unroll(module, variables, x[None]) if call == "unroll" else module.apply(
            variables, x, mutable=["hidden"]
        )


@pytest.mark.parametrize(
    "variables", [{}, {"params": {}}, {"params": {"other": {"kernel": jnp.ones((3, 4))}}}], ids=repr
)
def test_variables_of_another_network_are_refused(variables):
    x = jnp.ones((2, 3))
    for run in (lambda: net().apply(variables, x, mutable=["hidden"]), lambda: snn.unroll(net(), variables, x[None]),
                lambda: interop.to_nir(net(), variables, x),
                lambda: interop.to_state_dict(net(), variables, x)):  # fmt: skip
        with pytest.raises(
            ArgumentError, match=r"'kernel' of 'params'.* is not among.*Pass what init of this network"
        ):
            run()


def test_weights_of_another_shape_are_named():
    x, variables = (
        jnp.ones((2, 3)),
        {"params": {"layers_0": {"kernel": jnp.ones((7, 4)), "bias": jnp.ones(4)}}},
    )
    for run in (lambda: snn.unroll(net(), variables, x[None]), lambda: interop.to_nir(net(), variables, x)):
        with pytest.raises(ShapeError, match=r"'kernel' of 'params'.* has shape \(7, 4\); expected \(3, 4\)"):
            run()


def test_a_collection_that_may_not_change_is_named_with_the_call_that_works():
    x = jnp.ones((2, 3))
    trained = snn.Sequential([nn.Dense(4), nn.BatchNorm(use_running_average=False), snn.Leaky(0.5, **OWN)])
    variables = trained.init(jax.random.key(0), x)
    words = r"'mean' of 'batch_stats' in 'layers_1'.* not mutable.*Pass mutable=\['batch_stats'\] to unroll.*evaluating"
    for run in (lambda: snn.unroll(trained, variables, x[None]),
                lambda: trained.apply(variables, x, mutable=["hidden"])):  # fmt: skip
        with pytest.raises(StateError, match=words):
            run()
    snn.unroll(trained, variables, x[None], mutable=["batch_stats"])
    snn.unroll(snn.utils.evaluating(trained), variables, x[None])
    with pytest.raises(StateError, match=r"'m' of 'hidden' in 'layers_0'.*Pass mutable=\['hidden'\]\."):
        snn.Sequential([Own()]).apply(snn.Sequential([Own()]).init(jax.random.key(0), x), x)
