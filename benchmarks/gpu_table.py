"""The tables of what ``benchmarks.gpu`` wrote. Imports neither jax nor torch."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.within_budget import MEASURED, NOTHING

OURS = "snnax"
CLASS = ("H100", "H200", "GH200", "B100", "B200", "GB200")
"""Devices on which the goals are meant to be reached."""


def judged(row: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    """The row with its goal: whether the best form of snnax reaches it, and by how much."""
    limit = row.get("goal_s")
    times = {
        name: entry["median"]
        for name, entry in row["candidates"].items()
        if name.split()[0] == OURS and "median" in entry
    }
    if limit is None:
        return row
    if not times:
        return {**row, "goal": {"seconds": limit, "met": None, "text": f"goal {_ms(limit)}: not measured"}}
    best = min(times, key=lambda name: times[name])
    ratio = times[best] / limit
    meant = device["platform"] == "gpu" and any(name in device["kind"] for name in CLASS)
    met = (ratio <= 1) if meant else None
    how = {True: "met", False: "missed", None: f"not judged on {device['kind']}"}[met]
    text = f"goal {_ms(limit)}: {how}, {ratio:.2f} times the goal by {best}"
    return {
        **row,
        "goal": {"seconds": limit, "met": met, "best": best, "times_the_goal": ratio, "text": text},
    }


def shown(found: dict[str, Any]) -> str:
    """Each row's candidates, the fastest first, then what has not been run, and the goals."""
    device = found["device"]
    lines = [
        f"{device['platform']}: {device['kind']}; torch {device['torch']}",
        ", ".join(f"{name} {value}" for name, value in {**found["machine"], **found["versions"]}.items()),
        f"{found['seconds']:.0f} s of {found['budget']:.0f}{', tiny sizes' if found['small'] else ''}",
        *(f"{name}: {text}" for name, text in found["not reachable"].items()),
    ]
    rows = [judged(row, device) for row in found["rows"]]
    tried = [row for row in rows if row["state"] in (MEASURED, NOTHING)]
    for row in tried:
        lines += ["", *_row(row)]
    others = [f"{row['name']}: {row['state']}" for row in rows if row not in tried]
    goals = [f"{row['name']}: {row['goal']['text']}" for row in rows if "goal" in row]
    return "\n".join([*lines, "", *others, "", *goals]).rstrip()


def _row(row: dict[str, Any]) -> list[str]:
    entries = row["candidates"]
    ours = entries.get(OURS, {}).get("median", math.nan)
    head = ("ms", "x snnax", "TFLOP/s", "GB/s", "compile s", "MiB", "loss")
    lines = [f"{row['name']}: {row['title']}", " " * 36 + "".join(f"{text:>11}" for text in head)]
    for name, entry in sorted(entries.items(), key=lambda pair: pair[1].get("median", math.inf)):
        if "median" not in entry:
            lines.append(f"  {name:34}  {entry['state']}")
            continue
        first = entry.get("first_s", entry.get("lower_s", math.nan) + entry.get("compile_s", math.nan))
        memory = entry.get("program_bytes", entry.get("torch_peak_bytes", math.nan))
        cells = [
            f"{1e3 * entry['median']:.3f}",
            f"{entry['median'] / ours:.2f}",
            f"{entry.get('operations_per_s', math.nan) / 1e12:.1f}",
            f"{entry.get('bytes_per_s', math.nan) / 1e9:.0f}",
            f"{first:.1f}",
            f"{memory / 2**20:.0f}",
            f"{entry.get('loss', math.nan):.6g}",
        ]
        state = "" if entry["state"] == "measured" else f"  {entry['state']}"
        text = "".join(f"{'-' if cell == 'nan' else cell:>11}" for cell in cells)
        lines.append(f"  {name:34}{text}{state}")
    return lines


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:g} ms"
