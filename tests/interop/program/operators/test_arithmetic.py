import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, positive, real, ties, whole

X, Y, ROW, ZERO_D = real(2, 3), real(2, 3, seed=1), real(3), real()
FAR = np.where(np.abs(Y) < 0.3, 1.3, Y)
N, M = whole(2, 3), np.where(whole(2, 3, seed=1) == 0, 3, whole(2, 3, seed=1))
B = flags(2, 3)
SINGLE = np.float32(real(2, 3))


def binary(name, *overloads):
    """Broadcasts, 0-d arrays, Python's numbers, integers and booleans among fractions."""
    found = [
        case(f"{name}.Tensor", *pair)
        for pair in ((X, FAR), (X, FAR[0]), (ROW, FAR), (X, np.asarray(real() + 2)), (N, FAR))
    ]
    return [
        *found,
        *(case(f"{name}.{o}", X, 2.5) for o in overloads),
        *(case(f"{name}.{o}", N, 3) for o in overloads),
    ]


CASES = [
    *binary("add", "Scalar"),
    case("add.Tensor", X, Y, alpha=0.3),
    case("add.Tensor", X, ROW, alpha=2),
    case("add.Tensor", B, B[0]),
    case("add.Tensor", N, np.array(0.5)),
    case("add.Tensor", SINGLE, np.array(0.1), slopes=False),
    case("add.Tensor", B, N),
    case("add.Tensor", np.zeros((0, 3)), ROW),
    case("add.Scalar", X, 1, 2),
    *binary("sub", "Scalar"),
    case("sub.Tensor", X, Y, alpha=3),
    *binary("mul", "Scalar"),
    case("mul.Tensor", B, X),
    case("mul.Tensor", B, B[0]),
    *binary("div", "Scalar"),
    case("div.Tensor", N, M),
    case("rsub.Tensor", X, ROW, alpha=2),
    case("rsub.Scalar", X, 1),
    case("rsub.Scalar", N, 2, 3),
    *(
        case(op, *pair, rounding_mode=mode)
        for mode in ("floor", "trunc", None)
        for op, pair in (
            ("div.Tensor_mode", (X, FAR)),
            ("div.Tensor_mode", (ROW * 4, FAR)),
            ("div.Tensor_mode", (N, M)),
            ("div.Scalar_mode", (X, 0.7)),
        )
    ),
    case("div.Tensor_mode", X, np.array([0.0, 1.0, -0.5]), rounding_mode="floor"),
    case("floor_divide", X, FAR, slopes=False),
    case("floor_divide", N, M),
    case("floor_divide.Scalar", X, -0.7, slopes=False),
    *binary("remainder", "Scalar"),
    case("remainder.Tensor", N, M),
    case("remainder.Tensor", ties(4, 5), np.array([1.0, -1.0, 0.5, 2.0, -0.5]), slopes=False),
    case("remainder.Scalar", X, -0.7),
    case("remainder.Scalar_Tensor", 2.5, FAR, slopes=False),
    *binary("fmod", "Scalar"),
    case("fmod.Tensor", N, M),
    case("fmod.Scalar", X, -0.7),
    *(case("pow.Tensor_Scalar", ties(3, 4), p) for p in (0, 1, 2, 3, 2.0, 4)),
    *(case("pow.Tensor_Scalar", positive(3), p) for p in (-2, -1, -3, 0.5, -0.5, 1.7, 3.0)),
    case("pow.Tensor_Scalar", X, 5),
    case("pow.Tensor_Scalar", N, 2),
    case("pow.Tensor_Scalar", N, 0.0),
    case("pow.Tensor_Tensor", positive(2, 3), ROW),
    case("pow.Tensor_Tensor", np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 2.0, 0.0, 1.0])),
    case("pow.Scalar", 2, Y),
    case("pow.Scalar", 0.9, ROW),
    case("pow.Scalar", 2.0, whole(3, low=0)),
    case("atan2", X, Y),
    case("atan2", ROW, Y),
    case("hypot", X, ROW),
    case("logaddexp", X, ROW),
    case("logaddexp", ties(3, 4), ties(4)),
    case("logaddexp2", X, ROW),
    case("copysign.Tensor", ties(3, 4), ties(3, 4, seed=1)),
    case("copysign.Tensor", X, np.array([0.0, -0.0, -2.0])),
    case("copysign.Scalar", ties(3, 4), -1),
    case("xlogy.Tensor", np.array([0.0, 1.0, 0.0, 2.0]), np.array([0.5, 0.5, 3.0, 2.0])),
    case("xlogy.Tensor", positive(2, 3), positive(3)),
    case("xlogy.Scalar_Self", 2, positive(3)),
    case("xlogy.Scalar_Other", positive(3), 2),
    case("lerp.Scalar", X, ROW, 0.3),
    case("lerp.Scalar", X, Y, 0.5),
    case("lerp.Tensor", X, Y, positive(3)),
    case("addcmul", X, Y, ROW),
    case("addcmul", X, Y, ROW, value=0.3),
    case("addcdiv", X, Y, FAR),
    case("addcdiv", X, ROW, FAR, value=-2),
    *(
        case(f"bitwise_{name}.{overload}", *args)
        for name in ("and", "or", "xor")
        for overload, args in (
            ("Tensor", (N, M[0])),
            ("Tensor", (B, B[0])),
            ("Scalar", (N, 3)),
            ("Scalar_Tensor", (5, N)),
        )
    ),
    *(
        case(f"bitwise_{side}_shift.{overload}", *args)
        for side in ("left", "right")
        for overload, args in (("Tensor", (N, whole(3, low=0))), ("Tensor_Scalar", (N, 2)))
    ),
    *(
        case(op, *args)
        for op in ("__lshift__", "__rshift__")
        for op, args in ((f"{op}.Tensor", (N, N * 0 + 1)), (f"{op}.Scalar", (N, 2)))
    ),
    case("gcd", N, M),
    case("lcm", N, M),
    case("ldexp.Tensor", X, whole(3)),
    case("ldexp.Tensor", X, ROW),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
