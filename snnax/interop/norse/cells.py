"""Norse's neurons as specs: their parameters, their order of operations, and the potential they start from.

==================  ========  ==================================================================
Norse 1.1.0         NIR       a step
==================  ========  ==================================================================
LIFBoxCell          LIF       Euler, ``r = 1``; reset to ``v_reset`` or by ``v_th``
LIBoxCell           LI        Euler, ``r = 1``
LIFCell, LIF        CubaLIF   the input jumps onto the current, that charges the membrane, then it decays
LICell, LI          CubaLI    the same
IAFCell, IAF        IF        adds the input itself; the time step does not matter
LIFRecurrent[Cell]  CubaLIF   with ``input_weights`` before, ``recurrent_weights`` on a loop of one step
LILinearCell        CubaLI    with ``input_weights`` before
==================  ========  ==================================================================

Norse starts from ``v_leak`` (IAF from ``v_reset``), snnax from 0. What is converted is therefore the membrane
above that *rest*: ``v - rest``, with a threshold and a reset potential that are lower by as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from norse.torch.functional.leaky_integrator import LIState, li_step
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.iaf import IAF, IAFCell
from norse.torch.module.leaky_integrator import LI, LICell, LILinearCell
from norse.torch.module.leaky_integrator_box import LIBoxCell
from norse.torch.module.lif import LIF, LIFCell, LIFRecurrent, LIFRecurrentCell
from norse.torch.module.lif_box import LIFBoxCell
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.conventions import fitting
from snnax.interop.families.arrays import tidy
from snnax.interop.families.native import Native, native
from snnax.interop.families.registry import families
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.arrays import array
from snnax.interop.torch.originals import of_library, replaced_method

# --- The resistance in front of a Norse neuron: NIR's ``r`` and ``w_in``, which Norse's cells do not have


class Resistance(nn.Module):
    """``r * w_in * x + bias``: what makes Norse's cells those of NIR.

    It stands right before a neuron in the networks that :func:`snnax.interop.to_norse` makes. Reading them back
    puts both factors into the neuron again.

    Args:
        r: factor of the current, one number or one for each neuron.
        w_in: factor of the input of a neuron with a synaptic current.
        bias: added in every step; the resting potential of a neuron that starts from 0, or a bias of its
            recurrent weights.
        current: which current the neuron was said to show and to charge its membrane with; Norse's own is
            ``"undecayed"``, ``"new"`` is the same one under another name, one step older by its decay.
        apart: snnTorch's neuron with recurrent weights inside that the neuron stands for, ``"RLeaky"`` or
            ``"RSynaptic"``: its recurrent signals are no part of the input that is recorded for it.
        late_reset: the neuron was said to reset at the start of the step after a spike, which gives the same
            spikes and shows the membrane before its reset.
    """

    r: Tensor
    w_in: Tensor
    bias: Tensor

    def __init__(
        self,
        r: Any = 1.0,
        w_in: Any = 1.0,
        bias: Any = 0.0,
        current: str = "undecayed",
        apart: str = "",
        late_reset: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("r", torch.as_tensor(np.asarray(r, np.float64)))
        self.register_buffer("w_in", torch.as_tensor(np.asarray(w_in, np.float64)))
        self.register_buffer("bias", torch.as_tensor(np.asarray(bias, np.float64)))
        self.current = current
        self.apart = apart
        self.late_reset = late_reset

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``[B, ...]``."""
        out = x * (self.r * self.w_in).to(x.dtype)
        return out + self.bias.to(x.dtype) if bool((self.bias != 0).any()) else out

    @property
    def factor(self) -> np.ndarray:
        """``r * w_in``, with an axis for the inputs of a weight where it differs between neurons."""
        value = _array(self.r * self.w_in)
        return value[:, None] if value.ndim else value

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"current={self.current!r}, apart={self.apart!r}, late_reset={self.late_reset}"

    def joined(self, spec: NeuronSpec, w_rec: np.ndarray) -> NeuronSpec:
        """The neuron with its recurrent weights inside, as snnTorch has it."""
        dt, values = spec.sizes["dt"], {}
        for ours, tau in (("alpha", "tau_syn"), ("beta", "tau_mem")):
            values[ours] = np.asarray(1 - dt / spec.values[tau])
        values["threshold"] = spec.values["v_threshold"]
        values = {key: value for key, value in values.items() if key in families()[self.apart].values}
        weight = w_rec / self.factor
        recurrent = {"weight": weight.astype(w_rec.dtype)}
        if self.bias.ndim or bool(self.bias != 0):
            bias = np.broadcast_to(_array(self.bias) / np.ravel(self.factor), weight.shape[:1])
            recurrent["bias"] = bias.astype(w_rec.dtype)
        names = {"tau_syn": "alpha", "tau_mem": "beta", "v_threshold": "threshold"}
        return NeuronSpec(
            self.apart,
            values,
            tuple(names[key] for key in spec.learn if names.get(key) in values),
            {"reset_mechanism": "zero", "reset_delay": False},
            spec.surrogate,
            recurrent,
        )

    def applied(
        self, family: Native, values: dict[str, Any], options: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and options of the neuron with this resistance in front of it."""
        r, w_in = (_array(t) for t in (self.r, self.w_in))
        values = {**values, "r": values["r"] * r}
        if family.has_current:
            values["w_in"] = w_in
            options = {**options, "membrane_current": self.current}
        else:
            values["r"] = values["r"] * w_in
        if not self.apart and "tau" in family.values:
            values["v_leak"] = _array(self.bias)
        if self.late_reset:
            options = {**options, "reset_delay": True, "reset_at": "start"}
        return values, options


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().double().numpy())


KINDS: dict[type, str] = {
    LIFBoxCell: "LIF",
    LIBoxCell: "LI",
    LIFCell: "CubaLIF",
    LIF: "CubaLIF",
    LIFRecurrentCell: "CubaLIF",
    LIFRecurrent: "CubaLIF",
    LICell: "CubaLI",
    LI: "CubaLI",
    LILinearCell: "CubaLI",
    IAFCell: "IF",
    IAF: "IF",
}
"""Norse's classes that have a NIR form."""

WRAPPED = (LIF, LIFRecurrent, LI, IAF)
"""Those that take all time steps at once."""

PORTS = {"v": "mem", "i": "syn", "z": "z"}
"""Our name of each field of Norse's states."""

_STEPS = {
    "LIF": ("lif_box_feed_forward_step",),
    "LI": ("li_box_feed_forward_step",),
    "CubaLIF": ("lif_feed_forward_step", "lif_feed_forward_adjoint_step", "lif_step", "lif_adjoint_step"),
    "CubaLI": ("li_feed_forward_step",),
    "IF": ("iaf_feed_forward_step",),
}
_SURROGATES: dict[str, tuple[str, dict[str, Any]]] = {"super": ("fast_sigmoid", {"slope": 1.0})}

Handler = Callable[[Tensor, Any, Callable[[], tuple[Tensor, Any]]], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Cell:
    """A Norse neuron.

    Attributes:
        spec: its equation, for the membrane above ``rest``.
        rest: potential from which Norse starts, one number or one for each neuron.
        weights: ``w_in`` and ``w_rec`` of recurrent ones.
    """

    spec: NeuronSpec
    rest: np.ndarray
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def family_of(module: object) -> Native:
    """The family of NIR's neuron that a Norse cell is."""
    return native(KINDS[type(module)])


def is_cell(module: object) -> bool:
    """True for Norse's neurons that can be converted."""
    return type(module) in KINDS


def check_step(name: str, module: Any) -> None:
    """Refuse a neuron whose step is not that of its class.

    Raises:
        ConversionError: a method, or the function in ``activation``, was replaced.
    """
    found, step = replaced_method(module), getattr(module, "activation", None)
    known = _STEPS[KINDS[type(module)]]
    if not found and step is not None and not (of_library(step) and step.__name__ in known):
        found = "activation"
    if found:
        raise ConversionError(
            name, f"its {found} was replaced, so that its step is not that of Norse's {type(module).__name__}",
            "Build the cell anew, or write the neuron in flax and put it into the network by hand.",
        )  # fmt: skip


def cells_of(net: nn.Module) -> dict[str, nn.Module]:
    """All convertible Norse neurons of a network by module path."""
    return {name: m for name, m in net.named_modules() if is_cell(m)}


def is_norse(module: nn.Module) -> bool:
    """True for modules of Norse's and for classes derived from them."""
    return any(c.__module__.startswith("norse.torch.module.") for c in type(module).__mro__)


def cell_of(name: str, module: Any, shape: tuple[int, ...], gain: Resistance | None = None) -> Cell:
    """The spec of a Norse neuron.

    Args:
        name: its path, for errors.
        module: the neuron.
        shape: shape of one sample, channels first.
        gain: the resistance in front of it, of networks that ``to_norse`` made.

    Raises:
        ConversionError: for numbers and functions that have no equal.
    """
    family = family_of(module)
    rest = _number(name, module, family.norse_rest, shape)
    dt = float(module.dt)
    values, learn = {}, []
    for ours, theirs in family.norse_names.items():
        value = _number(name, module, theirs, shape)
        values[ours] = _time(name, theirs, value, dt) if theirs.startswith("tau") else value
        if isinstance(getattr(module.p, theirs), nn.Parameter):
            learn.append(ours)
    _check_learned(name, module, rest)
    options = _options(name, module, family, dt)
    if "v_threshold" in values:
        values["v_threshold"] = values["v_threshold"] - rest
        values["v_reset"] = values["v_reset"] - rest
        if options["reset_mechanism"] == "subtract":
            if np.any(rest != 0):
                raise ConversionError(
                    name, "v_leak is not 0 and reset_subtract lowers the membrane by v_th, whatever its rest",
                    "Set v_leak = 0, and add it to the bias of the layer before.",
                )  # fmt: skip
            values["v_reset"] = np.zeros(())
    values["r"] = np.asarray(1.0 / dt if family.sums else 1.0)
    if not family.sums:
        values["v_leak"] = np.zeros(())
    if family.has_current:
        values["w_in"] = np.ones(())
    if gain is not None:
        values, options = gain.applied(family, values, options)
    surrogate = _surrogate(name, module) if "v_threshold" in values else None
    for key in learn:
        trained = getattr(module.p, family.norse_names[key])
        values[key] = values[key].astype(np.float64 if trained.dtype == torch.float64 else np.float32)
    spec = NeuronSpec(
        family.kind,
        {k: tidy(v) for k, v in values.items()},
        tuple(learn),
        {},
        surrogate=surrogate,
        sizes=options,
    )
    weights = _weights(module)
    if gain is not None and gain.apart:
        spec = gain.joined(spec, weights.pop("w_rec"))
    return Cell(spec, np.asarray(tidy(rest)), weights)


def _number(name: str, module: Any, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter in double precision, that broadcasts from the right to one sample."""
    value = np.asarray(array(torch.as_tensor(getattr(module.p, what))), np.float64)
    if not np.isfinite(value).all():
        raise ConversionError(name, f"{what} is not finite", "Set it to a number.")
    return fitting(name, what, value, shape)


def _time(name: str, what: str, inverse: np.ndarray, dt: float) -> np.ndarray:
    if (inverse <= 0).any():
        raise ConversionError(name, f"{what} is not positive", "It is 1 over a time constant in seconds.")
    if (inverse * dt > 1 + 1e-6).any():
        raise ConversionError(
            name, f"{what} = {inverse.max():.6g} is a time constant shorter than the time step dt = {dt:g} s, "
            "which Euler's step overshoots",
            f"Build it with a dt of at most {1 / inverse.max():.3g} s.",
        )  # fmt: skip
    return np.maximum(1.0 / inverse, dt)


def _check_learned(name: str, module: Any, rest: np.ndarray) -> None:
    what = family_of(module).norse_rest
    if isinstance(getattr(module.p, what), nn.Parameter):
        raise ConversionError(
            name, f"it learns {what}, which is also the potential that it starts from, and snnax starts from 0",
            f"Fix {what}; a bias in the layer before it can be learned.",
        )  # fmt: skip


def _options(name: str, module: Any, family: Native, dt: float) -> dict[str, Any]:
    options: dict[str, Any] = {"dt": dt}
    if not family.sums:
        options["discretization"] = "euler"
    if family.has_current:
        options.update(w_in_scaling="impulse", membrane_current="undecayed")
    if family.fires:
        method = getattr(module.p, "reset_method", reset_value)
        known = {reset_value: "nir", reset_subtract: "subtract"}
        if method not in known:
            raise ConversionError(
                name, f"its reset_method is {getattr(method, '__name__', method)!r}, a function of your own",
                "Use norse.torch.functional.reset.reset_value or reset_subtract.",
            )  # fmt: skip
        options.update(reset_mechanism=known[method], threshold_test="after", reset_delay=False)
    return options


def _surrogate(name: str, module: Any) -> tuple[str, dict[str, Any]] | None:
    method = "super" if module.p.method == "adjoint" else module.p.method
    if method not in _SURROGATES:
        raise ConversionError(
            name, f"its surrogate gradient is method={method!r}, which snnax does not have",
            "Only its gradient would be lost: convert with method='super', and set a surrogate of snnax.surrogate.",
        )  # fmt: skip
    return _SURROGATES[method]


def _weights(module: Any) -> dict[str, np.ndarray]:
    found = {}
    for ours, theirs in (("w_in", "input_weights"), ("w_rec", "recurrent_weights")):
        if hasattr(module, theirs):
            found[ours] = array(getattr(module, theirs))
    return found


def tap(module: Any, handler: Handler) -> None:
    """Let ``handler(x, state, run)`` see each step of a neuron, part of a copy; ``run()`` computes it."""
    if isinstance(module, LILinearCell):
        vars(module)["forward"] = partial(_linear_cell, module, handler)
        return
    activation = module.activation

    def tapped(x: Tensor, state: Any, *rest: Any) -> tuple[Tensor, Any]:
        return handler(x, state, lambda: activation(x, state, *rest))

    module.activation, module.activation_sparse = tapped, None


def _linear_cell(module: Any, handler: Handler, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """LILinearCell's forward, which calls its equation directly."""
    if state is None:
        rows = x.new_zeros((x.shape[0], module.hidden_size))
        state = LIState(v=module.p.v_leak.detach().clone(), i=rows)
    return handler(x, state, lambda: li_step(x, state, module.input_weights, module.p, module.dt))
