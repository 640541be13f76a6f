import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, real, ties, whole

X, TIED, N, ZERO_D = real(3, 4), ties(3, 6), whole(3, 4), np.asarray(0.5)
BOUNDS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])

CASES = [
    *(case("sort", a, *given) for a in (X, N) for given in ((), (0, True), (-1, False))),
    *(
        case("sort.stable", a, stable=True, dim=d, descending=e)
        for a in (TIED, X)
        for d, e in ((1, False), (0, True))
    ),
    case("sort", ZERO_D),
    case("argsort", X, 0),
    case("argsort.stable", TIED, stable=True, dim=1, descending=True),
    *(case("topk", X, 2, *given) for given in ((), (0,), (-1, False))),
    case("kthvalue", X, 2),
    case("kthvalue", X, 3, 0, True),
    case("median", X),
    case("median", TIED),
    case("median", np.array([1.0, np.nan]), slopes=False),
    case("median", N),
    case("median.dim", X, 1),
    case("median.dim", X, 0, True),
    case("median.dim", np.array([[1.0, np.nan], [2.0, 1.0]]), 1, slopes=False),
    *(case("mode", TIED, *given) for given in ((), (0, True))),
    case("mode", N, 1),
    case("mode", ZERO_D),
    case("histc", X, 4, slopes=False),
    case("histc", TIED, 4, -1, 1, slopes=False),
    case("histc", X, 5, -0.5, 0.7, slopes=False),
    case("searchsorted.Tensor", BOUNDS, TIED),
    case("searchsorted.Tensor", BOUNDS, TIED, right=True),
    case("searchsorted.Tensor", np.sort(X, 1), TIED, side="right"),
    case("searchsorted.Tensor", BOUNDS[::-1].copy(), TIED, sorter=np.arange(5)[::-1].copy()),
    case("searchsorted.Scalar", BOUNDS, 0.5),
    case("bucketize.Tensor", TIED, BOUNDS),
    case("bucketize.Tensor", N, np.arange(3), right=True, out_int32=True),
    case("bucketize.Scalar", 0.5, BOUNDS),
    case("flip", X, [0]),
    case("flip", X, [-1, 0]),
    case("roll", X, [1], [0]),
    case("roll", X, [2, -1], [0, 1]),
    case("roll", X, [3]),
    case("rot90", X),
    case("rot90", real(2, 3, 4), 3, [1, -1]),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
