import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, positive, real, ties, whole

X, N, B, TIED, ZERO_D = real(2, 3, 4), whole(2, 3), flags(2, 3), ties(3, 4), np.asarray(real())
CONSTANT = np.ones((2, 3))

CASES = [
    *(case("sum", a) for a in (X, N, B, ZERO_D, real(0, 3))),
    *(
        case("sum.dim_IntList", X, *given)
        for given in (([1],), ([-1], True), ([0, 2],), ([], True), (None, False))
    ),
    case("sum.dim_IntList", N, [0], dtype=np.float32),
    case("sum.dim_IntList", B, [1]),
    case("sum.dim_IntList", ZERO_D, [0]),
    case("nansum", np.array([[1.0, np.nan], [2.0, 3.0]]), [1], slopes=False),
    *(case("mean", a) for a in (X, ZERO_D)),
    *(case("mean.dim", X, *given) for given in (([1],), ([-1, 0], True), ([],), (None, True))),
    case("mean", N, dtype=np.float32),
    *(case("prod", a) for a in (X, N, B, TIED)),
    *(case("prod.dim_int", TIED, *given) for given in ((0,), (-1, True))),
    *(case(op, a) for op in ("any", "all") for a in (B, N, X, real(0, 2))),
    *(case(f"{op}.dim", B, *given) for op in ("any", "all") for given in ((0,), (-1, True))),
    *(case(f"{op}.dims", B, *given) for op in ("any", "all") for given in (([0, 1],), (None, True))),
    case("count_nonzero", TIED, slopes=False),
    case("count_nonzero.dim_IntList", TIED, [1], slopes=False),
    *(
        case(f"{op}.correction", x, dim, correction=correction, keepdim=keepdim)
        for op in ("var", "std", "var_mean", "std_mean")
        for x, dim, correction, keepdim in (
            (X, [1], 1, False),
            (X, None, 0, False),
            (X, [0, -1], 0, True),
            (CONSTANT, [1], 1, False),
        )
    ),
    case("var.correction", X, [1]),
    case("var", X, False),
    case("std", X),
    case("var.dim", X, [1], False, True),
    case("std.dim", X, [1]),
    *(case("logsumexp", X * 30, *given) for given in (([1],), ([-1, 0], True))),
    *(
        case("linalg_vector_norm", x, p, *rest)
        for x in (TIED, np.zeros((2, 3)))
        for p in (1, 2, 3, 2.5, float("inf"), -float("inf"))
        for rest in (([1],), (None, True))
    ),
    case("linalg_vector_norm", TIED, 0, [0], slopes=False),
    case("norm.Scalar", X, 2),
    case("norm.ScalarOpt_dim", X, None, [1], True),
    case("norm.ScalarOpt_dim_dtype", X, 2, [1], False, dtype=np.float64, slopes=False),
    *(case("cumsum", a, d) for a, d in ((X, 1), (X, -1), (N, 0), (B, 1), (ZERO_D, 0))),
    *(case("cumprod", a, d) for a, d in ((positive(2, 3, 4), 1), (N, 0), (X, -1))),
    case("logcumsumexp", X * 10, 1),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
