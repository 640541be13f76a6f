"""Delays of signals, axonal and synaptic, fixed and learned.

Arrays are channels-last, ``[B, N]`` or ``[B, H, W, C]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics import delay as equations
from snnax.errors import ArgumentError, ShapeError
from snnax.layers.arrays import floating, for_sample
from snnax.layers.kept import kept
from snnax.limits import check_values
from snnax.modules import VARIABLES, Module
from snnax.neurons.buffers import buffer
from snnax.neurons.values import FrozenArray

__all__ = ["Delay", "DelayedDense", "round_delays", "with_delay_sigma"]

KERNELS = ("linear", "gaussian")


class Delayed(Module):
    """Base of the delays: they keep the inputs of the last steps, and take one step or many at once."""

    @nn.nowrap
    def takes_steps(self) -> bool:
        """Whether :meth:`over_time` is what to run: a fixed delay is faster step by step, on a CPU.

        A subclass may have another call.
        """
        return type(self) is DelayedDense or (type(self) is Delay and self.learn_delay)

    @nn.nowrap
    def over_time(self, x: jax.Array) -> jax.Array:
        """All steps ``[T, B, ...]`` of a layer that is bound to its variables, ``past`` among them."""
        raise NotImplementedError

    @nn.nowrap
    def _entered(self, x: ArrayLike, longest: int) -> jax.Array:
        """The input, for which the past is there."""
        x = jnp.asarray(x)
        many = longest * math.prod(x.shape[1:])
        check_values("/".join(self.path) or type(self).__name__, many, f"keeps the inputs of {longest} steps")
        shape = (x.shape[0], longest, *x.shape[1:])
        words = {"does": "keeps what came before", "misfit": "inputs have shape {}, expected {}"}
        kept(self, "past", shape, x.dtype, **words)
        return x

    @nn.nowrap
    def _known(self, x: jax.Array, longest: int) -> jax.Array:
        """The inputs before these and these, oldest first, ``[longest + T, B, ...]``; the last of them stay."""
        if not self.has_variable("hidden", "past"):
            return jnp.concatenate([jnp.zeros((longest, *x.shape[1:]), x.dtype), x])
        past = jnp.asarray(self.get_variable("hidden", "past"), x.dtype)  # the latest first
        known = jnp.concatenate([jnp.moveaxis(past, 1, 0)[::-1], x])
        if not self.is_initializing():
            self.put_variable("hidden", "past", jnp.moveaxis(known[: -longest - 1 : -1], 0, 1))
        return known

    @nn.nowrap
    def _taps(self, delay: jax.Array, longest: int, kernel: str) -> jax.Array:
        """The weights of each lag, ``[longest + 1, *delay.shape]``."""
        if kernel == "linear":
            return equations.linear_taps(delay, longest)
        sigma = buffer(self, "sigma", partial(jnp.asarray, self.sigma, delay.dtype))
        wide = jnp.asarray(self.sigma) if sigma is None else sigma
        return equations.gaussian_taps(delay, longest, wide.astype(delay.dtype))


class Delay(Delayed):
    r"""Hands on what came in some steps ago, the same number of them always or one that is learned; NIR's ``Delay``.

    .. math:: y_t = x_{t - d}, \qquad x_t = 0 \text{ for } t < 0

    With ``learn_delay=True`` each channel has a delay :math:`d` of its own that is trained, an axonal delay. Between
    two steps the output is interpolated, so that it has a derivative by :math:`d`:

    .. math:: y_t = \sum_{k=0}^{K} w_k\, x_{t-k}, \qquad w_k = \max(0,\, 1 - |k - d|) \quad\text{"linear"}, \qquad
        w_k \propto e^{-(k - d)^2 / 2\sigma^2} \quad\text{"gaussian"}

    ``"linear"`` is exact at whole delays, and its gradient compares neighbouring steps. ``"gaussian"`` sees spikes that
    are some :math:`\sigma` away: start wide and let :math:`\sigma` shrink with :func:`with_delay_sigma`. Then
    :func:`round_delays` makes whole delays of what was learned, and the layer the exact one. What leads out of the
    range from 0 to K has no effect; the gradient there is that of the border, so that a delay comes back.

    State: ``past``, the inputs of the last :math:`\max d` steps, or K of them, ``[B, K, ...]``, in the collection
    ``hidden``. Parameters with ``learn_delay=True``: ``delay``, in steps; ``"gaussian"`` has ``sigma`` in ``buffers``.

    Args:
        steps: :math:`d`, a whole number >= 0 of time steps, or an array with one for each neuron. With
            ``learn_delay=True`` where the delays start, fractions too: one number for all channels, or an array, of
            the shape of the parameter; ``None`` draws each from 0 to K.
        learn_delay: train the delays, one for each channel.
        max_delay: K, the longest delay in steps that can be learned.
        kernel: how steps are interpolated, ``"linear"`` or ``"gaussian"``.
        sigma: the first width of ``"gaussian"``, in steps; 0 takes the nearest step, without a gradient.

    Raises:
        ArgumentError: at construction, for a delay that is no whole number of steps, or not up to ``max_delay``.
        ShapeError: the delays do not broadcast to one sample, or keep more than :func:`~snnax.size_limit` allows.
        StateError: the collection ``hidden`` is not mutable, or belongs to another batch size.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(1.0, 5.0).reshape(4, 1, 1)
        >>> y, _ = snn.unroll(snn.Delay(2), {}, x)
        >>> y.ravel().tolist()
        [0.0, 0.0, 1.0, 2.0]
        >>> layer = snn.Delay(1.25, learn_delay=True, max_delay=3)
        >>> variables = layer.init(jax.random.key(0), x[0])
        >>> snn.unroll(layer, variables, x)[0].ravel().tolist()
        [0.0, 0.75, 1.75, 2.75]

    Source: NIR 1.0.8, ``nir.Delay``, whose delay is in seconds; Hammouamri, Khalfaoui-Hassani and Masquelier (2023),
    arXiv 2306.17670, for the Gaussian that shrinks.
    Compared with snnTorch: 1.0.0 has no delay; ``SynapticDelay`` of its later sources has ``max_delay``,
    ``learn_delay``, ``kernel`` and ``sigma``, and calls ``delay`` what is ``steps`` here. There a delay beyond its
    range has no gradient and stays there, images are refused, ``channels`` has to be told, and sequences are another
    mode; here :func:`~snnax.unroll` runs them. Norse 1.1.0 has no delay.
    """

    steps: Any = None
    learn_delay: bool = False
    max_delay: int | None = None
    kernel: str = "linear"
    sigma: float = 1.0

    least_axes: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the delays and make them hashable."""
        if self.learn_delay is True:
            _check_learned(self)
        else:
            self._check_whole()
        super().__post_init__()

    @nn.nowrap
    def _check_whole(self) -> None:
        if self.max_delay is not None:
            raise ArgumentError(
                f"Delay(max_delay={checks.shown(self.max_delay)}) without learn_delay=True; expected steps alone, as "
                "Delay(2), or Delay(learn_delay=True, max_delay=25)."
            )
        checks.fields(self, kernel=checks.one_of(*KERNELS), sigma=checks.number(0))
        given = FrozenArray.finite(self.steps, "Delay(steps=...)")
        check_values(
            "Delay", float(np.max(np.asarray(given), initial=0)), "keeps the inputs of as many steps"
        )
        whole = np.rint(np.asarray(given)).astype(np.int64)
        if np.any(whole != np.asarray(given)) or np.any(whole < 0):
            raise ArgumentError(
                f"Delay(steps={self.steps!r}); expected whole numbers of time steps >= 0. A delay in seconds is "
                "delay/dt steps; fractions are for learn_delay=True."
            )
        self.steps = given if isinstance(given, FrozenArray) else int(whole)

    @property
    def longest(self) -> int:
        """Steps that it keeps."""
        return self.max_delay or int(np.max(np.asarray(self.steps), initial=0))

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """One time step on ``[B, ...]``."""
        x = jnp.asarray(x)
        if self.learn_delay:
            x = floating(x)
            shape = np.shape(self.steps) if np.ndim(self.steps) else x.shape[1:][-1:]
            self.param(
                "delay", _start(self.steps, self.longest), shape, jnp.promote_types(x.dtype, jnp.float32)
            )
            return self.over_time(self._entered(x, self.longest)[None])[0]
        steps = for_sample("Delay: steps", np.asarray(self.steps).astype(np.int64), x)
        return self._shifted(self._entered(x, self.longest), steps) if self.longest else x

    @nn.nowrap
    def _shifted(self, x: jax.Array, steps: np.ndarray) -> jax.Array:
        """One step of a fixed delay."""
        past = jnp.zeros((x.shape[0], self.longest, *x.shape[1:]), x.dtype)
        if self.has_variable("hidden", "past"):
            past = jnp.asarray(self.get_variable("hidden", "past"), x.dtype)
        known = jnp.concatenate([x[:, None], past], axis=1)
        if not self.is_initializing():
            self.put_variable("hidden", "past", known[:, :-1])
        at = np.broadcast_to(steps, (1, *x.shape[1:]) if steps.ndim else (1,) * x.ndim)[:, None]
        index = jnp.broadcast_to(jnp.asarray(at), (x.shape[0], 1, *x.shape[1:]))
        return jnp.take_along_axis(known, index, axis=1)[:, 0]

    @nn.nowrap
    def over_time(self, x: jax.Array) -> jax.Array:
        """All steps ``[T, B, ...]`` of learned delays, with variables to which the layer is bound."""
        sample, longest, x = x.shape[2:], self.longest, floating(x)
        delay = jnp.broadcast_to(_for(x, self.get_variable("params", "delay"), "delay"), sample)
        known = self._known(x, longest)
        if self.kernel == "linear":
            return equations.linear(known, delay, longest)
        taps = self._taps(delay, longest, self.kernel).astype(x.dtype)
        return equations.weighted(known, taps[:, None, None], jnp.multiply)


class DelayedDense(Delayed):
    r"""A dense layer whose synapses each have a delay of their own; weights and delays are learned.

    .. math:: y_{t,j} = \sum_i W_{ij}\, x_{t - d_{ij},\, i} + b_j, \qquad x_t = 0 \text{ for } t < 0

    While the delays are no whole numbers, each is interpolated between the steps around it as :class:`Delay` does:

    .. math:: y_t = \sum_{k=0}^{K} x_{t-k}\, W^{(k)} + b, \qquad W^{(k)}_{ij} = W_{ij}\, w_k(d_{ij})

    so one step costs as much as K + 1 dense layers, whatever the delays are, and the weights of all lags take
    ``(K + 1) * in * out`` numbers while it runs. :func:`~snnax.unroll` takes a chunk of steps in one matrix product for
    each lag and keeps no copies of the inputs. Call: ``y = layer(x)`` with ``x`` ``[B, ..., in]``, ``y`` ``[B, ...,
    out]``.

    State: ``past``, the inputs of the last K steps, ``[B, K, ..., in]``, in the collection ``hidden``. Parameters:
    ``kernel``, drawn as ``flax.linen.Dense`` draws it, and ``delay`` (in steps), ``(in, out)``, and ``bias``, which
    starts at zero; ``"gaussian"`` has ``sigma`` in ``buffers``.

    Args:
        features: out.
        max_delay: K, the longest delay in steps.
        use_bias: whether there is a bias :math:`b`, which is not delayed.
        steps: where the delays start: one number, or an array that broadcasts to ``(in, out)``; ``None`` draws each
            from 0 to K.
        kernel: how steps are interpolated, ``"linear"`` or ``"gaussian"``.
        sigma: the first width of ``"gaussian"``, in steps; 0 takes the nearest step, without a gradient.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the delays do not broadcast to ``(in, out)``, or it keeps more than :func:`~snnax.size_limit`
            allows.
        StateError: the collection ``hidden`` is not mutable, or belongs to another batch size.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> layer = snn.DelayedDense(2, max_delay=3, steps=[[0, 2]], use_bias=False)
        >>> x = jnp.arange(1.0, 5.0).reshape(4, 1, 1)
        >>> params = {**layer.init(jax.random.key(0), x[0])["params"], "kernel": jnp.ones((1, 2))}
        >>> y, _ = snn.unroll(layer, {"params": params}, x)
        >>> y[:, 0].T.tolist()
        [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 2.0]]

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier (2023), arXiv 2306.17670, who write it as a convolution over
    time. Compared with snnTorch: it has no synaptic delays; its later ``SynapticDelay`` is one delay for each channel,
    :class:`Delay` here. In NIR each lag is a ``Delay`` and a ``Linear``.
    """

    features: int
    max_delay: int
    use_bias: bool = True
    steps: Any = None
    kernel: str = "linear"
    sigma: float = 1.0

    least_axes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check the arguments."""
        checks.fields(self, features=checks.count())
        _check_learned(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """One time step on ``[B, ..., in]``."""
        x = floating(jnp.asarray(x))
        shape, dtype = (x.shape[-1], self.features), jnp.promote_types(x.dtype, jnp.float32)
        check_values(
            "/".join(self.path) or "DelayedDense", (self.max_delay + 1) * math.prod(shape), "weighs all lags"
        )
        self.param("kernel", nn.initializers.lecun_normal(), shape, dtype)
        self.param("delay", _start(self.steps, self.max_delay), shape, dtype)
        if self.use_bias:
            self.param("bias", nn.initializers.zeros, (self.features,), dtype)
        return self.over_time(self._entered(x, self.max_delay)[None])[0]

    @nn.nowrap
    def over_time(self, x: jax.Array) -> jax.Array:
        """All steps ``[T, B, ..., in]`` of a layer that is bound to its variables, ``past`` among them."""
        x = floating(x)
        weights = jnp.asarray(self.get_variable("params", "kernel"))
        taps = self._taps(jnp.asarray(self.get_variable("params", "delay")), self.max_delay, self.kernel)
        taps = (taps * weights[None]).astype(x.dtype)
        y = equations.weighted(self._known(x, self.max_delay), taps, jnp.matmul)
        if not self.use_bias:
            return y
        bias = jnp.asarray(self.get_variable("params", "bias")).astype(x.dtype)
        return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def round_delays(variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Learned delays as whole numbers of steps, as hardware has them: each layer is then exactly late by them.

    Every learned array that is called ``delay`` is rounded, to 0 at least, and the ``sigma`` beside it becomes 0, with
    which the nearest step counts alone.

    Args:
        variables: as ``init`` or training returned them; left as they are.

    Returns:
        ``(rounded, moved)``: the new variables, and by the path of each layer how far, in steps, the delay went that
        went furthest, half a step at most; below 0 a delay counts as 0, as it does in the layer.

    Raises:
        ArgumentError: no layer has learned delays, or one of them is not finite.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> net = snn.Sequential([snn.Delay([1.25, 3.0], learn_delay=True, max_delay=4)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> rounded, moved = snn.round_delays(variables)
        >>> rounded["params"]["layers_0"]["delay"].tolist(), moved
        ([1.0, 3.0], {'layers_0': 0.25})

    Compared with snnTorch: it has no such function. NIR says delays of any length in seconds, and
    :func:`~snnax.interop.to_nir` asks for rounded ones, which are what ran.
    """
    flat = flatten_dict(unfreeze(dict(VARIABLES(variables, "round_delays(variables)"))))
    moved = {}
    for path in _homes(flat, "round_delays(variables)"):
        given = np.asarray(flat["params", *path, "delay"])
        if not np.isfinite(given).all():
            raise ArgumentError(
                f"round_delays(variables): the delays of {'/'.join(path)!r} are not all finite."
            )
        whole = np.maximum(np.rint(given), 0)
        moved["/".join(path)] = float(np.max(np.abs(whole - np.maximum(given, 0)), initial=0))
        flat["params", *path, "delay"] = jnp.asarray(whole, given.dtype)
    _narrowed(flat, 0.0)
    return unflatten_dict(flat), moved


def with_delay_sigma(variables: Mapping[str, Any], sigma: ArrayLike) -> dict[str, Any]:
    """The same variables, where delays with ``kernel="gaussian"`` look ``sigma`` steps around themselves.

    A gradient sees spikes that are some ``sigma`` away, so training starts wide, at about half of ``max_delay``, and
    ends below one step, where the layer is nearly the one that :func:`round_delays` leaves.

    Args:
        variables: as ``init`` or training returned them; left as they are.
        sigma: one number >= 0, in steps, which may be traced.

    Returns:
        New variables, of which no program is compiled anew.

    Raises:
        ArgumentError: ``sigma`` is no such number, or no layer has one.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> net = snn.DelayedDense(2, max_delay=20, kernel="gaussian", sigma=10.0)
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> for epoch in range(5):
        ...     variables = snn.with_delay_sigma(variables, 10.0 * 0.5**epoch)
        >>> float(variables["buffers"]["sigma"])
        0.625

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier (2023), arXiv 2306.17670. Compared with snnTorch: there
    ``layer.sigma`` is assigned.
    """
    what = "with_delay_sigma(sigma=...)"
    width = checks.scalar(sigma, what)
    if not isinstance(width, jax.core.Tracer):
        checks.number(0)(width, what)
    flat = flatten_dict(unfreeze(dict(VARIABLES(variables, "with_delay_sigma(variables)"))))
    if not _narrowed(flat, width):
        raise ArgumentError(
            "with_delay_sigma(variables) got variables without a delay that has kernel='gaussian'; expected those of a "
            "network with snnax.DelayedDense(..., kernel='gaussian')."
        )
    return unflatten_dict(flat)


def _homes(flat: Mapping[tuple[str, ...], Any], what: str) -> list[tuple[str, ...]]:
    """The paths of layers with learned delays."""
    homes = [path[1:-1] for path in flat if path[0] == "params" and path[-1] == "delay"]
    if not homes:
        raise ArgumentError(
            f"{what} got variables without a learned delay; expected those of a network with "
            "snnax.Delay(learn_delay=True, max_delay=25) or snnax.DelayedDense."
        )
    return homes


def _narrowed(flat: dict[tuple[str, ...], Any], sigma: Any) -> bool:
    """Set the widths of all Gaussians; whether there was one."""
    found = [
        path for path in flat
        if path[0] == "buffers" and path[-1] == "sigma" and ("params", *path[1:-1], "delay") in flat
    ]  # fmt: skip
    for path in found:
        flat[path] = jnp.asarray(sigma, jnp.asarray(flat[path]).dtype)
    return bool(found)


def _check_learned(layer: Any) -> None:
    """Check what learned delays start from, and make it hashable.

    Raises:
        ArgumentError: for a bad argument.
    """
    kind = type(layer).__name__
    longest = checks.count()(layer.max_delay, f"{kind}(max_delay=...)")
    checks.fields(layer, kernel=checks.one_of(*KERNELS), sigma=checks.number(0))
    layer.max_delay = longest
    check_values(kind, longest, "keeps the inputs of as many steps")
    if layer.steps is not None:
        layer.steps = FrozenArray.finite(layer.steps, f"{kind}(steps=...)")
        given = np.asarray(layer.steps)
        if np.any(given < 0) or np.any(given > longest):
            raise checks.refuse(f"{kind}(steps=...)", layer.steps, f"delays from 0 to max_delay={longest}")


def _start(steps: Any, longest: int) -> Callable[..., jax.Array]:
    """What draws the first delays: ``(key, shape, dtype)``."""

    def start(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        if steps is None:
            return jax.random.uniform(key, shape, dtype, 0, longest)
        given = np.asarray(steps)
        try:
            return jnp.asarray(np.broadcast_to(given, shape), dtype)
        except ValueError:
            raise ShapeError(
                f"DelayedDense(steps=...) has shape {given.shape}; expected one number, or an array that broadcasts to "
                f"(in, out) = {shape}."
            ) from None

    return start


def _for(x: jax.Array, value: Any, name: str) -> Any:
    """Delays with the axes of a sample of ``x`` ``[T, B, ...]``."""
    fitted = for_sample(f"Delay: {name}", value, x[0])
    return fitted.reshape(fitted.shape[1:]) if fitted.ndim else fitted
