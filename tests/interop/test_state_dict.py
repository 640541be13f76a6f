"""``state_dict`` there and back: torch's names and layouts, every bit, and the spikes after loading."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, MissingDependencyError, ShapeError, StateDictError

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("snntorch")
pytest.importorskip("snntorch.utils")

OWN = {"init_hidden": True}
KEY = jax.random.key(0)


def numbers(net):
    return {k: v.detach().numpy() for k, v in net.state_dict().items()}


def tensors(state):
    return {k: torch.tensor(v) for k, v in state.items()}


def assert_same(a, b):
    """Same names, shapes and bits; torch keeps whole numbers as integers, snnax as floats."""
    assert {*a} == {*b}
    for name, value in a.items():
        assert np.shape(value) == np.shape(b[name]), name
        np.testing.assert_array_equal(value, b[name], err_msg=name)


def disturbed(net):
    """Other numbers in everything that is learned or counted, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in [*net.parameters(), *net.buffers()]:
            if value.dtype == torch.float32 and value.ndim:
                value += 0.05 * torch.rand(value.shape, generator=generator)
    for module in net.modules():
        if hasattr(module, "num_batches_tracked"):
            module.num_batches_tracked += 7
    return net.eval()


def filled(net, x):
    """Variables with random weights and no state, without compiling anything."""
    rng = np.random.default_rng(0)

    def draw(value):
        return jnp.asarray(rng.uniform(0.1, 0.9, value.shape), value.dtype)

    shapes = jax.eval_shape(net.init, KEY, jnp.asarray(x))
    hidden = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), shapes.pop("hidden", {}))
    return {**jax.tree.map(draw, shapes), "hidden": hidden}


def spikes(net, variables, x):
    y, _ = snn.unroll(net, variables, x)
    return np.asarray(y[0] if isinstance(y, tuple) else y)


def their_spikes(net, x):
    theirs.utils.reset(net)
    with torch.no_grad():
        out = [net(torch.tensor(np.asarray(step))) for step in x]
    return np.stack([np.asarray(o[0] if isinstance(o, tuple) else o) for o in out])


# --- hand-written twins ---------------------------------------------------------------------------


def vector(*values):
    return torch.tensor(values)


def dense_torch():
    return torch.nn.Sequential(
        torch.nn.Linear(6, 4),
        theirs.Leaky(0.9, learn_beta=True, learn_threshold=True, **OWN),
        torch.nn.Linear(4, 4, bias=False),
        torch.nn.BatchNorm1d(4),
        theirs.Synaptic(alpha=vector(0.8, 0.7, 0.6, 0.5), beta=0.7, reset_mechanism="zero", **OWN),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(4, 3),
        theirs.Alpha(0.9, 0.8, threshold=0.1, **OWN, output=True),
    )


def dense_flax():
    return snn.Sequential([
        nn.Dense(4),
        snn.Leaky(0.9, learn_beta=True, learn_threshold=True, **OWN),
        nn.Dense(4, use_bias=False),
        nn.BatchNorm(use_running_average=True),
        snn.Synaptic(alpha=[0.8, 0.7, 0.6, 0.5], beta=0.7, reset_mechanism="zero", **OWN),
        nn.Dropout(0.1, deterministic=True),
        nn.Dense(3),
        snn.Alpha(0.9, 0.8, threshold=0.1, **OWN, output=True),
    ])  # fmt: skip


def recurrent_torch():
    return torch.nn.Sequential(
        torch.nn.Linear(6, 4),
        theirs.RLeaky(0.9, linear_features=4, **OWN),
        theirs.RLeaky(0.8, V=vector(0.5, 0.25, -0.5, 0.1), all_to_all=False, **OWN),
        theirs.RSynaptic(0.7, 0.9, V=0.3, all_to_all=False, learn_recurrent=False, **OWN),
        theirs.Lapicque(beta=0.9, threshold=0.2, **OWN),
        theirs.Lapicque(R=2.0, C=3.0, time_step=0.5, threshold=0.1, **OWN, output=True),
    )


def recurrent_flax():
    return snn.Sequential([
        nn.Dense(4),
        snn.RLeaky(0.9, linear_features=4, **OWN),
        snn.RLeaky(0.8, V=[0.5, 0.25, -0.5, 0.1], all_to_all=False, **OWN),
        snn.RSynaptic(0.7, 0.9, V=0.3, all_to_all=False, learn_recurrent=False, **OWN),
        snn.Lapicque(beta=0.9, threshold=0.2, **OWN),
        snn.Lapicque(R=2.0, C=3.0, time_step=0.5, threshold=0.1, **OWN, output=True),
    ])  # fmt: skip


def images_torch():
    per_channel = torch.tensor([0.9, 0.8, 0.7]).reshape(3, 1, 1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3),
        torch.nn.BatchNorm2d(3),
        theirs.Leaky(per_channel, graded_spikes_factor=2.0, **OWN),
        torch.nn.MaxPool2d(2),
        theirs.RLeaky(0.8, conv2d_channels=3, kernel_size=3, **OWN),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 5),
        theirs.Leaky(0.9, **OWN, output=True),
    )


def images_flax(channels_first=False):
    return snn.Sequential([
        nn.Conv(3, (3, 3), padding="VALID"),
        nn.BatchNorm(use_running_average=True),
        snn.Leaky([0.9, 0.8, 0.7], graded_spikes_factor=2.0, **OWN),
        snn.MaxPool2d(2),
        snn.RLeaky(0.8, conv2d_channels=3, kernel_size=3, **OWN),
        snn.Flatten(channels_first=channels_first),
        nn.Dense(5),
        snn.Leaky(0.9, **OWN, output=True),
    ])  # fmt: skip


VECTORS = np.random.default_rng(0).uniform(0, 6, (12, 3, 6)).astype(np.float32)
PICTURES = np.random.default_rng(1).uniform(0, 2, (8, 3, 2, 6, 6)).astype(np.float32)
TWINS = {
    "dense": (dense_torch, dense_flax, VECTORS),
    "recurrent": (recurrent_torch, recurrent_flax, VECTORS),
    "images": (images_torch, images_flax, PICTURES),
    "images, flattened as torch does": (images_torch, lambda: images_flax(channels_first=True), PICTURES),
}


def ours(x):
    """``x`` as flax takes it, channels last."""
    return np.moveaxis(x, 2, -1) if x.ndim > 3 else x


@pytest.mark.parametrize("name", TWINS)
def test_a_hand_written_twin_loads_returns_and_fires_the_same(name):
    make_torch, make_flax, x = TWINS[name]
    torch.manual_seed(0)
    torch_net, net = disturbed(make_torch()), make_flax()
    frame = jnp.asarray(ours(x)[0])
    variables = interop.from_state_dict(net, filled(net, frame), torch_net.state_dict(), sample=frame)
    back = interop.to_state_dict(net, variables, sample=frame)
    assert_same(back, numbers(torch_net))

    again = make_torch().eval()
    again.load_state_dict(tensors(back), strict=True)
    y = their_spikes(torch_net, x)
    assert y.any() and not y.all()
    np.testing.assert_array_equal(their_spikes(again, x), y)
    if name != "images, flattened as torch does":
        np.testing.assert_array_equal(spikes(net, variables, ours(x)), y)


def test_crossvalidation_agrees_after_loading():
    make_torch, make_flax, x = TWINS["recurrent"]
    net = make_flax()
    variables = filled(net, x[0])
    torch_net = make_torch().eval()
    state = interop.to_state_dict(net, variables)
    torch_net.load_state_dict(tensors(state), strict=True)
    # a Lapicque built from beta computes C itself, in flax to one bit; loading makes both sides one
    variables = interop.from_state_dict(net, variables, torch_net.state_dict())
    assert interop.crossvalidate(torch_net, (net, variables), x).agree


# --- ported models --------------------------------------------------------------------------------


class Nested(torch.nn.Module):
    """A user's network: names of its own, a block, layers in a list."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(2, 3, 3, padding=1)
        self.block = torch.nn.Sequential(torch.nn.BatchNorm2d(3), theirs.Leaky(0.8, learn_beta=True, **OWN))
        self.rest = torch.nn.ModuleList([torch.nn.Linear(108, 4), torch.nn.Linear(4, 4)])
        self.lif = theirs.RSynaptic(0.5, 0.9, linear_features=4, **OWN, output=True)

    def forward(self, x):
        x = self.block(self.stem(x)).flatten(1)
        spk, _, mem = self.lif(self.rest[1](self.rest[0](x)))
        return spk, mem


@pytest.mark.parametrize("make", [Nested, dense_torch, recurrent_torch, images_torch])
def test_a_ported_network_has_torchs_names_and_every_bit(make):
    torch.manual_seed(0)
    torch_net = disturbed(make())
    sample = VECTORS[0] if make in (dense_torch, recurrent_torch) else PICTURES[0]
    net, variables = interop.from_snntorch(make().eval(), sample)
    loaded = interop.from_state_dict(net, variables, torch_net.state_dict())
    assert_same(interop.to_state_dict(net, loaded), numbers(torch_net))
    _, expected = interop.from_snntorch(torch_net, sample)
    for collection in {"params", "batch_stats"} & {*expected}:
        assert jax.tree.all(jax.tree.map(np.array_equal, loaded[collection], expected[collection]))


# --- modules of one's own -------------------------------------------------------------------------


class Block(nn.Module):
    def setup(self):
        self.fc = nn.Dense(4)
        self.lif = snn.Leaky(0.9, **OWN)

    def __call__(self, x):
        return self.lif(self.fc(x))


class Own(nn.Module):
    """Attributes, a list, a dictionary, a module in a field, a Sequential inside."""

    head: nn.Module

    def setup(self):
        self.fc1 = nn.Dense(4)
        self.blocks = [Block(), Block()]
        self.table = {"norm": nn.BatchNorm(use_running_average=True)}
        self.tail = snn.Sequential([nn.Dense(4), snn.Leaky(0.5, **OWN)])

    def __call__(self, x):
        x = self.fc1(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.tail(self.table["norm"](x)))


class OwnTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 2)
        self.fc1 = torch.nn.Linear(6, 4)
        block = lambda: torch.nn.ModuleDict({"fc": torch.nn.Linear(4, 4), "lif": theirs.Leaky(0.9)})  # noqa: E731
        self.blocks = torch.nn.ModuleList([block(), block()])
        self.table = torch.nn.ModuleDict({"norm": torch.nn.BatchNorm1d(4)})
        self.tail = torch.nn.Sequential(torch.nn.Linear(4, 4), theirs.Leaky(0.5))


def test_attribute_names_are_paths():
    net, torch_net = Own(nn.Dense(2)), disturbed(OwnTorch())
    x = jnp.ones((3, 6))
    fresh = filled(net, x)
    variables = interop.from_state_dict(net, fresh, torch_net.state_dict())
    assert_same(interop.to_state_dict(net, variables), numbers(torch_net))
    kernel = variables["params"]["blocks_1"]["fc"]["kernel"]
    np.testing.assert_array_equal(kernel, torch_net.blocks[1]["fc"].weight.detach().numpy().T)
    assert jax.tree.structure(variables["params"]) == jax.tree.structure(fresh["params"])
    jax.eval_shape(lambda: net.apply(variables, x, mutable=["hidden"]))


def test_a_module_of_ones_own_inside_a_network():
    net = snn.Sequential([nn.Dense(4), snn.Sequential([Block()]), nn.Dense(2)])
    state = interop.to_state_dict(net, filled(net, np.ones((1, 6), np.float32)))
    settings = ["threshold", "beta", "graded_spikes_factor", "reset_mechanism_val"]
    names = ["0.weight", "0.bias", "1.0.fc.weight", "1.0.fc.bias", *(f"1.0.lif.{n}" for n in settings)]
    assert [*state] == [*names, "2.weight", "2.bias"]


def test_flaxs_own_sequential_and_a_single_layer():
    net = nn.Sequential([nn.Dense(2), nn.relu, nn.Dense(3)])
    variables = filled(net, np.ones((1, 6), np.float32))
    assert [*interop.to_state_dict(net, variables)] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [*interop.to_state_dict(nn.Dense(2), filled(nn.Dense(2), np.ones((1, 6), np.float32)))] == [
        "weight",
        "bias",
    ]


class Compact(nn.Module):
    @nn.compact
    def __call__(self, x):
        return snn.Leaky(0.9, **OWN)(nn.Dense(3)(x))


class Embedded(nn.Module):
    def setup(self):
        self.norm = nn.LayerNorm()

    def __call__(self, x):
        return self.norm(x)


@pytest.mark.parametrize(("net", "path"), [(Compact(), "Dense_0/bias"), (Embedded(), "norm/bias")])
def test_a_layer_without_a_torch_name_is_refused(net, path):
    variables = filled(net, np.ones((1, 6), np.float32))
    with pytest.raises(ConversionError, match=rf"params/{path}.*setup"):
        interop.to_state_dict(net, variables)


def test_a_parameter_that_is_not_there_is_named():
    with pytest.raises(ConversionError, match=r"'0': its params/kernel is not among the variables"):
        interop.to_state_dict(snn.Sequential([nn.Dense(2)]), {})


# --- one layer at a time --------------------------------------------------------------------------

LAYERS = {
    "Leaky": (lambda: theirs.Leaky(0.9, reset_mechanism="none"), lambda: snn.Leaky(0.5, reset_mechanism="none"), 4),
    "Leaky, learned": (
        lambda: theirs.Leaky(
            vector(0.9, 0.8, 0.7, 0.6), threshold=1.5, learn_beta=True, learn_threshold=True,
            learn_graded_spikes_factor=True,
        ),
        lambda: snn.Leaky(
            [0.5, 0.5, 0.5, 0.5], learn_beta=True, learn_threshold=True, learn_graded_spikes_factor=True
        ),
        4,
    ),
    "Lapicque, beta learned": (
        lambda: theirs.Lapicque(beta=0.9, learn_beta=True), lambda: snn.Lapicque(beta=0.8, learn_beta=True), 4,
    ),
    "Lapicque, beta and R": (lambda: theirs.Lapicque(beta=0.9, R=2.0), lambda: snn.Lapicque(beta=0.8, R=1.0), 4),
    "RLeaky, learned scalar": (
        lambda: theirs.RLeaky(0.9, V=0.5, all_to_all=False), lambda: snn.RLeaky(0.9, V=0.1, all_to_all=False), 4,
    ),
    "RLeaky, fixed weights": (
        lambda: theirs.RLeaky(0.9, linear_features=4, learn_recurrent=False),
        lambda: snn.RLeaky(0.9, linear_features=4, learn_recurrent=False),
        4,
    ),
    "SLSTM": (lambda: theirs.SLSTM(4, 3), lambda: snn.SLSTM(4, 3), 4),
    "SLSTM, no bias": (lambda: theirs.SLSTM(4, 3, bias=False), lambda: snn.SLSTM(4, 3, bias=False), 4),
    "SConv2dLSTM": (lambda: theirs.SConv2dLSTM(2, 3, 3), lambda: snn.SConv2dLSTM(2, 3, 3), (6, 6, 2)),
    "DeltaLeaky": (lambda: theirs.DeltaLeaky(beta=0.9), lambda: snn.DeltaLeaky(beta=0.8), 4),
    "StateLeaky": (lambda: theirs.StateLeaky(0.9, 4), lambda: snn.StateLeaky(0.8, 4), (2, 4)),
    "StateLeaky, learned": (
        lambda: theirs.StateLeaky(0.9, 4, learn_beta=True), lambda: snn.StateLeaky(0.8, 4, learn_beta=True), (2, 4),
    ),
    "LinearLeaky": (lambda: theirs.LinearLeaky(0.9, 4, 3), lambda: snn.LinearLeaky(0.8, 4, 3), (2, 4)),
    "LeakyParallel": (
        lambda: theirs.LeakyParallel(4, 3, beta=0.9), lambda: snn.LeakyParallel(4, 3, beta=0.8), (2, 4),
    ),
    "LeakyParallel, full": (
        lambda: theirs.LeakyParallel(4, 3, weight_hh_enable=True, learn_beta=True),
        lambda: snn.LeakyParallel(4, 3, weight_hh_enable=True, learn_beta=True),
        (2, 4),
    ),
    "AssociativeLeaky": (
        lambda: theirs.AssociativeLeaky(4, 2, 3, 6), lambda: snn.AssociativeLeaky(4, 2, 3, 6), (2, 4),
    ),
    "BatchNormTT1d": (lambda: theirs.BatchNormTT1d(4, 3), lambda: snn.BatchNormTT1d(4, 3, use_running_average=True), 4),
    "GradedSpikes": (lambda: theirs.GradedSpikes(4, 0.5), lambda: snn.GradedSpikes(4, 0.25), 4),
    "Conv1d": (lambda: torch.nn.Conv1d(2, 4, 3, groups=2), lambda: nn.Conv(4, (3,), feature_group_count=2), (6, 2)),
    "BatchNorm without weights": (
        lambda: torch.nn.BatchNorm1d(4, affine=False),
        lambda: nn.BatchNorm(use_running_average=True, use_bias=False, use_scale=False),
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_takes_torchs_numbers_and_gives_them_back(name):
    make_torch, make_flax, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = make_torch()
    with torch.no_grad():
        for module in layer.modules():
            if hasattr(module, "num_batches_tracked"):
                module.num_batches_tracked += 3
                module.running_mean += torch.rand(4)
    net = make_flax()
    x = jnp.ones((3, shape) if isinstance(shape, int) else (3, *shape))
    fresh = filled(net, x)
    variables = interop.from_state_dict(net, fresh, layer.state_dict())
    assert_same(interop.to_state_dict(net, variables), numbers(layer))
    assert jax.tree.structure(variables.get("params")) == jax.tree.structure(fresh.get("params"))
    jax.eval_shape(lambda: net.apply(variables, x, mutable=["hidden"]))


HEIGHTS = {
    "StateLeaky": (lambda g: theirs.StateLeaky(0.8, 4, **g), lambda g: snn.StateLeaky(0.8, 4, **g)),
    "LinearLeaky": (lambda g: theirs.LinearLeaky(0.8, 4, 4, **g), lambda g: snn.LinearLeaky(0.8, 4, 4, **g)),
    "LeakyParallel": (
        lambda g: theirs.LeakyParallel(4, 4, beta=0.8, **g), lambda g: snn.LeakyParallel(4, 4, beta=0.8, **g),
    ),
}  # fmt: skip


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("height", [0.5, [0.5, 2.0, 3.0, 0.7]])
@pytest.mark.parametrize("kind", HEIGHTS)
def test_spikes_are_as_high_there_as_here(kind, height, learn):
    """snnTorch multiplies by the factor of ``StateLeaky`` and ``LinearLeaky`` twice, so its is the root of ours."""
    make_torch, make_flax = HEIGHTS[kind]
    x = np.random.default_rng(0).random((5, 2, 4), np.float32) * 4
    net = make_flax({"graded_spikes_factor": height, "learn_graded_spikes_factor": learn})
    variables = net.init(jax.random.key(0), x)
    layer = make_torch(
        {"graded_spikes_factor": torch.ones(np.shape(height)), "learn_graded_spikes_factor": learn}
    )
    state = interop.to_state_dict(net, variables)
    layer.load_state_dict({name: torch.tensor(value) for name, value in state.items()})

    def spk(net, variables):
        return np.asarray(jax.tree.leaves(net.apply(variables, x))[0])

    expected = layer(torch.tensor(x))
    expected = (expected[0] if isinstance(expected, tuple) else expected).detach().numpy()
    assert expected.any()
    np.testing.assert_allclose(spk(net, variables), expected, rtol=1e-6)
    plain = make_flax(
        {"learn_graded_spikes_factor": learn, "graded_spikes_factor": np.ones(np.shape(height))}
    )
    loaded = interop.from_state_dict(plain, plain.init(jax.random.key(0), x), state)
    np.testing.assert_allclose(spk(plain, loaded), expected, rtol=1e-6)
    again = interop.from_state_dict(net, variables, state)
    np.testing.assert_array_equal(spk(net, again), spk(net, variables))


def test_a_height_below_zero_has_no_root():
    net = snn.StateLeaky(0.8, 4, graded_spikes_factor=-0.5)
    with pytest.raises(ConversionError, match="squares the factor"):
        interop.to_state_dict(net, net.init(jax.random.key(0), jnp.ones((2, 1, 4))))


# --- what is kept ---------------------------------------------------------------------------------


def one(**arguments):
    net = snn.Sequential([nn.Dense(2), snn.Leaky(0.5, **OWN, **arguments)])
    return net, filled(net, np.ones((1, 3), np.float32))


def test_a_number_that_is_an_argument_is_stored_only_if_it_differs():
    net, variables = one()
    state = interop.to_state_dict(net, variables)
    same = interop.from_state_dict(net, variables, state)
    assert jax.tree.structure(same) == jax.tree.structure(variables)
    other = interop.from_state_dict(net, variables, {**state, "1.beta": np.float32(0.25)})
    assert float(other["buffers"]["layers_1"]["beta"]) == 0.25
    x = jnp.ones((4, 1, 3))
    twin = snn.Sequential([nn.Dense(2), snn.Leaky(0.25, **OWN)])
    np.testing.assert_array_equal(spikes(net, other, x), spikes(twin, variables, x))


def test_hidden_states_and_the_given_variables_stay():
    net, variables = one()
    before = jax.tree.map(np.array, variables)
    state = {k: v + 1 if "weight" in k else v for k, v in interop.to_state_dict(net, variables).items()}
    loaded = interop.from_state_dict(net, variables, state)
    assert jax.tree.all(jax.tree.map(np.array_equal, before, variables))
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded["hidden"], variables["hidden"]))
    assert not np.array_equal(
        loaded["params"]["layers_0"]["kernel"], variables["params"]["layers_0"]["kernel"]
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes_are_kept(dtype):
    net, variables = one()
    state = {
        k: v.to(getattr(torch, dtype)) for k, v in tensors(interop.to_state_dict(net, variables)).items()
    }
    with jax.enable_x64(dtype == "float64"):
        loaded = interop.from_state_dict(net, variables, state)
        assert loaded["params"]["layers_0"]["kernel"].dtype == dtype
        assert interop.to_state_dict(net, loaded)["0.weight"].dtype == dtype


# --- what does not fit ----------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_listed_at_once():
    net, variables = one(reset_mechanism="zero")
    state = interop.to_state_dict(net, variables)
    state["0.weight"] = np.zeros((3, 2), np.float32)
    state["1.reset_mechanism_val"] = np.int64(0)
    state["2.weight"] = state.pop("0.bias")
    with pytest.raises(StateDictError) as raised:
        interop.from_state_dict(net, variables, state)
    assert raised.value.missing == ("0.bias",)
    assert raised.value.unexpected == ("2.weight",)
    assert raised.value.shapes == ("0.weight (3, 2), expected (2, 3)",)
    (conflict,) = raised.value.conflicts
    assert conflict == "1.reset_mechanism_val is 0, but the module has reset_mechanism='zero', which is 1"
    for part in ("0.bias", "2.weight", "(3, 2)", "reset_mechanism='zero'", "Pass the state_dict"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("Leaky", {"beta": np.ones(4, np.float32)}, r"beta \(4,\), expected \(\)"),
        (
            "Leaky, learned",
            {"beta": np.ones((4, 1, 1), np.float32)[:3]},
            r"beta \(3, 1, 1\), expected \(4,\)",
        ),
        ("RLeaky, learned scalar", {"recurrent.V": np.float32(3)}, "recurrent.V differs from V"),
        ("Lapicque, beta learned", {"C": np.float32(3)}, "C does not follow from beta"),
        ("LeakyParallel", {"rnn.weight_hh_l0": np.ones((3, 3), np.float32)}, "weight_hh_enable=True"),
        ("StateLeaky", {"reset_mechanism_val": np.int64(1)}, "there is no reset"),
        ("SLSTM", {"graded_spikes_factor": np.float32(2)}, "SLSTM has no such argument"),
    ],
)
def test_what_contradicts_the_module_is_refused(name, change, message):
    make_torch, make_flax, shape = LAYERS[name]
    net = make_flax()
    variables = filled(net, jnp.ones((3, shape) if isinstance(shape, int) else (3, *shape)))
    with pytest.raises(StateDictError, match=message):
        interop.from_state_dict(net, variables, {**numbers(make_torch()), **change})


def test_old_files_without_counts_and_doubled_weights_load():
    torch_net = dense_torch().eval()
    net = dense_flax()
    state = {k: v for k, v in torch_net.state_dict().items() if "num_batches" not in k}
    interop.from_state_dict(net, filled(net, VECTORS[0]), state)


# --- the order of flattened images ----------------------------------------------------------------


def test_without_a_sample_a_flattened_image_is_refused():
    net = images_flax()
    variables = filled(net, ours(PICTURES)[0])
    with pytest.raises(ConversionError, match=r"layers_6.*channels_first=True.*sample=x\[0\]"):
        interop.to_state_dict(net, variables)
    interop.to_state_dict(images_flax(channels_first=True), variables)


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        (lambda: [snn.Flatten(), snn.Leaky(np.full(32, 0.5), **OWN), nn.Dense(2)], "a Leaky follows"),
        (lambda: [snn.Flatten(), nn.BatchNorm(use_running_average=True), nn.Dense(2)], "a BatchNorm follows"),
    ],
)
def test_only_what_has_no_order_may_stand_between_flatten_and_dense(layers, problem):
    net = snn.Sequential(layers())
    x = jnp.ones((1, 4, 4, 2))
    variables = filled(net, x)
    with pytest.raises(ConversionError, match=problem):
        interop.to_state_dict(net, variables, x)


def test_neurons_and_dropout_may():
    net = snn.Sequential(
        [snn.Flatten(), snn.Leaky(0.5, **OWN), nn.Dropout(0.5, deterministic=True), nn.Dense(2)]
    )
    x = jnp.ones((1, 2, 3, 4))
    variables = filled(net, x)
    weight = interop.to_state_dict(net, variables, x)["3.weight"]
    kernel = np.asarray(variables["params"]["layers_3"]["kernel"]).reshape(2, 3, 4, 2)
    np.testing.assert_array_equal(weight.reshape(2, 4, 2, 3), kernel.transpose(3, 2, 0, 1))


def test_what_has_one_order_only_needs_no_permutation():
    net = snn.Sequential([snn.Flatten(), nn.Dense(2)])
    for shape in ((1, 4, 4, 1), (1, 1, 1, 5), (1, 7)):
        variables = filled(net, np.ones(shape, np.float32))
        weight = interop.to_state_dict(net, variables, jnp.ones(shape))["1.weight"]
        np.testing.assert_array_equal(weight.T, variables["params"]["layers_1"]["kernel"])


class Flattens(nn.Module):
    def setup(self):
        self.flatten, self.fc = snn.Flatten(), nn.Dense(2)

    def __call__(self, x):
        return self.fc(self.flatten(x))


def test_inside_a_module_of_ones_own_a_flatten_is_refused():
    net, x = Flattens(), jnp.ones((1, 4, 4, 2))
    with pytest.raises(ConversionError, match=r"channels_first=True"):
        interop.to_state_dict(net, filled(net, x), x)


def test_a_sample_that_does_not_fit_is_a_shape_error():
    net, variables = one()
    with pytest.raises(ShapeError, match=r"\(1, 5\) does not go through"):
        interop.to_state_dict(net, variables, jnp.ones((1, 5)))


# --- files ----------------------------------------------------------------------------------------


def test_a_safetensors_file_goes_to_torch_and_back(tmp_path):
    pytest.importorskip("safetensors")
    from safetensors.torch import load_file, save_model

    net, torch_net = recurrent_flax(), disturbed(recurrent_torch())
    variables = filled(net, VECTORS[0])
    interop.save_safetensors(tmp_path / "ours.safetensors", net, variables)
    torch_net.load_state_dict(load_file(tmp_path / "ours.safetensors"), strict=True)
    loaded = interop.load_safetensors(tmp_path / "ours.safetensors", net, variables)
    assert_same(interop.to_state_dict(net, loaded), numbers(torch_net))

    disturbed(torch_net)
    save_model(torch_net, str(tmp_path / "theirs.safetensors"))  # without V a second time
    loaded = interop.load_safetensors(tmp_path / "theirs.safetensors", net, variables)
    assert_same(interop.to_state_dict(net, loaded), numbers(torch_net))


def test_bfloat16_goes_through_a_file(tmp_path):
    pytest.importorskip("safetensors")
    net, variables = one()
    variables = jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables)
    interop.save_safetensors(tmp_path / "net.safetensors", net, variables)
    loaded = interop.load_safetensors(tmp_path / "net.safetensors", net, variables)
    assert loaded["params"]["layers_0"]["kernel"].dtype == jnp.bfloat16
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded["params"], variables["params"]))


def test_a_file_that_is_none(tmp_path):
    pytest.importorskip("safetensors")
    net, variables = one()
    (tmp_path / "net.safetensors").write_bytes(b"no tensors in here")
    with pytest.raises(StateDictError, match=r"net\.safetensors is no safetensors file"):
        interop.load_safetensors(tmp_path / "net.safetensors", net, variables)
    with pytest.raises(FileNotFoundError):
        interop.load_safetensors(tmp_path / "absent", net, variables)


def test_without_safetensors_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    net, variables = one()
    with pytest.raises(MissingDependencyError, match=r"'safetensors'.*\[io\]"):
        interop.save_safetensors(tmp_path / "x", net, variables)
