"""Comparable timing: interleaved repeats, medians, and the machine."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Work = Callable[[], object]


def interleaved(works: Mapping[str, Work], repeats: int, *, warm_up: bool = True) -> dict[str, float]:
    """Runs all works in turn, one warm-up round and then ``repeats`` rounds; returns each one's median seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for round_number in range(repeats + warm_up):
        for name, work in works.items():
            synchronise()
            start = time.perf_counter()
            work()
            synchronise()
            if round_number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def synchronise() -> None:
    """Waits for the GPU, if there is one."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def machine() -> str:
    """Processor, threads, accelerator and versions in one line."""
    packages = ("torch", "timm", "foolbox", "torchattacks", "adversarial-robustness-toolbox", "adv-lib")
    versions = [f"{name} {version}" for name in packages if (version := _version(name))]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_processor()}, {torch.get_num_threads()} threads{gpu}; Python {platform.python_version()}, " + ", ".join(
        versions
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def table(rows: list[dict[str, str]]) -> str:
    """Rows with equal keys as a Markdown table."""
    if not rows:
        return ""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
