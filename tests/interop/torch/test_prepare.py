"""What is done around a run of a torch network."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from snnax.interop.torch.prepare import threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("shapes", "threads"),
    [([(1000, 16, 20)], 1), ([(25, 256, 784)], 2), ([(3,), (8, 3, 224, 224)], 2), ([()], 1), ([], 1)],
)
def test_small_steps_run_in_one_thread(two_threads, shapes, threads):
    with threads_for([torch.empty(shape) for shape in shapes]):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_an_error_leaves_the_threads_as_they_were(two_threads):
    with pytest.raises(KeyError), threads_for([torch.empty(3)]):
        raise KeyError
    assert torch.get_num_threads() == 2
