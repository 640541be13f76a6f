import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, real, whole

A, B, BIAS = real(3, 4), real(4, 5), real(5)
MANY, OTHERS = real(2, 3, 4), real(2, 4, 5)
Q, K, V = real(2, 2, 3, 4), real(2, 2, 5, 4), real(2, 2, 5, 4, seed=1)
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"

CASES = [
    case("mm", A, B),
    case("mm", whole(3, 4), whole(4, 5)),
    case("mm", real(3, 0), real(0, 5)),
    case("bmm", MANY, OTHERS),
    case("mv", A, real(4)),
    case("dot", real(4), real(4, seed=1)),
    case("vdot", real(4), real(4, seed=1)),
    *(
        case("matmul", *pair)
        for pair in ((A, B), (MANY, B), (real(2, 1, 3, 4), OTHERS), (real(4), B), (MANY, real(4)))
    ),
    *(case("addmm", bias, A, B) for bias in (BIAS, real(3, 5), real(3, 1), real(1))),
    case("addmm", BIAS, A, B, beta=0.5, alpha=2),
    case("addmm", np.full(5, np.nan), A, B, beta=0, slopes=False),
    case("addmv", real(3), A, real(4), alpha=0.5),
    case("baddbmm", BIAS, MANY, OTHERS, beta=2),
    case("baddbmm", real(2, 3, 5), MANY, OTHERS, alpha=0.5),
    case("addbmm", real(3, 5), MANY, OTHERS, beta=0.5, alpha=2),
    case("linear", A, real(5, 4), BIAS),
    case("linear", MANY, real(5, 4)),
    case("outer", real(3), real(4)),
    case("ger", real(3), real(4)),
    case("trace", A),
    case("trace", whole(3, 3)),
    case(ATTENTION, Q, K, V),
    case(ATTENTION, Q, K, V, 0.0, False, scale=0.3),
    case(ATTENTION, Q, Q + 1, Q, 0.0, True),
    case(ATTENTION, Q, K, V, attn_mask=np.where(flags(2, 1, 3, 5), 0.0, -1.0), slopes=False),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
