"""Flax's layers under torch's names: its order of arguments, its defaults, its initial weights.

What they return are Flax's own modules, which every converter and schedule knows; only images are channels-last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.layers.arrays import Size, as_tuple
from snnax.modules import LAYOUT

__all__ = ["BatchNorm1d", "BatchNorm2d", "Conv1d", "Conv2d", "Dropout", "LayerNorm", "Linear"]


@dataclass(frozen=True)
class _Uniform:
    r"""Draws from :math:`\pm 1/\sqrt{M}` for M inputs of an output, as torch does; checks how many inputs arrive."""

    layer: str
    inputs: int
    groups: int
    fan_in: int

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        if len(shape) > 1 and shape[-2] * self.groups != self.inputs:
            layout = LAYOUT if len(shape) > 2 else "Flatten images before it: snnax.Flatten()."
            raise ShapeError(
                f"{self.layer} got an input with {shape[-2] * self.groups} features on its last axis; expected "
                f"{self.inputs}. {layout}"
            )
        bound = 1 / math.sqrt(self.fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)


@dataclass(frozen=True)
class _Constant:
    """Starts from one value; checks how many channels arrive."""

    layer: str
    features: int
    value: float

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        if tuple(shape) != (self.features,):
            raise ShapeError(
                f"{self.layer} got an input with {shape[0]} features on its last axis; expected {self.features}. "
                f"{LAYOUT}"
            )
        return jnp.full(tuple(shape), self.value, dtype)


def Linear(in_features: int, out_features: int, bias: bool = True) -> nn.Dense:
    r"""``flax.linen.Dense`` with the arguments and the initial weights of ``torch.nn.Linear``.

    .. math:: y = x W + b, \qquad W, b \sim \mathcal U(\pm 1/\sqrt{M})

    Args:
        in_features: M, the length of the last axis of the input ``[B, M]``.
        out_features: N, that of the output ``[B, N]``.
        bias: whether there is :math:`b`.

    Returns:
        The layer, with ``kernel`` ``(M, N)``, which is torch's ``weight`` transposed, and ``bias`` ``(N,)``.

    Raises:
        ArgumentError: a size is no whole number >= 1.
        ShapeError: in ``init`` and ``apply``, for an input with another number of features.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> fc = snn.Linear(784, 10)
        >>> variables = fc.init(jax.random.key(0), jnp.ones((1, 784)))
        >>> variables["params"]["kernel"].shape, bool(jnp.abs(variables["params"]["kernel"]).max() <= 1 / 28)
        ((784, 10), True)

    Source: PyTorch 2.13, ``torch.nn.Linear``.
    Compared with torch: the same distribution (kaiming uniform with ``a=sqrt(5)``); ``state_dict`` exchanges weights.
    """
    inputs, outputs = (
        _count(v, f"Linear({n}=...)")
        for n, v in (("in_features", in_features), ("out_features", out_features))
    )
    draw = _Uniform(f"Linear({inputs}, {outputs})", inputs, 1, inputs)
    return nn.Dense(outputs, checks.flag(bias, "Linear(bias=...)"), kernel_init=draw, bias_init=draw)


def Conv1d(
    in_channels: int,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv:
    """``flax.linen.Conv`` over ``[B, L, C]`` with torch's arguments and initial weights; see :func:`Conv2d`.

    Args:
        in_channels: C, the length of the last axis of the input.
        out_channels: of the output.
        kernel_size: one number.
        stride: one number.
        padding: zeros on both sides, one number; ``"same"`` or ``"valid"``.
        dilation: distance between two taps of the kernel.
        groups: of channels that are convolved apart.
        bias: whether there is a bias.

    Returns:
        The layer, with ``kernel`` ``(L, C / groups, N)`` and ``bias`` ``(N,)``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> conv = snn.Conv1d(2, 8, 3, padding=1)
        >>> conv.apply(conv.init(jax.random.key(0), jnp.ones((1, 9, 2))), jnp.ones((1, 9, 2))).shape
        (1, 9, 8)
    """
    return _conv("Conv1d", 1, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)


def Conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv:
    r"""``flax.linen.Conv`` over ``[B, H, W, C]`` with the arguments and initial weights of ``torch.nn.Conv2d``.

    .. math:: y_o = b_o + \sum_c W_{oc} \star x_c, \qquad W, b \sim \mathcal U(\pm 1/\sqrt{M})

    with M, the number of weights of one output.

    Args:
        in_channels: C, the length of the last axis of the input.
        out_channels: of the output.
        kernel_size: one number or two, height first.
        stride: as ``kernel_size``.
        padding: zeros on both sides, one number or two; ``"same"`` or ``"valid"``.
        dilation: distance between two taps of the kernel.
        groups: of channels that are convolved apart.
        bias: whether there is :math:`b`.

    Returns:
        The layer, with ``kernel`` ``(H, W, C / groups, N)``, torch's ``weight`` with its axes in another order,
        and ``bias`` ``(N,)``.

    Raises:
        ArgumentError: a size that is none, channels that ``groups`` does not divide, or ``"same"`` with a stride.
        ShapeError: in ``init`` and ``apply``, for another number of channels, as a channels-first input has.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> conv = snn.Conv2d(1, 12, 5)
        >>> x = jnp.ones((4, 28, 28, 1))
        >>> conv.apply(conv.init(jax.random.key(0), x), x).shape
        (4, 24, 24, 12)

    Source: PyTorch 2.13, ``torch.nn.Conv2d``.
    Compared with torch: images are channels-last; ``padding_mode`` is zeros.
    """
    return _conv("Conv2d", 2, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)


def _conv(
    name: str,
    rank: int,
    in_channels: Any,
    out_channels: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    bias: Any,
) -> nn.Conv:
    inputs, outputs = (
        _count(in_channels, f"{name}(in_channels=...)"),
        _count(out_channels, f"{name}(out_channels=...)"),
    )
    parts = _count(groups, f"{name}(groups=...)")
    if inputs % parts or outputs % parts:
        raise ArgumentError(
            f"{name}({inputs}, {outputs}, groups={parts}); expected groups that divide the channels."
        )
    sizes = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    found = {n: as_tuple(v, rank, f"{name}({n}=...)") for n, v in sizes.items()}
    for what, value in found.items():
        if any(checks.whole(size) is None for size in value):
            raise ArgumentError(f"{name}({what}={checks.shown(value)}); expected sizes >= 1.")
    kernel = found["kernel_size"]
    draw = _Uniform(
        f"{name}({inputs}, {outputs}, {kernel})", inputs, parts, inputs // parts * math.prod(kernel)
    )
    return nn.Conv(
        outputs, kernel, strides=found["stride"], padding=_padding(name, rank, padding, found["stride"]),
        kernel_dilation=found["dilation"], feature_group_count=parts, use_bias=checks.flag(bias, f"{name}(bias=...)"),
        kernel_init=draw, bias_init=draw,
    )  # fmt: skip


def _padding(name: str, rank: int, padding: Any, stride: tuple[int, ...]) -> Any:
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and max(stride) > 1):
            raise ArgumentError(
                f"{name}(padding={checks.shown(padding)}, stride={stride}); expected numbers, 'valid', or 'same', "
                "which goes with stride 1."
            )
        return padding.upper()
    pads = as_tuple(padding, rank, f"{name}(padding=...)")
    if any(checks.whole(pad, least=0) is None for pad in pads):
        raise ArgumentError(f"{name}(padding={checks.shown(pads)}); expected sizes >= 0.")
    return tuple((p, p) for p in pads)


def Dropout(p: float = 0.5) -> nn.Dropout:
    """``flax.linen.Dropout`` as torch builds it: it draws until :func:`snnax.utils.evaluating` switches it off.

    Args:
        p: the part that becomes zero; the rest is divided by ``1 - p``.

    Returns:
        The layer, which takes ``[B, ...]`` and the key ``rngs={"dropout": key}``.

    Raises:
        ArgumentError: ``p`` is not in 0 ... 1.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> drawn = snn.Dropout(0.5).apply({}, jnp.ones((1, 100)), rngs={"dropout": jax.random.key(0)})
        >>> sorted(set(drawn[0].tolist()))
        [0.0, 2.0]

    Source: PyTorch 2.13, ``torch.nn.Dropout``. Compared with torch: random numbers come from the key.
    """
    return nn.Dropout(checks.number(0, 1)(p, "Dropout(p=...)"), deterministic=False)


def BatchNorm1d(
    num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
) -> nn.BatchNorm:
    """``flax.linen.BatchNorm`` of ``[B, N]`` or ``[B, L, N]`` with torch's arguments; see :func:`BatchNorm2d`.

    Args:
        num_features: N.
        eps: added to the variance.
        momentum: weight of the new value in the running averages, as in torch (flax: of the old one).
        affine: whether there are ``scale`` and ``bias``.

    Returns:
        The layer, with ``scale`` and ``bias``, torch's ``weight`` and ``bias``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> bn = snn.BatchNorm1d(3)
        >>> sorted(bn.init(jax.random.key(0), jnp.ones((2, 3))))
        ['batch_stats', 'params']
    """
    return _norm("BatchNorm1d", num_features, eps, momentum, affine)


def BatchNorm2d(
    num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
) -> nn.BatchNorm:
    r"""``flax.linen.BatchNorm`` of images ``[B, H, W, C]`` with the arguments of ``torch.nn.BatchNorm2d``.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    It uses the statistics of the batch, and updates ``batch_stats`` (``mutable=["batch_stats"]``), until
    :func:`snnax.utils.evaluating` makes it use these.

    Args:
        num_features: C.
        eps: :math:`\epsilon`.
        momentum: weight of the new value in the running averages, as in torch (flax: of the old one).
        affine: whether there are :math:`\gamma` and :math:`\beta`.

    Returns:
        The layer, with ``scale`` and ``bias``, torch's ``weight`` and ``bias``.

    Raises:
        ArgumentError: for a bad argument.
        ShapeError: in ``init`` and ``apply``, for another number of channels (with ``affine``).

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> bn = snn.BatchNorm2d(2)
        >>> x = jax.random.normal(jax.random.key(1), (4, 5, 5, 2))
        >>> y, updates = bn.apply(bn.init(jax.random.key(0), x), x, mutable=["batch_stats"])
        >>> y.shape, updates["batch_stats"]["mean"].shape
        ((4, 5, 5, 2), (2,))

    Source: PyTorch 2.13, ``torch.nn.BatchNorm2d``.
    Compared with torch: images are channels-last, and the running variance is the mean of the batches' own; torch
    multiplies each by ``n / (n - 1)``.
    """
    return _norm("BatchNorm2d", num_features, eps, momentum, affine)


def _norm(name: str, num_features: Any, eps: Any, momentum: Any, affine: Any) -> nn.BatchNorm:
    features, learned = (
        _count(num_features, f"{name}(num_features=...)"),
        checks.flag(affine, f"{name}(affine=...)"),
    )
    return nn.BatchNorm(
        use_running_average=False, momentum=1 - _number(momentum, f"{name}(momentum=...)"),
        epsilon=_number(eps, f"{name}(eps=...)"), use_scale=learned, use_bias=learned, use_fast_variance=False,
        scale_init=_Constant(f"{name}({features})", features, 1.0),
        bias_init=_Constant(f"{name}({features})", features, 0.0),
    )  # fmt: skip


def LayerNorm(
    normalized_shape: int | Sequence[int],
    eps: float = 1e-5,
    elementwise_affine: bool = True,
    bias: bool = True,
) -> nn.LayerNorm:
    r"""``flax.linen.LayerNorm`` of the last axis, with the arguments of ``torch.nn.LayerNorm``.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
        normalized_shape: N, or ``(N,)``: the length of the last axis of ``[B, ..., N]``.
        eps: :math:`\epsilon`.
        elementwise_affine: whether there is :math:`\gamma`.
        bias: whether there is :math:`\beta` too.

    Returns:
        The layer, with ``scale`` and ``bias``, torch's ``weight`` and ``bias``.

    Raises:
        ArgumentError: for a bad argument.
        ShapeError: in ``init`` and ``apply``, for a last axis of another length (with ``elementwise_affine``).

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> norm = snn.LayerNorm(2, eps=0.0)
        >>> x = jnp.array([[1.0, 3.0]])
        >>> norm.apply(norm.init(jax.random.key(0), x), x).tolist()
        [[-1.0, 1.0]]

    Source: PyTorch 2.13, ``torch.nn.LayerNorm``. Compared with torch: one axis, the last.
    """
    (size,) = as_tuple(normalized_shape, 1, "LayerNorm(normalized_shape=...)")
    features = _count(size, "LayerNorm(normalized_shape=...)")
    scaled = checks.flag(elementwise_affine, "LayerNorm(elementwise_affine=...)")
    name = f"LayerNorm({features})"
    return nn.LayerNorm(
        epsilon=_number(eps, "LayerNorm(eps=...)"), use_scale=scaled,
        use_bias=scaled and checks.flag(bias, "LayerNorm(bias=...)"), use_fast_variance=False,
        scale_init=_Constant(name, features, 1.0), bias_init=_Constant(name, features, 0.0),
    )  # fmt: skip


def _count(value: Any, what: str) -> int:
    if (number := checks.whole(value)) is None:
        raise checks.refuse(what, value, "a whole number >= 1")
    return number


def _number(value: Any, what: str) -> float:
    return float(checks.number(0)(value, what))
