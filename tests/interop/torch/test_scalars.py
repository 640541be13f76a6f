"""Numbers that ``.item()`` gave: Python's arithmetic, and torch's beside it."""

import pytest
import torch

from snnax.interop.torch.dispatch import Dispatcher
from snnax.interop.torch.leaves import Leaves
from snnax.interop.torch.scalars import Scalar, Scalars


def scalar(value):
    return Scalar(value, torch.tensor(value, dtype=torch.float64))


SUMS = [
    lambda a, b: a + b, lambda a, b: b + a, lambda a, b: a - 3, lambda a, b: 3 - a, lambda a, b: a * b,
    lambda a, b: 2 * a, lambda a, b: a / b, lambda a, b: 1 / a, lambda a, b: -a, lambda a, b: a + b + 0.5,
]  # fmt: skip


@pytest.mark.parametrize("compute", SUMS)
def test_arithmetic_is_followed_to_the_last_bit(compute):
    found = compute(scalar(0.1), scalar(0.7))
    assert type(found) is Scalar and float(found) == compute(0.1, 0.7) == found.tensor.item()


def test_it_is_a_float_for_everything_else():
    number = scalar(2.5)
    assert f"{number:.2f}" == "2.50" and int(number) == 2 and number > 1 and round(number, 1) == 2.5
    assert number.__add__("a") is NotImplemented


@pytest.fixture
def traced():
    """torch under both modes, and the operations that were seen."""
    dispatcher = Dispatcher("net", Leaves(torch.nn.Module(), torch.nn.Module(), frozenset()).other)
    with dispatcher, Scalars(dispatcher):
        yield dispatcher


def test_items_are_followed_into_operations(traced):
    x = torch.rand(3, 2)
    y = x * x.max().item()
    assert traced.nodes[-1].op == "mul.Tensor" and y.dtype == torch.float32
    assert len([e for e in traced.nodes[-1].inputs if not isinstance(e, int | float)]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_types_come_out_as_with_the_number_itself(traced, dtype, shape):
    x, number = torch.ones(shape, dtype=dtype), torch.rand(1).item()
    assert type(number) is Scalar
    assert (x + number).dtype == (x + float(number)).dtype


def test_where_torch_takes_numbers_only_it_is_one(traced):
    number = torch.rand(1).item()
    assert torch.nn.functional.dropout(torch.ones(2), number * 0, False).shape == (2,)


def test_whole_numbers_stay_pythons_own(traced):
    assert type(torch.arange(3).sum().item()) is int
