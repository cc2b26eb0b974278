"""Cache folder of prepared data sets, with locks between processes."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor

from robustlab.runs import lock
from robustlab.runs.tensors import save_tensors, tensors_in

_log = logging.getLogger(__name__)
_LOCK_SECONDS = 900.0


def home() -> Path:
    """``$ROBUSTLAB_HOME``, else the platform's folder for caches."""
    chosen = os.environ.get("ROBUSTLAB_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"), "robustlab")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "robustlab"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "robustlab")


def locked(path: Path) -> AbstractContextManager[None]:
    """Holds the lock of ``path``, so that one process at a time prepares it.

    There is no lock where the folder cannot be written.
    """
    return lock.locked(Path(f"{path}.lock"), path, wait=_LOCK_SECONDS, needed=False)


def store(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Stores tensors as safetensors; on a full or read-only disk it logs a warning and stores nothing."""
    try:
        save_tensors(path, tensors, metadata)
    except OSError as error:
        _log.warning("%s cannot be kept (%s); set ROBUSTLAB_HOME to a folder with space", path, error)


def stored(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata from ``store``, or None if the file is missing or damaged."""
    try:
        return tensors_in(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s is damaged (%s); it will be made again", path, error)
        return None


def metadata_of(path: Path) -> dict[str, str] | None:
    """Metadata from ``store``, or None; reads only the header of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return None
