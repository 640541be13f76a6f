"""The rows of ``benchmarks.gpu`` in the order of their importance, and how their candidates are made ready."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks import residual
from benchmarks.peers import by_hand
from benchmarks.peers.registry import CANDIDATES, Candidate
from benchmarks.within_budget import LeftOut, Ready, Row
from benchmarks.workloads import open_neuromorphic as onm
from benchmarks.workloads.spec import Data, Workload, data
from benchmarks.workloads.table import WORKLOADS

PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
"""As ``jax.default_matmul_precision`` has them. Its "bfloat16" is TF32 on a GPU; layers take ``dtype=`` for that."""
FULL = (("tf32", 4096), ("bfloat16", 16384), ("tf32", 512))
TORCH = ("spikingjelly", "snntorch")
KERNELS = ("cuda", "triton", "torch", "cupy")
SMALL = (16, 24)


def _unrolled(**unroll: Any) -> Candidate:
    return replace(CANDIDATES["snnax"], unroll=tuple(unroll.items()))


def _jax_candidates(steps: int) -> dict[str, Candidate]:
    """snnax with its options, then the other JAX candidates."""
    return {
        "snnax": CANDIDATES["snnax"],
        "snnax chunk=T/5": _unrolled(chunk=-(-steps // 5)),  # on a GPU "auto" is T
        "snnax chunk=T/5 remat=False": _unrolled(chunk=-(-steps // 5), remat=False),
        "snnax remat=False": _unrolled(remat=False),
        "snnax residuals=bfloat16": _unrolled(residuals="bfloat16"),
        "products": Candidate("by_hand", "build_products", ("jax",)),
        "scan-1": Candidate("by_hand", "build_scan", ("jax",), settings=(("scan_unroll", 1),)),
        "scan-8": Candidate("by_hand", "build_scan", ("jax",), settings=(("scan_unroll", 8),)),
        "jaxpike": replace(CANDIDATES["jaxpike"], settings=(("scan_unroll", 8),)),
        "spyx": CANDIDATES["spyx"],
    }


def _torch_candidates() -> dict[str, Candidate]:
    jelly = CANDIDATES["spikingjelly"]
    kernels = {
        f"spikingjelly {name}": replace(jelly, settings=(("implementation", name),)) for name in KERNELS
    }
    return {**{name: CANDIDATES[name] for name in TORCH}, **kernels}


def all_rows(platform: str, small: bool) -> list[Row]:
    """Those with goals, the networks of train_step, forward, and the rest of sizes and precisions."""
    steps, batch = (4, 2) if small else (onm.STEPS, onm.BATCH)
    sizes = SMALL if small else onm.SIZES
    pairs = [(precision, size) for precision in ("tf32", "bfloat16", "float32") for size in reversed(sizes)]
    first = [pair for pair in (*FULL, *onm.GOALS) if pair in pairs] or pairs[: len(sizes)]
    first = list(dict.fromkeys(first))
    rest = [pair for pair in pairs if pair not in first]

    def row(pair: tuple[str, int], train: bool) -> Row:
        precision, size = pair
        workload = onm.row(size, precision, train, steps, batch)
        return _onm(workload, size, pair in FULL or small, platform)

    return [
        *(row(pair, True) for pair in first),
        *(_network(name, small, platform) for name in WORKLOADS),
        _residual(small, platform),
        *(row(pair, False) for pair in first),
        *(row(pair, True) for pair in rest),
        *(row(pair, False) for pair in rest),
    ]


def _onm(workload: Workload, size: int, full: bool, platform: str) -> Row:
    made, torch_made = _jax_candidates(workload.steps), _torch_candidates()
    if not workload.train:
        made = {name: made[name] for name in ("snnax", "snnax chunk=T/5", "products", "spyx")}
    elif not full:
        made = {name: made[name] for name in ("snnax", "snnax chunk=T/5", "products", "scan-8", "spyx")}
    if not full or not workload.train:
        torch_made = {name: torch_made[name] for name in ("spikingjelly", "spikingjelly triton")}
    least = onm.least_bytes(workload)
    facts: dict[str, Any] = {
        "size": size, "steps": workload.steps, "batch": workload.batch, "precision": workload.precision,
        "backward": workload.train, "operations": onm.operations(workload), "least_bytes": least,
    }  # fmt: skip
    if workload.train and workload.steps == onm.STEPS:
        facts["goal_s"] = onm.GOALS.get((workload.precision, size))
    builders = {
        "copy": lambda: compiled(by_hand.copy(least), {"least_bytes": least}),
        **_builders(workload, made, torch_made, platform),
    }
    return Row(
        workload.name, workload.title, builders, facts, functools.partial(precision, workload.precision)
    )


def _network(name: str, small: bool, platform: str) -> Row:
    """A row of ``train_step``."""
    workload = replace(WORKLOADS[name], precision="tf32")
    if small:
        workload = workload.sized(2, 2)
    made = _jax_candidates(workload.steps)
    made = {each: made[each] for each in ("snnax", "snnax chunk=T/5", "spyx", "jaxpike")}
    torch_made = {each: CANDIDATES[each] for each in TORCH}
    kind = "training" if workload.train else "inference"
    builders = _builders(workload, made, torch_made, platform)
    around = functools.partial(precision, "tf32")
    return Row(f"network-{name}", f"{workload.title}: {kind}", builders, {"precision": "tf32"}, around)


def _residual(small: bool, platform: str) -> Row:
    steps, batch = (2, 1) if small else (4, 16)
    missing = [name for name in ("torch", "snntorch") if importlib.util.find_spec(name) is None]

    @functools.cache
    def makers() -> dict[str, Callable[[], residual.Step]]:
        if missing:
            raise LeftOut(f"not there: {', '.join(missing)}, of which the network is made")
        return residual.makers(steps, batch, torch_device(platform, needed=False))

    def builder(name: str) -> Callable[[], Ready]:
        def build() -> Ready:
            if name not in makers():
                raise LeftOut(f"not there: {name}")
            if not name.startswith("snnax"):
                torch_device(platform)
            return called(makers()[name](), platform)

        return build

    names = ("snnax-graph", "snnax-program", "spikingjelly", "snntorch")
    title = f"residual network, 17 convolutions, T {steps}, B {batch}: training"
    builders = {name: builder(name) for name in names}
    return Row(
        "network-residual", title, builders, {"precision": "tf32"}, functools.partial(precision, "tf32")
    )


def _builders(
    workload: Workload, made: dict[str, Candidate], torch_made: dict[str, Candidate], platform: str
) -> dict[str, Callable[[], Ready]]:
    def by_jax(candidate: Candidate) -> Ready:
        return compiled(_built(candidate, workload, numbers(workload)))

    def by_torch(candidate: Candidate) -> Ready:
        device = torch_device(platform)
        chosen = dict(candidate.settings).get("implementation")
        if device == "cpu" and chosen:
            raise LeftOut(f"{chosen} kernels need CUDA")
        import torch

        return called(_built(candidate, workload, numbers(workload), torch.device(device)), platform)

    return {
        **{name: functools.partial(by_jax, candidate) for name, candidate in made.items()},
        **{name: functools.partial(by_torch, candidate) for name, candidate in torch_made.items()},
    }


def _built(candidate: Candidate, workload: Workload, given: Data, where: Any = None) -> Any:
    """``where`` is entered after the imports: constants of a module stay on the processor."""
    if candidate.missing:
        raise LeftOut(f"not there: {', '.join(candidate.missing)}")
    candidate.imported()
    try:
        with where or contextlib.nullcontext():
            step = candidate.build(workload, given)
    except LookupError as error:
        raise LeftOut(f"not there: {error}") from error
    if step is None:
        raise LeftOut("has no form of this workload")
    return step


def numbers(workload: Workload) -> Data:
    """The same for all precisions, drawn once."""
    return _drawn(replace(workload, name="", title="", precision="float32", train=True))


@functools.cache
def _drawn(workload: Workload) -> Data:
    """Matrices in the order in which their transposes, which JAX's layers have, are copied to a device at once."""
    found = data(workload)
    weights = ({name: np.asarray(w, order="F") for name, w in layer.items()} for layer in found.weights)
    return replace(found, weights=tuple(weights))


def torch_device(platform: str, needed: bool = True) -> str:
    """Where torch runs beside JAX on this platform.

    Raises:
        LeftOut: if it is ``needed`` and torch is not there, or sees no GPU.
    """
    if platform == "cpu":
        if needed and importlib.util.find_spec("torch") is None:
            raise LeftOut("not there: torch")
        return "cpu"
    why = _without_cuda()
    if why and needed:
        raise LeftOut(why)
    return "cpu" if why else "cuda"


@functools.cache
def _without_cuda() -> str:
    if importlib.util.find_spec("torch") is None:
        return "not there: torch"
    import torch

    return "" if torch.cuda.is_available() else f"torch {torch.__version__} sees no CUDA"


def compiled(step: Any, amounts: dict[str, int] | None = None) -> Ready:
    """A step with ``program`` and ``arguments``, compiled ahead of time; how long that took, and its memory.

    ``amounts``: what it computes and moves, where that is not what the row does.
    """
    begin = time.perf_counter()
    lowered = step.program.lower(*step.arguments)
    middle = time.perf_counter()
    program = lowered.compile()
    known: dict[str, Any] = {"lower_s": middle - begin, "compile_s": time.perf_counter() - middle}
    if amounts is not None:
        known["amounts"] = amounts

    def call() -> Any:
        return jax.block_until_ready(program(*step.arguments))

    result = call()
    if result[-1].ndim == 0:
        known["loss"] = float(result[-1])
    sizes = program.memory_analysis()
    if sizes is not None:
        parts = ("argument", "output", "temp", "alias")
        found = {part: getattr(sizes, f"{part}_size_in_bytes") for part in parts}
        known["program_bytes"] = found["argument"] + found["output"] + found["temp"] - found["alias"]
        known["temporary_bytes"] = found["temp"]
    # of all that the process did so far: there is no way to start it anew
    known["device_peak_bytes_so_far"] = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return call, known


def called(step: Callable[[], float], platform: str) -> Ready:
    """A step that returns its loss as a number; the first call, and what torch took of the device's memory for it."""
    cuda = platform == "gpu" and not _without_cuda()
    if not cuda:
        begin = time.perf_counter()
        loss = step()
        return step, {"first_s": time.perf_counter() - begin, "loss": loss}
    import torch

    torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    loss = step()
    torch.cuda.synchronize()
    known = {"first_s": time.perf_counter() - begin, "loss": loss}
    known["torch_peak_bytes"] = torch.cuda.max_memory_allocated()

    def call() -> None:
        step()
        torch.cuda.synchronize()

    return call, known


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """How JAX and torch multiply float32 numbers, and torch's cached memory handed back in the end."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.default_matmul_precision(PRECISIONS[name]))
        if not _without_cuda():
            import torch

            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "float32"
            stack.callback(torch.cuda.empty_cache)
        yield


def device() -> dict[str, Any]:
    """What JAX runs on, and whether torch runs there too."""
    first = jax.devices()[0]
    limit = (first.memory_stats() or {}).get("bytes_limit")
    platform = "gpu" if first.platform in ("gpu", "cuda", "rocm") else first.platform
    found = {"platform": platform, "kind": first.device_kind, "memory_bytes": limit}
    return {**found, "torch": _without_cuda() or "sees CUDA"}
