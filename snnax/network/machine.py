"""What the schedule asks of the machine: its platform, its cores, and how much memory is free."""

from __future__ import annotations

import os
import re
from pathlib import Path

import jax

__all__ = ["cores", "free_memory", "platform"]


def platform() -> str:
    """Where arrays are made unless something else is said, as ``"cpu"`` or ``"gpu"``."""
    device = jax.config.jax_default_device
    return str(getattr(device, "platform", device) or jax.default_backend())


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> float:
    """Bytes that the default device could still give; infinity where nobody says."""
    if platform() == "cpu":
        return min(_available(), _left_of_group())
    device = jax.local_devices(backend=platform())[0]
    known = device.memory_stats() or {}
    if "bytes_limit" not in known:
        return float("inf")
    return float(known["bytes_limit"] - known.get("bytes_in_use", 0))


def _available() -> float:
    """Of the whole machine: what Linux says is available, elsewhere half of what there is."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _text("/proc/meminfo"))
    if found:
        return 1024.0 * int(found.group(1))
    try:
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no such system call, no such name, or no answer
        return float("inf")


def _left_of_group() -> float:
    """Of a container's limit (cgroup v2)."""
    limit, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    return float(int(limit) - int(used)) if limit.isdigit() and used.isdigit() else float("inf")


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
