"""Labels as the spike trains that the output neurons are to fire."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError
from snnax.spikegen.arguments import default_float, drawing, number, whole
from snnax.spikegen.labels import to_one_hot
from snnax.spikegen.single_spikes import latency
from snnax.spikegen.target_trains import known_pattern, ramps, target_rate_code


@checks.takes(code=checks.text, on_target=checks.scalar, off_target=checks.scalar)
def targets_convert(
    targets: ArrayLike,
    num_classes: int,
    code: str = "rate",
    num_steps: int = False,
    first_spike_time: int = 0,
    correct_rate: float = 1,
    incorrect_rate: float = 0,
    on_target: float = 1,
    off_target: float = 0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    threshold: float = 0.01,
    tau: float = 1,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    bypass: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Labels as target spikes: :func:`targets_rate` or :func:`targets_latency`.

    Args:
        targets: class indices ``[B]``, or one.
        num_classes: ``C``.
        code: ``"rate"``: the correct neuron fires more often. ``"latency"``: it fires earlier.
        num_steps: ``T``.
        first_spike_time: steps before the first spike.
        correct_rate: spikes per step of the correct neuron; of the rate code, as are the next.
        incorrect_rate: spikes per step of the others.
        on_target: what stands for a spike.
        off_target: what stands for none.
        firing_pattern: ``"regular"``, ``"uniform"`` or ``"poisson"``; of the rate code.
        interpolate: rise from ``off_target`` to ``on_target`` before each spike.
        epsilon: see :func:`latency`.
        threshold: see :func:`latency`; as are the rest, of the latency code.
        tau: the time constant, steps.
        clip: no spike of the incorrect neurons.
        normalize: scale the times so that the incorrect neurons fire at step ``T - 1``.
        linear: times linear in the data instead of logarithmic.
        bypass: leave out spikes later than ``num_steps`` instead of raising.
        key: of ``jax.random``; required by the random patterns.

    Returns:
        Targets ``[T, B, C]`` in JAX's default float; ``[B, C]`` for the rate code with its default rates and
        ``first_spike_time``.

    Raises:
        ArgumentError: another ``code``, or what the two functions refuse.
        ShapeError: the labels have more than one axis.

    Example:
        >>> targets_convert([1], num_classes=3).tolist()
        [[0.0, 1.0, 0.0]]
        >>> targets_convert([1], num_classes=3, code="latency", num_steps=4, normalize=True)[:, 0].T.tolist()
        [[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]

    Compared with snnTorch: as the two functions. Its ``code="latency"`` ignores ``on_target``, ``off_target``,
    ``interpolate`` and ``epsilon``, which is a bug and not followed.
    """
    if code == "rate":
        return targets_rate(
            targets, num_classes, num_steps, first_spike_time, correct_rate, incorrect_rate,
            on_target, off_target, firing_pattern, interpolate, epsilon, key=key,
        )  # fmt: skip
    if code == "latency":
        return targets_latency(
            targets, num_classes, num_steps, first_spike_time, on_target, off_target,
            interpolate, threshold, tau, clip, normalize, linear, epsilon, bypass,
        )  # fmt: skip
    raise ArgumentError(f"spikegen.targets_convert(code={code!r}); expected 'rate' or 'latency'.")


@checks.takes(on_target=checks.scalar, off_target=checks.scalar)
def targets_rate(
    targets: ArrayLike,
    num_classes: int,
    num_steps: int = False,
    first_spike_time: int = 0,
    correct_rate: float = 1,
    incorrect_rate: float = 0,
    on_target: float = 1,
    off_target: float = 0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Labels as spike trains, of one rate for the correct neuron and of another for the others.

    The trains are those of :func:`target_rate_code`: one for the correct neurons of all samples and one for
    all incorrect ones.

    Args:
        targets: class indices ``[B]``, or one.
        num_classes: ``C``.
        num_steps: ``T``; required unless the other three are at their defaults.
        first_spike_time: steps before the first spike.
        correct_rate: spikes per step of the correct neuron, 0 to 1.
        incorrect_rate: spikes per step of the others, 0 to ``correct_rate``.
        on_target: what stands for a spike.
        off_target: what stands for none.
        firing_pattern: ``"regular"``, ``"uniform"`` or ``"poisson"``; without effect for rates 1 and 0.
        interpolate: rise from ``off_target`` to ``on_target`` before each spike, see :func:`rate_interpolate`.
        epsilon: has no effect, see :func:`rate_interpolate`.
        key: of ``jax.random``; required by the two random patterns.

    Returns:
        Targets ``[T, B, C]`` in JAX's default float; ``[B, C]``, for any step, with the default rates and
        ``first_spike_time``.

    Raises:
        ArgumentError: rates not as above, labels out of range, no ``num_steps`` or no key where one is needed.
        ShapeError: the labels have more than one axis.

    Example:
        >>> trains = targets_rate([1], num_classes=2, num_steps=4, correct_rate=0.5, incorrect_rate=0.25)
        >>> trains[:, 0].T.tolist()
        [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]]

    Compared with snnTorch: equal for the default rates. Not followed: other rates raise there, or give five
    axes if ``num_classes == num_steps``; a negative ``off_target`` below ``on_target`` is raised to 0;
    ``interpolate`` has no effect before ``first_spike_time`` for the default rates; a negative
    ``first_spike_time`` returns None.
    """
    where = "targets_rate"
    steps = whole(num_steps, where, "num_steps")
    first = whole(first_spike_time, where, "first_spike_time")
    correct, incorrect = (
        number(correct_rate, where, "correct_rate"),
        number(incorrect_rate, where, "incorrect_rate"),
    )
    on, off = number(on_target, where, "on_target"), number(off_target, where, "off_target")
    pattern = known_pattern(firing_pattern, where)
    if not 0 <= incorrect <= correct <= 1:
        raise ArgumentError(
            f"spikegen.{where}(correct_rate={correct}, incorrect_rate={incorrect}); expected spikes per step, "
            "0 <= incorrect_rate <= correct_rate <= 1."
        )
    hot = to_one_hot(targets, num_classes) > 0
    always = correct == 1 and incorrect == 0
    if always and not first:
        return jnp.where(hot, on, off).astype(default_float())
    if not steps:
        raise ArgumentError(
            f"spikegen.{where} got no num_steps; correct_rate, incorrect_rate and first_spike_time need them. "
            f"Pass spikegen.{where}(targets, num_classes={num_classes}, num_steps=25, ...)."
        )
    keys: list[jax.Array | None] = [None, None]
    if always:
        pattern = "regular"
    elif pattern != "regular":
        call = (
            f"targets, {num_classes}, num_steps={steps}, correct_rate={correct}, firing_pattern={pattern!r}"
        )
        keys = list(jax.random.split(drawing(key, where, call)))
    trains = []
    for share, part in zip((correct, incorrect), keys, strict=True):
        fires = target_rate_code(steps, first, share, pattern, key=part)[0] > 0
        train = ramps(fires, on, off) if interpolate else jnp.where(fires, on, off)
        trains.append(train.astype(default_float()).reshape(steps, *[1] * hot.ndim))
    return jnp.where(hot[None], trains[0], trains[1])


@checks.takes(on_target=checks.scalar, off_target=checks.scalar)
def targets_latency(
    targets: ArrayLike,
    num_classes: int,
    num_steps: int = False,
    first_spike_time: int = 0,
    on_target: float = 1,
    off_target: float = 0,
    interpolate: bool = False,
    threshold: float = 0.01,
    tau: float = 1,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    epsilon: float = 1e-7,
    bypass: bool = False,
) -> jax.Array:
    """Labels as one spike of each neuron, early for the correct one and late for the others.

    It is :func:`latency` of :func:`to_one_hot`.

    Args:
        targets: class indices ``[B]``, or one.
        num_classes: ``C``.
        num_steps: ``T``; may be left out with ``bypass``.
        first_spike_time: the time of the earliest possible spike, steps.
        on_target: what stands for a spike.
        off_target: what stands for none.
        interpolate: rise from ``off_target`` to ``on_target`` before each spike.
        threshold: see :func:`latency`, as are the next.
        tau: the time constant, steps.
        clip: no spike of the incorrect neurons.
        normalize: scale the times so that the incorrect neurons fire at step ``T - 1``.
        linear: times linear in the data instead of logarithmic.
        epsilon: how far above the threshold the incorrect neurons are kept.
        bypass: leave out spikes later than ``num_steps`` instead of raising.

    Returns:
        Targets ``[T, B, C]`` in JAX's default float.

    Raises:
        ArgumentError: what :func:`latency` and :func:`to_one_hot` refuse.
        ShapeError: the labels have more than one axis, or there are none.

    Example:
        >>> targets_latency([0], num_classes=2, num_steps=5, normalize=True, interpolate=True)[:, 0].T.tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.5, 0.75, 1.0]]

    Compared with snnTorch: as :func:`latency`.
    """
    return latency(
        to_one_hot(targets, num_classes), num_steps, threshold, tau, first_spike_time, on_target, off_target,
        clip, normalize, linear, interpolate, bypass, epsilon,
    )  # fmt: skip
