"""Keeping freed memory: on Linux, giving big tensors back and asking for them again costs more than some passes do."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Tells the C library of this process to use freed memory again; does nothing where it is not glibc.

    For a process that is ours, such as the command; a library must not decide this for its caller.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, _NEVER)
