import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, real, whole

X, N, ZERO_D = real(2, 3, 4), whole(2, 3), np.asarray(0.5)
THIN = real(1, 3, 1, 2)

CASES = [
    *(case(op, X, [3, -1]) for op in ("view", "_unsafe_view", "reshape")),
    case("view", X, [24]),
    case("view", ZERO_D, [1, 1]),
    case("view", real(0, 3), [3, 0]),
    case("_reshape_alias", X, [6, 4], [4, 1]),
    case("flatten.using_ints", X, 1),
    case("flatten.using_ints", X),
    case("flatten.using_ints", ZERO_D),
    case("permute", X, [2, 0, 1]),
    case("permute", X, [-1, 0, -2]),
    case("transpose.int", X, 0, -1),
    case("transpose.int", ZERO_D, 0, -1),
    *(case("t", a) for a in (N, real(3))),
    *(
        case(op, X)
        for op in (
            "alias",
            "clone",
            "contiguous",
            "lift",
            "lift_fresh",
            "lift_fresh_copy",
            "positive",
            "detach",
        )
    ),
    *(case("_to_copy", a, dtype=d) for a in (X, N, flags(3)) for d in (np.float32, np.int64, np.bool_)),
    case("copy", X, real(3, 1), slopes=False),
    case("copy", N, real(3), slopes=False),
    *(case("unsqueeze", X, d) for d in (0, 1, -1, 3)),
    *(case("unsqueeze", ZERO_D, d) for d in (0, -1)),
    *(case("squeeze", a) for a in (THIN, ZERO_D)),
    *(case("squeeze.dim", THIN, d) for d in (0, 1, -2)),
    case("squeeze.dim", ZERO_D, -1),
    case("squeeze.dims", THIN, [0, 1, -2]),
    case("expand", real(3, 1), [2, -1, 4]),
    case("expand", ZERO_D, [2, 3]),
    case("broadcast_to", real(3, 1), [2, 3, 4]),
    case("repeat", N, [2, 1]),
    case("repeat", real(3), [2, 2]),
    case("repeat_interleave.self_int", X, 2, 1),
    case("repeat_interleave.self_int", X, 3),
    case("cat", [X, real(2, 1, 4)], 1),
    case("cat", [N, real(2, 1)], -1),
    case("cat", [real(0), real(2, 3)]),
    case("cat", [real(0), real(0)]),
    case("stack", [N, real(2, 3)], -1),
    case("stack", [ZERO_D, ZERO_D]),
    case("unbind.int", X),
    case("unbind.int", X, -1),
    case("split_with_sizes", X, [1, 0, 3], -1),
    case("split.sizes", X, [1, 2], 1),
    case("split.Tensor", X, 3, 2),
    case("split.Tensor", X, 1),
    case("chunk", X, 3, 2),
    case("pixel_shuffle", real(2, 8, 3, 2), 2),
    case("pixel_unshuffle", real(2, 2, 6, 4), 2),
    case("channel_shuffle", real(2, 6, 2, 2), 3),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
