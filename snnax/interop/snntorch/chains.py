"""Chains of states: which calls of a neuron are the same layer at successive time steps."""

from __future__ import annotations

from snnax.errors import ConversionError
from snnax.interop.snntorch.records import Op

_OWN = "Give each layer its own neuron, or thread its own states: spk1, mem1 = self.lif1(cur1, mem1)."


class Chains:
    """Neuron calls linked by their states.

    Args:
        calls: all neuron calls in order of execution.

    Raises:
        ConversionError: a neuron reads another neuron's state, or two calls read the same.
    """

    def __init__(self, calls: list[Op]) -> None:
        self._chains: list[list[Op]] = []
        self._place: dict[Op, tuple[int, int]] = {}
        for op in calls:
            before = _previous(op)
            if before is None:
                self._place[op] = (len(self._chains), 0)
                self._chains.append([op])
                continue
            chain, position = self._place[before]
            if position + 1 != len(self._chains[chain]):
                raise ConversionError(op.name, "two calls start from the same state", _OWN)
            self._place[op] = (chain, position + 1)
            self._chains[chain].append(op)

    @property
    def longest(self) -> int:
        """Calls in the longest chain: the number of steps."""
        return max(map(len, self._chains), default=1)

    @property
    def starts(self) -> list[Op]:
        """First call of each chain."""
        return [chain[0] for chain in self._chains]

    def calls_at(self, t: int) -> list[Op]:
        """Calls of step ``t``."""
        return [chain[t] for chain in self._chains]

    def step_of(self, op: Op) -> int:
        """Step to which a call belongs."""
        return self._place[op][1]

    def chain_of(self, op: Op) -> int:
        """Number of the chain to which a call belongs."""
        return self._place[op][0]

    def check(self, num_steps: int, looped: bool) -> None:
        """Refuse layers that do not run once in each step, and states that one call forgets."""
        if len(self._place) < num_steps * len({op.name for op in self._place}):
            raise ConversionError(
                self._chains[0][0].name,
                f"it runs {self.longest} times, and forward returns {num_steps} tensors joined into one",
                "Join the outputs of one layer over time only, and return several layers as a tuple.",
            )
        for chain in self._chains:
            first = chain[0]
            if len(chain) > num_steps and len(chain) % num_steps:
                raise ConversionError(
                    first.name,
                    f"it runs {len(chain)} steps, and forward returns {num_steps}",
                    "Return the output of every step: torch.stack(spk_rec).",
                )
            if len(chain) > num_steps:
                raise self.shared_state(num_steps)
            if len(chain) < num_steps:
                raise ConversionError(
                    first.name,
                    f"it continues from its own state for {len(chain)} of {num_steps} steps only, so its "
                    "state is reset or replaced inside the loop over time",
                    _OWN,
                )
            if not looped and None in first.states.values():
                raise ConversionError(
                    first.name,
                    "forward sets its state to zero and runs one step, so that each call forgets the last",
                    "Take the state as an argument of forward and return the new one, build the neuron with "
                    "init_hidden=True, or loop over time inside forward and return torch.stack(spk_rec).",
                )

    def shared_state(self, num_steps: int = 1) -> ConversionError:
        """The error for a state that is advanced more than once in a step."""
        name = max(self._chains, key=len)[0].name
        times = f"{self.longest} times in {num_steps} {'step' if num_steps == 1 else 'steps'}"
        return ConversionError(name, f"its state is advanced {times}: two layers share it", _OWN)

    def blocked(self, num_steps: int) -> frozenset[str]:
        """Modules with several layers, of which one runs all steps before the next starts."""
        found = set()
        for name in {chain[0].name for chain in self._chains}:
            chains = [c for c in self._chains if c[0].name == name]
            calls = sorted((op for chain in chains for op in chain), key=lambda op: op.index)
            order = [self.chain_of(op) for op in calls]
            numbers = sorted(set(order))
            blocks = [n for n in numbers for _ in range(num_steps)]
            if len(chains) > 1 and order != numbers * num_steps:
                if order != blocks:
                    raise ConversionError(name, "its layers take turns in an irregular order", _OWN)
                found.add(name)
        return frozenset(found)


def _previous(op: Op) -> Op | None:
    """The call whose states ``op`` continues from; None for an initial state."""
    calls = []
    for port, value in op.states.items():
        if value is None or value.op.kind == "arg":
            continue
        source = value.op
        if source.kind not in ("neuron", "state"):
            raise ConversionError(
                op.name,
                f"its {port} was changed between two steps, by {source.name} in forward of {source.where!r}",
                "Hand the state on as the neuron returned it.",
            )
        state, owner = (value.port, source.name) if source.kind == "neuron" else (source.name, source.where)
        if source.module is not op.module or state != port:
            raise ConversionError(op.name, f"the {port} it is given is the {state} of {owner!r}", _OWN)
        if source.kind == "neuron":
            calls.append(source)
    if not calls:
        return None
    if len(set(calls)) > 1 or len(calls) < len(op.states):
        raise ConversionError(op.name, f"its states {', '.join(op.states)} come from different steps", _OWN)
    return calls[0]
