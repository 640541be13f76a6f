"""What the schedule knows of the machine."""

import math
import os
from types import SimpleNamespace

import jax
import pytest

from snnax.network import machine


def test_this_machine():
    assert machine.platform() == jax.default_backend()
    assert 1 <= machine.cores() <= os.cpu_count()
    assert 1e6 < machine.free_memory() < 1e15


@pytest.mark.parametrize("device", ["cpu", jax.devices("cpu")[0]])
def test_the_device_that_the_user_has_set(device):
    with jax.default_device(device):
        assert machine.platform() == "cpu"


@pytest.mark.parametrize(
    ("limit", "used", "left"), [("3000", "1000", 2000.0), ("max", "1000", math.inf), ("", "", math.inf)]
)
def test_the_limit_of_a_container_counts(monkeypatch, limit, used, left):
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   5 kB\n",
        "/sys/fs/cgroup/memory.max": limit, "/sys/fs/cgroup/memory.current": used,
    }  # fmt: skip
    monkeypatch.setattr(machine, "_text", files.get)
    assert machine.free_memory() == min(5 * 1024, left)


def test_elsewhere_than_on_linux_half_of_what_there_is(monkeypatch):
    monkeypatch.setattr(machine, "_text", lambda path: "")
    sizes = {"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.get)
    assert machine.free_memory() == 50 * 4096
    monkeypatch.delattr(os, "sysconf")
    assert machine.free_memory() == math.inf


@pytest.mark.parametrize(
    ("stats", "free"), [({"bytes_limit": 70, "bytes_in_use": 20}, 50), ({}, math.inf), (None, math.inf)]
)
def test_what_another_device_says(monkeypatch, stats, free):
    device = SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(machine, "platform", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda backend: [device])
    assert machine.free_memory() == free
