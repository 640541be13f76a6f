"""Delay nodes <-> ``snnax.Delay``; the lags of ``snnax.DelayedDense``, each a Delay and a Linear."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import per_neuron_last
from snnax.interop.families.arrays import tidy
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import Array, Built, Site, Variables, broadcast, builds, writes
from snnax.interop.layers.signals import values_here, values_written
from snnax.interop.nir import metadata
from snnax.interop.nir.readings import Reading
from snnax.interop.numbers import on_device
from snnax.layers.delays import Delay, DelayedDense
from snnax.limits import check_values


@builds(nir.Delay)
def build_delay(node: nir.Delay, site: Site) -> Built:
    """A delay of whole time steps, which can be learned on if it was learned.

    Raises:
        ConversionError: for a delay that is negative or no multiple of the time step.
    """
    content = metadata.read(node, site.name)
    learned = content.get("learn") is True
    given = values_here(site, "delay", node.delay, content)
    here = per_neuron_last(given if learned else tidy(given), len(site.shape_in)).astype(np.float64)
    late = here * site.reading.seconds / site.dt
    steps = whole_steps(site.name, late, site.dt)
    longest = float(np.max(steps, initial=0))
    check_values(site.name, longest * prod(site.shape_in), f"keeps the inputs of {longest:g} steps")
    if not learned:
        return Built(Delay(int(steps) if steps.ndim == 0 else steps), {}, site.shape_in)
    steps = np.where(np.isclose(late, steps, rtol=3e-7, atol=0), steps, late)
    options = content.get("options", {})
    module = Delay(
        steps,
        learn_delay=True,
        max_delay=max(_number(options, "max_delay", 1, 1), ceil(longest)),
        kernel=options.get("kernel", "linear"),
        sigma=_number(options, "sigma", 1.0, 0),
    )
    variables: Variables = {"params": {"delay": on_device(np.asarray(steps, np.float32))}}
    if module.kernel == "gaussian":
        variables["buffers"] = {"sigma": on_device(np.float32(0.0))}
    return Built(module, variables, site.shape_in)


def whole_steps(name: str, late: np.ndarray, dt: float) -> np.ndarray:
    """Delays as whole numbers of time steps.

    Raises:
        ConversionError: for a delay that is negative or no multiple of the time step.
    """
    steps = np.rint(late)
    if (steps < 0).any() or not np.allclose(late, steps, rtol=1e-5, atol=1e-5):
        wrong = float(np.ravel(late)[np.argmax(np.abs(np.ravel(late - steps)))])
        raise ConversionError(
            name, f"its delay is {wrong:.6g} time steps of dt = {dt:g} s, which is no whole number",
            "Pass a dt that divides every delay.",
        )  # fmt: skip
    return steps


class DelayLine:
    r""":math:`y(t) = x(t - \tau)` of a Delay node, one step a call; zeros before the first input arrives."""

    def __init__(self, name: str, node: nir.Delay, reading: Reading, dt: float) -> None:
        late = np.asarray(node.delay, np.float64) * reading.seconds / dt
        self.name, self.steps = name, whole_steps(name, late, dt).astype(np.int64)
        self.past: list[Array] = []
        self.longest = int(self.steps.max(initial=0))

    def __call__(self, x: Array) -> Array:
        """The output of the next step."""
        steps = broadcast(self.name, np.add, self.steps, np.zeros((1, *x.shape[1:]), np.int64))
        self.past = [x, *self.past][: self.longest + 1]
        out = np.zeros(x.shape)
        for late in np.unique(steps):
            if late < len(self.past):
                out = np.where(steps == late, self.past[late], out)
        return out


@writes(Delay)
def write_delay(module: Delay, variables: Variables, site: Site) -> nir.NIRNode:
    """Delay in seconds.

    Raises:
        ConversionError: for learned delays that are not whole numbers of steps.
    """
    if not module.learn_delay:
        full, content = values_written(np.asarray(module.steps, np.float64) * site.dt, site)
        return _with(nir.Delay(delay=full), content)
    steps = _rounded(site.name, module, variables)
    full, content = values_written(steps * site.dt, site)
    options = {"max_delay": module.max_delay, "kernel": module.kernel, "sigma": module.sigma}
    return _with(nir.Delay(delay=full), {**content, "learn": True, "options": options})


def lags(name: str, module: DelayedDense, variables: Variables) -> list[tuple[int, nn.Dense, Variables]]:
    """A dense layer with delays as one without for each of its lags, whose sum it is; the bias is the first one's.

    Raises:
        ConversionError: for delays that are not whole numbers of steps.
    """
    steps, params = _rounded(name, module, variables), variables["params"]
    kernel = np.asarray(params["kernel"])
    found: list[tuple[int, nn.Dense, Variables]] = []
    for lag in map(int, np.unique(steps)):
        with_bias = module.use_bias and not found
        held = {"kernel": on_device(np.where(steps == lag, kernel, 0).astype(kernel.dtype))}
        if with_bias:
            held["bias"] = params["bias"]
        found.append((lag, nn.Dense(module.features, use_bias=with_bias), {"params": held}))
    return found


def _rounded(name: str, module: Delay | DelayedDense, variables: Variables) -> np.ndarray:
    """Learned delays as whole numbers of steps.

    Raises:
        ConversionError: they are none.
    """
    given = np.asarray(variables["params"]["delay"], np.float64)
    steps = np.rint(np.clip(given, 0, module.max_delay))
    apart = np.abs(np.clip(given, 0, module.max_delay) - steps)
    sigma = (
        float(variables.get("buffers", {}).get("sigma", module.sigma)) if module.kernel == "gaussian" else 0.0
    )
    if apart.any() or sigma:
        wide = f"interpolates with sigma = {sigma:g} steps" if sigma else "interpolates between steps"
        raise ConversionError(
            name, f"it {wide} (its delays are up to {apart.max():.3g} steps from whole ones), which NIR cannot say",
            "Round first: variables, moved = snnax.round_delays(variables).",
        )  # fmt: skip
    return steps


def _number(options: Variables, name: str, default: float, least: float) -> Any:
    """A number among the options of a file; one that cannot be is passed on, for the layer to refuse."""
    value = options.get(name, default)
    return value if isinstance(value, int | float) and value >= least else default


def _with(node: nir.NIRNode, content: Variables) -> nir.NIRNode:
    return metadata.write(node, content) if content else node


@axes_of(Delay)
def _same_axes(module: Delay, axes: int | None) -> int | None:
    return axes
