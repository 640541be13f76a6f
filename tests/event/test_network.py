"""Descriptions of networks: topology, masks as structure, gradients as networks, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax.errors import ArgumentError, GraphError, ShapeError
from snnax.event import LIFParameters, Network, Population, Projection

LIF = LIFParameters()


def named(edges, populations="abcd"):
    """A network of one neuron per population."""
    return Network(
        [Population(name, 1, LIF) for name in populations],
        [Projection(s, t, jnp.ones((1, 1))) for s, t in edges],
    )


@pytest.mark.parametrize(
    ("edges", "components"),
    [
        (["ia", "ab", "bc", "cd"], ["a", "b", "c", "d"]),
        (["ia", "ad", "dc", "cb"], ["a", "d", "c", "b"]),
        (["ia", "ab", "ba", "bc", "cd", "ad"], ["ab", "c", "d"]),
        (["id", "da", "ab", "bc", "ca"], ["d", "abc"]),
        (["ia", "aa", "ab", "jc", "cd", "dc"], ["a", "b", "cd"]),
    ],
)
def test_cycles_are_found_and_come_after_what_feeds_them(edges, components):
    found = ["".join(group) for group in named(edges).components()]
    assert sorted(found) == sorted(components)
    place = {name: n for n, group in enumerate(found) for name in group}
    assert all(place[s] <= place[t] for s, t in edges if s in place)


def test_inputs_are_sources_that_are_no_population():
    assert named(["jb", "ia", "ab", "jc", "cd"]).inputs == ("j", "i")


def test_a_gradient_is_a_network():
    network = named(["ia", "ab", "bc", "cd"])
    gradient = jax.jit(jax.grad(lambda net: sum(p.weights.sum() ** 2 for p in net.projections)))(network)
    assert isinstance(gradient, Network) and gradient.populations == network.populations
    assert [float(p.weights[0, 0]) for p in gradient.projections] == [2.0] * 4


def test_a_mask_is_structure():
    """Equal masks share a compiled program; what they hide has no effect and no gradient."""
    traced = []

    @jax.jit
    def total(projection):
        traced.append(1)
        return projection.masked().sum()

    def masked(mask):
        return Projection("a", "b", jnp.full((2, 2), 3.0), mask=mask)

    assert total(masked(np.eye(2))) == total(masked(jnp.eye(2) > 0)) == 6
    assert len(traced) == 1
    assert total(masked([[1, 1], [1, 0]])) == 9
    assert len(traced) == 2
    np.testing.assert_array_equal(jax.grad(total)(masked(np.eye(2))).weights, np.eye(2))


@pytest.mark.parametrize("delay", [None, 0.5, np.array([0.5, 1.0])])
def test_a_delay_is_of_every_source_neuron(delay):
    expected = np.broadcast_to(0.0 if delay is None else delay, (2,))
    np.testing.assert_array_equal(Projection("a", "b", jnp.ones((2, 3)), delay).delays(), expected)


A = Population("a", 2, LIF)


def into_a(shape=(3, 2), **options):
    Network([A], [Projection("in", "a", jnp.ones(shape), **options)]).check_shapes()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Network([A, A], []), GraphError, "two populations are called 'a'"),
        (lambda: Network([A], []), GraphError, "nothing projects to the population 'a'"),
        (lambda: Network([], []), ArgumentError, "expected populations"),
        (lambda: Network([A], [Projection("a", "b", jnp.ones((2, 2)))]), GraphError, "nothing projects"),
        (
            lambda: Network(
                [A], [Projection("i", "a", jnp.ones((1, 2))), Projection("a", "b", jnp.ones((2, 2)))]
            ),
            GraphError,
            "ends at 'b', which is none",
        ),
        (lambda: into_a((3, 3)), ShapeError, r"weights of shape \(3, 3\)\): expected \[N_source, N_target\]"),
        (lambda: into_a(mask=np.eye(2)), ShapeError, r"mask of shape \(2, 2\)\): expected \(3, 2\)"),
        (
            lambda: into_a(delay=np.ones(2)),
            ShapeError,
            r"delay of shape \(2,\)\): expected one number or \(3,\)",
        ),
        (
            lambda: into_a(delay="late"),
            ArgumentError,
            "Projection\\('in', 'a', delay='late'\\); expected an array",
        ),
        (lambda: Projection("i", 3, jnp.ones((1, 2))), ArgumentError, r"Projection\(target=3"),
        (
            lambda: Projection("i", "a", jnp.ones((1, 2)), mask="all"),
            ArgumentError,
            r"Projection\(mask='all'",
        ),
        (lambda: Network([A], "in"), ArgumentError, r"Network\(projections='in'\); expected projections"),
        (
            lambda: Network([A], ["in"]).check_shapes(),
            ArgumentError,
            r"Network\(projections='in'\); expected proj",
        ),
        (
            lambda: jax.jit(lambda mask: into_a(mask=mask))(jnp.ones((3, 2))),
            ArgumentError,
            "known when the program",
        ),
        (lambda: Population("a", 0, LIF), ArgumentError, "Population\\(size=0\\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, error, said):
    with pytest.raises(error, match=said):
        make()
