"""Set up JAX, torch and hypothesis before any test imports them."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shutil
import sys
import tempfile

import hypothesis
import pytest

# Without AVX2 the CPU compiler has no fused multiply-add, so that float32 rounds as torch does. Where it has one
# (another processor, or another instruction set asked for), tests of the last bit skip: helpers/rounding.py.
os.environ["XLA_FLAGS"] = (
    f"--xla_cpu_max_isa=AVX {os.environ.get('XLA_FLAGS', '')}".strip()
)  # the last one counts
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Programs of the tests run once or twice: a sixth of the processor's time went into LLVM's optimizations of them.
# Without these a program rounds as with them, apart from the order of sums. JAX_DISABLE_MOST_OPTIMIZATIONS=0 compiles
# as users do; so does the short form of the tests in .ci/run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Many tests compile the same small programs; those of this process are kept in a folder that goes with it, or in the
# one that the environment names, where the next run finds them.
# A worker of pytest-xdist inherits its parent's folder and makes its own beside it: JAX writes without locks.
OWN_PROGRAMS = None
if "snnax_programs_" in os.environ.get("JAX_COMPILATION_CACHE_DIR", "snnax_programs_"):
    OWN_PROGRAMS = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="snnax_programs_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)


with contextlib.suppress(ImportError):
    import matplotlib

    matplotlib.use("Agg")  # pyplot opens no windows


def pytest_unconfigure():
    if OWN_PROGRAMS:
        shutil.rmtree(OWN_PROGRAMS, ignore_errors=True)


def pytest_runtest_setup(item):
    """Tests in float16 skip where XLA has none; their names say which they are."""
    if re.search(r"(?<!b)float16", item.name):
        from helpers.rounding import has_float16

        if not has_float16():
            pytest.skip("XLA has no float16 with this instruction set")


GENERATORS = pytest.StashKey()


@pytest.fixture(autouse=True)
def _own_numbers(request):
    """A generator at the top of a test file gives each test the same numbers, whichever ran before it."""
    module = request.node.getparent(pytest.Module)
    if module is None or (numpy := sys.modules.get("numpy")) is None:
        return
    if GENERATORS not in module.stash:
        found = [g for g in vars(module.obj).values() if isinstance(g, numpy.random.Generator)]
        module.stash[GENERATORS] = [(g, g.bit_generator.state) for g in found]
    for generator, state in module.stash[GENERATORS]:
        generator.bit_generator.state = state


@pytest.fixture(autouse=True)
def _own_snntorch_neurons():
    """snnTorch keeps every neuron of the process alive and resets all of them: let each test leave none behind."""
    neurons = sys.modules.get("snntorch._neurons.neurons")
    if neurons is None:
        yield
        return
    before = list(neurons.SpikingNeuron.instances)
    yield
    neurons.SpikingNeuron.instances[:] = before


@pytest.fixture(autouse=True)
def _own_figures():
    """What a test draws with pyplot goes with it."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="module", autouse=True)
def _own_programs():
    """Compiled programs take gigabytes after some thousand tests, and few are shared between files."""
    yield
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
    if not gc.get_freeze_count():  # a search for leaks undoes it
        _set_aside()


def pytest_collection_finish():
    _set_aside()


def _set_aside():
    """The modules and ten thousand tests stay: looking for garbage among them was a twentieth of all time."""
    gc.collect()
    gc.freeze()
