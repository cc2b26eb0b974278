"""Provenance of a result: time, versions, processor and commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch


def now() -> str:
    """Current time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the packages and the platform of a result, by name."""
    return {
        "robustlab": version("robustlab"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def installed() -> dict[str, str]:
    """Versions of the packages and the platform of a result, and the processor."""
    processor = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    return {**versions(), "processor": processor}


@cache
def commit() -> str:
    """Commit of the source code; "" outside a repository, or without git."""
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return ""  # installed somewhere inside another repository
    head, changes = (
        _git("rev-parse", "--short=12", "HEAD"),
        _git("status", "--porcelain", "--untracked-files=no", "--", "."),
    )
    return f"{head} modified" if head and changes else head


def _git(*words: str) -> str:
    source = Path(__file__).parents[1]
    try:
        done = subprocess.run(["git", *words], cwd=source, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
