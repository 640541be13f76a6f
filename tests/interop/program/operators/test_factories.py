import jax
import numpy as np
import pytest
import torch
from helpers.aten import WIDTHS, agree, case, overload, real, whole

from snnax.interop.program.operators import evaluate

X, N = real(2, 3), whole(2, 3)

CASES = [
    *(case(op, [2, 3]) for op in ("zeros", "ones")),
    case("zeros", [0, 3], dtype=np.int64),
    case("ones", [], dtype=np.bool_),
    *(case(op, a, [3]) for op in ("new_zeros", "new_ones") for a in (X, N)),
    case("full", [2], 0.5),
    case("full", [2], 3),
    case("full", [2], 3, dtype=np.float32),
    case("new_full", X, [2], 3),
    *(case(op, a) for op in ("zeros_like", "ones_like") for a in (X, N)),
    case("zeros_like", N, dtype=np.float32),
    case("full_like", X, 0.5),
    case("fill.Scalar", X, 0.5),
    case("fill.Tensor", X, np.array(0.5)),
    case("scalar_tensor", 0.5),
    case("scalar_tensor", 2, dtype=np.int64),
    case("arange", 5),
    case("arange", 2.5),
    case("arange.start", 1, 4),
    case("arange.start", 1, 4, dtype=np.float32),
    *(case("arange.start_step", *given) for given in ((0, 5, 2), (5, 0, -2), (0.5, 2, 0.5), (0.0, 1.0, 0.1))),
    *(case("linspace", *given) for given in ((0, 1, 5), (-1.0, 2.0, 7), (0, 1, 1), (3, 0, 4))),
    case("linspace", 0, 10, 4, dtype=np.int64),
    case("logspace", 0, 2, 5, looser=5),
    case("logspace", 0, 3, 4, 2.0, looser=5),
    case("eye", 3),
    case("eye.m", 2, 4, dtype=np.int64),
    *(case(op, *given) for op in ("tril_indices", "triu_indices") for given in ((3, 4), (3, 3, 1))),
]
EMPTY = [
    case("empty.memory_format", [2, 3]),
    case("new_empty", X, [3]),
    case("empty_strided", [2, 3], [3, 1]),
    case("new_empty_strided", X, [2, 3], [3, 1]),
    case("empty_like", N),
    case("empty_permuted", [2, 3], [1, 0]),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)


@pytest.mark.parametrize("call", EMPTY, ids=str)
def test_what_torch_leaves_open_is_zero(call):
    theirs = overload(call.op)(*(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in call.args))
    result = jax.ShapeDtypeStruct(tuple(theirs.shape), theirs.numpy().dtype)
    (ours,) = evaluate(call.op, call.args, call.kwargs, [result])
    assert ours.shape == result.shape and not ours.any()
