"""An array for the neurons of a layer means the same wherever it goes, whatever axes it leaves out.

Inside, samples are channels last; in torch and NIR channels first. So ``(C,)`` has to become ``(C, 1, 1)`` there, and
comes back. The oracle writes every array out, one number for each neuron, and moves its axes by hand.
"""

import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import per_neuron as table
from helpers.per_neuron import TABLE

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.crossvalidation import FlaxSide

ALL = [(kind, sample) for kind, case in TABLE.items() for sample in case.samples]
every = pytest.mark.parametrize(("kind", "sample"), ALL, ids=[f"{k}-{len(s)}-{s[0]}" for k, s in ALL])
NATIVE = ("LIF", "CubaLIF", "LI", "CubaLI", "IF", "I")


def turns(sample):
    """All where no shape tells one axis from another, a few where most mistakes do not even fit."""
    return range(len(table.SHAPES[len(sample)]))[:: 4 if sample == table.IMAGE else 1]


def first(array):
    return np.moveaxis(array, -1, 0)


def close(found, expected, what):
    """``found`` broadcasts to the numbers of each neuron, in their order of axes."""
    spread = np.broadcast_to(np.asarray(found), (1, *expected.shape))[0]
    np.testing.assert_allclose(spread, expected, rtol=3e-6, atol=1e-7, err_msg=what)


def network(kind, sample, turn, learn):
    """A network of one layer, its variables, its arrays, and these written out."""
    arrays = table.drawn(TABLE[kind], sample, turn)
    net = snn.Sequential([table.module(kind, arrays, sample, learn)])
    return net, table.variables(kind, net, arrays, sample, learn), arrays, table.full(arrays, sample)


def frame(sample):
    return jnp.zeros((2, *sample))


def assert_holds(model, variables, name, full, what):
    """A layer of ``model`` has the numbers ``full``, channels last."""
    own = {c: tree[name] for c, tree in variables.items() if name in tree}
    for key, value in table.held(model.members()[name], own, full):
        close(value, full[key], f"{what}: {key} of shape {value.shape}")


# --- the table ------------------------------------------------------------------------------------


def test_every_public_module_is_in_the_table():
    public = {n for n in snn.__all__ if isinstance(c := getattr(snn, n), type) and issubclass(c, nn.Module)}
    assert public == set(TABLE) | set(table.APART)
    assert not set(TABLE) & set(table.APART)


@pytest.mark.parametrize("kind", TABLE)
def test_every_number_of_a_neuron_is_in_the_table(kind):
    names = set(getattr(getattr(snn, kind), "parameter_names", ())) - table.UNUSED.get(kind, set())
    assert names <= set(TABLE[kind].numbers)
    fields = getattr(snn, kind).__dataclass_fields__
    learned = {f.removeprefix("learn_") for f in fields if f.startswith("learn_")} - table.UNUSED.get(
        kind, set()
    )
    assert learned <= {*TABLE[kind].numbers, "recurrent"}


def test_the_shapes_of_the_table_leave_out_axes_in_every_way():
    assert {table.chosen((4, 5, 3), axes) for axes in table.SHAPES[3]} >= {(3,), (1, 3), (5, 3), (4, 5, 3)}
    assert {table.chosen((5, 3), axes) for axes in table.SHAPES[2]} >= {(3,), (1, 3), (5, 3)}


# --- without running anything ---------------------------------------------------------------------


@every
def test_nir_and_back(kind, sample, tmp_path):
    for turn in turns(sample):
        net, variables, arrays, full = network(kind, sample, turn, learn=bool(turn % 2))
        graph = interop.to_nir(net, variables, frame(sample), dt=1.0)
        node = graph.nodes["0.lif" if "V" in arrays else "0"]
        for key in full:
            if kind in NATIVE or kind in ("Scale", "Threshold"):
                close(getattr(node, key), first(full[key]), f"node {key}, given {arrays[key].shape}")
                assert np.shape(getattr(node, key)) == first(full[key]).shape
        if kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic"):
            tau = node.tau if hasattr(node, "tau") else node.tau_mem
            close(1 - 1 / tau, first(full["beta"]), "decay")
            close(node.v_threshold, first(full["threshold"]), "v_threshold")
        if turn == 0:
            interop.write_nir(tmp_path / "net.nir", graph, extensions=True)
            graph = interop.read_nir(tmp_path / "net.nir")
        model, read = interop.from_nir(graph)
        assert_holds(model, read, "0", full, f"from_nir, given {[a.shape for a in arrays.values()]}")
        for key, value in table.held(model.members()["0"], {c: t["0"] for c, t in read.items()}, full):
            written_out = kind in ("StateLeaky", "LinearLeaky") and key == "beta"
            assert written_out or value.size <= arrays[key].size, f"{key} was {arrays[key].shape}"


@every
def test_state_dict_and_back(kind, sample):
    if kind in (*NATIVE, "Threshold", "Delay"):
        return
    for turn in turns(sample):
        learn = bool(turn % 2) or kind == "Scale"
        net, variables, arrays, full = network(kind, sample, turn, learn)
        state = interop.to_state_dict(net, variables, frame(sample))
        known = [key for key in full if f"0.{key}" in state]
        assert known or kind == "Delay"
        squared = kind in ("StateLeaky", "LinearLeaky")  # snnTorch multiplies their heights twice
        for key in known:
            root = np.sqrt(full[key]) if squared and key == "graded_spikes_factor" else full[key]
            close(state[f"0.{key}"], first(root), f"{key}, given {arrays[key].shape}")
        other = jax.tree.map(lambda value: value + 0.5, variables)
        loaded = interop.from_state_dict(net, other, state, frame(sample))
        kept = {
            key: full[key] for key in known if not (kind in ("StateLeaky", "LinearLeaky") and key == "beta")
        }
        assert_holds(net, loaded, "layers_0", kept, "from_state_dict")
        assert kind == "Lapicque" or jax.tree.map(jnp.shape, loaded) == jax.tree.map(jnp.shape, variables)


@every
def test_flax_source(kind, sample, tmp_path):
    turn = len(sample)
    for where in ("channels last", "imported"):
        net, variables, _, full = network(kind, sample, turn, learn=False)
        name = "layers_0"
        if where == "imported":
            net, variables = interop.from_nir(interop.to_nir(net, variables, frame(sample)))
            name = "layers_0" if len(sample) == 1 else "0"
        interop.write_source(tmp_path / "net.py", net, variables)
        model, read = runpy.run_path(str(tmp_path / "net.py"))["build"]()
        assert_holds(model, read, name, full, where)


@every
def test_snntorch_and_back(kind, sample):
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    if not TABLE[kind].torch:
        return
    for turn in turns(sample):
        learn = bool(turn % 2)
        net, variables, arrays, full = network(kind, sample, turn, learn)
        made = interop.to_snntorch(net, variables, frame(sample))
        neuron = made.get_submodule("0")
        for key in TABLE[kind].torch:
            value = getattr(neuron, key).detach().numpy()
            close(value, first(full[key]), f"torch {key}, given {arrays[key].shape}")
            assert value.size <= arrays[key].size
        state = interop.to_state_dict(net, variables, frame(sample))
        made.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        whole = kind in ("StateLeaky", "LinearLeaky", "LeakyParallel")
        if kind == "DeltaLeaky":
            return  # it returns its states, which no layer takes: tests/interop/torch/test_runner.py
        shape = first(frame(sample)[0]).shape
        ported, read = interop.from_snntorch(made, torch.zeros((3, 2, *shape) if whole else (2, *shape)))
        assert_holds(ported, read, "0", {k: full[k] for k in TABLE[kind].torch}, "from_snntorch")
        for key in state:
            again = interop.to_state_dict(ported, read)[key]
            assert again.shape == state[key].shape, key


@pytest.mark.parametrize("kind", [k for k, case in TABLE.items() if case.norse is not None])
def test_norse_and_back(kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("norse.torch")
    for sample in TABLE[kind].samples:
        for turn in turns(sample):
            special, arrays = TABLE[kind].norse, table.drawn(TABLE[kind], sample, turn)
            arrays = {key: value for key, value in arrays.items() if key not in special}
            full, nets = table.full(arrays, sample), []
            for given in (arrays, full):
                net = snn.Sequential([table.module(kind, given, sample, **special)])
                nets.append(interop.to_norse(net, {}, frame(sample), dt=1.0, dtype=torch.float64))
            compact, whole = (norse_numbers(net) for net in nets)
            assert compact.keys() == whole.keys()
            for key, value in compact.items():
                close(value, np.broadcast_to(whole[key], first(frame(sample)[0]).shape), f"Norse's {key}")
                assert value.size <= whole[key].size
            if sample == table.CUBE and kind in NATIVE:
                model, read = interop.from_norse(nets[0].float(), np.zeros((2, *sample), np.float32))
                name = next(n for n, m in model.members().items() if hasattr(m, "state_names"))
                if "w_in" in full:
                    full["w_in"] = full["w_in"] / full["tau_syn"]  # Norse's jumps by it at once
                assert_holds(model, read, name, full, "from_norse")


def norse_numbers(net):
    """The parameters of all cells, and the resistances in front of them."""
    found = {name: value.numpy() for name, value in net.named_buffers()}
    for name, part in net.named_modules():
        given = getattr(part, "p", 0.0)
        if hasattr(given, "_asdict"):
            found |= {
                f"{name}.p.{k}": np.asarray(v) for k, v in given._asdict().items() if hasattr(v, "ndim")
            }
    return found


@pytest.mark.parametrize("sample", [table.IMAGE, table.CUBE, table.SQUARE, table.VECTOR])
def test_the_portable_profile_has_no_axes_to_lose(sample):
    """Where snnTorch reads one number for a layer arrays are refused; for the other neuron they are written out."""
    arrays = table.drawn(TABLE["CubaLIF"], sample, 1)
    arrays = {**arrays, "v_leak": np.zeros(()), "v_reset": np.zeros(())}
    arrays = {**arrays, "tau_syn": arrays["tau_syn"] * 1e-4, "tau_mem": arrays["tau_mem"] * 1e-4}
    net = snn.Sequential([table.module("CubaLIF", arrays, sample, dt=1e-4)])
    node = interop.to_nir(net, {}, frame(sample), profile="portable").nodes["0"]
    for key, value in table.full(arrays, sample).items():
        np.testing.assert_allclose(getattr(node, key), first(value), rtol=1e-6)
    leaky = {**table.drawn(TABLE["Leaky"], sample, 0), **table.ZERO, "graded_spikes_factor": 1.0}
    with pytest.raises(ConversionError, match="differ in tau"):
        interop.to_nir(
            snn.Sequential([table.module("Leaky", leaky, sample)]), {}, frame(sample), profile="portable"
        )


# --- run ------------------------------------------------------------------------------------------

STEPS = 8


def side_by_side(kinds, build):
    """One network that hands its input to all neurons, so that it is compiled once."""
    nodes = {kind: build(kind) for kind in kinds}
    edges = [pair for kind in kinds for pair in (("input", kind), (kind, "output"))]
    return snn.Graph(nodes, edges, outputs=[(kind, "out") for kind in kinds])


def both(sample, kinds):
    """The network with arrays that leave axes out, half of them learned, and with all of them written out."""
    arrays = {kind: table.drawn(TABLE[kind], sample, place, 1) for place, kind in enumerate(kinds)}
    learned = set(kinds[::2])
    small = side_by_side(kinds, lambda kind: table.module(kind, arrays[kind], sample, kind in learned))
    full = {kind: table.full(a, sample) for kind, a in arrays.items()}
    return small, side_by_side(
        kinds, lambda kind: table.module(kind, full[kind], sample, kind not in learned)
    )


def started(net, x):
    variables = jax.jit(net.init)(jax.random.key(0), x[0])
    return {c: v for c, v in variables.items() if c != "hidden"}


def stepped(net, variables, x):
    """Each step by ``apply``."""
    step = jax.jit(lambda v, frame: net.apply(v, frame, mutable=["hidden"]))
    rows, hidden = [], {}
    for row in x:
        out, hidden = step({**variables, **hidden}, row)
        rows.append(out)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def alike(found, expected, what):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-9, atol=1e-9, err_msg=what)


RUN = [k for k, case in TABLE.items() if table.CUBE in case.samples and not case.sizes]
IN_TORCH = [k for k in RUN if TABLE[k].torch and k != "DeltaLeaky"]


def test_every_schedule_and_way_back_computes_the_same():
    sample = table.CUBE
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 2.5, (STEPS, 2, *sample)))
        net, whole = both(sample, RUN)
        variables = started(net, x)
        expected, _ = snn.unroll(whole, started(whole, x), x)
        assert all(np.count_nonzero(y) > 0 for y in expected)
        for chunk in (1, 3, STEPS):
            alike(snn.unroll(net, variables, x, chunk=chunk)[0], expected, f"chunk={chunk}")
        alike(stepped(net, variables, x), expected, "apply, step by step")
        model, read = interop.from_nir(interop.to_nir(net, variables, x[0]))
        again, _ = snn.unroll(model, read, jnp.moveaxis(x, -1, 2))
        alike([jnp.moveaxis(y, 2, -1) for y in again], expected, "from_nir(to_nir())")


def test_snntorch_computes_the_same():
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    sample = table.CUBE
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 2.5, (STEPS, 2, *sample)))
        net, _ = both(sample, IN_TORCH)
        variables = started(net, x)
        expected, _ = snn.unroll(net, variables, x)
        made = interop.to_snntorch(net, variables, x[0], dtype=torch.float64)
        rows = [made(torch.tensor(np.moveaxis(np.asarray(row), -1, 1))) for row in x]
        for place, kind in enumerate(IN_TORCH):
            theirs = np.stack([row[place].detach().numpy() for row in rows])
            alike(np.moveaxis(theirs, 2, -1), expected[place], kind)


@pytest.mark.parametrize("other", ["snnTorch", "Norse", "NIR"])
def test_cross_validation_sees_the_same_numbers(other):
    pytest.importorskip("snntorch")
    pytest.importorskip("norse.torch")
    sample = table.CUBE
    arrays = {**table.drawn(TABLE["Leaky"], sample, 0), **table.ZERO, "graded_spikes_factor": 1.0}
    net = snn.Sequential([nn.Conv(3, (3, 3)), table.module("Leaky", arrays, sample)])
    x = np.random.default_rng(0).uniform(0, 3, (STEPS, 2, *sample)).astype(np.float32)
    variables = started(net, x)
    made = {
        "snnTorch": lambda: interop.to_snntorch(net, variables, x[0]),
        "Norse": lambda: interop.to_norse(net, variables, x[0], surrogate="super"),
        "NIR": lambda: interop.to_nir(net, variables, x[0]),
    }[other]()
    report = interop.crossvalidate((net, variables), made, np.moveaxis(x, -1, 2))
    assert report.agree, str(report)
    assert report.layers[0].spikes > 0
    side = FlaxSide(net, variables)
    side.run(np.moveaxis(x, -1, 2))
    for key, value in table.full(table.drawn(TABLE["Leaky"], sample, 0), sample).items():
        if key != "graded_spikes_factor":
            close(side.spec("1").values[key], first(value), key)
    kept = variables["buffers"]["layers_1"]
    turned = {**kept, "threshold": kept["threshold"][..., ::-1]}  # what channel 0 has is channel 2's
    wrong = {**variables, "buffers": {"layers_1": turned}}
    assert not interop.crossvalidate((net, wrong), made, np.moveaxis(x, -1, 2)).agree


def test_gradients_of_channels_agree_with_torchs():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    learn = {"learn_beta": True, "learn_threshold": True}
    beta, threshold = torch.rand(1, 3, 1, 1) / 2 + 0.25, torch.rand(3, 1, 1) / 2 + 0.25
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), theirs.Leaky(beta, threshold=threshold, **learn, **table.OWN)
    ).eval()
    x = np.random.default_rng(0).uniform(0, 2, (STEPS, 2, 2, 5, 5)).astype(np.float32)
    report = interop.crossvalidate(net, interop.from_snntorch(net, x[0]), x, gradients=True)
    assert report.agree, str(report)
    assert {"1.beta", "1.threshold"} <= {g.name for g in report.gradients}


# --- numbers of the channels alone ----------------------------------------------------------------

CHANNELS = {
    "GradedSpikes": lambda n: snn.GradedSpikes(n),
    "BatchNormTT": lambda n: snn.BatchNormTT1d(n, STEPS, use_running_average=True),
    "BatchNormTT2d": lambda n: snn.BatchNormTT2d(n, STEPS, use_running_average=True),
    "BatchNorm": lambda n: nn.BatchNorm(use_running_average=True),
}


@pytest.mark.parametrize(
    ("kind", "sample"),
    [(k, s) for k in CHANNELS for s in (table.CUBE, table.SQUARE, table.VECTOR)
     if not (k == "BatchNormTT" and len(s) == 3) and not (k == "BatchNormTT2d" and len(s) != 3)],
)  # fmt: skip
def test_numbers_of_the_channels_alone(kind, sample):
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    rng = np.random.default_rng(0)
    net = snn.Sequential([CHANNELS[kind](sample[-1])])
    shapes = jax.eval_shape(net.init, jax.random.key(0), frame(sample))
    shapes.pop("hidden", None)
    variables = jax.tree.map(lambda v: jnp.asarray(rng.uniform(0.5, 2.0, v.shape), v.dtype), shapes)
    x = rng.normal(size=(STEPS, 2, *sample)).astype(np.float32)
    expected, _ = snn.unroll(net, variables, jnp.asarray(x))
    model, read = interop.from_nir(interop.to_nir(net, variables, x[0]))
    moved = np.moveaxis(x, -1, 2)
    again, _ = snn.unroll(model, read, jnp.asarray(moved))
    np.testing.assert_allclose(np.moveaxis(again, 2, -1), expected, rtol=1e-6, atol=1e-6)
    made = interop.to_snntorch(net, variables, x[0])
    theirs = np.stack([made(torch.tensor(row)).detach().numpy() for row in moved])
    np.testing.assert_allclose(np.moveaxis(theirs, 2, -1), expected, rtol=1e-5, atol=1e-5)


# --- from torch's and NIR's side ------------------------------------------------------------------


def torch_shapes(sample):
    """Every way to leave axes out of ``(1, *sample)``, channels first."""
    whole = (1, *sample)
    for ndim in range(1, len(whole) + 1):
        for bits in np.ndindex(*(2,) * ndim):
            yield tuple(n if bit else 1 for n, bit in zip(whole[-ndim:], bits, strict=True))


@pytest.mark.parametrize("sample", [(3, 4, 5), (3, 3, 3), (3, 3), (4,)])
def test_torchs_arrays_keep_their_axes(sample):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("snntorch")
    rng = np.random.default_rng(0)
    for shape in dict.fromkeys(torch_shapes(sample)):
        beta, threshold = (rng.uniform(0.2, 0.8, shape).astype(np.float32) for _ in range(2))
        net = torch.nn.Sequential(
            theirs.Leaky(torch.tensor(beta), threshold=torch.tensor(threshold), **table.OWN)
        )
        model, variables = interop.from_snntorch(net, torch.zeros(2, *sample))
        last = {
            "beta": np.moveaxis(np.broadcast_to(beta, (1, *sample))[0], 0, -1),
            "threshold": np.moveaxis(np.broadcast_to(threshold, (1, *sample))[0], 0, -1),
        }
        assert_holds(model, variables, "0", last, f"torch's {shape}")
        (again,) = interop.to_snntorch(model, variables)
        close(again.beta.numpy(), np.broadcast_to(beta, (1, *sample))[0], f"torch's {shape} and back")
        assert again.beta.numel() == beta.size
        into = interop.to_snntorch(model, variables, into=net)
        close(into[0].beta.numpy(), np.broadcast_to(beta, (1, *sample))[0], f"into torch's {shape}")
        assert into[0].beta.shape == beta.shape
        if (
            len(shape) == len(sample) + 1 or shape[0] > 1
        ):  # else torch's has axes of length 1 that mean nothing
            assert interop.to_state_dict(model, variables)["0.beta"].shape == shape


def test_into_another_networks_axes_is_refused():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("snntorch")
    nets = [torch.nn.Sequential(theirs.Leaky(torch.rand(s), **table.OWN)) for s in ((3, 1, 1), (3,))]
    model, variables = interop.from_snntorch(nets[0], torch.zeros(2, 3, 3, 3))
    with pytest.raises(ShapeError, match=r"differs in shape at \['0.beta'\]"):
        interop.to_snntorch(model, variables, into=nets[1])


@pytest.mark.parametrize("sample", [(3, 4, 5), (3, 3, 3), (3, 3), (4,)])
def test_nirs_arrays_keep_their_axes(sample):
    nir = pytest.importorskip("nir")
    rng = np.random.default_rng(0)
    makers = {
        "scale": lambda value: nir.Scale(scale=value),
        "threshold": lambda value: nir.Threshold(threshold=value),
        "steps": lambda value: nir.Delay(delay=np.round(value * 4) * 1e-4),
    }
    for shape in [s for s in dict.fromkeys(torch_shapes(sample)) if len(s) <= len(sample)]:
        for key, make in makers.items():
            value = rng.uniform(0.2, 1.0, shape).astype(np.float32)
            graph = nir.NIRGraph(
                {"input": nir.Input(input_type={"input": np.array(sample)}), "0": make(value),
                 "output": nir.Output(output_type={"output": np.array(sample)})},
                [("input", "0"), ("0", "output")], type_check=False,
            )  # fmt: skip
            model, variables = interop.from_nir(graph)
            wanted = np.round(value * 4) if key == "steps" else value
            last = np.moveaxis(np.broadcast_to(wanted, sample), 0, -1)
            assert_holds(model, variables, "0", {key: last}, f"NIR's {key} {shape}")


@pytest.mark.parametrize("one", [np.float32(0.002), np.array([0.002], np.float32)], ids=["0-d", "(1,)"])
def test_one_number_of_nir_stays_one(one):
    nir = pytest.importorskip("nir")
    sample = (3, 4, 5)
    node = nir.LIF(tau=one, r=one / one, v_leak=0 * one, v_threshold=one / one, v_reset=0 * one)
    graph = nir.NIRGraph(
        {"input": nir.Input(input_type={"input": np.array(sample)}), "0": node,
         "output": nir.Output(output_type={"output": np.array(sample)})},
        [("input", "0"), ("0", "output")], type_check=False,
    )  # fmt: skip
    model, _ = interop.from_nir(graph)
    assert np.ndim(model.members()["0"].beta) == 0


# --- what has no axes that are known, or others ---------------------------------------------------


def test_lists_and_arrays_of_any_library_are_the_same():
    given = [0.25, 0.5, 0.75]
    found = []
    for value in (given, tuple(given), np.array(given), np.array(given, np.float32), jnp.array(given)):
        net = snn.Sequential([nn.Conv(3, (1, 1)), snn.Leaky(value, **table.OWN)])
        variables = net.init(jax.random.key(0), jnp.ones((1, 1, 1, 2)))
        variables = {c: v for c, v in variables.items() if c != "hidden"}  # which would tell the axes
        found.append(interop.to_state_dict(net, variables)["1.beta"])
    for value in found:
        assert value.shape == (3, 1, 1)
        np.testing.assert_array_equal(value.ravel(), given)


EXITS = {
    "to_nir": interop.to_nir,
    "to_state_dict": interop.to_state_dict,
    "to_snntorch": interop.to_snntorch,
    "to_norse": interop.to_norse,
}


@pytest.mark.parametrize("out", EXITS)
@pytest.mark.parametrize("kind", ["Leaky", "Alpha", "LIF"])
def test_a_number_for_each_sample_of_a_batch_is_refused(kind, out):
    pytest.importorskip("torch")
    if out == "to_state_dict" and kind == "LIF":
        return
    name = next(iter(TABLE[kind].numbers))
    others = {key: sum(between) / 2 for key, between in TABLE[kind].numbers.items()}
    for sample in (table.CUBE, table.VECTOR):
        value = np.full((2, *sample), others[name])
        net = snn.Sequential([table.module(kind, {**others, name: value}, sample)])
        with pytest.raises(ConversionError, match=rf"{name}.*\(2, .*axes"):
            EXITS[out](net, {}, frame(sample))


def test_arrays_that_do_not_fit_are_named():
    for kind in ("Leaky", "Alpha", "CubaLIF"):
        name = next(iter(TABLE[kind].numbers))
        others = {key: sum(between) / 2 for key, between in TABLE[kind].numbers.items()}
        net = snn.Sequential([table.module(kind, {**others, name: np.full(5, others[name])}, table.IMAGE)])
        with pytest.raises(ConversionError, match=rf"'0': {name} has shape \(5"):
            interop.to_nir(net, {}, frame(table.IMAGE))


class Images(nn.Module):
    """The order of its layers is known to Python only."""

    def setup(self):
        self.conv = nn.Conv(3, (1, 1))
        self.lif = snn.Leaky([0.25, 0.5, 0.75], **table.OWN)

    def __call__(self, x):
        return self.lif(self.conv(x))


def test_without_a_sample_a_state_dict_knows_its_axes_or_refuses():
    sample = (4, 5, 2)
    variables = jax.jit(Images().init)(jax.random.key(0), frame(sample))
    known = {c: v for c, v in variables.items() if c != "hidden"}
    assert interop.to_state_dict(Images(), known, frame(sample))["lif.beta"].shape == (3, 1, 1)
    assert interop.to_state_dict(Images(), variables)["lif.beta"].shape == (3, 1, 1)
    with pytest.raises(ConversionError, match=r"'lif': its beta of shape \(3,\).*sample=x\[0\]"):
        interop.to_state_dict(Images(), known)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (lambda lif: [nn.Conv(3, (1, 1)), lif], (3, 1, 1)),
        (lambda lif: [nn.Conv(3, (1,)), snn.AvgPool1d(2), lif], (3, 1)),
        (
            lambda lif: [snn.Sequential([nn.Conv(3, (1, 1))]), nn.BatchNorm(use_running_average=True), lif],
            (3, 1, 1),
        ),
        (lambda lif: [nn.Conv(1, (1, 1)), snn.Flatten(channels_first=True), nn.Dense(3), lif], (3,)),
        (lambda lif: [snn.Reshape((3, 2, 2), channels_first=True), lif], (3, 1, 1)),
        (lambda lif: [nn.Dense(3), lif], (3,)),
        (lambda lif: [lif], (3,)),
    ],
)
def test_the_layers_before_tell_the_axes(layers, shape):
    lif = snn.Leaky([0.25, 0.5, 0.75], **table.OWN)
    net = snn.Sequential(layers(lif))
    image, rows = (2, 4, 4, 2), (2, 4, 2)
    x = (
        image
        if any(isinstance(m, nn.Conv | snn.Sequential) and len(shape) != 2 for m in net.layers)
        else rows
    )
    x = (2, 12) if isinstance(net.layers[0], snn.Reshape) else x
    x = (2, 3) if isinstance(net.layers[0], nn.Dense | snn.Leaky) else x
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(x))
    variables = {
        c: jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), v)
        for c, v in variables.items()
        if c != "hidden"
    }
    name = next(
        f"{n.removeprefix('layers_')}.beta" for n, m in net.members().items() if isinstance(m, snn.Leaky)
    )
    assert interop.to_state_dict(net, variables)[name].shape == shape


def test_weights_for_one_axis_of_several_are_refused():
    lif = snn.RLeaky(0.5, linear_features=3, **table.OWN)
    for layer in (lif, nn.Dense(3)):
        net = snn.Sequential([layer])
        variables = jax.jit(net.init)(jax.random.key(0), frame(table.SQUARE))
        for convert in (interop.to_nir, interop.to_snntorch):
            with pytest.raises(ConversionError, match="channels first"):
                convert(net, variables, frame(table.SQUARE))


def test_normalisation_of_another_axis_is_refused():
    net = snn.Sequential([nn.BatchNorm(use_running_average=True, axis=1)])
    variables = jax.jit(net.init)(jax.random.key(0), frame(table.SQUARE))
    with pytest.raises(ConversionError, match=r"axis=1.*Use axis=-1"):
        interop.to_nir(net, variables, frame(table.SQUARE))


def test_snntorchs_graded_spikes_are_other_ones_on_images():
    net = snn.Sequential([snn.GradedSpikes(3, 0.5)])
    variables = {"params": {"layers_0": {"weights": jnp.full(3, 0.5)}}}
    with pytest.raises(ConversionError, match=r"rows of an image.*learn_scale=True"):
        interop.to_state_dict(net, variables, frame(table.CUBE))
    assert interop.to_state_dict(net, variables, frame(table.SQUARE))["0.weights"].shape == (3, 1)


def test_arrays_against_samples():
    rng = np.random.default_rng(0)
    for sample in (table.IMAGE, table.CUBE, table.SQUARE, table.VECTOR):
        for shape in dict.fromkeys(torch_shapes(sample)):
            value = rng.uniform(size=shape)
            there = conventions.per_neuron_first(value, len(sample))
            close(there, first(np.broadcast_to(value, (1, *sample))[0]), str(shape))
            back = conventions.per_neuron_last(there, len(sample))
            np.testing.assert_array_equal(back, conventions.without_ones(value))
            whole = conventions.for_each(value, sample)
            assert whole.shape == sample and whole.flags.writeable
            np.testing.assert_array_equal(conventions.gathered(whole, list(back.shape)), back)
    with pytest.raises(ValueError, match=r"\(2, 3\) for samples of 1 axes"):
        conventions.per_neuron_first(np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="does not broadcast"):
        conventions.against(np.ones((2, 3)), (3,))
