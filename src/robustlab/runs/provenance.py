"""When and with what a result was made."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version

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
