import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, real, ties, whole

X = real(3, 4)
HALVES, STEEP = ties(3, 4), np.array([-100.0, -20.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 20.0, 21.0, 100.0])
BARE = "relu silu relu6 selu celu elu gelu mish hardtanh hardswish leaky_relu softplus softshrink hardshrink"

CASES = [
    *(
        case("hardsigmoid", x, looser=1e3) for x in (X, HALVES, STEEP)
    ),  # torch's slope is a sixth in single precision
    *(case(op, x) for op in BARE.split() for x in (X, HALVES, STEEP)),
    case("relu", whole(3, 4)),
    case("relu", np.array(np.nan), slopes=False),
    case("leaky_relu", HALVES, 0.2),
    case("elu", X, 0.5),
    case("elu", HALVES, 1.5, 0.7, 2.0),
    case("celu", X, 0.5),
    case("gelu", X, approximate="tanh"),
    case("hardtanh", HALVES, -0.5, 1),
    case("softplus", X, 2, 1),
    case("softshrink", HALVES, 0.5),
    case("hardshrink", HALVES, 0.5),
    case("log_sigmoid_forward", STEEP),
    case("threshold", HALVES, 0.5, -2),
    case("_prelu_kernel", HALVES, np.array([0.25, 0.5, 1.0, 2.0])),
    case("prelu", real(2, 3, 4), np.array([0.25, 0.5, 1.0])),
    case("prelu", HALVES, np.array([0.25])),
    case("glu", X),
    case("glu", real(2, 4, 3), 1),
    *(
        case(op, *args)
        for op in ("_softmax", "_log_softmax")
        for args in ((X, 1, False), (X * 50, -1, False), (X, 0, False), (np.array(2.0), 0, False))
    ),
    case("_safe_softmax", X, -1),
    case("_safe_softmax", np.array([[-np.inf, -np.inf], [0.5, -np.inf]]), -1, slopes=False),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
