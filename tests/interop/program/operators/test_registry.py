import importlib.util
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.aten import overload

from snnax.errors import ConversionError
from snnax.interop.program import operators
from snnax.interop.program.operators.registry import computes, draws

HERE = Path(__file__).parent
DROPPED = {"device", "layout", "pin_memory", "memory_format", "generator", "non_blocking", "names"}
F32 = jax.ShapeDtypeStruct((2,), np.float32)


def tables():
    """The calls of the tests beside this one."""
    for path in sorted(HERE.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"calls_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        if path.stem not in ("test_registry", "test_random"):
            spec.loader.exec_module(module)
            yield from (call for name in ("CASES", "EMPTY") for call in getattr(module, name, ()))


def test_every_operator_is_called_beside_torch():
    assert {call.op for call in tables()} == set(computes.entries)


def test_each_file_of_operators_has_its_tests():
    parts = {name for name in operators.__all__ if inspect.ismodule(getattr(operators, name))}
    assert {f"test_{name}.py" for name in parts} <= {path.name for path in HERE.iterdir()}
    assert parts == {p.stem for p in Path(operators.__file__).parent.glob("*.py")} - {
        "__init__",
        "forms",
        "registry",
        "promotion",
    }


def test_no_name_is_known_twice():
    assert not set(computes.entries) & set(draws.entries)
    assert len(operators.known()) == len(computes.entries) + len(draws.entries) > 350
    with pytest.raises(KeyError, match="already"):
        computes("relu")(lambda call, x: x)


@pytest.mark.parametrize("name", operators.known())
def test_arguments_are_those_of_torchs_schema(name):
    function = {**computes.entries, **draws.entries}[name]
    if hasattr(function, "__wrapped__"):  # takes any operands
        return
    signature = inspect.signature(function)
    arguments = [a for a in overload(name)._schema.arguments if a.name not in DROPPED]
    placed = [a.name for a in arguments if not a.kwarg_only]
    named = {a.name: None for a in arguments if a.kwarg_only}
    signature.bind(None, *placed, **named)


def test_an_unknown_operator_is_named_with_those_near_it():
    with pytest.raises(
        ConversionError, match=r"aten\.add\.Complex.*Near it are add\.Scalar, add\.Tensor"
    ) as found:
        operators.evaluate("add.Complex", (), {}, [])
    assert found.value.node == "aten.add.Complex"
    with pytest.raises(ConversionError, match=r"Near it are .*relu"):
        operators.evaluate("rellu", (), {}, [])


@pytest.mark.parametrize(
    ("op", "args", "kwargs", "says"),
    [
        ("index.Tensor", (jnp.ones(2), [jnp.ones(2, bool)]), {}, r"mask of shape \(2,\).*torch\.where"),
        ("index_put", (jnp.ones(2), [jnp.ones(2, bool)], jnp.ones(2)), {}, "mask"),
        ("embedding", (jnp.ones((2, 2)), jnp.zeros(1, int), -1, True), {}, "scale_grad_by_freq"),
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            (*[jnp.ones((1, 1, 2, 2))] * 3, 0.5),
            {},
            r"eval\(\)",
        ),
    ],
)
def test_what_has_no_exact_form_is_refused(op, args, kwargs, says):
    with pytest.raises(ConversionError, match=says):
        operators.evaluate(op, args, kwargs, [F32] * (2 if "attention" in op else 1))


def test_arrays_may_be_numpys():
    x = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    (read,) = operators.evaluate("index.Tensor", (x, [np.array([2, 0])]), {}, [F32])
    np.testing.assert_array_equal(read, x[[2, 0]])


def test_a_position_beyond_the_end_gives_no_number():
    (read,) = operators.evaluate("embedding", (jnp.ones((3, 1)), jnp.array([2, 3])), {}, [F32])
    np.testing.assert_array_equal(read, [[1], [np.nan]])


def test_positions_may_change_in_a_loop():
    """What an executor makes of a number that follows the time step."""
    x = jnp.arange(6.0).reshape(3, 2)

    @jax.jit
    def both(i):
        (row,) = operators.evaluate("select.int", (x, 0, i), {}, [F32])
        (written,) = operators.evaluate("select_scatter", (x, row + 10, 0, i), {}, [F32])
        return row, written

    for i in (0, 2, -1):
        row, written = both(jnp.asarray(i))
        np.testing.assert_array_equal(row, x[i])
        np.testing.assert_array_equal(written, x.at[i].set(x[i] + 10))
