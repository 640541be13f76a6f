"""Versions of memory: what a view reads after another one was written."""

import gc

import torch

from snnax.interop.program.nodes import Leaf, Ref
from snnax.interop.torch.values import Form, Values, View

aten = torch.ops.aten


class Ledger:
    """Values over operations that are only counted."""

    def __init__(self):
        self.ops, self.leaves = [], []
        self.values = Values(self.emit, self.leaf, self.refused)
        self.problems = []

    def refused(self, problem, remedy, form):
        self.problems.append(problem)
        return Ref(100)

    def emit(self, op, args, kwargs, results):
        self.ops.append((op._overloadpacket.__name__, args))
        return len(self.ops) - 1

    def leaf(self, tensor):
        self.leaves.append(tensor)
        return Leaf(len(self.leaves) - 1), f"w{len(self.leaves) - 1}"

    def view(self, source, op, *args):
        shown = op(source, *args)
        value = self.values.read(source)
        view = View(op, args, {}, None, Form.of(source), (Form.of(shown),))
        self.values.bind_view(shown, source, Ref(self.emit(op, (value, *args), {}, ())), view)
        return shown


def test_a_tensor_that_nobody_made_is_a_leaf_once():
    ledger, x = Ledger(), torch.zeros(3)
    assert ledger.values.read(x) == ledger.values.read(x) == Leaf(0) and len(ledger.leaves) == 1


def test_a_write_through_a_view_changes_the_whole_and_other_views():
    ledger, x = Ledger(), torch.zeros(2, 3)
    first = ledger.view(x, aten.select.int, 0, 0)
    turned = ledger.view(x, aten.permute.default, [1, 0])
    ledger.ops.clear()
    assert not ledger.values.write(first, Ref(99))
    assert ledger.values.read(first) == Ref(99)
    whole = ledger.values.read(x)
    name, args = ledger.ops[whole.node]
    assert (name, args) == ("select_scatter", (Leaf(0), Ref(99), 0, 0))
    shown = ledger.values.read(turned)
    assert ledger.ops[shown.node] == ("permute", (whole, [1, 0]))
    assert ledger.values.read(turned) == shown  # and is not derived again


def test_a_write_through_a_turned_view_is_turned_back():
    ledger, x = Ledger(), torch.zeros(2, 3, 4)
    turned = ledger.view(x, aten.permute.default, [2, 0, 1])
    ledger.values.write(turned, Ref(99))
    assert ledger.ops[-1] == ("permute", (Ref(99), [1, 2, 0]))


def test_a_parameter_that_was_written_is_known_by_its_name():
    ledger, x = Ledger(), torch.zeros(3)
    ledger.values.write(x, Ref(7))
    assert {name: memory.value for name, memory in ledger.values.written.items()} == {"w0": Ref(7)}


def test_a_write_past_autograd_is_told():
    ledger, x = Ledger(), torch.zeros(3)
    detached = ledger.view(x, aten.detach.default)
    assert ledger.values.write(detached, Ref(5)) and ledger.values.read(x) == Ref(5)


def test_another_name_of_known_memory_reads_the_same():
    ledger, x = Ledger(), torch.zeros(3)
    ledger.values.bind(x, Ref(4))
    alias = torch.empty(0).set_(x.untyped_storage(), 0, (3,), (1,))
    assert ledger.values.read(alias) == Ref(4)


def test_a_tensor_that_gets_other_memory_is_another_one():
    ledger, x = Ledger(), torch.zeros(3)
    ledger.values.bind(x, Ref(4))
    x.set_(torch.ones(2))
    assert ledger.values.read(x) == Leaf(0)


def test_memory_in_another_form_is_refused():
    ledger, x = Ledger(), torch.zeros(6)
    ledger.values.bind(x, Ref(4))
    ledger.leaf = lambda tensor: (Leaf(0), "")
    ledger.values._leaf = ledger.leaf
    other = torch.empty(0).set_(x.untyped_storage(), 0, (2, 3), (3, 1))
    assert ledger.values.read(other) == ledger.values.read(other) == Ref(100)
    (problem,) = ledger.problems
    assert "another form" in problem


def test_dead_tensors_are_forgotten_and_their_addresses_not_mixed_up():
    ledger = Ledger()
    for number in range(50):
        x = torch.zeros(1000)
        ledger.values.bind(x, Ref(number))
        assert ledger.values.read(x) == Ref(number)
        del x
    gc.collect()
    assert len(ledger.values._held) == 0 and not ledger.leaves


def test_distances_count_from_the_start_of_memory_that_lies_in_order():
    ledger, x = Ledger(), torch.zeros(3, 4)
    ledger.values.bind(x, Ref(50))
    part = x[1:]
    seen = part.as_strided((3,), (5,), 0)
    ledger.values.bind_strided(seen, x)
    ledger.values.write(seen, Ref(51))
    names = [name for name, _ in ledger.ops]
    assert names == ["as_strided", "view", "arange", "as_strided", "index_put", "view"]
    assert ledger.ops[4][1] == (Ref(1), [Ref(3)], Ref(51))
    assert ledger.values.read(x) == Ref(5) and not ledger.problems


def test_distances_in_memory_of_another_order_are_refused():
    ledger, x = Ledger(), torch.zeros(3, 4).t()
    ledger.values.bind(x, Ref(50))
    ledger.values.bind_strided(x.as_strided((3,), (1,), 0), x)
    assert len(ledger.problems) == 1 and "strides" in ledger.problems[0]
