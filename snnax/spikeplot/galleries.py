"""Pictures to choose by: every surrogate with its derivative, every neuron with its response to one current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks, surrogate
from snnax import neurons as kinds
from snnax.dynamics.equation import compared
from snnax.errors import ArgumentError, ShapeError
from snnax.network.unroll import unroll
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VISIBLE = 0.02  # of the height of a spike
AxesArray = Any
"""NumPy array of axes, as ``figure.subplots`` returns."""


def _all(check: checks.Check, expected: str) -> checks.Check:
    """Things of one kind by title, or ``None``."""

    def checked(value: Any, what: str) -> Any:
        for name, one in checks.mapping(expected)(value, what).items():
            check(one, f"{what.removesuffix('=...)')}={{{name!r}: ...}})")
        return value

    return checks.maybe(checked)


_SURROGATES = _all(
    checks.instance(surrogate.Surrogate, "a surrogate, as snnax.surrogate.atan()"),
    "surrogates by title, as {'atan': snnax.surrogate.atan()}",
)
_NEURONS = _all(
    checks.instance(nn.Module, "a neuron, as snnax.Leaky(0.9, init_hidden=True, output=True)"),
    "neurons by title, as {'lif': snnax.Leaky(0.9, init_hidden=True, output=True)}",
)


@checks.takes(
    surrogates=_SURROGATES, ax=canvas.axes_array, limit=checks.number(above=0), points=checks.count(2, 10**6)
)
def surrogate_gallery(
    surrogates: Mapping[str, surrogate.Surrogate] | None = None,
    ax: Sequence[Axes] | AxesArray | None = None,
    *,
    limit: float = 1.5,
    points: int = 601,
) -> AxesArray:
    """Every surrogate: the spike forward and the derivative backward, over the membrane above threshold.

    Args:
        surrogates: what to draw, by title; ``None`` for all of :mod:`snnax.surrogate` with their default arguments
            (and, for ``custom_surrogate``, a triangle).
        ax: axes to draw into, one for each; a figure of pyplot's without them.
        limit: the membrane minus the threshold goes from ``-limit`` to ``limit``.
        points: values in between.

    Returns:
        The axes, a NumPy array in the order of the surrogates; ``[0].figure`` is their figure.

    Raises:
        ShapeError: ``ax`` are fewer than the surrogates.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import snnax as snn
        >>> ax = snn.spikeplot.surrogate_gallery({"atan": snn.surrogate.atan()})
        >>> ax[0].get_title()
        'atan'
    """
    shown = all_surrogates() if surrogates is None else dict(surrogates)
    panels = _panels(ax, len(shown), 2.6, 1.9)
    x = np.linspace(-limit, limit, points).astype(np.float32)
    for panel, (name, function) in zip(panels, shown.items(), strict=False):
        derivative = np.asarray(function.derivative(x))
        panel.fill_between(x, derivative, color=canvas.ORANGE, alpha=0.25, lw=0)
        (slope,) = panel.plot(x, derivative, color=canvas.ORANGE, lw=1.4)
        (step,) = panel.plot(x, np.asarray(function(x)), color=canvas.INK, lw=1.2, ls="--")
        panel.set_title(name, fontsize=10)
        canvas.tidy(panel, time=False)
        panel.margins(x=0)
        if 0 < np.abs(derivative).max() < _VISIBLE:
            note = f"derivative\nup to {derivative.max():.1g}"
            panel.annotate(note, (0.55, 0.15), xycoords="axes fraction", fontsize=8, color=canvas.ORANGE)
    if ax is None and len(shown):
        figure = panels[0].figure
        figure.supxlabel("membrane $-$ threshold", fontsize=10)
        figure.legend(
            [step, slope], ["spike (forward)", "surrogate derivative (backward)"],
            loc="outside upper center", ncols=2, frameon=False, fontsize=10,
        )  # fmt: skip
    return panels


def all_surrogates() -> dict[str, surrogate.Surrogate]:
    """Each surrogate of :mod:`snnax.surrogate` with its default arguments, by name."""
    makers = [name for name in surrogate.__all__ if name not in ("Function", "Surrogate", "custom_surrogate")]
    found = {name: getattr(surrogate, name)() for name in sorted(makers, key=str.lower)}
    return {**found, "custom_surrogate": surrogate.custom_surrogate(_triangle)}


def _triangle(x: jax.Array, g: jax.Array, spikes: jax.Array) -> jax.Array:
    return g * jnp.maximum(0.0, 1.0 - jnp.abs(x))


@checks.takes(neurons=_NEURONS, ax=canvas.axes_array)
def neuron_gallery(
    neurons: Mapping[str, nn.Module] | None = None,
    current: Any = None,
    ax: Sequence[Axes] | AxesArray | None = None,
) -> AxesArray:
    """Every neuron's response to one input current: the current on top, then a membrane and spikes for each.

    Args:
        neurons: neurons with ``init_hidden=True, output=True``, by title; ``None`` for one of each kind that has no
            weights from its input, where those with units get the current in theirs.
        current: ``[T]`` of NumPy, JAX or torch; ``None`` for a step, a pause and a stronger pulse.
        ax: axes to draw into, the current's first, then one for each neuron; a figure of pyplot's without them.

    Returns:
        The axes, a NumPy array in that order; ``[0].figure`` is their figure.

    Raises:
        ShapeError: ``current`` is not ``[T]``, or ``ax`` are fewer than the neurons and one.
        ArgumentError: a neuron does not return its membrane.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import snnax as snn
        >>> lif = snn.Leaky(beta=0.9, init_hidden=True, output=True)
        >>> ax = snn.spikeplot.neuron_gallery({"beta = 0.9": lif}, current=[0.5] * 20)
        >>> [panel.get_title() for panel in ax]
        ['input current', 'beta = 0.9']
    """
    shown = all_neurons() if neurons is None else dict(neurons)
    drive = _default_current() if current is None else canvas.matrix(current, "current")
    if drive.shape[1] != 1:
        raise ShapeError(
            f"current has shape {drive.shape}; every neuron gets one current, [T]. Pass current[:, n]."
        )
    panels = _panels(ax, len(shown) + 1, 3.3, 1.75, columns=3)
    panels[0].plot(drive, color=canvas.GREEN, lw=1.5)
    panels[0].set_title("input current", fontsize=10)
    for panel, (name, neuron) in zip(panels[1:], shown.items(), strict=False):
        unit = _UNITS.get(name, 1.0) if neurons is None else 1.0
        spikes, membrane, moving = response(name, neuron, unit * drive)
        panel.plot(membrane, color=canvas.BLUE, lw=1.3)
        threshold = getattr(neuron, "v_threshold", getattr(neuron, "threshold", None))
        if moving is not None:
            panel.plot(moving, ls="--", lw=0.9, color=canvas.PALE)
        elif isinstance(threshold, float) and not isinstance(neuron, kinds.DeltaLeaky):
            panel.axhline(threshold, ls="--", lw=0.9, color=canvas.PALE)
        panel.margins(x=0, y=0.06)
        low, high = panel.get_ylim()
        panel.set_ylim(low, high + 0.22 * (high - low))
        panel.eventplot(
            np.flatnonzero(spikes), lineoffsets=0.93, linelengths=0.1, color=canvas.INK, lw=0.9,
            transform=panel.get_xaxis_transform(),
        )  # fmt: skip
        panel.set_title(name, fontsize=10)
    for panel in panels:
        canvas.tidy(panel)
        panel.set_xlim(0, len(drive) - 1)
    if ax is None:
        panels[0].figure.supxlabel("time step", fontsize=10)
        _explain(panels[0])
    return panels


def all_neurons() -> dict[str, nn.Module]:
    """One of each kind that has no weights from its input, by what it is built with; all leak alike."""
    own: dict[str, Any] = {"init_hidden": True, "output": True}
    return {
        "Leaky(0.9)": kinds.Leaky(0.9, **own),
        'Leaky(0.9, reset_mechanism="zero")': kinds.Leaky(0.9, reset_mechanism="zero", **own),
        "Lapicque(R=10, C=1)": kinds.Lapicque(R=10, C=1, **own),
        "Synaptic(0.7, 0.9)": kinds.Synaptic(0.7, 0.9, **own),
        "Alpha(0.9, 0.8)": kinds.Alpha(0.9, 0.8, **own),
        "ALIF(0.9, rho=0.95)": kinds.ALIF(0.9, rho=0.95, **own),
        "TwoDecayLIF(alpha=0.9, beta=0.7)": kinds.TwoDecayLIF(alpha=0.9, beta=0.7, threshold=0.12, **own),
        "SRM(alpha=0.9, beta=0.7)": kinds.SRM(alpha=0.9, beta=0.7, reset_val=0.25, threshold=0.12, **own),
        "SigmaDelta()": kinds.SigmaDelta(**own),
        "ResonateFire(omega=1000)": kinds.ResonateFire(threshold=0.5, reset_mechanism="zero", **own),
        "Izhikevich(dt=5e-4)": kinds.Izhikevich(dt=5e-4, **own),
        "AdEx(dt=5e-4)": kinds.AdEx(dt=5e-4, **own),
        "RLeaky(0.9, V=-0.3)": kinds.RLeaky(0.9, -0.3, all_to_all=False, **own),
        "RSynaptic(0.7, 0.9, V=-0.3)": kinds.RSynaptic(0.7, 0.9, -0.3, all_to_all=False, **own),
        "DeltaLeaky(0.05, beta=0.9)": kinds.DeltaLeaky(0.05, beta=0.9, **own),
        "StateLeaky(0.9)": kinds.StateLeaky(0.9, channels=1, **own),
        "LIF(tau=1e-3, r=10)": kinds.LIF(tau=1e-3, r=10, **own),
        "CubaLIF(3e-4, 1e-3, r=10)": kinds.CubaLIF(3e-4, 1e-3, r=10, **own),
    }


_UNITS = {"Izhikevich(dt=5e-4)": 60.0, "AdEx(dt=5e-4)": 5000.0}
"""What a current of 1 is to those of :func:`all_neurons` that have units: in mV/ms and pA."""


def _default_current() -> canvas.Values:
    current = np.zeros((120, 1))
    current[10:60] = 0.16
    current[80:95] = 0.4
    return current


def response(
    name: str, neuron: nn.Module, current: canvas.Values
) -> tuple[canvas.Values, canvas.Values, canvas.Values | None]:
    """Spikes, membrane and a threshold that moves ``[T]`` of one neuron that gets ``current`` ``[T, 1]``.

    Raises:
        ArgumentError: it does not return its membrane.
    """
    if not (getattr(neuron, "init_hidden", False) and getattr(neuron, "output", False)):
        raise ArgumentError(
            f"{name!r} does not keep and return its membrane; build it with init_hidden=True, output=True."
        )
    x = jnp.asarray(current, jnp.float32)[:, None, :]
    spikes, *states = unroll(neuron, neuron.init(jax.random.key(0), x[0]), x)[0]
    membrane = states[-1][0] if isinstance(states[-1], tuple) else states[-1]
    moving = None
    if getattr(neuron, "level", None) is not None:
        equation = cast(Any, neuron.bind({})).equation(membrane[0])
        moving = membrane - compared(equation, tuple(states)) + equation.rule.threshold
    shown = (
        None if values is None else np.ravel(np.asarray(values, np.float64))
        for values in (spikes, membrane, moving)
    )
    return cast(Any, tuple(shown))


def _panels(ax: Any, count: int, width: float, height: float, columns: int = 4) -> AxesArray:
    """``count`` of the given axes, or of a new figure."""
    if ax is not None:
        given = np.ravel(np.asarray(ax, object))
        if len(given) < count:
            raise ShapeError(f"ax holds {len(given)} axes for {count} panels; pass one for each, or ax=None.")
        return given[:count]
    columns = min(columns, max(count, 1))
    rows = max(-(-count // columns), 1)
    figure = canvas.figure(None, width * columns, height * rows + 0.6)
    panels = np.ravel(figure.subplots(rows, columns, sharex=True, squeeze=False))
    for panel in panels[count:]:
        panel.set_axis_off()
    for panel in panels[max(count - columns, 0) : count]:
        panel.xaxis.set_tick_params(labelbottom=True)
    return panels[:count]


def _explain(panel: Axes) -> None:
    """One legend for all panels, above them."""
    lines = canvas.module("lines")
    entries: dict[str, dict[str, Any]] = {
        "input current": {"color": canvas.GREEN},
        "membrane": {"color": canvas.BLUE},
        "threshold": {"color": canvas.PALE, "ls": "--"},
        "spikes": {"color": canvas.INK, "ls": "", "marker": "|", "markersize": 9},
    }
    cast(Any, panel.figure).legend(
        [lines.Line2D([], [], **style) for style in entries.values()], list(entries),
        loc="outside upper center", ncols=len(entries), frameon=False, fontsize=10,
    )  # fmt: skip
