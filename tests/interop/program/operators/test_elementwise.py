import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, positive, real, ties, whole

X, HALVES, INSIDE, N = real(2, 3), ties(3, 4), positive(2, 3), whole(2, 3)
EDGES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.0, -0.0, np.inf, -np.inf, np.nan])
ANY = "neg exp exp2 expm1 square sin cos tan atan sinh cosh tanh asinh erf erfc sigmoid sinc deg2rad rad2deg".split()
UNIT = "log log1p log2 log10 sqrt rsqrt reciprocal asin acos atanh erfinv lgamma digamma logit special_ndtri".split()
STEPS = "abs sign sgn floor ceil round trunc frac neg square".split()
LOOSE = {"lgamma": 10, "digamma": 50, "erfinv": 10, "tan": 5, "special_ndtri": 10}

CASES = [
    *(case(op, X, looser=LOOSE.get(op, 1)) for op in ANY),
    *(case(op, np.asarray(X[0, 0])) for op in ("exp", "sigmoid")),
    *(case(op, X, looser=5) for op in ("i0", "special_i1", "special_i0e", "special_i1e")),
    *(case(op, INSIDE, looser=LOOSE.get(op, 1)) for op in UNIT),
    *(
        case(op, N)
        for op in ("exp", "sigmoid", "sin", "neg", "abs", "sign", "square", "round", "floor", "tanh")
    ),
    *(case(op, HALVES) for op in STEPS),
    *(
        case(op, EDGES, slopes=False)
        for op in ("floor", "ceil", "round", "trunc", "sign", "abs", "exp", "tanh")
    ),
    case("acosh", INSIDE + 1),
    case("sqrt", np.array([0.0, 1.0, 4.0])),
    case("sinc", ties(5)),
    case("reciprocal", np.array([2, 4])),
    case("abs", np.zeros((0, 2))),
    *(case("round.decimals", X, decimals=d) for d in (0, 2, -1)),
    case("logit", np.array([0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0]), 0.1),
    case("nan_to_num", EDGES),
    case("nan_to_num", EDGES, 1.0, 2.0, -2.0),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
