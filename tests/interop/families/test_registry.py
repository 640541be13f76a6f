"""Laws of the neuron families: each neuron has one, no class has two, and nothing else knows neurons by name."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import snnax
from snnax import neurons
from snnax.interop.families import registry
from snnax.interop.families.family import Family
from snnax.interop.families.leaky import FAMILIES
from snnax.interop.families.registry import by_kind, families, find, kinds, of_module
from snnax.neurons import SpikingNeuron

ROOT = Path(snnax.__file__).parent
NAMED = ("interop/families/", "interop/frameworks/", "interop/snntorch/", "interop/norse/")
"""Rooms that may name neuron classes; neurons/, event/ and the package's face list what they define."""


def naming() -> set[str]:
    """Files in which a string is the name of a neuron class."""
    found = set()
    for file in ROOT.rglob("*.py"):
        path = file.relative_to(ROOT).as_posix()
        if path == "__init__.py" or path.startswith(("neurons/", "event/", *NAMED)):
            continue
        constants = [n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)]
        if {c for c in constants if isinstance(c, str)} & {*families()}:
            found.add(path)
    return found


def test_no_other_room_names_a_neuron_class():
    assert not naming()


def test_every_public_neuron_has_a_family():
    public = {name for name in neurons.__all__ if getattr(getattr(neurons, name), "state_names", ())}
    # the documentation's own neuron may have been registered by a test before
    ours = {
        kind: family for kind, family in families().items() if family.module.__module__.startswith("snnax.")
    }
    assert public == {*ours}
    assert all(family.module is getattr(neurons, kind) for kind, family in ours.items())


def test_a_second_family_of_one_class_is_refused():
    with pytest.raises(KeyError, match="Leaky has a family already"):
        by_kind((*FAMILIES, Family(neurons.Leaky, ())))


def test_a_module_beside_the_registry_joins_by_listing_its_own(monkeypatch):
    class Toy(SpikingNeuron):
        state_names = ("mem",)

    class ToyModule:
        FAMILIES = (Family(Toy, ("beta",)),)

    real = registry.import_module
    monkeypatch.setattr(registry, "import_module", lambda n: ToyModule if n.endswith(".delta") else real(n))
    found = registry._ours.__wrapped__()
    assert found["Toy"].states == ("mem",) and "DeltaLeaky" not in found


def test_a_class_of_the_users_own_has_its_parents_family():
    class Mine(neurons.Leaky):
        pass

    assert of_module(Mine(0.5)) is find("Leaky") and find("Mine") is None


def test_values_are_arguments_of_the_class():
    for family in families().values():
        fields = {field.name for field in dataclasses.fields(family.module)}
        assert {*family.values, *family.sizes, *family.choices} <= fields, family.kind


def test_recurrent_neurons_stand_beside_the_ones_they_extend():
    joined = {family.joined for family in families().values()} - {""}
    assert joined == {*kinds(is_joined=True)}
    for family in families().values():
        if family.joined:
            assert families()[family.joined].fed_back == ("spk", *family.states)


def test_each_node_of_nir_is_read_as_one_neuron_of_snntorchs():
    read = [node for family in families().values() for node in family.reads]
    assert len(read) == len({*read})


def test_a_registered_class_joins_the_families_and_not_the_names_of_ours():
    class Joined(neurons.Leaky):
        pass

    before = kinds(native=False)
    registry.register(Family(Joined, ("beta",)))
    try:
        assert find("Joined") is families()["Joined"] and kinds(native=False) == before
    finally:
        del registry._registered()["Joined"]
