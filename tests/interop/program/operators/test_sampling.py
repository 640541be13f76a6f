import jax
import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, real

from snnax.errors import ConversionError
from snnax.interop.program.operators import evaluate

IMAGE, POINTS = real(2, 3, 4, 5), real(2, 3, 4, 2)
CORNERS = np.array([[[[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [1.0, -1.0]]]])

CASES = [
    *(
        case("grid_sampler_2d", IMAGE, POINTS, how, padding, corners)
        for how in (0, 1)
        for padding in (0, 1, 2)
        for corners in (False, True)
    ),
    *(case("grid_sampler_2d", IMAGE[:1], CORNERS, 0, 1, corners, held=(1,)) for corners in (False, True)),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)


def test_cubic_sampling_is_refused():
    with pytest.raises(ConversionError, match="bilinear"):
        evaluate("grid_sampler_2d", (IMAGE, POINTS, 2, 0, False), {}, [jax.ShapeDtypeStruct((), np.float32)])
