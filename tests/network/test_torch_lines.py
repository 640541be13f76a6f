"""Lines of torch's in a ``forward`` end in an error that names the line and its remedy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import snnax as snn
from snnax.errors import TorchLineError

X = jnp.ones((2, 3, 4))


class Asks(snn.Module):
    """Does to its input what the test says."""

    def __init__(self, forward):
        super().__init__()
        self.ask = forward
        self.fc = snn.Linear(12, 4)

    def forward(self, x):
        return self.ask(self, x)


LINES = {
    "flatten": (lambda net, x: net.fc(x.flatten(1)), r"x\.reshape\(x\.shape\[0\], -1\)"),
    "view": (lambda net, x: x.view(2, -1), r"x\.reshape\(x\.shape\[0\], -1\)"),
    "size": (lambda net, x: x.size(0), r"x\.shape\[0\] for x\.size\(0\)"),
    "unsqueeze": (lambda net, x: x.unsqueeze(1), r"jnp\.expand_dims\(x, axis\)"),
    "detach": (lambda net, x: x.detach(), r"jax\.lax\.stop_gradient\(x\)"),
    "float": (lambda net, x: (x > 0).float(), r"x\.astype\(jnp\.float32\)"),
    "sum": (lambda net, x: x.sum(dim=1), r"x\.sum\(axis=1\)"),
    "stack": (lambda net, x: jnp.stack([x, x], dim=0), r"jnp\.stack\(\[x, x\], axis=0\)"),
    "cat": (lambda net, x: jnp.cat((x, x), 0), r"jnp\.concatenate\(\(a, b\), axis=0\)"),
}


@pytest.mark.parametrize("what", LINES)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_the_error_names_the_line_and_the_remedy(what, compiled):
    line, remedy = LINES[what]
    net = Asks(line)

    def run(x):
        return net.init_with_output(jax.random.key(0), x)[0]

    with pytest.raises(
        TorchLineError, match=rf"Asks\.forward \(test_torch_lines\.py:\d+: .*{what}.*write .*{remedy}"
    ) as caught:
        (jax.jit(run) if compiled else run)(X)
    assert not isinstance(caught.value.__cause__, TorchLineError)


class Apart:
    """An object of the user's own."""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (lambda net, x: x.nothing(), AttributeError),
        (lambda net, x: Apart().detach(), AttributeError),
        (lambda net, x: x.reshape(5, 5), TypeError),
        (lambda net, x: jnp.nothing, AttributeError),
    ],
)
def test_what_is_wrong_in_torch_too_stays_as_it_is(line, kind):
    with pytest.raises(kind) as caught:
        Asks(line).init(jax.random.key(0), X)
    assert not isinstance(caught.value, TorchLineError)
