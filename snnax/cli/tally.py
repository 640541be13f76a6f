"""What a run adds up to: counts for the table, and the arrays where somebody wants them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Tally:
    """What a run adds up to, and its arrays where somebody wants them."""

    def __init__(self, steps: int, samples: int, *, keep: bool, inputs: bool, picture: bool) -> None:
        self.steps, self.samples, self.picture = steps, samples, picture
        self.keep, self.inputs = keep or inputs, inputs
        self.done = 0
        self.returned: Arrays = {}
        self.recorded: dict[str, Arrays] = {}
        self.first_sample: dict[str, Arrays] = {}
        self.outputs: list[dict[str, Any]] = []
        self._counts: dict[str, dict[str, Any]] = {}

    def add(self, outputs: tuple[np.ndarray, ...], recorded: dict[str, Arrays]) -> None:
        """One more piece of time."""
        length = len(outputs[0])
        names = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
        if not self.done:
            self.outputs = [
                {"name": name, "shape": [self.steps, *y.shape[1:]], "dtype": str(y.dtype)}
                for name, y in zip(names, outputs, strict=True)
            ]
        for name, values in recorded.items():
            self._count(name, values)
            if self.keep:
                kept = {k: v for k, v in values.items() if k != "input" or self.inputs}
                self._put(self.recorded.setdefault(name, {}), kept)
            if self.picture:
                shown = {k: v[:, 0].reshape(length, -1) for k, v in values.items() if k in ("spk", "mem")}
                self._put(self.first_sample.setdefault(name, {}), shown)
        if self.keep:
            self._put(self.returned, dict(zip(names, outputs, strict=True)))
        self.done += length

    def _put(self, home: Arrays, values: Arrays) -> None:
        for name, value in values.items():
            if name not in home:
                home[name] = np.empty((self.steps, *value.shape[1:]), value.dtype)
            home[name][self.done : self.done + len(value)] = value

    def _count(self, name: str, values: Arrays) -> None:
        found = self._counts.setdefault(name, {"spikes": 0, "first": None, "low": np.inf, "high": -np.inf})
        found["neurons"] = math.prod(values["input" if "spk" not in values else "spk"].shape[2:])
        if "mem" in values:
            found["neurons"] = math.prod(values["mem"].shape[2:])
            found["low"] = np.minimum(found["low"], values["mem"].min())
            found["high"] = np.maximum(found["high"], values["mem"].max())
        if "spk" not in values:
            found["spikes"] = None
            return
        fired = np.count_nonzero(values["spk"].reshape(len(values["spk"]), -1), axis=1)
        found["spikes"] += int(fired.sum())
        if found["first"] is None and fired.any():
            found["first"] = self.done + int((fired > 0).argmax())

    def layers(self, model: Any) -> list[dict[str, Any]]:
        """One entry for each layer of neurons, in the order in which a step executes them."""
        order = {name: place for place, name in enumerate(model.plan().order)}
        names = sorted(self._counts, key=lambda name: order.get(name.partition("/")[0], len(order)))
        rows = []
        for name in names:
            found = self._counts[name]
            size = self.steps * self.samples * found["neurons"]
            spikes = found["spikes"]
            rows.append(
                {
                    "name": name,
                    "kind": _kind(model, name),
                    "neurons": found["neurons"],
                    "spikes": spikes,
                    "rate": None if spikes is None else spikes / size,
                    "first_spike": found["first"],
                    "membrane": [_number(found["low"]), _number(found["high"])],
                }
            )
        return rows

    def named(self) -> Arrays:
        """Outputs, and spikes and states of the layers as ``LAYER/spk``, ``LAYER/mem``."""
        layers = {
            f"{n}/{k}": v for n, values in self.recorded.items() for k, v in values.items() if k != "input"
        }
        return {**self.returned, **layers}

    def trace(self, layers: list[dict[str, Any]]) -> Any:
        """The recording as cross-validation reads it; what does not fire emits its membrane."""
        from snnax.interop.trace import NodeTrace, Trace

        nodes = {}
        for layer in layers:
            values = self.recorded[layer["name"]]
            states = {k: v for k, v in values.items() if k not in ("input", "spk")}
            name = layer["name"].replace("/", ".")
            spikes = values["spk"] if "spk" in values else values["mem"]
            nodes[name] = NodeTrace(name, layer["kind"], values["input"], spikes, states)
        return Trace(nodes, tuple(self.returned.values()))

    def pictures(self, layers: list[dict[str, Any]]) -> dict[str, Arrays]:
        """Spikes and membranes of sample 0, in the order of the layers."""
        return {layer["name"]: self.first_sample[layer["name"]] for layer in layers}


def _kind(model: Any, path: str) -> str:
    for name in path.split("/"):
        members = model.members() if hasattr(model, "members") else {}
        if name not in members:
            return "neuron"
        model = members[name]
    return type(model).__name__


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
