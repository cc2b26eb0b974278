"""When and with what a result was made."""

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
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of what results depend on, by name."""
    return {
        "robustlab": version("robustlab"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def installed() -> dict[str, str]:
    """Versions of what results depend on, and the processor."""
    processor = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    return {**versions(), "processor": processor}


@cache
def commit() -> str:
    """The commit that the source code is at; "" outside a repository, or without git."""
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return ""  # installed somewhere inside another repository
    said = [_git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no", "--", ".")]
    return f"{said[0]} modified" if said[0] and said[1] else said[0]


def _git(*words: str) -> str:
    source = Path(__file__).parents[1]
    try:
        done = subprocess.run(["git", *words], cwd=source, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
