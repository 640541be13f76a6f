import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, real, ties, whole

X, Y, N, B = ties(3, 4), ties(3, 4, seed=1), whole(3, 4), flags(3, 4)
EDGES = np.array([1.0, 0.0, -0.0, np.inf, -np.inf, np.nan])
BOUND = ties(4, seed=2)

CASES = [
    *(
        case(f"{op}.{overload}", *args)
        for op in "gt lt ge le eq ne".split()
        for overload, args in (
            ("Tensor", (X, Y)),
            ("Tensor", (X[0], Y)),
            ("Tensor", (N, N[:, :1])),
            ("Tensor", (N, X)),
            ("Tensor", (B, B[0])),
            ("Tensor", (X, np.array(0.5))),
            ("Tensor", (np.float32([0.1, 0.2]), np.array(0.1))),  # 0.1 is rounded first
            ("Scalar", (X, 0.5)),
            ("Scalar", (np.float32([0.1, 0.2]), 0.1)),
            ("Scalar", (X, 1)),
            ("Scalar", (N, 0.5)),
            ("Scalar", (B, 1)),
        )
    ),
    *(
        case(f"logical_{op}", *args)
        for op in ("and", "or", "xor")
        for args in ((X, Y[0]), (N, B), (B, B[:1]))
    ),
    *(case("logical_not", a) for a in (X, N, B)),
    *(case(op, EDGES) for op in "isnan isinf isfinite isposinf isneginf signbit".split()),
    *(case("isnan", a) for a in (N, X)),
    case("signbit", N),
    *(case("bitwise_not", a) for a in (N, B)),
    case("where.self", B, X, Y[0]),
    case("where.self", B[0], X, np.array(2.0)),
    case("where.self", B, N, X),
    case("where.ScalarOther", B, X, 0.5),
    case("where.ScalarSelf", B, 2, X),
    case("where.Scalar", B, 1.0, 0.0, slopes=False),
    case("heaviside", X, np.array(0.5), slopes=False),
    case("heaviside", X, Y[0], slopes=False),
    *(
        case(op, *args)
        for op in "maximum minimum fmax fmin max.other min.other".split()
        for args in ((X, Y), (X, Y[0]), (N, N[0]), (N, X))
    ),
    *(case(op, EDGES, np.full(6, np.nan), slopes=False) for op in "maximum minimum fmax fmin".split()),
    case("clamp", X, -0.5, 0.5),
    case("clamp", X, 0),
    case("clamp", X, None, 0.5),
    case("clamp", X, 0.5, -0.5),
    case("clamp", N, -1, 2),
    case("clamp", N, 0.5),
    case("clamp", EDGES, 0.0, 1.0, slopes=False),
    case("clamp.Tensor", X, BOUND, BOUND + 0.5),
    case("clamp.Tensor", X, Y, BOUND),
    case("clamp.Tensor", X, np.array(0.0)),
    case("clamp.Tensor", X, None, np.array(0.5)),
    case("clamp_min", X, 0),
    case("clamp_max", X, 0.5),
    case("clamp_min.Tensor", X, BOUND),
    case("clamp_max.Tensor", X, BOUND),
    case("clamp", real(0, 3), 0, 1),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
