"""Steps become loops: what is handed on, what comes from sequences, what is done before and after."""

from helpers.programs import argument, form, node, parameter, program

from snnax.interop.program.folding import fold
from snnax.interop.program.nodes import (
    NEURON,
    Carry,
    Leaf,
    Local,
    NoState,
    PerStep,
    Ref,
    Sequence,
    flat,
)

STEPS = 6


class Trace:
    """Operations one after the other: each call gives a reference to its result."""

    def __init__(self):
        self.nodes = []

    def __call__(self, op, *args, **details):
        self.nodes.append(node(op, *args, **details))
        return Ref(len(self.nodes) - 1)

    def neuron(self, x, state, path="lif"):
        made = self(NEURON, x, {"mem": state}, {}, path=path)
        self.nodes[-1] = node(NEURON, x, {"mem": state}, {}, path=path)
        object.__setattr__(self.nodes[-1], "results", (form(2, 3), form(2, 3)))
        return made, Ref(made.node, 1)

    def folded(self, outputs, inputs=None):
        inputs = inputs or [argument(STEPS, 2, 3)]
        arguments = (tuple(map(Leaf, range(len(inputs)))), {})
        return fold(program(self.nodes, outputs=outputs, inputs=inputs, arguments=arguments))


def loop_of(found):
    (loop,) = found.loops
    return loop


def test_a_state_is_carried_and_the_input_a_sequence():
    t, mem = Trace(), NoState()
    for step in range(STEPS):
        spk, mem = t.neuron(t("select.int", Leaf(0), 0, step), mem)
    found = t.folded([spk, mem])
    loop = loop_of(found)
    assert loop.steps == STEPS and loop.sequences == [Leaf(0)]
    assert loop.body[0].args == (Sequence(0), {"mem": Carry(0)}, {})
    assert (loop.carries[0].init, loop.carries[0].new) == (NoState(), Local(0, 1))
    assert [kept.every for kept in loop.kept] == [False, False] and found.outputs == [Ref(0, 0), Ref(0, 1)]


def test_another_axis_is_turned_to_the_front():
    t, mem = Trace(), NoState()
    for step in range(STEPS):
        spk, mem = t.neuron(t("select.int", Leaf(0), 2, step), mem)
    found = t.folded(spk, [argument(2, 3, STEPS)])
    assert found.items[0].op == "permute" and found.items[0].args == (Leaf(0), [2, 0, 1])


def test_records_of_all_steps_are_stacked_by_the_loop():
    t, mem, out = Trace(), NoState(), []
    for step in range(STEPS):
        spk, mem = t.neuron(t("select.int", Leaf(0), 0, step), mem)
        out.append(spk)
    whole = t("stack", out, 1, shape=(2, STEPS, 3))
    part = t("stack", out[2:4], shape=(2, 2, 3))
    found = t.folded([whole, part, out[1]])
    assert [item.op for item in found.items[1:]] == ["permute", "slice.Tensor", "select.int"]
    assert [item.args for item in found.items[1:]] == [(Ref(0), [1, 0, 2]), (Ref(0), 0, 2, 4), (Ref(0), 0, 1)]
    assert found.outputs == [Ref(1), Ref(2), Ref(3)]


def test_a_sum_starts_from_the_number_that_python_gave():
    t, mem, total = Trace(), NoState(), None
    for step in range(STEPS):
        spk, mem = t.neuron(t("select.int", Leaf(0), 0, step), mem)
        total = t("add.Tensor", spk, 0) if total is None else t("add.Tensor", total, spk)
    loop = loop_of(t.folded(total))
    assert [handed.init for handed in loop.carries] == [NoState(), 0]
    assert loop.body[1].args == (Carry(1), Local(0))


def test_older_values_are_delay_lines():
    t, mem, records = Trace(), NoState(), [Leaf(1), Leaf(2), Leaf(3)]
    for _ in range(STEPS):
        spk, mem = t.neuron(t("add.Tensor", Leaf(0), records[-3]), mem)
        records.append(spk)
    loop = loop_of(t.folded(records[-1], [argument(2, 3, name=name) for name in "xabc"]))
    inits = {handed.init: handed.new for handed in loop.carries if handed.init != NoState()}
    assert set(inits) == {Leaf(1), Leaf(2), Leaf(3)} and inits[Leaf(3)] == Local(1)
    assert isinstance(inits[Leaf(2)], Carry) and isinstance(inits[Leaf(1)], Carry)


def test_numbers_that_change_are_sequences():
    t, mem = Trace(), NoState()
    for step in range(STEPS):
        spk, mem = t.neuron(t("mul.Tensor", Leaf(0), 0.5**step), mem)
    loop = loop_of(t.folded(spk, [argument(2, 3)]))
    assert loop.sequences == [PerStep(tuple(0.5**step for step in range(STEPS)))]


def test_parameters_of_each_step_are_stacked_in_front():
    t, mem = Trace(), NoState()
    for step in range(STEPS):
        spk, mem = t.neuron(t("mul.Tensor", Leaf(0), Leaf(1 + step)), mem)
    found = t.folded(spk, [argument(2, 3), *(parameter(2, 3, name=f"w.{i}") for i in range(STEPS))])
    assert found.items[0].op == "stack" and len(found.items[0].args[0]) == STEPS
    assert loop_of(found).sequences == [Ref(0)]


def test_what_does_not_change_is_done_before():
    t, mem = Trace(), NoState()
    for _ in range(STEPS):
        spk, mem = t.neuron(t("exp", Leaf(0)), mem)
    found = t.folded(spk, [argument(2, 3)])
    assert found.items[0].op == "exp" and len(loop_of(found).body) == 1


def test_random_numbers_change_in_every_step():
    t, mem = Trace(), NoState()
    for _ in range(STEPS):
        spk, mem = t.neuron(t("rand_like", Leaf(0)), mem)
    assert [n.op for n in loop_of(t.folded(spk, [argument(2, 3)])).body] == ["rand_like", NEURON]


def test_a_first_step_of_another_kind_stays_outside():
    t, (spk, mem) = Trace(), (None, NoState())
    for step in range(STEPS):
        x = t("select.int", Leaf(0), 0, step)
        x = x if step else t("exp", x)
        spk, mem = t.neuron(x, mem)
    found = t.folded(spk)
    assert loop_of(found).steps == STEPS - 1
    assert [item.op for item in found.items if item is not loop_of(found)] == [
        "select.int",
        "exp",
        NEURON,
        "slice.Tensor",
    ]


def test_a_start_of_another_shape_is_broadcast_only_where_that_is_the_same():
    def trace(op):
        t, mem, spk = Trace(), NoState(), Leaf(1)
        for step in range(STEPS):
            inner = t(op, spk, shape=())
            x = t("add.Tensor", t("select.int", Leaf(0), 0, step), inner)
            spk, mem = t.neuron(x, mem)
        return loop_of(t.folded(spk, [argument(STEPS, 2, 3), argument(name="start")]))

    assert trace("sum").steps == STEPS - 1  # the sum of one number is not that of six equal ones


def test_a_loop_may_follow_another_over_its_records():
    t, mem, out = Trace(), NoState(), []
    for step in range(STEPS):
        spk, mem = t.neuron(t("select.int", Leaf(0), 0, step), mem)
        out.append(spk)
    mem = NoState()
    for spk in out:
        last, mem = t.neuron(t("neg", spk), mem, path="other")
    first, second = t.folded(last).items
    assert first.kept[0].every and second.sequences == [Ref(0)]


def test_equal_layers_are_no_steps():
    t, x = Trace(), Leaf(0)
    for layer in range(2):
        x, _ = t.neuron(t("mul.Tensor", x, Leaf(1 + layer)), NoState(), path=f"lif{layer}")
    found = t.folded(x, [argument(2, 3), parameter(2, 3), parameter(2, 3, name="v")])
    assert not found.loops and not found.notes


def test_steps_that_cannot_be_folded_are_noted():
    t, mem, ops = Trace(), NoState(), ("exp", "neg", "abs", "sin", "cos", "tanh")
    for step in range(STEPS):
        spk, mem = t.neuron(t(ops[step], Leaf(0)), mem)
    found = t.folded(spk, [argument(2, 3)])
    assert [(n.kind, n.text) for n in found.notes] == [("unrolled", "6 steps of lif are not in a loop")]


def test_plain_operations_are_a_loop_too():
    t, x = Trace(), Leaf(0)
    for _ in range(STEPS):
        x = t("exp", x)
    found = t.folded(x, [argument(2, 3)])
    assert loop_of(found).steps == STEPS and [*flat(found.outputs)] == [Ref(0)]
