import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, real

X = real(3, 4)
SCALE, ORIGIN = np.float32([0.25, 0.5, 0.1]), np.int32([0, 1, -2])
OBSERVED = "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams"
LIMITS = np.array([-4.0, -2.25, -2.0, 0.125, 0.375, 1.75, 2.0, 3.0])

CASES = [
    case("fake_quantize_per_tensor_affine_cachemask", X, 0.1, 3, -8, 7),
    case("fake_quantize_per_tensor_affine_cachemask", LIMITS, 0.25, 0, -8, 7),
    case("fake_quantize_per_channel_affine_cachemask", np.float32(X), SCALE, ORIGIN, 0, -4, 4, held=(1,)),
    *(
        case(OBSERVED, np.float32(X), SCALE[:1], ORIGIN[:1], np.int64([on]), -4, 4, held=(1,))
        for on in (0, 1)
    ),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
