"""BPTT, TBPTT and RTRL: against plain gradients, against snnTorch with a loop written by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

import snnax as snn
import snnax.functional as SF
from snnax.backprop import BPTT, RTRL, TBPTT
from snnax.errors import ArgumentError, ShapeError

T, B, N = 7, 4, 3
SGD = optax.sgd(0.1)
ADAM = optax.adam(0.01)
LOSS = SF.ce_rate_loss()
NET = snn.Sequential(
    [
        nn.Dense(5),
        snn.Leaky(beta=0.9, threshold=0.4, init_hidden=True),
        nn.Dense(N),
        snn.Synaptic(alpha=0.5, beta=0.8, threshold=0.4, init_hidden=True, output=True),
    ]
)


def loader(seed: int = 0, batches: int = 2, shape: tuple[int, ...] = (T, B, 6)) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        ((rng.random(shape) < 0.5).astype(np.float32), rng.integers(0, N, B).astype(np.int64))
        for _ in range(batches)
    ]


DATA = loader()
VARIABLES = jax.jit(NET.init)(jax.random.key(0), DATA[0][0][0])


def assert_close(ours: Any, theirs: Any, rtol: float = 1e-5) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


# --- against plain gradients ------------------------------------------------------------------------


@jax.jit
@jax.value_and_grad
def plain(params: Any, x: Any, y: Any) -> jax.Array:
    return LOSS(snn.unroll(NET, {"params": params}, x)[0][0], y)


def test_k_of_all_steps_is_bptt_is_gradient_descent():
    params, losses = VARIABLES["params"], []
    for x, y in DATA:
        value, grads = plain(params, x, y)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        losses.append(value)
    for trained in (
        BPTT(NET, VARIABLES, DATA, SGD, LOSS),
        TBPTT(NET, VARIABLES, DATA, SGD, LOSS, K=T),
        TBPTT(NET, VARIABLES, DATA, SGD, LOSS, K=False),
        TBPTT(NET, VARIABLES, DATA, SGD, LOSS, K=T + 5),
    ):
        assert_close(trained.variables["params"], params)
        np.testing.assert_allclose(trained.loss, np.mean(losses), rtol=1e-6)


def test_batch_first_data():
    turned = [(np.swapaxes(x, 0, 1), y) for x, y in DATA]
    ours = BPTT(NET, VARIABLES, turned, SGD, LOSS, time_first=False)
    assert_close(ours.variables, BPTT(NET, VARIABLES, DATA, SGD, LOSS).variables)


def test_the_loss_of_rtrl_is_that_of_each_step_alone():
    ours = RTRL(NET, VARIABLES, DATA[:1], optax.sgd(0.0), LOSS)
    (spk, _, _), _ = snn.unroll(NET, {"params": VARIABLES["params"]}, DATA[0][0])
    steps = [LOSS(spk[t : t + 1], DATA[0][1]) for t in range(T)]
    np.testing.assert_allclose(ours.loss, np.mean(steps), rtol=1e-6)


def test_one_program_for_all_batches_and_epochs():
    from snnax.backprop import pieces

    _, variables, opt_state = TBPTT(NET, VARIABLES, DATA, ADAM, LOSS, K=3)
    before = pieces._compiled.count()
    TBPTT(NET, variables, DATA, ADAM, SF.ce_rate_loss(), K=3, opt_state=opt_state)
    assert pieces._compiled.count() == before


def test_the_optimizer_is_carried_from_epoch_to_epoch():
    twice = TBPTT(NET, VARIABLES, DATA * 2, ADAM, LOSS, K=3)
    _, variables, opt_state = TBPTT(NET, VARIABLES, DATA, ADAM, LOSS, K=3)
    again = TBPTT(NET, variables, DATA, ADAM, LOSS, K=3, opt_state=opt_state)
    assert_close(again.variables, twice.variables)
    assert int(again.opt_state[0].count) == 2 * 2 * 3


@pytest.mark.parametrize("epoch", [TBPTT, BPTT, RTRL], ids=lambda f: f.__name__)
def test_a_state_that_is_passed_is_compared_and_no_other_made(epoch):
    made = []

    def init(params):
        made.extend(jax.tree.leaves(params))
        return ADAM.init(params)

    optimizer = optax.GradientTransformation(init, ADAM.update)
    name = epoch.__name__
    with pytest.raises(ArgumentError, match=rf"{name}\(opt_state=.*the epoch before returned"):
        epoch(NET, VARIABLES, DATA, optimizer, LOSS, opt_state=SGD.init(VARIABLES["params"]))
    assert made and all(isinstance(leaf, jax.core.Tracer) for leaf in made)
    with pytest.raises(ArgumentError, match=rf"{name}\(optimizer=...\) got"):
        epoch(NET, VARIABLES, DATA, None, LOSS)


def test_a_constant_frame_is_that_frame_at_every_step():
    frames = loader(shape=(B, 6))
    moving = [(np.repeat(x[None], T, 0), y) for x, y in frames]
    ours = TBPTT(NET, VARIABLES, frames, SGD, LOSS, num_steps=T, time_var=False, K=3)
    theirs = TBPTT(NET, VARIABLES, moving, SGD, LOSS, K=3)
    assert_close(ours.variables, theirs.variables)


def test_statistics_buffers_and_dropout():
    net = nets.busy()
    x, y = nets.data()
    variables = nets.fresh(net)
    first = TBPTT(net, variables, [(x, y)], SGD, LOSS, K=3, key=jax.random.key(1))
    other = TBPTT(net, variables, [(x, y)], SGD, LOSS, K=3, key=jax.random.key(2))
    assert sorted(first.variables) == ["batch_stats", "buffers", "params"]
    assert nets.bits(first.variables["buffers"]) == nets.bits(variables["buffers"])
    assert nets.bits(first.variables["batch_stats"]) != nets.bits(variables["batch_stats"])
    assert nets.bits(first.variables["params"]) != nets.bits(other.variables["params"])


# --- against snnTorch -------------------------------------------------------------------------------


def torch_net() -> Any:
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 5),
        snntorch.Leaky(beta=0.9, threshold=0.4, init_hidden=True),
        torch.nn.Linear(5, N),
        snntorch.Leaky(beta=0.8, threshold=0.4, init_hidden=True, output=True),
    )
    return net.double()


def by_hand(
    net: Any, batches: Any, size: int, loss: Any, read: int, regularization: Any, varying: bool
) -> float:
    """The loop that snnTorch's ``TBPTT`` means: detach, step the optimizer, go on with the state."""
    import torch
    from snntorch import utils

    hooks = [n.register_forward_hook(in_float64) for n in net if hasattr(n, "detach_hidden")]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    means = []
    for x, y in batches:
        x, y = torch.from_numpy(x).double(), torch.from_numpy(y)
        utils.reset(net)
        total = 0.0
        for begin in range(0, len(x), size):
            piece = x[begin : begin + size]
            outputs = [net(frame) for frame in piece]
            record = torch.stack([out[read] for out in outputs])
            value = loss(record, y[begin : begin + size] if varying else y)
            if regularization:
                value = value + regularization(torch.stack([out[0] for out in outputs]))
            optimizer.zero_grad()
            value.sum().backward()
            optimizer.step()
            for layer in net:
                if hasattr(layer, "detach_hidden"):
                    layer.mem.detach_()
            total += value.item() * len(piece)
        means.append(total / len(x))
    for hook in hooks:
        hook.remove()
    return float(np.mean(means))


def in_float64(neuron: Any, inputs: Any, outputs: Any) -> Any:
    """snnTorch's spikes are float32 whatever the membrane is."""
    return tuple(o.double() for o in outputs) if isinstance(outputs, tuple) else outputs.double()


CASES = {
    "ce_rate_loss": ({}, 0, False),
    "mse_count_loss": ({"correct_rate": 0.8, "incorrect_rate": 0.2}, 0, False),
    "mse_membrane_loss": ({"time_var_targets": True, "on_target": 0.7}, -1, True),
}


@pytest.mark.filterwarnings(
    "ignore:Using a target size"
)  # of snnTorch's loss, for labels that all samples share
@pytest.mark.parametrize(
    ("kind", "size", "penalty"),
    [
        ("ce_rate_loss", 1, False),
        ("ce_rate_loss", 3, True),
        ("mse_count_loss", 4, False),
        ("mse_membrane_loss", 3, False),
    ],
)
def test_pieces_are_those_of_a_torch_loop_that_detaches_after_each(kind, size, penalty):
    """In float64 on both sides: a spike that flips by rounding would hide everything else."""
    theirs = torch_net()
    import snntorch.functional as TF

    options, read, varying = CASES[kind]
    data = loader(seed=3)
    if varying:
        data = [(x, np.random.default_rng(i).integers(0, N, T)) for i, (x, _) in enumerate(data)]
    with jax.enable_x64(True):
        net, variables = snn.interop.from_snntorch(theirs, data[0][0][0].astype(np.float64))
        start = jax.tree.map(np.asarray, variables["params"])
        train = RTRL if size == 1 else partial(TBPTT, K=size)
        ours = train(
            net, variables, [(x.astype(np.float64), y) for x, y in data], optax.sgd(0.5),
            getattr(SF, kind)(**options), regularization=SF.l1_rate_sparsity(0.01) if penalty else False,
        )  # fmt: skip
        loss = by_hand(
            theirs, data, size, getattr(TF, kind)(**options), read,
            TF.l1_rate_sparsity(0.01) if penalty else None, varying,
        )  # fmt: skip
        after = snn.interop.from_snntorch(theirs, data[0][0][0].astype(np.float64))[1]["params"]
        np.testing.assert_allclose(ours.loss, loss, rtol=1e-6)
        moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), after, start)
        assert max(jax.tree.leaves(moved)) > 0.01
        assert_close(ours.variables["params"], after, rtol=1e-6)


def test_snntorch_itself_agrees_where_it_works():
    """One kind of neuron, constant frames, K that divides T: the only case in which its TBPTT runs."""
    import warnings

    theirs = torch_net().float()
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from snntorch import backprop as TB
    import snntorch.functional as TF

    frames = loader(seed=4, shape=(B, 6))
    net, variables = snn.interop.from_snntorch(theirs, frames[0][0])
    ours = TBPTT(net, variables, frames, optax.sgd(0.5), LOSS, num_steps=6, time_var=False, K=3)
    pairs = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in frames]
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    loss = TB.TBPTT(theirs, pairs, optimizer, TF.ce_rate_loss(), num_steps=6, time_var=False, K=3)
    np.testing.assert_allclose(ours.loss, loss.item(), rtol=1e-5)
    assert_close(ours.variables["params"], snn.interop.from_snntorch(theirs, frames[0][0])[1]["params"])
    with pytest.raises(UnboundLocalError):
        TB.TBPTT(theirs, pairs, optimizer, TF.ce_rate_loss(), K=3)


# --- bad arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"num_steps": 5}, ArgumentError, r"num_steps=5 with time_var=True.*Leave num_steps out"),
        ({"time_var": False}, ArgumentError, r"num_steps=False with time_var=False; expected the number"),
        ({"time_var": False, "num_steps": True}, ArgumentError, r"num_steps got True"),
        ({"time_var": False, "num_steps": 5, "time_first": False}, ArgumentError, r"no axis of time"),
        ({"time_var": False, "num_steps": 5, "K": 6}, ArgumentError, r"K=6; expected .* up to num_steps=5"),
        ({"K": 0}, ArgumentError, r"K=0; expected a whole number of steps >= 1"),
        ({"K": True}, ArgumentError, r"K=True"),
        ({"criterion": "ce_rate_loss"}, ArgumentError, r"loss got 'ce_rate_loss'; expected a function"),
        ({"criterion": SF.ce_rate_loss}, ArgumentError, r"the class ce_rate_loss, not yet built"),
        ({"optimizer": "adam"}, ArgumentError, r"optimizer=...\) got 'adam'; expected an optax optimizer"),
        ({"regularization": 0.1}, ArgumentError, r"regularization=0.1"),
        ({"device": "abacus"}, ArgumentError, r"device='abacus' is not there"),
        ({"dataloader": []}, ArgumentError, r"no batches"),
        ({"dataloader": [DATA[0][0]]}, ArgumentError, r"a batch is a ndarray; expected a pair"),
        ({"dataloader": [(np.ones(3), np.ones(3))]}, ShapeError, r"x has shape \(3,\); expected \[T, B"),
        ({"net": "net"}, ArgumentError, r"TBPTT\(net=.net.\)"),
        ({"variables": {}}, ArgumentError, r"TBPTT\(variables=...\) holds no 'params'"),
        ({"variables": DATA}, ArgumentError, r"opt_state = backprop\.TBPTT\(net, variables, dataloader,"),
        (
            {"criterion": SF.mse_membrane_loss(time_var_targets=True)},
            ShapeError,
            r"targets have shape \(4,\)",
        ),
    ],
)
def test_bad_arguments(options, kind, message):
    given = {"net": NET, "variables": VARIABLES, "dataloader": DATA, "optimizer": SGD, "criterion": LOSS}
    with pytest.raises(kind, match=message):
        TBPTT(**{**given, **options})


def test_criteria_and_optimizers_of_torch_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match="torch tensors"):
        BPTT(NET, VARIABLES, DATA, SGD, torch.nn.CrossEntropyLoss())
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ArgumentError, match="build the optax one"):
        BPTT(NET, VARIABLES, DATA, optimizer, LOSS)


def test_a_device_can_be_named():
    ours = BPTT(NET, VARIABLES, DATA, SGD, LOSS, device="cpu")
    assert {d.platform for d in jnp.asarray(ours.loss).devices()} == {"cpu"}
    assert_close(ours.variables, BPTT(NET, VARIABLES, DATA, SGD, LOSS, device=jax.devices()[0]).variables)


@pytest.mark.parametrize("train", [BPTT, TBPTT, RTRL])
def test_arguments_in_the_order_of_torch_say_where_the_variables_go(train):
    net = snn.Sequential(snn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True))
    line = rf"come second here.*backprop\.{train.__name__}\(net, variables, dataloader, optimizer, criterion"
    with pytest.raises(ArgumentError, match=line):
        train(net, [(1, 2)], optax.adam(1e-3), lambda out, y: 0.0)
