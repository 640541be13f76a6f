"""What a neuron family tells the conversions, with what is true of most of snnTorch's neurons filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.families.arrays import near
from snnax.interop.families.norse_cells import EXACT, Parts
from snnax.interop.families.registry import families
from snnax.interop.layers.entries import Entry, Layer
from snnax.interop.nir.readings import Reading
from snnax.interop.numbers import on_device
from snnax.interop.spec import NeuronSpec

Array = np.ndarray
Path = tuple[str, ...]
Shape = tuple[int, ...]
Variables = dict[str, Any]
Read = tuple[NeuronSpec, Array | None]
"""A neuron, and the gain on its input where that is not 1."""

CONTRADICTED = "which its metadata contradicts"
PLAINLY = "Remove the key 'snnax' from the node's metadata to read it by NIR's own semantics."


class Referee(Protocol):
    """What a family's step may ask of the reference simulator.

    Attributes:
        spec: the neuron.
        values: its numbers in float64, decays between 0 and 1.
    """

    spec: NeuronSpec
    values: dict[str, Array]

    def discharge(self, mem: Array, amount: Array) -> Array:
        """The membrane after ``amount`` resets."""
        ...

    def quantize(self, state: Array) -> Array:
        """A state on the levels of the neuron's quantizer."""
        ...


@dataclass(frozen=True)
class Firing:
    """What a neuron compares with its threshold.

    Attributes:
        level: that quantity after each step ``[T, b, ...]``.
        threshold: above which it fires, one number or one for each neuron.
        exact: the quantity was recorded itself, not computed from recorded ones.
        unreset: the neuron without its reset, where a reset in the step of the spike hides the membrane that fired:
            that of this one, on the same states before each step, is the quantity then.
    """

    level: Array
    threshold: Any
    exact: bool = True
    unreset: NeuronSpec | None = None


@dataclass(frozen=True, eq=False)
class Family:
    """One neuron class.

    Attributes:
        module: the flax class; snnTorch's has the same name, but for NIR's own neurons.
        values: numbers that the equation takes.
        sizes: arguments that are no numbers to tune, of layers with weights, sizes or a rule of firing of their own.
        choices: options of NIR's own neurons, which NIR leaves open.
        weights: where flax keeps each weight of a layer that has some of its own, by torch's name. Kernels are
            turned, everything else is kept as it is.
        decay: the one of them that is trained if ``beta`` is, else among the buffers.
        entry: the size that says how many features, or channels, enter.
        rank: axes of a sample of a layer that has an entry.
        native: one of NIR's own neurons.
        simulated: a neuron of snnTorch's of which the reference simulator has the step.
        own: a class of the user's own.
        nodes: NIR's classes that the neuron may be written as; none: an extension node.
        reads: NIR's classes that are read as this neuron where they compute the same.
        joined: name of the neuron that has the recurrent weights of this one inside.
        is_joined: it has such weights inside.
        alike: reset delay and mechanism with which it spikes as NIR's neuron does.
        torch_fixed: numbers that snnTorch's class cannot learn.
        torch_unused: arguments that snnTorch's class takes and does nothing with.
        torch_rounding: where snnTorch's own arithmetic loses what its weights say.
        assumed: of a recording that nothing else is known of, by its states, it is taken to be this neuron.
    """

    module: type[Any]
    values: tuple[str, ...]
    sizes: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    decay: str = ""
    entry: str = ""

    rank: ClassVar[int] = 1
    native: ClassVar[bool] = False
    simulated: ClassVar[bool] = False
    own: ClassVar[bool] = False
    nodes: ClassVar[tuple[type, ...]] = ()
    reads: ClassVar[tuple[type, ...]] = ()
    joined: ClassVar[str] = ""
    is_joined: ClassVar[bool] = False
    alike: ClassVar[tuple[tuple[bool, str], ...]] = ()
    torch_fixed: ClassVar[tuple[str, ...]] = ()
    torch_unused: ClassVar[tuple[str, ...]] = ()
    torch_rounding: ClassVar[str] = ""
    assumed: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """Name of the class."""
        return self.module.__name__

    @property
    def states(self) -> tuple[str, ...]:
        """States that a recording shows, in the order in which they are returned after the spikes."""
        return tuple(name for name in self.fed_back if name != "spk")

    @property
    def fed_back(self) -> tuple[str, ...]:
        """What a step takes from the one before, in snnTorch's order; spikes too, if they come back as a current."""
        names: tuple[str, ...] = self.module.state_names
        return names

    @property
    def sequence(self) -> bool:
        """snnTorch computes all of its time steps at once, on ``[T, B, N]``."""
        return bool(getattr(self.module, "sequence", False))

    @property
    def stepwise(self) -> bool:
        """One of snnTorch's neurons that run step by step."""
        return not (self.native or self.sequence)

    def meant(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """``sizes`` with what is meant where an option is left out."""
        return sizes

    # --- shapes: of one sample, channels first ---------------------------------------------------

    def shape_out(self, name: str, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        """Shape after the layer; ``name`` is for errors.

        Raises:
            ShapeError: if the layer does not take such samples.
        """
        if not self.entry:
            return shape
        wanted = int(sizes[self.entry])
        if len(shape) != self.rank or shape[0] != wanted:
            axes = f"({wanted}, H, W)" if self.rank == 3 else f"({wanted},)"
            raise ShapeError(
                f"{name!r} ({self.kind}) takes samples of shape {axes}, since its {self.entry} is {wanted}; "
                f"what feeds it has shape {shape}."
            )
        return self._after(sizes, shape)

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        """Shape after a layer that takes samples of ``shape``."""
        return shape

    def state_shape(self, sizes: Mapping[str, Any], shape: Shape, after: Shape) -> Shape:
        """Shape of a state: that of the output, unless the spikes are pooled or projected."""
        return after

    # --- comparisons --------------------------------------------------------------------------------

    def told(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The numbers in terms of which two neurons are told apart, by name."""
        return dict(values)

    # --- recordings: states and spikes [T, b, ...], channels first -----------------------------------

    def firing(
        self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]
    ) -> Firing | None:
        """What the neuron compares with its threshold; ``None`` for one that emits its membrane instead of spikes.

        Args:
            spec: the neuron.
            before: recorded states before each step.
            after: recorded states after it.
        """
        late = spec.reset_delay
        unreset = None if late else spec.with_options(reset_delay=True)
        return Firing(after[self.states[-1]], spec.values["threshold"], exact=late, unreset=unreset)

    def emitted(self, name: str, weights: Mapping[str, Array], spk: Array) -> Array:
        """What the layers behind it receive, from its recorded spikes.

        Raises:
            ConversionError: if the recording does not tell.
        """
        return spk

    # --- NIR ---------------------------------------------------------------------------------------

    def node(self, name: str, spec: NeuronSpec, shape: Shape | None, dt: float) -> nir.NIRNode | None:
        """The neuron's node, without metadata; ``None`` where NIR has none.

        Raises:
            ConversionError: for parameters that do not fit the shape.
        """
        return None

    def read(self, name: str, node: Any, dt: float, reading: Reading) -> Read:
        """The neuron of a node in :attr:`reads`, and the gain on its input."""
        raise NotImplementedError

    def edited(
        self, name: str, spec: NeuronSpec, node: Any, dt: float, read: Callable[[], Read]
    ) -> NeuronSpec:
        """The neuron that was written as ``node``, with what has been edited there since.

        Args:
            name: of the node, for errors.
            spec: what its metadata says.
            node: the node.
            dt: time step that the metadata was written with.
            read: the neuron that the node's numbers alone make, and the gain on its input.

        Raises:
            ConversionError: for numbers that this neuron cannot have.
        """
        for what in ("v_leak", "v_reset"):
            if np.any(np.asarray(getattr(node, what, 0.0)) != 0):
                raise ConversionError(
                    name, f"{what} was edited to another value than 0, {CONTRADICTED}", PLAINLY
                )
        if type(node) not in self.nodes:
            raise ConversionError(
                name, f"the node is a {type(node).__name__}, its metadata of a {self.kind}", PLAINLY
            )
        found, factor = read()
        written = self.node("", spec, tuple(np.shape(node.r)), dt)
        if type(written) is type(node) and all(
            near(getattr(node, what), getattr(written, what))
            for what in families()[type(node).__name__].values
        ):
            return spec
        return self._edited(name, spec, node, dt, found, factor)

    def _edited(
        self, name: str, spec: NeuronSpec, node: Any, dt: float, found: NeuronSpec, factor: Array | None
    ) -> NeuronSpec:
        """The neuron with the numbers that an edited node makes."""
        if factor is not None:
            raise ConversionError(
                name, f"tau and r were edited so that the input is scaled, {CONTRADICTED}", PLAINLY
            )
        return spec.with_values(**{k: v for k, v in found.values.items() if k in spec.values})

    # --- flax --------------------------------------------------------------------------------------

    def module_values(self, name: str, module: Any, variables: Variables) -> dict[str, Array]:
        """Numbers of a flax neuron that are not simply its arguments or variables of their names."""
        return {}

    def module_sizes(self, module: Any) -> dict[str, Any]:
        """:attr:`sizes` of a flax neuron."""
        return {key: getattr(module, key) for key in self.sizes}

    def module_learns(self, module: Any) -> list[str]:
        """What else a flax neuron trains than :attr:`values`."""
        return []

    def flax_weights(self, spec: NeuronSpec) -> Variables:
        """The variables of a layer's weights, by collection."""
        variables: Variables = {}
        for name, value in spec.weights.items():
            if name not in self.weights:
                continue
            fixed = name == self.decay and "beta" not in spec.learn
            path, turned = self.flax_weight(spec, name, value)
            tree = variables.setdefault("buffers" if fixed else "params", {})
            for key in path[:-1]:
                tree = tree.setdefault(key, {})
            tree[path[-1]] = on_device(turned)
        return variables

    def flax_weight(self, spec: NeuronSpec, name: str, value: Array) -> tuple[Path, Any]:
        """Where flax keeps one of torch's weights, and as what."""
        path = self.weights[name]
        return path, kernel_from_torch(value) if path[-1] == "kernel" else value

    def torch_weights(self, variables: Mapping[str, Any]) -> dict[str, Array]:
        """The inverse of :meth:`flax_weights`."""
        found = {}
        for name, path in self.weights.items():
            value = variable(variables, path)
            if value is not None:
                found[name] = kernel_to_torch(value) if path[-1] == "kernel" else np.asarray(value)
        return found

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """What it has in a ``state_dict`` of snnTorch's, by name, and where flax keeps the same numbers.

        Raises:
            ConversionError: for numbers that snnTorch's neuron cannot have.
        """
        raise NotImplementedError

    # --- snnTorch: its modules are read by their attributes, so that torch need not be imported -----

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """:attr:`sizes` of a neuron of snnTorch's, as JSON values."""
        return {key: getattr(module, key) for key in self.sizes}

    def torch_values(self, name: str, module: Any, array: Callable[[Any], Array]) -> dict[str, Array]:
        """Numbers of a neuron of snnTorch's whose attributes are not simply its arguments; ``array`` reads a tensor.

        Raises:
            ConversionError: for numbers that the equation cannot take.
        """
        return {}

    def torch_learns(self, module: Any) -> list[str]:
        """What else a neuron of snnTorch's trains than its parameters with the name of an argument."""
        return []

    def torch_options(self, name: str, module: Any, options: dict[str, Any]) -> dict[str, Any]:
        """The choices of a neuron of snnTorch's, from those that it has by name.

        Raises:
            ConversionError: for choices that snnTorch does not act on.
        """
        return options

    def torch_arguments(self, name: str, spec: NeuronSpec) -> dict[str, Any]:
        """Arguments of snnTorch's constructor that are not simply the spec's numbers and choices.

        Raises:
            ConversionError: for what snnTorch 1.0.0 cannot hold.
        """
        return {}

    # --- Norse -------------------------------------------------------------------------------------

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """The neuron in Norse's terms.

        Raises:
            ConversionError: if no cell of Norse's computes it.
        """
        raise ConversionError(name, f"Norse has no cell that computes {self.kind}", EXACT)

    # --- the reference simulator ---------------------------------------------------------------------

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """States after a step, the membrane as it is compared with the threshold.

        Args:
            rule: numbers, and what a reset and a quantizer do.
            before: states before the step.
            x: its input ``[B, ...]``.
            feedback: the weighted spikes of the step before, of neurons with recurrent weights.
            due: 1 where the membrane is above the threshold when the step begins.
        """
        raise NotImplementedError


def variable(variables: Mapping[str, Any], path: Path) -> Any:
    """The array at ``path`` in the parameters or the buffers, or ``None``."""
    for collection in ("params", "buffers"):
        value: Any = variables.get(collection, {})
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None
