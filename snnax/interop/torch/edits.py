"""What to write in place of an operation of torch that has no equal in JAX yet."""

from __future__ import annotations

__all__ = ["edit_of"]

_SHAPED = (
    "How many numbers it gives depends on the data. Keep the shape, and put zeros where the rest was: "
    "torch.where(mask, x, 0) in place of x[mask]."
)
_WEIGHTS = "Compute it of weights once, in __init__, and keep the result: self.register_buffer(name, value)."
_COMPLEX = "Write it with real numbers: a Fourier transform is two products, x @ self.cos and x @ self.sin."
_EDITS: dict[str, str] = {
    **dict.fromkeys(("nonzero", "masked_select", "argwhere"), _SHAPED),
    **dict.fromkeys(
        ("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"), _SHAPED
    ),
    **dict.fromkeys(
        ("bincount", "histc", "histogram"), "Count with F.one_hot(x, bins).sum(0), of whole numbers."
    ),
    **dict.fromkeys(("complex", "view_as_complex", "view_as_real", "polar", "angle"), _COMPLEX),
    **dict.fromkeys(
        ("_cdist_forward",), "Write the distances out: (a[:, None] - b[None]).square().sum(-1).sqrt()."
    ),
    **dict.fromkeys(
        ("_embedding_bag", "_embedding_bag_forward_only"), "Write nn.Embedding, and .sum(1) or .mean(1)."
    ),
    **dict.fromkeys(("rrelu_with_noise",), "Write F.leaky_relu, which it is after eval()."),
    **dict.fromkeys(("nanmedian",), "Write torch.median of torch.nan_to_num(x)."),
    **dict.fromkeys(("binomial",), "Write torch.bernoulli(p.expand(n, *p.shape)).sum(0)."),
    **dict.fromkeys(
        ("fractional_max_pool2d", "fractional_max_pool3d"), "Use nn.MaxPool2d or nn.AdaptiveMaxPool2d."
    ),
    **dict.fromkeys(("bartlett_window", "blackman_window", "hamming_window", "kaiser_window"), _WEIGHTS),
}
_BEGINNINGS = (
    ("_fft_", _COMPLEX),
    (("linalg_", "_linalg_", "cholesky", "lu_", "triangular_solve", "geqrf", "ormqr"), _WEIGHTS),
    (
        ("special_", "_special_", "polygamma", "igamma"),
        "Write it as a series, or with torch.lgamma and torch.digamma.",
    ),
    (
        ("quantize_", "_fake_quantize", "fake_quantize"),
        "Write the rounding out: torch.round(x / scale) * scale.",
    ),
)
_ELSE = "Write it with operations of the table in docs/operators, or move that line out of forward."


def edit_of(op: str) -> str:
    """The smallest edit that takes an operation out, by its name in torch's schema.

    Example:
        >>> from snnax.interop.torch.edits import edit_of
        >>> edit_of("bincount")
        'Count with F.one_hot(x, bins).sum(0), of whole numbers.'
    """
    base = op.partition(".")[0].rpartition("::")[2]
    found = _EDITS.get(base)
    return found or next((edit for start, edit in _BEGINNINGS if base.startswith(start)), _ELSE)
